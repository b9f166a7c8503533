"""The `tables.toml` that `warmline tables PAPER --init` writes: every row, with the commands beside."""

from __future__ import annotations

import json
from collections.abc import Iterator

from .settings import Plan, field_of
from .specs import RowSpec


def first_settings(plan: Plan) -> str:
    """The file's text. It is complete as it is: what is not there yet is missing in the tables."""
    paper = plan.paper
    lines = [
        f"# The tables of {paper.name}: `warmline tables {paper.key} --config THIS --out OUT`.",
        "# Places that are not there are missing cells, named with the commands that fill them.",
        "",
        "# Of the runs of each row; each of several has its own folder, OUT/seed0 and so on.",
        f"seeds = {json.dumps(list(plan.seeds))}",
        "",
        "# What the commands below are about. A value that begins with -- is options.",
        "[names]",
    ]
    for name, value in plan.names.items():
        about = paper.abouts.get(name)
        lines.append(f"{name} = {json.dumps(value)}" + (f"  # {about}" if about else ""))
    lines += ["", "# Made once:"]
    lines += [f"#   {plan.command(p.command, None, '', plan.seeds[0])}" for p in paper.prepare]
    for row in paper.rows:
        lines += ["", *_row(plan, row)]
    return "\n".join(lines) + "\n"


def _row(plan: Plan, row: RowSpec) -> Iterator[str]:
    seed = plan.seeds[0]
    used = [(t, use) for t in plan.paper.tables for use in t.rows if use.row == row.key]
    yield f"# {row.label}: " + ("; ".join(t.title for t, _ in used) or "what other rows start from")
    if row.note:
        yield f"# {row.note}"
    typed = [plan.command(text, row, plan.place(row, "models", seed), seed) for text in row.make]
    for table, use in used:
        text = table.measure if use.command is None else use.command
        if text:
            typed.append(plan.command(text, row, plan.place(row, field_of(table), seed), seed))
    yield from (f"#   {command}" for command in dict.fromkeys(typed))
    yield f"[rows.{json.dumps(row.key) if not _bare(row.key) else row.key}]"
    fields = ["models"] if plan.places(row, "models") else []
    fields += [field_of(table) for table, _ in used]
    if any(table.source == "agreement" for table, _ in used):
        fields.append("people")
    if any(table.source == "lengths" for table, _ in used):
        fields += ["evaluations", "against"]
    for field in dict.fromkeys(fields):
        yield f"{field} = {json.dumps(list(plan.places(row, field)))}"


def _bare(key: str) -> bool:
    return key.replace("-", "").replace("_", "").isalnum() and key.isascii()
