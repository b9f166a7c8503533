"""Replies of `evaluate` before judges, people and analyses: real evaluations, scripted models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from warmline import ScriptedPolicy
from warmline.cli import app
from warmline.core.errors import ConfigError, DataError, EngineTimeout
from warmline.environments.episodes.rating import iter_ratings
from warmline.evaluation import JudgeSettings, evaluate, judge_run
from warmline.evaluation.judging.pairwise import reply_pairs
from warmline.evaluation.replies.places import holds_replies, place_replies
from warmline.evaluation.replies.reply import Setting

from ..corpora import write_log
from ..recorded import recorded

RUN = CliRunner(env={"COLUMNS": "140"})
NAMES = ("bakery", "ovens", "smell")


def ask(request: Any) -> str:
    """Asks back in the words of the last turn: every history gives another reply."""
    return f"What about this: {request.messages[-1].content.split()[-1]}"


def sympathy(request: Any) -> str:
    return f"I am sorry, {request.messages[-1].content.split()[-1]}"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_log(tmp_path / "corpus", [recorded(name) for name in NAMES])


def evaluated(corpus: Path, name: str, answer: Any, **fields: Any) -> Path:
    out = corpus.parent / name
    evaluate(corpus, policy=ScriptedPolicy(answer), out=str(out), resamples=0, **fields)
    return out


def prefers_questions(request: Any) -> str:
    """A judge whose score and choice are functions of the texts alone."""
    user = request.messages[-1].content
    if "<first>" in user:
        first = user.split("<first>")[1].split("</first>")[0]
        return json.dumps(
            {"explanation": "", "better": "first" if "?" in first or "What" in first else "second"}
        )
    reply = user.split("<reply_to_grade>")[1]
    return json.dumps({"explanation": "", "faults": [], "score": 5 if "What" in reply else 2})


async def test_each_reply_is_judged_in_its_place(corpus: Path) -> None:
    """The history is the corpus's, a greeting and joined turns included."""
    folder = evaluated(corpus, "m0", ask)
    judge = ScriptedPolicy(prefers_questions)
    settings = JudgeSettings(
        corpus=str(corpus), dimensions=("empathy",), judge={"policy": "scripted"}
    )
    result = await judge_run(folder, settings, policy=judge)
    assert (result.tally.asked, result.left_out) == (6, 0)
    assert [(s.dimension, s.mean, s.n) for s in result.scores] == [("empathy", 5.0, 6)]
    assert result.out == folder / "ratings.jsonl"
    ratings = list(iter_ratings(folder))
    assert {(r.episode, r.utterance, r.candidate) for r in ratings} == {
        (name, turn, "") for name in NAMES for turn in (2, 4)
    }
    users = [r.messages[-1].content for r in judge.requests]
    shown = next(u for u in users if "ovens." in u)
    assert "Supporter: Hello there.\nSeeker: I lost my job." in shown
    assert "You miss the smell." not in shown  # what the person said is not what is judged
    assert "<reply_to_grade>\nWhat about this: ovens.\n</reply_to_grade>" in shown
    again = await judge_run(folder, settings, policy=ScriptedPolicy(prefers_questions))
    assert (again.tally.asked, again.tally.resumed) == (0, 6)


async def test_in_generated_context_the_judge_reads_the_models_own_replies(corpus: Path) -> None:
    folder = evaluated(corpus, "both", ask, setting="both")
    placed = place_replies(folder, corpus).replies
    last = {
        p.reply.setting: [turn.text for turn in p.history]
        for p in placed
        if (p.reply.episode, p.reply.turn) == ("bakery", 4)
    }
    assert last[Setting.REFERENCE][2] == "What happened on Monday?"
    assert last[Setting.GENERATED][2].startswith("What about this:")
    settings = JudgeSettings(corpus=str(corpus), dimensions=("overall",), limit=2, seed=1)
    result = await judge_run(folder, settings, policy=ScriptedPolicy(prefers_questions))
    assert result.tally.asked == 4  # two places, both contexts
    ratings = list(iter_ratings(folder))
    assert sorted(r.candidate for r in ratings) == ["", "", "generated", "generated"]
    assert len({(r.episode, r.utterance) for r in ratings}) == 2


async def test_two_models_are_compared_on_the_same_history(corpus: Path) -> None:
    a, b = evaluated(corpus, "a", ask), evaluated(corpus, "b", sympathy, setting="both")
    for pair in reply_pairs(place_replies(a, corpus).replies, place_replies(b, corpus).replies):
        assert pair.history.startswith("Supporter: Hello there.")
        assert (pair.a[:4], pair.b[:4]) == ("What", "I am")
    settings = JudgeSettings(
        corpus=str(corpus),
        against=str(b),
        dimensions=("helpfulness",),
        judge={"policy": "scripted"},
    )
    judge = ScriptedPolicy(prefers_questions)
    result = await judge_run(a, settings, policy=judge)
    [rate] = result.wins
    assert (rate.wins, rate.n, rate.consistent) == (6, 6, 1.0)
    assert rate.interval.low < 0.7  # three conversations of 6 of 6
    assert result.left_out == 6  # generated context has other histories
    assert "Neither is length a merit" in judge.requests[0].messages[0].content
    assert "two replies of a supporter" in judge.requests[0].messages[0].content
    drawn = settings.model_copy(update={"limit": 2, "out": str(corpus.parent / "c.jsonl")})
    few = await judge_run(a, drawn, policy=ScriptedPolicy(prefers_questions))
    assert few.wins[0].n == 2


async def test_replies_that_failed_are_left_out_and_told(corpus: Path) -> None:
    def fails(request: Any) -> str:
        if "ovens" in request.messages[-1].content:
            raise EngineTimeout("slow")
        return ask(request)

    folder = evaluated(corpus, "half", fails)
    settings = JudgeSettings(
        corpus=str(corpus), dimensions=("empathy",), judge={"policy": "scripted"}
    )
    result = await judge_run(folder, settings, policy=ScriptedPolicy(prefers_questions))
    assert (result.tally.asked, result.left_out) == (3, 3)
    assert result.as_dict()["left_out"] == 3


async def test_what_does_not_fit_is_refused(corpus: Path, tmp_path: Path) -> None:
    folder = evaluated(corpus, "m0", ask)
    judge = ScriptedPolicy(prefers_questions)
    assert holds_replies(folder)
    assert not holds_replies(corpus)
    with pytest.raises(ConfigError, match="--corpus"):
        await judge_run(folder, JudgeSettings(), policy=judge)
    with pytest.raises(ConfigError, match="about whole conversations"):
        await judge_run(folder, JudgeSettings(corpus=str(corpus), rubric="dialogue"), policy=judge)
    with pytest.raises(ConfigError, match="would change nothing"):
        await judge_run(corpus, JudgeSettings(corpus=str(corpus)), policy=judge)
    with pytest.raises(ConfigError, match="one holds replies"):
        await judge_run(
            folder, JudgeSettings(corpus=str(corpus), against=str(corpus)), policy=judge
        )
    other = write_log(tmp_path / "other", [recorded("bakery")])
    with pytest.raises(DataError, match="'ovens', which is not there"):
        await judge_run(folder, JudgeSettings(corpus=str(other)), policy=judge)
    assert judge.requests == []


def test_people_who_rated_the_same_replies_calibrate_the_judge(corpus: Path) -> None:
    folder = evaluated(corpus, "m0", ask)
    judged, rows = [], ["episode,utterance,dimension,value"]
    for number, placed in enumerate(place_replies(folder, corpus).replies):
        reply = placed.reply
        judged.append({
            "version": 1, "episode": reply.episode, "utterance": reply.turn, "rater": "j",
            "kind": "judge", "dimension": "empathy", "value": 1 + number % 5, "rubric": "r",
        })  # fmt: skip
        rows.append(f"{reply.episode},{reply.turn},empathy,{1 + number % 4}")
    (folder / "ratings.jsonl").write_text("".join(json.dumps(r) + "\n" for r in judged))
    people = corpus.parent / "people.csv"
    people.write_text("\n".join(rows) + "\n")
    done = RUN.invoke(
        app, ["calibrate", str(folder), str(people), "--episodes", str(folder), "--json"]
    )
    assert done.exit_code == 0, done.output
    [found] = json.loads(done.stdout)["dimensions"]
    assert (found["n"], found["lengths_missing"]) == (6, 0)


def test_how_models_begin_stands_beside_the_people(corpus: Path, tmp_path: Path) -> None:
    a, b = evaluated(corpus, "a", ask), evaluated(corpus, "b", sympathy, setting="both")
    out = tmp_path / "openings"
    done = RUN.invoke(app, ["analyze", f"M0={a}", f"M1={b}", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "|  | M0 | M1 | M1, generated | people |" in done.output
    assert "what about this (100.0) | i am sorry (100.0)" in done.output
    assert "what happened on (50.0)" in done.output
    first = json.loads((out / "replies-analysis.json").read_text())[0]
    assert (first["name"], first["replies"], first["missing"]) == ("M0", 6, 0)
    assert first["distinct_openings"] == pytest.approx(1 / 6)
    assert (out / "tables.md").is_file()
    mixed = RUN.invoke(app, ["analyze", str(a), str(corpus)])
    assert "holds conversations" in str(mixed.exception)
    idle = RUN.invoke(app, ["analyze", str(a), "--seed", "3"])
    assert "--seed would change nothing" in str(idle.exception)
