"""Rows of heads, feedback and contexts of pairs beyond a thousand lie in a file, or in few bytes."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from statistics import fmean
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmline.agents.roles import Strategy
from warmline.environments.episodes.episode import Episode
from warmline.environments.episodes.rating import Rating
from warmline.environments.scenarios.scenario import Scenario
from warmline.training.candidates.feedback import marks_of
from warmline.training.candidates.marks import CountedRatings, KnownRatings
from warmline.training.counselor.data import counselor_turns
from warmline.training.counselor.train import head_rows as counselor_rows
from warmline.training.counselor.train import label_rows
from warmline.training.heads.data import encode_heads
from warmline.training.preferences.build import make_pairs
from warmline.training.preferences.contexts import contexts_of
from warmline.training.preferences.reflection import CallRecord, call_id
from warmline.training.preferences.settings import PreferenceSettings
from warmline.training.rows.parts import share_of
from warmline.training.rows.spool import IN_MEMORY, SpooledMap, digest_of
from warmline.training.scorer.data import coherence_pairs, real_replies, topic_pairs
from warmline.training.scorer.train import head_rows as scorer_rows

from .building import episode

LONG = "I have not slept since the shop closed, and nobody asks how I am. " * 10


def talks(count: int) -> Iterator[Episode]:
    """Conversations of three exchanges, of two problem types."""
    for n in range(count):
        talk = tuple(
            (f"{n} {k} {LONG}", f"What about day {k}? {LONG}", list(Strategy)[k % 3])
            for k in range(3)
        )
        kind = ("Job Crisis", "Sleep Problems")[n % 2]
        scenario = Scenario(id=f"t{n}", problem_type=kind, situation=f"not told {n}")
        yield episode(f"t{n}", talk).model_copy(update={"scenario": scenario})


class Reader:
    """As many ids as a prompt has bytes; no model is needed to see where they are kept."""

    limit = 10**6

    def encode(self, messages: Any) -> list[int]:
        return [i for message in messages for i in message.content.encode()]


def counselors(count: int) -> Any:
    turns, _ = counselor_turns(talks(count))
    rows = counselor_rows(turns)
    assert sum(1 for _ in label_rows(turns)) == len(rows) == 3 * count
    return turns, rows, encode_heads(Reader(), rows)


def scorers(count: int) -> Any:
    replies = real_replies(talks(count))
    coherence = coherence_pairs(
        replies,
        coherent=3 * count,
        incoherent=3 * count,
        altered_share=0.5,
        altered_words=0.2,
        seed=1,
    )
    topic = topic_pairs(replies, on_topic=3 * count, off_topic=3 * count, seed=1)
    assert min(len(coherence), len(topic)) > 5 * count
    sides = {"coherence": (coherence, (), ()), "topic": (topic, (), ())}
    rows = scorer_rows(sides, ("coherence", "topic"), 0)
    return replies, coherence, topic, rows, encode_heads(Reader(), rows)


def pairs(count: int) -> Any:
    settings = PreferenceSettings(variant="gold", greeting_first=0, greeting_last=0)
    contexts = contexts_of(list(talks(count)), settings, Counter())
    calls = SpooledMap(
        (call_id(context.row.id, "rejected"), answered(context.row.id)) for context in contexts
    )
    made, summary = make_pairs(contexts, calls, settings)
    assert len(made) == summary.pairs == 3 * count
    return contexts, calls, made


def answered(context: str) -> CallRecord:
    return CallRecord(
        id=call_id(context, "rejected"), context=context, purpose="rejected", policy="p",
        messages=(), sampling={}, seed=1, text=f"Never mind {context}. {LONG}",
    )  # fmt: skip


def held(work: Callable[[], Any]) -> int:
    """Bytes that what the work returns keeps in memory."""
    tracemalloc.start()
    made = work()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del made
    return kept


@pytest.mark.parametrize("make", [counselors, scorers, pairs])
def test_what_is_made_of_a_corpus_is_not_held(make: Callable[[int], Any]) -> None:
    few = IN_MEMORY // 3
    make(few // 10)  # what is compiled and kept for good
    assert held(lambda: make(2 * few)) < 1.6 * held(lambda: make(few))


def rating(utterance: int, candidate: str, dimension: str, value: float | None) -> Rating:
    return Rating(
        episode=f"talk{utterance // 10}", utterance=utterance, candidate=candidate, rater="r",
        kind="scorer", dimension=dimension, value=value, rubric="x",
    )  # fmt: skip


def test_a_judged_candidate_takes_some_bytes() -> None:
    """800 bytes in nested dictionaries."""
    contexts, names = 2_000, ["gold", *(f"candidate{n}" for n in range(10))]
    dimensions = ("empathy", "strategy", "coherence", "topic")
    ratings = (
        rating(n, name, dimension, float(n % 2))
        for n in range(contexts)
        for name in names
        for dimension in dimensions
    )
    assert held(lambda: marks_of(ratings)) / (contexts * len(names)) < 100


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.sampled_from(["gold", "candidate0", "candidate7", "mine"]),
            st.sampled_from(["a", "b", "c"]),
            st.none() | st.floats(0, 5) | st.sampled_from([0.1, 0.2, 0.3]),
        ),
        max_size=30,
    )
)
def test_marks_are_means_against_the_threshold(given_: list[tuple[int, str, str, Any]]) -> None:
    ratings = [rating(*each) for each in given_]
    values: dict[Any, dict[str, list[float]]] = {}
    for utterance, candidate, dimension, value in given_:
        if dimension != "c":
            own = values.setdefault(("talk0", utterance, candidate), {"a": [], "b": []})
            own[dimension] += [] if value is None else [value]
    expected = {
        key: {name: fmean(found) >= 0.2 if found else None for name, found in own.items()}
        for key, own in values.items()
    }
    marks = marks_of(ratings, threshold=0.2, dimensions=("a", "b"))
    assert marks == expected
    assert len(marks) == len(expected)
    counts = CountedRatings("r", ratings)
    for key in [*expected, ("talk0", 9, "gold"), ("talk0", 0, "never")]:
        same = [r for r in ratings if (r.episode, r.utterance, r.candidate) == key]
        assert counts[key] == len(same)
        assert (key in marks) == (key in expected)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.sampled_from(["gold", "candidate0"]),
            st.sampled_from(["r", "s"]),
            st.sampled_from(["a", "b"]),
            st.integers(0, 1),
        ),
        max_size=30,
    )
)
def test_a_rating_is_new_once(given_: list[tuple[int, str, str, str, int]]) -> None:
    known, seen = KnownRatings(), set()
    for key in given_:
        utterance, candidate, rater, dimension, sample = key
        one = rating(utterance, candidate, dimension, 1.0)
        assert known.add(one.model_copy(update={"rater": rater, "sample": sample})) == (
            key not in seen
        )
        seen.add(key)


def test_a_part_and_a_digest_are_those_of_the_list() -> None:
    import hashlib

    items = list(range(10))
    assert [list(share_of(items, f"{n}/3")) for n in (1, 2, 3)] == [items[n::3] for n in range(3)]
    for some in ([], [1], ["a", "\ud800", (2, None)]):
        assert digest_of(iter(some)) == hashlib.sha256(repr(some).encode()).hexdigest()
