"""Persona contradiction: the seeker's statements against the profile and earlier statements.

Precise rather than broad: only plain first-person statements of age, name, gender and occupation
count, in English and (age, name, gender) Chinese; what cannot be compared is not a contradiction.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from .....agents.roles import Role
from ....episodes.episode import Episode
from ....scenarios.scenario import Profile, Scenario
from ...tags import Finding
from .base import RecordFilter, excerpt, said_by
from .text import content_words, tokens

_AGE = re.compile(
    r"\bi(?:'m| am)(?: only| just| already| currently| now| a| an)*[ -]"
    r"(\d{2})(?:[ -]?(?:years?|yrs?)[ -]old|[ -]?y/?o\b|(?= ?(?:f|m|female|male)\b)|(?= and (?!\d))|\s*[.!,;]|\s*$)"
    r"|我(?:今年|现在|已经|才)+(\d{2})岁|我(\d{2})岁了?(?=[，。,.!！]|$)"
)
_NAME = re.compile(
    r"(?:\b(?i:my name is|my name's)|(?:^|[.!?,] ?|\b(?i:you can|please|just) )(?i:call me))"
    r" ((?:[A-Z][\w'’-]+)(?: [A-Z][\w'’-]+)?)(?=[\s.,!?;]|$)"
)
_MEN = "man|guy|boy|father|dad|husband|gentleman|widower|male|grandfather|grandpa"
_WOMEN = "woman|girl|mother|mom|mum|wife|lady|widow|female|grandmother|grandma"
_KIND = (
    r"(?:\d{2}[ -](?:years?[ -]old )?)?(?:young |old(?:er)? |middle-aged |single |married |divorced |black"
    r" |white |gay |straight |trans |working |new |stay-at-home |retired |grown )*"
)
_PERSON = rf"an? {_KIND}(?:({_MEN})|({_WOMEN}))(?! (?:hen|figure|of my word)\b)"
_GENDER = re.compile(
    rf"\b(?:i'm|i am) {_PERSON}(?=[\s.,!?;]|$)|(?:^|[.!?] )as {_PERSON},? (?=i\b|i'|my\b)"
)
_HAN_GENDER = re.compile(r"我是(?:一个|一名|个)?(男|女)(?:生|人|的|孩子?|性|大学生|学生)")
_WORK = re.compile(
    r"\b(?:i work(?:ed)? as|i'm working as|i am working as|my job is as|i'm employed as|i am employed as)"
    r" (?:an?|the) ([\w' -]{3,40}?)(?=[.,!?;:]| (?:at|in|for|and|but|so|with|on|from|here|since|who|where|which"
    r"|now|while|because)\b|$)"
)
_NOT_PLAIN = re.compile(
    r"\b(?:when|until|till|by the time|before|if|once|since|wish|imagine|imagined|thought|think|thinks"
    r"|feel|feels|like|pretend|pretended|says?|said|told|dreamed)\b[^.!?;]{0,25}$"
)
"""Words before a statement that make it about the past, a wish, a comparison or a quotation."""
_GENDERS = {
    **dict.fromkeys(["male", "man", "boy", "m", "男", "男性"], "male"),
    **dict.fromkeys(["female", "woman", "girl", "f", "女", "女性"], "female"),
}
_PROFILE_AGE = re.compile(r"(?<!\d)(\d{2})(?:[ -]year|[ -]?y/?o|岁|(?=\s*[,，.;]|\s*$))")

Fact = Literal["age", "name", "gender", "occupation"]


@dataclass(frozen=True, slots=True)
class Statement:
    """A plain statement of a speaker about themself."""

    fact: Fact
    value: str
    words: str


def statements(text: str) -> list[Statement]:
    """Plain first-person statements in an utterance, about the present only."""
    straight = " ".join(text.replace("’", "'").split())
    low = straight.lower()
    found: list[Statement] = []

    def add(fact: Fact, match: re.Match[str], value: str) -> None:
        if not _NOT_PLAIN.search(low[: match.start()]):
            found.append(Statement(fact, value, match.group().strip()))

    for match in _AGE.finditer(low):
        add("age", match, next(filter(None, match.groups())))
    for match in _NAME.finditer(straight):
        add("name", match, match.group(1))
    for match in _GENDER.finditer(low):
        add("gender", match, "male" if match.group(1) or match.group(3) else "female")
    for match in _HAN_GENDER.finditer(low):
        add("gender", match, _GENDERS[match.group(1)])
    for match in _WORK.finditer(low):
        if not match.group().startswith("i worked"):
            add("occupation", match, match.group(1))
    return found


def known_of(scenario: Scenario) -> dict[Fact, str]:
    """The facts that a profile states; of one written as a sentence, only a single age."""
    profile = scenario.profile
    known: dict[Fact, str] = {}
    if isinstance(profile, Profile):
        if profile.age is not None:
            known["age"] = str(profile.age)
        if gender := _GENDERS.get(profile.gender.strip().lower()):
            known["gender"] = gender
        known |= {"name": profile.name} if profile.name else {}
        known |= {"occupation": profile.occupation} if profile.occupation else {}
        sentence = profile.text
    else:
        sentence = profile
    ages = _PROFILE_AGE.findall(sentence)
    if "age" not in known and len(ages) == 1:
        known["age"] = ages[0]
    return known


class PersonaContradiction(RecordFilter):
    """Drops episodes whose seeker states another age, name or gender than the profile's.

    Another occupation is flagged only: people call their work by many names. Without a profile, two
    statements of the seeker are compared.
    """

    name: ClassVar[str] = "persona"

    years: Annotated[int, Field(ge=0)] = Field(
        1, description="years by which a stated age may differ"
    )

    def examine(self, episode: Episode) -> tuple[Finding, ...]:
        known = known_of(episode.scenario)
        found: list[Finding] = []
        stated: dict[Fact, str] = {}
        for index, utterance in said_by(episode, Role.SEEKER):
            for said in statements(utterance.text):
                if said.fact in known:
                    against, what = known[said.fact], "contradicts the profile"
                elif said.fact in stated:
                    against, what = stated[said.fact], "contradicts itself"
                else:
                    stated[said.fact] = said.value
                    continue
                if not self.agree(said.fact, said.value, against):
                    make = self.flag if said.fact == "occupation" else self.drop
                    found.append(make(f"{said.fact} {what}", index, excerpt(said.words)))
        return tuple(found)

    def agree(self, fact: Fact, said: str, known: str) -> bool:
        """Whether a statement can stand beside what is known."""
        if fact == "age":
            return abs(int(said) - int(known)) <= self.years
        if fact == "gender":
            return said == known
        if fact == "name":
            mine, theirs = tokens(said), tokens(known)
            return any(a.startswith(b[:3]) or b.startswith(a[:3]) for a in mine for b in theirs)
        mine, theirs = content_words(said), content_words(known)
        return not mine or any(a[:5] == b[:5] for a in mine for b in theirs)
