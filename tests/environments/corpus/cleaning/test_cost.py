"""What reads model text takes any text of 20,000 characters in moments: no pattern is quadratic.

The bound is generous: where a pattern tries each place of a run again, one of these texts takes ten
seconds or more.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from warmline.agents.roles import Role, parse_strategy
from warmline.agents.speech import is_farewell, read_speech, strip_greeting
from warmline.environments.corpus.cleaning.filters.registry import DEFAULT_FILTERS, make_filter
from warmline.environments.corpus.generation.checks import situation_fault
from warmline.environments.corpus.generation.prompts import read_profile
from warmline.policies.answers import match_choice, read_choice, read_json
from warmline.policies.safety import crisis_kinds
from warmline.policies.wrappers.ranking import read_grade
from warmline.policies.wrappers.refine import read_analysis

from .talks import episode

CHARACTERS = 20_000
SECONDS = 2.0
"""For one text; milliseconds are usual."""

REPEATED = [
    "(", "[", "{", "{{", "{%", "*", "**a", "\n", "\r\n", " ", "\t", ". ", ".", "!", "?", '"', "'", "“", "- ", "a",
    "a ", "1", "1.", "1) ", "|", "| ", "|\n", ":", "：", ",", ", ", "/", "<", "<|", "`", "#", "N/A", "n/a ", "N",
    "bye ", "bye, ", "good ", "take care ", "see you ", "hi ", "hi, ", "(a ", "(\n", "\n(", "\n*", "\n- ", "i am ",
    "i'm ", "we ", "you ", "我", "我是", "…", "，", "you should ", "and ", "have you tried ", "as an ai ", "_", "{a",
    "a.b", "\nseeker ", "seeker (", "supporter: ", "strategy: ", "[question]", "thank you ", "my name is ", "A ",
    "not ", "never ", "kill ", "i want to ", "'a ", "name: ", "\nname",
]  # fmt: skip
BEGUN = [
    "[",
    "{",
    "(",
    "```",
    "```json\n",
    "seeker",
    "strategy:",
    "bye",
    "1.",
    "N",
    "i am",
    "name:",
    "a",
    "hi",
]
TEXTS = [
    *(unit * (CHARACTERS // len(unit)) + end for unit in REPEATED for end in ("", "x")),
    *(begun + unit * CHARACTERS + "x" for begun in BEGUN for unit in ("\n", " ", "*", ",")),
    "a" + "\n" * CHARACTERS + "b",
]

READERS: dict[str, Callable[[str], object]] = {
    "seeker": lambda text: read_speech(text, Role.SEEKER),
    "supporter": lambda text: read_speech(text, Role.SUPPORTER),
    "strategy": parse_strategy,
    "farewell": is_farewell,
    "greeting": strip_greeting,
    "choice": lambda text: (match_choice(text, ("Yes", "No")), read_choice(text, ("Yes", "No"))),
    "json": lambda text: read_json(text, {"type": "object"}),
    "profile": read_profile,
    "situation": situation_fault,
    "crisis": crisis_kinds,
    "grade": read_grade,
    "analysis": read_analysis,
}


@contextmanager
def at_most(seconds: float, text: str) -> Iterator[None]:
    """Interrupts work that takes longer; `re` looks for signals while it matches."""

    def give_up(*_: object) -> None:
        raise TimeoutError(f"over {seconds} s on {text[:12]!r}…{text[-6:]!r} ({len(text)})")

    before = signal.signal(signal.SIGPROF, give_up)
    signal.setitimer(signal.ITIMER_PROF, seconds)  # time of this process, whatever else runs
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@pytest.mark.parametrize("reader", READERS)
def test_readers_are_linear(reader: str) -> None:
    for text in TEXTS:
        with at_most(SECONDS, text):
            READERS[reader](text)


@pytest.mark.parametrize("name", DEFAULT_FILTERS)
def test_filters_are_linear(name: str) -> None:
    for text in TEXTS:
        with at_most(SECONDS, text):
            make_filter(name).examine(episode("My rent went up.", "I see.", text, text))
