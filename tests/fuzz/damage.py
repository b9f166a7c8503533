"""Records and files in which something is wrong."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import strategies as st

from .texts import TEXTS

DEEP: Any = json.loads("[" * 150 + "]" * 150)
ODD = st.one_of(
    TEXTS,
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from([[], {}, [[]], {"": None}, ["x"], {"x": {"y": []}}, DEEP, -1, 10**400, 1e308, "\x00", "\ud800"]),
)  # fmt: skip
BYTES = [b"", b"\n", b"\r\n", b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"{", b"}", b"[", b'"', b"\\u", b"\\ud83d", b",",
         b"\xef\xbb\xbf", b"\x1f\x8b", b"1" * 5000, b"[" * 3000, b"null", b"NaN", b"\x85", b"\xe2\x80\xa8"]  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn, record: Any) -> Any:
    """A record of which up to three places hold something else, are missing or stand twice."""
    changed = copy.deepcopy(record)
    for _ in range(draw(st.integers(0, 3))):
        place, key = draw(st.sampled_from(_places(changed) or [([], None)]))
        if key is None:
            continue
        how = draw(st.sampled_from(["odd", "odd", "remove", "more"]))
        if how == "odd":
            place[key] = copy.deepcopy(draw(ODD))
        elif how == "remove":
            del place[key]
        elif isinstance(place, dict):
            place[draw(TEXTS)] = copy.deepcopy(draw(ODD))
        else:
            place.insert(key, copy.deepcopy(draw(ODD)))
    return changed


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every place in plain data, as its container and key."""
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        here = waiting.pop()
        items = here.items() if isinstance(here, dict) else enumerate(here)
        for key, inner in items:
            found.append((here, key))
            if isinstance(inner, dict | list):
                waiting.append(inner)
    return found


@st.composite
def damaged_file(draw: st.DrawFn, records: list[Any], *, as_array: bool = False) -> bytes:
    """JSON lines (or one array) of damaged records, of which a few bytes are damaged as well."""
    written = [
        json.dumps(draw(damaged(record)), ensure_ascii=draw(st.booleans())) for record in records
    ]
    text = f"[{','.join(written)}]" if as_array else "".join(line + "\n" for line in written)
    content = text.encode("utf-8", "surrogatepass")
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(content)))
        until = draw(st.sampled_from([at, at, at + 1, at + 9, len(content)]))
        content = content[:at] + draw(st.sampled_from(BYTES)) + content[until:]
    return content
