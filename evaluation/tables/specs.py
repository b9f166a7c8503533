"""What the tables of a paper are: rows, columns, the paper's protocol, and the commands that fill them.

A paper is a TOML file in `papers/`; `@name words` there is the command of that name in `[commands]`
with these words behind it. Names in braces stand in its commands and places: those of
`[names]`, `{out}` (where the command's own result goes), `{seed}`, `{row}`, `{model}` and
`{evaluation}` of the row, the key of any row for that row's model, and `key@field` for its other places.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from string import Formatter
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from ...core.errors import ConfigError, did_you_mean
from ...core.files import parse_toml
from ...core.record import Record, Text, problems_of

SUFFIX = ".toml"

Source = Literal[
    "evaluations", "single", "beams", "scores", "variance", "agreement", "ability", "corpus",
    "relevance", "openings", "wins", "lengths", "conventions",
]  # fmt: skip
"""What a table is read from; see `readers.READERS`."""

FIELDS: dict[str, str] = {
    "evaluations": "evaluations",
    "openings": "evaluations",
    "conventions": "evaluations",
    "single": "candidates",
    "beams": "candidates",
    "scores": "judgings",
    "variance": "judgings",
    "agreement": "judgings",
    "ability": "harness",
    "corpus": "analyses",
    "relevance": "pairs",
    "wins": "comparisons",
    "lengths": "comparisons",
}
"""By source the field of a row that names its places."""

PLACES: dict[str, str] = {
    "models": "runs/{paper}/{row}",
    "evaluations": "evals/{paper}/{row}",
    "candidates": "rates/{paper}/{row}",
    "judgings": "judged/{paper}/{row}.jsonl",
    "harness": "ability/{paper}/{row}",
    "analyses": "analyses/{paper}",
    "comparisons": "compared/{paper}/{row}.jsonl",
}
"""Where results lie unless the row or `tables.toml` says otherwise."""


class RowSpec(Record):
    """A system or corpus that stands in some of the tables.

    Attributes:
        key: its name in `tables.toml`.
        make: commands that make its model or corpus, in order.
        places: by field where its results lie, in place of `PLACES`; empty for none.
        training: settings that its checkpoint has in the paper, `kind` included.
        note: how it is known to differ from the paper's, whatever is recorded.
        seeded: whether it is there once for each seed.
    """

    key: Text
    label: Text
    make: tuple[str, ...] = ()
    places: dict[str, str] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    note: str = ""
    seeded: bool = True


class Use(Record):
    """A row in a table.

    Attributes:
        row: key of the row.
        published: systems of the paper that stand beside it, as `FPEMF Table 3: BBJ`.
        label: of the row here; default: the row's own.
        column: name of a corpus in its analysis; default: the label.
        expect: settings of the paper for this row, beside those of the table.
        over: key of the row that changes in per cent are against.
        command: that fills the row, in place of the table's; empty: those that make the row.
        at: place of the row on the table's axis, where it is a curve.
    """

    row: Text
    published: tuple[str, ...] = ()
    label: str = ""
    column: str = ""
    expect: dict[str, Any] = Field(default_factory=dict)
    over: str = ""
    command: str | None = None
    at: float | None = None


class TableSpec(Record):
    """One table or figure.

    Attributes:
        key: short name, for files and for rows of the user's own.
        source: what it is read from.
        setting: context of the replies, or for helpful rates and the like what the figures are of.
        columns: metrics, in order.
        expect: recorded settings as the paper has them; a list stands for any of its values.
        measure: the command that fills a row.
        picture: whether the paper prints no numbers.
        axis: what the places of the rows are, where the table is a curve.
    """

    key: Text
    title: Text
    source: Source
    setting: str = "reference"
    columns: tuple[str, ...]
    expect: dict[str, Any] = Field(default_factory=dict)
    measure: str = ""
    picture: bool = False
    axis: str = ""
    note: str = ""
    rows: tuple[Use, ...]


class Prepared(Record):
    """Something that the commands of rows need: made once, before them.

    Attributes:
        makes: the file or folder that is there afterwards.
    """

    command: Text
    makes: Text


class Paper(Record):
    """All tables of a paper.

    Attributes:
        names: what the names in braces stand for, unless `tables.toml` says otherwise.
        abouts: by name what it is, for the file that `--init` writes.
    """

    key: Text
    name: Text
    about: Text
    names: dict[str, str] = Field(default_factory=dict)
    abouts: dict[str, str] = Field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)
    prepare: tuple[Prepared, ...] = ()
    rows: tuple[RowSpec, ...]
    tables: tuple[TableSpec, ...]

    @model_validator(mode="after")
    def _parts_agree(self) -> Paper:
        keys = [row.key for row in self.rows]
        own = ("out", "seed", "row", "paper", "model", "evaluation")
        known = {*self.names, *keys, *own, *(f"{key}@{field}" for key in keys for field in PLACES)}
        problems = [f"row '{k}' occurs twice" for k in set(keys) if keys.count(k) > 1]
        problems += [f"'{k}' is a row and a name" for k in self.names.keys() & set(keys)]
        problems += [
            f"table {table.key}: no row '{name}'"
            for table in self.tables
            for use in table.rows
            for name in (use.row, *([use.over] if use.over else []))
            if name not in keys
        ]
        problems += [
            f"'{text}' names '{name}', which nothing is called"
            for text in (*self.commands(), *(t for row in self.rows for t in row.places.values()))
            for name in names_in(text)
            if name not in known
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def row(self, key: str) -> RowSpec:
        """The row of that key."""
        return next(row for row in self.rows if row.key == key)

    def commands(self) -> Iterator[str]:
        """Every command, with its names in braces."""
        yield from (each.command for each in self.prepare)
        for row in self.rows:
            yield from row.make
        for table in self.tables:
            yield from (table.measure, *(use.command or "" for use in table.rows))


def names_in(text: str) -> set[str]:
    """The names in braces of a command."""
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def filled(text: str, names: Mapping[str, str]) -> str:
    """A command with its names filled in. A value that begins with `--` is options; any other is one
    word of the shell."""
    quoted = {
        name: value if value.startswith("--") or not value else shlex.quote(value)
        for name, value in names.items()
    }
    return " ".join(text.format_map(quoted).split())


def known_papers() -> list[str]:
    """Keys of the papers."""
    return [f.name.removesuffix(SUFFIX) for f in _folder() if f.name.endswith(SUFFIX)]


def _folder() -> list[Any]:
    return sorted(files(__package__).joinpath("papers").iterdir(), key=lambda f: f.name)


def _expanded(value: Any, commands: Mapping[str, str]) -> Any:
    """Data in which `@name further words` is the command of that name with these words behind it."""
    if isinstance(value, str) and value.startswith("@"):
        name, _, further = value[1:].partition(" ")
        return f"{commands[name]} {further}".strip()
    if isinstance(value, dict):
        return {key: _expanded(each, commands) for key, each in value.items()}
    if isinstance(value, list):
        return [_expanded(each, commands) for each in value]
    return value


@cache
def read_paper(key: str) -> Paper:
    """A paper by its key.

    Raises:
        ConfigError: there is none of that key.
    """
    if key not in known_papers():
        raise ConfigError(
            f"no tables called '{key}'; known: {', '.join(known_papers())}",
            hint=did_you_mean(key, known_papers()),
        )
    data = parse_toml(files(__package__).joinpath("papers", key + SUFFIX).read_text("utf-8"))
    data = _expanded(data, data.pop("commands", {}))
    try:
        return Paper.model_validate({"key": key, **data})
    except ValidationError as error:
        raise ConfigError(
            f"the tables of {key} cannot be used", problems=problems_of(error, Paper)
        ) from None
