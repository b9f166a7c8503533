"""Tables and figures that other commands wrote, shown on the page as they are.

`warmline analyze`, `evaluate` and `evolve` leave Markdown tables and SVG figures in their folders.
Markdown is rendered with all markup in it escaped; figures become images, in which no script runs.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

from ...core.errors import DataError
from ...core.files import read_text


@dataclass(frozen=True, slots=True)
class Appendix:
    """One folder's tables and figures.

    Attributes:
        title: the folder's name.
        html: its Markdown files, rendered.
        figures: name and data address of each image.
    """

    title: str
    html: str
    figures: tuple[tuple[str, str], ...]


def read_appendix(folder: str | Path) -> Appendix:
    """The Markdown files and SVG figures of a folder, in order of their names.

    Raises:
        DataError: there are none.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(
            "no such folder", file=folder, hint="give the folder that --out of a command named"
        )
    pages = sorted(folder.glob("*.md"))
    images = sorted([*folder.glob("*.svg"), *folder.glob("figures/*.svg")])
    if not pages and not images:
        raise DataError(
            "holds no tables (*.md) and no figures (*.svg)",
            file=folder,
            hint="give a folder that `warmline analyze --out` or `evaluate --out` wrote",
        )
    renderer = MarkdownIt("commonmark", {"html": False}).enable("table")
    renderer.disable(["link", "image", "autolink"])
    renderer.add_render_rule("table_open", _table_open)
    renderer.add_render_rule("table_close", _table_close)
    text = "\n\n".join(_below_the_page(read_text(page)) for page in pages)
    return Appendix(folder.name, renderer.render(text), tuple(map(_image, images)))


def read_appendices(folders: Sequence[str | Path]) -> list[Appendix]:
    """See `read_appendix`."""
    return [read_appendix(folder) for folder in folders]


def _table_open(*_: object) -> str:
    """Each table scrolls by itself, also by keyboard, so that a wide one moves nothing else."""
    return '<div class="scroll" role="group" aria-label="Table" tabindex="0"><table>\n'


def _table_close(*_: object) -> str:
    return "</table></div>\n"


def _image(path: Path) -> tuple[str, str]:
    data = base64.b64encode(path.read_bytes()).decode()
    return path.stem.replace("_", " ").replace("-", " "), f"data:image/svg+xml;base64,{data}"


def _below_the_page(text: str) -> str:
    """Headings two levels deeper: the page has its own first and second."""
    lines = text.split("\n")
    return "\n".join(f"##{line}" if line.startswith("#") else line for line in lines)
