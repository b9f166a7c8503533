"""The command `warmline preview`."""

from __future__ import annotations

import inspect
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from ...core.errors import ConfigError
from ...core.options import nested, options_of
from ...core.outside.console import make_console
from ...core.settings import read_settings
from ...policies.safety import DISCLAIMER
from ..loop.command import need_libraries, quiet_libraries
from ..rows.settings import SeatRowSettings
from ..sft.settings import SftSettings

if TYPE_CHECKING:
    from ...environments.episodes.sequence import Episodes
    from ..rows.advice import Advice
    from ..rows.build import BadRow, Row
    from ..rows.encode import RowEncoder
    from ..rows.room import Room

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
    rows = [*SeatRowSettings.model_fields, *OF_TRAINING]
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
    app.command("preview")(preview)


def preview(data: list[Path], model: str, preset: str | None, limit: int, **given: Any) -> None:
    """Print training rows; tokens with loss are coloured.

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
            hint="--preset support, sweetiechat, m0 or embedded",
        )
    _show_all(data, model, read_settings(SeatRowSettings, None, options), limit)


def _show_all(data: list[Path], model: str, settings: SeatRowSettings, limit: int) -> None:
    from ..loop.base_model import load_writer
    from ..rows.build import Rows
    from ..rows.encode import encode_rows
    from ..rows.room import Room
    from ..rows.seats import build_seat_rows
    from ..rows.sources import open_episodes
    from .display import colored, counts, heading

    episodes = open_episodes(data)
    encoder, tokenizer, context = load_writer(model)
    room = Room(settings.max_tokens, context)
    console = make_console()
    advice = _advice(episodes, settings, encoder, room, limit)
    kept: list[Row] = []
    bad: list[BadRow] = []
    read = 0
    for read, episode in enumerate(episodes, 1):  # noqa: B007 - told below
        rows = build_seat_rows([episode], settings, advice)
        shown, fitting, long = encode_rows(encoder, rows.rows, room)
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


def _advice(
    episodes: Episodes, settings: SeatRowSettings, encoder: RowEncoder, room: Room, limit: int
) -> Advice:
    """What the counselor says in as many episodes as give the rows; it is opened once for them."""
    from ..rows.advice import NO_ADVICE, advice_for, asks_counselor, planned_advice
    from ..rows.encode import encode_rows
    from ..rows.seats import build_seat_rows

    if not asks_counselor(settings):
        return NO_ADVICE
    found, read = 0, 0
    for read, episode in enumerate(episodes, 1):  # noqa: B007 - how many are needed
        rows = build_seat_rows([episode], settings, planned_advice(settings)).rows
        found += len(encode_rows(encoder, rows, room)[1])
        if found >= limit:
            break
    return advice_for(episodes[:read], settings)


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
