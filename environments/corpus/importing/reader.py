"""Import: recorded dialogues become episodes, one at a time, with all changes counted.

    importing = Import("ESConv.json", recipe="sweetiechat")
    for episode in importing: ...
    importing.report

An imported dialogue is an `Episode` without calls: `stop` is `recorded`, `source` the corpus. What
the source does not give (a situation, a problem type) is `unspecified`, and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ....agents.roles import Role
from ....core.errors import ConfigError, DataError
from ....core.files import sha256_of
from ....core.record import refuse_unwritable
from ....policies.safety import crisis_kinds
from ...episodes.episode import Episode, StopReason, Utterance
from ...episodes.log import LOG_NAME
from ...scenarios.scenario import UNSPECIFIED, Profile, Scenario
from ..sources import KNOWN_CORPORA, UNKNOWN_LICENCE, Source
from .importers.base import BrokenRecord, Recorded
from .importers.mappings import problem_type_of
from .importers.records import FoundRecord, iter_records
from .importers.registry import AUTO, find_importer, recorded_by, sniff
from .normalise import Line, Tally, count_word, find_recipe, normalise, notes_of, one_line

EXAMPLES = 20
"""Faults that a report names; further ones are only counted."""


@dataclass(slots=True)
class ImportReport:
    """What was read, kept, changed and left out.

    Attributes:
        records: read from the file.
        episodes: kept.
        broken: records that no dialogue could be read from.
        tally: what each step of the normalisation did.
        names: kept episodes by source name.
        origins: corpus whose words and licence a source name stands for.
        faults: the first broken records and turns, by file, place and field.
        faulty: broken records and turns in all.
        unmapped_types: dialogues whose problem type is none of the 45, by the source's word.
        unspecified: kept episodes without a problem type or a situation.
        crisis: kept episodes with crisis language.
        several_labels: kept supporter utterances with more than one strategy.
    """

    format: str
    recipe: str
    records: int = 0
    episodes: int = 0
    broken: int = 0
    tally: Tally = field(default_factory=Tally)
    names: Counter[str] = field(default_factory=Counter)
    origins: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    faulty: int = 0
    unmapped_types: Counter[str] = field(default_factory=Counter)
    unspecified: Counter[str] = field(default_factory=Counter)
    crisis: int = 0
    several_labels: int = 0

    @property
    def dropped(self) -> dict[str, int]:
        """Dialogues left out, by the reason."""
        reasons = {"broken_record": self.broken}
        reasons |= {name: step.emptied for name, step in self.tally.steps.items()}
        return {name: count for name, count in reasons.items() if count}

    def fault(self, error: DataError) -> None:
        """Keep what was wrong with a record or turn."""
        self.faulty += 1
        if len(self.faults) < EXAMPLES:
            self.faults.append(error.message)

    def to_dict(self) -> dict[str, Any]:
        """As plain data; counts of nothing are left out."""
        steps = {name: asdict(step) for name, step in self.tally.steps.items() if step.dialogues}
        counters = {
            "sources": self.names,
            "speakers": self.tally.speakers,
            "strategies": self.tally.strategies,
            "unmapped_labels": self.tally.unmapped_labels,
            "unmapped_types": self.unmapped_types,
            "unspecified": self.unspecified,
        }
        return {
            "format": self.format,
            "recipe": self.recipe,
            "records": self.records,
            "episodes": self.episodes,
            "dropped": self.dropped,
            "steps": steps,
            **{name: dict((+counter).most_common()) for name, counter in counters.items()},
            "episodes_with_crisis_language": self.crisis,
            "utterances_with_several_strategies": self.several_labels,
            "faulty": self.faulty,
            "faults": self.faults,
        }


class Import:
    """An import: iterate it for the episodes, as often as you like; each time counts anew.

    Args:
        path: a file or folder; see `records`.
        format: an importer by name or import string, or `auto`.
        recipe: by name, or step names joined by commas.
        name: of the source, for ids and `Episode.source`; default: the corpus's own.
        limit: at most so many episodes.
        strict: the first broken record or turn is an error.

    Attributes:
        report: of the last iteration; complete when that has ended.

    Raises:
        ConfigError: no such importer or recipe.
        DataError: no such file, or no format found for it.
    """

    def __init__(
        self,
        path: str | Path,
        format: str = AUTO,  # noqa: A002 - the word for it
        *,
        recipe: str = "raw",
        name: str | None = None,
        limit: int | None = None,
        strict: bool = False,
    ) -> None:
        if limit is not None and limit < 1:
            raise ConfigError(f"limit is {limit}; at least 1 episode must be asked for")
        self._steps = find_recipe(recipe)
        self.path, self.recipe = Path(path), recipe
        self.format = sniff(path) if format == AUTO else format
        self._importer = find_importer(self.format)
        self._name, self._limit, self._strict = name, limit, strict
        self.report = self._new_report()

    def _new_report(self) -> ImportReport:
        return ImportReport(self.format, self.recipe)

    def __iter__(self) -> Iterator[Episode]:
        """Stream the episodes.

        Raises:
            DataError: the file cannot be read further; no record of it can be read; or under
                `strict`, anything is broken.
            ConfigError: what the importer gives is not a dialogue.
        """
        report = self.report = self._new_report()
        for found in iter_records(self.path):
            report.records += 1
            episode = self._episode(found, report)
            if episode is not None:
                count_episode(episode, report)
                yield episode
            if report.episodes == self._limit:
                return
        if report.broken and report.broken == report.records:
            raise DataError(
                f"none of its {report.records} records can be read as {self.format}; the first:\n"
                f"  {report.faults[0]}",
                file=self.path,
                hint=f"`{AUTO}` as the format tries all of them",
            )

    def _episode(self, found: FoundRecord, report: ImportReport) -> Episode | None:
        try:
            if found.problem is not None:
                raise BrokenRecord(found.problem)
            recorded = self._recorded(found.value)
        except BrokenRecord as broken:
            report.broken += 1
            self._fault(found, report, broken.field, broken.message)
            return None
        origin = recorded.source or self.format.rpartition(":")[2]
        lines, faults = normalise(recorded, self._steps, report.tally, source=origin)
        for place, message in faults:
            self._fault(found, report, place, message)
        if not lines:
            return None
        name = self._name or origin
        report.origins.setdefault(name, origin)
        return _episode_of(recorded, lines, found, (name, origin), report)

    def _recorded(self, record: object) -> Recorded:
        recorded = recorded_by(self._importer, self.format, record)
        try:
            refuse_unwritable(recorded.annotations)
        except ValueError as error:
            raise BrokenRecord(str(error), field="annotations") from None
        return recorded

    def _fault(
        self, found: FoundRecord, report: ImportReport, place: str | None, message: str
    ) -> None:
        error = found.error(
            message,
            field=place,
            hint=f"is '{self.format}' its format? without --strict such records are left out and"
            " counted",
        )
        if self._strict:
            raise error
        report.fault(error)

    def sources(self, licence: str | None = None, url: str | None = None) -> tuple[Source, ...]:
        """Provenance of what the last iteration gave, one entry a source name.

        Args:
            licence: where the user knows it; default: of the known corpus, else `unknown`.
            url: likewise.
        """
        digest, report = sha256_of(self.path), self.report
        entries = []
        for name, kept in report.names.items():
            known = KNOWN_CORPORA.get(report.origins[name])
            entries.append(
                Source(
                    name=name,
                    licence=licence or (known.licence if known else UNKNOWN_LICENCE),
                    url=url or (known.url if known else ""),
                    file=self.path.resolve().name,
                    sha256=digest,
                    format=self.format,
                    recipe=self.recipe,
                    records=report.records,
                    episodes=kept,
                    dropped=report.dropped,
                )
            )
        return tuple(entries)


def _episode_of(
    recorded: Recorded,
    lines: list[Line],
    found: FoundRecord,
    source: tuple[str, str],
    report: ImportReport,
) -> Episode:
    name, origin = source
    annotations = dict(recorded.annotations)
    theirs = one_line(recorded.problem_type)
    problem_type = problem_type_of(origin, theirs) if theirs else None
    if theirs and problem_type is None:
        count_word(report.unmapped_types, theirs)
    elif problem_type not in (None, theirs):
        annotations.setdefault("problem_type", theirs)
    if notes := notes_of(lines):
        annotations["utterances"] = notes
    if found.own_file:
        annotations.setdefault("id", found.file.name.partition(".")[0])
    identity = f"{name}-{found.number}"
    return Episode(
        id=identity,
        scenario=Scenario(
            id=identity,
            problem_type=problem_type or theirs or UNSPECIFIED,
            situation=one_line(recorded.situation) or UNSPECIFIED,
            profile=Profile(text=about) if (about := one_line(recorded.profile)) else "",
            source=name,
        ),
        stop=StopReason.RECORDED,
        utterances=tuple(_utterance(line) for line in lines),
        source=name,
        annotations=annotations or None,
    )


def _utterance(line: Line) -> Utterance:
    return Utterance(
        role=Role.SEEKER if line.role is Role.SEEKER else Role.SUPPORTER,
        text=line.text,
        raw=line.raw,
        strategy=line.labels[0] if line.labels else None,
        repairs=line.repairs,
        crisis=crisis_kinds(line.text),
        labels=line.labels if len(line.labels) > 1 else (),
    )


def count_episode(episode: Episode, report: ImportReport) -> None:
    """Count a kept episode."""
    report.episodes += 1
    report.names[episode.source] += 1
    report.crisis += any(u.crisis for u in episode.utterances)
    report.several_labels += sum(len(u.labels) > 1 for u in episode.utterances)
    for what in ("problem_type", "situation"):
        report.unspecified[what] += getattr(episode.scenario, what) == UNSPECIFIED


def write_episodes(folder: str | Path, episodes: Iterable[Episode]) -> None:
    """Write `episodes.jsonl` as they come; unlike a run's log it is not kept from being torn."""
    with (Path(folder) / LOG_NAME).open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(episode.to_json() + "\n" for episode in episodes)
