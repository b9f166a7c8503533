"""A policy that cannot be opened, in a module that loads nothing else: workers import it."""

from __future__ import annotations

import warmline
from warmline.core.errors import AuthenticationFailed


class Unready(warmline.ScriptedPolicy):
    """Cannot be opened."""

    async def open(self) -> None:
        raise AuthenticationFailed("no key")
