"""How well crisis language is found: `python -m tests.policies.crisis.figures` prints the tables.

With `--errors` the wrong answers of the dev half are listed too. Those of the held half are never
listed: who writes rules must not see them.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable

from warmline.policies.crisis.languages import FORMS, Severity
from warmline.policies.crisis.rules import find_crisis

from .sentences import HARMLESS, Sentence, sentences

HALVES = ("dev", "held", "fresh")


class Counts:
    """Hits, misses and false alarms of some sentences."""

    def __init__(self, judged: Iterable[tuple[bool, bool]] = ()) -> None:
        counted = Counter(judged)
        self.hits, self.misses = counted[True, True], counted[True, False]
        self.alarms, self.quiet = counted[False, True], counted[False, False]

    @property
    def recall(self) -> float | None:
        """Share of the crisis sentences that are found; None without any."""
        wanted = self.hits + self.misses
        return self.hits / wanted if wanted else None

    @property
    def precision(self) -> float | None:
        """Share of the found sentences that are crisis sentences; None if nothing is found."""
        found = self.hits + self.alarms
        return self.hits / found if found else None


def detection(chosen: Iterable[Sentence]) -> Counts:
    """Any finding, whatever its kind, against any label."""
    return Counts((s.in_crisis, bool(find_crisis(s.text))) for s in chosen)


def of_kind(chosen: Iterable[Sentence], kind: str) -> Counts:
    """Findings of one kind against labels of that kind; other kinds count as false alarms."""
    return Counts(
        (FORMS.get(s.label) == kind, any(f.kind == kind for f in find_crisis(s.text)))
        for s in chosen
    )


def severe_enough(chosen: Iterable[Sentence]) -> Counts:
    """Of the emergencies, those found as emergencies; of those so found, the real ones."""
    return Counts(
        (
            s.severity == "emergency",
            any(f.severity is Severity.EMERGENCY for f in find_crisis(s.text)),
        )
        for s in chosen
    )


def table(half: str) -> list[str]:
    """One half's figures as the lines of a Markdown table."""
    chosen = sentences(half)
    lines = [
        f"| {half} half | sentences | in crisis | recall | precision |",
        "|---|---|---|---|---|",
        _line("all", chosen, detection(chosen)),
    ]
    for language in sorted({s.language for s in chosen}):
        some = [s for s in chosen if s.language == language]
        lines.append(_line(f"language {language}", some, detection(some)))
    for kind in dict.fromkeys(FORMS.values()):
        lines.append(_line(f"kind {kind}", chosen, of_kind(chosen, kind)))
    for form in FORMS:
        some = [s for s in chosen if s.label == form]
        lines.append(_line(f"form {form}", some, detection(some), precision=False))
    return [*lines, _line("severity emergency", chosen, severe_enough(chosen))]


def _line(name: str, chosen: list[Sentence], counts: Counts, *, precision: bool = True) -> str:
    right = f"{counts.precision:.2f}" if precision and counts.precision is not None else ""
    wanted = counts.hits + counts.misses
    return f"| {name} | {len(chosen)} | {wanted} | {counts.recall or 0:.2f} | {right} |"


def report() -> str:
    """Both halves' tables, as `docs/safety.md` holds them."""
    return "\n\n".join("\n".join(table(half)) for half in HALVES)


def errors(wrong: Callable[[Sentence, tuple[str, ...]], bool]) -> list[str]:
    """The dev half's sentences whose found forms are wrong."""
    lines = []
    for s in sentences("dev"):
        forms = tuple(dict.fromkeys(f.form for f in find_crisis(s.text)))
        if wrong(s, forms):
            lines.append(f"{s.language} {s.label}: {s.text} -> {', '.join(forms) or HARMLESS}")
    return lines


if __name__ == "__main__":
    print(report())
    if "--errors" in sys.argv[1:]:
        print("\ndev half, wrong:")
        print("\n".join(errors(lambda s, forms: s.in_crisis != bool(forms))))
