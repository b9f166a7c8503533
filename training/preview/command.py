"""The command `warmline preview`."""

from __future__ import annotations

import inspect
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from ...core.errors import ConfigError
from ...core.options import nested, options_of
from ...core.outside.console import make_console
from ...core.settings import read_settings
from ...policies.safety import DISCLAIMER
from ..loop.command import need_libraries, quiet_libraries
from ..rows.advice import advice_for
from ..rows.build import BadRow, Row, Rows, build_rows
from ..rows.settings import RowSettings
from ..rows.sources import open_episodes
from ..sft.settings import SftSettings

OF_TRAINING = ("replay", "replay_rows", "replay_share", "validation_share", "seed")
"""Settings that decide which rows a training takes, beside those of the rows themselves."""


def register(app: typer.Typer) -> None:
    """Add `preview`; the options are those of `warmline train sft` that decide its rows."""
    data = Annotated[
        list[Path], typer.Argument(help="Run folders, episode logs or sides (FOLDER:SIDE).")
    ]
    model = Annotated[
        str, typer.Option(help="Model whose tokenizer is used, as in `warmline train sft`.")
    ]
    preset = Annotated[
        str | None,
        typer.Option(
            help="Show exactly the rows that `warmline train sft --preset NAME` trains on: one side"
            " of its split, instruction rows included. Default: the rows of all data."
        ),
    ]
    limit = Annotated[int, typer.Option(min=1, help="Number of rows to show.")]
    kind = inspect.Parameter.KEYWORD_ONLY
    rows = [*RowSettings.model_fields, *OF_TRAINING]
    others = {("", name) for name in SftSettings.model_fields if name not in rows}
    preview.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter("data", kind, annotation=data),
            inspect.Parameter("model", kind, default="embedded", annotation=model),
            inspect.Parameter("preset", kind, default=None, annotation=preset),
            inspect.Parameter("limit", kind, default=3, annotation=limit),
            *options_of(SftSettings, hidden=others, panel="Rows"),
        ]
    )
    app.command(help="Print training rows; tokens with loss are coloured.")(preview)


def preview(data: list[Path], model: str, preset: str | None, limit: int, **given: Any) -> None:
    """Print the first rows of some episodes as a model is trained on them.

    Without a preset no more episodes are read than those rows need.
    """
    need_libraries()
    quiet_libraries()
    options = nested(given)
    if preset is not None:
        places = [str(place) for place in data]
        own = {"preset": preset, "model": model, "data": places}
        _show_training(read_settings(SftSettings, None, {**options, **own}), limit)
        return
    if idle := [name for name in OF_TRAINING if name in options]:
        raise ConfigError(
            f"without a preset all rows of the data are shown: {', '.join(idle)} would change"
            " nothing",
            hint="--preset support, sweetiechat or m0",
        )
    _show_all(data, model, read_settings(RowSettings, None, options), limit)


def _show_all(data: list[Path], model: str, settings: RowSettings, limit: int) -> None:
    from ..loop.base_model import load_writer
    from ..rows.encode import encode_rows
    from .display import colored, counts, heading

    episodes = open_episodes(data)
    encoder, tokenizer, context = load_writer(model)
    longest = min(settings.max_tokens, context)
    console = make_console()
    kept: list[Row] = []
    bad: list[BadRow] = []
    read = 0
    for read, episode in enumerate(episodes, 1):  # noqa: B007 - told below
        rows = build_rows([episode], settings, advice_for([episode], settings))
        shown, fitting, long = encode_rows(encoder, rows.rows, longest)
        for row, encoded in zip(fitting, shown, strict=True):
            if len(kept) < limit:
                console.print(heading(row, encoded))
                console.print(colored(encoded, tokenizer, brackets=console.color_system is None))
                console.print()
            kept.append(row)
        bad += (*rows.bad, *long)
        if len(kept) >= limit:
            break
    console.print(counts(Rows(kept, tuple(bad)), read, len(episodes)), soft_wrap=True)
    console.print(Text(DISCLAIMER, style="dim"))


def _show_training(settings: SftSettings, limit: int) -> None:
    from ..loop.base_model import load_writer
    from ..rows.left_out import left_out_line, left_out_of
    from ..sft.train import encode_data, read_data
    from .display import colored, heading

    encoder, tokenizer, context = load_writer(settings.model)
    taken = encode_data(encoder, read_data(settings), settings, context)
    console = make_console()
    for row, encoded in islice(zip(taken.rows, taken.train, strict=True), limit):
        console.print(heading(row, encoded))
        console.print(colored(encoded, tokenizer, brackets=console.color_system is None))
        console.print()
    counted = ", ".join(f"{n} {k.replace('_', ' ')}" for k, n in taken.counts.items())
    omitted = left_out_line(left_out_of(taken.bad))
    console.print(f"rows that training takes: {counted}; {omitted}", soft_wrap=True)
    console.print(Text(DISCLAIMER, style="dim"))
