"""Reading and splitting: by scenario, never by row."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmline.core.errors import ConfigError, DataError
from warmline.environments.corpus.splits import scenario_groups
from warmline.training.rows.sources import (
    draw,
    load_episodes,
    read_instructions,
    replay_count,
    split_episodes,
)

from ..building import episode, write_log

TOLD = "The shop where I worked for ten years closed its doors on Monday."


def test_conversations_about_one_scenario_stay_together() -> None:
    talks = [episode(f"s{n // 4}~{n % 4 + 1}" if n % 4 else f"s{n // 4}") for n in range(40)]
    train, held = split_episodes(talks, 0.2, seed=3)
    assert (len(train), len(held)) == (32, 8)
    stems = [{e.id.partition("~")[0] for e in side} for side in (train, held)]
    assert not stems[0] & stems[1]


def test_scenarios_with_one_situation_stay_together() -> None:
    a, b = episode("a", situation=TOLD), episode("b", situation=f"  {TOLD.upper()} ")
    assert scenario_groups([a, b]) == ["a", "a"]
    # too short to tell anything: a placeholder
    assert scenario_groups([episode("a"), episode("b")]) == ["a", "b"]


@given(st.lists(st.integers(0, 20), min_size=1, max_size=40), st.floats(0, 0.9), st.integers(0, 9))
def test_a_split_loses_nothing_and_mixes_no_group(ids: list[int], share: float, seed: int) -> None:
    talks = [episode(f"s{n}") for n in ids]
    train, held = split_episodes(talks, share, seed)
    assert sorted(e.id for e in train + held) == sorted(e.id for e in talks)
    assert not {e.id for e in train} & {e.id for e in held}
    groups = len(set(ids))
    expected = max(1, round(share * groups)) if share and groups > 1 else round(share * groups)
    assert len({e.id for e in held}) == expected


def test_the_order_of_files_does_not_matter() -> None:
    talks = [episode(f"s{n}") for n in range(30)]
    one = {e.id for e in split_episodes(talks, 0.3, 1)[1]}
    assert {e.id for e in split_episodes(talks[::-1], 0.3, 1)[1]} == one
    assert {e.id for e in split_episodes(talks, 0.3, 2)[1]} != one


def test_episodes_and_what_identifies_them(tmp_path: Path) -> None:
    folder = write_log(tmp_path / "run", [episode("a"), episode("b")])
    episodes, (source,) = load_episodes([folder])
    assert [e.id for e in episodes] == ["a", "b"]
    assert (source.name, source.items, list(source.sha256)) == ("run", 2, ["episodes.jsonl"])
    write_log(folder, [episode("a")])
    assert load_episodes([folder])[1][0].sha256 != source.sha256


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no data to train on"):
        load_episodes([])
    with pytest.raises(DataError, match="no episode log there"):
        load_episodes([tmp_path])


def test_a_settings_file_among_the_data_is_told_where_it_belongs() -> None:
    with pytest.raises(ConfigError, match=r"mine\.toml holds no data\n  hint: settings: --config"):
        load_episodes(["runs/a", "mine.toml"])


ROWS = [
    {"instruction": "Add.", "input": "1 and 2", "output": "3"},
    {"instruction": "Greet.", "input": "", "output": "Hello."},
]


@pytest.mark.parametrize("form", ["list", "lines", "gz"])
def test_instruction_rows(tmp_path: Path, form: str) -> None:
    text = json.dumps(ROWS) if form != "lines" else "\n".join(map(json.dumps, ROWS))
    file = tmp_path / ("rows.json.gz" if form == "gz" else "rows.json")
    file.write_bytes(gzip.compress(text.encode()) if form == "gz" else text.encode())
    first, second = read_instructions(file)
    assert [m.content for m in first.messages] == ["Add.\n\n1 and 2", "3"]
    assert [m.content for m in second.messages] == ["Greet.", "Hello."]
    assert first.trained == (1,)


def test_instruction_rows_that_cannot_be_used(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    file.write_text(json.dumps([*ROWS, {"instruction": "Go."}]))
    with pytest.raises(DataError, match=r"rows.json, line 3, field 'output': is empty or missing"):
        read_instructions(file)


def test_how_much_is_replayed() -> None:
    """A share of 0.2 of all: x / (80 + x) = 0.2 gives x = 20."""
    assert replay_count(80, 100, number=None, share=0.2) == 20
    assert replay_count(80, 100, number=7, share=None) == 7
    assert replay_count(80, 100, number=None, share=None) == 100
    with pytest.raises(ConfigError, match="500 instruction rows are to be replayed"):
        replay_count(80, 100, number=500, share=None)


def test_drawing_is_seeded() -> None:
    assert draw(range(100), 5, 1) == draw(range(100), 5, 1) != draw(range(100), 5, 2)
    assert len(set(draw(range(100), 100, 1))) == 100
