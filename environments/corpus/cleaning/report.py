"""The report of a cleaning: how many episodes each filter hit, and why."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable

from ....core.record import Record
from ..tags import Severity, Tags


class ReasonCount(Record):
    """How often one filter gave one reason.

    Attributes:
        filter: its name.
        severity: what it asked for.
        reason: in words.
        episodes: in which it was found.
        findings: all of them; one episode may hold several.
    """

    filter: str
    severity: Severity
    reason: str
    episodes: int
    findings: int


class CleaningReport(Record):
    """Counts over the episodes of a folder.

    Attributes:
        cleaning: digest of the filters and settings.
        episodes: all that were examined.
        kept: those that no filter drops.
        dropped: those that some filter drops.
        trimmed: of the kept, those that are edited.
        flagged: of the kept, those with a flag.
        dropped_by: episodes by filter; one may be dropped by several.
        only_by: episodes that this filter alone drops: what it costs beyond the others.
        reasons: in the order of filter, severity and count.
    """

    cleaning: str
    episodes: int
    kept: int
    dropped: int
    trimmed: int
    flagged: int
    dropped_by: dict[str, int]
    only_by: dict[str, int]
    reasons: tuple[ReasonCount, ...]

    def to_json(self) -> str:
        """The report as indented JSON."""
        return json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


def report_of(tags: Iterable[Tags], cleaning: str = "") -> CleaningReport:
    """Count findings. Read once; the order of the episodes does not matter.

    Args:
        tags: each episode once.
        cleaning: digest of the settings.
    """
    total: Counter[str] = Counter()
    dropped_by: Counter[str] = Counter()
    only_by: Counter[str] = Counter()
    findings: Counter[tuple[str, Severity, str]] = Counter()
    episodes: Counter[tuple[str, Severity, str]] = Counter()
    for one in tags:
        keys = [(f.filter, f.severity, f.reason) for f in one.findings]
        findings.update(keys)
        episodes.update(set(keys))
        droppers = {f.filter for f in one.of(Severity.DROP)}
        dropped_by.update(droppers)
        if len(droppers) == 1:
            only_by.update(droppers)
        total["episodes"] += 1
        if droppers:
            total["dropped"] += 1
        else:
            total["trimmed"] += bool(one.of(Severity.TRIM))
            total["flagged"] += bool(one.of(Severity.FLAG))
    order = sorted(findings, key=lambda key: (key[0], key[1].value, -episodes[key], key[2]))
    return CleaningReport(
        cleaning=cleaning,
        episodes=total["episodes"],
        kept=total["episodes"] - total["dropped"],
        dropped=total["dropped"],
        trimmed=total["trimmed"],
        flagged=total["flagged"],
        dropped_by=dict(sorted(dropped_by.items())),
        only_by=dict(sorted(only_by.items())),
        reasons=tuple(
            ReasonCount(
                filter=key[0],
                severity=key[1],
                reason=key[2],
                episodes=episodes[key],
                findings=findings[key],
            )
            for key in order
        ),
    )
