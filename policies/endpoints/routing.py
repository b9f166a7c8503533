"""Which of several servers a request goes to: sticky by session, as long as the loads are even.

Staying keeps the prefix cache, and is all that counts while there is room. Where one server has
much more to do than another, its queue costs more than a prompt that is computed anew, and the
session moves, to stay there from then on.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence

FACTOR = 1.5
"""A session stays while its server's load is at most this many times that of the least loaded …"""

SPARE = 4.0
"""… and this many requests: at low loads, moving costs a cache and gains nothing."""

SESSIONS = 100_000
"""Sessions remembered; of more, those that asked longest ago are forgotten, which costs their next
request a cache and nothing else."""


class Router:
    """Remembers where each session was answered. Belongs to one event loop.

    Args:
        factor, spare: see `FACTOR` and `SPARE`.
        sessions: how many are remembered.
    """

    def __init__(
        self, *, factor: float = FACTOR, spare: float = SPARE, sessions: int = SESSIONS
    ) -> None:
        self._factor, self._spare, self._most = factor, spare, sessions
        self._seats: OrderedDict[str, str] = OrderedDict()

    def seat(self, session: str) -> str | None:
        """Where a session was sent last; None where it was nowhere, or that is forgotten."""
        return self._seats.get(session)

    def choose(self, session: str, among: Sequence[str], load: Callable[[str], float]) -> str:
        """Where the session's next request goes.

        Args:
            session: empty for a request that belongs to none, which goes to the least loaded.
            among: servers that can be asked, at least one.
            load: requests that a server has now, in flight and waiting.
        """
        loads = {server: load(server) for server in among}
        least = min(loads.values())
        chosen = self._seats.get(session)
        if chosen not in loads or loads[chosen] > self._factor * least + self._spare:
            idlest = [server for server in among if loads[server] <= least]
            # by a hash that needs no memory: another process, or a resumed run, takes the same
            chosen = max(idlest, key=lambda server: _rank(session, server))
        if session:
            self._seats[session] = chosen
            self._seats.move_to_end(session)
            if len(self._seats) > self._most:
                self._seats.popitem(last=False)
        return chosen


def _rank(session: str, server: str) -> bytes:
    """Rendezvous hashing (Thaler and Ravishankar, 1998)."""
    text = f"{session}\n{server}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=8).digest()
