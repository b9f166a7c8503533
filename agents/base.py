"""The base of the four roles: an observation becomes a request, a reply becomes an action.

`request` and `read` are pure; the environment asks the policy itself, thousands of episodes at
once, so an agent keeps no state of any one conversation there. As an AutoGen `BaseChatAgent` the
same object can also sit in any AutoGen team, one conversation at a time; only there it keeps a
thread. AutoGen is confined to this file, `autogen_seat.py` and `environments/dialogue/team.py`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from autogen_agentchat.agents import BaseChatAgent
from autogen_agentchat.base import Response
from autogen_agentchat.messages import BaseChatMessage, TextMessage
from autogen_core import CancellationToken

from ..core.errors import ConfigError, did_you_mean
from ..core.source_text import AGENT_SOURCE_KEY, own_source
from ..policies.asking import ask_policy
from ..policies.base import Message, Policy, Reply, Request, Sampling, describe_policy
from .observations import Action, Advise, Judge, Observation, Say, Turn
from .roles import Role, Strategy, parse_strategy
from .templates import PromptTemplate

O = TypeVar("O", bound=Observation)  # noqa: E741 - the observation of a role
A = TypeVar("A", bound=Action)

MAX_CACHED_BRIEFS = 16384
"""System messages kept rendered by one agent: about as many as episodes may be open at once."""

BEGIN = "(Begin.)"
"""Stands before an own first utterance where the role's template has no opening."""

GO_ON = "(Go on.)"
"""Stands after an own last utterance where the role has nothing to add."""

ROLE_KEY = "warmline_role"
"""Metadata key by which our agents know each other's messages in an AutoGen team."""


class Agent(BaseChatAgent, Generic[O, A]):
    """One role.

    Args:
        policy: decides the words.
        name: AutoGen's name of the agent; the role's by default.
        template: a shipped template's name, a path, or the text of one; the role's by default.
        sampling: overrides the role's default sampling; None leaves a field as it is.

    Raises:
        ConfigError: a template that cannot be read.
    """

    role: ClassVar[Role]
    description_text: ClassVar[str]
    default_template: ClassVar[str]
    default_sampling: ClassVar[Sampling]

    def __init__(
        self,
        policy: Policy,
        *,
        name: str | None = None,
        template: str | Path | None = None,
        sampling: Sampling | None = None,
    ) -> None:
        if isinstance(policy, type) or not callable(getattr(policy, "respond", None)):
            raise ConfigError(
                f"{type(self).__name__} needs a policy, not "
                + (
                    f"the class {policy.__name__}"
                    if isinstance(policy, type)
                    else type(policy).__name__
                ),
                hint="a policy has an async method respond(request); build one by name with"
                " warmline.make_policy(...)",
            )
        super().__init__(name or self.role.value, self.description_text)
        self.policy = policy
        self.template = PromptTemplate(template or self.default_template)
        if "system" not in self.template.blocks:
            raise ConfigError(
                f"the {self.role.value}'s template has no block 'system'; its blocks:"
                f" {', '.join(self.template.blocks) or 'none'}",
                hint=did_you_mean("system", self.template.blocks)
                or f'begin it with {{% extends "{self.default_template}" %}} to replace one block',
            )
        self.sampling = (sampling or Sampling()).over(self.default_sampling)
        self._cache_briefs()
        self._thread: list[Turn] = []
        self._advice: Strategy | None = None

    def _cache_briefs(self) -> None:
        self._render_system = lru_cache(maxsize=MAX_CACHED_BRIEFS)(self._system_text)

    # Sent to another process, an agent leaves behind what it has rendered

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_render_system"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._cache_briefs()

    # The two pure halves of a role

    @abstractmethod
    def request(
        self,
        observation: O,
        *,
        seed: int | None = None,
        session: str = "",
        max_sentences: int | None = None,
    ) -> Request:
        """What the policy is asked. Pure: equal arguments give equal requests.

        Args:
            observation: what this role may know.
            seed: the call's seed.
            session: groups the calls that share a prefix (one role of one episode).
            max_sentences: the environment's sentence cap.
        """

    @abstractmethod
    def read(self, reply: Reply) -> A:
        """What the reply means. Pure; an answer that cannot be read is a missing value."""

    def describe(self) -> dict[str, Any]:
        """What decides this role's behaviour, as plain data; part of a run's identity."""
        source = own_source(self)
        return {
            "agent": f"{type(self).__module__}:{type(self).__qualname__}",
            **({} if source is None else {AGENT_SOURCE_KEY: source}),
            "template": self.template.sha256,
            "sampling": self.sampling.as_dict(),
            **describe_policy(self.policy),
        }

    # Rendering

    def system_values(self, brief: Any, max_sentences: int | None) -> dict[str, Any]:
        """Values for the `system` block; constant during an episode, so the prefix is stable."""
        raise NotImplementedError

    def system(self, brief: Any = None, max_sentences: int | None = None) -> Message:
        """The system message; rendered once for equal arguments."""
        return self._render_system(brief, max_sentences)

    def _system_text(self, brief: Any, max_sentences: int | None) -> Message:
        values = self.system_values(brief, max_sentences)
        return Message("system", self.template.render("system", **values))

    # AutoGen's side of the agent

    @property
    def produced_message_types(self) -> Sequence[type[BaseChatMessage]]:
        return (TextMessage,)

    @abstractmethod
    def observe(self, thread: Sequence[Turn], advice: Strategy | None) -> O:
        """The observation that an AutoGen thread gives this role."""

    async def on_messages(
        self,
        messages: Sequence[BaseChatMessage],
        cancellation_token: CancellationToken,
    ) -> Response:
        """Answer in an AutoGen team.

        Messages of our own counselor are read as advice, those of our judger are ignored; any other
        speaker counts as the other side of the conversation.
        """
        for message in messages:
            self._hear(message)
        request = self.request(self.observe(tuple(self._thread), self._advice))
        reply = await ask_policy(self.policy, request)
        action = self.read(reply)
        content = self._speak(action)
        return Response(
            chat_message=TextMessage(
                content=content, source=self.name, metadata={ROLE_KEY: self.role.value}
            )
        )

    async def on_reset(self, cancellation_token: CancellationToken) -> None:
        self._thread.clear()
        self._advice = None

    def _hear(self, message: BaseChatMessage) -> None:
        text = message.to_model_text()
        known = message.metadata.get(ROLE_KEY)
        if known == Role.JUDGER:
            return
        if known == Role.COUNSELOR:
            self._advice = parse_strategy(text)
            return
        other = Role.SEEKER if self.role is Role.SUPPORTER else Role.SUPPORTER
        self._thread.append(Turn(Role(known) if known else other, text))

    def _speak(self, action: Action) -> str:
        match action:
            case Say(text=text, closes=closes):
                self._thread.append(Turn(self.role, text))
                return text if not closes else f"{text} N/A".strip()
            case Advise(strategy=strategy):
                return strategy.value if strategy else ""
            case Judge(end=end):
                return {True: "YES", False: "NO", None: ""}[end]


@lru_cache(maxsize=1024)
def _note(content: str) -> Message:
    """A message in which nobody in the conversation said anything."""
    return Message("user", content, "")


def starts_with_own(history: Sequence[Turn], me: Role) -> bool:
    """Whether a prompt needs an opening: the dialogue is empty or begins with an own utterance."""
    return not history or history[0].role is me


def chat_messages(
    system: Message, history: Sequence[Turn], me: Role, *, opening: str = "", note: str = ""
) -> tuple[Message, ...]:
    """A dialogue as chat messages seen by one speaker, strictly alternating, `user` first and last.

    Own utterances become `assistant` messages. Many chat templates refuse two messages of one role
    in a row or a first message by the assistant: `opening` stands before an own first utterance,
    and `note` joins the last user message or follows an own last utterance.
    """
    messages = [system]
    if starts_with_own(history, me):
        messages.append(_note(opening or BEGIN))
    before = messages[-1]
    for turn in history:
        message = turn.message(turn.role is me)
        role = message.role
        if before.role == role:
            before = messages[-1] = Message(
                role,
                f"{before.content}\n\n{turn.text}",
                None if before.said is None else f"{before.said}\n\n{turn.text}".strip(),
            )
        else:
            messages.append(message)
            before = message
    if messages[-1].role == "assistant":
        messages.append(_note(note or GO_ON))
    elif note:
        last = messages[-1]
        messages[-1] = Message("user", f"{last.content}\n\n{note}", last.utterance)
    return tuple(messages)
