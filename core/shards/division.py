"""One part of a work that several jobs share: `3/8` is every eighth item from the third on.

Each part writes files of its own (`calls-3-of-8.jsonl`); whoever comes last without a part holds all
of them, takes in what they have, and does what is missing.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import Field

from ..jsonl import LineLog

T = TypeVar("T")

Part = Annotated[str, Field(pattern=r"^[1-9]\d*/[1-9]\d*$")]


def part_of(part: str) -> tuple[int, int]:
    """`3/8` as its two numbers."""
    number, _, parts = part.partition("/")
    return int(number), int(parts)


def part_conflicts(part: str | None, *, workers: bool = False) -> list[str]:
    """What is wrong with a part, one line each.

    Args:
        workers: there are workers, who divide the work among themselves.
    """
    problems = [f"part: there is no part {part}"] if part and operator.gt(*part_of(part)) else []
    if part and workers:
        problems.append("part: workers have parts of their own; give a part or workers")
    return problems


def streamed(items: Iterable[T], part: str | None) -> Iterator[T]:
    """Every n-th item of a stream; all where there is no part."""
    number, parts = part_of(part) if part else (1, 1)
    return islice(items, number - 1, None, parts)


def file_of(file: Path, part: str | None) -> Path:
    """A file's name in one part: `calls.jsonl` as `calls-3-of-8.jsonl`."""
    if part is None:
        return file
    number, parts = part_of(part)
    return file.with_name(f"{file.stem}-{number}-of-{parts}{file.suffix}")


def take_parts(file: Path, take: Callable[[Path], object]) -> None:
    """Have what parts wrote beside a file taken into it, and remove theirs.

    Args:
        file: open, and locked, by the caller.
        take: reads one file of a part, which nobody else writes meanwhile.

    Raises:
        InUse: a part is still being written.
    """
    for part in part_files(file):
        with LineLog(part):
            take(part)
        part.unlink()


def part_files(file: Path) -> list[Path]:
    """The files that parts wrote beside a file."""
    return sorted(file.parent.glob(f"{file.stem}-*-of-*{file.suffix}"))
