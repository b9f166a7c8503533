"""Builds the documentation site: `make docs`.

Pages are the Markdown files as they stand in the repository, where GitHub shows them too. This
gathers them in `.site/`, points links to source files at plain names, writes a page for each public
package, renders the notebooks, and lets Zensical build `site/`, where a link that leads nowhere ends
the build. Built pages ask no other server for anything; that is checked last.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
STAGE, SITE = ROOT / ".site", ROOT / "site"
AT_ROOT = ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md")
"""Pages beside the folder `docs`."""
PACKAGES = (
    "warmline",
    "warmline.policies",
    "warmline.policies.wrappers",
    "warmline.agents",
    "warmline.environments",
    "warmline.environments.corpus",
    "warmline.environments.serving",
    "warmline.evaluation",
    "warmline.training",
    "warmline.testing",
)
UNLISTED = ("decisions/", "project/readme")
"""Reached from other pages."""
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")
FOREIGN = re.compile(
    r"""<(?:script|link|img|iframe|source)[^>]+?(?:src|href)=["']?(https?:)?//[^"'\s>]+"""
)
CANONICAL = re.compile(r"""rel=["']?(?:canonical|alternate|edit|prev|next)""")


def gather() -> None:
    """Copy the pages into the stage."""
    shutil.rmtree(STAGE, ignore_errors=True)
    pages = {path.relative_to(ROOT / "docs"): path for path in (ROOT / "docs").rglob("*.md")}
    pages |= {Path("project") / name.lower(): ROOT / name for name in AT_ROOT}
    pages[Path("project/benchmarks.md")] = ROOT / "benchmarks" / "RESULTS.md"
    places = {source.resolve(): place for place, source in pages.items()}
    for place, source in pages.items():
        target = STAGE / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_relinked(source, place, places), "utf-8")
    for picture in (ROOT / "docs").glob("*.svg"):
        shutil.copy(picture, STAGE)


def _relinked(source: Path, place: Path, places: dict[Path, Path]) -> str:
    """The page with its links to other pages as the site has them; source files become names."""

    def link(found: re.Match[str]) -> str:
        words, target = found.groups()
        path, mark, anchor = target.partition("#")
        if not path or "://" in target or target.startswith("mailto:"):
            return found.group()
        there = (source.parent / path).resolve()
        if there in places:
            to = os.path.relpath(places[there], place.parent)
            return f"[{words}]({to}{mark}{anchor})"
        if there.is_dir() and (inside := places.get(there / "README.md")):
            return f"[{words}]({os.path.relpath(inside, place.parent)})"
        if there.suffix == ".svg" and there.parent == ROOT / "docs":
            return found.group()
        if not there.exists():
            raise SystemExit(f"{source}: {target} leads nowhere")
        name = there.relative_to(ROOT)
        return f"`{name}`" if words.strip("`") in (str(name), path) else f"{words} (`{name}`)"

    parts = re.split(r"(?ms)(^```.*?^```$)", source.read_text("utf-8"))
    return "".join(part if n % 2 else LINK.sub(link, part) for n, part in enumerate(parts))


def write_reference() -> None:
    """A page for each public package: its docstring, and everything that it exports."""
    folder = STAGE / "reference"
    folder.mkdir()
    for name in PACKAGES:
        public = import_module(name).__all__
        rooms = {package.rpartition(".")[2] for package in PACKAGES}
        members = [each for each in public if each not in rooms]
        text = [f"# `{name}`", "", f"::: {name}", "    options:", "      members: []"]
        text += ["      show_root_heading: false", ""]
        for member in members:
            text += [f"::: {name}.{member}", "    options:", "      heading_level: 2", ""]
        (folder / f"{name}.md").write_text("\n".join(text), "utf-8")


def write_notebooks() -> None:
    """The notebooks as pages, with what they showed."""
    nbformat: Any = import_module("nbformat")
    exporter: Any = import_module("nbconvert").MarkdownExporter()
    folder = STAGE / "notebooks"
    for source in sorted((ROOT / "examples" / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(source, as_version=4)
        text, resources = exporter.from_notebook_node(notebook)
        place = folder / source.stem
        place.mkdir(parents=True)
        for name, data in resources["outputs"].items():
            (place / name).write_bytes(data)
        (place / "index.md").write_text(text, "utf-8")


def missing_in_navigation() -> list[str]:
    """Pages that the navigation names and that are not there, or the other way round."""
    settings = tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))
    named = set(_pages(settings["project"]["nav"]))
    there = {path.relative_to(STAGE).as_posix() for path in STAGE.rglob("*.md")}
    unlisted = {page for page in there - named if not page.startswith(UNLISTED)}
    return [f"{page}: not there" for page in sorted(named - there)] + [
        f"{page}: not in the navigation of zensical.toml" for page in sorted(unlisted)
    ]


def _pages(group: object) -> Iterator[str]:
    if isinstance(group, str):
        yield group
    elif isinstance(group, dict | list):
        for inner in group.values() if isinstance(group, dict) else group:
            yield from _pages(inner)


def foreign_requests() -> list[str]:
    """What a built page would ask of another server."""
    found = []
    for page in SITE.rglob("*.html"):
        for match in FOREIGN.finditer(page.read_text("utf-8")):
            if not CANONICAL.search(match.group()):
                found.append(f"{page.relative_to(SITE)}: {match.group()[:120]}")
    return found


def main() -> None:
    gather()
    write_reference()
    write_notebooks()
    if missing := missing_in_navigation():
        raise SystemExit("\n".join(missing))
    subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--clean", "--strict"], cwd=ROOT, check=True
    )
    if foreign := foreign_requests():
        raise SystemExit("pages ask other servers:\n" + "\n".join(foreign))
    print(f"{sum(1 for _ in SITE.rglob('*.html'))} pages in {SITE}")


if __name__ == "__main__":
    main()
