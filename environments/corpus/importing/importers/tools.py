"""What other simulators write: SDialog's dialogues and PatientHub's sessions.

Both know who the seeker is to be, so that is read too: a situation, and the profile as one text. Read
from the formats of SDialog 0.3 to 0.6 and of PatientHub's repository in 2026.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from .....agents.roles import Role
from .base import BrokenRecord, Recorded, Turn, as_object, items, require, rest_of, text_of
from .mappings import role_of

SIDES = {
    **dict.fromkeys(("caller", "customer", "pupil", "student"), Role.SEEKER),
    **dict.fromkeys(
        ("doctor", "practitioner", "psychologist", "psychiatrist", "nurse", "coach", "agent"),
        Role.SUPPORTER,
    ),
}
"""Further words of personas for the two sides, beside those of every format."""
ABOUT_THE_SEEKER = ("circumstances", "background")
"""Of an SDialog persona, what tells a situation where the dialogue's scenario does not."""


def sdialog(record: Any) -> Recorded:
    """SDialog's `Dialog`: `turns` of `speaker` and `text`, with `personas` by speaker.

    Who the seeker is follows from the speakers' names or their personas' `role`; one side is enough,
    as there are two. `events` are left out: they repeat the turns and hold instructions to models.
    """
    record = as_object(record)
    said = items(record, "turns")
    names = list(dict.fromkeys(text_of(turn, "speaker") for turn in said))
    personas = record.get("personas")
    known: Mapping[str, Any] = personas if isinstance(personas, Mapping) else {}
    sides = _sides(names, known)
    turns = []
    for number, turn in enumerate(said):
        require(isinstance(turn.get("text"), str), "no text", field=f"turns[{number}].text")
        turns.append(Turn(sides[text_of(turn, "speaker")].value, turn["text"]))
    who = next((name for name, side in sides.items() if side is Role.SEEKER), "")
    persona = known.get(who)
    about: Mapping[str, Any] = persona if isinstance(persona, Mapping) else {}
    told = text_of(record, "scenario") or next(
        (text for name in ABOUT_THE_SEEKER if (text := text_of(about, name))), ""
    )
    return Recorded(
        tuple(turns),
        situation=told,
        annotations=rest_of(record, "turns", "events"),
        profile=in_words(about),
    )


def patienthub(record: Any) -> Recorded:
    """PatientHub's session: `messages` of `client` and `therapist`, and the client's `profile`."""
    record = as_object(record)
    about = record.get("profile")
    if not isinstance(about, Mapping):
        raise BrokenRecord("a session has the client's profile, an object", field="profile")
    turns = []
    for number, turn in enumerate(items(record, "messages")):
        role = text_of(turn, "role").strip().lower()
        require(
            role in ("client", "therapist"),
            f"'client' or 'therapist' is expected, not {role!r}",
            field=f"messages[{number}].role",
        )
        content = turn.get("content")
        turns.append(Turn(role, content if isinstance(content, str) else None))
    return Recorded(
        tuple(turns),
        situation=text_of(about, "situation"),
        annotations=rest_of(record, "messages"),
        profile=in_words(about),
    )


def _sides(names: list[str], personas: Mapping[str, Any]) -> dict[str, Role]:
    """Which of two speakers is the seeker.

    Raises:
        BrokenRecord: not two speakers, or nothing tells which is which.
    """
    require(len(names) == 2, f"two speakers are expected, not {len(names)}", field="turns")
    found = {name: _side(name, personas.get(name)) for name in names}
    first, second = names
    other = {Role.SEEKER: Role.SUPPORTER, Role.SUPPORTER: Role.SEEKER}
    for name, partner in ((first, second), (second, first)):
        if found[name] is None and (side := found[partner]) is not None:
            found[name] = other[side]
    sides = {name: side for name, side in found.items() if side is not None}
    require(
        len(set(sides.values())) == 2,
        f"nothing tells which of {first!r} and {second!r} seeks support: a persona's role may say it"
        " (patient, client, therapist, counselor, ...)",
        field="personas",
    )
    return sides


def _side(name: str, persona: Any) -> Role | None:
    role = persona.get("role") if isinstance(persona, Mapping) else None
    for words in (role if isinstance(role, str) else "", name):
        for word in re.findall(r"[^\W\d_]+", words.lower()):
            if (side := role_of(word) or SIDES.get(word)) is not None:
                return side
    return None


def in_words(about: Mapping[str, Any]) -> str:
    """A persona or profile as one text: every field that says something, by its name.

    Objects within objects and lists are named by their way: `deep a b` for `{"deep": {"a": [{"b": …`.
    """
    return "; ".join(f"{name}: {text}" for name, text in _told(about))


def _told(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _told(part, " ".join(f"{name} {key}".replace("_", " ").split()))
        return
    parts = value if isinstance(value, list) else [value]
    kept = [" ".join(str(part).split()) for part in parts if isinstance(part, str | int | float)]
    if text := ", ".join(filter(None, kept)):
        yield name, text
    for part in parts:
        if isinstance(part, Mapping | list):
            yield from _told(part, name)
