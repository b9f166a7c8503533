"""Role inconsistency by a judge policy: one constrained question a dialogue, kept as a `Rating`.

Off unless a judge is given. What it answered stands in `ratings.jsonl` and is not asked again; a
question that failed for a reason that can pass (no connection, a timeout) is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ....core.errors import PolicyError
from ....core.seeds import call_seed
from ....policies.answers import match_choice
from ....policies.asking import ask_policy
from ....policies.base import Message, Policy, Request, Sampling, policy_name
from ...episodes.episode import Episode
from ...episodes.rating import Rating
from ..tags import Finding, Severity

NAME: Final = "role_judge"
DIMENSION: Final = "role_consistency"
RUBRIC: Final = "roles-1"
ANSWERS: Final = (
    "consistent",
    "seeker changes role",
    "supporter changes role",
    "both change roles",
)

_SYSTEM = (
    "You check the roles in transcripts of support conversations. The Seeker has a trouble and looks"
    " for support; the Supporter listens and helps. A speaker changes role by doing the other's part"
    " over several utterances: a Seeker who counsels the Supporter, or a Supporter who brings own"
    " troubles and asks for help with them. Asking back, thanks, kind words, a short story of one's"
    " own and goodbyes are no change of role."
)
_QUESTION = "Transcript:\n{transcript}\n\nDo both speakers keep their roles?"


@dataclass(frozen=True)
class RoleJudge:
    """Asks a policy whether the speakers keep their roles.

    Attributes:
        policy: answers with one of `ANSWERS`.
        concurrency: questions in flight.
        seed: of the run; each episode's question has its own, derived from it.
        sampling: overrides greedy decoding.
    """

    policy: Policy
    concurrency: int = 8
    seed: int = 0
    sampling: Sampling = field(default_factory=Sampling)

    @property
    def rater(self) -> str:
        """Under which name the ratings are kept."""
        return policy_name(self.policy)

    def request(self, episode: Episode) -> Request:
        """What is asked about an episode."""
        question = _QUESTION.format(transcript=episode.transcript())
        return Request(
            messages=(Message("system", _SYSTEM), Message("user", question)),
            role="judge",
            sampling=self.sampling.over(Sampling(temperature=0.0, max_tokens=12)),
            seed=call_seed(self.seed, f"{NAME}/{episode.id}", 0),
            choices=ANSWERS,
            session=f"{episode.id}/{NAME}",
        )

    async def rate(self, episodes: Sequence[Episode]) -> tuple[list[Rating], PolicyError | None]:
        """One rating an episode that was answered, in order.

        An answer that names no option, or an error that concerns this question alone (a transcript
        too long for the judge), gives a rating with the value None.

        Returns:
            The ratings, and the error because of which every other question would fail too.
        """
        free = asyncio.Semaphore(self.concurrency)

        async def one(episode: Episode) -> Rating | PolicyError:
            async with free:
                try:
                    reply = await ask_policy(self.policy, self.request(episode))
                except PolicyError as error:
                    notes = {
                        "error": f"{type(error).__name__}: {error}",
                        "retryable": error.retryable,
                    }
                    return error if error.fatal else self.rating(episode, None, notes)
            answer = match_choice(reply.text, ANSWERS)
            return self.rating(episode, answer, None if answer else {"raw": reply.text})

        outcomes = await asyncio.gather(*(one(episode) for episode in episodes))
        fatal = next((o for o in outcomes if isinstance(o, PolicyError)), None)
        return [o for o in outcomes if isinstance(o, Rating)], fatal

    def rating(
        self, episode: Episode, answer: str | None, notes: dict[str, Any] | None = None
    ) -> Rating:
        """The answer as a record: 1 for consistent, 0 for a change of role, None for no answer."""
        return Rating(
            episode=episode.id,
            rater=self.rater,
            kind="judge",
            dimension=DIMENSION,
            value=None if answer is None else float(answer == ANSWERS[0]),
            explanation=answer or "",
            rubric=RUBRIC,
            notes=notes,
        )


def may_answer_later(rating: Rating) -> bool:
    """Whether the question failed for a reason that can pass, so that it is worth asking again."""
    return rating.value is None and bool((rating.notes or {}).get("retryable"))


def judged(rating: Rating) -> tuple[Finding, ...]:
    """The finding that a rating gives: a change of role drops, an unreadable answer is flagged."""
    if rating.value is None:
        return (Finding(NAME, Severity.FLAG, "the judge gave no answer that can be read"),)
    if rating.value == 0:
        return (Finding(NAME, Severity.DROP, rating.explanation, value=rating.rater),)
    return ()
