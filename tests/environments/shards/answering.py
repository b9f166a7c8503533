"""A policy for a server's process, by import string: it answers after a moment, and counts itself."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import warmline

SLOW = "slow"
"""A file of this name in the folder of counts makes every server slow."""


class Answering:
    """Says the last message's length; each answer is a byte in a file of its process."""

    async def respond(self, request: warmline.Request) -> warmline.Reply:
        counts = Path(os.environ["ANSWERED"])
        await asyncio.sleep(0.5 if (counts / SLOW).exists() else 0.03)
        with (counts / str(os.getpid())).open("a") as file:
            file.write(".")
        return warmline.Reply(text=f"I heard {len(request.messages[-1].content)} letters.")
