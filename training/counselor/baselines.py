"""What a trained counselor must beat: majority, transitions, TF-IDF with logistic regression, and a
policy that was not trained for it. Each learns from the training turns and is measured on the
test's.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ...agents.roles import STRATEGY_LABELS, Role, Strategy, parse_strategy
from ...core.errors import MissingExtra, UnreadableReply
from ...core.tasks import for_each
from ...policies.asking import ask_policy
from ...policies.base import Policy, Request, Sampling, close_policy, open_policy
from ...policies.wrappers.base import honoured
from .data import CounselorTurn

SIZE = len(STRATEGY_LABELS)
FIRST_TURNS = (0, 1, 2, 4, 6, 9)
"""First exchange of each interval of progress. The length of an open conversation is not known."""
RECENT = 3
"""Latest utterances that the TF-IDF baseline reads."""


@dataclass(frozen=True, slots=True)
class Guess:
    """What a baseline chooses for some turns.

    Attributes:
        chosen: index of a strategy by turn; None where the answer could not be read.
        probabilities: of all strategies; None where the baseline gives none.
    """

    chosen: list[int | None]
    probabilities: list[list[float]] | None = None


def majority(train: Sequence[CounselorTurn], test: Sequence[CounselorTurn]) -> Guess:
    """The most frequent strategy, with the shares as probabilities."""
    shares = _smoothed(Counter(turn.gold[0] for turn in train))
    return Guess([_best(shares)] * len(test), [shares] * len(test))


def stages(train: Sequence[CounselorTurn], test: Sequence[CounselorTurn]) -> Guess:
    """The most frequent strategy at that progress: a table of stages."""
    return _table(train, test, lambda turn: [(progress(turn.exchange),), ()])


def transitions(train: Sequence[CounselorTurn], test: Sequence[CounselorTurn]) -> Guess:
    """The most frequent strategy after the previous one, at that progress.

    It gets the strategies that people really used before, which a seated counselor never is. A
    state that did not occur backs off to the previous strategy alone, then to all turns.
    """
    return _table(
        train,
        test,
        lambda turn: [(turn.previous, progress(turn.exchange)), (turn.previous,), ()],
    )


States = Callable[[CounselorTurn], list[tuple[object, ...]]]


def _table(train: Sequence[CounselorTurn], test: Sequence[CounselorTurn], states: States) -> Guess:
    tables: dict[tuple[object, ...], Counter[int]] = defaultdict(Counter)
    for turn in train:
        for state in states(turn):
            tables[state][turn.gold[0]] += 1
    probabilities = []
    for turn in test:
        state = next((s for s in states(turn) if s in tables), ())
        probabilities.append(_smoothed(tables[state]))
    return Guess([_best(p) for p in probabilities], probabilities)


def progress(exchange: int) -> int:
    """Number of the interval of progress: exchanges 0, 1, 2–3, 4–5, 6–8, 9 and later."""
    return sum(exchange >= first for first in FIRST_TURNS) - 1


def _smoothed(counts: Counter[int]) -> list[float]:
    """Shares with one added to each count, so that none is zero."""
    total = sum(counts.values()) + SIZE
    return [(counts[n] + 1) / total for n in range(SIZE)]


def _best(probabilities: Sequence[float]) -> int:
    return max(range(len(probabilities)), key=lambda n: probabilities[n])


def tf_idf(train: Sequence[CounselorTurn], test: Sequence[CounselorTurn]) -> Guess:
    """TF-IDF of the latest utterances, with previous strategy and progress, by logistic regression.

    Raises:
        MissingExtra: scikit-learn is not installed.
    """
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise MissingExtra("the TF-IDF baseline", extra="train") from error
    golds = [turn.gold[0] for turn in train]
    if not test or len(set(golds)) < 2:
        return majority(train, test)
    # features are whole "words", since each speaker's words are marked with the speaker
    vectors = TfidfVectorizer(
        analyzer=features, sublinear_tf=True, min_df=2 if len(train) > 500 else 1
    )
    model = LogisticRegression(C=1.0, max_iter=500)
    model.fit(vectors.fit_transform(train), golds)
    known = list(model.classes_)
    found = model.predict_proba(vectors.transform(test)).tolist()
    probabilities = [
        [dict(zip(known, row, strict=True)).get(n, 0.0) for n in range(SIZE)] for row in found
    ]
    return Guess([_best(p) for p in probabilities], probabilities)


def features(turn: CounselorTurn) -> list[str]:
    """Single words and pairs of the latest utterances, marked by speaker; strategy and progress."""
    found = [f"previous={turn.previous}", f"progress={progress(turn.exchange)}"]
    for back, said in enumerate(reversed(turn.history[-RECENT:])):
        mark = "s" if said.role is Role.SEEKER else "h"
        tokens = "".join(c if c.isalnum() else " " for c in said.text.casefold()).split()
        found += [f"{mark}{back}:{token}" for token in tokens]
        found += [f"{mark}{back}:{a} {b}" for a, b in pairwise(tokens)]
    return found


def ask_for_strategies(
    policy: Policy, turns: Sequence[CounselorTurn], concurrency: int = 8
) -> list[int | None]:
    """A policy's greedy choices among the eight, None where an answer cannot be read.

    Opens and closes the policy.

    Raises:
        PolicyError: the policy cannot answer.
    """
    return asyncio.run(_asked(policy, turns, concurrency))


async def _asked(
    policy: Policy, turns: Sequence[CounselorTurn], concurrency: int
) -> list[int | None]:
    chosen: list[int | None] = [None] * len(turns)

    async def ask(item: tuple[int, CounselorTurn]) -> None:
        n, turn = item
        request = Request(
            turn.messages,
            role=Role.COUNSELOR.value,
            sampling=honoured(Sampling(temperature=0.0, max_tokens=16), policy),
            seed=n,
            choices=STRATEGY_LABELS,
            session=turn.episode,
        )
        try:
            strategy = parse_strategy((await ask_policy(policy, request)).text)
        except UnreadableReply:
            return
        chosen[n] = None if strategy is None else list(Strategy).index(strategy)

    await open_policy(policy)
    try:
        await for_each(enumerate(turns), ask, concurrency)
    finally:
        await close_policy(policy)
    return chosen
