"""A scripted writer of situations, profiles and conversations, for the tests of building."""

from __future__ import annotations

import asyncio
import json
import random

from warmline import Request, ScriptedPolicy

PEOPLE = (
    "my sister",
    "our neighbour",
    "my landlord",
    "an old teacher",
    "the night nurse",
    "my son",
)
DEEDS = ("sold the piano", "moved out", "stopped answering", "read my letters", "lost the keys",
         "painted over the window", "called the school", "gave away the dog")  # fmt: skip
TIMES = ("On Tuesday", "Last winter", "Two weeks ago", "In March", "Yesterday", "On her birthday")
ENDS = ("and nobody told me why", "while I stood in the rain", "before supper was on the table",
        "because the bus was late", "and the kitchen went quiet", "so the trip was called off")  # fmt: skip
FEELS = ("walk the canal until dark", "count the tiles above the stove", "leave the radio on all night",
         "fold the same shirts twice", "skip the choir", "sit in the parked car")  # fmt: skip
NAMES = ("Ana", "Bo", "Cem", "Dora", "Emil", "Fay", "Gus", "Hana", "Ivo", "Jun")


def situation(seed: int) -> str:
    """A situation that passes the checks; with other words for another seed."""
    draw = random.Random(seed)
    made_up = " ".join("".join(draw.choices("abdegiklmnoprstu", k=6)) for _ in range(6))
    return (
        f"{draw.choice(TIMES)} {draw.choice(PEOPLE)} {draw.choice(DEEDS)} {draw.choice(ENDS)}."
        f" Now I {draw.choice(FEELS)} and {draw.choice(FEELS)}, thinking of {made_up}."
    )


def profile(seed: int) -> str:
    draw = random.Random(seed)
    return json.dumps(
        {
            "name": f"{draw.choice(NAMES)} {draw.choice(NAMES)}son",
            "age": draw.randint(18, 70),
            "gender": draw.choice(("female", "male")),
            "occupation": draw.choice(("baker", "surveyor", "student of law", "tram driver")),
            "location": draw.choice(("Ghent, Belgium", "Porto, Portugal", "Pune, India")),
            "traits": draw.choice(("blunt, sings alto", "shy, mends radios", "patient, bakes rye")),
        }
    )


def written(request: Request) -> str:
    """What a good generator answers."""
    assert request.seed is not None
    if request.schema is not None:
        return profile(request.seed)
    if request.seed % 5 == 0:
        return "A short one."
    return situation(request.seed)


def said(request: Request) -> str:
    """What the roles of a conversation answer; it ends by itself after the third exchange."""
    draw = random.Random(request.seed)
    turn = getattr(request.observation, "turn", 0)
    if request.choices:
        if request.role == "judger":
            return "YES" if turn >= 3 else "NO"
        return draw.choice(request.choices)
    words = " ".join("".join(draw.choices("abdegiklmnoprstu", k=5)) for _ in range(5))
    return f"The {words} is on my mind." if request.role == "seeker" else f"What is {words} like?"


def answer(request: Request) -> str:
    return written(request) if request.role == "generator" else said(request)


def scripted() -> ScriptedPolicy:
    return ScriptedPolicy(answer)


def slow() -> ScriptedPolicy:
    """Answers after a moment, so that a process can be killed in between."""

    async def later(request: Request) -> str:
        await asyncio.sleep(((request.seed or 0) % 7) / 150)
        return answer(request)

    return ScriptedPolicy(later, record=False)
