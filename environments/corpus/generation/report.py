"""What a build made: coverage with its holes, rejects by reason, generation, cleaning and more."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ....core.files import episode_logs, write_whole
from ....core.record import Record
from ....core.tables import markdown_table
from ...episodes.episode import Episode
from ...episodes.log import latest_episodes
from ...scenarios.scenario import Profile, Scenario
from ..folder import cleaned_episodes, tags_of
from ..statistics import CorpusStatistics, comparison_markdown, corpus_statistics, strategy_shares
from .coverage import Cell, CoverageReport, Slot, coverage_report
from .journal import Reject

REPORT_NAME = "report"
"""Of `report.json` and `report.md`."""


class RejectCount(Record):
    """How often answers of one stage were refused for one reason."""

    stage: str
    reason: str
    count: int


class Generation(Record):
    """How the scenarios came about.

    Attributes:
        accepted: scenarios that joined the pool.
        refused: answers that did not, situations and profiles.
        yield_rate: situations accepted among those written; None if none was.
        depths: scenarios by generation depth.
        examples_shown: to the accepted scenarios, all of them.
        generated_examples: those among them that were generated.
        profiles_by: scenarios by who made the profile.
        distinct_names: different names of seekers.
        rejects: the most frequent first.
    """

    accepted: int
    refused: int
    yield_rate: float | None
    depths: dict[str, int]
    examples_shown: int
    generated_examples: int
    profiles_by: dict[str, int]
    distinct_names: int
    rejects: tuple[RejectCount, ...]

    @property
    def generated_share(self) -> float | None:
        """Generated ones among the examples shown."""
        return self.generated_examples / self.examples_shown if self.examples_shown else None


class BuildReport(Record):
    """All that can be said of a build in numbers; the texts are in its folder.

    Attributes:
        folder: its name.
        coverage: of the scenarios written.
        kept: coverage of the dialogues that cleaning keeps.
        conversations: by how they ended.
        left_out: dialogues that cleaning leaves out, by reason.
        dropped_by: dialogues by the filter that drops them; one may be dropped by several.
        statistics: of the dialogues kept.
    """

    folder: str
    coverage: CoverageReport
    kept: CoverageReport
    generation: Generation
    conversations: dict[str, int]
    left_out: dict[str, int]
    dropped_by: dict[str, int]
    statistics: CorpusStatistics

    @property
    def holes(self) -> list[str]:
        """What the plan lacks after cleaning, one line each."""
        return self.kept.holes()


def report_of(
    folder: Path,
    slots: Sequence[Slot],
    scenarios: Sequence[Scenario],
    rejects: Sequence[Reject],
    types: Sequence[str],
) -> BuildReport:
    """The report of a build's folder.

    Args:
        folder: holds the episodes, and their tags if they were cleaned.
        slots: the plan.
        scenarios: accepted.
        rejects: refused.
        types: the problem types that could be planned.
    """
    left_out: Counter[str] = Counter()
    kept: list[Scenario] = []
    stops: Counter[str] = Counter()
    there = bool(episode_logs(folder))

    def passing() -> Iterator[Episode]:
        for episode in cleaned_episodes(folder, left_out=left_out) if there else ():
            kept.append(episode.scenario)
            yield episode

    statistics = corpus_statistics(passing())
    for episode in latest_episodes(folder) if there else ():
        stops[episode.stop.value] += 1
    dropped = Counter(
        name
        for tags in (tags_of(folder) or {}).values()
        for name in {f.filter for f in tags.findings if f.severity == "drop"}
    )
    return BuildReport(
        folder=folder.name,
        coverage=coverage_report(slots, scenarios, types),
        kept=coverage_report(slots, kept, types),
        generation=_generation(scenarios, rejects),
        conversations=dict(stops.most_common()),
        left_out=dict(left_out.most_common()),
        dropped_by=dict(sorted(dropped.items(), key=lambda item: (-item[1], item[0]))),
        statistics=statistics,
    )


def _generation(scenarios: Sequence[Scenario], rejects: Sequence[Reject]) -> Generation:
    origins = [scenario.origin for scenario in scenarios if scenario.origin]
    made = {scenario.id for scenario in scenarios}
    examples = [name for origin in origins for name in origin.examples]
    spent = {(r.slot, r.attempt) for r in rejects if r.stage == "profile"}
    accepted = {(s.id, s.origin.attempt) for s in scenarios if s.origin}
    refused = sum(reject.stage == "scenario" for reject in rejects)
    good = len(accepted | spent)
    counts = Counter((reject.stage, reject.reason) for reject in rejects)
    names = {s.profile.name.casefold() for s in scenarios if isinstance(s.profile, Profile)}
    return Generation(
        accepted=len(scenarios),
        refused=len(rejects),
        yield_rate=round(good / (good + refused), 4) if good + refused else None,
        depths={str(k): n for k, n in sorted(Counter(o.depth for o in origins).items())},
        examples_shown=len(examples),
        generated_examples=sum(name in made for name in examples),
        profiles_by=dict(Counter(origin.profile_by for origin in origins).most_common()),
        distinct_names=len(names),
        rejects=tuple(
            RejectCount(stage=stage, reason=reason, count=count)
            for (stage, reason), count in sorted(counts.items(), key=lambda i: (-i[1], i[0]))
        ),
    )


def write_report(folder: Path, report: BuildReport) -> None:
    """Write `report.json` and `report.md`."""
    data = json.dumps(as_data(report), indent=2, ensure_ascii=False)
    write_whole(folder / f"{REPORT_NAME}.json", data + "\n")
    write_whole(folder / f"{REPORT_NAME}.md", as_markdown(report))


def as_data(report: BuildReport) -> dict[str, Any]:
    """The report as plain data, what follows from its numbers included."""
    share = report.generation.generated_share
    return {
        **report.model_dump(mode="json"),
        "generated_share": None if share is None else round(share, 4),
        "strategy_shares": strategy_shares(report.statistics.strategies),
        "holes": report.holes,
    }


def as_markdown(report: BuildReport) -> str:
    """The report as a page; numbers only, no generated text."""
    made, share = report.generation, report.generation.generated_share
    shown = "none" if share is None else f"{100 * share:.1f} %"
    yielded = "none" if made.yield_rate is None else f"{100 * made.yield_rate:.1f} %"
    parts = [
        f"# Corpus {report.folder}",
        f"{report.coverage.planned} dialogues planned, {made.accepted} scenarios written,"
        f" {sum(report.conversations.values())} conversations simulated,"
        f" {report.statistics.dialogues} kept.",
        "## Coverage",
        _coverage_table("category", report.coverage.categories, report.kept.categories),
        _coverage_table("problem type", report.coverage.types, report.kept.types),
        *(
            _coverage_table(field, cells, report.kept.attributes[field])
            for field, cells in report.coverage.attributes.items()
        ),
        "Holes after cleaning:\n\n" + _bullets(report.holes),
        "## Generation",
        f"{made.accepted} scenarios accepted, {made.refused} answers refused;"
        f" {yielded} of the situations could be used."
        f" Of {made.examples_shown} examples shown, {shown} were generated."
        f" {made.distinct_names} different names.",
        _counts("depth", made.depths),
        _counts("profile by", made.profiles_by),
        _table(
            ("refused", "reason", "answers"),
            [(r.stage, r.reason, r.count) for r in made.rejects],
        ),
        "## Conversations",
        _counts("end", report.conversations),
        _counts("left out", report.left_out),
        _counts("dropped by", report.dropped_by),
        "## Statistics of what is kept",
        comparison_markdown(report.statistics, report.folder).strip(),
        _table(
            ("strategy", "% of labels"), list(strategy_shares(report.statistics.strategies).items())
        ),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _coverage_table(what: str, written: Sequence[Cell], kept: Sequence[Cell]) -> str:
    rows = [
        (cell.name or "other", cell.planned, cell.got, after.got)
        for cell, after in zip(written, kept, strict=True)
    ]
    return _table((what, "planned", "written", "kept"), rows)


def _counts(what: str, counts: Mapping[str, int]) -> str:
    return _table((what, "number"), list(counts.items()))


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    return markdown_table(head, rows, numbers=False) if rows else ""


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"* {line}" for line in lines) or "none."
