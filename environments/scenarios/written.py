"""One dialogue of the seed corpus for a reader; as a script it needs nothing that must be installed.

python environments/scenarios/written.py
"""

from __future__ import annotations

import io
import shutil
import sys
import textwrap
import tomllib
from dataclasses import dataclass
from pathlib import Path

SEEDS = Path(__file__).with_name("seeds")
FILE, DIALOGUE = "self-esteem-issues.toml", "self-esteem-issues-case-1"
"""The dialogue that stands for the others, and its file."""

HEADING = "Written in advance: what good looks like"
ORIGIN = "Written for this project by a language model; nobody's real words."
WIDTH = 100


@dataclass(frozen=True, slots=True)
class Written:
    """A dialogue that was written in advance.

    Attributes:
        problem_type: of its scenario.
        scenario: what the seeker alone knows.
        lines: speaker and text; behind the supporter stands its strategy.
    """

    problem_type: str
    scenario: str
    lines: tuple[tuple[str, str], ...]


def read_written() -> Written:
    """The dialogue, from its file."""
    data = tomllib.loads((SEEDS / FILE).read_text("utf-8"))
    dialogue = next(each for each in data["dialogue"] if each["id"] == DIALOGUE)
    scenario = next(each for each in data["scenario"] if each["id"] == dialogue["scenario"])
    lines: list[tuple[str, str]] = []
    for turn in dialogue["turn"]:
        lines.append(("Seeker", turn["seeker"]))
        lines.append((f"Supporter ({turn['strategy']})", turn["supporter"]))
    return Written(data["problem_type"], " ".join(scenario["situation"].split()), tuple(lines))


def main() -> None:
    """Print it."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # an output that is not UTF-8 stops nothing
    written, width = read_written(), min(WIDTH, shutil.get_terminal_size().columns)
    paragraphs = [
        f"{HEADING} ".ljust(width, "-"),
        written.problem_type,
        f"What the seeker alone knows: {written.scenario}",
        *(f"{speaker}: {text}" for speaker, text in written.lines),
        ORIGIN,
    ]
    for paragraph in paragraphs:
        print(textwrap.fill(paragraph, width))  # noqa: T201 - a script's output
    print()  # noqa: T201


if __name__ == "__main__":
    main()
