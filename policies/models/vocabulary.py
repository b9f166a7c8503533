"""What a GGUF file says of its vocabulary: its special tokens and its chat template.

Read straight from the header: the `gguf` library makes an object of each of some hundred thousand
strings, which takes three seconds for the small default model and ten for a large vocabulary.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.errors import ConfigError

_FORMATS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_STRING, _ARRAY = 8, 9
_CONTROL, _USER_DEFINED = 3, 4
"""Types of tokens in `tokenizer.ggml.token_type`."""

_TOKENS = "tokenizer.ggml.tokens"
_TYPES = "tokenizer.ggml.token_type"
_TEMPLATE = "tokenizer.chat_template"


@dataclass(frozen=True, slots=True)
class GgufVocabulary:
    """What a model's file says of its tokens.

    Attributes:
        control: special tokens.
        added: tokens that were added to the vocabulary, special or not.
        template: the chat template; empty where the file has none.
    """

    control: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    template: str = ""


def read_gguf_vocabulary(path: Path) -> GgufVocabulary:
    """Read it from a file; a few milliseconds.

    Raises:
        ConfigError: the file's header cannot be read.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            found = _Header(data).read({_TOKENS, _TYPES, _TEMPLATE})
    except (OSError, ValueError, struct.error, KeyError, IndexError) as error:
        raise ConfigError(
            f"the header of {path} cannot be read ({error!r})",
            hint="the file may be damaged or cut off; fetch it again",
        ) from error
    tokens, types = found.get(_TOKENS, []), found.get(_TYPES, [])
    named = list(zip(tokens, types, strict=False))
    return GgufVocabulary(
        tuple(token.decode("utf-8", "replace") for token, kind in named if kind == _CONTROL),
        tuple(token.decode("utf-8", "replace") for token, kind in named if kind == _USER_DEFINED),
        found.get(_TEMPLATE, b"").decode("utf-8", "replace"),
    )


class _Header:
    """A walk over the key-value part of a GGUF file (versions 2 and 3, little-endian)."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data, self._at = data, 8
        self._count = self._number("QQ")[1]

    def read(self, wanted: set[str]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for _ in range(self._count):
            key = self._string().decode("utf-8", "replace")
            kind = self._number("I")[0]
            value = self._value(kind)
            if key in wanted:
                found[key] = value
            if wanted <= found.keys():
                break
        return found

    def _number(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from(f"<{form}", self._data, self._at)
        self._at += struct.calcsize(f"<{form}")
        return values

    def _string(self) -> bytes:
        (length,) = struct.unpack_from("<Q", self._data, self._at)
        begin = self._at + 8
        if begin + length > len(self._data):
            raise ValueError("a string reaches over the end of the file")
        self._at = begin + length
        return self._data[begin : self._at]

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY:
            return self._number(_FORMATS[kind])[0]
        inner, count = self._number("IQ")
        if inner in (_STRING, _ARRAY):
            return [self._value(inner) for _ in range(count)]
        return self._number(f"{count}{_FORMATS[inner]}")
