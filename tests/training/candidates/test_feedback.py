"""Judgements of candidates into labels, and their statistics; numbers worked by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from warmline.agents.observations import SupporterBrief, SupporterObservation, Turn
from warmline.agents.roles import Role, Strategy
from warmline.agents.supporter import Supporter
from warmline.core.errors import ConfigError, RunError
from warmline.environments.episodes.rating import Rating, iter_ratings
from warmline.policies.base import Message, Reply, Request
from warmline.training.candidates.feedback import (
    DIMENSIONS,
    PolicyLabeller,
    all_hold,
    any_holds,
    find_rule,
    helpful_rates,
    labels_of,
    marks_of,
    most_hold,
    rate_candidates,
)
from warmline.training.candidates.rows import Candidate, CandidateSet, Lineage, PromptMessage


def context(name: str = "a#1", *texts: str) -> CandidateSet:
    return CandidateSet(
        id=name,
        group="a",
        prompt=(PromptMessage(role="user", content="I am tired."),),
        gold="Since when?",
        candidates=tuple(Candidate(text=text) for text in texts or ("warm", "cold")),
        lineage=Lineage(source="sampling", model="m"),
    )


def rating(candidate: str, dimension: str, value: float | None, **more: Any) -> Rating:
    given: dict[str, Any] = {"episode": "a", "utterance": 1, "rater": "r", "kind": "judge"}
    return Rating(**given | more, candidate=candidate, dimension=dimension, value=value)


@pytest.mark.parametrize(
    ("marks", "every", "some", "most"),
    [
        ([True, True], True, True, True),
        ([True, False], False, True, None),
        ([True, None], None, True, True),
        ([False, None], False, None, False),
        ([None, None], None, None, None),
        ([], None, None, None),
        ([True, True, False], False, True, True),
    ],
)
def test_rules(
    marks: list[bool | None], every: bool | None, some: bool | None, most: bool | None
) -> None:
    assert all_hold(marks) is every
    assert any_holds(marks) is some
    assert most_hold(marks) is most


def test_own_rules_are_found_and_wrong_ones_named() -> None:
    assert find_rule("warmline.training.candidates.feedback:any_holds") is any_holds
    with pytest.raises(ConfigError, match="no rule 'al'; known: all, any, most"):
        find_rule("al")
    with pytest.raises(ConfigError, match="no rule ':any_holds'; known:"):
        find_rule(":any_holds")
    with pytest.raises(ConfigError, match="cannot be imported"):
        find_rule("warmline:nothing_there")


def test_raters_are_averaged_and_unreadable_ones_missing() -> None:
    """Empathy 4 and 1 of two raters: mean 2.5, below 3. Topic 3 holds. Coherence was unreadable."""
    ratings = [
        rating("candidate0", "empathy", 4),
        rating("candidate0", "empathy", 1, rater="s"),
        rating("candidate0", "topic", 3),
        rating("candidate0", "coherence", None),
        rating("candidate0", "length", 5),
    ]
    marks = marks_of(ratings, threshold=3, dimensions=("empathy", "topic", "coherence"))
    assert marks == {("a", 1, "candidate0"): {"empathy": False, "topic": True, "coherence": None}}


def test_labels_of_a_context() -> None:
    """All four hold: 1; one fails: 0; one is missing: -1; none was judged: -1."""
    some = context("a#1", "w", "x", "y", "z")
    ratings = [rating("candidate0", d, 1) for d in DIMENSIONS]
    ratings += [rating("candidate1", d, d != "topic") for d in DIMENSIONS]
    ratings += [rating("candidate2", d, 1) for d in DIMENSIONS if d != "topic"]
    marks = marks_of(ratings)
    assert labels_of(some, marks) == (1, 0, -1, -1)
    assert labels_of(some, marks, any_holds) == (1, 1, 1, -1)


def test_helpful_rates_by_hand() -> None:
    """Two contexts of two candidates; first candidates: empathy 1 of 2; all: 2 of 3, one missing."""
    ratings = [
        rating("candidate0", "empathy", 1),
        rating("candidate1", "empathy", 1),
        rating("candidate0", "empathy", 0, utterance=3),
        rating("gold", "empathy", 1),
    ]
    marks = marks_of(ratings, dimensions=("empathy",))
    table = helpful_rates([context("a#1"), context("a#3")], marks)
    single, beams, gold = (table[name]["empathy"] for name in ("single", "beams", "gold"))
    assert (single.value, single.counted, single.missing) == (0.5, 2, 0)
    assert (beams.value, beams.counted, beams.missing) == (pytest.approx(2 / 3), 3, 1)
    assert (gold.value, gold.counted, gold.missing) == (1, 1, 1)
    assert table["beams"]["helpful"] == beams


class Sentiment:
    """Says yes to a reply with "warm" in it, nothing readable to one with "?"."""

    def __init__(self, breaks_at: int = 1000) -> None:
        self.asked: list[Request] = []
        self.breaks_at = breaks_at

    async def respond(self, request: Request) -> Reply:
        self.asked.append(request)
        if len(self.asked) > self.breaks_at:
            raise RunError("the judge left")
        reply = request.messages[-1].content.rpartition("Supporter: ")[2].partition("\n")[0]
        return Reply(text="maybe" if "?" in reply else "yes" if "warm" in reply else "no")


def rate(labeller: Any, file: Path, *contexts: CandidateSet) -> list[Rating]:
    asyncio.run(rate_candidates(contexts, labeller, file, rater="judge", concurrency=1))
    return list(iter_ratings(file))


def test_a_policy_judges_each_dimension(tmp_path: Path) -> None:
    policy = Sentiment()
    ratings = rate(PolicyLabeller(policy, DIMENSIONS), tmp_path / "ratings.jsonl", context())
    assert len(ratings) == 3 * 4
    assert all(request.choices == ("yes", "no") for request in policy.asked)
    assert "I am tired." in policy.asked[0].messages[-1].content
    assert {r.value for r in ratings if r.candidate == "gold"} == {None}
    assert labels_of(context(), marks_of(ratings)) == (1, 0)


def test_rating_is_resumed(tmp_path: Path) -> None:
    """The judge leaves in the second context; the first is not asked again, nor counted twice."""
    both, file = (context("a#1"), context("a#3")), tmp_path / "ratings.jsonl"
    with pytest.raises(RunError, match="the judge left"):
        rate(PolicyLabeller(Sentiment(breaks_at=15), DIMENSIONS), file, *both)
    assert len(list(iter_ratings(file))) == 12
    again = Sentiment()
    assert len(rate(PolicyLabeller(again, DIMENSIONS), file, *both)) == 24
    assert len(again.asked) == 12


def test_any_labeller_will_do(tmp_path: Path) -> None:
    class Scorer:
        async def label(
            self, prompt: tuple[Message, ...], reply: str
        ) -> Mapping[str, float | None]:
            return {"empathy": float(reply == "warm"), "topic": 1.0}

    ratings = rate(Scorer(), tmp_path / "ratings.jsonl", context())
    marks = marks_of(ratings, dimensions=("empathy", "topic"))
    assert labels_of(context(), marks) == (1, 0)


async def test_notes_to_the_supporter_do_not_pass_for_the_seekers_words() -> None:
    asked = Supporter(Sentiment()).request(
        SupporterObservation(
            SupporterBrief("Job Crisis"), (Turn(Role.SEEKER, "It is over."),), Strategy.QUESTION
        )
    )
    stored = CandidateSet.model_validate_json(
        CandidateSet(
            **context().model_dump() | {"prompt": tuple(map(PromptMessage.of, asked.messages))}
        ).to_json()
    )
    assert "Note, not from the person" in stored.prompt[-1].content
    judge = Sentiment()
    await PolicyLabeller(judge, {"topic": DIMENSIONS["topic"]}).label(stored.messages, "warm")
    assert judge.asked[0].messages[-1].content.startswith("Seeker: It is over.\n\nThe reply")
