"""The policies that wrote the stored records, and that answer where a run is resumed.

They are named by import string, such as `tests.stored.script:talking`, so the names of this module
and of its functions are part of the records' identity and must stay.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass, field

from warmline import Request, ScriptedPolicy
from warmline.core.errors import AuthenticationFailed, BadRequest

WORDS = ("rent", "train", "garden", "kitchen", "letter", "choir", "bakery", "winter")
PLACES = ("Ghent, Belgium", "Porto, Portugal", "Pune, India")
TIMES = ("On Tuesday", "Last winter", "Two weeks ago", "In March", "Yesterday")
DEEDS = ("sold", "painted over", "gave away", "stopped calling about", "wrote a book on")
ACTS = (
    "stood in the rain", "counted tiles", "folded shirts", "walked by the canal", "sat in the car",
)  # fmt: skip
NAMES = ("Ana", "Bo", "Cem", "Dora", "Emil", "Fay")


@dataclass
class Desk:
    """What was asked, and when the script stops answering.

    Attributes:
        asked: role, session, seed and last message of every answered request.
        left: answers until a fatal error; None for no end.
        failing: beginnings of sessions whose requests are refused.
    """

    asked: list[tuple[str, str, int | None, str]] = field(default_factory=list)
    left: int | None = None
    failing: tuple[str, ...] = ()

    def reset(self, left: int | None = None, failing: Iterable[str] = ()) -> None:
        """Forget what was asked, and answer so many more."""
        self.asked.clear()
        self.left, self.failing = left, tuple(failing)


DESK = Desk()


def answer(request: Request) -> str:
    """An answer by the request's role, form and seed alone."""
    if request.session.startswith(DESK.failing or ("\0",)):
        raise BadRequest("refused by the script")
    if DESK.left is not None:
        if DESK.left == 0:
            raise AuthenticationFailed("the script is used up")
        DESK.left -= 1
    DESK.asked.append((request.role, request.session, request.seed, request.messages[-1].content))
    draw = random.Random(request.seed)
    if request.choices:
        return _choice(request, draw)
    if request.schema is not None:
        return json.dumps(_record(request.schema["properties"], draw))
    if request.role == "generator":
        return _situation(draw)
    return f"{'I think of' if request.role == 'seeker' else 'What about'} the {_words(draw, 3)}."


def _choice(request: Request, draw: random.Random) -> str:
    options = request.choices or ()
    if request.role == "judger":
        return "NO"
    if request.role == "generator":
        return options[0]
    return draw.choice(options)


def _record(properties: dict[str, dict[str, object]], draw: random.Random) -> dict[str, object]:
    """One value for each property of a schema."""
    made: dict[str, object] = {}
    for name, form in properties.items():
        options = form.get("enum")
        if isinstance(options, list):
            made[name] = draw.choice(options)
        elif form.get("type") == "array":
            made[name] = []
        elif form.get("type") == "integer":
            made[name] = draw.randint(20, 60)
        else:
            made[name] = _text(name, draw)
    return made


def _text(name: str, draw: random.Random) -> str:
    if name == "name":
        return f"{draw.choice(NAMES)} {draw.choice(NAMES)}son"
    if name == "location":
        return draw.choice(PLACES)
    if name == "gender":
        return draw.choice(("female", "male"))
    if name == "reply":
        return f"Your {_words(draw, 2)} weighs on you."
    return f"about the {_words(draw, 2)}"


def _words(draw: random.Random, count: int) -> str:
    return " ".join(draw.sample(WORDS, count))


def _situation(draw: random.Random) -> str:
    """One that the checks keep, with other words for another seed; every fourth is too short."""
    if draw.random() < 0.25:
        return "A short one."
    rare = " ".join("".join(draw.choices("abdegiklmnoprstu", k=6)) for _ in range(6))
    return (
        f"{draw.choice(TIMES)} {draw.choice(NAMES)} {draw.choice(DEEDS)} my {_words(draw, 1)} while"
        f" I {draw.choice(ACTS)}. Now I {draw.choice(ACTS)} alone, thinking of {rare}."
    )


def talking() -> ScriptedPolicy:
    """Every seat."""
    return ScriptedPolicy(answer, record=False)


def judging() -> ScriptedPolicy:
    """A judge."""
    return ScriptedPolicy(answer, record=False)


def plain() -> ScriptedPolicy:
    """Another supporter."""
    return ScriptedPolicy(["I see.", "Go on."], record=False)
