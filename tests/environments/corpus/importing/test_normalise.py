"""Normalisation: each step does one thing, and everything it does is counted."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmline.agents.roles import Role, Strategy
from warmline.core.errors import ConfigError, DataError
from warmline.environments.corpus.importing import reader as importing
from warmline.environments.corpus.importing.importers import records
from warmline.environments.corpus.importing.importers.base import Recorded, Turn
from warmline.environments.corpus.importing.normalise import (
    MAX_COUNTED_WORDS,
    OTHER_WORDS,
    RECIPES,
    Line,
    Tally,
    find_recipe,
    leading_supporter,
    merge,
    min_turns,
    normalise,
    trailing_seeker,
)
from warmline.environments.corpus.importing.reader import Import

from ..samples import SAID, esconv, esconv_hub, write

Q, S, R = Strategy.QUESTION, Strategy.SUGGESTION, Strategy.REFLECTION


def line(role: str, text: str, *labels: Strategy) -> Line:
    return Line(Role(role), text, text, labels)


def shape(lines: list[Line]) -> str:
    """`k` for a turn of the seeker, `s` for one of the supporter."""
    return "".join("k" if one.role is Role.SEEKER else "s" for one in lines)


def lines_of(shape_: str) -> list[Line]:
    return [
        line("seeker" if letter == "k" else "supporter", f"{letter}{n}")
        for n, letter in enumerate(shape_)
    ]


def test_merging_joins_texts_and_keeps_each_label_once_in_order() -> None:
    merged = merge([
        line("seeker", "a"), line("supporter", "b", Q), line("supporter", "c", S),
        line("supporter", "d", Q), line("seeker", "e"),
    ])  # fmt: skip
    assert [(one.text, one.raw) for one in merged] == [("a", "a"), ("b c d", "b\nc\nd"), ("e", "e")]
    assert merged[1].labels == (Q, S)
    assert [one.repairs for one in merged] == [(), ("merge",), ()]


@pytest.mark.parametrize(
    ("step", "before", "after"),
    [
        (leading_supporter, "sskskk", "kskk"),
        (leading_supporter, "ksk", "ksk"),
        (leading_supporter, "ss", ""),
        (trailing_seeker, "kskk", "ks"),
        (trailing_seeker, "kkk", ""),
        (min_turns, "kskskskk", "kskskskk"),
        (min_turns, "ksksksk", ""),
    ],
)
def test_trimming_steps(step: Any, before: str, after: str) -> None:
    assert shape(step(lines_of(before))) == after


@given(st.text("ks", max_size=20))
def test_the_published_recipe_leaves_pairs_that_alternate(before: str) -> None:
    lines = lines_of(before)
    for name in RECIPES["sweetiechat"]:
        lines = {
            "merge": merge, "leading_supporter": leading_supporter,
            "trailing_seeker": trailing_seeker, "min_turns": min_turns,
        }[name](lines)  # fmt: skip
    assert shape(lines) == "ks" * (len(lines) // 2)
    assert len(lines) == 0 or len(lines) >= 8
    runs = 1 + sum(a != b for a, b in pairwise(before)) if before else 0
    dropped = before.startswith("s") + before.endswith("k") if runs else 0
    assert len(lines) == (max(runs - dropped, 0) if runs - dropped >= 8 else 0)


@given(st.lists(st.tuples(st.sampled_from(["usr", "sys"]), st.text(min_size=1)), max_size=12))
def test_merging_changes_no_word_and_twice_is_once(said: list[tuple[str, str]]) -> None:
    recorded = Recorded(tuple(Turn(who, text) for who, text in said))
    raw, _ = normalise(recorded, (), Tally(), source="esconv")
    merged, _ = normalise(recorded, ("merge",), Tally(), source="esconv")
    assert merge(merged) == merged
    assert " ".join(one.text for one in raw) == " ".join(one.text for one in merged)
    assert all(one.text == " ".join(one.text.split()) != "" for one in raw)


def test_every_change_is_counted() -> None:
    tally = Tally()
    turns = (
        Turn("system", "Be kind."),
        Turn("narrator", "It rains."),
        Turn("sys", "Hello  there", ("Others", "Small Talk")),
        Turn("usr", " "),
        Turn("usr", None),
        Turn("usr", "Hm", ("Question",)),
        Turn("USR", "Yes"),
    )
    lines, faults = normalise(Recorded(turns), ("merge",), tally, source="esconv")
    assert [(one.role.value, one.text) for one in lines] == [
        ("supporter", "Hello there"),
        ("seeker", "Hm Yes"),
    ]
    assert faults == [
        ("turn 2", "nobody known speaks: 'narrator'"),
        ("turn 4", "the seeker says nothing"),
        ("turn 5", "the seeker says nothing"),
    ]
    assert {n: (s.changed, s.dropped) for n, s in tally.steps.items() if s.dialogues} == {
        "instructions": (0, 1), "unknown_speakers": (0, 1), "empty_turns": (0, 2),
        "whitespace": (1, 0), "labels": (2, 0), "merge": (0, 1),
    }  # fmt: skip
    assert lines[0].labels == (Strategy.OTHERS,)
    assert lines[0].notes == (("strategy", "Small Talk"),)
    assert lines[1].notes == (("strategy", "Question"),)  # a seeker has no strategy
    assert (tally.strategies, tally.unmapped_labels) == ({"Others": 1}, {"Small Talk": 1})


def test_a_dialogue_without_a_word_is_dropped_and_counted() -> None:
    tally = Tally()
    assert normalise(Recorded((Turn("usr", ""),)), (), tally, source="x")[0] == []
    assert tally.steps["empty_turns"].emptied == 1


def test_recipes_by_name_and_by_steps() -> None:
    assert find_recipe("raw") == ()
    assert find_recipe("merge, min_turns") == ("merge", "min_turns")
    with pytest.raises(ConfigError, match=r"no recipe 'merge,trim'; recipes: raw, merged"):
        find_recipe("merge,trim")
    with pytest.raises(ConfigError, match="did you mean 'sweetiechat'"):
        find_recipe("sweetychat")


# whole imports


@pytest.mark.parametrize(
    ("recipe", "turns", "labels"),
    [("raw", 13, [(), (), (), ()]), ("merged", 10, [(R, Q), ()]), ("sweetiechat", 8, [(R, Q), ()])],
)
@pytest.mark.parametrize("schema", [esconv, esconv_hub])
def test_recipes_on_the_sample(
    tmp_path: Path, schema: Any, recipe: str, turns: int, labels: list[Any]
) -> None:
    importer = Import(write(tmp_path / "x.json", [schema()]), recipe=recipe)
    (episode,) = importer
    assert len(episode.utterances) == turns
    several = [u.labels for u in episode.utterances if u.text.startswith(("That", "Did", "When"))]
    assert several[: len(labels)] == labels[: len(several)]
    assert importer.report.several_labels == (recipe != "raw")


def test_too_short_dialogues_are_dropped_by_the_published_recipe(tmp_path: Path) -> None:
    short = esconv(SAID[1:8])
    importer = Import(write(tmp_path / "x.json", [short, esconv()]), recipe="sweetiechat")
    (episode,) = importer
    assert episode.id == "esconv-2"  # numbered by the place in the file, whatever is dropped
    assert importer.report.dropped == {"min_turns": 1}
    assert (importer.report.records, importer.report.episodes) == (2, 1)


def test_broken_records_are_counted_and_named_and_fatal_under_strict(tmp_path: Path) -> None:
    half = esconv()
    half["dialog"][2] = {"speaker": "seeker", "content": None}
    path = write(tmp_path / "x.jsonl", [esconv(), {"dialog": 3}, half])
    with path.open("a") as file:
        file.write("{broken\n")
    importer = Import(path, "esconv")
    assert [len(e.utterances) for e in importer] == [13, 12]
    report = importer.report
    assert (report.records, report.broken, report.faulty) == (4, 2, 3)
    assert report.dropped == {"broken_record": 2}
    assert report.faults[0].startswith(f"{path}, line 2, field 'dialog': a list is expected")
    assert report.faults[1].startswith(f"{path}, line 3, field 'turn 3': the seeker says nothing")
    assert report.faults[2].startswith(f"{path}, line 4: not JSON")
    with pytest.raises(DataError, match=r"line 2, field 'dialog'(?s:.*)is 'esconv' its format"):
        list(Import(path, "esconv", strict=True))
    array = write(tmp_path / "y.json", [esconv(), half])
    with pytest.raises(DataError, match="field 'turn 3': record 2: the seeker says nothing"):
        list(Import(array, strict=True))


def test_a_file_without_one_readable_record_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", [{"a": 1}, {"a": 2}])
    with pytest.raises(DataError, match=r"none of its 2 records(?s:.*)'dialog': missing"):
        list(Import(path, "esconv"))


def test_a_limit_stops_reading_and_a_name_goes_everywhere(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", [esconv_hub()] * 5)
    importer = Import(path, limit=2, name="mine")
    assert [(e.id, e.source, e.scenario.source) for e in importer] == [
        ("mine-1", "mine", "mine"), ("mine-2", "mine", "mine"),
    ]  # fmt: skip
    assert importer.report.records == 2
    assert importer.sources()[0].licence == "CC-BY-NC-4.0 AND research-only"
    with pytest.raises(ConfigError, match="limit is 0"):
        Import(path, limit=0)


def test_iterating_again_counts_anew(tmp_path: Path) -> None:
    importer = Import(write(tmp_path / "x.jsonl", [esconv_hub()] * 3))
    assert list(importer) == list(importer)
    assert importer.report.episodes == 3


def test_crisis_language_is_marked(tmp_path: Path) -> None:
    said = [("seeker", "I want to kill myself.", None), ("supporter", "I am with you.", None)]
    importer = Import(write(tmp_path / "x.json", [esconv(said), esconv()]))
    marked, unmarked = importer
    assert marked.utterances[0].crisis == ("suicide",)
    assert not any(u.crisis for u in (*marked.utterances[1:], *unmarked.utterances))
    assert importer.report.crisis == 1


def test_unknown_types_stay_and_are_counted_up_to_a_bound(tmp_path: Path) -> None:
    records = [esconv_hub(problem_type=f"kind {n}") for n in range(MAX_COUNTED_WORDS + 5)]
    importer = Import(write(tmp_path / "x.jsonl", records))
    episodes = list(importer)
    assert episodes[3].scenario.problem_type == "kind 3"
    counted = importer.report.unmapped_types
    assert (counted["kind 3"], counted[OTHER_WORDS], len(counted)) == (1, 5, MAX_COUNTED_WORDS + 1)


# memory


def _records(count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        said = [(who, f"{text} {number}", label) for who, text, label in SAID]
        yield esconv(said, situation=f"Number {number}.")


def _peak(path: Path) -> int:
    tracemalloc.start()
    _read(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def _read(path: Path) -> None:
    for number, _ in enumerate(Import(path, "esconv", recipe="sweetiechat")):
        if number % 100 == 0:
            gc.collect()  # what is only waiting for the collector is not held


@pytest.mark.parametrize("name", ["x.jsonl", "x.json.gz"])
def test_memory_does_not_grow_with_the_count(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import of 800 dialogues (1 MB) holds no more at once than one of 200."""
    monkeypatch.setattr(importing, "crisis_kinds", lambda text: ())  # slow when traced
    monkeypatch.setattr(records, "CHUNK", 1 << 14)  # else the reading alone outweighs all
    few = write(tmp_path / f"few-{name}", list(_records(200)))
    many = write(tmp_path / f"many-{name}", list(_records(800)))
    _read(many)  # what libraries make once and keep
    assert _peak(many) < 1.2 * _peak(few)
