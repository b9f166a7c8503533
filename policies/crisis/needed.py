"""What a text must hold for a pattern to match in it: a quick look before the pattern is tried.

A pattern is read as Python reads it, and of each of its alternatives those words are kept of which one
must stand in any text that matches ("kill ", "hang " or "drown ", and " mysel"). What is not understood
asks for nothing, so the look never hides a match.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from importlib import import_module
from itertools import product
from typing import Any

Clause = frozenset[str]
"""Words of which a text must hold at least one."""

Look = tuple[int, tuple[tuple[int, ...], ...]]
"""For each alternative, the bits of the words of each clause; before them the bits of their first
clauses, of which one must be fulfilled."""

SHORTEST, LONGEST = 3, 14
"""Characters of a needed word, spaces around it included; of a longer one the first are asked for."""
_MOST = 160
"""Most forms of one stretch of a pattern that are told apart."""
_FEW = 4
"""Most characters of a set that are told apart."""
_WORD = re.compile(r"[^\s.,!?;:*]+")
"""A part of a text that lies within one word, as `rules.py` takes words."""


@dataclass(frozen=True, slots=True)
class _Read:
    """What is known of a part of a pattern.

    Attributes:
        exact: all texts that it matches; None where they are too many.
        clauses: hold for every text that it matches, if `exact` is None.
    """

    exact: frozenset[str] | None
    clauses: tuple[Clause, ...] = ()


_NOTHING = _Read(frozenset({""}))
_ANYTHING = _Read(None)


def needed(pattern: str) -> tuple[tuple[Clause, ...], ...]:
    """For each alternative of a pattern, the clauses that a text must fulfil for it to match."""
    tree = import_module("re._parser").parse(pattern)
    if tree.state.flags & ~re.UNICODE.value:  # letters of either case, say
        return ((),)
    return tuple(_clauses(alternative) for alternative in _alternatives(list(tree)))


def _alternatives(items: list[Any]) -> Iterator[list[Any]]:
    """The parts between the `|` around all, behind what Python took out as common to them."""
    *before, last = items or [("NOTHING", None)]
    if all(str(name) in ("AT", "LITERAL") for name, _ in before):
        name, argument = str(last[0]), last[1]
        if name == "SUBPATTERN" and not argument[1] and not argument[2]:
            yield from _alternatives([*before, *argument[3]])
            return
        if name == "BRANCH":
            for branch in argument[1]:
                yield from _alternatives([*before, *branch])
            return
    yield items


def _clauses(items: Iterable[Any]) -> tuple[Clause, ...]:
    read = _sequence(items)
    return read.clauses if read.exact is None else tuple(_clause(read.exact))


def _sequence(items: Iterable[Any]) -> _Read:
    so_far: frozenset[str] | None = frozenset({""})
    clauses: list[Clause] = []
    cut = False
    for item in items:
        read = _item(item)
        if so_far is not None and read.exact is not None:
            few = len(so_far) * len(read.exact) <= _MOST
            joined = frozenset(a + b for a, b in product(so_far, read.exact)) if few else so_far
            if few and read.exact != {" "}:
                so_far = joined
                continue
            so_far = joined  # a space is the end of this word and the beginning of the next
        if so_far is not None:
            clauses += _clause(so_far)
        cut = True
        clauses += read.clauses if read.exact is None else ()
        so_far = read.exact
    if not cut:
        return _Read(so_far)
    if so_far is not None:
        clauses += _clause(so_far)
    return _Read(None, tuple(dict.fromkeys(clauses)))


def _item(item: Any) -> _Read:
    name, argument = str(item[0]), item[1]
    match name:
        case "LITERAL":
            return _Read(frozenset({chr(argument)}))
        case "IN":
            if len(argument) <= _FEW and all(str(kind) == "LITERAL" for kind, _ in argument):
                return _Read(frozenset(chr(code) for _, code in argument))
            return _ANYTHING
        case "AT" | "ASSERT" | "ASSERT_NOT":
            return _NOTHING
        case "SUBPATTERN":
            _, added, removed, inner = argument
            return _ANYTHING if added or removed else _sequence(inner)
        case "ATOMIC_GROUP":
            return _sequence(argument)
        case "BRANCH":
            return _branches([_sequence(branch) for branch in argument[1]])
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            return _repeated(*argument)
        case _:
            return _ANYTHING


def _repeated(least: int, most: int, inner: Any) -> _Read:
    read = _sequence(inner)
    if read.exact is not None and (least, most) == (0, 1):
        return _Read(read.exact | {""})
    if read.exact is not None and (least, most) == (1, 1):
        return read
    if least == 0:
        return _ANYTHING
    return _Read(None, read.clauses if read.exact is None else tuple(_clause(read.exact)))


def _branches(reads: list[_Read]) -> _Read:
    exact = [read.exact for read in reads if read.exact is not None]
    if len(exact) == len(reads) and sum(map(len, exact)) <= _MOST:
        return _Read(frozenset().union(*exact))
    best: list[Clause] = []
    for read in reads:
        clauses = read.clauses if read.exact is None else tuple(_clause(read.exact))
        if not clauses:
            return _ANYTHING
        best.append(min(clauses, key=_commonness))
    return _Read(None, (_shortest(frozenset().union(*best)),))


def _clause(texts: frozenset[str]) -> Iterator[Clause]:
    """The words of which one stands in each of the texts, if each has one that is long enough."""
    words = {max(_words(text), key=len, default="")[:LONGEST] for text in texts}
    if words and min(map(len, words)) >= SHORTEST:
        yield _shortest(frozenset(words))


def _words(text: str) -> Iterator[str]:
    """The words in a text, with the space before or behind where the text has it."""
    for word in _WORD.finditer(text):
        before = text[: word.start()][-1:] == " "
        yield f"{' ' * before}{word[0]}{' ' * (text[word.end() :][:1] == ' ')}"


def _shortest(words: frozenset[str]) -> Clause:
    """Without words that hold another one."""
    return frozenset(w for w in words if not any(o != w and o in w for o in words))


def _commonness(clause: Clause) -> tuple[int, int]:
    return len(clause), -min(map(len, clause))


class NeededWords:
    """The needed words of many patterns, each with a bit of its own.

    A text's words give the bits of what they hold; see `bits`.
    """

    def __init__(self) -> None:
        self._bits: dict[str, int] = {}
        self._starts: set[str] = set()

    def look(self, *patterns: str) -> Look:
        """A look for one rule, all of whose patterns must match: see `may_match`."""
        first, *others = (needed(pattern) for pattern in patterns)
        also = [clause for other in others if len(other) == 1 for clause in other[0]]
        alternatives = tuple(
            tuple(map(self._of, sorted({*clauses, *also}, key=_commonness))) for clauses in first
        )
        return reduce(int.__or__, (one[0] if one else -1 for one in alternatives)), alternatives

    def __len__(self) -> int:
        return len(self._bits)

    def bits(self, word: str) -> int:
        """The bits of all needed words that stand in `word`; all bits for a very long one."""
        if len(word) > 4 * LONGEST:
            return -1
        found, known, spaced = 0, self._bits, f" {word} "
        for start in range(len(spaced) - SHORTEST + 1):
            if spaced[start : start + SHORTEST] not in self._starts:
                continue
            for end in range(start + SHORTEST, min(start + LONGEST, len(spaced)) + 1):
                found |= known.get(spaced[start:end], 0)
        return found

    def _of(self, clause: Clause) -> int:
        self._starts.update(word[:SHORTEST] for word in clause)
        for word in clause:
            self._bits.setdefault(word, 1 << len(self._bits))
        return reduce(int.__or__, (self._bits[word] for word in clause))


def may_match(look: Look, held: int) -> bool:
    """Whether a text that holds the needed words with the bits `held` can match."""
    firsts, alternatives = look
    if firsts != -1 and not firsts & held:
        return False
    for alternative in alternatives:
        for clause in alternative:
            if not clause & held:
                break
        else:
            return True
    return False
