"""The crisis rules of each language, read from the data files beside this module."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cache
from importlib import resources
from typing import Any

from ...core.errors import DataError, did_you_mean
from .folding import fold_characters
from .needed import Look, NeededWords

KINDS = ("suicide", "self_harm", "violence")
"""The kinds that records hold, in the order in which they are named."""

FORMS = {
    "ideation": "suicide",
    "plan": "suicide",
    "overdose": "suicide",
    "self_harm": "self_harm",
    "abuse": "violence",
    "threat": "violence",
}
"""What the rules tell apart, and the kind of each."""

_PART = re.compile(r"\{([a-z_]+)\}")
LETTERS = ("latin", "own")
_LANGUAGE_FIELDS = {
    "letters", "only", "denied", "conceded", "past", "others", "idioms", "spellings", "parts",
    "rules",
}  # fmt: skip
_RULE_FIELDS = {"all", "form", "severity", "words", "match", "unless", "denial"}

NEEDED = NeededWords()


class Severity(IntEnum):
    """How pressing the words sound. A rule's guess at order, not an assessment of anyone."""

    CONCERN = 1
    """Past, or about somebody else."""
    HIGH = 2
    """Present: thoughts of death, self-harm, abuse, or harm to others."""
    EMERGENCY = 3
    """Harm may be hours away or done: a plan, means at hand, poison taken, an attacker near."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Patterns of one form and severity; `words` are a first quick look, where there are any.

    `also` must all be found within `WINDOW` characters of the match, in any order.
    """

    name: str
    form: str
    severity: Severity
    words: tuple[str, ...]
    match: re.Pattern[str]
    also: tuple[re.Pattern[str], ...]
    unless: re.Pattern[str] | None
    denial: bool
    _look: Look | None = field(default=None, init=False, repr=False, compare=False)

    def look(self) -> Look:
        """What a text must hold for this rule to match.

        Made when the rule is first tried: reading a pattern takes longer than most texts do.
        """
        if self._look is None:
            patterns = [pattern.pattern for pattern in (self.match, *self.also)]
            object.__setattr__(self, "_look", NEEDED.look(*patterns))
        assert self._look is not None
        return self._look


@dataclass(frozen=True, slots=True)
class Language:
    """One language's rules, and what takes a match back.

    Attributes:
        by_start: the words of the rules by their first two letters. One is seen where a word of the
            text begins with it; `word=` must be the whole word.
        letters: `latin`, or `own`, which a text in ASCII cannot hold.
        only: a text that does not match is not in this language.
        idioms: harmless phrases; a match must stand without them too.
        denied: matches a denial that ends where a finding begins.
        conceded: in the rest of the sentence it lifts a denial ("..., but").
        past, others: in the sentence they make a finding a concern: it is over, or somebody else's.
        spellings: what is meant by a word that is often written wrongly.
    """

    code: str
    rules: tuple[Rule, ...]
    words: tuple[str, ...]
    by_start: dict[str, tuple[str, ...]]
    letters: str
    only: re.Pattern[str] | None
    idioms: re.Pattern[str] | None
    denied: re.Pattern[str] | None
    conceded: re.Pattern[str] | None
    past: re.Pattern[str] | None
    others: re.Pattern[str] | None
    spellings: dict[str, tuple[re.Pattern[str], str]]
    _places: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        places: dict[str, int] = {}
        for place, rule in enumerate(self.rules):
            for word in rule.words or ("",):
                places[word] = places.get(word, 0) | 1 << place
        object.__setattr__(self, "_places", places)

    def begun(self, word: str) -> int:
        """The rules, as bits by their order, one of whose words a word of a text is or begins with.

        For a word that is written wrongly there, the right one stands too.
        """
        _, right = self.spellings.get(word, (None, word))
        bits = 0
        for written in {word, right}:
            for known in self.by_start.get(written[:2], ()):
                if written == known[:-1] if known[-1] == "=" else written.startswith(known):
                    bits |= self._places[known]
        return bits

    def tried(self, begun: int) -> list[Rule]:
        """The rules with these bits, and those without words, in order."""
        bits, rules = begun | self._places.get("", 0), []
        while bits:
            lowest = bits & -bits
            rules.append(self.rules[lowest.bit_length() - 1])
            bits ^= lowest
        return rules


@cache
def languages() -> tuple[Language, ...]:
    """All languages for which there are files, read and compiled once."""
    files: dict[str, dict[str, str]] = {}
    for file in resources.files(__package__).iterdir():
        if file.name.endswith(".toml"):
            stem = file.name.removesuffix(".toml")
            files.setdefault(stem.split(".")[0], {})[stem] = file.read_text("utf-8")
    return tuple(read_language(code, files[code]) for code in sorted(files))


def read_language(code: str, files: Mapping[str, str]) -> Language:
    """One language from the texts of its files, by name without `.toml`.

    The file `<code>` holds what concerns the whole language; it and every `<code>.<subject>` hold
    rules.

    Raises:
        DataError: a file is missing or not TOML, names an unknown form, severity, field or part, or
            holds a pattern that does not compile.
    """
    if code not in files:
        raise DataError("no such file", file=f"{code}.toml", hint="it holds 'letters' and 'parts'")
    read = {name: _read(name, files[name], whole=name == code) for name in sorted(files)}
    data = read[code]
    parts: dict[str, str] = {}
    for name, text in data.get("parts", {}).items():
        parts[name] = _fill(text, parts, f"{code}:parts.{name}")
    letters = data.get("letters", "")
    if letters not in LETTERS:
        raise _unknown(code, "letters", letters, LETTERS)
    rules = tuple(
        _rule(f"{name}:{number}", entry, parts)
        for name, entries in read.items()
        for number, entry in enumerate(entries.get("rules", ()), 1)
    )
    words = tuple(dict.fromkeys(word for rule in rules for word in rule.words))

    def of_all(name: str, end: str = "") -> re.Pattern[str] | None:
        return _compiled(data.get(name), parts, f"{code}:{name}", end)

    return Language(
        code=code,
        rules=rules,
        words=words,
        by_start={
            start: tuple(word for word in words if word[:2] == start)
            for start in {word[:2] for word in words}
        },
        letters=letters,
        only=of_all("only"),
        idioms=of_all("idioms"),
        denied=of_all("denied", r" ?\Z"),
        conceded=of_all("conceded"),
        past=of_all("past"),
        others=of_all("others"),
        spellings={
            wrong: (re.compile(rf"\b{re.escape(wrong)}\b"), right)
            for right, many in data.get("spellings", {}).items()
            for wrong in many.split()
        },
    )


def _read(name: str, text: str, *, whole: bool) -> dict[str, Any]:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"not TOML: {error}", file=f"{name}.toml") from None
    known = _LANGUAGE_FIELDS if whole else {"rules"}
    for unknown in data.keys() - known:
        raise DataError(
            f"no field '{unknown}'; there are {', '.join(sorted(known))}",
            file=f"{name}.toml",
            hint=did_you_mean(unknown, known),
        )
    return data


def _rule(name: str, entry: dict[str, Any], parts: dict[str, str]) -> Rule:
    file = _file_of(name)
    for unknown in entry.keys() - _RULE_FIELDS:
        raise DataError(
            f"rule {name} has no field '{unknown}'; there are {', '.join(sorted(_RULE_FIELDS))}",
            file=file,
            hint=did_you_mean(unknown, _RULE_FIELDS),
        )
    form, severity = entry.get("form", ""), str(entry.get("severity", "")).upper()
    if form not in FORMS:
        raise _unknown(name, "form", form, tuple(FORMS))
    if severity not in Severity.__members__:
        raise _unknown(name, "severity", severity, tuple(Severity.__members__))
    patterns = entry.get("all", [])
    match = _compiled(entry.get("match") or patterns[:1], parts, name)
    if match is None or ("match" in entry) == ("all" in entry):
        raise DataError(f"rule {name} needs either 'match' or 'all'", file=file)
    also = [_compiled([pattern], parts, name) for pattern in patterns[1:]]
    return Rule(
        name,
        form,
        Severity[severity],
        tuple(fold_characters(word) for word in entry.get("words", "").split()),
        match,
        also=tuple(pattern for pattern in also if pattern is not None),
        unless=_compiled(entry.get("unless"), parts, name),
        denial=entry.get("denial", True),
    )


def _file_of(name: str) -> str:
    return f"{name.split(':')[0]}.toml"


def _unknown(where: str, what: str, asked: str, known: tuple[str, ...]) -> DataError:
    return DataError(
        f"{where}: no {what} '{asked}'; there are {', '.join(known)}",
        file=_file_of(where),
        hint=did_you_mean(asked, known),
    )


def _compiled(
    patterns: list[str] | None, parts: dict[str, str], where: str, end: str = ""
) -> re.Pattern[str] | None:
    if not patterns:
        return None
    joined = "|".join(_fill(pattern, parts, where) for pattern in patterns)
    try:
        return re.compile(f"(?:{joined}){end}")
    except re.error as error:
        raise DataError(
            f"{where}: pattern does not compile: {error}", file=_file_of(where)
        ) from None


def _fill(pattern: str, parts: dict[str, str], where: str) -> str:
    """The pattern with its `{parts}` filled in and its characters folded."""

    def part(found: re.Match[str]) -> str:
        if found[1] not in parts:
            raise DataError(
                f"{where}: no part '{found[1]}'; there are {', '.join(parts) or 'none'}",
                file=_file_of(where),
                hint=did_you_mean(found[1], parts),
            )
        return parts[found[1]]

    return _PART.sub(part, fold_characters(pattern))
