"""The shape of the house: the ladder of rooms, the order of folders, no cycles, sizes.

Imports are read from the source, those inside functions and for type checkers included.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("core", "policies", "agents", "environments", "evaluation", "training")
"""A room may import the rooms before it."""

FOLDERS: dict[str, tuple[tuple[str, ...], ...]] = {
    "core": (("outside",), ("",), ("shards", "stores")),
    "policies": (
        ("text", "crisis", "thinking", "endpoints"),
        ("",),
        ("models",),
        ("openai", "llama", "hf", "vllm", "human"),
        ("autogen", "wrappers"),
        ("heads",),
    ),
    "agents": (("templates",), ("",)),
    "environments": (
        ("scenarios",),
        ("episodes",),
        ("dialogue",),
        ("serving",),
        ("runs",),
        ("shards",),
        ("corpus",),
        ("corpus/importing/importers", "corpus/cleaning/filters"),
        ("corpus/importing", "corpus/cleaning"),
        ("corpus/review",),
        ("corpus/generation", "corpus/exporting"),
    ),
    "evaluation": (
        ("",),
        ("statistics",),
        ("metrics",),
        ("replies", "harness"),
        ("judging", "analyses"),
        ("selfplay", "report"),
        ("studies",),
        ("studies/web",),
        ("tables",),
    ),
    "training": (
        ("rows", "launch"),
        ("loop",),
        ("beam_search", "heads"),
        ("candidates",),
        ("sft", "counselor", "scorer"),
        ("preview", "fpemf", "preferences"),
        ("dpo",),
        ("evolution",),
        ("reproduction",),
        ("",),
    ),
}
"""In each room, steps of folders: a folder may import the steps before its own, and itself."""

UPWARD = {("policies/doctor", "policies/models/weights")}
"""Imports against the order, each with its reason: `doctor` looks whether the weights are there."""

MAX_MODULES = 16
MAX_LINES = 400


@cache
def modules() -> dict[str, Path]:
    """Every module of the package but `__init__` files, which only hand names on."""
    return {
        path.relative_to(ROOT).with_suffix("").as_posix(): path
        for room in ROOMS
        for path in sorted((ROOT / room).rglob("*.py"))
        if path.name != "__init__.py"
    }


@cache
def packages() -> dict[str, Path]:
    """The `__init__` files by the path of their folder; the root's is the empty path."""
    found = {p.parent: p for room in ROOMS for p in sorted((ROOT / room).rglob("__init__.py"))}
    found[ROOT] = ROOT / "__init__.py"
    return {folder.relative_to(ROOT).as_posix().lstrip("."): p for folder, p in found.items()}


@cache
def imports() -> dict[str, frozenset[str]]:
    """What each module imports of ours, as paths without suffix.

    A name that a package hands on counts as its `__init__`, which has imports of its own.
    """
    files = {f"{folder}/__init__".lstrip("/"): path for folder, path in packages().items()}
    return {name: frozenset(_imports(name, path)) for name, path in (modules() | files).items()}


def _imports(name: str, path: Path) -> Iterator[str]:
    package = name.split("/")[:-1]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            target = "/".join([*base, *(node.module or "").split(".")]).strip("/")
            for alias in node.names:
                inside = f"{target}/{alias.name}".lstrip("/")
                if inside in modules() or target in modules():
                    yield inside if inside in modules() else target
                elif inside in packages() or target in packages():
                    folder = inside if inside in packages() else target
                    yield f"{folder}/__init__".lstrip("/")


def folder_of(name: str) -> tuple[str, str]:
    """The room of a module and its folder inside the room; of the root's own, its name."""
    room, *rest = name.split("/")
    return room, "/".join(rest[:-1])


def step_of(room: str, folder: str) -> int:
    for step, folders in enumerate(FOLDERS[room]):
        if folder in folders:
            return step
    raise AssertionError(f"{room}/{folder} has no place in the order of folders")


@pytest.mark.parametrize("room", ROOMS)
def test_the_import_ladder_holds(room: str) -> None:
    allowed = set(ROOMS[: ROOMS.index(room) + 1])
    wrong = [
        f"{name} imports {target}"
        for name, targets in imports().items()
        for target in targets
        if folder_of(name)[0] == room
        if folder_of(target)[0] not in allowed
    ]
    assert wrong == []


@pytest.mark.parametrize("room", FOLDERS)
def test_folders_import_downwards_only(room: str) -> None:
    wrong = []
    for name, targets in imports().items():
        here = folder_of(name)
        if here[0] != room or name.endswith("/__init__"):  # which hands on what is below it
            continue
        for target in targets:
            there = folder_of(target)
            if there[0] != room or there == here or (name, target) in UPWARD:
                continue
            if step_of(*there) >= step_of(*here):
                wrong.append(f"{name} imports {target}")
    assert wrong == []


def test_there_is_no_import_cycle() -> None:
    state: dict[str, int] = {}
    cycles: list[str] = []

    def visit(name: str, path: tuple[str, ...]) -> None:
        state[name] = 1
        for target in sorted(imports()[name]):
            if state.get(target) == 1:
                cycles.append(" -> ".join([*path[path.index(target) :], target]))
            elif target not in state:
                visit(target, (*path, target))
        state[name] = 2

    for name in imports():
        if name not in state:
            visit(name, (name,))
    assert cycles == []


def test_folders_are_small() -> None:
    counts: dict[str, int] = {}
    for path in [p for room in ROOMS for p in (ROOT / room).rglob("*.py")]:
        folder = str(path.parent.relative_to(ROOT))
        counts[folder] = counts.get(folder, 0) + 1
    assert {f: n for f, n in counts.items() if n > MAX_MODULES} == {}


def test_files_are_short() -> None:
    roots = [ROOT / room for room in (*ROOMS, "benchmarks", "examples")]
    files = [*(p for root in roots for p in root.rglob("*.py")), *ROOT.glob("*.py")]
    lines = {str(p.relative_to(ROOT)): len(p.read_text("utf-8").splitlines()) for p in files}
    assert {name: n for name, n in lines.items() if n > MAX_LINES} == {}


def test_imports_inside_the_rooms_are_relative() -> None:
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and not node.level:
                assert (node.module or "").partition(".")[0] != "warmline", name
            if isinstance(node, ast.Import):
                assert "warmline" not in {a.name.partition(".")[0] for a in node.names}, name
