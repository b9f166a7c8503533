"""Several workers on one machine: the same episodes, resume, lost workers, interrupts, refusals."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import warmline
from warmline.core.errors import AuthenticationFailed, BadRequest, ConfigError, RunError
from warmline.core.shards.driver import ShardLost, ShardStarted, UnitDone
from warmline.core.shards.leases import Leases
from warmline.environments import Episode, StopReason
from warmline.environments.shards.sharded import Found, ShardedRun
from warmline.environments.shards.work import Itself

from ...warm import Started as Forked
from ..helpers import scenarios, talk


def environment(script: Any, **changes: Any) -> warmline.SupportEnvironment:
    policy = warmline.ScriptedPolicy(script, record=False)
    return warmline.SupportEnvironment(
        **{"seeker": policy, "supporter": policy, "max_turns": 4} | changes
    )


def seeded(request: warmline.Request) -> str:
    """An answer that shows the call's seed."""
    return f"I am number {request.seed}."


async def slowly(request: warmline.Request) -> str:
    await asyncio.sleep(0.01)
    return f"I am number {request.seed}."


async def alone(count: int, script: Any = seeded) -> list[Episode]:
    return list(await warmline.run_batch(environment(script), scenarios(count)))


def contents(episodes: Any) -> list[Any]:
    return [episode.content() for episode in episodes]


def records(folder: Path) -> list[dict[str, Any]]:
    """Every record in the logs of a folder."""
    files = sorted(folder.glob("episodes*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def test_workers_play_what_one_process_plays(tmp_path: Path) -> None:
    made = warmline.run_sharded(
        environment(seeded), scenarios(40), out=tmp_path, workers=3, seed=0, concurrency=2
    )
    whole = asyncio.run(alone(40))
    assert contents(made) == contents(whole)
    assert contents(warmline.read_episodes(tmp_path)) == contents(whole), "in scenario order"
    logs = sorted(p.name for p in tmp_path.glob("episodes-*.jsonl"))
    assert logs == ["episodes-0000.jsonl", "episodes-0001.jsonl", "episodes-0002.jsonl"]
    assert len(records(tmp_path)) == 40
    summary = json.loads((tmp_path / "summary.json").read_text())
    expected = json.loads(json.dumps(warmline.environments.summarize(made)))
    assert summary == expected


@pytest.mark.parametrize("order", [(2, None, 3), (None, 1, None)])
def test_a_resume_takes_any_number_of_workers_or_none(
    tmp_path: Path, order: tuple[int | None, ...]
) -> None:
    for count, workers in zip((7, 15, 24), order, strict=True):
        if workers is None:
            asyncio.run(warmline.run_batch(environment(seeded), scenarios(count), out=tmp_path))
        else:
            warmline.run_sharded(
                environment(seeded), scenarios(count), out=tmp_path, workers=workers
            )
        found = warmline.read_episodes(tmp_path)
        assert [e.id for e in found] == [f"s{n}" for n in range(count)]
        assert json.loads((tmp_path / "summary.json").read_text())["episodes"] == count
    assert contents(found) == contents(asyncio.run(alone(24)))
    assert len(records(tmp_path)) == 24


def test_what_is_finished_is_not_played_again(tmp_path: Path) -> None:
    run: dict[str, Any] = {"out": tmp_path, "workers": 2}
    warmline.run_sharded(environment(seeded), scenarios(6), **run)
    events: list[object] = []
    made = warmline.run_sharded(environment(seeded), scenarios(6), observe=events.append, **run)
    assert [type(event) for event in events] == [Found]
    assert len(made) == 6


def test_a_killed_worker_costs_only_what_it_had_open(tmp_path: Path) -> None:
    """Three SIGKILLs, of whichever worker has just finished something."""
    kills = 0
    events: list[object] = []

    def observe(event: object) -> None:
        nonlocal kills
        events.append(event)
        done = sum(isinstance(e, UnitDone) for e in events)
        if isinstance(event, UnitDone) and kills < 3 and done > 12 * (kills + 1):
            said = json.loads((tmp_path / "shards" / f"{event.shard:04d}.json").read_text())
            os.kill(said["pid"], signal.SIGKILL)
            kills += 1

    made = warmline.run_sharded(
        environment(slowly), scenarios(60), out=tmp_path, workers=2, concurrency=3, observe=observe
    )
    lost = [event for event in events if isinstance(event, ShardLost)]
    assert kills == 3
    assert 1 <= len(lost) <= 3, "two kills may meet the same process"
    assert "exit code -9" in lost[0].why
    assert max(e.restarts for e in events if isinstance(e, ShardStarted)) >= 1
    assert len(records(tmp_path)) == 60, "nothing twice"
    assert contents(made) == contents(asyncio.run(alone(60, slowly)))


def many(folder: Path, workers: int) -> None:
    warmline.run_sharded(
        environment(slowly), scenarios(150), out=folder, workers=workers, concurrency=2
    )


def test_a_killed_driver_loses_and_repeats_nothing(tmp_path: Path) -> None:
    clock = random.Random(3)
    killed = tmp_path / "run"
    for _ in range(4):
        process = Forked(many, killed, clock.choice([1, 2, 3]))
        time.sleep(0.5 + clock.random() * 1.5)
        process.kill()
    assert Forked(many, killed, 2).wait(120) == 0
    counts = Counter(record["id"] for record in records(killed))
    assert sum(counts.values()) == len(counts) == 150
    assert contents(warmline.read_episodes(killed)) == contents(asyncio.run(alone(150, slowly)))


def test_ctrl_c_finishes_what_is_open(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done: list[object] = []

    def observe(event: object) -> None:
        if isinstance(event, UnitDone):
            done.append(event)
            if len(done) == 5:
                signal.raise_signal(signal.SIGINT)

    made = warmline.run_sharded(
        environment(slowly), scenarios(200), out=tmp_path, workers=2, concurrency=2, observe=observe
    )
    assert 5 <= len(made) < 200
    assert {e.id for e in warmline.read_episodes(tmp_path)} == {e.id for e in made}
    assert all(e.stop is not StopReason.ERROR for e in made)
    assert all(len(e.utterances) == 4 for e in made), "open ones were finished"
    printed = capsys.readouterr().err
    assert f"stopped with {len(made)} of 200 episodes finished" in printed
    assert (
        len(warmline.run_sharded(environment(slowly), scenarios(200), out=tmp_path, workers=3))
        == 200
    )


SCRIPT = """
import asyncio, sys
import warmline

async def slowly(request):
    await asyncio.sleep(0.05)
    return "Well."

def observe(event):
    print(type(event).__name__, flush=True)

policy = warmline.ScriptedPolicy(slowly)
warmline.run_sharded(
    warmline.SupportEnvironment(seeker=policy, supporter=policy, max_turns=4),
    warmline.draw_scenarios(400, seed=0), out=sys.argv[1], workers=2, concurrency=2, observe=observe,
)
print("never reached")
"""


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_sigterm_ends_a_script_after_what_is_open(
    tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, tmp_path / "run"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    while (line := process.stdout.readline().strip()) != "UnitDone":
        assert line, process.communicate()[1]
    process.send_signal(sent)
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert "never reached" not in printed
    assert "Traceback" not in errors
    made = warmline.read_episodes(tmp_path / "run")
    assert 1 <= len(made) < 400
    assert all(len(episode.utterances) == 4 for episode in made)
    for said in (tmp_path / "run" / "shards").glob("*.json"):
        with pytest.raises(ProcessLookupError):
            os.kill(json.loads(said.read_text())["pid"], 0)


def test_a_fatal_error_of_a_worker_stops_the_run(tmp_path: Path) -> None:
    def answer(request: warmline.Request) -> str:
        if request.session.startswith("s9/"):
            raise AuthenticationFailed("wrong key", hint="set another")
        return "Well."

    with pytest.raises(AuthenticationFailed, match="wrong key") as raised:
        warmline.run_sharded(environment(answer), scenarios(10), out=tmp_path, workers=2)
    assert raised.value.hint == "set another"
    assert len(warmline.read_episodes(tmp_path)) < 10


def crashing(*names: str) -> Any:
    def answer(request: warmline.Request) -> str:
        if request.session.split("/")[0] in names:
            raise ZeroDivisionError("nothing to divide by")
        return "Well."

    return answer


def test_a_bug_before_anything_has_ended_stops_the_run(tmp_path: Path) -> None:
    every = crashing(*(f"s{n}" for n in range(10)))
    with pytest.raises(ZeroDivisionError, match="nothing to divide by") as raised:
        warmline.run_sharded(environment(every), scenarios(10), out=tmp_path, workers=2)
    assert "raised in worker" in raised.value.__notes__[0]
    assert 'raise ZeroDivisionError("nothing to divide by")' in raised.value.__notes__[0]


def test_a_bug_that_shows_later_is_one_episodes_error(tmp_path: Path) -> None:
    warmline.run_sharded(environment(crashing()), scenarios(3), out=tmp_path, workers=1)
    made = warmline.run_sharded(environment(crashing("s7")), scenarios(10), out=tmp_path, workers=2)
    assert [e.id for e in made if e.error] == ["s7"]
    again: dict[str, Any] = {"out": tmp_path, "workers": 2, "retry_failed": True}
    made = warmline.run_sharded(environment(crashing()), scenarios(10), **again)
    assert not any(e.error for e in made)
    assert len(records(tmp_path)) == 11
    assert not any(e.error for e in warmline.read_episodes(tmp_path))
    assert json.loads((tmp_path / "summary.json").read_text())["errors"] == {}


def test_a_worker_that_dies_at_once_is_given_up_with_what_it_printed(tmp_path: Path) -> None:
    def answer(request: warmline.Request) -> str:
        print("out of memory, or so", file=sys.stderr, flush=True)
        os._exit(9)

    with pytest.raises(RunError, match=r"lost 3 times.*exit code 9") as raised:
        warmline.run_sharded(environment(answer), scenarios(4), out=tmp_path, workers=1)
    assert "out of memory, or so" in str(raised.value)


def test_other_settings_and_a_folder_in_use_are_refused(tmp_path: Path) -> None:
    warmline.run_sharded(environment(seeded), scenarios(3), out=tmp_path, workers=1)
    with pytest.raises(RunError, match="max_turns"):
        warmline.run_sharded(
            environment(seeded, max_turns=2), scenarios(3), out=tmp_path, workers=1
        )
    with pytest.raises(RunError, match="seed"):
        warmline.run_sharded(environment(seeded), scenarios(3), out=tmp_path, workers=1, seed=4)
    with (
        warmline.environments.EpisodeLog(tmp_path / "episodes.jsonl"),
        pytest.raises(RunError, match="being written by another process"),
    ):
        warmline.run_sharded(environment(seeded), scenarios(4), out=tmp_path, workers=1)


def test_what_cannot_be_played_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(ConfigError, match="more than once"):
        warmline.run_sharded(
            environment(seeded), [*scenarios(2), *scenarios(1)], out=out, workers=1
        )
    with pytest.raises(ConfigError, match="workers"):
        warmline.run_sharded(environment(seeded), scenarios(2), out=out, workers=0)
    with pytest.raises(ConfigError, match="needs scenarios"):
        warmline.run_sharded(environment(seeded), out=out)
    assert not out.exists()


def test_failed_episodes_are_data_here_too(tmp_path: Path) -> None:
    def answer(request: warmline.Request) -> str:
        if request.session.startswith(("s3/", "s7/")):
            raise BadRequest("refused")
        return "Well."

    made = warmline.run_sharded(environment(answer), scenarios(10), out=tmp_path, workers=2)
    assert [e.id for e in made if e.stop is StopReason.ERROR] == ["s3", "s7"]


def test_a_talk_that_was_written_twice_is_read_once(tmp_path: Path) -> None:
    """As after the loss of a node that went on writing."""
    made = warmline.run_sharded(environment(seeded), scenarios(6), out=tmp_path, workers=1)
    with warmline.environments.EpisodeLog(tmp_path / "episodes-0007.jsonl") as log:
        log.append(made[2])
    assert len(records(tmp_path)) == 7
    assert [e.id for e in warmline.read_episodes(tmp_path)] == [f"s{n}" for n in range(6)]
    assert sorted(e.id for e in warmline.iter_episodes(tmp_path)) == [f"s{n}" for n in range(6)]
    run = warmline.run_sharded(environment(seeded), scenarios(6), out=tmp_path, workers=2)
    assert len(run) == 6


def test_settings_are_played_as_simulate_plays_them(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"policy": "scripted", "episodes": 9, "seed": 5, "max_turns": 4}
    made = warmline.run_sharded(settings, out=tmp_path, workers=2)
    assert contents(made) == contents(warmline.simulate(**settings))
    assert contents(warmline.simulate(**settings, out=tmp_path)) == contents(made)


def test_an_environment_may_be_made_in_each_worker(tmp_path: Path) -> None:
    made = warmline.run_sharded(
        lambda: warmline.SupportEnvironment(seeker=talk(), supporter=talk(), max_turns=4),
        scenarios(4), out=tmp_path, workers=2,
    )  # fmt: skip
    assert len(made) == 4


def test_a_driver_takes_few_bytes_for_each_of_many_conversations(tmp_path: Path) -> None:
    def held(count: int) -> int:
        scenarios = warmline.draw_scenarios(count, seed=1)
        tracemalloc.start()
        run = ShardedRun(Itself(environment(seeded)), scenarios, out=tmp_path / str(count))
        with run._claimed() as log:
            missing, _ = run._missing(log.index)
            leases = Leases(missing, 2)
            taken = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert leases.take(0, 2) == [0, 1]
        return taken

    held(10)  # what is imported or made once
    assert (held(30_000) - held(10_000)) / 20_000 < 40


def test_nothing_of_a_workers_process_outlives_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pipes are closed while the loop runs; at collection they would ask a closed one."""
    made: list[asyncio.subprocess.Process] = []
    start = asyncio.create_subprocess_exec

    async def keep(*words: Any, **given: Any) -> asyncio.subprocess.Process:
        made.append(await start(*words, **given))
        return made[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", keep)

    def refuse(request: warmline.Request) -> str:
        raise AuthenticationFailed("no")

    with pytest.raises(AuthenticationFailed):
        warmline.run_sharded(environment(refuse), scenarios(8), out=tmp_path, workers=2)
    assert made
    assert all(vars(process)["_transport"].is_closing() for process in made)
