"""Which conversations of a corpus an export holds, in which words, and from which sources.

Cleaning's tags and the reviewers' decisions are followed; what they changed is in the text, what
was left out is counted by reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from ....core.errors import ConfigError, DataError, did_you_mean
from ...episodes.episode import Episode, StopReason
from ...scenarios.seed_pool import SOURCE as SEEDS
from ..cleaning import known_filters
from ..cleaning.judge import NAME as JUDGE
from ..folder import cleaned_episodes, tags_of
from ..review.database import review_started, store_path
from ..review.review import ReviewState, Standing, edited_episode, fingerprint
from ..review.store import ReviewStore
from ..sources import KNOWN_CORPORA, Source, read_sources
from ..tags import Choice
from .licences import UNKNOWN
from .settings import ExportSettings

REJECTED = "rejected in review"
NOT_APPROVED = "not approved by all reviewers"
NOT_REVIEWED = "not under review"

SEEDS_LICENCE = KNOWN_CORPORA[SEEDS].licence
"""Of the shipped seeds: they are part of this package and carry its licence."""
SIMULATED = "simulated here"


class Selection:
    """The conversations that an export takes from a folder.

    Args:
        folder: of the corpus.
        settings: what to follow.

    Attributes:
        left_out: conversations left out by the last pass, by reason.
        standings: the review, by episode; None where there was none.

    Raises:
        ConfigError: the settings follow tags that were never written, or name no filter.
        DataError: only reviewed ones are wanted and there was no review.
    """

    def __init__(self, folder: Path, settings: ExportSettings) -> None:
        self.folder = folder
        self.settings = settings
        self.left_out: Counter[str] = Counter()
        self.standings: dict[str, Standing] | None = None
        self._originals: dict[str, str] = {}
        _check_filters(folder, (*settings.ignore, *settings.also_drop))
        if settings.only_reviewed or review_started(folder):
            with ReviewStore(folder) as store:
                self.standings = {standing.id: standing for standing in store.standings()}
                self._originals = store.originals()

    def episodes(self) -> Iterator[Episode]:
        """One pass over the conversations, as they will be exported; may be made again."""
        self.left_out.clear()
        chosen = self.settings
        choose = Choice(ignore=frozenset(chosen.ignore), also_drop=frozenset(chosen.also_drop))
        for episode in cleaned_episodes(
            self.folder, choose if chosen.clean else None, self.left_out
        ):
            standing = (self.standings or {}).get(episode.id)
            if reason := self._unfit(standing):
                self.left_out[reason] += 1
            elif standing is None:
                yield episode
            else:
                self._check_text(episode)
                yield edited_episode(episode, standing.edits)

    def _unfit(self, standing: Standing | None) -> str | None:
        if standing is None:
            return NOT_REVIEWED if self.settings.only_reviewed else None
        if standing.state is ReviewState.REJECTED:
            return REJECTED
        pending = standing.state is ReviewState.PENDING
        return NOT_APPROVED if pending and self.settings.only_reviewed else None

    def _check_text(self, episode: Episode) -> None:
        if self._originals[episode.id] != fingerprint(episode):
            raise DataError(
                f"'{episode.id}' is not the text that reviewers saw",
                file=store_path(self.folder),
                hint="the log or its cleaning changed since the review; restore it, or move the"
                " store away to review anew",
            )


def _check_filters(folder: Path, named: Sequence[str]) -> None:
    """Filters that an export names are there: known ones, or others that left findings."""
    if not named:
        return
    if (tags := tags_of(folder)) is None:
        raise ConfigError(
            f"{folder} was never cleaned, so there are no findings to choose among",
            hint="`warmline clean FOLDER` first, or leave ignore and also-drop out",
        )
    found = {finding.filter for one in tags.values() for finding in one.findings}
    known = [*known_filters(), JUDGE]
    if unknown := [name for name in named if name not in known and name not in found]:
        there = [*known, *sorted(found.difference(known))]
        raise ConfigError(
            f"no filter named '{unknown[0]}'; known: {', '.join(there)}",
            hint=did_you_mean(unknown[0], there),
        )


class Origins:
    """Collects where the conversations of an export come from, for the licence guard.

    Imported ones come from their source. Those simulated here come from their scenario's source,
    and from every source of `sources.json` that nothing was imported from, since that was then what
    scenarios or case dialogues were made after.
    """

    def __init__(self, sources: tuple[Source, ...], licence: str | None) -> None:
        self._recorded = {source.name: source for source in sources}
        self._licence = licence
        self.imported: Counter[str] = Counter()
        self.scenarios: Counter[str] = Counter()

    def add(self, episode: Episode) -> None:
        """Count one conversation."""
        if episode.stop is StopReason.RECORDED:
            self.imported[episode.source or UNKNOWN] += 1
        else:
            self.scenarios[episode.scenario.source] += 1

    @property
    def simulated(self) -> int:
        """Conversations simulated here."""
        return self.scenarios.total()

    def used(self) -> dict[str, Source]:
        """Every source that the export draws on, by name; unrecorded ones have no licence."""
        names = set(self.imported)
        if self.simulated:
            names |= {name for name in self.scenarios if name in self._recorded}
            names |= self._recorded.keys() - self.imported.keys()
            names |= {name for name in self.scenarios if name and not _own(name)}
        return {name: self._recorded.get(name) or Source(name=name) for name in sorted(names)}

    def licences_recorded(self) -> dict[str, str]:
        """Licence by source of all of `sources.json`, whether the export draws on it or not."""
        return {name: source.licence for name, source in self._recorded.items()}

    def licences(self) -> dict[str, str]:
        """Licence by source, as the guard takes them.

        Raises:
            ConfigError: a licence was given for what was simulated, and nothing was.
        """
        if self._licence is not None and not self.simulated:
            raise ConfigError(
                "a licence was given for what was simulated here, and nothing was",
                hint="the licences of imported sources are in sources.json",
            )
        licences = {name: source.licence for name, source in self.used().items()}
        if self._licence is not None:
            licences[SIMULATED] = self._licence
        elif self.scenarios[""]:
            licences[f"{SIMULATED}, from your own scenarios"] = UNKNOWN
        elif self.simulated and not licences:
            licences[SEEDS] = SEEDS_LICENCE
        return licences


def origins_of(folder: Path, settings: ExportSettings) -> Origins:
    """An empty collection for a folder."""
    return Origins(read_sources(folder), settings.licence)


def _own(name: str) -> bool:
    """Whether a scenario's source is the shipped pool, or generation here."""
    return name.split(":")[0].strip() in (SEEDS, "generated", "warmline")
