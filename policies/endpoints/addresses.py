"""The addresses of servers: one, several, or a file of them that may change while a run goes on."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from ...core.errors import ConfigError, DataError
from ...core.files import read_text

FILE_MARK = "@"
"""Begins a `base_url` that names a file of addresses."""

CHECK_EVERY = 1.0
"""Seconds after which the file is looked at again."""

Addresses = str | Sequence[str]
"""An address, several, or `@` and the path of a file with one a line."""


def address_problems(given: object) -> list[str]:
    """What is wrong with a `base_url`; a file is not read."""
    if isinstance(given, str):
        if given.startswith(FILE_MARK):
            return [] if given[1:].strip() else ["base_url '@' needs the path of a file behind it"]
        return _url_problems(given)
    if not isinstance(given, Sequence) or not all(isinstance(each, str) for each in given):
        return [f"base_url must be an address or a list of them, not {type(given).__name__}"]
    if not given:
        return ["base_url is an empty list; name at least one address"]
    if any(each.startswith(FILE_MARK) for each in given):
        return ["base_url: a file of addresses stands alone, not in a list; put them all into it"]
    problems = [problem for each in given for problem in _url_problems(each)]
    twice = sorted({each for each in map(_plain, given) if [*map(_plain, given)].count(each) > 1})
    return problems + [f"base_url names {each} more than once" for each in twice]


def _url_problems(base_url: str) -> list[str]:
    try:
        parts = urlsplit(base_url)
        parts.port  # noqa: B018 - read to have it checked
    except ValueError as error:
        return [f"base_url is not an address: {error}"]
    if parts.username or parts.password or parts.query:  # not quoted: the message may be logged
        return ["base_url must not carry a user, a password or a query: records keep it"]
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return [f"base_url must look like http://localhost:8000/v1, not {base_url!r}"]
    return []


def _plain(base_url: str) -> str:
    return base_url.strip().rstrip("/")


def read_addresses(file: Path) -> tuple[str, ...]:
    """The addresses in a file, one a line; empty lines and what follows a `#` do not count.

    Raises:
        DataError: it cannot be read, holds none, or names the line that is no address or one that
            stood there before.
    """
    found: dict[str, int] = {}
    for number, line in enumerate(read_text(file).splitlines(), 1):
        address = _plain(line.partition("#")[0])
        if not address:
            continue
        if problems := _url_problems(address):
            raise DataError(problems[0], file=file, line=number)
        if address in found:
            raise DataError(
                f"{address} stands in line {found[address]} too", file=file, line=number
            )
        found[address] = number
    if not found:
        raise DataError(
            "holds no address", file=file, hint="write one a line, such as http://node1:8000/v1"
        )
    return tuple(found)


class AddressList:
    """The addresses that a `base_url` stands for, at this moment.

    A file is read again once it has changed. Where it is gone, or holds something that cannot be
    used, the last good list stands and a warning says why.

    Args:
        given: without `address_problems`.
        clock: seconds, monotonic.

    Raises:
        DataError: the file cannot be used; see `read_addresses`.
    """

    def __init__(self, given: Addresses, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._file: Path | None = None
        if isinstance(given, str) and given.startswith(FILE_MARK):
            self._file = Path(given[1:].strip()).expanduser()
            self._seen = _signature(self._file)
            self._addresses = read_addresses(self._file)
        else:
            each = [given] if isinstance(given, str) else given
            self._addresses = tuple(map(_plain, each))
        self._looked = clock()

    @property
    def file(self) -> Path | None:
        """Where they stand, if they stand in a file."""
        return self._file

    @property
    def is_pool(self) -> bool:
        """Whether there may be more than one."""
        return self._file is not None or len(self._addresses) > 1

    def now(self) -> tuple[str, ...]:
        """The addresses of this moment, in the order given; at least one."""
        if self._file is not None and self._clock() - self._looked >= CHECK_EVERY:
            self._looked = self._clock()
            if (signature := _signature(self._file)) != self._seen:
                self._seen = signature
                try:
                    self._addresses = read_addresses(self._file)
                except DataError as error:
                    count = len(self._addresses)
                    warnings.warn(
                        f"{error.message}; the {count} address{'es' * (count > 1)} that stood there"
                        " before are used until it is put right",
                        stacklevel=2,
                    )
        return self._addresses


def _signature(file: Path) -> tuple[int, int, int] | None:
    """Changes with each change of the file; None where there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def addresses_of(given: Addresses) -> tuple[str, ...]:
    """The addresses that a `base_url` stands for now.

    Raises:
        ConfigError: they are none.
        DataError: of a file.
    """
    if problems := address_problems(given):
        raise ConfigError("these servers cannot be used", problems=problems)
    return AddressList(given).now()
