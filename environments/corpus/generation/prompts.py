"""Prompts for a situation and for the person in it, and how the answers are read.

Pure: values in, requests and readings out. `iteration.py` sends them and keeps the pools.

Examples are shown as earlier exchanges of the same chat (FPEMF §3.1.1 shows three, SweetieChat
one), which small models follow better than a list. For small models the answer's first words are
given too.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ....core.record import Record
from ....policies.answers import read_json
from ....policies.base import (
    FinishReason,
    Message,
    Policy,
    Reply,
    Request,
    Sampling,
    capabilities_of,
)
from ....policies.text.sentences import cap_sentences
from ...scenarios.problem_types import category_of, problem_types
from ...scenarios.scenario import Profile, Scenario
from .checks import MIN_WORDS, situation_of
from .coverage import Slot, age_limits
from .similarity import Measure

if TYPE_CHECKING:
    from ....agents.templates import PromptTemplate

ROLE = "generator"
"""Role of these requests; scripted policies can recognise them by it."""

MAX_SENTENCES = 4
"""Sentences kept of a situation, as many as are asked for at most."""

SCENARIO_SAMPLING = Sampling(temperature=0.9, top_p=0.95, max_tokens=200)
PROFILE_SAMPLING = Sampling(temperature=0.9, top_p=0.95, max_tokens=200)

THRESHOLDS: dict[Measure, float] = {"tfidf": 0.5, "minhash": 0.3}
"""Similarity from which two situations count as near-duplicates. The most alike two of the 135
hand-written ones reach 0.23 by TF-IDF; half of a situation copied reaches about 0.5 and 0.3."""

OPENINGS = (
    "Last week my", "Two months ago I", "Since January I", "On Monday my", "My sister told me",
    "Yesterday at work, I", "Three days ago, my", "Last night I", "After the summer I",
    "A month ago my", "On Friday evening I", "This morning my", "Last year I", "When my friend",
)  # fmt: skip
"""First words of a situation, for models that begin with a comment instead."""

_TEMPLATES = Path(__file__).parent / "templates"


class GenerationSettings(Record):
    """How scenarios and profiles are generated and which are kept."""

    panel: ClassVar[str] = "Generation"

    examples: Annotated[int, Field(ge=1)] = Field(
        3, description="seed scenarios shown as examples (FPEMF shows 3, SweetieChat shows 1)"
    )
    min_words: Annotated[int, Field(ge=0)] = Field(
        MIN_WORDS, description="a situation has more words than this"
    )
    attempts: Annotated[int, Field(ge=1)] = Field(
        8, description="situations asked for before a place in the plan is given up"
    )
    profile: Literal["written", "drawn"] = Field(
        "written",
        description="who makes the profile: the policy, or a seeded draw from small lists",
    )
    profile_attempts: Annotated[int, Field(ge=1)] = Field(
        4, description="profiles asked for before the situation is given up"
    )
    near_duplicates: Literal["tfidf", "minhash", "off"] = Field(
        "tfidf", description="how near-duplicates are found: tfidf, minhash or off"
    )
    duplicate_threshold: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None,
        description="similarity from which a situation is a near-duplicate;"
        f" default {THRESHOLDS['tfidf']} for tfidf, {THRESHOLDS['minhash']} for minhash",
    )
    fit: Literal["keywords", "ask", "off"] = Field(
        "keywords", description="how it is checked that a situation fits its problem type"
    )
    fit_margin: Annotated[int, Field(ge=1)] = Field(
        3, description="with keywords: by how many another type must lead to refuse"
    )
    generated_share: Annotated[float, Field(ge=0, le=1)] = Field(
        0.5, description="maximum share of generated ones among the examples shown"
    )
    max_depth: Annotated[int, Field(ge=1)] = Field(
        2, description="maximum length of the chain of generated examples that led to a scenario"
    )
    first_words: bool | None = Field(
        None, description="give the first words of a situation; default: on for small models"
    )
    scenario_template: str | None = Field(None, description="prompt template: path of a file")
    profile_template: str | None = Field(None, description="prompt template: path of a file")

    @property
    def threshold(self) -> float:
        """From which similarity on a situation is a near-duplicate."""
        if self.duplicate_threshold is not None:
            return self.duplicate_threshold
        return THRESHOLDS["minhash" if self.near_duplicates == "minhash" else "tfidf"]


@dataclass(frozen=True)
class Prompts:
    """The two templates, and what of them and the settings decides the requests."""

    scenario: PromptTemplate
    profile: PromptTemplate
    sampling: Sampling

    @classmethod
    def of(cls, settings: GenerationSettings, sampling: Sampling) -> Prompts:
        """The templates that the settings name; the shipped ones by default.

        Raises:
            ConfigError: one that cannot be read.
        """
        from ....agents.templates import PromptTemplate

        return cls(
            PromptTemplate(settings.scenario_template or _TEMPLATES / "scenario.jinja"),
            PromptTemplate(settings.profile_template or _TEMPLATES / "profile.jinja"),
            sampling,
        )

    def describe(self) -> dict[str, Any]:
        """Part of a build's identity."""
        return {
            "scenario_template": self.scenario.sha256,
            "profile_template": self.profile.sha256,
            "sampling": self.sampling.as_dict(),
        }


def _is_small(policy: Policy) -> bool:
    able = capabilities_of(policy)
    return able is not None and able.small_model and able.prefill


def requirement(slot: Slot) -> str:
    """The planned attributes in words: `age 18-29, gender female`."""
    return ", ".join(f"{field} {value}" for field, value in slot.attributes)


# Situations


def scenario_request(
    prompts: Prompts,
    slot: Slot,
    examples: Sequence[Scenario],
    *,
    policy: Policy,
    settings: GenerationSettings,
    seed: int,
) -> Request:
    """The question for a new situation (FPEMF eq. 1-2, SweetieChat eq. 1-2)."""
    values = {
        "problem_type": slot.problem_type,
        "min_words": settings.min_words,
        "requirement": requirement(slot),
    }
    messages = [Message("system", prompts.scenario.render("system"))]
    for number, example in enumerate(examples, 1):
        about = {**values, "problem_type": example.problem_type}
        ask = prompts.scenario.render("ask", number=number, new=False, **about)
        messages += [Message("user", ask), Message("assistant", example.situation)]
    ask = prompts.scenario.render("ask", number=len(examples) + 1, new=True, **values)
    helped = _is_small(policy) if settings.first_words is None else settings.first_words
    return Request(
        messages=(*messages, Message("user", ask)),
        role=ROLE,
        sampling=prompts.sampling.over(SCENARIO_SAMPLING),
        seed=seed,
        max_sentences=MAX_SENTENCES,
        prefill=random.Random(seed).choice(OPENINGS) if helped else "",  # noqa: S311
        session=f"{slot.id}/scenario",
    )


def read_situation(reply: Reply) -> str:
    """The situation in a reply; empty if there is none."""
    complete = reply.finish_reason is not FinishReason.LENGTH
    return cap_sentences(situation_of(reply.text, complete=complete), MAX_SENTENCES)[0]


def fit_request(prompts: Prompts, slot: Slot, situation: str, *, seed: int) -> Request:
    """The question which problem a situation is about: its own, or one of each other category."""
    draw = random.Random(f"{slot.id}/{seed}")  # noqa: S311 - not cryptography
    own = category_of(slot.problem_type)
    others: dict[str, list[str]] = {}
    for kind in problem_types().values():
        if kind.category != own:
            others.setdefault(kind.category, []).append(kind.name)
    options = [slot.problem_type, *(draw.choice(names) for names in others.values())]
    draw.shuffle(options)
    ask = prompts.scenario.render("fits", situation=situation)
    return Request(
        messages=(Message("user", ask),),
        role=ROLE,
        sampling=Sampling(temperature=0.0),
        seed=seed,
        choices=tuple(options),
        session=f"{slot.id}/fit",
    )


# Profiles


def profile_schema(slot: Slot, *, bounded: bool) -> dict[str, Any]:
    """The JSON schema of a profile.

    Args:
        slot: planned attributes become part of it where a schema can express them.
        bounded: also limit lengths and ages, for small models; some servers refuse such keywords.
    """
    lengths = {"name": 40, "gender": 20, "occupation": 60, "location": 50, "traits": 100}
    fields: dict[str, dict[str, Any]] = {
        name: {"type": "string"} | ({"minLength": 3, "maxLength": longest} if bounded else {})
        for name, longest in lengths.items()
    }
    wanted = dict(slot.attributes)
    if "gender" in wanted:
        fields["gender"] = {"type": "string", "enum": [wanted["gender"]]}
    age: dict[str, Any] = {"type": "integer"}
    if bounded:
        age["minimum"], age["maximum"] = age_limits(wanted.get("age", "12-79"))
    order = ("name", "age", "gender", "occupation", "location", "traits")
    return {
        "type": "object",
        "properties": {name: fields.get(name, age) for name in order},
        "required": list(order),
        "additionalProperties": False,
    }


def profile_request(
    prompts: Prompts,
    slot: Slot,
    situation: str,
    example: Scenario | None,
    *,
    policy: Policy,
    seed: int,
) -> Request:
    """The question for a new profile (FPEMF eq. 3); by schema where the engine honours one."""
    messages = [Message("system", prompts.profile.render("system"))]
    if example is not None and isinstance(example.profile, Profile):
        asked = prompts.profile.render(
            "ask",
            problem_type=example.problem_type,
            situation=example.situation,
            requirement="",
        )
        shown = example.profile.model_dump(exclude={"text"})
        answer = json.dumps(shown, ensure_ascii=False)
        messages += [Message("user", asked), Message("assistant", answer)]
    ask = prompts.profile.render(
        "ask",
        problem_type=slot.problem_type,
        situation=situation,
        requirement=requirement(slot),
    )
    able = capabilities_of(policy)
    return Request(
        messages=(*messages, Message("user", ask)),
        role=ROLE,
        sampling=prompts.sampling.over(PROFILE_SAMPLING),
        seed=seed,
        schema=profile_schema(slot, bounded=able.small_model) if able and able.schema else None,
        session=f"{slot.id}/profile",
    )


_OBJECT = re.compile(r"\{[^{}]*\}", re.DOTALL)
_LINE = re.compile(r"\W*+(\w+)(?:\s*+\([^)]*+\))?[^\w:]*+:\s*+(.*\w)")
_OTHER_WORDS = {
    "major": "occupation", "job": "occupation", "profession": "occupation", "study": "occupation",
    "hobbies": "traits", "personality": "traits", "residence": "location", "city": "location",
}  # fmt: skip


def read_profile(text: str) -> Profile | None:
    """The profile in an answer: JSON, also with words around it, or lines `Name: …`; else None.

    Fields under other common names (`major`, `hobbies`) are taken; what there is no field for is
    left out; an age in words around its number counts.
    """
    found = read_json(text, {"type": "object"})
    given: Any = found[1] if found else None
    if given is None and (inside := _OBJECT.search(text)):
        found = read_json(inside.group(), {"type": "object"})
        given = found[1] if found else None
    if given is None:
        given = _lines(text)
    fields = _fields(given)
    return Profile(**fields) if fields.get("name") else None


def _lines(text: str) -> dict[str, str]:
    """The lines `Name: value`, without the marks around them."""
    return {m[1]: m[2] for line in text.splitlines() if (m := _LINE.match(line))}


def _fields(given: Mapping[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for key, answer in given.items():
        name = key.strip().casefold()
        name = _OTHER_WORDS.get(name, name)
        listed = ", ".join(map(str, answer)) if isinstance(answer, list) else str(answer)
        value = " ".join(listed.split()).rstrip(".")
        if name == "age":
            age = re.search(r"\d{1,3}", value)
            fields["age"] = min(int(age.group()), 130) if age else None
        elif name in Profile.model_fields and name != "text" and value:
            fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields
