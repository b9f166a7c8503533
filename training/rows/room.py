"""How long a row may be: the user's limit, and the positions of the model.

An encoder-decoder has its positions twice, once for the prompt and once for the reply; all other
models have them once for both.
"""

from __future__ import annotations

from dataclasses import dataclass

from .settings import TurnRowSettings


@dataclass(frozen=True, slots=True)
class Room:
    """Room of one row, in tokens.

    Attributes:
        tokens: of prompt and reply together, as the settings say.
        positions: of the model.
        answer: kept free for an answer that is not there yet.
    """

    tokens: int
    positions: int
    answer: int = 0

    @property
    def longest(self) -> int:
        """Most tokens of prompt and reply together, in a model that has its positions once."""
        return min(self.tokens, self.positions) - self.answer

    def fault(self, prompt: int, reply: int, *, apart: bool) -> str | None:
        """Why a row does not fit; None where it does.

        Args:
            prompt, reply: tokens of each.
            apart: whether an encoder reads the prompt and a decoder writes the reply.
        """
        most = self.tokens - self.answer if apart else self.longest
        if prompt + reply > most:
            return f"{prompt + reply} tokens, at most {most}"
        if apart and prompt > self.positions:
            return f"{prompt} tokens of prompt, at most {self.positions}"
        if apart and max(reply, self.answer) > self.positions:
            return f"{max(reply, self.answer)} tokens of reply, at most {self.positions}"
        return None

    def hint(self, settings: TurnRowSettings) -> str:
        """What to change where too much does not fit."""
        ways = [] if settings.short else ["short = true has a prompt of about 55 tokens"]
        shown = settings.window
        ways += [f"lower history_window, which is {shown}"] if shown > 1 else []
        if self.tokens < self.positions:
            ways = ["raise max_tokens", *ways]
        kept = f", of which {self.answer} are kept for a candidate" if self.answer else ""
        limit = min(self.tokens, self.positions)
        return f"rows have {limit} tokens here{kept}: " + "; or ".join(
            ways or ["take another model"]
        )
