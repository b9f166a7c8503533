"""Persona contradictions: plain statements against the profile, and all that is not a statement."""

from __future__ import annotations

import pytest

from warmline import Profile
from warmline.environments.corpus.cleaning.filters.persona import (
    PersonaContradiction,
    known_of,
    statements,
)
from warmline.environments.corpus.tags import Severity

from .talks import CALM, PROFILE, episode, seeker_says

CONTRADICTIONS = """
I'm 45 years old and still afraid of her.
I am a 19-year-old student.
I'm 52.
I'm only 16 and nobody asks me.
My name is Claudia, by the way.
Call me Brenda.
I'm a single father of two.
I am a man, I should not cry.
As a father, I want peace at home.
I'm a 31 year old guy.
我今年45岁。
我是一个男生。
""".strip().splitlines()

AGREEMENTS = """
I'm 31 years old and still afraid of her.
I just turned older, I'm 32.
My name is Noor.
I'm a woman, and they never let me drive the new line.
As a mother of none, I have time for the piano.
When I was 19 years old I ran away.
My sister is 45 years old.
I'm 45 minutes late every day.
I feel like I'm 80 years old.
He said I am a man without honour.
My boss's name is Claudia.
I'm a father figure to the dogs, people joke.
I'm 100 percent sure.
She treats me like I'm a boy.
I was a girl scout.
If I am a man, then she is a tree.
我今年31岁。
我男朋友是一个男生。
""".strip().splitlines()


def found(line: str, profile: str | Profile = PROFILE) -> list[Severity]:
    return [f.severity for f in PersonaContradiction().examine(seeker_says(line, profile=profile))]


def test_precision_and_recall_against_a_profile() -> None:
    assert [line for line in CONTRADICTIONS if found(line) != [Severity.DROP]] == []
    assert [line for line in AGREEMENTS if found(line)] == []


def test_another_occupation_is_only_flagged() -> None:
    assert found("I work as a nurse at the big hospital.") == [Severity.FLAG]
    assert found("I work as a driver for the city.") == []
    assert found("I worked as a nurse once.") == []


def test_what_the_profile_does_not_say_cannot_be_contradicted() -> None:
    assert found("I'm 45 years old.", Profile(name="Noor")) == []
    assert found("I'm a man.", Profile(gender="non-binary")) == []
    assert found("I'm 45 years old.", "") == []


def test_a_profile_written_as_a_sentence_gives_its_age_alone() -> None:
    assert known_of(seeker_says("x", profile="Ada, 44, baker").scenario) == {"age": "44"}
    assert known_of(seeker_says("x", profile="Ada has 12 cats and 30 plants.").scenario) == {}
    assert found("I'm 19 years old.", "Ada, 44, baker") == [Severity.DROP]


def test_a_seeker_may_contradict_itself() -> None:
    talk = episode("I'm 31 years old.", *CALM[1:4], "I am 52 years old.", *CALM[5:])
    (finding,) = PersonaContradiction().examine(talk)
    assert (finding.severity, finding.reason, finding.utterance) == (
        Severity.DROP,
        "age contradicts itself",
        4,
    )


def test_only_the_seeker_is_asked() -> None:
    talk = episode(CALM[0], "I'm 45 years old.", *CALM[2:], profile=PROFILE)
    assert PersonaContradiction().examine(talk) == ()


def test_years_are_a_setting() -> None:
    talk = seeker_says("I'm 33 years old.", profile=PROFILE)
    assert PersonaContradiction().examine(talk)
    assert not PersonaContradiction(years=2).examine(talk)


@pytest.mark.parametrize("fact", ["age", "gender"])
def test_a_statement_keeps_its_words(fact: str) -> None:
    (said,) = [s for s in statements("Well, I'm a 45-year-old man.") if s.fact == fact]
    assert said.value == {"age": "45", "gender": "male"}[fact]
    assert said.words
