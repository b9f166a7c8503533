"""Forms: read once, as plain text fields; what is too long is refused, never cut."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import HTTPException, Request

from ....core.outside.text import clean_text

MAX_FIELDS = 300


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form; files are none, and of several of one name the last counts.

    Lines end in a line feed, as people typed them; browsers send two characters.
    """
    async with request.form(max_files=0, max_fields=MAX_FIELDS) as form:
        return {name: _plain(value) for name, value in form.items() if isinstance(value, str)}


def _plain(text: str) -> str:
    return clean_text(text).replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")


def number_of(form: Mapping[str, str], name: str, default: int = -1) -> int:
    """A whole number of a field; `default` where it is none."""
    text = form.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 10 else default


def text_of(form: Mapping[str, str], name: str, most: int) -> str:
    """A text of a field, without space around it.

    Raises:
        HTTPException: 413 for more than `most` characters.
    """
    text = form.get(name, "").strip()
    if len(text) > most:
        raise HTTPException(413)
    return text
