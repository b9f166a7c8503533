"""A supporter behind the server: its prompt, its sentence cap, and the help lines of a small model."""

from __future__ import annotations

import dataclasses

from ...agents.observations import SupporterBrief, SupporterObservation, Turn
from ...agents.roles import Role
from ...agents.supporter import Supporter
from ...core.errors import UnreadableReply
from ...core.outside.text import is_blank
from ...policies.asking import ask_policy
from ...policies.base import Policy, Reply, Request, Usage, capabilities_of
from ...policies.safety import CRISIS_GUIDANCE, crisis_kinds
from ...policies.text.sentences import cap_sentences
from ..dialogue.conversation import GUIDANCE
from ..dialogue.defaults import sampling_for, wants_openings
from ..dialogue.limits import HISTORY_WINDOW
from ..scenarios.scenario import UNSPECIFIED
from .bodies import FieldRefused


class SupporterSeat:
    """Asks a policy as the environment asks it in the supporter's seat, for talks held elsewhere.

    The user's messages are the seeker's, the assistant's the supporter's own. There is no counselor,
    so the prompt tells of no strategy. Where the last message has crisis language and the policy is
    a small model, the answer is the help-line guidance, as in a talk with a person.

    Args:
        policy: decides the words.
        problem_type: what the talk is about, where that is known.
        max_sentences: an answer is cut after so many.
    """

    def __init__(
        self, policy: Policy, *, problem_type: str = UNSPECIFIED, max_sentences: int = 3
    ) -> None:
        self.policy, self.max_sentences = policy, max_sentences
        self.agent = Supporter(policy, openings=wants_openings(policy))
        self.brief = SupporterBrief(problem_type)

    async def respond(self, request: Request) -> Reply:
        """The supporter's next words.

        Raises:
            FieldRefused: a system message, a schema, or a talk in which the seeker does not have the
                last word.
            PolicyError: the policy failed, or said nothing.
        """
        turns = _turns(request)
        small = (able := capabilities_of(self.policy)) is not None and able.small_model
        if small and crisis_kinds(turns[-1].text):
            return Reply(CRISIS_GUIDANCE, policy=GUIDANCE, usage=Usage())
        seen = SupporterObservation(self.brief, turns[-HISTORY_WINDOW:], turn=len(turns) // 2)
        asked = self.agent.request(
            seen, seed=request.seed, session=request.session, max_sentences=self.max_sentences
        )
        sampling = request.sampling.over(sampling_for(Role.SUPPORTER, self.policy, asked.sampling))
        reply = await ask_policy(self.policy, dataclasses.replace(asked, sampling=sampling))
        text, _ = cap_sentences(self.agent.read(reply).text, self.max_sentences)
        if is_blank(text):
            raise UnreadableReply("the supporter said nothing; ask again with another seed")
        return dataclasses.replace(reply, text=text)


def _turns(request: Request) -> tuple[Turn, ...]:
    if request.schema is not None:
        raise FieldRefused("response_format", "a supporter answers in plain words; leave it out")
    turns = []
    for place, message in enumerate(request.messages):
        if message.role == "system":
            raise FieldRefused(
                f"messages.{place}.role",
                "the supporter has its own prompt; leave system messages out, or serve the policy"
                " without --seat",
            )
        role = Role.SEEKER if message.role == "user" else Role.SUPPORTER
        turns.append(Turn(role, message.content))
    if turns[-1].role is not Role.SEEKER:
        raise FieldRefused("messages", "the last message must be the user's")
    return tuple(turns)
