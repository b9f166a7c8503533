"""The papers' figures, for the column beside ours.

Kept in `published.toml`, table by table. A figure stands beside ours only under the metric's own
name; whether it was counted the same way its table's `convention` says, as far as it is known.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from ..policies.errors import ConfigError, did_you_mean


@dataclass(frozen=True, slots=True)
class PublishedTable:
    """One table, or the part of it made in one setting.

    Attributes:
        name: paper and table.
        test: the test set.
        setting: reference or generated context.
        convention: what is known of the counting.
        rows: figures by system, then by metric; what a paper leaves out is not there.
    """

    name: str
    test: str
    setting: str
    convention: str
    rows: dict[str, dict[str, float]]


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
            {
                system: {
                    metric: value
                    for metric, value in zip(entry["metrics"], values, strict=True)
                    if not math.isnan(value)
                }
                for system, values in entry["rows"].items()
            },
        )
        for entry in tomllib.loads(text)["tables"]
    )


BESIDE = {
    ("esconv", "reference"): ("FPEMF Table 3: BBJ", "FPEMF Table 3: DKPE_FPEMF"),
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


def systems(setting: str, test: str = "ESConv") -> dict[str, dict[str, float]]:
    """Published figures by `table: system` for one setting and test set."""
    return {
        f"{table.name}: {system}": figures
        for table in published_tables()
        if (table.setting, table.test) == (setting, test)
        for system, figures in table.rows.items()
    }


def beside(
    preset: str, setting: str, *, chosen: tuple[str, ...] = (), test: str = "ESConv"
) -> dict[str, dict[str, float]]:
    """The systems to print beside ours: those chosen, else the preset's own.

    Raises:
        ConfigError: a system that no table of this setting has.
    """
    known = systems(setting, test)
    if unknown := [name for name in chosen if name not in known]:
        raise ConfigError(
            f"no published figures of '{unknown[0]}' in {setting} context on {test};"
            f" known: {'; '.join(known) or 'none'}",
            hint=did_you_mean(unknown[0], known),
        )
    names = chosen or (BESIDE.get((preset, setting), ()) if test == "ESConv" else ())
    return {name: known[name] for name in names}
