"""A shard as a process that a driver started: `python -m warmline.core.shards.process`.

What it does comes pickled on standard input, before one line of JSON for each message of the driver;
its own messages are lines on standard output. What libraries print goes to standard error. When the
driver is gone, so that standard input ends, the shard drops what is open and ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import struct
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from .passing import error_text, loads
from .shard import ShardTask, run_shard
from .work import Made

HEADER = struct.Struct(">Q")
LINE_LIMIT = 1 << 26
TELL_AFTER = 0.05
"""Seconds for which facts are collected before they are told."""


class PipeChannel:
    """The connection with the driver; see `shard.Channel`."""

    def __init__(self, target: int) -> None:
        self.stopping = asyncio.Event()
        self._target = target
        self._answer: asyncio.Future[list[int]] | None = None
        self._facts: list[list[Any]] = []
        self._telling: asyncio.TimerHandle | None = None

    async def lease(self, wanted: int) -> Sequence[int]:
        self._answer = asyncio.get_running_loop().create_future()
        self.tell()
        self.send({"ask": wanted})
        return await self._answer

    def done(self, unit: int, made: Made) -> None:
        self._facts.append([unit, made.name, made.end, made.failed, made.crashed, made.tokens])
        if self._telling is None:
            self._telling = asyncio.get_running_loop().call_later(TELL_AFTER, self.tell)

    def tell(self) -> None:
        """Tell the driver what is finished."""
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        if self._facts:
            self.send({"done": self._facts})
            self._facts = []

    def send(self, message: dict[str, Any]) -> None:
        """One message to the driver."""
        line = memoryview((json.dumps(message) + "\n").encode())
        while line:
            line = line[os.write(self._target, line) :]

    def take(self, message: dict[str, Any]) -> None:
        """One message of the driver."""
        if message.get("stop"):
            self.stopping.set()
        if "lease" in message and self._answer is not None and not self._answer.done():
            self._answer.set_result(message["lease"])


async def _serve(task: ShardTask, channel: PipeChannel) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LINE_LIMIT)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    playing = asyncio.create_task(run_shard(task, channel))

    async def listen() -> None:
        while line := await reader.readline():
            channel.take(json.loads(line))
        playing.cancel()  # the driver is gone

    listening = asyncio.create_task(listen())
    try:
        await playing
    finally:
        listening.cancel()
    channel.tell()
    channel.send({"ended": True})


def main() -> int:
    """Run the shard that standard input describes; the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver decides what Ctrl-C means
    target = os.dup(1)
    os.dup2(2, 1)
    source = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115 - not a path
    (size,) = HEADER.unpack(_exactly(source, HEADER.size))
    sys.path[:], pickled = loads(_exactly(source, size))

    async def work() -> int:
        channel = PipeChannel(target)
        try:
            await _serve(loads(pickled), channel)
        except asyncio.CancelledError:
            return 1
        except Exception as error:  # noqa: BLE001 - the driver raises it
            with suppress(OSError):
                channel.tell()
                channel.send({"failed": error_text(error)})
            return 1
        return 0

    try:
        return asyncio.run(work())
    except BrokenPipeError:  # the driver is gone
        return 1


def _exactly(source: Any, size: int) -> bytes:
    parts = []
    while size > 0:
        if not (part := source.read(min(size, 1 << 20))):
            raise SystemExit(1)
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


if __name__ == "__main__":
    sys.exit(main())
