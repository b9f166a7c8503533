"""The papers' figures, for the column beside ours.

All of them are in `published.toml`, table by table, and this is its one reader. They are kept on
the ground floor because every room prints some: strategy shares (`agents`), sizes of corpora
(`environments`), scores (`evaluation`), accuracies (`training`).

A figure is printed beside ours only under the metric's own name. The table's `convention` says how
it was counted, as far as it is known.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from .errors import ConfigError, did_you_mean
from .tables import number


@dataclass(frozen=True, slots=True)
class PublishedTable:
    """One table, or the part of it made in one setting.

    Attributes:
        name: paper and table.
        test: the test set.
        setting: what it is about: replies in reference or generated context, or helpful rates,
            scores by a rubric (its name), variance, calibration, ability, sizes, strategies,
            diversity.
        convention: what is known of the counting.
        rows: figures by system, then by metric; what a paper leaves out is not there.
        spread: what stands after ± there, likewise; empty where a paper prints none.
    """

    name: str
    test: str
    setting: str
    convention: str
    rows: dict[str, dict[str, float]]
    spread: dict[str, dict[str, float]] = field(default_factory=dict)


@cache
def published_tables() -> tuple[PublishedTable, ...]:
    """All tables, in the order of the papers."""
    text = files(__package__).joinpath("published.toml").read_text("utf-8")
    return tuple(
        PublishedTable(
            entry["name"],
            entry["test"],
            entry["setting"],
            entry["convention"],
            _by_metric(entry["metrics"], entry["rows"]),
            _by_metric(entry["metrics"], entry.get("spread", {})),
        )
        for entry in tomllib.loads(text)["tables"]
    )


def _by_metric(
    metrics: Sequence[str], rows: Mapping[str, Sequence[float]]
) -> dict[str, dict[str, float]]:
    """Rows of numbers to numbers by metric; NaN stands for what a paper leaves out."""
    return {
        system: {
            metric: value
            for metric, value in zip(metrics, values, strict=True)
            if not math.isnan(value)
        }
        for system, values in rows.items()
    }


def published_rows(name: str) -> dict[str, dict[str, float]]:
    """The rows of the one table of that name: by system or corpus, then by metric.

    Raises:
        KeyError: no table, or more than one, has the name.
    """
    found = [table for table in published_tables() if table.name == name]
    if len(found) != 1:
        raise KeyError(name)
    return found[0].rows


def published_table(name: str, setting: str) -> PublishedTable:
    """The table of one system, given as `table: system`; in this setting where it has several.

    Raises:
        KeyError: there is none.
    """
    title, _, system = name.partition(": ")
    found = [table for table in published_tables() if table.name == title and system in table.rows]
    if len(found) > 1:
        found = [table for table in found if table.setting == setting]
    if len(found) != 1:
        raise KeyError(name)
    return found[0]


def published_sizes() -> dict[str, dict[str, float]]:
    """Sizes and lengths by corpus: ESConv and EmoCare (FPEMF Table 2), ServeForEmo (SweetieChat
    Table 1), and what is printed of ExTES (Self-Evolution Table 1, which counts the other two
    otherwise)."""
    return {
        **published_rows("FPEMF Table 2"),
        **published_rows("SweetieChat Table 1"),
        "ExTES": published_rows("Self-Evolution Table 1")["ExTES"],
    }


def published_strategy_shares() -> dict[str, dict[str, float]]:
    """Per cent of supporter turns with each strategy, by corpus (SweetieChat Table 2)."""
    return published_rows("SweetieChat Table 2")


BESIDE = {
    ("esconv", "reference"): ("FPEMF Table 3: BBJ", "FPEMF Table 3: DKPE_FPEMF"),
    ("fpemf", "reference"): ("FPEMF Table 3: BBJ", "FPEMF Table 3: DKPE_FPEMF"),
    ("self-evolution", "reference"): (
        "Self-Evolution Table 2: LLaMA-3-8B M0",
        "Self-Evolution Table 2: LLaMA-3-8B M2",
    ),
    ("sweetiechat", "reference"): (
        "SweetieChat Table 3: LLaMA",
        "SweetieChat Table 3: ServeForEmo",
    ),
    ("sweetiechat", "generated"): (
        "SweetieChat Table 3: LLaMA",
        "SweetieChat Table 3: ServeForEmo",
    ),
}
"""Shown by default: a plain baseline and the best system of the table with this convention."""


def systems(setting: str) -> dict[str, dict[str, float]]:
    """Published figures by `table: system` for one setting."""
    return {
        f"{table.name}: {system}": figures
        for table in published_tables()
        if table.setting == setting
        for system, figures in table.rows.items()
    }


def published_cell(name: str, metric: str, figures: Mapping[str, float]) -> str:
    """A published figure as it is printed beside ours, `6.27±0.05` where the paper has a ±.

    Args:
        name: `table: system`.
        metric: one of the table's; a dash stands for one that it lacks.
        figures: the system's row. A table of two settings has one for each, and the ± is that of
            the row with these figures.
    """
    value = figures.get(metric)
    table, _, system = name.partition(": ")
    for each in published_tables():
        if each.name == table and each.rows.get(system) == figures:
            spread = each.spread.get(system, {}).get(metric)
            if value is not None and spread is not None:
                return f"{value:.2f}±{spread:.2f}"
    return number(value)


def refuse_unknown(chosen: Iterable[str], settings: Sequence[str]) -> None:
    """Check the systems to print beside ours before anything is asked.

    Raises:
        ConfigError: a system that no table has in any of these settings.
    """
    known = [name for setting in settings for name in systems(setting)]
    if unknown := [name for name in chosen if name not in known]:
        raise ConfigError(
            f"no published figures of '{unknown[0]}' in {' or '.join(settings)} context;"
            f" known: {'; '.join(dict.fromkeys(known)) or 'none'}",
            hint=did_you_mean(unknown[0], known),
        )


def beside(
    preset: str, setting: str, *, chosen: tuple[str, ...] = ()
) -> dict[str, dict[str, float]]:
    """The systems to print beside ours: those chosen that have this setting, else the preset's
    own."""
    known = systems(setting)
    names = chosen or BESIDE.get((preset, setting), ())
    return {name: known[name] for name in names if name in known}
