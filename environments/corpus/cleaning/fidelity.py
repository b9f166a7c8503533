"""Seeker fidelity: how well the simulated seekers of a run stayed the person they were to play.

Rules, no model. Each measure is a share of the episodes in which it can be measured, with their
number and a 95 % Wilson interval; means come with the normal interval of the mean. Nothing here
drops an episode: the filters do that.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ....agents.roles import Role
from ....core.record import Record
from ...episodes.episode import Episode
from ...episodes.shares import wilson
from .filters.base import said_by
from .filters.closings import closing_kind
from .filters.persona import PersonaContradiction, known_of
from .filters.roles import RoleConsistency
from .filters.text import content_words, word_count

EARLY = 6
"""A farewell of the seeker before this many utterances is early."""
OVER_DISCLOSURE = 0.5
"""Share of the situation's content words in the first turn from which it is over-disclosure."""
THANKS = 3
"""Closing utterances (thanks and farewells alone) of the seeker from which it loops."""
MIN_WORDS = 8
"""Content words that a situation, or a third of the seeker's turns, must have to be compared."""
MIN_TURNS = 6
"""Seeker turns (without thanks and farewells) needed to compare the first and the last third."""
Z = 1.959964
TINY = 1e-12

ALL = "all"
RECORDED = "recorded"


class Rate(Record):
    """How many of those in which it can be measured; share and bounds are None if there are none.

    Attributes:
        count: episodes in which it happened.
        of: episodes in which it could be measured.
        low, high: 95 % Wilson interval of the share.
    """

    count: int
    of: int
    share: float | None
    low: float | None
    high: float | None


class Mean(Record):
    """A mean over episodes, with its 95 % interval (normal; None for fewer than two, or where all are
    equal)."""

    of: int
    mean: float | None
    low: float | None
    high: float | None


class SeekerFidelity(Record):
    """The measures of one policy's seekers, or of all.

    Attributes:
        policy: name of the policy that spoke; `recorded` for imported conversations, `all` for all.
        episodes: with at least one seeker turn.
        changed_role: the role filter would drop the episode for the seeker's turns.
        closed_early: the seeker says goodbye before `EARLY` utterances.
        told_at_once: the first turn holds at least half of the situation's content words.
        looped_in_thanks: at least `THANKS` turns are thanks or farewells and nothing else.
        contradicted: the seeker states another age, name, gender or occupation than the profile's.
        drifted: the last third of the seeker's turns shares no content word with the situation
            although the first third did.
        situation_in_first_turn: share of the situation's content words in the first turn.
        first_turn_length: words of the first turn, as a share of all the seeker's words.
        overlap_early, overlap_late: share of the seeker's content words that the situation holds,
            in the first and in the last third of its turns, thanks and farewells aside.
        decay: `overlap_early - overlap_late`, paired by episode.
    """

    policy: str
    episodes: int
    changed_role: Rate
    closed_early: Rate
    told_at_once: Rate
    looped_in_thanks: Rate
    contradicted: Rate
    drifted: Rate
    situation_in_first_turn: Mean
    first_turn_length: Mean
    overlap_early: Mean
    overlap_late: Mean
    decay: Mean


class FidelityReport(Record):
    """All seekers of a run together, then by policy in alphabetical order."""

    overall: SeekerFidelity
    policies: tuple[SeekerFidelity, ...]

    def to_json(self) -> str:
        """The report as indented JSON."""
        return json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


@dataclass(frozen=True, slots=True)
class SeekerMeasures:
    """What one episode shows; None where it cannot be measured."""

    changed_role: bool
    closed_early: bool
    looped_in_thanks: bool
    contradicted: bool | None
    situation_in_first_turn: float | None
    first_turn_length: float | None
    overlap_early: float | None
    overlap_late: float | None

    @property
    def told_at_once(self) -> bool | None:
        share = self.situation_in_first_turn
        return None if share is None else share >= OVER_DISCLOSURE

    @property
    def drifted(self) -> bool | None:
        if not self.overlap_early or self.overlap_late is None:
            return None
        return self.overlap_late == 0

    @property
    def decay(self) -> float | None:
        if self.overlap_early is None or self.overlap_late is None:
            return None
        return self.overlap_early - self.overlap_late


_ROLE, _PERSONA = RoleConsistency(), PersonaContradiction()


def measure_seeker(episode: Episode) -> SeekerMeasures | None:
    """The measures of one episode; None if the seeker says nothing."""
    spoken = said_by(episode, Role.SEEKER)
    if not spoken:
        return None
    texts = [utterance.text for _, utterance in spoken]
    kinds = [(index, closing_kind(utterance.text)) for index, utterance in spoken]
    words = [word_count(text) for text in texts]
    length = sum(words)
    situation = set(content_words(episode.scenario.situation))
    comparable = len(situation) >= MIN_WORDS
    kept = [text for text, (_, kind) in zip(texts, kinds, strict=True) if kind is None]
    third = len(kept) // 3 if len(kept) >= MIN_TURNS else 0
    return SeekerMeasures(
        changed_role=_changed_role(episode),
        closed_early=any(kind == "farewell" and index < EARLY for index, kind in kinds),
        looped_in_thanks=len([kind for _, kind in kinds if kind]) >= THANKS,
        contradicted=bool(_PERSONA.examine(episode)) if known_of(episode.scenario) else None,
        situation_in_first_turn=(
            len(situation & set(content_words(texts[0]))) / len(situation) if comparable else None
        ),
        first_turn_length=words[0] / length if len(texts) > 1 and length else None,
        overlap_early=_overlap(kept[:third], situation) if comparable and third else None,
        overlap_late=_overlap(kept[-third:], situation) if comparable and third else None,
    )


def _changed_role(episode: Episode) -> bool:
    return any(
        finding.severity == "drop"
        and finding.utterance is not None
        and episode.utterances[finding.utterance].role == Role.SEEKER
        for finding in _ROLE.examine(episode)
    )


def _overlap(texts: Sequence[str], situation: set[str]) -> float | None:
    """Share of the content words of `texts` that the situation holds; None if they have too few."""
    words = [word for text in texts for word in content_words(text)]
    if len(words) < MIN_WORDS:
        return None
    return len([word for word in words if word in situation]) / len(words)


def seeker_policy(episode: Episode) -> str:
    """Name of the policy that spoke for the seeker; several are joined."""
    calls = [u.call for _, u in said_by(episode, Role.SEEKER) if u.call is not None]
    return " + ".join(dict.fromkeys(episode.calls[call].policy for call in calls)) or RECORDED


@dataclass(slots=True)
class _Sums:
    """Running sums of one measure: of truth values a count, of numbers what a mean needs."""

    of: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, value: float | bool | None) -> None:
        if value is not None:
            self.of += 1
            self.total += value
            self.squares += value * value

    def rate(self) -> Rate:
        low, high = wilson(self.total, self.of)
        share = self.total / self.of if self.of else None
        return Rate(
            count=int(self.total),
            of=self.of,
            share=_rounded(share),
            low=_rounded(low),
            high=_rounded(high),
        )

    def mean(self) -> Mean:
        if not self.of:
            return Mean(of=0, mean=None, low=None, high=None)
        mean = self.total / self.of
        if self.of < 2:
            return Mean(of=1, mean=_rounded(mean), low=None, high=None)
        variance = max(0.0, self.squares - self.of * mean * mean) / (self.of - 1)
        if variance <= TINY:  # equal values say nothing about how others would spread
            return Mean(of=self.of, mean=_rounded(mean), low=None, high=None)
        reach = Z * math.sqrt(variance / self.of)
        return Mean(
            of=self.of, mean=_rounded(mean), low=_rounded(mean - reach), high=_rounded(mean + reach)
        )


_RATES = (
    "changed_role",
    "closed_early",
    "told_at_once",
    "looped_in_thanks",
    "contradicted",
    "drifted",
)
_MEANS = (
    "situation_in_first_turn",
    "first_turn_length",
    "overlap_early",
    "overlap_late",
    "decay",
)


@dataclass(slots=True)
class _Group:
    episodes: int = 0
    sums: dict[str, _Sums] = field(default_factory=lambda: defaultdict(_Sums))

    def add(self, measures: SeekerMeasures) -> None:
        self.episodes += 1
        for name in (*_RATES, *_MEANS):
            self.sums[name].add(getattr(measures, name))

    def report(self, policy: str) -> SeekerFidelity:
        rates = {name: self.sums[name].rate() for name in _RATES}
        means = {name: self.sums[name].mean() for name in _MEANS}
        return SeekerFidelity(policy=policy, episodes=self.episodes, **rates, **means)


def seeker_fidelity(episodes: Iterable[Episode]) -> FidelityReport:
    """Measure the seekers of a run; a stream will do, the order does not matter.

    Episodes that ended in an error are left out: they may have been played again.
    """
    overall, groups = _Group(), defaultdict[str, _Group](_Group)
    for episode in episodes:
        if episode.stop.failed:
            continue
        if (measures := measure_seeker(episode)) is not None:
            overall.add(measures)
            groups[seeker_policy(episode)].add(measures)
    return FidelityReport(
        overall=overall.report(ALL),
        policies=tuple(groups[name].report(name) for name in sorted(groups)),
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
