"""One exchange between a person on a page and a supporter: the environment's own loop, one turn of it.

What the person typed is said in the seeker's seat and answered by the supporter, under the same limits
and the same rules of crisis language as in any conversation (`environments/dialogue/conversation.py`).
The dialogue is an ordinary `Episode` before and after, so whatever happens between two exchanges, no
word is lost, and the seeds are those of a conversation that was never interrupted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from ...agents.base import A, Agent, O
from ...agents.observations import Say, SeekerObservation
from ...agents.roles import Role
from ...agents.seeker import Seeker
from ...core.errors import ParticipantLeft, PolicyCrashed, PolicyError, UnreadableReply
from ...environments.dialogue.conversation import GUIDANCE, Conversation, PendingCall
from ...environments.dialogue.environment import SupportEnvironment
from ...environments.dialogue.seating import Seats
from ...environments.dialogue.spoken import Spoken
from ...environments.dialogue.state import Dialogue
from ...environments.episodes.episode import Episode, Speaker, StopReason, Utterance
from ...environments.runs.settings import RoleSettings, RunSettings
from ...environments.runs.simulate import build_environment
from ...environments.scenarios.scenario import Scenario
from ...policies.base import BasePolicy, Message, Reply, Request
from ...policies.safety import crisis_kinds
from ...policies.text.aloud import Hear, heard
from ...policies.text.sentences import whole_sentences
from .aloud import Aloud
from .settings import StudySettings

INVITATION = "Write about what weighs on you."


class TypedWords(BasePolicy):
    """What a person typed on a page, once; then they have left, for now."""

    name = "human"
    is_person = True

    def __init__(self, said: str | Reply) -> None:
        self._said: str | Reply | None = said

    async def respond(self, request: Request) -> Reply:
        """The words; asked again, `ParticipantLeft`."""
        said, self._said = self._said, None
        if said is None:
            raise ParticipantLeft("the person writes on the page when they like")
        if isinstance(said, Reply):
            return said
        kinds = crisis_kinds(said)
        notes = {"human": {"crisis": {"kinds": list(kinds)}}} if kinds else None
        return Reply(said, policy=self.name, notes=notes)


class PersonAsSeeker(Seeker):
    """A person in the seeker's seat: of what the page shows, the record holds what was said last."""

    def request(
        self,
        observation: SeekerObservation,
        *,
        seed: int | None = None,
        session: str = "",
        max_sentences: int | None = None,
    ) -> Request:
        """What the person heard last, or the page's invitation; no sampling."""
        heard = observation.history[-1].text if observation.history else INVITATION
        return Request(
            (Message("user", heard),),
            role=self.role.value,
            session=session,
            observation=observation,
        )

    def read(self, reply: Reply) -> Say:
        """The words as they were typed: nothing in them is a command."""
        return Say(reply.text.strip())


class PersonTalk(Conversation):
    """A conversation in which what the person typed is neither cut nor trimmed; replies are.

    Attributes:
        hear: is given, while the supporter writes, what of it may be shown.
    """

    hear: Hear | None = None

    async def _ask(
        self, agent: Agent[O, A], observation: O, pending: PendingCall | None = None
    ) -> tuple[A, Reply, int]:
        with heard(agent.policy, self.hear if agent.role is Role.SUPPORTER else None):
            return await super()._ask(agent, observation, pending)

    def showable(self, raw: str) -> str | None:
        """What may be shown of a reply that is still being written.

        The sentences that are whole and that a whole one follows, as they will stand in the record:
        read, trimmed and capped like every reply. None once crisis language is found in all that was
        written: it is held back. It may take two sentences to be found, so one waits for the next.
        """
        said = self.seats.supporter.read(Reply(raw))
        text, _, crisis = self._within_limits(said, Role.SUPPORTER)
        if crisis or crisis_kinds(said.text):
            return None
        return whole_sentences(text, before=1)

    def _within_limits(
        self, said: Say, speaker: Speaker
    ) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        if speaker is Role.SEEKER:
            return said.text, said.repairs, crisis_kinds(said.text)
        return super()._within_limits(said, speaker)


@dataclass(frozen=True, slots=True)
class Exchanged:
    """What an exchange came to.

    Attributes:
        episode: the dialogue with it.
        reply: the supporter's utterance.
        guidance: it is the help-line guidance in a small model's place.
        closes: the supporter asked to end.
    """

    episode: Episode
    reply: Utterance
    guidance: bool
    closes: bool


class Unanswered(PolicyError):
    """What was said was not answered.

    Attributes:
        episode: the dialogue as it was before, with the calls that failed: asked again, the model gets
            other seeds.
    """

    def __init__(self, error: PolicyError, episode: Episode) -> None:
        super().__init__(f"{type(error).__name__}: {error.message}", hint=error.hint)
        self.episode = episode


def environments_of(settings: StudySettings) -> dict[str, SupportEnvironment]:
    """One environment a model, in which a person is the seeker and nobody judges.

    Raises:
        ConfigError: an unknown policy, or options that do not fit.
    """
    return {name: _environment(settings, model) for name, model in settings.models.items()}


def _environment(settings: StudySettings, model: RoleSettings) -> SupportEnvironment:
    advised = settings.counselor is not None and not model.unadvised
    own = model if model.policy else model.model_copy(update={"policy": "embedded"})
    run = RunSettings(
        supporter=own,
        counselor=settings.counselor if advised else RoleSettings(seated=False),
        judger=RoleSettings(seated=False),
        max_turns=2 * settings.max_exchanges + 2,
        max_sentences=settings.max_sentences,
        stop_on_farewell=False,
        trim_greetings=True,
    )
    seats: Mapping[Role, Any] = {Role.SEEKER: _person()}
    return build_environment(run, seats)


@cache
def _person() -> PersonAsSeeker:
    """The seat, made once: its prompt template is read then."""
    return PersonAsSeeker(TypedWords(""))


def begun(environment: SupportEnvironment, scenario: Scenario, seed: int) -> Episode:
    """The episode of a conversation in which nothing has been said."""
    started = datetime.now(UTC).isoformat()
    dialogue = Dialogue(scenario, seed, environment.config_hash, started)
    return dialogue.close(StopReason.LEFT, seconds=0.0)


async def exchange(
    environment: SupportEnvironment,
    episode: Episode,
    said: str | Reply,
    *,
    aloud: Aloud | None = None,
) -> Exchanged:
    """Say something in the seeker's seat and let the supporter answer.

    Args:
        environment: of the model that answers.
        episode: the dialogue so far, of which the supporter or nobody has spoken last.
        said: what the person typed; a reply of the policy `human` keeps its notes.
        aloud: is given what of the reply may be shown while it is written, if the engine can be heard.

    Raises:
        Unanswered: nothing was answered; the dialogue so far is unchanged.
    """
    dialogue = Dialogue.reopened(episode)
    before = len(dialogue.turns)
    spoken: list[Spoken] = []
    person = copy(_person())
    person.policy = TypedWords(said)
    seats = Seats(
        person,
        environment.supporter,
        environment.counselor,
    )
    started = time.perf_counter()
    cases = environment.cases.draw(
        episode.scenario.problem_type,
        environment.limits.case_dialogues,
        scenario_id=episode.scenario.id,
    )
    conversation = PersonTalk(
        seats, environment.limits, dialogue, spoken.append, cases=cases, speculative=False
    )
    following = None
    if aloud is not None:
        conversation.hear = aloud.hear
        following = asyncio.create_task(aloud.follow(conversation.showable))
    stop = StopReason.LEFT
    try:
        stop = await conversation.play()
    except ParticipantLeft:
        pass
    except PolicyError as error:
        cause = error.original if isinstance(error, PolicyCrashed) else error
        raise Unanswered(error, _without_turns(dialogue, before)) from cause
    finally:
        if following is not None:
            following.cancel()
    if len(dialogue.turns) < before + 2:
        silent = UnreadableReply(
            "the supporter said nothing", hint="ask again, or look at the model's raw replies"
        )
        raise Unanswered(silent, _without_turns(dialogue, before))
    took = (episode.timing.seconds if episode.timing else 0.0) + time.perf_counter() - started
    whole = dialogue.close(StopReason.LEFT, seconds=took)
    reply = whole.utterances[-1]
    made_by = whole.calls[reply.call].policy if reply.call is not None else ""
    return Exchanged(
        whole, reply, guidance=made_by == GUIDANCE, closes=stop is StopReason.SUPPORTER_CLOSED
    )


def ended(episode: Episode, stop: StopReason, annotations: Mapping[str, Any]) -> Episode:
    """The record of a conversation that is over, with what the study knows of it."""
    return episode.model_copy(update={"stop": stop, "annotations": {"study": dict(annotations)}})


def _without_turns(dialogue: Dialogue, keep: int) -> Episode:
    """The dialogue's first `keep` turns, with every call that was made."""
    del dialogue.turns[keep:], dialogue.utterances[keep:]
    return dialogue.close(StopReason.LEFT, seconds=0.0)
