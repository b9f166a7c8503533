"""Records of a file one after the other, however the file holds them, in bounded memory.

JSON lines, one JSON array, a folder with one JSON file a dialogue, or EmpatheticDialogues' comma
separated rows; plain or compressed with gzip. The importers interpret the records.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any

from .....core.errors import DataError
from .....core.jsonl import parse_json
from .....core.outside.text import clean_data

CHUNK = 1 << 18
"""Characters read at a time."""
MAX_RECORD_CHARACTERS = 1 << 26
"""Maximum characters of a record in an array; more is taken for broken JSON."""
_MARGIN = 16
"""A fault this near to the end of what was read may be a record cut in two."""
_SHOWN = 60
"""Characters of what follows an array that its message quotes."""
_GZIP = b"\x1f\x8b"
_FAULTS = (UnicodeDecodeError, EOFError, OSError, zlib.error)


@dataclass(frozen=True, slots=True)
class FoundRecord:
    """One record, and where it stands.

    Attributes:
        number: place among the records, from 1.
        value: parsed; None if it could not be.
        line: in a file of lines, from 1.
        problem: why the record could not be parsed.
        own_file: the file holds this record alone, so its name is the record's.
    """

    file: Path
    number: int
    value: Any = None
    line: int | None = None
    problem: str | None = None
    own_file: bool = False

    def error(
        self, message: str, *, field: str | None = None, hint: str | None = None
    ) -> DataError:
        """What is wrong with this record, naming file, line or number, and field."""
        if self.line is None:
            message = f"record {self.number}: {message}"
        return DataError(message, file=self.file, line=self.line, field=field, hint=hint)


def iter_records(path: str | Path) -> Iterator[FoundRecord]:
    """Stream the records of a file or folder.

    A line that is not JSON is given with its problem; the next line is read all the same. After a
    fault inside an array nothing more can be found; what follows an array is one record with its
    problem.

    Raises:
        DataError: no such file, no record in it, not text, cut short, an array that is not JSON, or
            one object over several lines.
    """
    path = Path(path)
    if path.is_dir():
        yield from _of_folder(path)
        return
    if not path.is_file():
        raise DataError("no such file or folder", file=path, hint="check the path")
    try:
        with _open(path) as file:
            found = None
            for found in _of_file(file, path):
                yield found
    except _FAULTS as error:
        raise DataError(
            f"cannot be read to its end: {error}",
            file=path,
            hint="it must be UTF-8 text, plain or gzip; download it again if it is cut short",
        ) from None
    if found is None:
        raise DataError("holds no record", file=path, hint="there is nothing in it to import")


def _open(path: Path) -> IO[str]:
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP
    # only \n ends a line: other line separators may stand inside a text
    if packed:
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="\n")
    return path.open(encoding="utf-8-sig", newline="\n")


def _of_file(file: IO[str], path: Path) -> Iterator[FoundRecord]:
    start = file.read(CHUNK)
    while not start.lstrip() and (more := file.read(CHUNK)):
        start += more
    plain = "".join(start[:4096].split())
    if not plain:
        raise DataError("is empty", file=path, hint="JSON lines or a JSON array is expected")
    if plain.startswith("conv_id,"):
        yield from _conversations(_lines(start, file), path)
    elif plain.startswith("[") and not plain.startswith('[["'):
        yield from _of_array(start, file, path)
    else:  # objects, or AugESC's lines, each a list of [speaker, text]
        yield from _of_lines(_lines(start, file), path)


def _lines(start: str, file: IO[str]) -> Iterator[str]:
    """The lines of a file whose start has been read already."""
    *whole, rest = start.split("\n")
    yield from whole
    joined = rest + file.readline()
    if joined:
        yield joined
    yield from file


def _of_lines(lines: Iterator[str], path: Path) -> Iterator[FoundRecord]:
    number = 0
    for line_number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        number += 1
        try:
            yield FoundRecord(path, number, parse_json(line), line_number)
        except ValueError as error:
            if number == 1 and line.strip() == "{":
                raise DataError(
                    "is one JSON object over several lines",
                    file=path,
                    hint="JSON lines or a JSON array is expected: `jq -c . FILE` puts the object on"
                    " one line, `jq -c '.data[]' FILE` its list `data` on a line each",
                ) from None
            problem = f"not JSON: {error}"
            yield FoundRecord(path, number, line=line_number, problem=problem)


def _of_array(buffer: str, file: IO[str], path: Path) -> Iterator[FoundRecord]:
    """Items of one JSON array, decoded one by one."""
    decode = json.JSONDecoder().raw_decode
    position, number, ended = buffer.index("[") + 1, 0, False
    line = 1  # of the buffer's beginning
    while True:
        position = _skip(buffer, position, "," if number else "")
        if position < len(buffer) and buffer[position] == "]":
            line += buffer.count("\n", 0, position)
            yield from _after_array(
                buffer[position + 1 :], file, FoundRecord(path, number, None, line)
            )
            return
        problem = "the array does not end" if position >= len(buffer) else ""
        if not problem:
            try:
                value, end = decode(buffer, position)
                value = clean_data(value)  # an escape can bring a lone half of a character
            except (ValueError, RecursionError) as error:
                problem = f"not JSON: {error}"
                if not isinstance(error, json.JSONDecodeError) or _surely_broken(error, buffer):
                    ended = True
            else:
                if end < len(buffer) or ended:
                    number += 1
                    yield FoundRecord(path, number, value)
                    position = end
                    continue
        if ended or len(buffer) - position > MAX_RECORD_CHARACTERS:
            raise FoundRecord(path, number + 1).error(
                problem or "no end found", hint="the records before it were read"
            )
        more = file.read(max(CHUNK, len(buffer) - position))  # twice as much each time
        ended = not more
        line += buffer.count("\n", 0, position)
        buffer, position = buffer[position:] + more, 0


def _after_array(rest: str, file: IO[str], end: FoundRecord) -> Iterator[FoundRecord]:
    """What follows the only array that is read, as one record that could not be parsed.

    Args:
        rest: what was read beyond the array.
        end: number of the last record, and the line where the array ends.
    """
    line = end.line or 1
    while not rest.strip() and (more := file.read(CHUNK)):
        line += rest.count("\n")
        rest = more
    if found := rest.strip():
        line += rest.count("\n", 0, rest.index(found))
        shown = found.split("\n")[0][:_SHOWN]
        yield FoundRecord(
            end.file,
            end.number + 1,
            line=line,
            problem=f"the array has ended, and more follows it, which is not read: {shown!r}"
            " (`jq -c '.[]' FILE` makes lines of several arrays)",
        )


def _skip(buffer: str, position: int, also: str) -> int:
    while position < len(buffer) and (buffer[position].isspace() or buffer[position] in also):
        position += 1
    return position


def _surely_broken(error: json.JSONDecodeError, buffer: str) -> bool:
    """Whether more text cannot mend it: the fault lies before the end of what was read."""
    return not error.msg.startswith("Unterminated") and error.pos < len(buffer) - _MARGIN


def _of_folder(folder: Path) -> Iterator[FoundRecord]:
    files = sorted(chain(folder.glob("*.json"), folder.glob("*.json.gz")))
    if not files:
        raise DataError(
            "the folder holds no .json file",
            file=folder,
            hint="a folder must hold one dialogue a file; else give the file's own path",
        )
    for number, file in enumerate(files, 1):
        try:
            with _open(file) as text:
                yield FoundRecord(file, number, parse_json(text.read()), own_file=True)
        except (ValueError, *_FAULTS) as error:
            yield FoundRecord(file, number, problem=f"not JSON: {error}", own_file=True)


def _conversations(lines: Iterator[str], path: Path) -> Iterator[FoundRecord]:
    """EmpatheticDialogues' rows, those of one conversation as one record.

    Commas inside a text are written `_comma_` there and quotation marks mean nothing, so a row is
    split at its commas and nowhere else.
    """
    names = next(lines).strip().split(",")
    rows: list[dict[str, str]] = []
    number = first = 0
    for line_number, line in enumerate(lines, 2):
        if not line.strip():
            continue
        row = dict(zip(names, line.rstrip("\r\n").split(","), strict=False))
        if rows and row["conv_id"] != rows[0]["conv_id"]:
            number += 1
            yield FoundRecord(path, number, {"rows": rows}, first)
            rows = []
        if not rows:
            first = line_number
        rows.append(row)
    if rows:
        yield FoundRecord(path, number + 1, {"rows": rows}, first)
