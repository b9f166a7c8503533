"""`warmline split`: divide a corpus into sides, which later commands name as `FOLDER:SIDE`."""

# typer reads these annotations when the module is loaded, so they are not postponed
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.table import Table
from rich.text import Text

from ...core.errors import ConfigError
from ...core.outside.console import echo_json, make_console


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("split")(split)


def split(
    corpus: Annotated[Path, typer.Argument(help="A run's folder or an episode log.")],
    shares: Annotated[
        str | None,
        typer.Option(help="Sides to draw, as train=0.8,valid=0.1,test=0.1; they sum to 1."),
    ] = None,
    ids: Annotated[
        list[str] | None,
        typer.Option(help="A published side, as test=FILE with one id a line; for each side."),
    ] = None,
    by: Annotated[
        Literal["scenario", "dialogue"], typer.Option(help="What drawn sides keep together.")
    ] = "scenario",
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
    replace: Annotated[
        bool, typer.Option("--replace", help="In place of another split that is there.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Sides and ids as JSON.")] = False,
) -> None:
    """Divide a corpus into sides; later commands take one as CORPUS:SIDE."""
    from ..episodes.log import read_episodes
    from .dividing import shared_scenarios, split_corpus

    made = split_corpus(
        corpus,
        shares=_shares(shares),
        ids=dict(_pairs(ids or (), "--ids", "test=FILE")),
        by=by,
        seed=seed,
        replace=replace,
    )
    if as_json:
        echo_json(json.dumps(made.model_dump(mode="json"), ensure_ascii=False))
        return
    table = Table("side", "dialogues", "named as", title=str(corpus))
    for side, names in made.sides.items():
        table.add_row(Text(side), str(len(names)), Text(f"{corpus}:{side}"))
    console = make_console()
    console.print(table)
    if made.left_out:
        console.print(Text(f"on no side: {len(made.left_out)} dialogues"))
    if shared := shared_scenarios(read_episodes(corpus), made):
        text = f"{shared} scenarios are told on more than one side"
        console.print(Text(text, style="yellow"))


def _shares(text: str | None) -> dict[str, float]:
    found = {}
    for side, value in _pairs(text.split(",") if text else (), "--shares", "train=0.8,test=0.2"):
        try:
            found[side] = float(value)
        except ValueError:
            raise ConfigError(f"--shares: the share of '{side}' is no number: '{value}'") from None
    return found


def _pairs(given: Iterable[str], option: str, example: str) -> Iterable[tuple[str, str]]:
    seen: set[str] = set()
    for each in given:
        side, equals, value = each.strip().partition("=")
        if not equals or not value:
            raise ConfigError(f"{option}: '{each}' is not SIDE=VALUE", hint=f"such as {example}")
        if side in seen:
            raise ConfigError(f"{option} names the side '{side}' twice")
        seen.add(side)
        yield side, value
