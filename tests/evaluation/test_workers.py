"""Judging, evaluating and self-play by several workers: what one process finds, kills included."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import warmline
from warmline import Request, ScriptedPolicy
from warmline.core.errors import AuthenticationFailed, ConfigError
from warmline.environments.episodes.rating import iter_ratings
from warmline.evaluation import EvaluationSettings, SelfPlaySettings, evaluate, self_play
from warmline.evaluation.judging.judge_run import judge_run
from warmline.evaluation.judging.settings import JudgeSettings
from warmline.evaluation.replies.reply import iter_replies

from ..environments.helpers import scenarios
from ..environments.shards.dying import DiesOnce
from ..environments.shards.test_run import environment, seeded


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("played")
    asyncio.run(warmline.run_batch(environment(seeded), scenarios(8), out=folder))
    return folder


def verdict(request: Request) -> str:
    seed = request.seed or 0
    said = {"explanation": f"It is {seed}.", "faults": [], "score": 1 + seed % 5}
    said["better"] = "first" if seed % 2 else "second"
    assert request.schema is not None
    return json.dumps({name: said[name] for name in request.schema["properties"]})


def reply(request: Request) -> str:
    return f"I hear you, {request.seed}."


def ratings(file: Path) -> Counter[str]:
    return Counter(rating.to_json() for rating in iter_ratings(file))


async def judged(run: Path, out: Path, answer: Any, **fields: Any) -> Any:
    settings = JudgeSettings(out=str(out), concurrency=2, **fields)
    return await judge_run(run, settings, policy=ScriptedPolicy(answer, record=False))


async def test_a_judge_in_two_workers_one_of_which_is_killed(run: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    alone = await judged(run, one, verdict)
    dying = DiesOnce(tmp_path / "dying", verdict, at=20)
    made = await judged(run, two, dying, workers=2)
    assert ratings(two) == ratings(one)
    assert made.scores == alone.scores
    assert all(score.mean for score in made.scores)
    assert (made.tally.asked, made.tally.resumed) == (alone.tally.asked, 0)
    assert (tmp_path / "dying" / "dead").exists()
    assert alone.tally.asked <= len(dying.asked()) <= alone.tally.asked + 2, "what was open is lost"
    assert not list(tmp_path.glob("two-*-of-*.jsonl")), "taken in"
    again = await judged(run, two, dying)
    assert (again.tally.asked, again.tally.resumed) == (0, alone.tally.asked)


async def test_an_error_that_all_would_meet_comes_from_the_worker(
    run: Path, tmp_path: Path
) -> None:
    def refused(request: Request) -> str:
        raise AuthenticationFailed("wrong key")

    with pytest.raises(AuthenticationFailed, match="wrong key"):
        await judged(run, tmp_path / "r.jsonl", refused, workers=2)


def test_an_evaluation_in_two_workers_one_of_which_is_killed(run: Path, tmp_path: Path) -> None:
    fields = {"setting": "both", "resamples": 0, "concurrency": 2}
    one = evaluate(run, policy=ScriptedPolicy(reply), out=str(tmp_path / "one"), **fields)
    dying = DiesOnce(tmp_path / "dying", reply, at=7)
    policy = ScriptedPolicy(dying, record=False)
    two = tmp_path / "two"
    made = evaluate(run, policy=policy, out=str(two), workers=2, **fields)
    assert [r.as_dict()["scores"] for r in made] == [r.as_dict()["scores"] for r in one]
    texts = {r.key: r.text for r in iter_replies(two)}
    assert texts == {r.key: r.text for r in iter_replies(tmp_path / "one")}
    assert (tmp_path / "dying" / "dead").exists()
    assert len(texts) <= len(dying.asked()) <= len(texts) + 2
    assert not list(two.glob("replies-*.jsonl"))
    asked = len(dying.asked())
    evaluate(run, policy=policy, out=str(two), **fields)
    assert len(dying.asked()) == asked, "nothing is asked again"


def test_workers_need_a_folder() -> None:
    with pytest.raises(ConfigError, match="workers: they need a folder"):
        EvaluationSettings(workers=2)


async def test_self_play_in_workers(tmp_path: Path) -> None:
    async def played(name: str, **more: Any) -> Any:
        counselor = {"seated": False}
        settings = SelfPlaySettings(
            out=str(tmp_path / name), max_turns=4, pairwise=True, policy="scripted",
            counselor=counselor, judger=counselor, **more,
        )  # fmt: skip
        return await self_play(
            settings, a=ScriptedPolicy(seeded), b=ScriptedPolicy(reply),
            judge_policy=ScriptedPolicy(verdict), scenarios=scenarios(4),
        )  # fmt: skip

    assert (await played("two", workers=2)).as_dict() == (await played("one")).as_dict()
    for file in ("a/seed-0/ratings.jsonl", "comparisons-seed-0.jsonl"):
        assert ratings(tmp_path / "two" / file) == ratings(tmp_path / "one" / file)
