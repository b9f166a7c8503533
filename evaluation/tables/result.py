"""A filled table: our rows and the paper's, cell by cell. Plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure of ours.

    Attributes:
        value: mean over the runs that have it; None if it is missing.
        deviation: sample standard deviation over these runs; None with fewer than two.
        runs: runs that have it.
        text: what is shown in place of the value.
        change: against another row, in per cent of that one's value.
        reason: why it is missing, or missing in some of the runs; empty if it is whole.
        commands: that would fill it, in order.
    """

    value: float | None = None
    deviation: float | None = None
    runs: int = 0
    text: str = ""
    change: float | None = None
    reason: str = ""
    commands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """One row of the paper.

    Attributes:
        name: table and system.
        cells: by metric.
        spread: what stands after ±.
        changes: in per cent, against the row that ours is compared with.
        convention: how the paper counted, as far as it is known, and on what.
    """

    name: str
    cells: Mapping[str, float]
    spread: Mapping[str, float] = field(default_factory=dict)
    changes: Mapping[str, float] = field(default_factory=dict)
    convention: str = ""


@dataclass(frozen=True, slots=True)
class OurRow:
    """One row of ours with the published ones that stand beside it.

    Attributes:
        key, label: see `RowSpec`.
        cells: by column.
        measured: on what, for each run that could be read.
        differs: how it was measured, or made, otherwise than in the paper; a sentence each.
        at: place on the table's axis.
    """

    key: str
    label: str
    cells: Mapping[str, Cell]
    measured: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()
    published: tuple[PublishedRow, ...] = ()
    at: float | None = None


@dataclass(frozen=True, slots=True)
class TableResult:
    """A table.

    Attributes:
        picture: whether the paper prints no numbers to stand beside.
        conventions: by metric how ours were counted; several where rows differ.
        notes: about the whole table.
        axis: what `at` of the rows is.
    """

    key: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[OurRow, ...]
    picture: bool = False
    conventions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    axis: str = ""
