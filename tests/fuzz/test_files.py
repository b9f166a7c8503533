"""Files read from outside: any file is read, or refused with one clear error; none stops a program."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import warmline
from warmline.core.errors import DataError
from warmline.environments.corpus.importing.reader import Import
from warmline.environments.episodes.episode import Episode
from warmline.environments.episodes.log import EpisodeLog, iter_episodes
from warmline.environments.episodes.rating import Rating, iter_ratings
from warmline.evaluation.report.page import write_report

from ..environments.corpus.samples import ONE_OF_EACH
from .damage import damaged_file

pytestmark = pytest.mark.fuzz


def simulated() -> list[dict[str, Any]]:
    """Three records of a run with all seats."""
    with tempfile.TemporaryDirectory() as folder:
        warmline.simulate(policy="scripted", episodes=3, max_turns=4, out=folder, progress=False)
        lines = (Path(folder) / "episodes.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line, object_hook=_timeless) for line in lines]


def _timeless(record: dict[str, Any]) -> dict[str, Any]:
    """What was measured is set, so that each run of the tests damages the same records."""
    measured = {"started": "2026-01-31T12:00:00+00:00", "seconds": 0.5, "latency": 0.25}
    return record | {
        name: value for name, value in measured.items() if record.get(name) is not None
    }


RECORDS = simulated()


def read(file: Path) -> list[Episode] | None:
    """What the log holds, or nothing where it says that it cannot be read."""
    try:
        return list(iter_episodes(file))
    except DataError as error:
        assert str(file) in str(error)
        return None


@given(damaged_file(RECORDS))
def test_a_log_is_read_or_refused_and_what_was_read_is_written_again(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log, page = Path(folder) / "episodes.jsonl", Path(folder) / "report.html"
        log.write_bytes(content)
        episodes = read(log)
        if episodes is None:
            with pytest.raises(DataError):
                write_report([log], page)
            assert not page.exists()
        elif episodes:
            write_report([log], page)
            assert page.read_text("utf-8").rstrip().endswith("</html>")
            again = Path(folder) / "again" / "episodes.jsonl"
            with EpisodeLog(again) as opened:
                for episode in {episode.id: episode for episode in episodes}.values():
                    opened.append(episode)
            assert {e.id: e for e in iter_episodes(again)} == {e.id: e for e in episodes}


RATING = Rating(
    episode="a-1", rater="r", kind="judge", dimension="fluency", value=3, notes={"why": ["clear"]}
)


@given(damaged_file([json.loads(RATING.to_json())] * 2))
def test_ratings_are_read_or_refused(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ratings.jsonl"
        file.write_bytes(content)
        try:
            found = list(iter_ratings(file))
        except DataError as error:
            assert str(file) in str(error)
            return
        assert [Rating.model_validate_json(rating.to_json()) for rating in found] == found


@given(damaged_file(RECORDS))
def test_a_log_is_opened_and_continued_or_keeps_its_lines(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "episodes.jsonl"
        file.write_bytes(content)
        try:
            with EpisodeLog(file) as log:
                finished = set(log.finished)
        except DataError:
            lines = content[: content.rfind(b"\n") + 1]
            assert file.read_bytes() in (content, lines, content + b"\n")
            return
        episodes = read(file)
        assert episodes is None or finished <= {episode.id for episode in episodes}


@given(
    st.sampled_from(sorted(ONE_OF_EACH)).flatmap(
        lambda name: st.booleans().flatmap(
            lambda as_array: damaged_file([ONE_OF_EACH[name]] * 2, as_array=as_array)
        )
    ),
    st.sampled_from(["auto", *sorted(ONE_OF_EACH)]),
    st.sampled_from(["raw", "sweetiechat"]),
)
def test_an_import_counts_what_it_cannot_read(content: bytes, name: str, recipe: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "corpus.json"
        file.write_bytes(content)
        try:
            importing = Import(file, name, recipe=recipe)
            episodes = list(importing)
        except DataError as error:
            assert str(file) in str(error)
            return
        report = importing.report
        assert report.episodes == len(episodes) == report.records - sum(report.dropped.values())
        for episode in episodes:
            assert Episode.model_validate_json(episode.to_json()) == episode
