"""`tables.toml`: which folders stand for the rows of a paper's tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from ...core.errors import ConfigError, did_you_mean
from ...core.record import Record
from .specs import FIELDS, PLACES, Paper, RowSpec, TableSpec, Use, filled, names_in

CONFIG_NAME = "tables.toml"


class RowSources(Record):
    """Where the results of one row lie; a list has one place for each run.

    Attributes:
        models: checkpoints (or names of models) that were measured.
        evaluations: folders of `warmline evaluate`.
        candidates: folders of `warmline candidates`.
        judgings: files of ratings, by a judge or a trained scorer.
        people: files of people's ratings, JSONL or CSV.
        harness: folders of `warmline harness`.
        analyses: folders of `warmline analyze`.
        column: the corpus's name there.
        pairs: folders of preference pairs.
        comparisons: files of comparisons of `warmline judge --against`.
        against: evaluations that those of the row are compared with.
        label: of a row of the user's own.
        tables: keys of the tables that such a row stands in.
    """

    models: tuple[str, ...] | None = None
    evaluations: tuple[str, ...] | None = None
    candidates: tuple[str, ...] | None = None
    judgings: tuple[str, ...] | None = None
    people: tuple[str, ...] | None = None
    harness: tuple[str, ...] | None = None
    analyses: tuple[str, ...] | None = None
    column: str = ""
    pairs: tuple[str, ...] | None = None
    comparisons: tuple[str, ...] | None = None
    against: tuple[str, ...] | None = None
    label: str = ""
    tables: tuple[str, ...] = ()


class TablesSettings(Record):
    """Settings of `warmline tables`: `tables.toml`, its options on top."""

    panel: ClassVar[str] = "Tables"

    names: dict[str, str] = Field(
        default_factory=dict, description="what names stand for in the commands that are shown"
    )
    seeds: tuple[int, ...] | None = Field(
        None, description="seeds of each row's runs; places that are not named follow from them"
    )
    rows: dict[str, RowSources] = Field(
        default_factory=dict, description="by key of a row where its results lie"
    )
    places: tuple[str, ...] = Field(
        (), description="a place of a row besides, as m0.evaluations=evals/m0"
    )
    given: bool = Field(
        False, description="only rows for which a place is named; the others are counted"
    )
    out: str | None = Field(
        None, description="folder for tables.md, tables.json, cells.csv and commands.sh"
    )

    def all_rows(self) -> dict[str, RowSources]:
        """The rows, with the further places in them.

        Raises:
            ConfigError: a place that is not ROW.FIELD=PLACE.
        """
        found = dict(self.rows)
        for text in self.places:
            named, equals, place = text.partition("=")
            key, dot, field = named.rpartition(".")
            if not (equals and dot and place):
                raise ConfigError(
                    f"places: '{text}' is not ROW.FIELD=PLACE",
                    hint="such as m0.evaluations=evals/m0",
                )
            if field == "column":
                row = found.get(key, RowSources())
                found[key] = row.model_copy(update={field: place})
                continue
            if field not in PLACE_FIELDS:
                raise ConfigError(
                    f"places: a row has no '{field}'; it has {', '.join(PLACE_FIELDS)}",
                    hint=did_you_mean(field, PLACE_FIELDS),
                )
            row = found.get(key, RowSources())
            before = getattr(row, field) or ()
            found[key] = row.model_copy(update={field: (*before, place)})
        return found


class PaperTablesSettings(TablesSettings):
    """The same with the paper that they are of."""

    paper: str = Field(description="fpemf, sweetiechat, self-evolution or questions")


PLACE_FIELDS = tuple(
    name for name in RowSources.model_fields if name not in ("column", "label", "tables")
)
"""Fields of a row that name places."""


@dataclass(frozen=True)
class Plan:
    """A paper's tables together with the places of their results."""

    paper: Paper
    settings: TablesSettings

    @cached_property
    def _sources(self) -> dict[str, RowSources]:
        return self.settings.all_rows()

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of the runs."""
        return self.settings.seeds or self.paper.seeds

    @property
    def names(self) -> dict[str, str]:
        """What names in braces stand for."""
        return {**self.paper.names, **self.settings.names}

    def rows(self) -> list[RowSpec]:
        """All rows: the paper's, and then the user's own."""
        own = [
            RowSpec(key=key, label=given.label or key, places=dict.fromkeys(PLACES, ""))
            for key, given in self._sources.items()
            if key not in self._known()
        ]
        return [*self.paper.rows, *own]

    def row(self, key: str) -> RowSpec:
        """The row of that key."""
        return next(row for row in self.rows() if row.key == key)

    def uses(self, table: TableSpec) -> list[Use]:
        """The rows of a table, with the user's own behind the paper's."""
        own = [
            Use(row=key, label=given.label or key)
            for key, given in self._sources.items()
            if key not in self._known() and table.key in given.tables
        ]
        every = [*table.rows, *own]
        if not self.settings.given:
            return every
        return [use for use in every if getattr(self.given(use.row), field_of(table)) is not None]

    def _known(self) -> set[str]:
        return {row.key for row in self.paper.rows}

    def given(self, key: str) -> RowSources:
        """What `tables.toml` says of a row."""
        return self._sources.get(key, RowSources())

    def places(self, row: RowSpec, field: str) -> tuple[str, ...]:
        """Where results of a row lie, one for each run; nothing if nowhere."""
        given: tuple[str, ...] | None = getattr(self.given(row.key), field)
        if given is not None:
            return given
        pattern = row.places.get(field, PLACES.get(field, ""))
        if not pattern:
            return ()
        once = not row.seeded or field == "analyses"
        return tuple(
            self._place(pattern, row, s, once=once) for s in self.seeds[: 1 if once else None]
        )

    def _place(self, pattern: str, row: RowSpec, seed: int, *, once: bool) -> str:
        """The place of one run: of several, a row's own folder has one below it for each seed."""
        own = {"paper": self.paper.key, "row": row.key}
        found = pattern.format_map({**self.names, **self._models(pattern, seed), **own})
        alone = once or len(self.seeds) == 1 or "row" not in names_in(pattern)
        return found if alone else _for_seed(found, seed)

    def _models(self, text: str, seed: int) -> dict[str, str]:
        """Of the rows that a pattern or command names the models, or with `row@field` other places."""
        found = {}
        for name in names_in(text):
            key, _, field = name.partition("@")
            row = next((row for row in self.paper.rows if row.key == key), None)
            if row is not None:
                found[name] = self.place(row, field or "models", seed)
        return found

    def place(self, row: RowSpec, field: str, seed: int) -> str:
        """The place of one run; the first where there are not as many as seeds."""
        found = self.places(row, field)
        number = self.seeds.index(seed) if seed in self.seeds else 0
        return found[number] if number < len(found) else next(iter(found), "")

    def command(self, text: str, row: RowSpec | None, out: str, seed: int) -> str:
        """A command of the paper with everything filled in.

        Args:
            row: that it is for.
            out: where its result goes.
        """
        own = {"out": out, "seed": str(seed), "paper": self.paper.key}
        if row is not None:
            own |= {
                "row": row.key,
                "model": self.place(row, "models", seed),
                "evaluation": self.place(row, "evaluations", seed),
            }
        return filled(text, {**self.names, **self._models(text, seed), **own})


def _for_seed(place: str, seed: int) -> str:
    """`judged/m0.jsonl` to `judged/m0/seed1.jsonl`, a folder to a folder below it."""
    path = Path(place)
    ending = path.suffix if path.suffix in (".jsonl", ".csv") else ""
    return f"{place.removesuffix(ending)}/seed{seed}{ending}"


def make_plan(paper: Paper, settings: TablesSettings) -> Plan:
    """The tables of a paper with these settings.

    Raises:
        ConfigError: unknown names, rows or tables, all at once, each with a suggestion.
    """
    rows = [row.key for row in paper.rows]
    tables = [table.key for table in paper.tables]
    problems = [f"names: {text}" for text in _unknown(settings.names, paper.names)]
    for key, given in settings.all_rows().items():
        if key in rows and given.tables:
            problems.append(f"rows.{key}: tables is for rows of your own")
        elif key not in rows and not given.tables:
            hint = did_you_mean(key, rows) or f"known: {', '.join(rows)}"
            own = "a row of your own says where it stands (tables = [...])"
            problems.append(f"rows.{key}: {paper.name} has no such row; {hint}; {own}")
        problems += [f"rows.{key}.tables: {text}" for text in _unknown(given.tables, tables)]
        problems += [f"rows.{key}.{text}" for text in _twice(given)]
    if settings.seeds is not None and len(set(settings.seeds)) != len(settings.seeds or ()):
        problems.append("seeds: one occurs twice")
    if settings.seeds == ():
        problems.append("seeds: none is given")
    if problems:
        raise ConfigError(f"settings do not fit the tables of {paper.name}", problems=problems)
    return Plan(paper, settings)


def _twice(given: RowSources) -> Iterator[str]:
    """Places that would count as two runs and are one."""
    for field in PLACE_FIELDS:
        places = getattr(given, field) or ()
        yield from (
            f"{field}: {place} occurs twice"
            for place in dict.fromkeys(places)
            if places.count(place) > 1 and field != "models"
        )


def _unknown(given: Iterable[str], known: Iterable[str]) -> list[str]:
    names = list(known)
    return [
        f"nothing is called '{name}'; {did_you_mean(name, names) or 'known: ' + ', '.join(names)}"
        for name in given
        if name not in names
    ]


def field_of(table: TableSpec) -> str:
    """The field of a row that names the places of a table's results."""
    return FIELDS[table.source]
