"""The log: append-only, repaired, locked, and readable with clear faults."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import warmline
from warmline.agents import Role
from warmline.core.errors import DataError, RunError
from warmline.environments import Episode, EpisodeLog
from warmline.environments.episodes.episode import Call, StopReason, Timing, Utterance
from warmline.policies.base import Usage

from ..helpers import scenarios, talk


@pytest.fixture(scope="module")
def episodes() -> list[Episode]:
    return warmline.simulate(
        policy=talk(), scenarios=scenarios(3), max_turns=4, counselor=False, seed=2
    )


def write(path: Path, episodes: list[Episode]) -> None:
    with EpisodeLog(path) as log:
        for episode in episodes:
            log.append(episode)


def test_what_is_written_is_read_back(tmp_path: Path, episodes: list[Episode]) -> None:
    write(tmp_path / "episodes.jsonl", episodes)
    assert warmline.read_episodes(tmp_path) == episodes
    assert list(warmline.iter_episodes(tmp_path / "episodes.jsonl")) == episodes


def test_unicode_line_separators_stay_inside_a_line(tmp_path: Path) -> None:
    odd = "One\u2028two\x85three\rfour 😢"
    policy = talk(seeker=[odd])
    made = warmline.simulate(policy=policy, scenarios=scenarios(1), max_turns=2, out=tmp_path)
    assert made[0].utterances[0].raw == odd
    assert warmline.read_episodes(tmp_path) == made


@pytest.mark.parametrize("torn", [2, 20, 700])
def test_a_torn_last_line_is_left_out_and_repaired(
    tmp_path: Path, episodes: list[Episode], torn: int
) -> None:
    path = tmp_path / "episodes.jsonl"
    write(path, episodes)
    whole = path.read_bytes()
    path.write_bytes(whole[:-torn])
    assert warmline.read_episodes(path) == episodes[:2]
    write(path, episodes[2:])
    assert path.read_bytes() == whole


def test_a_log_torn_in_its_only_line_starts_empty(tmp_path: Path, episodes: list[Episode]) -> None:
    path = tmp_path / "episodes.jsonl"
    path.write_text('{"version": 1, "id"')
    write(path, episodes[:1])
    assert warmline.read_episodes(path) == episodes[:1]


def test_a_broken_line_is_named(tmp_path: Path, episodes: list[Episode]) -> None:
    path = tmp_path / "episodes.jsonl"
    write(path, episodes)
    lines = path.read_text().splitlines()
    lines[1] = lines[1][:50]
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=r"episodes\.jsonl, line 2: not JSON"):
        warmline.read_episodes(path)
    with pytest.raises(DataError, match="not an episode record"), EpisodeLog(path):
        pass


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 99}, "version 99; this Warmline reads version 1"),
        ({"stop": "bored"}, "field 'stop'"),
        ({"mood": "fine"}, "unknown field 'mood'"),
    ],
)
def test_records_are_closed_and_versioned(
    tmp_path: Path, episodes: list[Episode], change: dict[str, object], message: str
) -> None:
    record = json.loads(episodes[0].to_json()) | change
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(record) + "\n")
    with pytest.raises(DataError, match=message):
        list(warmline.read_episodes(path))


def test_a_stored_first_version_still_loads() -> None:
    stored = Path(__file__).parent / "data" / "episode_v1.jsonl"
    (episode,) = warmline.read_episodes(stored)
    assert episode.id == "s0"
    assert episode.utterances[1].strategy is warmline.Strategy.QUESTION
    assert episode.call_messages(episode.calls[0])[0].role == "system"


def test_an_episode_cannot_be_changed(episodes: list[Episode]) -> None:
    with pytest.raises(ValueError, match="frozen"):
        episodes[0].id = "other"


def test_two_processes_cannot_write_one_log(tmp_path: Path) -> None:
    path = tmp_path / "episodes.jsonl"
    code = (
        "import sys\nfrom warmline.environments import EpisodeLog\n"
        "from warmline.core.errors import RunError\n"
        "try:\n    EpisodeLog(sys.argv[1]).__enter__()\n"
        "except RunError as error:\n    print(error)\n"
    )
    with EpisodeLog(path):
        second = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
        )
    assert "written by another process" in second.stdout


FULL = """
import resource, sys
from warmline.environments import EpisodeLog, read_episodes
from warmline.core.errors import RunError

source, target = sys.argv[1:]
episodes = read_episodes(source)
with EpisodeLog(target) as log:
    log.append(episodes[0])
    room = len(open(target, "rb").read()) + 300
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    try:
        log.append(episodes[1])
    except RunError as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    log.append(episodes[2])
"""


def test_a_full_disk_leaves_the_log_as_it_was(tmp_path: Path, episodes: list[Episode]) -> None:
    """The file may grow by 300 bytes only, so the second record is written in part."""
    write(tmp_path / "source.jsonl", episodes)
    target = tmp_path / "episodes.jsonl"
    run = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "source.jsonl"), str(target)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "could not write episode 's1'" in run.stdout
    assert "nothing finished is lost" in run.stdout
    assert warmline.read_episodes(target) == [episodes[0], episodes[2]]


def test_an_episode_tried_again_counts_once(tmp_path: Path, episodes: list[Episode]) -> None:
    write(tmp_path / "episodes.jsonl", [*episodes, episodes[0]])
    assert warmline.read_episodes(tmp_path) == episodes
    assert len(list(warmline.iter_episodes(tmp_path))) == 4


def test_a_missing_log_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no episode log there"):
        warmline.read_episodes(tmp_path)


def test_impossible_sampling_in_a_record_is_named_by_file_and_line(
    tmp_path: Path, episodes: list[Episode]
) -> None:
    record = json.loads(episodes[0].to_json())
    record["calls"][0]["sampling"]["temperature"] = -1
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(record) + "\n")
    with pytest.raises(
        DataError, match=r"log\.jsonl, line 1: .*\n.*temperature must be at least 0"
    ):
        list(warmline.read_episodes(path))


def test_latencies_of_other_calls_are_refused(tmp_path: Path, episodes: list[Episode]) -> None:
    record = json.loads(episodes[0].to_json())
    record["timing"]["latencies"].pop()
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(record) + "\n")
    with pytest.raises(DataError, match="timing has 5 latencies for 6 calls"):
        list(warmline.read_episodes(path))


@pytest.mark.parametrize("number", ["1e999", "NaN", "-Infinity"])
def test_numbers_that_cannot_be_written_again_are_refused(
    tmp_path: Path, episodes: list[Episode], number: str
) -> None:
    record = json.loads(episodes[0].to_json()) | {"annotations": {"why": ["NUMBER"]}}
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(record).replace('"NUMBER"', number) + "\n")
    with pytest.raises(DataError, match=r"log\.jsonl, line 1"):
        list(warmline.read_episodes(path))


ANY_TEXT = st.text(max_size=20) | st.sampled_from(["\ud800", "\x00\x7f\u2028", "</script>", '"\\'])
KEYS = st.text(max_size=9)  # readers clean them
DATA = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | ANY_TEXT
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(ANY_TEXT, st.dictionaries(KEYS, DATA, max_size=3))
def test_a_line_says_what_the_record_says(text: str, data: dict[str, Any]) -> None:
    """The quick way to write a line gives the very data of the slow one, whatever the texts hold."""
    changed = Episode.model_construct(
        id=text,
        scenario=scenarios(1)[0],
        stop=StopReason.TURN_LIMIT,
        utterances=(Utterance(Role.SEEKER, text, text),),
        calls=(Call("seeker", text, (), notes=data, text=text, usage=Usage(1, 0, 2)),),
        timing=Timing(started=text, seconds=0.1, latencies=(None, 1e-7)),
        annotations=data,
    )
    slow = json.dumps(changed.model_dump(mode="json", exclude_none=True), ensure_ascii=False)
    assert json.loads(changed.to_json()) == json.loads(slow)


@pytest.mark.parametrize(
    "problem", [OSError(errno.EIO, os.strerror(errno.EIO)), KeyboardInterrupt()]
)
def test_a_disk_that_fails_at_the_end_leaves_the_log_to_others(
    tmp_path: Path,
    episodes: list[Episode],
    monkeypatch: pytest.MonkeyPatch,
    problem: BaseException,
) -> None:
    """On a network's file system errors may come only then."""
    path = tmp_path / "episodes.jsonl"
    log = EpisodeLog(path)

    def fail(_: int) -> None:
        raise problem

    log.__enter__()
    log.append(episodes[0])
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises((RunError, KeyboardInterrupt)) as caught:
            log.__exit__(None, None, None)
    if isinstance(problem, OSError):
        assert "could not write the end of" in str(caught.value)
        assert "Input/output error" in str(caught.value)
    with EpisodeLog(path) as again:  # `log` still lives
        again.append(episodes[1])
    assert warmline.read_episodes(path) == episodes[:2]


def test_a_failing_end_does_not_hide_what_failed_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(ZeroDivisionError) as caught, EpisodeLog(tmp_path / "x.jsonl"):
        1 / 0  # noqa: B018
    assert "could not write the end of" in "".join(caught.value.__notes__)
