"""The grammar that binds an answer to given options."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

Tokeniser = Callable[[str], Awaitable[list[int]]]
"""Turns a text into the ids of the model's tokens."""


async def choice_grammar(options: Sequence[str], tokens: Tokeniser) -> str:
    """The GBNF grammar of exactly these texts, where possible of their usual tokens.

    A grammar of characters would let the model spell an option in letters (`A`, `f`, `f`, ...),
    which it judges by the first letter and finds most unlikely as a whole. Options beyond ASCII are
    still given as characters: this llama.cpp fails where a token ends within one.
    """
    if not all(option.isascii() and option for option in options):
        return "root ::= " + " | ".join(map(_literal, options))
    spelled = [await tokens(option) for option in options]
    return "root ::= " + " | ".join(" ".join(f"<[{t}]>" for t in ids) for ids in spelled)


def _literal(option: str) -> str:
    for plain, escaped in (
        ("\\", "\\\\"),
        ('"', '\\"'),
        ("\n", "\\n"),
        ("\r", "\\r"),
        ("\t", "\\t"),
    ):
        option = option.replace(plain, escaped)
    return f'"{option}"'
