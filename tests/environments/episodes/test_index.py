"""The index of a log: never the truth, only quicker. Episodes read lazily are those of a list."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import warmline
from warmline.cli import app
from warmline.core.errors import DataError
from warmline.environments import Episode, EpisodeLog
from warmline.environments.episodes import index as indexing
from warmline.environments.episodes.derived import Signature, derived_path
from warmline.environments.episodes.index import INDEX, LogIndex
from warmline.environments.episodes.log import iter_episodes, latest_episodes, log_files
from warmline.environments.episodes.sequence import Episodes

from ..helpers import scenarios, talk


@pytest.fixture(scope="module")
def made() -> list[Episode]:
    return list(warmline.simulate(policy=talk(), scenarios=scenarios(6), max_turns=2))


@pytest.fixture
def always_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep an index beside small logs too."""
    monkeypatch.setattr(indexing, "WORTH_KEEPING", 1)


def write(path: Path, episodes: list[Episode]) -> Path:
    with EpisodeLog(path) as log:
        for episode in episodes:
            log.append(episode)
    return path


def failed(episode: Episode) -> Episode:
    error = {"type": "BadRequest", "message": "no", "role": "seeker"}
    return episode.model_validate(json.loads(episode.to_json()) | {"stop": "error", "error": error})


def plainly(folder: Path) -> Any:
    """What a folder holds, read line by line: of each log the last attempts, of several logs those
    that did not fail; in both orders. Or that it cannot be read."""
    every: list[Episode] = []
    last: dict[str, int] = {}
    try:
        for file in log_files(folder):
            start = len(every)
            every += iter_episodes(file)
            here = {every[n].id: n for n in range(start, len(every))}
            for name, number in here.items():
                before = last.get(name, number)
                if not every[number].stop.failed or every[before].stop.failed:
                    last[name] = number
    except DataError:
        return "refused"
    return (
        [every[number] for number in last.values()],
        [every[number] for number in sorted(last.values())],
    )


def by_index(folder: Path) -> Any:
    try:
        found = warmline.read_episodes(folder)
        return list(found), list(latest_episodes(folder))
    except DataError:
        return "refused"


# What may happen to the files of a folder

Change = Callable[[Path, list[Episode], int], None]


def append(folder: Path, made: list[Episode], n: int) -> None:
    with suppress(DataError):  # the log was spoilt before
        write(folder / "episodes.jsonl", [made[n % 6], failed(made[(n + 1) % 6])])


def other_log(folder: Path, made: list[Episode], n: int) -> None:
    write(folder / f"episodes-{n % 3}.jsonl", [made[n % 6]])


def half_a_line(folder: Path, made: list[Episode], n: int) -> None:
    with (folder / "episodes.jsonl").open("ab") as file:
        file.write(made[n % 6].to_json().encode()[: 20 + n])


def another_id_of_the_same_length(folder: Path, made: list[Episode], n: int) -> None:
    """In place, and with the old time put back."""
    path = folder / "episodes.jsonl"
    times = path.stat()
    text = path.read_bytes().replace(b'"id":"s%d"' % (n % 6), b'"id":"z%d"' % (n % 6))
    with path.open("r+b") as file:
        file.write(text)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def a_line_less(folder: Path, made: list[Episode], n: int) -> None:
    path = folder / "episodes.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1] if n % 2 else lines[1:]))


def a_blank_line(folder: Path, made: list[Episode], n: int) -> None:
    path = folder / "episodes.jsonl"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\n\n", 1))


def a_damaged_byte(folder: Path, made: list[Episode], n: int) -> None:
    path = folder / "episodes.jsonl"
    data = bytearray(path.read_bytes())
    if data:
        data[n * 7919 % len(data)] = n % 256
        path.write_bytes(data)


def other_spacing(folder: Path, made: list[Episode], n: int) -> None:
    path = folder / "episodes.jsonl"
    try:
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    except ValueError:
        return
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")


def a_damaged_index(folder: Path, made: list[Episode], n: int) -> None:
    path = derived_path(folder / "episodes.jsonl", INDEX)
    if path.is_file():
        data = bytearray(path.read_bytes())
        data[n * 7919 % len(data)] ^= 1 + n % 255
        path.write_bytes(data)


def an_index_of_another_log(folder: Path, made: list[Episode], n: int) -> None:
    other = write(folder / "other.jsonl", made[: 1 + n % 6])
    LogIndex.of(other)
    shutil.copy2(derived_path(other, INDEX), derived_path(folder / "episodes.jsonl", INDEX))
    other.unlink()


CHANGES: list[Change] = [
    append, other_log, half_a_line, another_id_of_the_same_length, a_line_less, a_blank_line,
    a_damaged_byte, other_spacing, a_damaged_index, an_index_of_another_log,
]  # fmt: skip


@pytest.mark.usefixtures("always_kept")
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=st.lists(st.tuples(st.sampled_from(CHANGES), st.integers(0, 400)), max_size=5))
def test_whatever_happens_to_the_files_the_index_changes_nothing(
    tmp_path: Path, made: list[Episode], steps: list[tuple[Change, int]]
) -> None:
    folder = tmp_path / "run"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    log = write(folder / "episodes.jsonl", made)
    assert derived_path(log, INDEX).is_file()
    for change, n in steps:
        change(folder, made, n)
        assert by_index(folder) == plainly(folder), change.__name__


@pytest.mark.usefixtures("always_kept")
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_each_change_alone_is_noticed(tmp_path: Path, made: list[Episode], change: Change) -> None:
    write(tmp_path / "episodes.jsonl", made)
    change(tmp_path, made, 3)
    assert by_index(tmp_path) == plainly(tmp_path)
    assert by_index(tmp_path) == plainly(tmp_path), "and with the index that this made"


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The logs that are read through to make an index."""
    seen: list[Path] = []
    real = indexing.placed_bytes

    def watched(path: Path, **more: Any) -> Iterator[tuple[int, int, bytes]]:
        seen.append(path)
        return real(path, **more)

    monkeypatch.setattr(indexing, "placed_bytes", watched)
    return seen


@pytest.mark.usefixtures("always_kept")
def test_a_log_that_did_not_change_is_not_read_again(
    tmp_path: Path, made: list[Episode], scans: list[Path]
) -> None:
    path = write(tmp_path / "episodes.jsonl", made)
    scans.clear()
    assert warmline.read_episodes(tmp_path).ids == [e.id for e in made]
    with EpisodeLog(path) as log:
        assert list(log.finished) == [e.id for e in made]
        log.append(failed(made[0]))
    assert warmline.read_episodes(tmp_path).stops[0] == "error"
    assert scans == []


def test_small_logs_have_nothing_beside_them(tmp_path: Path, made: list[Episode]) -> None:
    write(tmp_path / "episodes.jsonl", made)
    list(warmline.read_episodes(tmp_path))
    assert [file.name for file in tmp_path.iterdir()] == ["episodes.jsonl"]


@pytest.mark.usefixtures("always_kept")
def test_a_second_writer_leaves_no_index_behind(
    tmp_path: Path, made: list[Episode], scans: list[Path]
) -> None:
    """As where a file system has no locks."""
    path = tmp_path / "episodes.jsonl"
    with EpisodeLog(path) as log:
        log.append(made[0])
        with path.open("ab") as other:
            other.write(made[1].to_json().encode() + b"\n")
        log.append(made[2])
    assert not derived_path(path, INDEX).exists()
    scans.clear()
    assert warmline.read_episodes(path) == made[:3]
    assert scans == [path]


KILLED = """
import os, sys
from pathlib import Path
from warmline.environments import EpisodeLog, read_episodes
from warmline.environments.episodes import index

index.WORTH_KEEPING = 1
source, target = sys.argv[1:]
log = EpisodeLog(target).__enter__()
for episode in read_episodes(source):
    log.append(episode)
with open(target, "ab") as file:
    file.write(b'{"version":1,"id":"s9","scen')
os.kill(os.getpid(), 9)
"""


@pytest.mark.usefixtures("always_kept")
def test_a_killed_writer_leaves_a_log_that_is_indexed_anew(
    tmp_path: Path, made: list[Episode]
) -> None:
    source = write(tmp_path / "source.jsonl", made[3:])
    target = write(tmp_path / "episodes.jsonl", made[:3])
    subprocess.run([sys.executable, "-c", KILLED, str(source), str(target)], check=False)
    assert target.read_bytes().endswith(b'"scen')
    assert warmline.read_episodes(target) == made
    with EpisodeLog(target) as log:
        assert len(log.finished) == 6
        log.append(failed(made[5]))
    assert warmline.read_episodes(target).stops == [e.stop.value for e in made[:5]] + ["error"]


@pytest.mark.usefixtures("always_kept")
def test_where_nothing_may_be_written_the_log_is_read_without_an_index(
    tmp_path: Path, made: list[Episode], recwarn: pytest.WarningsRecorder
) -> None:
    path = tmp_path / "episodes.jsonl"
    derived_path(path, INDEX).mkdir()  # for the superuser too, nothing can be written in its place
    write(path, made)
    assert warmline.read_episodes(tmp_path) == made
    assert not recwarn.list
    assert list(derived_path(path, INDEX).iterdir()) == []
    assert not list(tmp_path.glob("*.partial"))


def test_a_part_of_a_run_in_each_of_several_logs(tmp_path: Path, made: list[Episode]) -> None:
    """They are read in the order of their names, so `episodes.jsonl` comes last."""
    write(tmp_path / "episodes-1.jsonl", [made[0], failed(made[1])])
    write(tmp_path / "episodes-2.jsonl", [failed(made[2]), made[1]])
    write(tmp_path / "episodes.jsonl", [made[2], made[3]])
    found = warmline.read_episodes(tmp_path)
    assert by_index(tmp_path) == plainly(tmp_path)
    assert sorted(found.ids) == ["s0", "s1", "s2", "s3"]
    assert {e.id: e for e in found} == {e.id: e for e in made[:4]}


def test_episodes_are_a_sequence(tmp_path: Path, made: list[Episode]) -> None:
    found = warmline.read_episodes(write(tmp_path / "episodes.jsonl", made))
    assert isinstance(found, Episodes)
    assert len(found) == 6
    assert found == made
    assert made == found
    assert found != made[:5]
    assert found[-1] == made[-1]
    assert found[1:5:2] == made[1:5:2]
    assert found[::-1] == made[::-1]
    assert list(reversed(found)) == made[::-1]
    assert made[2] in found
    assert found.index(made[3]) == 3
    assert found.chosen(["s4", "none", "s1"]) == [made[4], made[1]]
    assert Episodes.joined([found[4:], found[:1]]) == [made[4], made[5], made[0]]
    assert found[6:] == []
    assert not found[6:]
    with pytest.raises(IndexError):
        found[6]


def test_episodes_are_added_as_lists_are(tmp_path: Path, made: list[Episode]) -> None:
    read = warmline.read_episodes(write(tmp_path / "episodes.jsonl", made))
    assert list(read + read) == made + made
    assert isinstance(read + read, Episodes)
    assert read + made == made + made
    assert made + read == made + made


def test_a_log_that_changes_after_it_was_opened_is_an_error(
    tmp_path: Path, made: list[Episode]
) -> None:
    path = write(tmp_path / "episodes.jsonl", made)
    found = warmline.read_episodes(path)
    write(path, [failed(made[0])])
    assert found == made, "what is appended changes nothing"
    a_line_less(tmp_path, made, 0)
    with pytest.raises(DataError, match="no longer where it was"):
        found[3]
    path.unlink()
    with pytest.raises(DataError, match="cannot be read: No such file"):
        list(found)


def test_a_wrong_field_is_named_with_its_line_when_the_episode_is_read(
    tmp_path: Path, made: list[Episode]
) -> None:
    path = write(tmp_path / "episodes.jsonl", made)
    lines = path.read_text("utf-8").splitlines()
    lines[2] = lines[2].replace('"role":"seeker"', '"role":"ghost"', 1)
    path.write_text("\n".join(lines) + "\n", "utf-8")
    found = warmline.read_episodes(path)
    assert found[3] == made[3]
    with pytest.raises(DataError, match=r"line 3, field 'utterances\.0\.role"):
        found[2]


def test_show_reads_no_other_episode_than_those_asked_for(
    tmp_path: Path, made: list[Episode]
) -> None:
    path = write(tmp_path / "episodes.jsonl", [*made, failed(made[1])])
    lines = path.read_text("utf-8").splitlines()
    lines[2] = lines[2].replace('"role":"seeker"', '"role":"ghost"', 1)
    path.write_text("\n".join(lines) + "\n", "utf-8")
    shown = CliRunner().invoke(app, ["show", str(path), "--id", "s1", "--json"])
    assert [json.loads(x)["stop"] for x in shown.output.splitlines()] == ["turn_limit", "error"]
    assert CliRunner().invoke(app, ["show", str(path), "--limit", "2"]).exit_code == 0
    assert CliRunner().invoke(app, ["show", str(path), "--id", "s2"]).exit_code != 0


def test_heads_are_those_of_the_records(tmp_path: Path, made: list[Episode]) -> None:
    """Whatever a scenario says, and in whatever form a record is written."""
    told = 'He said: }},"seed":9,"config_hash":"x","stop":"error","id":"no", \\ "\n\u2028 and 😢'
    odd = made[0].model_copy(
        update={
            "id": 'odd "id" \\ é',
            "scenario": made[0].scenario.model_copy(update={"situation": told}),
            "source": "my source",
        }
    )
    noted = made[1].model_copy(update={"annotations": {"source": "", "id": 5}, "seed": -3})
    path = write(tmp_path / "episodes.jsonl", [odd, noted, made[2]])
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(json.loads(made[3].to_json()), indent=None) + "\n")
    index = LogIndex.of(path)
    assert index.ids == [odd.id, "s1", "s2", "s3"]
    assert [index.stop(n) for n in range(4)] == [e.stop.value for e in made[:4]]
    assert {(o.seed, o.source) for o in index.origins} == {(0, "my source"), (-3, ""), (0, "")}
    assert index.signature == Signature.of(path)
