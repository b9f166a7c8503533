"""Tags: what cleaning found in each episode, and how an export makes use of it.

`tags.jsonl` lies beside `episodes.jsonl`, one line an episode. Nothing is ever deleted from the
log: `kept` leaves out what was found unfit, and `cleaned` makes the trimmed episode, from the tags
alone, without the filters that wrote them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from ...core.errors import DataError
from ...core.jsonl import placed_lines, storable_json
from ...core.record import Record
from ..episodes.episode import CLOSED, Episode

TAGS_NAME = "tags.jsonl"
TAGS_VERSION: Literal[1] = 1


class Severity(StrEnum):
    """What a finding asks for."""

    DROP = "drop"
    """Leave the episode out."""
    TRIM = "trim"
    """Put another text in place of an utterance, or take it out."""
    FLAG = "flag"
    """Worth knowing; the episode stays as it is."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that one filter found.

    Attributes:
        filter: name of the filter.
        severity: what it asks for.
        reason: in words; of few kinds a filter, so that they can be counted.
        utterance: index in the logged episode; None if the finding is about all of it.
        value: what was measured or matched.
        edited: the text to put in place, for `trim`; empty takes the utterance out. It includes
            the trims of earlier findings about the same utterance.
    """

    __pydantic_config__: ClassVar[ConfigDict] = CLOSED

    filter: str
    severity: Severity
    reason: str
    utterance: int | None = None
    value: float | str | None = None
    edited: str | None = None


@dataclass(frozen=True, slots=True)
class Tags:
    """The findings about one episode.

    Attributes:
        id: the episode's.
        content: digest of what was examined; tags of an older state of the episode do not match.
        cleaning: digest of the filters and their settings.
        findings: in the order of the filters. What asks for `drop` or `flag` was found in the
            episode as it is after all trims.
    """

    __pydantic_config__: ClassVar[ConfigDict] = CLOSED

    id: str
    content: str
    cleaning: str
    findings: tuple[Finding, ...] = ()
    version: Literal[1] = TAGS_VERSION

    def of(self, severity: Severity) -> tuple[Finding, ...]:
        """The findings of one severity."""
        return tuple(f for f in self.findings if f.severity is severity)

    @property
    def dropped(self) -> bool:
        """Whether any filter asks to leave the episode out."""
        return any(f.severity is Severity.DROP for f in self.findings)

    def to_json(self) -> str:
        """One line of `tags.jsonl`."""
        findings = [
            {k: v for k, v in dataclasses.asdict(f).items() if v is not None} for f in self.findings
        ]
        record = {
            "version": self.version,
            "id": self.id,
            "content": self.content,
            "cleaning": self.cleaning,
            "findings": findings,
        }
        return json.dumps(record, ensure_ascii=False, separators=(",", ":"))


_READER = TypeAdapter(Tags)


def content_digest(episode: Episode) -> str:
    """Digest of all that filters look at, 16 hexadecimal digits."""
    scenario = episode.scenario
    said = [(u.role.value, u.text) for u in episode.utterances]
    key = (episode.id, str(scenario.profile), scenario.situation, episode.stop.value, said)
    text = json.dumps(key, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=8).hexdigest()


def iter_tags(path: str | Path) -> Iterator[Tags]:
    """Stream the tags of a file, or of a run's folder; a torn last line is left out.

    Raises:
        DataError: no such file, or a line that holds no tags; names file and line.
    """
    return (tags for _, tags in _placed(_tags_file(path)))


def _tags_file(path: str | Path) -> Path:
    path = Path(path)
    if path.is_dir():
        path /= TAGS_NAME
    if not path.is_file():
        raise DataError("no tags there", file=path, hint="`warmline clean FOLDER` writes them")
    return path


def _placed(path: Path) -> Iterator[tuple[int, Tags]]:
    """Each line's place in the file, in bytes, and its tags."""
    for number, place, line in placed_lines(path):
        try:
            yield place, _READER.validate_json(line)
        except ValidationError as error:
            raise DataError(
                f"not a line of tags: {error.errors()[0]['msg'].lower()}",
                file=path,
                line=number,
                hint="delete the file and clean again; it is made from the log alone",
            ) from None


class TagFile(Mapping[str, Tags]):
    """Tags by episode id, in a file; of an id that was tagged again, the last.

    In memory are the ids and where their lines begin; a line is read when it is asked for. The file
    may grow meanwhile, not change.

    Raises:
        DataError: see `iter_tags`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = _tags_file(path)
        self._places = {tags.id: place for place, tags in _placed(self.path)}

    def __getitem__(self, name: str) -> Tags:
        place = self._places[name]
        with self.path.open("rb") as file:
            file.seek(place)
            return _READER.validate_json(storable_json(file.readline().decode("utf-8")))

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def read_tags(path: str | Path) -> TagFile:
    """The tags of a file, or of a run's folder, by episode id; see `TagFile`."""
    return TagFile(path)


def edited(episode: Episode, findings: Iterable[Finding], note: str = "") -> Episode:
    """The episode with the trims of `findings` applied, in order; unchanged without any.

    An edited utterance names the filter in its `repairs`, and so does the utterance before one that
    was taken out. `raw` stays as the policy wrote it. Verdicts keep their place.

    Args:
        note: put before the filter's name in `repairs`.
    """
    texts: dict[int, str] = {}
    repairs: dict[int, list[str]] = {}
    for finding in findings:
        if finding.edited is not None and finding.utterance is not None:
            texts[finding.utterance] = finding.edited
            repairs.setdefault(finding.utterance, []).append(note + finding.filter)
    if not texts:
        return episode
    utterances: list[Any] = []
    before = [0]  # how many of the first n utterances stay
    for index, utterance in enumerate(episode.utterances):
        text = texts.get(index, utterance.text)
        names = [name for name in repairs.get(index, ()) if name not in utterance.repairs]
        if index in texts and not text:
            if utterances:
                last = utterances[-1]
                more = tuple(name for name in names if name not in last.repairs)
                utterances[-1] = dataclasses.replace(last, repairs=last.repairs + more)
        elif index in texts:
            utterances.append(
                dataclasses.replace(
                    utterance, text=text, repairs=(*utterance.repairs, *dict.fromkeys(names))
                )
            )
        else:
            utterances.append(utterance)
        before.append(len(utterances))
    verdicts = tuple(
        dataclasses.replace(v, after=before[min(v.after, len(before) - 1)])
        for v in episode.verdicts
    )
    return episode.model_copy(update={"utterances": tuple(utterances), "verdicts": verdicts})


def cleaned(episode: Episode, tags: Tags | None) -> Episode:
    """The episode with every trim of its tags applied and noted as `clean:FILTER` in `repairs`.

    Raises:
        DataError: the tags are of another state of the episode.
    """
    if tags is None or not tags.of(Severity.TRIM):
        return episode
    if tags.content != content_digest(episode):
        raise DataError(
            f"the tags of '{tags.id}' were written for another state of the episode",
            file=TAGS_NAME,
            field="content",
            hint="clean the folder again",
        )
    return edited(episode, tags.of(Severity.TRIM), "clean:")


class Choice(Record):
    """Which findings count in an export; by default what the filters ask for.

    Attributes:
        ignore: names of filters whose `drop` is not followed.
        also_drop: names of filters of which any finding, flags included, leaves the episode out.
        trim: whether trims are applied.
        untagged: whether episodes without tags come through.
    """

    ignore: frozenset[str] = frozenset()
    also_drop: frozenset[str] = frozenset()
    trim: bool = True
    untagged: bool = False

    def keeps(self, tags: Tags | None) -> bool:
        """Whether an episode with these tags comes through."""
        if tags is None:
            return self.untagged
        return not any(
            finding.filter in self.also_drop
            or (finding.severity is Severity.DROP and finding.filter not in self.ignore)
            for finding in tags.findings
        )


FOLLOW_THE_FILTERS = Choice()


def kept(
    episodes: Iterable[Episode],
    tags: Mapping[str, Tags],
    choose: Choice = FOLLOW_THE_FILTERS,
) -> Iterator[Episode]:
    """The episodes that an export should hold, trimmed; a stream in the order given.

    Args:
        episodes: the last attempt of each id (`read_episodes`), or a stream without retries.
        tags: by id, see `read_tags`.
        choose: which findings count.

    Raises:
        DataError: tags of another state of an episode.
    """
    for episode in episodes:
        own = tags.get(episode.id)
        if choose.keeps(own):
            yield cleaned(episode, own) if choose.trim else episode
