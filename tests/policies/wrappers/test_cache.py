"""`cache`: nothing is asked twice, by tasks, processes or a run that was killed."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warmline.core.errors import DataError, EngineTimeout, RunError
from warmline.policies.base import FinishReason, Message, Reply, Sampling, TokenLogprob, Usage
from warmline.policies.wrappers import Cache
from warmline.policies.wrappers.cache import request_key
from warmline.policies.wrappers.store import ReplyStore, from_json, to_json

from .wrapping import ASK, CHOOSE, Engine

pytestmark = pytest.mark.timeout(60)
GREEDY = dataclasses.replace(ASK, seed=None, sampling=Sampling(temperature=0.0))
UNSEEDED = dataclasses.replace(ASK, seed=None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "replies.sqlite"


async def test_a_second_asking_is_free_and_says_so(path: Path) -> None:
    engine = Engine()
    async with Cache(engine, path=path) as policy:
        first, second = [await policy.respond(ASK) for _ in range(2)]
    async with Cache(Engine(), path=path) as later:
        third = await later.respond(ASK)
        assert (later.hits, later.misses) == (1, 0)
    assert len(engine.asked) == 1
    assert (first.cached, second.cached, third.cached) == (False, True, True)
    # otherwise the same, so that a resumed episode's record is the one of an unbroken run
    assert len({dataclasses.replace(r, cached=False, latency=0.0) for r in (first, second)}) == 1
    assert dataclasses.replace(third, latency=second.latency) == second
    assert first.policy == "engine"
    assert second.usage == Usage(100, 20, 10)


@pytest.mark.parametrize(
    "change",
    [
        {"messages": (*ASK.messages[:-1], Message("user", "On Monday!"))},
        {"messages": (*ASK.messages[:-1], Message("assistant", "On Monday."))},
        {"role": "seeker"},
        {"sampling": Sampling(temperature=0.8, max_tokens=40)},
        {"sampling": Sampling(temperature=0.7)},
        {"seed": 6},
        {"choices": ("a", "b")},
        {"choices": ("b", "a")},
        {"schema": {"properties": {"a": {}, "b": {}}}},
        {"schema": {"properties": {"b": {}, "a": {}}}},
        {"max_sentences": 2},
        {"prefill": "I"},
        {"logprobs": True},
    ],
    ids=str,
)
def test_the_key_holds_all_that_can_change_the_answer(change: dict[str, Any]) -> None:
    engine = Engine()
    assert request_key(dataclasses.replace(ASK, **change), engine) != request_key(ASK, engine)


def test_the_key_holds_nothing_else() -> None:
    same = dataclasses.replace(ASK, session="another", observation=object())
    assert request_key(same, Engine()) == request_key(ASK, Engine())
    assert request_key(ASK, Engine()) != request_key(ASK, Engine(name="other"))
    fields = {field.name for field in dataclasses.fields(ASK)}
    assert len(fields) == 11, "a new field of Request must go into the key or stand here"


def test_every_change_above_gives_a_key_of_its_own() -> None:
    texts = ["a", "b", "a\nb", '"', "a','b"]
    requests = [
        dataclasses.replace(ASK, messages=tuple(Message("user", text) for text in split))
        for split in ([t] for t in texts)
    ] + [dataclasses.replace(ASK, messages=(Message("user", "a"), Message("user", "b")))]
    assert len({request_key(request, Engine()) for request in requests}) == len(requests)


async def test_what_is_left_to_chance_is_not_kept_unless_asked_for(path: Path) -> None:
    engine = Engine()
    async with Cache(engine, path=path) as policy:
        assert not any([(await policy.respond(UNSEEDED)).cached for _ in range(3)])
        assert [(await policy.respond(GREEDY)).cached for _ in range(2)] == [False, True]
        assert await policy.store.count() == 1
    assert len(engine.asked) == 4
    async with Cache(engine, path=path, unseeded=True) as policy:
        assert [(await policy.respond(UNSEEDED)).cached for _ in range(2)] == [False, True]


async def test_equal_requests_in_flight_are_asked_once(path: Path) -> None:
    engine = Engine(hold=asyncio.Event())
    assert engine._hold is not None
    async with Cache(engine, path=path) as policy:
        waiting = [asyncio.create_task(policy.respond(ASK)) for _ in range(50)]
        other = asyncio.create_task(policy.respond(CHOOSE))
        while len(engine.asked) < 2:
            await asyncio.sleep(0.001)
        engine._hold.set()
        replies = await asyncio.gather(*waiting)
        await other
    assert len(engine.asked) == 2
    assert sum(not reply.cached for reply in replies) == 1
    assert {reply.text for reply in replies} == {"seed 5"}


async def test_cancelling_one_of_those_who_wait_leaves_the_others_their_answer(path: Path) -> None:
    engine = Engine(hold=asyncio.Event())
    assert engine._hold is not None
    async with Cache(engine, path=path) as policy:
        leader, follower = [asyncio.create_task(policy.respond(ASK)) for _ in range(2)]
        while not engine.in_flight:
            await asyncio.sleep(0.001)
        leader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leader
        engine._hold.set()
        reply = await follower
    assert reply.text == "seed 5"
    assert not reply.cached, "the one who is left counts it"
    assert len(engine.asked) == 1


async def test_cancelling_all_who_wait_frees_the_engine_at_once(path: Path) -> None:
    engine = Engine(hold=asyncio.Event())
    assert engine._hold is not None
    async with Cache(engine, path=path) as policy:
        waiting = [asyncio.create_task(policy.respond(ASK)) for _ in range(3)]
        while not engine.in_flight:
            await asyncio.sleep(0.001)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert engine.in_flight == 0
        engine._hold.set()
        assert not (await policy.respond(ASK)).cached
    assert len(engine.asked) == 2


async def test_an_answer_that_was_given_is_stored_though_nobody_waits_for_it_any_more(
    path: Path,
) -> None:
    """The thread that stores is busy with another's, so the storing has not begun."""
    engine, busy = Engine(), threading.Event()
    async with Cache(engine, path=path) as policy:
        other = asyncio.create_task(policy.store._do(busy.wait))
        policy.store.get = _nothing  # type: ignore[method-assign]
        asking = asyncio.create_task(policy.respond(ASK))
        while not engine.asked:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        asking.cancel()
        asyncio.get_running_loop().call_later(0.1, busy.set)
        with pytest.raises(asyncio.CancelledError):
            await asking
        await other
    async with Cache(engine, path=path) as policy:
        assert (await policy.respond(ASK)).cached
    assert len(engine.asked) == 1


def test_the_end_of_the_loop_leaves_no_answer_unstored(path: Path) -> None:
    """Another process holds the file when the loop ends, with answers given and not yet stored."""
    engine = Engine()

    async def main() -> None:
        policy = Cache(engine, path=path)
        await policy.open()
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        requests = [dataclasses.replace(ASK, seed=seed) for seed in range(4)]
        asking = [asyncio.create_task(policy.respond(request)) for request in requests]
        while len(engine.asked) < len(asking) or engine.in_flight:
            await asyncio.sleep(0.001)
        threading.Timer(0.2, lambda: other.execute("COMMIT")).start()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert asyncio.run(Cache(engine, path=path).store.count()) == 4


async def _nothing(key: bytes) -> None:
    return None


async def test_failures_are_not_kept_and_reach_all_who_wait(path: Path) -> None:
    failures = [EngineTimeout("slow")]
    engine = Engine(lambda request: failures.pop() if failures else "late")
    async with Cache(engine, path=path) as policy:
        asked = [policy.respond(ASK), policy.respond(ASK)]
        both = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(outcome) for outcome in both] == [EngineTimeout, EngineTimeout]
        assert (await policy.respond(ASK)).text == "late"


def test_one_policy_serves_several_event_loops(path: Path) -> None:
    engine = Engine()
    policy = Cache(engine, path=path)

    async def ask(close: bool) -> bool:
        reply = (await asyncio.gather(*[policy.respond(ASK) for _ in range(3)]))[-1]
        if close:
            await policy.aclose()
        return reply.cached

    assert [asyncio.run(ask(close)) for close in (False, True, True)] == [True] * 3
    threads = [threading.Thread(target=lambda: asyncio.run(ask(False))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asyncio.run(policy.aclose())
    assert len(engine.asked) == 1


async def test_a_lock_held_elsewhere_does_not_hold_up_the_event_loop(path: Path) -> None:
    async with Cache(Engine(), path=path) as policy:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        asked = asyncio.create_task(policy.respond(ASK))
        longest, until = 0.0, time.perf_counter() + 0.3
        while (before := time.perf_counter()) < until:
            await asyncio.sleep(0.005)
            longest = max(longest, time.perf_counter() - before)
        assert not asked.done(), "the reply is not handed out before it is stored"
        assert longest < 2.0
        other.execute("COMMIT")
        other.close()
        assert (await asked).text == "seed 5"


REPLIES = st.builds(
    Reply,
    text=st.text(),
    finish_reason=st.sampled_from(FinishReason),
    usage=st.none() | st.builds(Usage, st.integers(0), st.integers(0), st.integers(0)),
    policy=st.text(),
    logprobs=st.none() | st.lists(st.builds(TokenLogprob, st.text(), st.floats(-99, 0))).map(tuple),
    attempts=st.integers(1),
    notes=st.none() | st.dictionaries(st.text(), st.text() | st.integers()),
    thinking=st.none() | st.text(),
)


@settings(max_examples=60, deadline=None)
@given(REPLIES)
def test_a_stored_reply_is_the_same_reply(reply: Reply) -> None:
    assert from_json(to_json(reply)) == reply


def test_lone_surrogates_survive() -> None:
    assert from_json(to_json(Reply(text="\ud83d half"))).text == "\ud83d half"


# Files that cannot be used


async def _damaged(path: Path) -> None:
    store = ReplyStore(path)
    for number in range(200):
        await store.put(number.to_bytes(32, "big"), Reply(text="x" * 300))
    await store.close()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xab" * (len(content) - 4096)
    path.write_bytes(content)


async def test_a_damaged_file_is_named(path: Path) -> None:
    await _damaged(path)
    async with Cache(Engine(), path=path) as policy:
        with pytest.raises(DataError, match=r"replies.sqlite: the cache is damaged"):
            await policy.respond(ASK)


async def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("My notes. " * 100)
    with pytest.raises(DataError, match=r"notes\.txt: the cache is damaged, or not a SQLite file"):
        await Cache(Engine(), path=text).open()
    assert text.read_text() == "My notes. " * 100
    foreign = tmp_path / "foreign.db"
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE replies (a)")
    connection.close()
    with pytest.raises(DataError, match=r"foreign\.db: not a cache of Warmline"):
        await Cache(Engine(), path=foreign).open()


async def test_a_newer_file_and_an_unreadable_row_are_refused(path: Path) -> None:
    async with Cache(Engine(), path=path) as policy:
        await policy.respond(ASK)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("UPDATE replies SET reply = '{\"text\": 3}'")
    policy = Cache(Engine(), path=path)
    with pytest.raises(DataError, match=r"replies.sqlite: not a stored reply"):
        await policy.respond(ASK)
    await policy.aclose()
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(DataError, match="newer Warmline"):
        await Cache(Engine(), path=path).open()


async def test_a_path_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for bad in (tmp_path, tmp_path / "file" / "below.sqlite"):
        with pytest.raises(RunError, match=f"{bad}: the cache cannot be used"):
            await Cache(Engine(), path=bad).open()


# Processes


async def test_another_process_at_the_same_first_moment_is_waited_for(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "r.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")  # SQLite refuses to change the journal beside it, at once
    store = ReplyStore(tmp_path / "r.sqlite")
    opening = asyncio.create_task(store.open())
    await asyncio.sleep(0.1)
    other.execute("COMMIT")
    other.close()
    await opening
    assert await store.count() == 0
    await store.close()


WRITER = """
import asyncio, sys
from pathlib import Path
from warmline.policies.base import Reply
from warmline.policies.wrappers.store import ReplyStore

async def main():
    store = ReplyStore(sys.argv[1])
    while not Path(sys.argv[2]).exists():
        await asyncio.sleep(0.001)
    await asyncio.gather(*(store.put(n.to_bytes(32, "big"), Reply(text=str(n))) for n in range(300)))
    assert (await store.get((7).to_bytes(32, "big"))).text == "7"
    await store.close()

asyncio.run(main())
"""


async def test_processes_share_a_file_from_the_first_moment(tmp_path: Path) -> None:
    path, start = tmp_path / "r.sqlite", tmp_path / "start"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, path, start], stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    await asyncio.sleep(0.6)
    start.touch()
    for writer in writers:
        _, stderr = writer.communicate(timeout=40)
        assert writer.returncode == 0, stderr.decode()
    store = ReplyStore(path)
    assert await store.count() == 300
    await store.close()


RUN = """
import asyncio, sys
from pathlib import Path
import warmline
from warmline.policies.base import Reply, Usage
from warmline.policies.wrappers import Cache, Wrapper
from warmline.policies.wrappers.cache import request_key

folder = Path(sys.argv[1])
PAUSE = float(sys.argv[2])

class Logged(Wrapper):
    '''Notes in a file each request that passes (`asked`) and each answer (`given`).'''
    def __init__(self, policy, file):
        super().__init__(policy)
        self.file = file

    def note(self, what, request):
        with self.file.open("a") as lines:
            lines.write(f"{what} {request.role} {request.seed}\\n")

    async def respond(self, request):
        self.note("asked", request)
        reply = await self.inner.respond(request)
        self.note("given", request)
        return reply

async def answer(request):
    await asyncio.sleep(PAUSE)
    if request.choices:
        return request.choices[0] if request.role == "judger" else request.choices[1]
    return f"I hear number {request.seed}."

async def main():
    engine = Logged(warmline.ScriptedPolicy(answer), folder / "engine.log")
    policy = Logged(Cache(engine, path=folder / "cache.sqlite"), folder / "outside.log")
    environment = warmline.SupportEnvironment(
        seeker=policy, counselor=policy, supporter=policy, judger=policy, max_turns=10, min_turns=10
    )
    scenarios = warmline.draw_scenarios(4, seed=1)
    async with environment:
        await warmline.run_batch(
            environment, scenarios, out=folder / "run", concurrency=4, seed=3
        )

asyncio.run(main())
"""


def _lines(file: Path, what: str) -> list[str]:
    lines = file.read_text().splitlines() if file.exists() else []
    return [line.split(" ", 1)[1] for line in lines if line.startswith(what)]


def test_a_killed_run_asks_the_engine_nothing_twice(tmp_path: Path) -> None:
    command = [sys.executable, "-c", RUN, str(tmp_path)]
    engine, outside = tmp_path / "engine.log", tmp_path / "outside.log"
    process = subprocess.Popen([*command, "0.02"])
    while len(_lines(outside, "given")) < 25:
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    had = _lines(outside, "given")
    in_flight = set(_lines(outside, "asked")) - set(had)
    assert len(had) == len(set(had))
    assert not (tmp_path / "run" / "episodes.jsonl").read_text(), "killed in the middle of episodes"
    before = len(_lines(engine, "asked"))
    outside.unlink()

    subprocess.run([*command, "0"], check=True, timeout=40)
    again = _lines(engine, "asked")[before:]
    assert not set(again) & set(had), "an answer that was handed out is never asked for again"
    asked = _lines(engine, "asked")
    twice = {call for call in asked if asked.count(call) > 1}
    assert twice <= in_flight, "only what was under way when the process died"
    assert len(in_flight) <= 4
    played = _lines(outside, "given")
    assert set(had) <= set(played)
    assert set(asked) == set(played)

    # the same run without an interruption
    whole = tmp_path / "whole"
    whole.mkdir()
    subprocess.run([sys.executable, "-c", RUN, str(whole), "0"], check=True, timeout=40)
    from warmline import read_episodes

    def contents(folder: Path) -> list[Any]:
        episodes = read_episodes(folder / "run")
        return [episode.content() for episode in sorted(episodes, key=lambda e: e.id)]

    assert contents(tmp_path) == contents(whole)
