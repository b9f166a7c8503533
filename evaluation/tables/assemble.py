"""Readings into tables: means over runs, differences from the paper's protocol, missing cells named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...core.published import published_table
from ..statistics.planning import across_seeds
from . import judged, readers
from .commands import fill_commands
from .conventions import convention_rows
from .reading import Absent, Reading, differences
from .result import Cell, OurRow, PublishedRow, TableResult
from .settings import Plan, field_of
from .specs import RowSpec, TableSpec, Use
from .training import model_facts

Runs = Sequence[Reading | Absent]


def fill_tables(plan: Plan) -> list[TableResult]:
    """Every table of a paper with what its folders hold.

    Raises:
        DataError, ConfigError: a file that cannot be read, or ratings of several judges in one.
    """
    return [fill_table(plan, table) for table in plan.paper.tables if plan.uses(table)]


def fill_table(plan: Plan, table: TableSpec) -> TableResult:
    """One table."""
    if table.source == "conventions":
        return convention_rows(plan, table)
    rows = [_Row(use, plan.row(use.row), _read(plan, table, use)) for use in plan.uses(table)]
    usual = _usual_contexts(rows)
    ours = [_our_row(plan, table, row, usual) for row in rows]
    by_key = {row.key: row for row in ours}
    return TableResult(
        table.key,
        table.title,
        table.columns,
        tuple(
            _with_changes(own, by_key.get(row.use.over), table.columns)
            for row, own in zip(rows, ours, strict=True)
        ),
        table.picture,
        _conventions(table, rows),
        (table.note,) if table.note else (),
        table.axis,
    )


@dataclass(frozen=True, slots=True)
class _Row:
    use: Use
    spec: RowSpec
    runs: Runs

    @property
    def read(self) -> list[Reading]:
        return [run for run in self.runs if isinstance(run, Reading)]


# Reading


def _read(plan: Plan, table: TableSpec, use: Use) -> Runs:
    row, given = plan.row(use.row), plan.given(use.row)
    places = plan.places(row, field_of(table))
    if not places:
        return (Absent(f"nothing is named as `{field_of(table)}` of [rows.{row.key}]"),)
    columns = [given.column, use.column, use.label or row.label, row.key]
    found: list[Reading | Absent] = []
    for number, name in enumerate(places):
        place = Path(name)
        match table.source:
            case "evaluations":
                found.append(readers.read_evaluation(place, table.setting))
            case "openings":
                found.append(readers.read_openings(place, table.setting))
            case "single" | "beams":
                found.append(judged.read_helpful(place, table.source))
            case "scores":
                found.append(judged.read_scores(place))
            case "variance":
                found.append(judged.read_variance(place))
            case "agreement":
                found.append(judged.read_agreement(place, plan.places(row, "people")))
            case "ability":
                found.append(readers.read_ability(place))
            case "corpus":
                found.append(readers.read_corpus_analysis(place, columns))
            case "relevance":
                found.append(readers.read_relevance(place))
            case "wins":
                found.append(judged.read_wins(place))
            case "lengths":
                sides = [plan.places(row, side) for side in ("evaluations", "against")]
                one, other = (side[min(number, len(side) - 1)] if side else "" for side in sides)
                found.append(judged.read_lengths(place, one, other))
            case _:
                raise AssertionError(table.source)
    return found


# Rows


def _our_row(plan: Plan, table: TableSpec, row: _Row, usual: str | None) -> OurRow:
    cells = {name: _cell(plan, table, row, name) for name in table.columns}
    told = [row.spec.note] if row.spec.note else []
    expected = {**table.expect, **row.use.expect}
    told += _once(d for run in row.read for d in differences(expected, run.facts))
    told += _once(flag for run in row.read for flag in run.flags)
    if row.read and row.spec.training:
        told += _training(plan, row)
    if usual is not None and any(run.contexts not in (usual, None) for run in row.read):
        told.append("not on the same places as the other rows")
    told += _disagreements(row.read)
    return OurRow(
        row.spec.key,
        row.use.label or row.spec.label,
        cells,
        tuple(_once(run.measured for run in row.read if run.measured)),
        tuple(told),
        tuple(_published(name, table) for name in row.use.published),
        row.use.at,
    )


def _cell(plan: Plan, table: TableSpec, row: _Row, name: str) -> Cell:
    found = [run.values.get(name) for run in row.read]
    over = across_seeds(found)
    lost: dict[int, str] = {}  # by number of the run
    final: list[str] = []
    for number, run in enumerate(row.runs):
        if isinstance(run, Absent):
            reason, fillable = run.reason, not run.people
        elif run.values.get(name) is None and name not in run.texts:
            reason, fillable = _reason(run, name), name not in run.undefined
        else:
            continue
        if fillable:
            lost[number] = reason
        else:
            final.append(reason)
    texts = [run.texts[name] for run in row.read if name in run.texts]
    # a text stands for one run; of several only where there is no value to take a mean of
    text = " | ".join(texts) if over.mean is None or len(row.runs) == 1 else ""
    absent = {number for number, run in enumerate(row.runs) if isinstance(run, Absent)}
    commands = fill_commands(plan, table, row.use, lost.keys(), absent)
    return Cell(
        over.mean,
        over.sd,
        over.n,
        text,
        reason="; ".join(_once([*lost.values(), *final])),
        commands=tuple(commands),
    )


def _reason(run: Reading, name: str) -> str:
    if name in run.undefined or name in run.reasons:
        return run.undefined.get(name) or run.reasons[name]
    return run.reasons.get("*", f"{name} was not measured there")


def _training(plan: Plan, row: _Row) -> list[str]:
    """How the measured models were trained otherwise than in the paper."""
    named, given = plan.places(row.spec, "models"), plan.given(row.spec.key).models
    told: list[str] = []
    for number, run in enumerate(row.runs):
        if isinstance(run, Absent):
            continue
        said = named[number] if number < len(named) else next(iter(named), None)
        model = run.model or said
        if given and run.model and run.model != said:
            told.append(f"what was measured is {run.model}, and not {said}")
        facts = model_facts(model) if model else None
        if facts is None:
            told.append(
                f"how it was trained is not recorded: no checkpoint at {model or 'any place'}"
            )
            continue
        told += [f"trained with {d}" for d in differences(row.spec.training, facts, who="this row")]
    return _once(told)


def _disagreements(runs: Sequence[Reading]) -> list[str]:
    """Settings in which the runs of one row differ: they are no repetitions then."""
    told = []
    for name in sorted({name for run in runs for name in run.facts}):
        values = _once(str(run.facts.get(name)) for run in runs)
        if len(values) > 1 and name not in ("judge",):
            told.append(f"its runs differ in {name.replace('_', ' ')}: {', '.join(values)}")
    if len({run.contexts for run in runs if run.contexts}) > 1:
        told.append("its runs were measured on different places")
    return told


def _usual_contexts(rows: Sequence[_Row]) -> str | None:
    """What most rows were measured on; None where at most one says so."""
    counts = Counter(run.contexts for row in rows for run in row.read if run.contexts is not None)
    return counts.most_common(1)[0][0] if counts else None


def _once(items: Iterator[str] | Sequence[str]) -> list[str]:
    return list(dict.fromkeys(items))


# The paper's side


def _published(name: str, table: TableSpec) -> PublishedRow:
    found = published_table(name, table.setting)
    system = name.partition(": ")[2]
    return PublishedRow(
        name,
        found.rows[system],
        found.spread.get(system, {}),
        convention=f"{found.convention}; on {found.test}",
    )


def _with_changes(row: OurRow, base: OurRow | None, columns: Sequence[str]) -> OurRow:
    """The row with its changes against another; those of the paper row by row."""
    if base is None:
        return row
    cells = dict(row.cells)
    for name in columns:
        change = _change(base.cells[name].value, cells[name].value)
        cells[name] = replace(cells[name], change=change)
    published = tuple(
        replace(own, changes=_changes(before.cells, own.cells))
        for own, before in zip(row.published, base.published, strict=False)
    )
    return replace(row, cells=cells, published=published)


def _changes(before: Mapping[str, float], now: Mapping[str, float]) -> dict[str, float]:
    found = {name: _change(before.get(name), value) for name, value in now.items()}
    return {name: change for name, change in found.items() if change is not None}


def _change(before: float | None, now: float | None) -> float | None:
    """In per cent; None where one is missing, or was 0."""
    if before is None or now is None or before == 0:
        return None
    return 100 * (now - before) / before


def _conventions(table: TableSpec, rows: Sequence[_Row]) -> dict[str, tuple[str, ...]]:
    found: dict[str, Any] = {}
    for name in table.columns:
        every = _once(
            run.conventions[name] for row in rows for run in row.read if name in run.conventions
        )
        if every:
            found[name] = tuple(every)
    return found
