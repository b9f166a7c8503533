"""How tokens were drawn in the papers, by the name of a preset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

DECODINGS: Mapping[str, Mapping[str, Any]] = {
    "self-evolution": {
        "temperature": 0.9,
        "top_p": 0.8,
        "top_k": 50,
        "repetition_penalty": 1.2,
    },
    "fpemf": {"temperature": 0.7, "top_p": 0.9, "max_tokens": 40},
}
"""`self-evolution`: Self-Evolution §3.2, for generation and evaluation alike. `fpemf`: that paper
states its beams and no sampling; these are the figures of the code of its predecessor (Muffin, Findings
of ACL 2024) and of ESConv's (Liu et al. 2021), for samples and evaluation."""


def decoded_seats(data: Mapping[str, Any], seats: Iterable[str]) -> dict[str, Any]:
    """Settings whose supporters draw as the preset says; what is given for a seat or for all of them
    counts before it.

    Args:
        data: as they are given, with `preset`.
        seats: the fields of supporters.
    """
    how = DECODINGS.get(str(data.get("preset")), {})
    own = {name: value for name, value in how.items() if data.get(name) is None}
    found = dict(data)
    for seat in seats if own else ():
        given = data.get(seat, {})
        if isinstance(given, BaseModel):
            given = given.model_dump(exclude_unset=True)
        if isinstance(given, Mapping):  # else it is refused with the other fields
            found[seat] = own | {k: v for k, v in given.items() if v is not None}
    return found
