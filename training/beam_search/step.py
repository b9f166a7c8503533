"""The state of diverse beam search: beams, finished hypotheses, groups. No model.

Scores come in as numbers and tokens go out; `search.py` runs the model. The rules for when a group
keeps a hypothesis and when it is done are those of transformers' beam search.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

EarlyStopping = bool | Literal["never"]

HOPELESS = -1e9
"""Score at which all beams of a group but one start, since at first they are equal."""
IMPOSSIBLE = HOPELESS / 10
"""Below this a sequence holds a forbidden token or grew from a hopeless beam."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for every group of a search.

    Attributes:
        max_new_tokens: tokens in the longest sequence, its end token included.
        length_penalty: power of the length that divides a sum of log-probabilities.
        early_stopping: True ends a group once it is full; False once its best open beam, divided by
            today's length, is no better than its worst hypothesis; "never" once none can be.
        eos: ids that end a sequence.
        as_transformers: follow transformers 4.51 where its rules are worse; see `search.py`.
        pad: what a finished group counts as having chosen, where `as_transformers`.
    """

    max_new_tokens: int
    length_penalty: float
    early_stopping: EarlyStopping
    eos: tuple[int, ...]
    as_transformers: bool
    pad: int

    def normalized(self, log_prob: float, length: int) -> float:
        """A sum of log-probabilities (nats) divided by the length to its power."""
        score: float = log_prob / length**self.length_penalty
        return score


@dataclass(frozen=True, slots=True)
class Beam:
    """An open sequence.

    Attributes:
        score: sum of the processed scores, penalties included; what the search maximises.
        log_prob: sum of the model's own log-probabilities, nats.
    """

    tokens: tuple[int, ...]
    score: float
    log_prob: float


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A closed sequence.

    Attributes:
        tokens: the end token included, unless the sequence was cut at its greatest length.
        rank: score of the search over the length to its power; hypotheses are ordered by it.
        log_prob: sum of the model's own log-probabilities, nats.
        content: the tokens without an end token; equal content is the same candidate.
    """

    tokens: tuple[int, ...]
    rank: float
    log_prob: float
    content: tuple[int, ...]


class Extension(NamedTuple):
    """One continuation: beam `parent` of the group, then `token`; scores as in `Beam`."""

    parent: int
    token: int
    score: float
    log_prob: float


@dataclass(slots=True)
class Group:
    """The beams of one group in one context.

    Attributes:
        size: open beams, and most hypotheses kept.
        beams: the open ones; all alike at first, so all but one start with a score that cannot win.
        kept: hypotheses, at most `size`.
        spare: hypotheses that did not make it; they fill up for duplicates.
        parents: beam that each open beam grew from at the last step.
    """

    size: int
    beams: list[Beam] = field(default_factory=list)
    kept: list[Hypothesis] = field(default_factory=list)
    spare: list[Hypothesis] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    done: bool = False
    _worst: float = 1e9

    def __post_init__(self) -> None:
        self.beams = [Beam((), 0.0, 0.0)] + [Beam((), HOPELESS, 0.0)] * (self.size - 1)

    def advance(self, extensions: Sequence[Extension], rules: Rules) -> list[int]:
        """Take one step; returns the tokens that later groups shall avoid.

        Args:
            extensions: best first, enough of them that `size` do not end the sequence.
        """
        length = len(self.beams[0].tokens) + 1
        ended: list[int] = []
        grown: list[Beam] = []
        self.parents = []
        for rank, (parent, token, score, log_prob) in enumerate(extensions):
            tokens = (*self.beams[parent].tokens, token)
            if token not in rules.eos:
                grown.append(Beam(tokens, score, log_prob))
                self.parents.append(parent)
            elif rank < self.size:
                self._close(tokens, score, log_prob, rules)
                ended.append(token)
            if len(grown) == self.size:
                break
        self.beams = grown
        self.done = self._is_done(extensions[0].score, length, rules)
        open_tokens = [beam.tokens[-1] for beam in grown]
        if rules.as_transformers:
            return open_tokens
        return ended if self.done else ended + open_tokens

    def finish(self, rules: Rules) -> None:
        """Close the beams that are still open at the greatest length."""
        if self.done:
            return
        for beam in self.beams:
            self._close(beam.tokens, beam.score, beam.log_prob, rules)

    def _close(self, tokens: tuple[int, ...], score: float, log_prob: float, rules: Rules) -> None:
        if score < IMPOSSIBLE and not rules.as_transformers:
            return
        content = tokens[:-1] if tokens[-1] in rules.eos else tokens
        if rules.as_transformers and len(content) < len(tokens):
            tokens = (*content, rules.eos[0])
        found = Hypothesis(tokens, rules.normalized(score, len(tokens)), log_prob, content)
        if len(self.kept) >= self.size and found.rank <= self._worst:
            self.spare.append(found)
            return
        self.kept.append(found)
        if len(self.kept) <= self.size:
            self._worst = min(found.rank, self._worst)
            return
        order = sorted(range(len(self.kept)), key=lambda i: (self.kept[i].rank, i))
        self._worst = self.kept[order[1]].rank
        self.spare.append(self.kept.pop(order[0]))

    def _is_done(self, best: float, length: int, rules: Rules) -> bool:
        if len(self.kept) < self.size:
            return False
        if rules.early_stopping is True:
            return True
        if rules.early_stopping == "never" and rules.length_penalty > 0:
            length = rules.max_new_tokens
        return self._worst >= rules.normalized(best, length)


def group_sizes(num_beams: int, num_groups: int) -> list[int]:
    """Number of beams of each group: as even as possible, the first groups one larger."""
    each, rest = divmod(num_beams, num_groups)
    return [each + (index < rest) for index in range(num_groups)]


def ranked(groups: Sequence[Group]) -> list[Hypothesis]:
    """The hypotheses that the groups of one context kept, best first."""
    kept = [hypothesis for group in groups for hypothesis in group.kept]
    return sorted(kept, key=lambda h: h.rank)[::-1]


def distinct(
    first: Sequence[Hypothesis], more: Sequence[Hypothesis], wanted: int
) -> list[Hypothesis]:
    """Up to `wanted` hypotheses of different content: those of `first`, then the best of `more`."""
    found: dict[tuple[int, ...], Hypothesis] = {}
    for hypothesis in (*first, *sorted(more, key=lambda h: -h.rank)):
        found.setdefault(hypothesis.content, hypothesis)
    return list(found.values())[:wanted]
