"""The filters on conversations between people: a false drop loses data, so hardly any may be dropped."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

import warmline
from warmline import Episode
from warmline.agents.roles import Role
from warmline.environments import Utterance
from warmline.environments.corpus.cleaning import CleanSettings, examine
from warmline.environments.corpus.cleaning.report import CleaningReport, report_of
from warmline.environments.corpus.tags import Tags

from .talks import episode

DATA = Path(os.environ.get("WARMLINE_DATA") or Path(warmline.__file__).parents[1] / "shared/data")


def talks(path: Path, speaker: str, text: str, seeker: str) -> Iterator[Episode]:
    """A dialogue a line, under the field names of the file."""
    if not path.is_file():
        pytest.skip(f"{path.name} is not there; see WARMLINE_DATA")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            turns: list[dict[str, Any]] = json.loads(line)["dialog"]
            roles = [Role.SEEKER if t[speaker] == seeker else Role.SUPPORTER for t in turns]
            said = tuple(
                Utterance(role, turn[text].strip(), turn[text])
                for role, turn in zip(roles, turns, strict=True)
            )
            yield episode(name=f"{path.name}-{number}", utterances=said)


def report(episodes: Iterator[Episode], *skip: str) -> CleaningReport:
    filters = CleanSettings(skip=skip).make()
    return report_of(Tags(e.id, "", "", examine(e, filters)) for e in episodes)


def test_people_in_english_keep_their_dialogues() -> None:
    path = DATA / "esconv/esconv_dev1070.jsonl.gz"
    found = report(talks(path, "speaker", "text", "usr"))
    assert found.episodes == 1070
    assert found.dropped_by.get("role", 0) <= 2
    assert found.dropped_by.get("leaks", 0) == 0
    assert found.dropped <= 5
    closings = [r.episodes for r in found.reasons if r.filter == "closings"]
    assert 20 <= sum(closings) <= 60


def test_people_in_chinese_are_not_dropped_by_rules_for_english() -> None:
    path = DATA / "smilechat/smilechat_sample2000.jsonl.gz"
    found = report(islice(talks(path, "role", "content", "client"), 500), "length")
    assert found.episodes == 500
    assert found.dropped <= 3
