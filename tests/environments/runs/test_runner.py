"""Batches: concurrency, isolation, resume, kills, refusals."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

import warmline
from warmline.core.errors import AuthenticationFailed, BadRequest, ConfigError, RunError
from warmline.environments import Ended, Interrupted, Started, StopReason

from ...warm import Started as Forked
from ..helpers import scenario, scenarios, talk


def environment(policy: Any, **changes: Any) -> warmline.SupportEnvironment:
    fields = {"seeker": policy, "supporter": policy, "max_turns": 4} | changes
    return warmline.SupportEnvironment(**fields)


async def test_episodes_come_in_the_order_of_the_scenarios() -> None:
    async def answer(request: warmline.Request) -> str:
        await asyncio.sleep(random.random() / 200)
        return "Well."

    made = await warmline.run_batch(
        environment(warmline.ScriptedPolicy(answer)), scenarios(12), concurrency=5
    )
    assert [episode.id for episode in made] == [s.id for s in scenarios(12)]


async def test_concurrency_is_bounded_and_used() -> None:
    open_now = most = 0

    def observe(event: object) -> None:
        nonlocal open_now, most
        open_now += isinstance(event, Started)
        open_now -= isinstance(event, Ended)
        most = max(most, open_now)

    async def answer(request: warmline.Request) -> str:
        await asyncio.sleep(0.001)
        return "Well."

    await warmline.run_batch(
        environment(warmline.ScriptedPolicy(answer)),
        scenarios(20),
        concurrency=4,
        observe=observe,
    )
    assert most == 4


async def test_a_bad_episode_does_not_touch_the_others(tmp_path: Path) -> None:
    def answer(request: warmline.Request) -> str:
        if request.session.startswith(("s3/", "s7/")):
            raise BadRequest("refused")
        return "Well."

    policy = warmline.ScriptedPolicy(answer)
    made = await warmline.run_batch(environment(policy), scenarios(10), out=tmp_path)
    assert [e.id for e in made if e.stop is StopReason.ERROR] == ["s3", "s7"]
    assert len(warmline.read_episodes(tmp_path)) == 10
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["errors"] == {"BadRequest": 2}


async def test_failed_episodes_are_kept_and_tried_again_only_when_asked(tmp_path: Path) -> None:
    broken = {"s1"}

    def answer(request: warmline.Request) -> str:
        if request.session.split("/")[0] in broken:
            raise BadRequest("refused")
        return "Well."

    env = environment(warmline.ScriptedPolicy(answer))
    await warmline.run_batch(env, scenarios(3), out=tmp_path)
    broken.clear()
    same = await warmline.run_batch(env, scenarios(3), out=tmp_path)
    assert [e.stop for e in same].count(StopReason.ERROR) == 1
    again = await warmline.run_batch(env, scenarios(3), out=tmp_path, retry_failed=True)
    assert [e.stop for e in again].count(StopReason.ERROR) == 0
    assert len(warmline.read_episodes(tmp_path)) == 3


async def test_a_fatal_error_stops_the_run_and_keeps_what_is_finished(tmp_path: Path) -> None:
    def answer(request: warmline.Request) -> str:
        if request.session.startswith("s4/"):
            raise AuthenticationFailed("wrong key")
        return "Well."

    env = environment(warmline.ScriptedPolicy(answer))
    with pytest.raises(AuthenticationFailed):
        await warmline.run_batch(env, scenarios(10), out=tmp_path, concurrency=1)
    assert [e.id for e in warmline.read_episodes(tmp_path)] == ["s0", "s1", "s2", "s3"]


def crashing(*names: str) -> warmline.ScriptedPolicy:
    """A policy with a bug that shows in some episodes."""

    def answer(request: warmline.Request) -> str:
        if request.session.split("/")[0] in names:
            raise ZeroDivisionError("nothing to divide by")
        return "Well."

    return warmline.ScriptedPolicy(answer)


async def test_a_bug_of_a_policy_is_one_episodes_error_with_its_traceback(tmp_path: Path) -> None:
    made = await warmline.run_batch(
        environment(crashing("s2")), scenarios(5), out=tmp_path, concurrency=1
    )
    assert [e.id for e in made if e.error] == ["s2"]
    failed = warmline.read_episodes(tmp_path)[2]
    assert failed.error is not None
    assert failed.error.type == "ZeroDivisionError"
    assert 'raise ZeroDivisionError("nothing to divide by")' in (failed.error.traceback or "")
    assert (failed.calls[-1].error or "").startswith("ZeroDivisionError: nothing to divide by")
    assert "traceback" not in failed.content()["error"]
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["errors"] == {"ZeroDivisionError": 1}
    made = await warmline.run_batch(
        environment(crashing()), scenarios(5), out=tmp_path, retry_failed=True
    )
    assert not any(episode.error for episode in made)


async def test_a_bug_before_any_episode_has_ended_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        await warmline.run_batch(
            environment(crashing("s0")), scenarios(5), out=tmp_path, concurrency=1
        )
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ZeroDivisionError):
        await environment(crashing("s0")).run(scenario("s0"))


async def test_a_bug_of_an_agent_is_an_episodes_error_too(tmp_path: Path) -> None:
    class Careless(warmline.Supporter):
        def read(self, reply: warmline.Reply) -> Any:
            if "Well, s2" in reply.text:
                raise KeyError("s2")
            return super().read(reply)

    policy = warmline.ScriptedPolicy(lambda r: f"Well, {r.session.split('/')[0]}.")
    made = await warmline.run_batch(
        environment(policy, supporter=Careless(policy)), scenarios(4), concurrency=1
    )
    assert [e.error.type for e in made if e.error] == ["KeyError"]


async def test_a_fault_of_an_observer_stops_the_run() -> None:
    def observe(event: object) -> None:
        if isinstance(event, Ended) and event.episode.id == "s1":
            raise OSError("the screen is gone")

    with pytest.raises(OSError, match="the screen is gone"):
        await warmline.run_batch(environment(talk()), scenarios(5), concurrency=1, observe=observe)


async def test_the_same_call_again_plays_only_what_is_missing(tmp_path: Path) -> None:
    policy = talk()
    first = await warmline.run_batch(environment(policy), scenarios(4), out=tmp_path, seed=3)
    asked = len(policy.requests)
    more = await warmline.run_batch(environment(policy), scenarios(6), out=tmp_path, seed=3)
    assert more[:4] == first
    assert {r.session.split("/")[0] for r in policy.requests[asked:]} == {"s4", "s5"}


@pytest.mark.parametrize(
    ("changes", "seed", "shown"),
    [
        ({"max_turns": 6}, 3, "limits.max_turns: 4 -> 6"),
        ({}, 4, "seed: 3 -> 4"),
        ({"judger": talk()}, 3, "judger.policy: (not set) -> scripted"),
    ],
)
async def test_a_changed_configuration_is_refused_with_the_difference(
    tmp_path: Path, changes: dict[str, Any], seed: int, shown: str
) -> None:
    await warmline.run_batch(environment(talk()), scenarios(2), out=tmp_path, seed=3)
    before = (tmp_path / "episodes.jsonl").read_bytes()
    with pytest.raises(RunError) as raised:
        await warmline.run_batch(
            environment(talk(), **changes), scenarios(2), out=tmp_path, seed=seed
        )
    assert shown in str(raised.value)
    assert (tmp_path / "episodes.jsonl").read_bytes() == before


async def test_a_changed_template_is_refused(tmp_path: Path) -> None:
    await warmline.run_batch(environment(talk()), scenarios(1), out=tmp_path)
    seeker = warmline.Seeker(talk(), template="{% block system %}Other words.{% endblock %}")
    with pytest.raises(RunError, match=r"seeker\.template"):
        await warmline.run_batch(environment(talk(), seeker=seeker), scenarios(1), out=tmp_path)


async def test_a_stopped_run_finishes_what_is_open_and_says_how_to_go_on(tmp_path: Path) -> None:
    stop = asyncio.Event()

    async def answer(request: warmline.Request) -> str:
        await asyncio.sleep(0.002)
        if request.session.startswith("s5/"):
            stop.set()
        return "Well."

    env = environment(warmline.ScriptedPolicy(answer))
    with pytest.raises(Interrupted, match="same command again"):
        await warmline.run_batch(env, scenarios(30), out=tmp_path, concurrency=3, stop=stop)
    done = warmline.read_episodes(tmp_path)
    assert 6 <= len(done) < 30
    assert all(e.stop is StopReason.TURN_LIMIT for e in done)
    stop.clear()
    made = await warmline.run_batch(env, scenarios(30), out=tmp_path, concurrency=3)
    assert len(made) == 30


async def test_without_a_concurrency_every_slot_of_the_engine_is_kept_busy() -> None:
    """A conversation reads and writes prompts between two requests; others use its slot then."""

    class Engine(warmline.ScriptedPolicy):
        requests_at_once = 4

        def __init__(self) -> None:
            super().__init__(["I see."])
            self.slots = asyncio.Semaphore(4)
            self.asked = self.most = 0

        async def respond(self, request: warmline.Request) -> warmline.Reply:
            self.asked += 1
            self.most = max(self.most, self.asked)
            async with self.slots:
                await asyncio.sleep(0.002)
                reply = await super().respond(request)
            self.asked -= 1
            return reply

    begun, most = 0, 0

    def observe(event: Any) -> None:
        nonlocal begun, most
        begun += isinstance(event, Started) - isinstance(event, Ended)
        most = max(most, begun)

    engine = Engine()
    await warmline.run_batch(environment(engine), scenarios(12), observe=observe)
    assert most == 5
    assert engine.most == 5  # one waits at a time, and takes the first slot that is free


async def test_repeated_ids_and_zero_concurrency_are_refused() -> None:
    with pytest.raises(ConfigError, match="more than once: s1"):
        await warmline.run_batch(environment(talk()), [scenario("s1"), scenario("s1")])
    with pytest.raises(ConfigError, match="at least 1"):
        await warmline.run_batch(environment(talk()), scenarios(1), concurrency=0)


async def test_the_folder_holds_a_readable_configuration(tmp_path: Path) -> None:
    await warmline.run_batch(environment(talk()), scenarios(1), out=tmp_path, seed=9)
    config = tomllib.loads((tmp_path / "config.toml").read_text())
    assert config["identity"]["seed"] == 9
    assert config["identity"]["limits"]["max_turns"] == 4
    assert not list(tmp_path.glob("*.partial"))


async def differing(request: warmline.Request) -> str:
    await asyncio.sleep(((request.seed or 0) % 5) / 700)
    seed = request.seed or 0
    if request.choices:
        return request.choices[seed % len(request.choices)]
    return f"Words {seed}. More. And more. Too much."


def two_hundred(folder: Path, concurrency: int) -> None:
    """What the processes that are killed run."""
    policy = warmline.ScriptedPolicy(differing, record=False)
    env = warmline.SupportEnvironment(
        seeker=policy, counselor=policy, supporter=policy, judger=policy, max_turns=8
    )
    batch = warmline.run_batch(env, scenarios(200), out=folder, concurrency=concurrency, seed=11)
    asyncio.run(batch)


@pytest.mark.timeout(240)
def test_twenty_kills_lose_and_repeat_nothing(tmp_path: Path) -> None:
    """200 episodes, SIGKILL at twenty random moments, another concurrency each time."""
    clock = random.Random(5)
    killed = tmp_path / "killed"
    kills = 0
    while kills < 20:
        process = Forked(two_hundred, killed, clock.choice([1, 2, 3]))
        time.sleep(clock.random() * 0.3)
        ended = process.kill()
        assert ended == -signal.SIGKILL, f"over after {kills} kills: slow the policy down"
        kills += 1
    assert Forked(two_hundred, killed, 16).wait(60) == 0
    assert Forked(two_hundred, tmp_path / "whole", 7).wait(60) == 0

    lines = (killed / "episodes.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert len(records) == 200
    assert len({record["id"] for record in records}) == 200

    def content(folder: Path) -> list[str]:
        kept = [json.loads(x) for x in (folder / "episodes.jsonl").read_text().splitlines()]
        for record in kept:
            del record["timing"]
        return sorted(json.dumps(record, ensure_ascii=False) for record in kept)

    assert content(killed) == content(tmp_path / "whole")
