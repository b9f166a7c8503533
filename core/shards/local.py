"""Shards as processes of this machine."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import RunError
from .passing import dumps
from .process import HEADER, LINE_LIMIT
from .shard import ShardTask

LAST_LINES = 12
"""Lines of what a lost process printed that are shown."""

END_WAIT = 10.0
"""Seconds that a process may take to end once it has said that it is done."""


class LocalShard:
    """The driver's end of a shard that is a process here."""

    def __init__(self, process: asyncio.subprocess.Process, printed: Path) -> None:
        self._process, self._printed = process, printed

    async def send(self, message: dict[str, Any]) -> None:
        """Send a message, unless the process is gone; then `receive` says so."""
        with suppress(ConnectionError, OSError):
            assert self._process.stdin is not None
            self._process.stdin.write((json.dumps(message) + "\n").encode())
            await self._process.stdin.drain()

    async def receive(self) -> dict[str, Any] | None:
        """The next message; None once the process is gone."""
        assert self._process.stdout is not None
        with suppress(ConnectionError, ValueError):
            line = await self._process.stdout.readline()
            if line.endswith(b"\n"):
                message: dict[str, Any] = json.loads(line)
                return message
        return None

    async def close(self) -> str:
        """Wait until the process has ended, or end it; how it ended."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(END_WAIT):
                code = await self._process.wait()
        except TimeoutError:
            await self.kill()
            code = await self._process.wait()
        await self._let_go()
        return f"exit code {code}{_last_lines(self._printed)}"

    async def kill(self) -> None:
        """End the process at once."""
        with suppress(ProcessLookupError):
            self._process.kill()
        try:
            await self._process.wait()
        finally:  # another worker's error may call this off too
            await self._let_go()

    async def _let_go(self) -> None:
        """Close the pipes while the loop runs: asyncio would at collection, when it may be closed."""
        transport: Any = vars(self._process)["_transport"]
        transport.close()
        await asyncio.sleep(0)


class Local:
    """Starts shards as processes of this machine.

    Args:
        folder: where what they print is kept.
    """

    same_file = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def start(self, task: ShardTask) -> LocalShard:
        """Start a process.

        Raises:
            RunError: the system refuses.
            ConfigError: the work cannot be sent there.
        """
        pickled = dumps((list(sys.path), dumps(task)))
        self._folder.mkdir(parents=True, exist_ok=True)
        printed = self._folder / f"{task.number:04d}.log"
        try:
            with printed.open("ab") as errors:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    f"{__package__}.process",
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    start_new_session=True,  # Ctrl-C is for the driver
                    limit=LINE_LIMIT,
                )
        except OSError as error:
            raise RunError(f"worker {task.number} cannot be started: {error.strerror}") from error
        shard = LocalShard(process, printed)
        assert process.stdin is not None
        try:
            with suppress(ConnectionError):
                process.stdin.write(HEADER.pack(len(pickled)) + pickled)
                await process.stdin.drain()
        except BaseException:
            await shard.kill()
            raise
        return shard

    def default_workers(self) -> int:
        """One for each core of this machine."""
        return os.cpu_count() or 1

    async def end(self) -> None:
        """Nothing is left behind here."""


def _last_lines(printed: Path) -> str:
    try:
        lines = printed.read_text("utf-8", "replace").splitlines()[-LAST_LINES:]
    except OSError:
        return ""
    return "".join(f"\n  {line}" for line in lines)
