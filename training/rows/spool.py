"""A sequence of any length that keeps its items in an unnamed file, so that memory does not grow."""

from __future__ import annotations

import hashlib
import os
import pickle
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Generic, Protocol, TypeVar, overload

T = TypeVar("T")

IN_MEMORY = 1_000
"""Items up to which there is no file."""


class _Equal(Sequence[T], Generic[T]):
    """Compared as lists are."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str | bytes):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]


class Spool(_Equal[T]):
    """Items that can be appended, read in any order and compared as a list's, not changed.

    Beyond `IN_MEMORY` items they lie pickled in an unnamed file of the folder for temporary files
    (`TMPDIR`), which the system removes with the process; 8 bytes of memory an item remain.

    Args:
        items: the first ones.
    """

    def __init__(self, items: Iterable[T] = ()) -> None:
        self._first: list[T] = []
        self._file: IO[bytes] | None = None
        self._ends = array("Q", [0])
        self._unwritten = False
        self.extend(items)

    def append(self, item: T) -> None:
        """Take in one more item."""
        if self._file is None and len(self._first) < IN_MEMORY:
            self._first.append(item)
            return
        if self._file is None:
            self._file = tempfile.TemporaryFile(buffering=1 << 20)  # noqa: SIM115 - as long as this
        data = pickle.dumps(item, pickle.HIGHEST_PROTOCOL)
        self._file.write(data)
        self._ends.append(self._ends[-1] + len(data))
        self._unwritten = True

    def extend(self, items: Iterable[T]) -> None:
        """Take in more items."""
        for item in items:
            self.append(item)

    def __len__(self) -> int:
        return len(self._first) + len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...

    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return [self[n] for n in range(*index.indices(len(self)))]
        place = range(len(self))[index] - len(self._first)
        return self._first[place] if place < 0 else self._read(place)

    def _read(self, place: int) -> T:
        assert self._file is not None
        if self._unwritten:
            self._file.flush()
            self._unwritten = False
        start, end = self._ends[place], self._ends[place + 1]
        if hasattr(os, "pread"):  # processes that share the file share its position
            data = os.pread(self._file.fileno(), end - start, start)
        else:
            self._file.seek(start)
            data = self._file.read(end - start)
            self._file.seek(0, os.SEEK_END)
        item: T = pickle.loads(data)  # noqa: S301 - pickled above
        return item

    def __iter__(self) -> Iterator[T]:
        return (self[n] for n in range(len(self)))

    def __repr__(self) -> str:
        return f"<{len(self)} items>"


class Ordered(_Equal[T]):
    """Items of a sequence in another order, without a copy.

    Args:
        items: all of them.
        order: indices into `items`.
    """

    def __init__(self, items: Sequence[T], order: Iterable[int]) -> None:
        self._items, self._order = items, array("Q", order)

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...

    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return [self._items[n] for n in self._order[index]]
        return self._items[self._order[index]]


class SpooledMap(Mapping[str, T], Generic[T]):
    """Items by name that can be added and replaced; they lie in a `Spool`, their names in memory."""

    def __init__(self, items: Iterable[tuple[str, T]] = ()) -> None:
        self._items: Spool[T] = Spool()
        self._places: dict[str, int] = {}
        for name, item in items:
            self[name] = item

    def __setitem__(self, name: str, item: T) -> None:
        self._places[name] = len(self._items)
        self._items.append(item)

    def __getitem__(self, name: str) -> T:
        return self._items[self._places[name]]

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)


class _Long(Protocol):
    """What has a length in tokens."""

    @property
    def tokens(self) -> int: ...


L = TypeVar("L", bound=_Long)


def longest_first(rows: Sequence[L]) -> Sequence[L]:
    """The rows by their number of tokens, without a copy of them."""
    lengths = array("Q", (row.tokens for row in rows))
    return Ordered(rows, sorted(range(len(rows)), key=lengths.__getitem__, reverse=True))


def digest_of(items: Iterable[object]) -> str:
    """The SHA-256 of the `repr` of a list of these items, which are read one by one."""
    digest = hashlib.sha256(b"[")
    for number, item in enumerate(items):
        digest.update(f"{', ' if number else ''}{item!r}".encode())
    digest.update(b"]")
    return digest.hexdigest()
