"""The labelled sentences: written for this project, no data set of others.

A file a language, tab-separated: text, language, label (a form of crisis language, or `none`),
severity, half. The half is fixed by a hash of the text; rules are written with the `dev` half alone
in view, and the `held` half is only counted.
"""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
HARMLESS = "none"


@dataclass(frozen=True, slots=True)
class Sentence:
    """One labelled sentence; `label` and `severity` are `none` where it is harmless."""

    text: str
    language: str
    label: str
    severity: str
    half: str

    @property
    def in_crisis(self) -> bool:
        return self.label != HARMLESS


def half_of(text: str) -> str:
    """The half to which a text belongs."""
    return "held" if hashlib.sha256(text.encode()).digest()[0] % 2 else "dev"


def sentences(half: str | None = None) -> list[Sentence]:
    """All sentences, or those of one half, in the order of the files."""
    found = []
    for path in sorted(FOLDER.glob("*.tsv")):
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            found += [Sentence(**row) for row in rows]
    return [s for s in found if half is None or s.half == half]
