"""What a generated situation or profile must be to join the pools; pure, each with its reason.

The rules are stated here and nowhere else. They are meant to be precise: what was written for the
seed pool passes all of them (a test), what a weak model writes when it slips does not. Those about
wording know English only, and leave a text alone that is not mostly in Latin letters.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from functools import cache
from importlib.resources import files

from ....policies.text.sentences import split_sentences
from ...scenarios.problem_types import problem_types
from ...scenarios.scenario import Profile
from .coverage import has_attribute

MIN_WORDS = 20
"""A situation has more than this many words (papers.md §2)."""

COPIED_WORDS = 6
"""A run of so many words of the situation is a repetition of it."""

FIELD_WORDS = {"name": 5, "gender": 3, "occupation": 10, "location": 10, "traits": 25}
"""Most words in a field of a profile."""

_NO_NAME = re.compile(
    r"(?:my |the )?(?:mom|mum|mother|dad|father|son|daughter|sister|brother|friend|husband|wife|person"
    r"|seeker|user|client|name|i|me|he|she|they|you)",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_LABEL = re.compile(
    r"^\W*(?:(?:new |another )?(?:situation|scenario|example|answer|story|response)(?: \d+)?\s*[:.\-–]\s*"
    r"|\d{1,2}[.)]\s+|[-*•]\s+)",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"""["“«]([^"“”«»]+)["”»]""")
_ECHO = re.compile(
    r"^\W*(?:sure\b|certainly\b|of course\b|okay\b|here(?:'s| is| are)\b|as an ai\b|as a language model"
    r"|i can(?:not|'t) (?:help|write|assist|provide)|i'm sorry, but|write (?:a|another|one)\b"
    r"|this (?:situation|scenario|example|story)\b|the (?:following|situation|scenario) (?:is|tells|describes)\b)"
    r"|\bas an ai\b|\bkind of problem:|\bmore than \d+ words|\b(?:two|2)(?: to |-)(?:four|4) sentences"
    r"|\[[^\]]{2,40}\]|\{[^}]*\}|<[^>]{2,40}>|```|\bemotional support (?:training|situation)",
    re.IGNORECASE,
)
_ADVICE = re.compile(
    r"\b(?:you (?:should|can try|could try|may want to|need to|might)|it(?:'s| is) (?:important|essential) (?:to|that)"
    r"|here are (?:some|a few)|(?:some|few|these|several|following|simple) (?:tips|steps|ways) (?:to|for)\b|remember(?: that|,)|if you(?:'re| are) (?:struggling|feeling)"
    r"|don't hesitate|seek(?:ing)? professional help)\b",
    re.IGNORECASE,
)
_PERSON = re.compile(
    r"\b(?:i|i'm|i've|i'd|me|my|mine|we|our|us|he|him|his|she|her|they|them|their|mr|mrs|ms|dr)\b",
    re.IGNORECASE,
)
_NAMED = re.compile(r"(?<=[a-z,;] )[A-Z][a-z]+")
_TIME = re.compile(
    r"\b(?:mon|tues|wednes|thurs|fri|satur|sun)days?\b"
    r"|\b(?:january|february|march|april|may|june|july|august|september|october|november|december)\b"
    r"|\b(?:spring|summer|autumn|winter|christmas|easter|ramadan|diwali|birthday|new year)\b"
    r"|\b(?:minute|hour|day|night|week|weekend|month|year|semester|term|decade|morning|afternoon|evening)s?\b"
    r"|\b(?:yesterday|today|tonight|tomorrow|ago|since|recently|lately|last|when|after|before|until|now|once|while)\b"
    r"|\b\d{1,2}(?::\d\d|\s?[ap]\.?m)\b|\bat (?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|noon)\b",
    re.IGNORECASE,
)
_EVENT = re.compile(
    r"\b(?:was|were|had|did|got|went|said|told|lost|left|came|found|broke|took|made|gave|saw|began|felt"
    r"|knew|heard|met|put|sent|wrote|fell|kept|stood|sat|ran|brought|bought|sold|paid|spent|thought|read"
    r"|let|hit|cut|been|\w{2,}ed)\b",
    re.IGNORECASE,
)


def count_words(text: str) -> int:
    """Words, as white space parts them; in scripts without spaces, characters."""
    return len(_CJK.findall(text)) + len(_CJK.sub(" ", text).split())


def situation_of(reply: str, *, complete: bool) -> str:
    """The situation in a reply: without label, quotes and what follows a blank line.

    Args:
        reply: as the policy wrote it.
        complete: whether the policy ended its answer; if not, an unfinished last sentence is cut.
    """
    text = re.sub(r"^\*\*(.+?)\*\*", r"\1", reply.strip())
    text = _LABEL.sub("", text, count=1)
    text = " ".join(text.split("\n\n")[0].split())
    if (quoted := _QUOTED.fullmatch(text)) is not None:
        text = quoted.group(1).strip()
    if complete or text.endswith((".", "!", "?", "…", '"', "”", "。", "！", "？")):
        return text
    return " ".join(split_sentences(text)[:-1])


def situation_fault(text: str, *, min_words: int = MIN_WORDS) -> str | None:
    """Why a text is not a specific situation, or None.

    It must have more than `min_words` words; be no echo of the instruction, no advice and no loop;
    name a person, at least by a pronoun (or somebody or something by its name); and mention an
    event (a verb in the past) or a time.
    """
    words = count_words(text)
    if words <= min_words:
        return f"too short: {words} words, more than {min_words} are asked"
    sentences = [sentence.casefold() for sentence in split_sentences(text)]
    if len(set(sentences)) < len(sentences):
        return "repeats a sentence"
    if not _in_latin(text):
        return None
    if found := _ECHO.search(text):
        return f"echoes the instruction: '{found.group()[:40]}'"
    if found := _ADVICE.search(text):
        return f"advises: '{found.group()[:40]}'"
    if _loops(text):
        return "repeats itself"
    if not (_PERSON.search(text) or _NAMED.search(text)):
        return "not specific: names no person"
    if not (_TIME.search(text) or _EVENT.search(text)):
        return "not specific: tells no event and no time"
    return None


def _in_latin(text: str) -> bool:
    letters = [c for c in text if c.isalpha()]
    return 2 * sum(c < "\u0250" for c in letters) > len(letters)


def _loops(text: str, run: int = 4) -> bool:
    """Whether any run of `run` words comes three times."""
    words = _WORD.findall(text.casefold())
    runs = Counter(tuple(words[n : n + run]) for n in range(len(words) - run + 1))
    return max(runs.values(), default=0) > 2


@cache
def _keywords() -> dict[str, list[re.Pattern[str]]]:
    text = files(__package__).joinpath("type_keywords.toml").read_text("utf-8")
    return {
        name: [re.compile(rf"(?<!\w){re.escape(word)}", re.IGNORECASE) for word in words]
        for name, words in tomllib.loads(text).items()
    }


def type_fault(text: str, problem_type: str, *, margin: int = 3) -> str | None:
    """Why a text seems to be about another problem type, or None.

    For each type the words that speak for it are counted (each once). The text is refused only if
    another type has at least `margin` more than its own: a coarse net, since a good situation shows
    its problem without naming it. A type of the user's own is never refused.
    """
    if problem_type not in problem_types():
        return None
    hits = {
        name: sum(pattern.search(text) is not None for pattern in patterns)
        for name, patterns in _keywords().items()
    }
    best = max(hits, key=lambda name: hits[name])
    if hits[best] - hits[problem_type] < margin:
        return None
    return (
        f"seems to be about {best} ({hits[best]} of its words) rather than {problem_type}"
        f" ({hits[problem_type]})"
    )


def profile_fault(
    profile: Profile,
    *,
    situation: str,
    example: Profile | None = None,
    required: tuple[tuple[str, str], ...] = (),
) -> str | None:
    """Why a profile cannot be used, or None.

    Every field must be there and short; ages lie in 5 to 99; nothing may repeat the situation or
    copy the example; planned attributes must hold.
    """
    if profile.age is None or not 5 <= profile.age <= 99:
        return f"unlikely age: {profile.age}"
    for field, maximum in FIELD_WORDS.items():
        value = getattr(profile, field)
        if not any(c.isalpha() for c in value) or re.search(
            r"[\[\]{}<>]|\bunknown\b|\bn/a\b", value, re.I
        ):
            return f"field not usable: {field}"
        if count_words(value) > maximum:
            return f"field too long: {field}, more than {maximum} words"
    if _NO_NAME.fullmatch(profile.name):
        return f"field not usable: name '{profile.name}'"
    for field in ("occupation", "traits"):
        if repeated := _shared_run(getattr(profile, field), situation):
            return f"repeats the situation: {field} '{repeated}'"
    if example is not None and _copies(profile, example):
        return "copies the example"
    for field, value in required:
        if not has_attribute(profile, field, value):
            return f"requirement not met: {field} {value}, got {getattr(profile, field)}"
    return None


def _shared_run(text: str, situation: str) -> str | None:
    words = [word.casefold() for word in _WORD.findall(text)]
    whole = " ".join(word.casefold() for word in _WORD.findall(situation))
    for n in range(len(words) - COPIED_WORDS + 1):
        run = " ".join(words[n : n + COPIED_WORDS])
        if f" {run} " in f" {whole} ":
            return run
    return None


def _copies(profile: Profile, example: Profile) -> bool:
    """Whether the name, or three of the five fields, are the example's."""
    same: list[bool] = [
        getattr(profile, field).casefold() == getattr(example, field).casefold()
        for field in ("name", "occupation", "location", "traits")
    ] + [profile.age == example.age]
    return same[0] or sum(same) > 2
