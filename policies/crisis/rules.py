"""The crisis rules, applied to a text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from .folding import fold
from .languages import FORMS, KINDS, NEEDED, Language, Rule, Severity, languages
from .needed import may_match

WINDOW = 160
"""Characters either side of a match that can speak against it; it bounds the work a match costs."""
PART = 20_000
"""Characters that are looked at in one go."""
OVERLAP = 1_000
"""Characters that two parts share: more than a match and what is looked at around it."""

_SENTENCE_END = re.compile("[.!?;\u2026\u3002\u061f\u0964]")
_KEPT = 32
"""Characters of the longest word that is remembered."""
_MOST = 1 << 15
"""Words that are remembered."""
_MARKS = str.maketrans(dict.fromkeys(".,!?;:", " "))


@dataclass(frozen=True, slots=True)
class CrisisFinding:
    """One rule that matched.

    Attributes:
        kind: of `KINDS`; what records hold.
        form: of `FORMS`; finer than the kind.
        severity: how pressing it sounds.
        rule: the file and the rule's place in it, from 1, such as `en.plans:12`.
    """

    kind: str
    form: str
    severity: Severity
    rule: str


def find_crisis(text: str) -> tuple[CrisisFinding, ...]:
    """Every crisis rule that matches in `text`, the most severe first.

    Rules are no clinical instrument: see `docs/safety.md` for what they miss.
    """
    found = dict.fromkeys(finding for part in _parts(text) for finding in _all_findings(fold(part)))
    return tuple(sorted(found, key=lambda f: (-f.severity, KINDS.index(f.kind))))


def crisis_kinds(text: str) -> tuple[str, ...]:
    """The kinds of crisis language in `text`, of `suicide`, `self_harm` and `violence`."""
    found = {finding.kind for part in _parts(text) for finding in _all_findings(fold(part))}
    return tuple(kind for kind in KINDS if kind in found) if found else ()


def _parts(text: str) -> Iterator[str]:
    """A text beyond `PART` characters in parts that overlap, so that no single pattern runs long.

    A pattern keeps all other threads waiting while it looks through its text.
    """
    if len(text) <= PART:
        yield text
        return
    for start in range(0, len(text) - OVERLAP, PART - OVERLAP):
        yield text[start : start + PART]


def _all_findings(plain: str) -> Iterator[CrisisFinding]:
    words = _words_of(plain)
    looked = _look(words)
    ascii_only = plain.isascii()
    if ascii_only and not looked.begun & _latin_rules():
        return
    for language, first, all_bits in _placed():
        begun = looked.begun >> first & all_bits
        if (language.words and not begun) or (ascii_only and language.letters == "own"):
            continue
        yield from _findings(plain, words, looked._replace(begun=begun), language)


@cache
def _latin_rules() -> int:
    """The rules of languages that a text in ASCII can hold, as bits among those of all.

    Each of them has words.
    """
    bits = 0
    for language, first, all_bits in _placed():
        if language.letters != "own":
            bits |= all_bits << first
    return bits


def _words_of(plain: str) -> set[str]:
    words = set(plain.translate(_MARKS).split())
    return {word.strip("*") for word in words} if "*" in plain else words


class _Seen:
    """What is known of words that were looked at; of more needed words another one is begun.

    Attributes:
        known: how many words were known to be needed.
        words: `begun` and `held` of each.
    """

    def __init__(self, known: int) -> None:
        self.known = known
        self.words: dict[str, tuple[int, int]] = {}


_latest_seen = [_Seen(0)]


class _Looked(NamedTuple):
    """What the words of a text show at a look, in bits.

    Attributes:
        begun: rules of which a word is seen; see `Language.begun`. Those of all languages, one after
            the other.
        held: needed words.
        known: how many words were known to be needed then.
    """

    begun: int
    held: int
    known: int


def _look(words: set[str]) -> _Looked:
    known, seen = len(NEEDED), _latest_seen[0]
    if seen.known != known or len(seen.words) > _MOST:
        seen = _latest_seen[0] = _Seen(known)
    looks = seen.words
    begun = held = 0
    for word in words:
        if (look := looks.get(word)) is None:
            look = _look_at(word)
            if len(word) <= _KEPT:
                looks[word] = look
        begun |= look[0]
        held |= look[1]
    return _Looked(begun, held, known)


def _look_at(word: str) -> tuple[int, int]:
    """`begun` and `held` of one word."""
    begun = 0
    if word[:2] in _starts():
        for language, first, _ in _placed():
            begun |= language.begun(word) << first
    return begun, NEEDED.bits(word)


@cache
def _starts() -> frozenset[str]:
    """The first two letters of all words at which rules begin, and of those often written wrongly."""
    return frozenset(
        word[:2] for language in languages() for word in (*language.words, *language.spellings)
    )


@cache
def _placed() -> tuple[tuple[Language, int, int], ...]:
    """Each language, the place of its first rule among those of all, and a bit for each of them."""
    placed, first = [], 0
    for language in languages():
        placed.append((language, first, (1 << len(language.rules)) - 1))
        first += len(language.rules)
    return tuple(placed)


def _findings(
    plain: str, words: set[str], looked: _Looked, language: Language
) -> Iterator[CrisisFinding]:
    """The findings of one language, whose own rules `looked.begun` names."""
    if not language.spellings.keys().isdisjoint(words):
        for wrong in language.spellings.keys() & words:
            pattern, right = language.spellings[wrong]
            plain = pattern.sub(right, plain)
        words = _words_of(plain)
        looked = _look(words)._replace(begun=looked.begun)
    if language.words and not looked.begun:
        return
    if language.only is not None and not language.only.search(plain):
        return
    masked: str | None = None
    for rule in _possible(words, looked, language):
        if _stands_in(plain, rule, language) is None:
            continue
        if language.idioms is not None and masked is None:
            masked = language.idioms.sub(" _ ", plain)
        sentence = _stands_in(plain if masked is None else masked, rule, language)
        if sentence is not None:
            severity = _severity(rule, sentence, language)
            yield CrisisFinding(FORMS[rule.form], rule.form, severity, rule.name)


def _possible(words: set[str], looked: _Looked, language: Language) -> list[Rule]:
    """The rules of a language that may match in a text with these words."""
    rules = language.tried(looked.begun)
    if language.letters == "own":  # many are written without spaces
        return rules
    looks = [rule.look() for rule in rules]
    held = looked.held if len(NEEDED) == looked.known else _look(words).held
    return [
        rule
        for rule, look in zip(rules, looks, strict=True)
        if (look[0] == -1 or look[0] & held) and may_match(look, held)
    ]


def _stands_in(plain: str, rule: Rule, language: Language) -> str | None:
    """The sentence of the first match that nothing speaks against, if there is one."""
    for found in rule.match.finditer(plain):
        before = _SENTENCE_END.split(plain[max(0, found.start() - WINDOW) : found.start()])[-1]
        after = _SENTENCE_END.split(plain[found.end() : found.end() + WINDOW], maxsplit=1)[0]
        sentence = before + found[0] + after
        if rule.unless is not None and rule.unless.search(sentence):
            continue
        around = plain[max(0, found.start() - WINDOW) : found.end() + WINDOW]
        if not all(pattern.search(around) for pattern in rule.also):
            continue
        if rule.denial and language.denied is not None and language.denied.search(before):
            conceded = language.conceded
            if conceded is None or not conceded.search(after):
                continue
        return sentence
    return None


def _severity(rule: Rule, sentence: str, language: Language) -> Severity:
    """The rule's severity, or a concern where the sentence tells of the past or of others."""
    if rule.severity is Severity.EMERGENCY:
        return rule.severity
    if language.past is not None and language.past.search(sentence):
        return Severity.CONCERN
    about_self = FORMS[rule.form] != "violence"
    if about_self and language.others is not None and language.others.search(sentence):
        return Severity.CONCERN
    return rule.severity
