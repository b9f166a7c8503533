"""Text from outside: made storable where it is read, and harmless where it is shown.

Models, servers and files can bring anything: halves of characters that UTF-8 cannot hold, and control
characters that a terminal obeys (clipboard, title, clear screen) or that reverse what is read.
`clean_text` is applied where replies, errors and logs are read, `printable` where text is printed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

_SURROGATE = re.compile("[\ud800-\udfff]")
_UNPRINTABLE = {
    **{code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"},
    0x7F: 0x2421,
    **dict.fromkeys((*range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)), 0xFFFD),
    **dict.fromkeys(range(0xD800, 0xE000), 0xFFFD),
}
_SUSPECT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""The keys of `_UNPRINTABLE`; a search is faster than a translation."""


_SHAPELESS = frozenset({"Cc", "Cf", "Cs", "Zs", "Zl", "Zp"})


def clean_text(text: str) -> str:
    """`text` as UTF-8 can hold it: two halves of a character are joined, a lone half is U+FFFD."""
    if text.isascii() or _SURROGATE.search(text) is None:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def is_blank(text: str) -> bool:
    """Whether a reader would see nothing: white space, and characters without a shape of their own."""
    if text.isascii():
        return not text.strip()
    return all(unicodedata.category(char) in _SHAPELESS for char in text)


def clean_data(value: Any) -> Any:
    """Plain data with `clean_text` applied to every text and key in it."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, Mapping):
        return {clean_data(key): clean_data(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [clean_data(part) for part in value]
    return value


def printable(text: str) -> str:
    """`text` that no terminal obeys, of the same length.

    Control characters but line break and tab are shown as their symbols (ESC as U+241B); those of
    the C1 block, those that override the direction of writing, and halves of characters as U+FFFD.
    """
    return text.translate(_UNPRINTABLE) if _SUSPECT.search(text) else text
