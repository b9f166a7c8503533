"""Profiles put together from small lists by seeded choice, for models too weak to invent a person.

Used only with the setting `profile = "drawn"`, and every scenario records it. The lists
are ours; a name is drawn together with a gender it often goes with, which is not a statement about
people.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

from ...scenarios.scenario import Profile
from .coverage import age_limits

_NAMES = {
    "female": "Amara Obi, Ines Duarte, Mei Tan, Katarzyna Wilk, Leila Haddad, Ruth Okafor, Sofia Lund,"
    " Priya Nair, Hannah Berg, Rosa Medina, Yuki Arai, Fatima Zahra, Clare Donnelly, Anouk Visser",
    "male": "Tomas Novak, Kwame Boateng, Diego Rojas, Arjun Mehta, Liam Byrne, Omar Farouk, Jonas Keller,"
    " Wei Zhang, Mateus Alves, Pavel Horak, Samir Aziz, Eetu Laine, Marcus Hill, Minh Vo",
    "non-binary": "Robin Achterberg, Sasha Moreau, Kai Lindqvist, Noor Rahman, Alex Pereira, Remi Okoro",
}
_OCCUPATIONS = (
    (17, "pupil at a secondary school, pupil who plays in the school band, pupil in the last year"),
    (
        24,
        "student of biology, apprentice electrician, student of law, barista, student of design,"
        " nursing student, shop assistant",
    ),
    (
        66,
        "bus driver, primary school teacher, nurse, carpenter, accountant, cook, software tester,"
        " hairdresser, warehouse worker, social worker, farmer, call centre agent, librarian, welder",
    ),
    (130, "retired postman, retired teacher, retired seamstress, retired engineer, retired gardener"),
)  # fmt: skip
_PLACES = (
    "Porto, Portugal; Leeds, England; Cork, Ireland; Lagos, Nigeria; Pune, India; Gdansk, Poland;"
    " Rosario, Argentina; Hamilton, Canada; Tampere, Finland; Penang, Malaysia; Dayton, Ohio;"
    " Izmir, Turkey; Ghent, Belgium; Accra, Ghana; Perth, Australia; Valparaiso, Chile"
)
_TRAITS = (
    "punctual, blunt at times, shy with strangers, quick to laugh, stubborn, careful with money,"
    " easily distracted, proud of small repairs, patient with animals, talks fast when nervous"
)
_HOBBIES = (
    "grows tomatoes on a balcony, plays chess online, sings in a choir, swims before work, bakes bread,"
    " collects old postcards, mends bicycles, reads crime novels, watches birds, knits"
)


def draw_profile(key: str, required: Mapping[str, str] | None = None) -> Profile:
    """A profile, the same for the same `key`.

    Args:
        key: of the random choice.
        required: values that must hold, by field; ages as bands.
    """
    wanted = dict(required or {})
    draw = random.Random(key)  # noqa: S311 - not cryptography
    low, high = age_limits(wanted.pop("age", "18-74"))
    age = draw.randint(low, high)
    gender = wanted.get("gender") or draw.choice(list(_NAMES))
    names = _NAMES.get(gender.casefold()) or ", ".join(_NAMES.values())
    jobs = next(jobs for oldest, jobs in _OCCUPATIONS if age <= oldest)
    drawn = {
        "name": draw.choice(names.split(", ")),
        "gender": gender,
        "occupation": draw.choice(jobs.split(", ")),
        "location": draw.choice(_PLACES.split("; ")),
        "traits": f"{draw.choice(_TRAITS.split(', '))}, {draw.choice(_HOBBIES.split(', '))}",
    }
    return Profile(age=age, **{**drawn, **wanted})
