"""The commands that would fill what is missing, in the order in which they have to run."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from .settings import Plan, field_of
from .specs import RowSpec, TableSpec, Use, names_in


def fill_commands(
    plan: Plan, table: TableSpec, use: Use, lacking: Collection[int], absent: Collection[int]
) -> list[str]:
    """What makes and measures runs of a row. Models that are there are not made again.

    Args:
        lacking: numbers of the runs that lack a figure.
        absent: those of which nothing is there.
    """
    row = plan.row(use.row)
    if row not in plan.paper.rows:
        return []  # a row of the user's own: its making is not known
    places = plan.places(row, field_of(table)) or ("",)
    found: list[str] = []
    template = table.measure if use.command is None else use.command
    for number in sorted(lacking):
        place = places[number] if number < len(places) else places[0]
        seed = plan.seeds[number] if number < len(plan.seeds) else plan.seeds[0]
        if number in absent or not template:
            found += making(plan, row, seed, also=template)
        if template:
            found.append(plan.command(template, row, place, seed))
    return list(dict.fromkeys(found))


def making(plan: Plan, row: RowSpec, seed: int, *, also: str = "") -> Iterator[str]:
    """The commands that make a row's model, and before them those that make what they start from.

    Args:
        also: a further command of the row, whose needs are made too.
    """
    yield from _making(plan, row, seed, also, set())


def _making(plan: Plan, row: RowSpec, seed: int, also: str, done: set[str]) -> Iterator[str]:
    if row.key in done:
        return
    done.add(row.key)
    own = plan.place(row, "models", seed)
    texts = [] if own and Path(own).exists() else list(row.make)
    needed = {name for text in (*texts, also) for name in names_in(text)}
    others = [other for other in plan.paper.rows if other.key != row.key]
    for other in others:
        if other.key in needed:
            yield from _making(plan, other, seed, "", done)
    yield from (plan.command(text, row, own, seed) for text in texts)
    for other in plan.paper.rows:
        measured = {f"{other.key}@evaluations"} | ({"evaluation"} if other is row else set())
        if measured & needed:
            yield from _measuring(plan, other, seed, done)


def _measuring(plan: Plan, row: RowSpec, seed: int, done: set[str]) -> Iterator[str]:
    """What evaluates a row's model, unless that is done."""
    place = plan.place(row, "evaluations", seed)
    if not place or Path(place).exists():
        return
    yield from _making(plan, row, seed, "", done)
    for table in plan.paper.tables:
        for use in table.rows if table.source == "evaluations" else ():
            text = table.measure if use.command is None else use.command
            if use.row == row.key:
                if text:
                    yield plan.command(text, row, place, seed)
                return


def prepared(plan: Plan) -> list[str]:
    """The commands that make what rows need, of those things that are not there."""
    return [
        plan.command(each.command, None, "", plan.seeds[0])
        for each in plan.paper.prepare
        if not Path(each.makes.format_map(plan.names)).exists()
    ]
