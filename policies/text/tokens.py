"""How many tokens a text has, where nobody counted them."""

from __future__ import annotations

import math

CHARACTERS_A_TOKEN = 4
"""Usual for English and the tokenizers of current models."""

OTHER_CHARACTERS_A_TOKEN = 1.5
"""Of characters beyond ASCII: about what Chinese takes."""


def estimated_tokens(text: str) -> int:
    """How many tokens a text has, by its characters; 1 at least."""
    if text.isascii():
        return max(1, -(-len(text) // CHARACTERS_A_TOKEN))
    plain = sum(character.isascii() for character in text)
    other = (len(text) - plain) / OTHER_CHARACTERS_A_TOKEN
    return max(1, math.ceil(plain / CHARACTERS_A_TOKEN + other))
