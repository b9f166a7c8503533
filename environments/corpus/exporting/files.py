"""Files of a data set: JSON lines or Parquet, one file a split, written as a stream.

The same rows give the same bytes. Column types are fixed here by row shape, so that a column that
happens to be empty in one split has the same type in all.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self

from ....core.errors import MissingExtra
from .rows import Row, RowShape

Container = Literal["jsonl", "parquet"]
ROW_GROUP = 1000
"""Rows of Parquet held in memory at a time."""


class RowFile(Protocol):
    """An open file that takes rows."""

    def write(self, row: Row) -> None:
        """Add one row."""
        ...

    def close(self) -> None:
        """Finish the file."""
        ...


class JsonlFile:
    """One JSON object a line, UTF-8, not escaped."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", newline="\n")

    def write(self, row: Row) -> None:
        """Add one row."""
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


class ParquetFile:
    """Parquet in row groups of `ROW_GROUP`.

    Raises:
        MissingExtra: pyarrow is not installed.
    """

    def __init__(self, path: Path, schema: Any) -> None:
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError:
            raise MissingExtra("writing Parquet", extra="data") from None
        self._table, self._schema = pa.Table, schema
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        self._rows: list[Row] = []

    def write(self, row: Row) -> None:
        """Add one row."""
        self._rows.append(row)
        if len(self._rows) >= ROW_GROUP:
            self._flush()

    def close(self) -> None:
        """Finish the file."""
        if self._rows:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        self._writer.write_table(self._table.from_pylist(self._rows, schema=self._schema))
        self._rows = []


class SplitFiles:
    """The files of all splits, each made with its first row. Use as a context manager.

    Attributes:
        rows: number of rows by split.
    """

    def __init__(self, folder: Path, container: Container, schema: Any = None) -> None:
        self.folder = folder
        self.container = container
        self.rows: dict[str, int] = {}
        self._schema = schema
        self._open: dict[str, RowFile] = {}

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for file in self._open.values():
            file.close()

    def write(self, split: str, row: Row) -> None:
        """Add one row to a split."""
        if split not in self._open:
            path = self.folder / f"{split}.{self.container}"
            jsonl = self.container == "jsonl"
            self._open[split] = JsonlFile(path) if jsonl else ParquetFile(path, self._schema)
        self._open[split].write(row)
        self.rows[split] = self.rows.get(split, 0) + 1


def arrow_schema(shape: RowShape, *, ids: bool = False, scenario: bool = False) -> Any:
    """The columns of a row shape as a `pyarrow.Schema`; the arguments are those of `rows_of`.

    Raises:
        MissingExtra: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
    except ImportError:
        raise MissingExtra("Parquet", extra="data") from None
    text = pa.string()

    def records(*names: str, **more: Any) -> Any:
        return pa.list_(pa.struct([*((name, text) for name in names), *more.items()]))

    chat = records("role", "content")
    columns: dict[str, list[tuple[str, Any]]] = {
        "messages": [("messages", chat)],
        "prompt_completion": [("prompt", chat), ("completion", chat)],
        "sharegpt": [("conversations", records("from", "value"))],
        "dialogues": [
            *((name, text) for name in ("id", "source", "problem_type", "category")),
            ("dialogue", records("role", "text", "strategy", strategies=pa.list_(text))),
            ("crisis", pa.list_(text)),
        ],
    }
    more = [("id", text), ("turn", pa.int64())] if ids and shape != "dialogues" else []
    private = [("scenario", text), ("profile", text)] if scenario else []
    return pa.schema([*columns[shape], *more, *private])
