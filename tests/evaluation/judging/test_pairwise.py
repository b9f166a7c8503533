"""Comparisons: both orders, ties, win rates by hand, a planted position bias."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from warmline import Request, ScriptedPolicy, StopReason
from warmline.core.errors import ConfigError
from warmline.environments.episodes.rating import Rating, iter_ratings
from warmline.evaluation import compare, load_rubric, win_rates
from warmline.evaluation.judging.pairwise import Pair, episode_pairs

from ..corpora import episode

DIALOGUE = load_rubric("dialogue")
PAIRS = [Pair(f"e{n}", None, "", f"good {n}", f"bad {n}") for n in range(6)]


def between(text: str, tag: str) -> str:
    return text.split(f"<{tag}>\n")[1].split(f"\n</{tag}>")[0]


def says(better: str) -> str:
    return json.dumps({"explanation": "So it is.", "better": better})


def likes_good(request: Request) -> str:
    first = between(request.messages[-1].content, "first").startswith("good")
    return says("first" if first else "second")


async def test_each_pair_is_asked_in_both_orders_with_one_seed(tmp_path: Path) -> None:
    policy = ScriptedPolicy(likes_good)
    out = tmp_path / "comparisons.jsonl"
    tally = await compare(PAIRS, policy, DIALOGUE, out=out, dimensions=("helpfulness",))
    assert tally.asked == 12
    assert len({request.seed for request in policy.requests}) == 6
    assert {r.value for r in iter_ratings(out)} == {1.0}
    [rate] = win_rates(iter_ratings(out))
    assert (rate.wins, rate.ties, rate.losses, rate.rate) == (6, 0, 0, 1.0)
    assert (rate.consistent, rate.first, rate.position_bias) == (1.0, 0.5, False)
    again = await compare(PAIRS, policy, DIALOGUE, out=out, dimensions=("helpfulness",))
    assert (again.asked, again.resumed) == (0, 12)


async def test_a_judge_that_always_takes_the_first_gives_ties_and_is_found_out(
    tmp_path: Path,
) -> None:
    out = tmp_path / "comparisons.jsonl"
    policy = ScriptedPolicy(lambda request: says("first"))
    await compare(PAIRS, policy, DIALOGUE, out=out, dimensions=("helpfulness",))
    [rate] = win_rates(iter_ratings(out))
    assert (rate.wins, rate.ties, rate.losses, rate.rate) == (0, 6, 0, 0.5)
    assert (rate.consistent, rate.first, rate.position_bias) == (0.0, 1.0, True)


async def test_an_unreadable_verdict_is_not_a_tie(tmp_path: Path) -> None:
    out = tmp_path / "comparisons.jsonl"
    policy = ScriptedPolicy(lambda request: "both are nice")
    await compare(PAIRS, policy, DIALOGUE, out=out, dimensions=("helpfulness",))
    [rate] = win_rates(iter_ratings(out))
    assert (rate.n, rate.ties, rate.missing, rate.rate) == (0, 0, 6, None)
    assert rate.position_bias is None


def verdict(name: str, first: str, value: float | None, **fields: object) -> Rating:
    given = {"rater": "judge", "kind": "judge", "dimension": "overall", "notes": {"first": first}}
    return Rating(episode=name, value=value, **{**given, **fields})


def test_win_rates_by_hand() -> None:
    """e1: A both times, a win. e2: A then tie, a tie. e3: B both times, a loss. e4: unreadable once,
    missing. e5: one order only, B. Rate (1 + 0.5 + 0 + 0) / 4. Of the pairs with both orders two of
    three agree. Decided verdicts there: A A | A | B B; the first shown won at e1 (A), e2 (A), e3 (B):
    3 of 5."""
    ratings = [
        verdict("e1", "A", 1), verdict("e1", "B", 1),
        verdict("e2", "A", 1), verdict("e2", "B", 0),
        verdict("e3", "A", -1), verdict("e3", "B", -1),
        verdict("e4", "A", 1), verdict("e4", "B", None),
        verdict("e5", "A", -1),
    ]  # fmt: skip
    [rate] = win_rates(ratings)
    assert (rate.n, rate.wins, rate.ties, rate.losses, rate.missing) == (4, 1, 1, 2, 1)
    assert rate.rate == pytest.approx(1.5 / 4)
    assert rate.consistent == pytest.approx(2 / 3)
    assert rate.first == pytest.approx(3 / 5)
    assert rate.both_orders == 3


@pytest.mark.parametrize("bias", [0.0, 0.3])
def test_a_planted_position_bias_is_found_and_its_absence_too(bias: float) -> None:
    """The judge sees the better text with probability 0.7; with `bias` it takes the first unread."""
    draw = random.Random(5)
    ratings = []
    for number in range(300):
        for first in "AB":
            a_wins = draw.random() < 0.7
            if draw.random() < bias:
                a_wins = first == "A"
            ratings.append(verdict(f"e{number}", first, 1 if a_wins else -1))
    [rate] = win_rates(ratings)
    assert rate.position_bias is (bias > 0)
    assert rate.first == pytest.approx(0.5 + bias / 2, abs=0.05)


def test_other_ratings_are_left_aside_and_mixed_ones_refused() -> None:
    assert win_rates([Rating(episode="e", rater="r", kind="judge", dimension="d", value=3)]) == []
    mixed = [verdict("e1", "A", 1), verdict("e1", "B", 1, rater="another")]
    with pytest.raises(ConfigError, match=r"'another'.*'judge'"):
        win_rates(mixed)


def test_conversations_are_paired_by_scenario() -> None:
    a = [episode("e1"), episode("e2"), episode("e3", stop=StopReason.ERROR)]
    b = [episode("e3"), episode("e1", ["Hello.", "Hi."]), episode("e9")]
    [pair] = episode_pairs(a, b)
    assert (pair.episode, pair.b) == ("e1", "Seeker: Hello.\nSupporter: Hi.")
