"""A reply while it is being written: what of it may be shown already, and who waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

LOOK_SECONDS = 0.1
"""How often what an engine has written is looked through anew."""


class Aloud:
    """One reply under way. Belongs to one event loop; `hear` may be called from any thread.

    Attributes:
        shown: what may be shown: whole sentences, looked through together with the one after them.
        held: crisis language was found; nothing more is shown until the reply is whole.
        over: the reply is whole, or failed.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._raw = ""
        self._written = asyncio.Event()
        self._changed = asyncio.Event()
        self.shown, self.held, self.over = "", False, False

    def hear(self, raw: str) -> None:
        """Take all that is written so far."""
        self._raw = raw
        self._loop.call_soon_threadsafe(self._written.set)

    async def follow(self, showable: Callable[[str], str | None]) -> None:
        """Look through what is written, beside the pages, until cancelled.

        Args:
            showable: what of a raw text may be shown; None to hold it back.
        """
        while not self.held:
            await self._written.wait()
            self._written.clear()
            found = await asyncio.to_thread(showable, self._raw)
            if found is None:
                self.held = True
            elif found and found != self.shown:
                self.shown = found
                self._tell()
            await asyncio.sleep(LOOK_SECONDS)

    def end(self) -> None:
        """The reply is whole, or failed."""
        self.over = True
        self._tell()

    async def after(self, seen: str, seconds: float) -> str:
        """What may be shown, once it is not `seen` any more, the reply is over, or time is up."""
        if self.shown == seen and not self.over:
            try:
                await asyncio.wait_for(self._changed.wait(), seconds)
            except TimeoutError:
                return self.shown
        return self.shown

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
