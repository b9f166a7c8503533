"""The command `warmline preview`."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from ...core.options import nested, options_of
from ...core.outside.console import make_console
from ...core.settings import read_settings
from ...policies.safety import DISCLAIMER
from ..loop.command import need_libraries, quiet_libraries
from ..rows.build import BadRow, Row, Rows, build_rows
from ..rows.settings import RowSettings
from ..rows.sources import open_episodes


def register(app: typer.Typer) -> None:
    """Add `preview`; the options are the fields of `RowSettings`."""
    data = Annotated[list[Path], typer.Argument(help="Run folders or episode logs.")]
    model = Annotated[
        str, typer.Option(help="Model whose tokenizer is used, as in `warmline train sft`.")
    ]
    limit = Annotated[int, typer.Option(min=1, help="Number of rows to show.")]
    kind = inspect.Parameter.KEYWORD_ONLY
    preview.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter("data", kind, annotation=data),
            inspect.Parameter("model", kind, default="embedded", annotation=model),
            inspect.Parameter("limit", kind, default=3, annotation=limit),
            *options_of(RowSettings, panel="Rows"),
        ]
    )
    app.command(help="Print training rows; tokens with loss are coloured.")(preview)


def preview(data: list[Path], model: str, limit: int, **given: Any) -> None:
    """Print the first rows of some episodes as a model is trained on them.

    No more episodes are read than those rows need.
    """
    need_libraries()
    quiet_libraries()
    from ..loop.base_model import load_writer
    from ..rows.encode import encode_rows
    from .display import colored, counts, heading

    settings = read_settings(RowSettings, None, nested(given))
    episodes = open_episodes(data)
    encoder, tokenizer, context = load_writer(model)
    longest = min(settings.max_tokens, context)
    console = make_console()
    kept: list[Row] = []
    bad: list[BadRow] = []
    read = 0
    for read, episode in enumerate(episodes, 1):  # noqa: B007 - told below
        rows = build_rows([episode], settings)
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
