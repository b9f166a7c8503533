"""One system under every convention of counting, beside the gaps between systems that papers print.

The replies are those of one evaluation; only the counting differs. What remains between the largest
and the smallest value is no gain of any system.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ...core.published import published_table
from ..metrics.presets import PRESETS, TAKES_TOKENIZER, score_pairs
from ..replies.places import last_replies
from ..replies.reply import REPLIES_NAME, EvaluatedReply, Setting
from .commands import fill_commands
from .readers import missing
from .reading import Absent
from .result import Cell, OurRow, PublishedRow, TableResult
from .settings import Plan
from .specs import TableSpec, Use

SPREAD_KEY = "spread"
GAPS = (
    ("FPEMF Table 3", "BBJ", "BBJ_FPEMF"),
    ("FPEMF Table 3", "DKPE", "DKPE_FPEMF"),
    ("SweetieChat Table 3", "ExTES", "ServeForEmo"),
    ("Self-Evolution Table 2", "LLaMA-3-8B M0", "LLaMA-3-8B M2"),
    ("Self-Evolution Table 2", "Qwen-2-7B M0", "Qwen-2-7B M2"),
    ("Self-Evolution Table 2", "Mistral-7B-v0.3 M0", "Mistral-7B-v0.3 M2"),
)
"""Published differences that are read as gains: table, system before, system after."""


def convention_rows(plan: Plan, table: TableSpec) -> TableResult:
    """The table: a row for each preset, one of what lies between them, and the published gaps.

    Raises:
        DataError: replies that cannot be read.
        ConfigError: the tokenizer cannot be used.
    """
    use = plan.uses(table)[0]
    row = plan.row(use.row)
    place = Path(next(iter(plan.places(row, "evaluations")), ""))
    gone = missing(place, REPLIES_NAME)
    replies = (
        [] if gone else [r for r in last_replies(place) if r.setting is Setting(table.setting)]
    )
    if gone is None and not any(reply.text for reply in replies):
        gone = Absent(f"{place} has no reply in {table.setting} context")
    rows, conventions = _preset_rows(plan, table, use, replies, gone)
    gaps = tuple(_gap(*each, table.setting) for each in GAPS)
    return TableResult(
        table.key,
        table.title,
        table.columns,
        (
            *rows,
            OurRow(
                SPREAD_KEY, "largest less smallest", _spread(table.columns, rows), published=gaps
            ),
        ),
        conventions=conventions,
        notes=(table.note,) if table.note else (),
    )


def _preset_rows(
    plan: Plan, table: TableSpec, use: Use, replies: Sequence[EvaluatedReply], gone: Absent | None
) -> tuple[list[OurRow], dict[str, tuple[str, ...]]]:
    tokenizer = plan.names.get("tokenizer", "")
    rows, conventions = [], dict[str, list[str]]()
    for preset in distinct_presets():
        needs = preset in TAKES_TOKENIZER
        lost = gone
        if lost is None and needs and not Path(tokenizer).exists():
            lost = Absent("names.tokenizer is not the folder of a tokenizer")
        cells = {}
        if lost is None:
            scores = score_pairs(
                [r.text for r in replies],
                [r.reference for r in replies],
                preset,
                tokenizer=tokenizer if needs else None,
                resamples=0,
            )
            values = {score.metric: score.value for score in scores}
            for score in scores:
                if score.metric in table.columns:
                    conventions.setdefault(score.metric, []).append(f"{preset}: {score.convention}")
            for name in table.columns:
                value = values.get(name)
                reason = "" if value is not None else f"{preset} does not count it"
                cells[name] = Cell(value, runs=int(value is not None), reason=reason)
        else:
            commands = tuple(fill_commands(plan, table, use, {0}, {0})) if gone else ()
            cells = {n: Cell(reason=lost.reason, commands=commands) for n in table.columns}
        measured = () if lost else (f"{sum(bool(r.text) for r in replies)} replies",)
        rows.append(OurRow(preset, f"counted as {preset}", cells, measured))
    return rows, {name: tuple(each) for name, each in conventions.items()}


def distinct_presets() -> list[str]:
    """The presets that count differently; of those that count alike the first."""
    found: dict[object, str] = {}
    for name, metrics in PRESETS.items():
        found.setdefault(metrics, name)
    return list(found.values())


def _spread(columns: Sequence[str], rows: Sequence[OurRow]) -> Mapping[str, Cell]:
    cells = {}
    for name in columns:
        known = [v for row in rows if (v := row.cells[name].value) is not None]
        wide = max(known) - min(known) if len(known) > 1 else None
        cells[name] = Cell(
            wide,
            runs=int(wide is not None),
            reason="" if len(known) > 1 else "fewer than two presets count it",
        )
    return cells


def _gap(title: str, before: str, after: str, setting: str) -> PublishedRow:
    table = published_table(f"{title}: {before}", setting)
    old, new = table.rows[before], table.rows[after]
    cells = {name: new[name] - old[name] for name in new if name in old}
    return PublishedRow(
        f"{title}: {before} to {after}",
        cells,
        convention=f"a difference of two printed figures; {table.convention}",
    )
