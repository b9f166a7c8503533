"""The report of a reproduction: every stage's tables with published figures, and their limits.

Stages leave Markdown pages and JSON records in their folders; this gathers them into `report.md`,
and into `tables/`, from which `warmline report` makes the HTML page. Pure but for reading and
writing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...core.files import write_whole
from ...core.published import published_rows
from ...core.tables import DASH, markdown_table
from ...policies.safety import DISCLAIMER
from ..loop.checkpoint import is_checkpoint, read_checkpoint

PAGE_NAME = "report.md"
TABLES = "tables"
PAGES = ("report.md", "tables.md", "table.md", "scores.md")
"""Pages that commands leave for readers."""

HELPFUL_NAME = "helpful.json"
COUNSELOR_NAME = "report.json"
HELPFUL_TABLES = {"single": "FPEMF Table 4a", "beams": "FPEMF Table 4b"}

BEFORE = "These candidates are the model's before this training, which learned from them."

COMPARE = (
    "Published figures are of models of 90 million to 8 billion parameters, trained on the full"
    " data on GPUs; where a paper does not state how it counted, the table says so."
)


def pages(data: Mapping[str, Any]) -> dict[str, str]:
    """By file name the pages of a report, an overview first.

    Args:
        data: see `reproduce.as_data`.
    """
    found = {"00-overview.md": overview(data)}
    for number, stage in enumerate(data["stages"], 1):
        body = stage_page(Path(stage["folder"]))
        if body:
            name = f"{number:02d}-{stage['name']}.md"
            found[name] = f"## {stage['about']}\n\n`{stage['command']}`\n\n{body}\n"
    return found


def overview(data: Mapping[str, Any]) -> str:
    """What was run, how long it took, and what it can show."""
    rows = [
        (
            stage["name"],
            stage["about"],
            f"{stage['seconds'] / 60:.1f}",
            DASH if stage["expected_minutes"] is None else f"{stage['expected_minutes']:g}",
            str(stage["starts"]),
        )
        for stage in data["stages"]
    ]
    total = sum(stage["seconds"] for stage in data["stages"]) / 60
    return "\n\n".join(
        [
            "# Reproduction",
            data["about"],
            f"> {data['honest']}",
            COMPARE,
            markdown_table(("stage", "what", "minutes", "expected", "starts"), rows, numbers=False),
            f"In all {total:.1f} minutes.",
            f"> {DISCLAIMER}\n",
        ]
    )


def stage_page(folder: Path) -> str:
    """The tables that a stage left; empty if there are none."""
    parts = [
        _deeper(page.read_text("utf-8"))
        for name in PAGES
        for page in sorted(folder.rglob(name))
        if len(page.relative_to(folder).parts) <= 2
    ]
    parts += [_checkpoint(path.parent, folder) for path in _checkpoints(folder)]
    records: dict[str, Callable[[Mapping[str, Any]], str]] = {
        HELPFUL_NAME: helpful_table,
        COUNSELOR_NAME: counselor_table,
    }
    for name, render in records.items():
        file = folder / name
        if file.is_file():
            parts.append(render(json.loads(file.read_text("utf-8"))))
            if name == HELPFUL_NAME and is_checkpoint(folder):
                parts.append(BEFORE)
            if name == HELPFUL_NAME and (flag := json.loads(file.read_text("utf-8")).get("seen")):
                parts.append(f"{flag}.")
    return "\n\n".join(filter(None, parts))


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("checkpoint.json") if is_checkpoint(p.parent))


def _checkpoint(folder: Path, stage: Path) -> str:
    made = read_checkpoint(folder)
    shown = [(k.replace("_", " "), _figure(v)) for k, v in made.metrics.items()]
    counts = ", ".join(f"{n} {k.replace('_', ' ')}" for k, n in made.rows.items())
    name = folder.relative_to(stage).as_posix() if folder != stage else stage.name
    table = markdown_table(("measure", "value"), shown, numbers=False)
    return f"### Checkpoint {name} ({made.kind})\n\n{table}\n\n{counts}"


def helpful_table(record: Mapping[str, Any]) -> str:
    """Helpful rates by dimension in the form of FPEMF Table 4, per cent."""
    dimensions = ("empathy", "strategy", "coherence", "topic")
    parts = []
    for form, title in (("single", "one reply"), ("beams", "all candidates")):
        shares = record.get(form, {})
        ours = [DASH] * len(dimensions)
        for place, name in enumerate(dimensions):
            value = (shares.get(name) or {}).get("value")
            ours[place] = DASH if value is None else f"{100 * value:.1f}"
        published = published_rows(HELPFUL_TABLES[form])
        rows = [("ours, by our scorer", *ours)] + [
            (f"published {system}", *(_figure(figures.get(n)) for n in dimensions))
            for system, figures in published.items()
        ]
        parts.append(f"### Helpful rates, {title} (form of FPEMF Table 4)")
        parts.append(markdown_table(("model", *dimensions), rows, numbers=False))
    return "\n\n".join(parts)


def counselor_table(record: Mapping[str, Any]) -> str:
    """The counselor beside its baselines; empty for a report of another kind."""
    models = record.get("models")
    if not isinstance(models, Mapping):
        return ""
    columns = ("count", "accuracy", "accuracy_any", "macro_f1", "bias", "ece")
    rows = [(name, *(_figure(found.get(c)) for c in columns)) for name, found in models.items()]
    published = published_rows("FPEMF Table 3")
    shown = ", ".join(
        f"{system} {figures['strategy-accuracy']:.2f}"
        for system, figures in published.items()
        if "strategy-accuracy" in figures
    )
    return "\n\n".join(
        [
            "### Counselor and baselines",
            markdown_table(("model", *(c.replace("_", " ") for c in columns)), rows, numbers=False),
            f"Published strategy accuracy on ESConv, per cent (FPEMF Table 3): {shown}.",
        ]
    )


def write_report(out: Path, data: Mapping[str, Any]) -> Path:
    """Write `report.md` and `tables/`; returns the folder of the tables.

    Raises:
        RunError: the disk refuses.
    """
    made = pages(data)
    for name, text in made.items():
        write_whole(out / TABLES / name, text)
    write_whole(out / PAGE_NAME, "\n".join(made.values()))
    return out / TABLES


def _figure(value: Any) -> str:
    if value is None:
        return DASH
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _deeper(text: str) -> str:
    """Headings two levels deeper; what fenced blocks hold is left alone."""
    lines, fenced = [], False
    for line in text.strip().split("\n"):
        fenced ^= line.startswith("```")
        lines.append(f"##{line}" if line.startswith("#") and not fenced else line)
    return "\n".join(lines)
