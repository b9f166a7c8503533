"""What is finished does not stay in memory: live episodes are counted at two sizes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import warmline
from warmline.environments import Ended, Episodes, Resumed
from warmline.environments.episodes import index, log
from warmline.environments.episodes.derived import derived_path
from warmline.environments.episodes.usage import Price
from warmline.environments.runs import finished, summary
from warmline.environments.runs.summary import TOTALS, summarize

from ...live import Live, counting
from ..helpers import scenarios, talk
from .test_runner import environment


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> Live:
    return counting(monkeypatch)


@pytest.mark.parametrize("count", [20, 80])
async def test_a_run_holds_only_the_open_episodes(tmp_path: Path, live: Live, count: int) -> None:
    def observe(event: object) -> None:
        if isinstance(event, Ended):
            live.watch(event.episode)

    policy = warmline.ScriptedPolicy(record=False)
    made = await warmline.run_batch(
        environment(policy), scenarios(count), out=tmp_path, concurrency=4, observe=observe
    )
    assert isinstance(made, Episodes)
    assert live.read == 0
    assert live.most <= 8
    assert [e.id for e in made] == [f"s{n}" for n in range(count)]
    assert live.most <= 8


async def test_a_resume_reads_no_record_before_its_first_event(tmp_path: Path, live: Live) -> None:
    run: dict[str, Any] = {"out": tmp_path, "concurrency": 2}
    policy = warmline.ScriptedPolicy(record=False)
    await warmline.run_batch(environment(policy), scenarios(30), **run)
    read: list[int] = []

    def observe(event: object) -> None:
        read.append(live.read)
        if isinstance(event, Resumed):
            assert (len(event.episodes), event.failed) == (30, 0)
            assert sum(event.stops.values()) == 30

    await warmline.run_batch(environment(policy), scenarios(33), observe=observe, **run)
    assert read
    assert set(read) == {0}
    assert live.most <= 4, "the summary reads one after the other"
    written = json.loads((tmp_path / "summary.json").read_text("utf-8"))
    assert written == json.loads(json.dumps(summarize(warmline.read_episodes(tmp_path))))


async def test_sums_are_kept_and_only_for_the_same_episodes(
    tmp_path: Path, live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summary, "WORTH_KEEPING", 1)
    monkeypatch.setattr(index, "WORTH_KEEPING", 1)
    path = tmp_path / "summary.json"
    prices = {"scripted": Price(prompt=1, completion=2)}

    async def run(count: int, **more: Any) -> tuple[int, Any]:
        """Records read, and what the summary says of usage."""
        before = live.read
        await warmline.run_batch(environment(talk()), scenarios(count), out=tmp_path, **more)
        written = json.loads(path.read_text("utf-8"))
        last = [e for e in warmline.read_episodes(tmp_path) if int(e.id[1:]) < count]
        fresh = json.loads(json.dumps(summarize(last, more.get("prices"))))
        assert written == fresh
        return live.read - before - len(warmline.read_episodes(tmp_path)), written

    assert (await run(8))[0] == 0
    assert (await run(8))[0] == 0, "nothing is read where the same is asked for again"
    read, priced = await run(8, prices=prices)
    assert read == 0
    assert priced["usage"]["total"]["cost"] > 0
    assert (await run(10))[0] == 0
    assert (await run(5))[0] == 5, "the sums are of other episodes"
    kept = derived_path(tmp_path / "episodes.jsonl", TOTALS)
    assert (await run(5))[0] == 0
    kept.write_text(kept.read_text("utf-8").replace('"episodes":5', '"episodes":6'), "utf-8")
    assert (await run(5))[0] == 5, "and what was changed is not used"


async def test_only_the_crashes_are_read_to_see_whether_a_policy_has_proven_itself(
    tmp_path: Path, live: Live
) -> None:
    policy = warmline.ScriptedPolicy(record=False)
    await warmline.run_batch(environment(policy), scenarios(5), out=tmp_path)
    with log.EpisodeLog(tmp_path / "episodes.jsonl") as opened:
        assert finished.FinishedInLog(opened, [f"s{n}" for n in range(5)]).proven
    assert live.read == 0
