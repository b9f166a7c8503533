"""Which dialogues a model has learned from, back along its lineage.

Beside `checkpoint.json` lies `seen.json`, with a digest of every dialogue that the weights were
trained on and of every one that chose among them (validation), those of the checkpoints it was made
from included. What a scorer learned from published tables (a post and its reply, a sentence) counts as
a dialogue of these texts. The digest is of what was said, since ids repeat between corpora and change between
imports; so a dialogue is known again under another id and in another file, and one whose text was
edited since counts as another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from ...core.errors import DataError
from ...core.files import read_text, write_whole
from ...core.record import Record, problems_of
from ...policies.base import Policy, model_folders
from ..episodes.episode import Episode
from ..runs.trained import CHECKPOINT_NAME

SEEN_NAME = "seen.json"


class Seen(Record):
    """What a model has learned from; `seen.json`.

    Attributes:
        train: digests of the dialogues that weights were trained on.
        validation: of those that decided when to stop and which weights to keep.
        unknown: names of what it also learned from, of which it is not recorded.
    """

    version: Literal[1] = 1
    train: frozenset[str] = Field(frozenset(), repr=False)
    validation: frozenset[str] = Field(frozenset(), repr=False)
    unknown: frozenset[str] = frozenset()

    def __or__(self, other: Seen) -> Seen:
        return Seen(
            train=self.train | other.train,
            validation=self.validation | other.validation,
            unknown=self.unknown | other.unknown,
        )

    def to_json(self) -> str:
        """The text of the file; equal records give equal bytes."""
        plain: dict[str, Any] = {"version": self.version}
        for name in ("train", "validation", "unknown"):
            plain[name] = sorted(getattr(self, name))
        return json.dumps(plain, indent=1, ensure_ascii=False) + "\n"

    def counts(self) -> dict[str, int]:
        """How many dialogues; for a summary."""
        return {"train": len(self.train), "validation": len(self.validation - self.train)}


NOTHING_SEEN = Seen()


@dataclass(frozen=True, slots=True)
class Overlap:
    """How many of the dialogues that something is measured on were learned from.

    Attributes:
        dialogues: that it is measured on.
        train: of them, those that weights were trained on.
        validation: of the others, those that were validated on.
        unknown: names of what was also learned from, of which it is not recorded.
    """

    dialogues: int
    train: int = 0
    validation: int = 0
    unknown: tuple[str, ...] = ()

    @property
    def seen(self) -> int:
        """Both together."""
        return self.train + self.validation

    def __str__(self) -> str:
        """One sentence for a table; empty if all are new and that is known."""
        parts = []
        if self.seen:
            how = f"{self.train} in training, {self.validation} in validation"
            parts.append(f"{self.seen} of {self.dialogues} dialogues were seen before ({how})")
        if self.unknown:
            parts.append(f"what {', '.join(self.unknown)} learned from is not recorded")
        return "; ".join(parts)

    def flag(self, role: str) -> str:
        """The same for the model of a role, with what it means; empty if all are new.

        Args:
            role: whose model it is.
        """
        if not str(self):
            return ""
        return f"{'NOT HELD OUT' if self.seen else 'not known to be held out'}: {role}: {self}"


def dialogue_digest(episode: Episode) -> str:
    """Of what was said, case and white space aside; who said it does not count, nor how it is cut
    into utterances. 16 hexadecimal digits."""
    return text_digest(u.text for u in episode.utterances)


def text_digest(texts: Iterable[str]) -> str:
    """The same of any texts in a row, such as a post and its reply."""
    words = " ".join(texts).casefold().split()
    text = " ".join(words).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=8).hexdigest()


def digests_of(episodes: Iterable[Episode], among: Collection[str] | None = None) -> frozenset[str]:
    """The digests of some dialogues.

    Args:
        among: ids; the others are left out.
    """
    return frozenset(
        dialogue_digest(e) for e in episodes if e.utterances and (among is None or e.id in among)
    )


def seen_of(train: Iterable[Episode], validation: Iterable[Episode]) -> Seen:
    """The record of a training on some dialogues, validated on others."""
    return Seen(train=digests_of(train), validation=digests_of(validation))


def write_seen(folder: Path, seen: Seen) -> None:
    """Put the record into a folder.

    Raises:
        RunError: the disk refuses.
    """
    write_whole(folder / SEEN_NAME, seen.to_json())


def read_seen(folder: str | Path) -> Seen | None:
    """The record in a folder; None where there is none.

    Raises:
        DataError: it cannot be read.
    """
    file = Path(folder) / SEEN_NAME
    if not file.is_file():
        return None
    try:
        return Seen.model_validate_json(read_text(file))
    except ValidationError as error:
        raise DataError("; ".join(problems_of(error, Seen)[:3]), file=file) from None


def seen_by(folders: Iterable[str | Path]) -> Seen:
    """What the models in these folders have learned from.

    A checkpoint without a record (of an earlier version) is named as unknown; a base model, whose
    training was no affair of this package, is not.
    """
    found = NOTHING_SEEN
    for folder in map(Path, folders):
        own = read_seen(folder)
        if own is None and (folder / CHECKPOINT_NAME).is_file():
            own = Seen(unknown=frozenset({folder.name}))
        found |= own or NOTHING_SEEN
    return found


def seen_in(folder: Path) -> Seen:
    """What stands in a folder of pairs or candidates; its name as unknown where nothing does."""
    return read_seen(folder) or Seen(unknown=frozenset({folder.resolve().name}))


def seen_by_policies(policies: Iterable[Policy | None]) -> Seen:
    """What the models behind some policies have learned from."""
    return seen_by(f for policy in policies if policy is not None for f in model_folders(policy))


def overlap_of(asked: Seen, seen: Seen) -> Overlap:
    """The same for dialogues of which there is a record alone.

    Args:
        asked: what something is measured on; its `train` counts.
        seen: what was learned from.
    """
    trained = asked.train & seen.train
    validated = (asked.train & seen.validation) - trained
    unknown = tuple(sorted(seen.unknown | asked.unknown))
    return Overlap(len(asked.train), len(trained), len(validated), unknown)


def overlap(episodes: Iterable[Episode], seen: Seen) -> Overlap:
    """How many of these dialogues were seen."""
    dialogues = train = validation = 0
    for episode in episodes:
        dialogues += 1
        digest = dialogue_digest(episode)
        train += digest in seen.train
        validation += digest in seen.validation and digest not in seen.train
    return Overlap(dialogues, train, validation, tuple(sorted(seen.unknown)))
