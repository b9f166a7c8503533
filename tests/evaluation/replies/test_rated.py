"""Ratings of people and judges beside the scores of an evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from warmline import ScriptedPolicy
from warmline.core.errors import ConfigError
from warmline.environments.episodes.log import EpisodeLog
from warmline.environments.episodes.rating import Rating, append_ratings
from warmline.evaluation.replies.evaluate import evaluate

from ..recorded import recorded


def rated(**given: Any) -> Rating:
    usual = {"episode": recorded().id, "rater": "p1", "kind": "human", "dimension": "empathy"}
    return Rating.model_validate(usual | {"value": 4.0} | given)


def test_means_of_ratings_stand_beside_the_scores(tmp_path: Path) -> None:
    """Comparisons, gold items, other conversations and other replies count in nothing."""
    file = tmp_path / "ratings.jsonl"
    append_ratings(file, [
        rated(), rated(rater="p2", value=3.0), rated(rater="p3", value=None),
        rated(episode="another", value=1.0), rated(notes={"gold": 5}, value=1.0),
        rated(notes={"first": "A"}, value=1.0),
        rated(utterance=2, kind="judge", dimension="helpfulness", value=5.0, rubric="response-1"),
        rated(utterance=3, kind="judge", dimension="helpfulness", value=1.0, rubric="response-1"),
        rated(utterance=4, candidate="generated", kind="judge", dimension="helpfulness", value=2.0),
    ])  # fmt: skip
    one, both = evaluate(
        [recorded()], policy=ScriptedPolicy(["What happened then?"]), setting="both",
        ratings=(str(file),), out=str(tmp_path / "out"), resamples=0,
    )  # fmt: skip
    found = {score.metric: score for score in one.scores}
    people = found["empathy (human)"]
    assert (people.value, people.n, people.missing) == (3.5, 2, 1)
    assert people.convention == "mean rating of conversations by 3 of kind human"
    judged = found["helpfulness (judge)"]
    assert (judged.value, judged.n) == (5.0, 1)
    assert judged.convention.endswith("rubric response-1")
    assert {s.metric: s.value for s in both.scores}["helpfulness (judge)"] == 2.0
    assert "empathy (human)" in (tmp_path / "out/tables.md").read_text("utf-8")


def test_ratings_of_other_conversations_are_refused_before_anything_is_asked(
    tmp_path: Path,
) -> None:
    append_ratings(tmp_path / "ratings.jsonl", [rated(episode="another")])
    policy = ScriptedPolicy(["What happened then?"])
    with pytest.raises(ConfigError, match="none of the 1 ratings in"):
        evaluate([recorded()], policy=policy, ratings=(str(tmp_path),))
    assert not policy.requests


def test_a_folder_with_its_ratings_is_evaluated(tmp_path: Path) -> None:
    """As a study's is."""
    with EpisodeLog(tmp_path / "episodes.jsonl") as log:
        log.append(recorded())
    append_ratings(tmp_path / "ratings.jsonl", [rated()])
    (result,) = evaluate(
        str(tmp_path), policy=ScriptedPolicy(["I hear you."]), ratings=(str(tmp_path),), resamples=0
    )
    assert [s.value for s in result.scores if s.metric == "empathy (human)"] == [4.0]
