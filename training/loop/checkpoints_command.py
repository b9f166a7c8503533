"""The command `warmline checkpoints`: what was trained from what; merging and packing an adapter."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text
from rich.tree import Tree

from ...core.errors import DataError
from ...core.outside.console import make_console

if TYPE_CHECKING:
    from .checkpoint import Checkpoint


def register(app: typer.Typer) -> None:
    """Add `checkpoints`."""
    app.command()(checkpoints)


def checkpoints(
    folder: Annotated[Path, typer.Argument(help="Folder with checkpoints.")] = Path("runs"),
    merge: Annotated[
        Path | None,
        typer.Option(
            help="Merge the checkpoint FOLDER and its parents into a model, written here."
        ),
    ] = None,
    pack: Annotated[
        Path | None,
        typer.Option(
            help="Write the adapter of the checkpoint FOLDER here to be shipped: in bfloat16, with its"
            " card and without paths of this machine."
        ),
    ] = None,
) -> None:
    """List checkpoints with what they were trained from, or merge or pack one."""
    console = make_console()
    if merge is not None or pack is not None:
        from .command import need_libraries
        from .merge import merge_checkpoint
        from .pack import pack_checkpoint

        need_libraries()
        if merge is not None:
            console.print(f"wrote {merge_checkpoint(folder, merge)}")
        if pack is not None:
            console.print(f"wrote {pack_checkpoint(folder, pack)}")
        return
    from .checkpoint import find_checkpoints

    found = find_checkpoints(folder)
    if not found:
        raise DataError(
            "holds no checkpoint", file=folder, hint="`warmline train sft --help` makes one"
        )
    for tree in trees(found, folder):
        console.print(tree)


def trees(found: Mapping[Path, Checkpoint], folder: Path) -> list[Tree]:
    """One tree for each base model: checkpoints under what they were trained from."""
    from .checkpoint import lineage

    children = lineage(found)
    roots = [key for key in children if key not in found]

    def grow(tree: Tree, key: Path | str) -> Tree:
        for path in children.get(key, ()):
            grow(tree.add(_line(path, found[path], folder)), path)
        return tree

    return [grow(Tree(Text(str(root), style="bold")), root) for root in roots]


def _line(path: Path, checkpoint: Checkpoint, folder: Path) -> Text:
    top = folder.resolve()
    name = str(path.relative_to(top)) if path != top else path.name
    line = Text(name, style="bold")
    line.append(f"  {checkpoint.kind}, seed {checkpoint.seed}", style="not bold")
    loss = checkpoint.metrics.get("validation_loss")
    if loss is not None:
        line.append(f", validation loss {loss:.4f}", style="not bold")
    line.append(f", {checkpoint.created[:16].replace('T', ' ')}", style="dim not bold")
    return line
