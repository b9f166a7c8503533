"""Cleaning a run's folder: every episode is examined once and its findings are kept.

Streams: in memory are one block of episodes, the ids of what is tagged, and the sketches of
`near_duplicates` (about 0.7 kB a dialogue). A kill loses at most a block; the same command goes on,
and over a finished folder it changes nothing, except that it asks the judge again what failed for a
reason that can pass. Two processes cannot clean one folder at a time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from ....core.errors import ConfigError
from ....core.files import write_whole
from ....core.jsonl import LineLog
from ....core.source_text import without_sources
from ....core.tasks import run_sync
from ....policies.base import Policy, close_policy, describe_policy, open_policy
from ....policies.registry import make_policy
from ...episodes.episode import Episode
from ...episodes.log import iter_episodes, log_files
from ...episodes.rating import RATINGS_NAME, Rating, append_ratings, iter_ratings
from ...episodes.sides import whole
from ...runs.settings import EngineSettings
from ..tags import TAGS_NAME, Finding, Severity, Tags, content_digest, edited, iter_tags, read_tags
from .filters.base import Filter, trims
from .judge import DIMENSION, RUBRIC, RoleJudge, judged, may_answer_later
from .report import CleaningReport, report_of
from .settings import CleanSettings

REPORT_NAME = "cleaning.json"
BLOCK = 64
"""Episodes between two writes; also how many the judge is asked about at a time."""


def examine(episode: Episode, filters: Sequence[Filter]) -> tuple[Finding, ...]:
    """All findings about one episode, with indices into the episode as it is given.

    First the filters that trim, over and over until none has anything to trim; then all look at the
    trimmed episode for what drops or is flagged. So a leak or a loop that was cut off drops
    nothing.
    """
    cut: list[Finding] = []
    while more := _trims_of(episode, cut, filters):
        cut += more
    return (*cut, *_look(episode, cut, filters))


def _look(
    episode: Episode, cut: Sequence[Finding], filters: Sequence[Filter]
) -> tuple[Finding, ...]:
    """What the filters find beside trims in the episode as it is after `cut`."""
    current, places = _with_places(episode, cut)
    return tuple(
        finding if finding.utterance is None else _moved(finding, places[finding.utterance])
        for filter_ in filters
        for finding in filter_.examine(current)
        if finding.severity is not Severity.TRIM
    )


def _trims_of(episode: Episode, cut: Sequence[Finding], filters: Sequence[Filter]) -> list[Finding]:
    """The first trims that a filter asks for beyond `cut`."""
    current, places = _with_places(episode, cut)
    for filter_ in filters:
        if trims(filter_):
            more = [
                _moved(finding, places[finding.utterance])
                for finding in filter_.examine(current)
                if finding.severity is Severity.TRIM and finding.utterance is not None
            ]
            if more:
                return more
    return []


def _with_places(episode: Episode, cut: Sequence[Finding]) -> tuple[Episode, list[int]]:
    """The episode after the trims so far, and where its utterances stood."""
    texts = {f.utterance: f.edited for f in cut}
    places = [i for i in range(len(episode.utterances)) if texts.get(i) != ""]
    return edited(episode, cut), places


def _moved(finding: Finding, place: int) -> Finding:
    return Finding(
        finding.filter, finding.severity, finding.reason, place, finding.value, finding.edited
    )


def clean_run(
    folder: str | Path,
    settings: CleanSettings | None = None,
    *,
    judge: Policy | None = None,
    progress: Callable[[int], None] | None = None,
) -> CleaningReport:
    """Examine every episode of a folder; writes `tags.jsonl` and `cleaning.json`, deletes nothing.

    Goes on where an earlier call with the same settings stopped; with other settings the tags are
    made anew. The same folder and settings give the same bytes.

    Args:
        folder: holds `episodes.jsonl`.
        settings: the default filters if not given.
        judge: also judges the roles; instead of `settings.judge`.
        progress: called after every block with the number of episodes examined.

    Raises:
        DataError: no log, or a line that is not an episode.
        ConfigError: filters that do not exist or cannot be set up that way.
        PolicyError: the judge failed; what it answered before is kept.
        RunError: another process is cleaning the folder, or the disk refuses.
    """
    folder, settings = whole(folder, "cleaning"), settings or CleanSettings()
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder", hint="give a run's folder")
    log_files(folder)  # before anything is written: a folder without a log stays as it is
    judge = judge or _judge_policy(settings.judge)
    digest = settings.digest(None if judge is None else without_sources(describe_policy(judge)))
    asker = None
    if judge is not None:
        sampling = settings.judge.sampling()
        asker = RoleJudge(judge, settings.concurrency, settings.seed, sampling)
    filters = settings.make()
    with LineLog(folder / TAGS_NAME) as log:
        cleaning = _Cleaning(folder, log, filters, digest, asker)
        run_sync(cleaning.run(progress or (lambda _: None)))
    report = report_of(read_tags(folder).values(), digest)
    write_whole(folder / REPORT_NAME, report.to_json())
    return report


def _judge_policy(engine: EngineSettings) -> Policy | None:
    return None if engine.policy is None else make_policy(engine.policy, **engine.policy_options())


class _Cleaning:
    """One call of `clean_run`.

    Filters that remember (near-duplicates) come last and see only what nothing else drops, so that
    the dialogue that stays is a good one.
    """

    def __init__(
        self,
        folder: Path,
        log: LineLog,
        filters: Sequence[Filter],
        digest: str,
        judge: RoleJudge | None,
    ) -> None:
        self.folder, self.log, self.digest, self.judge = folder, log, digest, judge
        self.rules = [f for f in filters if not getattr(f, "remembers", False)]
        self.remembering = [f for f in filters if getattr(f, "remembers", False)]
        ratings = self.kept_ratings()
        again = {name for name, rating in ratings.items() if may_answer_later(rating)}
        self.ratings = {name: rating for name, rating in ratings.items() if name not in again}
        self.done = _tagged(log.path, digest, again)

    async def run(self, progress: Callable[[int], None]) -> None:
        if self.judge:
            await open_policy(self.judge.policy)
        try:
            count = 0
            for block in _blocks(self.fresh()):
                await self.tag(block)
                progress(count := count + len(block))
        finally:
            if self.judge:
                await close_policy(self.judge.policy)

    def fresh(self) -> Iterator[tuple[Episode, str]]:
        """Episodes without tags. Those that stay in the corpus are remembered on the way."""
        for episode in iter_episodes(self.folder):
            content = content_digest(episode)
            dropped = self.done.get((episode.id, content))
            if dropped is None:
                yield episode, content
            elif self.remembering and not dropped:
                cut = [f for f in examine(episode, self.rules) if f.severity is Severity.TRIM]
                _look(episode, cut, self.remembering)

    async def tag(self, block: Sequence[tuple[Episode, str]]) -> None:
        found = [examine(episode, self.rules) for episode, _ in block]
        if self.judge:
            await self.rate([e for (e, _), f in zip(block, found, strict=True) if not _drops(f)])
        for (episode, content), findings in zip(block, found, strict=True):
            every = findings
            if not _drops(every) and episode.id in self.ratings:
                every += judged(self.ratings[episode.id])
            if not _drops(every):
                cut = [f for f in findings if f.severity is Severity.TRIM]
                every += _look(episode, cut, self.remembering)
            line = Tags(episode.id, content, self.digest, every).to_json()
            readable = line.encode("utf-8", "replace").decode()  # a lone surrogate has no bytes
            self.log.write_line(readable, f"the tags of '{episode.id}'")

    async def rate(self, episodes: Sequence[Episode]) -> None:
        """Ask the judge about those of which no rating is kept."""
        assert self.judge is not None
        ratings, fatal = await self.judge.rate([e for e in episodes if e.id not in self.ratings])
        append_ratings(self.folder / RATINGS_NAME, ratings)
        self.ratings |= {rating.episode: rating for rating in ratings}
        if fatal is not None:
            raise fatal

    def kept_ratings(self) -> dict[str, Rating]:
        path = self.folder / RATINGS_NAME
        if self.judge is None or not path.is_file():
            return {}
        return {
            rating.episode: rating
            for rating in iter_ratings(path)
            if (rating.dimension, rating.rubric, rating.rater)
            == (DIMENSION, RUBRIC, self.judge.rater)
        }


def _drops(findings: Sequence[Finding]) -> bool:
    return any(f.severity is Severity.DROP for f in findings)


def _blocks(stream: Iterable[Any]) -> Iterator[list[Any]]:
    rest = iter(stream)
    while block := list(islice(rest, BLOCK)):
        yield block


def _tagged(path: Path, digest: str, again: Collection[str]) -> dict[tuple[str, str], bool]:
    """What the file already holds, and whether it is dropped, without the ids in `again`.

    Tags of other settings are begun anew: they are made from the log alone.
    """
    done = {}
    for tags in iter_tags(path):
        if tags.cleaning != digest:
            os.truncate(path, 0)
            return {}
        if tags.id not in again:
            done[tags.id, tags.content] = tags.dropped
    return done
