"""Records come out of any file one by one, whole and in bounded memory."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from warmline.core.errors import DataError
from warmline.environments.corpus.importing.importers import records
from warmline.environments.corpus.importing.importers.records import iter_records

from ..samples import EMPATHETIC_ROWS, write

VALUES = [{"a": 1}, {"b": 'line\u2028one, "two" ] }'}, {"c": [1, [2, {"d": None}]]}]


def values(path: Path) -> list[Any]:
    return [found.value for found in iter_records(path)]


@pytest.mark.parametrize("name", ["x.json", "x.jsonl", "x.json.gz", "x.jsonl.gz", "odd.txt.gz"])
def test_all_containers_hold_the_same(tmp_path: Path, name: str) -> None:
    assert values(write(tmp_path / name, VALUES)) == VALUES


def test_packing_is_seen_from_the_content_and_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "misnamed.json"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf\n\n" + json.dumps(VALUES).encode()))
    assert values(path) == VALUES


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    items=st.lists(
        st.dictionaries(st.text(), json_values, max_size=3) | st.integers() | st.text(),
        min_size=1,
        max_size=8,
    ),
    chunk=st.integers(1, 40),
    indent=st.sampled_from([None, 1]),
    ascii_only=st.booleans(),
)
def test_an_array_is_read_as_json_reads_it_however_it_is_cut(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    items: list[Any],
    chunk: int,
    indent: int | None,
    ascii_only: bool,
) -> None:
    monkeypatch.setattr(records, "CHUNK", chunk)
    path = tmp_path / "x.json"
    path.write_text(json.dumps(items, indent=indent, ensure_ascii=ascii_only), "utf-8")
    assert values(path) == items


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(items=st.lists(json_values, min_size=1, max_size=6), chunk=st.integers(1, 40))
def test_lines_are_read_and_numbered_however_they_are_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, items: list[Any], chunk: int
) -> None:
    monkeypatch.setattr(records, "CHUNK", chunk)
    first = {"first": True}  # the first line shows that these are lines
    path = tmp_path / "x.jsonl"
    path.write_text("\n\n".join(json.dumps(item) for item in [first, *items]), "utf-8")
    found = list(iter_records(path))
    assert [f.value for f in found] == [first, *items]
    assert [f.line for f in found] == list(range(1, 2 * len(found), 2))


def test_a_broken_line_is_reported_and_the_next_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": 1}\n\n{"a": \n{"a": 3}')
    one, broken, three = iter_records(path)
    assert (one.value, three.value, three.line) == ({"a": 1}, {"a": 3}, 4)
    assert broken.value is None
    assert broken.problem is not None
    assert str(broken.error(broken.problem)).startswith(f"{path}, line 3: not JSON")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"a": 1}, {"a" 2}, {"a": 3}]' + " " * 50, "record 2: not JSON: Expecting ':'"),
        ('[{"a": 1}, {"a": 2', "record 2: not JSON"),
        ('[{"a": 1}', "record 2: the array does not end"),
        ("  \n ", "is empty"),
        (" [\n] ", "holds no record"),
        ("conv_id,utt_idx\n", "holds no record"),
        ("[" + "[" * 200_000, "record 1: not JSON"),
    ],
)
def test_a_broken_file_is_refused_where_it_breaks(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(DataError) as refused:
        values(path)
    assert message in str(refused.value)


@pytest.mark.parametrize("chunk", [1, 3, 1 << 18])
@pytest.mark.parametrize("more", ['[{"a": 2}]', "garbage", "]", ", {}"])
def test_what_follows_the_array_is_a_broken_record_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str, chunk: int
) -> None:
    monkeypatch.setattr(records, "CHUNK", chunk)
    path = tmp_path / "x.json"
    path.write_text(f'[{{"a": 1}}\n,\n{{"a": 2}}]\n\n {more}\nand on')
    one, two, rest = iter_records(path)
    assert [one.value, two.value] == [{"a": 1}, {"a": 2}]
    assert (rest.number, rest.line) == (3, 5)
    assert "the array has ended" in (rest.problem or "")
    assert f"is not read: '{more[0]}" in (rest.problem or "")
    path.write_text('[{"a": 1}] \n \n')
    assert len(values(path)) == 1


def test_a_record_beyond_the_largest_is_refused_instead_of_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "CHUNK", 64)
    monkeypatch.setattr(records, "MAX_RECORD_CHARACTERS", 1000)
    fits = write(tmp_path / "fits.json", [{"a": "x" * 900}] * 3)
    assert len(values(fits)) == 3
    with pytest.raises(DataError, match="record 2: not JSON: Unterminated"):
        values(write(tmp_path / "large.json", [{"a": 1}, {"a": "x" * 100_000}]))


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(json.dumps(VALUES).encode(), mtime=0)[:-12],
        b'{"a": "\xff\xfe"}',
        b"\x1f\x8bxx",
    ],
)
def test_what_is_cut_short_or_no_text_is_reported(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(data)
    with pytest.raises(DataError, match="cannot be read to its end"):
        values(path)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        values(tmp_path / "none.json")
    with pytest.raises(DataError, match=r"holds no \.json file"):
        values(tmp_path)


def test_a_folder_holds_one_record_a_file(tmp_path: Path) -> None:
    (tmp_path / "1.json").write_text("[1, 2]")
    (tmp_path / "2.json").write_text("[1,")
    (tmp_path / "notes.txt").write_text("no record")
    one, two = iter_records(tmp_path)
    assert (one.value, one.own_file, one.file.name) == ([1, 2], True, "1.json")
    assert two.problem is not None


def test_rows_of_one_conversation_are_one_record(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text(EMPATHETIC_ROWS)
    first, second = iter_records(path)
    assert [row["utterance"] for row in first.value["rows"]] == [
        'I ate "alone_comma_ again.',
        "All week?",
    ]
    assert (first.line, second.line) == (2, 4)


def test_one_object_over_several_lines_is_refused_with_a_way_out(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    path.write_text(json.dumps({"data": [{"dialog": []}]}, indent=2))
    with pytest.raises(DataError, match="one JSON object over several lines") as caught:
        list(iter_records(path))
    assert "jq -c" in str(caught.value)
    path.write_text('{"a": 1}\n{\n')  # a later line like that is a broken line as any other
    assert [found.problem is None for found in iter_records(path)] == [True, False]
