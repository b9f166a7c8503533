"""Rules for clean preference data (Self-Evolution appendix A), as named pure functions.

Every rule counts what it did under the name that it has here, so a summary can say why a pair is as
it is, or is not there.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import Literal

from ...agents.roles import Role
from ...core.record import Record
from ...environments.episodes.episode import Episode, Utterance

FirstSpeaker = Literal["drop", "rename"]
Origin = Literal["refined", "gold", "stronger"]
Replaced = Literal["", "unreadable", "too_long"]

_OTHER: dict[Role, Literal[Role.SEEKER, Role.SUPPORTER]] = {
    Role.SEEKER: Role.SUPPORTER,
    Role.SUPPORTER: Role.SEEKER,
}


# Dialogues


def strict_turns(episode: Episode, first: FirstSpeaker, counts: Counter[str]) -> Episode:
    """One turn for consecutive utterances of a speaker, the seeker first, then in alternation.

    Args:
        first: what happens where the supporter speaks first: its greeting is dropped, or (the
            paper's wording, for sources that do not say who is who) both speakers change names.
        counts: `merged` utterances, `greeting_dropped` and `speakers_renamed` dialogues.
    """
    turns = merge_turns(episode.utterances)
    counts["merged"] += len(episode.utterances) - len(turns)
    if turns and turns[0].role is Role.SUPPORTER:
        if first == "drop":
            turns = turns[1:]
            counts["greeting_dropped"] += 1
        else:
            turns = tuple(dataclasses.replace(t, role=_OTHER[t.role]) for t in turns)
            counts["speakers_renamed"] += 1
    if turns == episode.utterances:
        return episode
    return episode.model_copy(update={"utterances": turns})


def merge_turns(utterances: Sequence[Utterance]) -> tuple[Utterance, ...]:
    """One utterance for each run of one speaker's; empty ones are left out."""
    spoken = [u for u in utterances if u.text.strip()]
    return tuple(_joined(tuple(run)) for _, run in groupby(spoken, key=lambda u: u.role))


def _joined(run: tuple[Utterance, ...]) -> Utterance:
    if len(run) == 1:
        return run[0]
    labels = dict.fromkeys(s for u in run for s in u.strategies)
    return dataclasses.replace(
        run[0],
        text=" ".join(u.text.strip() for u in run),
        raw="\n".join(u.raw for u in run),
        strategy=next(iter(labels), None),
        labels=tuple(labels),
        repairs=(*dict.fromkeys(r for u in run for r in u.repairs), "merge"),
        crisis=tuple(dict.fromkeys(c for u in run for c in u.crisis)),
    )


def without_greetings(turns: Sequence[int], first: int, last: int) -> list[int]:
    """The supporter's turns of a dialogue without its first and last ones, which mostly greet.

    Args:
        turns: indices of utterances, in order.
        first, last: how many exchanges are left out at either end (Self-Evolution: one and two).
    """
    return list(turns[first : len(turns) - last if last else None])


# Pairs


class Chosen(Record):
    """The chosen side of a pair.

    Attributes:
        origin: who wrote it.
        replaced: why it is the gold reply although another was asked for; empty if it is not.
    """

    text: str
    origin: Origin
    replaced: Replaced = ""


def word_count(text: str) -> int:
    """Length of a reply, in words."""
    return len(text.split())


def too_long(reply: str, others: Sequence[str], times: float | None) -> bool:
    """Whether a reply has more than `times` the words of one of the others; never if None."""
    return times is not None and any(
        word_count(reply) > times * word_count(other) for other in others
    )


def choose(
    asked: Origin, written: str | None, *, rejected: str, gold: str, longest: float | None
) -> Chosen:
    """The chosen reply: the one that was asked for, or the gold reply in its place.

    Args:
        asked: the variant of the pairs.
        written: the refined or the stronger model's reply; None where none could be read.
        longest: see `too_long`; a reply must keep to it against both the rejected and the gold one.
    """
    if asked == "gold":
        return Chosen(text=gold, origin="gold")
    if not written:
        return Chosen(text=gold, origin="gold", replaced="unreadable")
    if too_long(written, (rejected, gold), longest):
        return Chosen(text=gold, origin="gold", replaced="too_long")
    return Chosen(text=written, origin=asked)


def identical(one: str, other: str) -> bool:
    """Whether two replies say the same, but for white space: such a pair teaches nothing."""
    return one.split() == other.split()
