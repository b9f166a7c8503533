"""Near-duplicate dialogues: found where they are, not where they are not, first one kept."""

from __future__ import annotations

import random
import tracemalloc

import numpy as np
import pytest

from warmline.core.errors import ConfigError
from warmline.environments.corpus.cleaning.filters.duplicates import SHINGLE, NearDuplicates
from warmline.environments.corpus.cleaning.filters.sketches import BLOCK, Sketches
from warmline.environments.corpus.cleaning.filters.text import shingles, tokens
from warmline.environments.corpus.tags import Severity

from .talks import CALM, episode

VOCABULARY = [f"word{n}" for n in range(400)]


def talk(seed: int, name: str, changed: int = 0, turns: int = 10, length: int = 20) -> list[str]:
    draw = random.Random(seed)
    words = draw.choices(VOCABULARY, k=turns * length)
    for place in random.Random(name).sample(range(len(words)), changed):
        words[place] = "other" + name
    return [" ".join(words[n : n + length]) for n in range(0, len(words), length)]


def jaccard(one: list[str], other: list[str]) -> float:
    """By definition, without sketches."""
    first, second = (set(shingles(tokens(" ".join(t)), SHINGLE)) for t in (one, other))
    return len(first & second) / len(first | second)


def found(*texts: list[str]) -> list[bool]:
    filter_ = NearDuplicates()
    return [bool(filter_.examine(episode(*lines, name=f"e{n}"))) for n, lines in enumerate(texts)]


def test_precision_and_recall_on_pairs_of_known_similarity() -> None:
    close = [(talk(n, "x"), talk(n, f"y{n}", changed=1)) for n in range(30)]
    apart = [(talk(n, "x"), talk(n, f"y{n}", changed=16)) for n in range(30)]
    assert min(jaccard(*pair) for pair in close) > 0.93
    assert max(jaccard(*pair) for pair in apart) < 0.62
    assert [found(*pair) for pair in close] == [[False, True]] * 30
    assert [found(*pair) for pair in apart] == [[False, False]] * 30


def test_the_finding_names_the_earlier_dialogue() -> None:
    filter_ = NearDuplicates()
    assert filter_.examine(episode(*CALM, name="first")) == ()
    (finding,) = filter_.examine(episode(*CALM[:-1], "There is no hurry.", name="second"))
    assert finding.severity is Severity.DROP
    assert str(finding.value).startswith("first (0.9")
    (third,) = filter_.examine(episode(*CALM, name="third"))
    assert third.value == "first (1.00)"


def test_an_episode_is_no_duplicate_of_itself_played_again() -> None:
    filter_ = NearDuplicates()
    assert filter_.examine(episode(*CALM)) == filter_.examine(episode(*CALM)) == ()


def test_equal_streams_give_equal_findings() -> None:
    stream = [talk(n % 7, f"n{n}", changed=n % 2) for n in range(40)]
    assert found(*stream) == found(*stream)
    assert sum(found(*stream)) == 33  # seven different ones stay


def test_short_dialogues_are_not_compared_and_scripts_without_spaces_are() -> None:
    assert found(["Hi there.", "Hello."], ["Hi there.", "Hello."]) == [False, False]
    chinese = [
        "我昨天和妈妈吵架了，心里很难受，不知道该怎么办才好。",
        "听起来你很在乎她，愿意多说一点吗？",
    ]
    assert found(chinese, chinese) == [False, True]


def test_a_threshold_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="threshold"):
        NearDuplicates(threshold=1.5)


@pytest.mark.parametrize("kinds", [3, 10_000])
def test_sketches_that_share_a_band_are_those_that_comparing_all_finds(kinds: int) -> None:
    """Also over the ends of blocks and where the tables grow; few kinds of bands make long chains."""
    draw = np.random.default_rng(5)
    every = draw.integers(0, 2**32, (kinds, 4, 2), dtype="uint32")
    made = every[draw.integers(0, kinds, (BLOCK + 300, 4)), np.arange(4)]
    kept = Sketches(4, 2)
    for place, sketch in enumerate(made):
        if place % 97 == 0 or abs(place - BLOCK) < 3:
            same = (made[:place] == sketch).all(axis=2).any(axis=1)
            assert kept.sharing(sketch.reshape(-1)) == set(np.flatnonzero(same).tolist())
        assert kept.add(sketch.reshape(-1)) == place
    assert len(kept) == len(made)
    assert (kept[BLOCK + 1] == made[BLOCK + 1].reshape(-1)).all()


def test_a_dialogue_that_stays_takes_less_than_a_kilobyte() -> None:
    """2.2 kB with a key for each band."""
    filter_, draw = NearDuplicates(), np.random.default_rng(6)
    sketches = draw.integers(0, 2**32, (2 * BLOCK, 128), dtype="uint32")
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for sketch in sketches:
        filter_._sketches.add(sketch)
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert used / len(sketches) < 750
