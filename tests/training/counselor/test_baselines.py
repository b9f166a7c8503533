"""Baselines of the counselor by hand."""

from __future__ import annotations

import pytest

from warmline.agents.observations import Turn
from warmline.agents.roles import STRATEGY_LABELS, Role, Strategy
from warmline.policies.base import Request
from warmline.policies.scripted import ScriptedPolicy
from warmline.training.counselor.baselines import (
    ask_for_strategies,
    features,
    majority,
    progress,
    stages,
    tf_idf,
    transitions,
)
from warmline.training.counselor.data import CounselorTurn, asked

Q, R, S, O = Strategy.QUESTION, Strategy.REFLECTION, Strategy.SUGGESTION, Strategy.OTHERS  # noqa: E741


def turn(
    strategy: Strategy, previous: Strategy | None = None, exchange: int = 0, said: str = "Hm."
) -> CounselorTurn:
    history = (Turn(Role.SEEKER, said),)
    return CounselorTurn(
        f"{said}#{exchange}", "g", "e", history, asked(history), (strategy,), previous,
        exchange,
    )  # fmt: skip


def names(indices: list[int | None]) -> list[Strategy | None]:
    return [None if n is None else list(Strategy)[n] for n in indices]


def test_the_majority_with_its_smoothed_share() -> None:
    """Two of three are questions; with one added to each of eight counts, 3/11."""
    found = majority([turn(Q), turn(Q), turn(R)], [turn(S), turn(O)])
    assert names(found.chosen) == [Q, Q]
    assert found.probabilities[0][0] == pytest.approx(3 / 11)
    assert sum(found.probabilities[0]) == pytest.approx(1)


def test_progress_by_hand() -> None:
    assert [progress(n) for n in (0, 1, 2, 3, 4, 5, 6, 8, 9, 50)] == [0, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_transitions_follow_the_previous_strategy_at_that_progress() -> None:
    train = [turn(Q, None, 0), turn(R, Q, 1), turn(R, Q, 1), turn(S, Q, 9), turn(O, R, 2)]
    test = [turn(Q, Q, 1), turn(Q, Q, 10), turn(Q, R, 9), turn(Q, S, 0), turn(Q, None, 0)]
    found = transitions(train, test)
    # known state; known state; backs off to the previous strategy; to all turns; known state
    assert names(found.chosen) == [R, S, O, R, Q]
    assert found.probabilities[0][list(Strategy).index(R)] == pytest.approx(3 / 10)


def test_stages_know_progress_alone() -> None:
    train = [turn(Q, None, 0), turn(R, Q, 1), turn(R, S, 1), turn(S, Q, 9)]
    assert names(stages(train, [turn(O, S, 1), turn(O, R, 20)]).chosen) == [R, S]


def test_words_learn_what_words_tell() -> None:
    train = [turn(Q, said=f"why {n}") for n in range(8)] + [
        turn(R, said=f"sad {n}") for n in range(8)
    ]
    found = tf_idf(train, [turn(Q, said="why 99"), turn(R, said="sad 99")])
    assert names(found.chosen) == [Q, R]
    assert all(sum(row) == pytest.approx(1) for row in found.probabilities)
    assert names(tf_idf(train[:8], train[8:9]).chosen) == [Q], "one strategy alone is the majority"


def test_features_are_marked_by_speaker_and_place() -> None:
    found = features(turn(Q, R, 3, said="Why me"))
    assert found == [
        "previous=Reflection of Feelings", "progress=2", "s0:why", "s0:me", "s0:why me",
    ]  # fmt: skip


def test_a_policy_is_asked_as_the_seated_counselor_asks() -> None:
    seen: list[Request] = []

    def answer(request: Request) -> str:
        seen.append(request)
        return "mumble" if len(seen) == 2 else "Providing Suggestions"

    chosen = ask_for_strategies(ScriptedPolicy(answer), [turn(Q), turn(R)], concurrency=1)
    assert names(chosen) == [S, None]
    assert seen[0].choices == STRATEGY_LABELS
    assert seen[0].messages == turn(Q).messages
    assert seen[0].sampling.temperature == 0
