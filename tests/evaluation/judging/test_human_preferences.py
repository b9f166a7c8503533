"""People's choices against a judge's, by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from warmline.core.errors import ConfigError, DataError
from warmline.environments.episodes.rating import Rating
from warmline.evaluation.judging.human_preferences import compare_preferences
from warmline.evaluation.judging.human_ratings import read_ratings


def choice(
    episode: str, value: float | None, kind: str = "judge", first: str = "A", **fields: object
) -> Rating:
    given = {"rater": kind, "dimension": "empathy", "notes": {"first": first}, **fields}
    return Rating.model_validate({"episode": episode, "value": value, "kind": kind, **given})


def test_agreement_over_a_tie_and_b() -> None:
    """Judge A, A, tie (its orders differ), B, unreadable; people A, B, tie, B, A.

    Three of four agree: 0.75. Expected by chance: A 2/4 · 1/4, tie 1/4 · 1/4, B 1/4 · 2/4, together
    5/16, so kappa = (12/16 − 5/16) / (11/16) = 7/11.
    """
    asked = [
        choice(f"e{place}", value, first=first)
        for place, values in enumerate([(1, 1), (1, 1), (1, -1), (-1, -1), (1, None)])
        for first, value in zip("AB", values, strict=True)
    ]
    votes = [choice(f"e{place}", value, "human") for place, value in enumerate([1, -1, 0, -1, 1])]
    [found] = compare_preferences(asked, votes)
    assert (found.n, found.judge_missing) == (4, 1)
    assert found.agreement.value == 0.75
    assert found.agreement.interval is not None
    assert found.kappa == pytest.approx(7 / 11)
    assert (found.people_a, found.people_b, found.judge_a, found.judge_b) == (1, 2, 2, 1)


def test_of_several_people_the_majority_counts() -> None:
    asked = [choice("e1", 1, first=first) for first in "AB"]
    votes = [choice("e1", value, "human", rater=f"p{n}") for n, value in enumerate((-1, 1, 1))]
    [found] = compare_preferences(asked, votes)
    assert (found.n, found.agreement.value) == (1, 1.0)


def test_scores_and_other_dimensions_are_left_aside() -> None:
    asked = [choice("e1", 1)]
    assert compare_preferences(asked, [choice("e1", 1, "human", dimension="safety")]) == []
    assert compare_preferences(asked, [choice("e1", 4, "human", notes=None)]) == []


def test_choices_about_something_else_are_refused() -> None:
    asked = [choice("e1", 1, candidate="a against b")]
    assert len(compare_preferences(asked, [choice("e1", 1, "human")])) == 1
    with pytest.raises(ConfigError, match="compared different things"):
        compare_preferences(asked, [choice("e1", 1, "human", candidate="a against c")])


def test_choices_from_a_table(tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text("episode,dimension,value,first\ne1,empathy,-1,B\ne2,empathy,,A\n")
    first, second = read_ratings(file)
    assert (first.value, first.notes) == (-1, {"first": "B"})
    assert second.value is None
    for row in ("e1,empathy,3,A", "e1,empathy,1,left"):
        file.write_text(f"episode,dimension,value,first\n{row}\n")
        with pytest.raises(DataError, match=r"line 2.*not a choice between two texts"):
            read_ratings(file)
