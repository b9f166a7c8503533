"""A corpus's review on pages: the review store of `environments/corpus/review`, opened for each request."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from ...environments.corpus.folder import cleaned_episodes
from ...environments.corpus.review.agreement import Agreement, agreement
from ...environments.corpus.review.review import (
    Decision,
    Edit,
    ReviewItem,
    Verdict,
    agreement_items,
    current,
)
from ...environments.corpus.review.store import Progress, ReviewStore
from ...environments.corpus.tags import TAGS_NAME, TagFile, Tags, read_tags
from ...environments.episodes.sides import place_of
from .settings import StudySettings

_WORDS = re.compile(r"\s+|[^\s]+")


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text that an edit kept, took out or put in."""

    kind: Literal["same", "out", "in"]
    text: str


@dataclass(frozen=True, slots=True)
class Difference:
    """A dialogue about whose current version reviewers differ.

    Attributes:
        mine: the reviewer's own word; None where they have not judged it.
        others: the others' verdicts and reasons, without names.
    """

    id: str
    version: int
    mine: Verdict | None
    others: tuple[tuple[str, str], ...]


def begin_review(settings: StudySettings) -> None:
    """Start the corpus's review, or enrol what was added to it.

    Raises:
        RunError: it was started under another rule.
        DataError: the corpus cannot be read.
    """
    folder = Path(settings.items[0])
    with ReviewStore(folder, create=True) as store:
        store.start(required=settings.reviewers, seed=settings.seed)
        store.enrol(cleaned_episodes(folder))


def open_review(settings: StudySettings) -> ReviewStore:
    """The corpus's store; close it after use."""
    return ReviewStore(Path(settings.items[0]))


def reviewed(store: ReviewStore, reviewer: str) -> int:
    """How many dialogues a reviewer has judged in their current version."""
    return sum(
        reviewer in (*standing.approved_by, *standing.rejected) for standing in store.standings()
    )


def changes(before: str, after: str) -> Iterator[Piece]:
    """What an edit did to a text, word by word."""
    a, b = _WORDS.findall(before), _WORDS.findall(after)
    for tag, i, j, k, m in difflib.SequenceMatcher(a=a, b=b, autojunk=False).get_opcodes():
        if tag == "equal":
            yield Piece("same", "".join(a[i:j]))
            continue
        if i < j:
            yield Piece("out", "".join(a[i:j]))
        if k < m:
            yield Piece("in", "".join(b[k:m]))


def edits_of(store: ReviewStore, item: ReviewItem) -> list[tuple[Edit, list[Piece]]]:
    """Every edit of a dialogue with what it changed, oldest first."""
    return [(edit, list(changes(edit.before, edit.after))) for edit in store.edits(item.id)]


def differences(store: ReviewStore, reviewer: str) -> list[Difference]:
    """Dialogues in dispute, in the order of enrolment: some approve, some reject, nobody has ruled."""
    found = []
    by_episode: dict[str, list[Decision]] = {}
    for decision in store.decisions():
        by_episode.setdefault(decision.episode, []).append(decision)
    for standing in store.standings():
        if not standing.disputed:
            continue
        counted = current(by_episode.get(standing.id, ()), standing.version)
        own = counted.get(reviewer)
        others = tuple(
            (each.verdict.value, each.reason) for who, each in counted.items() if who != reviewer
        )
        found.append(
            Difference(standing.id, standing.version, own.verdict if own else None, others)
        )
    return found


def ruled(store: ReviewStore, adjudicator: str) -> int:
    """How many dialogues an adjudicator has ruled about."""
    return sum(each.reviewer == adjudicator for each in store.rulings())


def tags_of_dialogue(settings: StudySettings, name: str) -> list[str]:
    """What cleaning found in a dialogue, in words; nothing where the corpus was not cleaned."""
    folder = settings.items[0]
    path = place_of(folder).path / TAGS_NAME
    if not path.is_file():
        return []
    stat = path.stat()
    own = _tags_at(str(path), stat.st_mtime_ns, stat.st_size).get(name)
    return [] if own is None else tag_words(own)


def tag_words(tags: Tags) -> list[str]:
    """Each finding as a reader sees it: filter, reason, where."""
    return [
        f"{found.filter}: {found.reason}"
        + ("" if found.utterance is None else f" (utterance {found.utterance})")
        for found in tags.findings
    ]


@lru_cache(maxsize=4)
def _tags_at(path: str, _changed: int, _size: int) -> TagFile:
    return read_tags(path)


def review_numbers(store: ReviewStore) -> tuple[Progress, Agreement]:
    """How far the review is, and how far the reviewers agree."""
    return store.progress(), agreement(agreement_items(store.decisions()))
