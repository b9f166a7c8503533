"""Review by experts: what a reviewer sees and decides, and the rule that follows from it.

Pure values and functions; who said what is kept by `store.py`. Experts see problem type,
scenario, profile and dialogue, and a dialogue is kept only if all of them approve (FPEMF §3.1.5,
three experts). Edits make a new version of a dialogue; what was said about an older version stays
on record and no longer counts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from ....core.record import Record, Text
from ....core.seeds import hashed_reading_order
from ....policies.safety import crisis_kinds
from ...episodes.episode import Episode, Utterance
from ...episodes.rating import Rating

REQUIRED_REVIEWERS = 3
"""Experts who must all approve (FPEMF §3.1.5)."""

RUBRIC = "expert-review-1"
"""Of the ratings: 1 approved, 0 rejected."""

EDITED = "review_edit"
"""The repair's name on an utterance that a reviewer changed."""

REVIEWER_GUIDANCE = (
    "Crisis language was found here by rule. Read it only if you are well enough to, and stop"
    " whenever you want: skipping is always right. Ask of the supporter: was the danger taken"
    " seriously, was help from people named, was nothing said that could push further? If one answer"
    " is no, reject and say why. If a real person could be behind this text, tell whoever is"
    " responsible for the corpus."
)


class Verdict(StrEnum):
    """A reviewer's decision about one version of a dialogue."""

    APPROVE = "approve"
    REJECT = "reject"


class ReviewState(StrEnum):
    """Where a dialogue stands under the rule."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"


class Turn(Record):
    """One utterance as a reviewer sees it."""

    role: Literal["seeker", "supporter"]
    text: Text
    strategy: str | None = None


class ReviewItem(Record):
    """All that a reviewer sees of one dialogue.

    Attributes:
        id: of the episode.
        version: 0 as enrolled, one more with every edit.
        turns: with the edits of this version.
        crisis: kinds of crisis language found in it.
        original: hash of what was enrolled, see `fingerprint`.
    """

    id: Text
    version: int = 0
    problem_type: str
    category: str = ""
    situation: str
    profile: str = ""
    turns: tuple[Turn, ...]
    crisis: tuple[str, ...] = ()
    original: str


class Decision(Record):
    """One reviewer's word about one version; the latest of a reviewer for a version counts.

    Attributes:
        at: UTC, ISO 8601.
    """

    episode: Text
    version: int
    reviewer: Text
    verdict: Verdict
    reason: str = ""
    at: str


class Ruling(Decision):
    """An adjudicator's word about a version on which reviewers differ; it decides.

    `reviewer` is the adjudicator, who has not judged that version.
    """


class Edit(Record):
    """One utterance changed; `version` is the version that the change made."""

    episode: Text
    version: int
    utterance: int
    before: str
    after: str
    reviewer: Text
    reason: str = ""
    at: str


class Standing(Record):
    """Where one dialogue stands.

    Attributes:
        approved_by: reviewers who approve the current version.
        rejected: reason by reviewer, for the current version.
        outdated: decisions about versions that edits have replaced.
        edits: every change, oldest first.
        ruling: the adjudicator's word about the current version, if there is one.
    """

    id: Text
    state: ReviewState
    version: int
    approved_by: tuple[str, ...] = ()
    rejected: dict[str, str] = Field(default_factory=dict)
    outdated: tuple[Decision, ...] = ()
    edits: tuple[Edit, ...] = ()
    ruling: Ruling | None = None

    @property
    def disputed(self) -> bool:
        """Whether some approve the current version, some reject it, and nobody has ruled."""
        return bool(self.approved_by and self.rejected) and self.ruling is None


def item_of(episode: Episode) -> ReviewItem:
    """An episode as reviewers see it."""
    scenario = episode.scenario
    return ReviewItem(
        id=episode.id,
        problem_type=scenario.problem_type,
        category=scenario.category,
        situation=scenario.situation,
        profile=str(scenario.profile),
        turns=tuple(
            Turn(
                role=utterance.role.value,
                text=utterance.text,
                strategy=utterance.strategy.value if utterance.strategy else None,
            )
            for utterance in episode.utterances
        ),
        crisis=tuple(sorted({kind for u in episode.utterances for kind in u.crisis})),
        original=fingerprint(episode),
    )


def fingerprint(episode: Episode) -> str:
    """A hash over what reviewers judge: scenario and utterances."""
    scenario = episode.scenario
    judged = [
        (scenario.problem_type, scenario.situation, str(scenario.profile)),
        [
            (u.role.value, u.text, u.strategy.value if u.strategy else None)
            for u in episode.utterances
        ],
    ]
    return hashlib.sha256(json.dumps(judged, sort_keys=True).encode()).hexdigest()


def edited(item: ReviewItem, edits: Iterable[Edit]) -> ReviewItem:
    """The item with its edits made, at the version of the last of them."""
    turns, version = list(item.turns), item.version
    for edit in edits:
        turns[edit.utterance] = turns[edit.utterance].model_copy(update={"text": edit.after})
        version = edit.version
    kinds = {kind for turn in turns for kind in crisis_kinds(turn.text)} | set(item.crisis)
    return item.model_copy(
        update={"turns": tuple(turns), "version": version, "crisis": tuple(sorted(kinds))}
    )


def edited_episode(episode: Episode, edits: Sequence[Edit]) -> Episode:
    """The episode with its edits made; each changed utterance names the repair, `raw` stays."""
    utterances = list(episode.utterances)
    for edit in edits:
        utterances[edit.utterance] = _edited(utterances[edit.utterance], edit.after)
    return episode.model_copy(update={"utterances": tuple(utterances)})


def _edited(utterance: Utterance, text: str) -> Utterance:
    repairs = (*(name for name in utterance.repairs if name != EDITED), EDITED)
    return replace(utterance, text=text, repairs=repairs, crisis=crisis_kinds(text))


def current(decisions: Iterable[Decision], version: int) -> dict[str, Decision]:
    """Each reviewer's latest decision about `version`; decisions come oldest first."""
    return {d.reviewer: d for d in decisions if d.version == version}


def standing(
    episode: str,
    version: int,
    decisions: Sequence[Decision],
    edits: Sequence[Edit] = (),
    *,
    required: int = REQUIRED_REVIEWERS,
    ruling: Ruling | None = None,
) -> Standing:
    """The rule: one rejection rejects, `required` approvals approve, all of the current version.

    Where an adjudicator has ruled about the current version, that is how it stands.

    Args:
        episode: its id.
        version: the current one.
        decisions: all about this episode, oldest first.
        edits: all of this episode, oldest first.
        required: how many reviewers must approve.
        ruling: the latest about this episode.
    """
    counted = current(decisions, version)
    approved = tuple(r for r, d in counted.items() if d.verdict is Verdict.APPROVE)
    rejected = {r: d.reason for r, d in counted.items() if d.verdict is Verdict.REJECT}
    state = ReviewState.PENDING
    ruled = ruling if ruling is not None and ruling.version == version else None
    if ruled is not None:
        approves = ruled.verdict is Verdict.APPROVE
        state = ReviewState.APPROVED if approves else ReviewState.REJECTED
    elif rejected:
        state = ReviewState.REJECTED
    elif len(approved) >= required:
        state = ReviewState.APPROVED
    return Standing(
        id=episode,
        state=state,
        version=version,
        approved_by=approved,
        rejected=rejected,
        outdated=tuple(d for d in decisions if d.version != version),
        edits=tuple(edits),
        ruling=ruled,
    )


def reading_order(episodes: Iterable[str], reviewer: str, seed: int) -> list[str]:
    """The ids in this reviewer's own random order; the same for the same seed and reviewer.

    Every id has its place by its own hash, so an enlarged corpus leaves the order of the rest.
    """
    return hashed_reading_order(episodes, seed, reviewer)


def judgements(decisions: Iterable[Decision]) -> dict[tuple[str, int], dict[str, str]]:
    """Verdict by reviewer for each (episode, version): the items that agreement is counted over."""
    items: dict[tuple[str, int], dict[str, str]] = {}
    for decision in decisions:
        item = items.setdefault((decision.episode, decision.version), {})
        item[decision.reviewer] = decision.verdict.value
    return items


def agreement_items(decisions: Iterable[Decision]) -> list[Mapping[str, str]]:
    """The same without the ids, as the functions of `agreement.py` take them."""
    return list(judgements(decisions).values())


def ratings_of(decisions: Sequence[Decision]) -> list[Rating]:
    """Each reviewer's latest decision about each version, as ratings of the whole conversation.

    The value is 1 for approved and 0 for rejected; the version is in the notes, since an edit makes
    another text of the conversation.
    """
    latest = {(d.episode, d.version, d.reviewer): d for d in decisions}
    return [
        Rating(
            episode=d.episode,
            rater=d.reviewer,
            kind="human",
            dimension="approved",
            value=float(d.verdict is Verdict.APPROVE),
            explanation=d.reason,
            rubric=RUBRIC,
            notes={"version": d.version, "at": d.at},
        )
        for d in latest.values()
    ]


def decision_records(
    standings: Iterable[Standing], decisions: Iterable[Decision]
) -> list[dict[str, Any]]:
    """One plain record a dialogue: where it stands, every decision and every edit."""
    by_episode: dict[str, list[dict[str, Any]]] = {}
    for decision in decisions:
        record = decision.model_dump(mode="json", exclude={"episode"})
        by_episode.setdefault(decision.episode, []).append(record)
    return [
        {
            "episode": s.id,
            "state": s.state.value,
            "version": s.version,
            "decisions": by_episode.get(s.id, []),
            "edits": [edit.model_dump(mode="json", exclude={"episode"}) for edit in s.edits],
            "ruling": s.ruling and s.ruling.model_dump(mode="json", exclude={"episode"}),
        }
        for s in standings
    ]
