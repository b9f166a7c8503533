"""The episode record: all that happened in one conversation, frozen and versioned.

Training, evaluation and replay need nothing else: every model call is here with its exact messages,
sampling and seed. Messages are stored once and referred to by index, since the calls of an episode
share most of them. `Episode.content` is the part that is equal for equal runs.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticSerializationError

from ...agents.roles import Role, Strategy
from ...core.record import PlainData, Record, quick
from ...policies.base import FinishReason, Message, Sampling, Usage
from ...policies.endpoints.notes import without_endpoints
from ..scenarios.scenario import Scenario
from .html import conversation_html

EPISODE_VERSION: Literal[1] = 1


_AS_IT_IS = Sampling()

CLOSED: ConfigDict = {"extra": "forbid"}
"""The small records are plain dataclasses, cheap in the loop; they are checked when read."""

Speaker = Literal[Role.SEEKER, Role.SUPPORTER]


class StopReason(StrEnum):
    """Why a conversation ended; decided by the environment alone."""

    JUDGER = "judger"
    """The judger found it complete."""
    SUPPORTER_CLOSED = "supporter_closed"
    """The supporter answered `N/A`."""
    FAREWELL = "farewell"
    """Both said goodbye."""
    LEFT = "left"
    """A person in a seat left."""
    TURN_LIMIT = "turn_limit"
    """`max_turns` utterances were spoken."""
    TOKEN_BUDGET = "token_budget"  # noqa: S105 - no password
    """The episode's tokens were used up."""
    ERROR = "error"
    """A known error of a policy; see `Episode.error`."""
    REFUSED = "refused"
    """A content filter or the model refused to let somebody speak; `Episode.error` has its words."""
    RECORDED = "recorded"
    """An imported conversation; why it ended is not known."""

    @property
    def truncated(self) -> bool:
        """Whether a limit or an error cut the conversation short (rather than its own end)."""
        return self.failed or self in (StopReason.TURN_LIMIT, StopReason.TOKEN_BUDGET)

    @property
    def failed(self) -> bool:
        """Whether somebody could not be made to speak; `Episode.error` says why."""
        return self in FAILED


FAILED = frozenset({StopReason.ERROR, StopReason.REFUSED})
"""Ends of conversations that another start may play again (`retry_failed`)."""


def _absent(value: object) -> bool:
    """Keeps a field out of the records of the many that do not have it."""
    return value is None


@quick
@dataclass(frozen=True, slots=True)
class Utterance:
    """One utterance.

    Attributes:
        role: seeker or supporter.
        text: as the others heard it.
        raw: as the policy wrote it.
        strategy: of this supporter turn: the counselor's choice, or as `strategy_by` says.
        repairs: what was done between raw and text, by name; `sentence_cap` is one.
        crisis: kinds of crisis language found in the text.
        call: index of the call that made it; None where no policy did (an imported conversation).
        labels: every strategy that a source gives for this utterance, in order, where it gives
            several; `strategy` is the first of them.
        strategy_by: `model` where the supporter wrote the strategy in front of its own answer.
    """

    __pydantic_config__: ClassVar[ConfigDict] = CLOSED

    role: Speaker
    text: str
    raw: str
    call: int | None = None
    strategy: Strategy | None = None
    repairs: tuple[str, ...] = ()
    crisis: tuple[str, ...] = ()
    labels: tuple[Strategy, ...] = ()
    strategy_by: Literal["model"] | None = None

    @property
    def strategy_source(self) -> Literal["counselor", "model", "person"] | None:
        """Who chose the strategy: `person` is whoever labelled a recorded conversation."""
        if self.strategy is None:
            return None
        return self.strategy_by or ("person" if self.call is None else "counselor")

    @property
    def strategies(self) -> tuple[Strategy, ...]:
        """All its strategy labels, in order; none where it has none."""
        return self.labels or ((self.strategy,) if self.strategy else ())


@quick
@dataclass(frozen=True, slots=True)
class Verdict:
    """The judger's answer after `after` utterances; None where it could not be read."""

    __pydantic_config__: ClassVar[ConfigDict] = CLOSED

    after: int
    call: int
    end: bool | None = None


@quick
@dataclass(frozen=True, slots=True)
class Call:
    """One model call.

    Attributes:
        role: who asked.
        policy: name of the policy that answered.
        messages: indices into `Episode.messages`.
        text: the raw reply; None if the call failed.
        error: class and message of the failure.
        attempts: requests sent for it, retries included. Depends on the server, not on the seed.
        cached: answered from a cache; its tokens were paid before.
        notes: what a wrapper wants kept (an analysis, scores), by the wrapper's name.
        thinking: what the model thought before it answered; no role and no training row sees it
            unless a setting asks for it. `usage.thinking_tokens` counts it.
    """

    __pydantic_config__: ClassVar[ConfigDict] = CLOSED

    role: str
    policy: str
    messages: tuple[int, ...]
    sampling: Sampling = _AS_IT_IS
    seed: int | None = None
    choices: tuple[str, ...] | None = None
    json_schema: PlainData | None = None
    max_sentences: int | None = None
    prefill: str = ""
    text: str | None = None
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    attempts: int = 1
    cached: bool = False
    notes: PlainData | None = None
    error: str | None = None
    thinking: Annotated[str | None, Field(exclude_if=_absent)] = None


class EpisodeError(Record):
    """The error that ended an episode.

    Attributes:
        traceback: where it was raised, for an error that a policy did not raise deliberately; the
            last 8,000 characters.
    """

    type: str
    message: str
    role: str
    retryable: bool = False
    traceback: str | None = Field(None, repr=False)


class Timing(Record):
    """What differs between two equal runs.

    Attributes:
        started: UTC, ISO 8601.
        seconds: from start to end.
        latencies: seconds of each call, in order, waiting included; None where not measured.
    """

    started: str
    seconds: float
    latencies: tuple[float | None, ...] = ()


class Episode(Record):
    """One conversation, simulated here or imported.

    Attributes:
        id: the scenario's id.
        seed: the run's seed; with the id it gives every call's seed.
        config_hash: of everything that decides the content besides scenario and seed.
        messages: every distinct message of the episode, in order of first use.
        timing: None for an imported conversation.
        source: the corpus that it was imported from; empty for one simulated here.
        annotations: what a source has beyond our fields (survey scores, its own labels), as plain
            data under the source's own names.
    """

    version: Literal[1] = EPISODE_VERSION
    id: str
    scenario: Scenario
    seed: int = 0
    config_hash: str = ""
    stop: StopReason
    error: EpisodeError | None = None
    utterances: tuple[Utterance, ...]
    verdicts: tuple[Verdict, ...] = ()
    calls: tuple[Call, ...] = ()
    messages: tuple[Message, ...] = ()
    timing: Timing | None = Field(None, repr=False)
    source: str = ""
    annotations: PlainData | None = None

    @model_validator(mode="after")
    def _refers_to_what_is_there(self) -> Self:
        """Refuse references to calls and messages that the record does not hold."""
        calls, messages = range(len(self.calls)), range(len(self.messages))
        for number, said in enumerate(self.utterances):
            if said.call is not None and said.call not in calls:
                raise ValueError(
                    f"utterance {number} names call {said.call}; there are {len(calls)} calls"
                )
        for number, verdict in enumerate(self.verdicts):
            if verdict.call not in calls:
                raise ValueError(
                    f"verdict {number} names call {verdict.call}; there are {len(calls)} calls"
                )
        for number, call in enumerate(self.calls):
            if not all(index in messages for index in call.messages):
                raise ValueError(
                    f"call {number} names messages {call.messages!r:.60};"
                    f" there are {len(messages)} messages"
                )
        timed = len(self.timing.latencies) if self.timing else 0
        if timed not in (0, len(calls)):
            raise ValueError(f"timing has {timed} latencies for {len(calls)} calls")
        return self

    @property
    def truncated(self) -> bool:
        """Whether a limit or an error cut it short."""
        return self.stop.truncated

    @property
    def imported(self) -> bool:
        """Whether it was imported and not simulated: people may have written it."""
        return self.stop is StopReason.RECORDED

    @property
    def usage(self) -> Usage:
        """Tokens of all calls whose engine reported them."""
        return sum((call.usage for call in self.calls if call.usage), Usage())

    def call_messages(self, call: Call) -> tuple[Message, ...]:
        """The exact messages that a call sent."""
        return tuple(self.messages[index] for index in call.messages)

    def transcript(self) -> str:
        """The conversation as plain text, one utterance a line."""
        return "\n".join(f"{u.role.value.capitalize()}: {u.text}" for u in self.utterances)

    def _repr_html_(self) -> str:
        """The conversation as a notebook shows it."""
        return conversation_html(self)

    def content(self) -> dict[str, Any]:
        """The record without what may differ between two equal runs.

        That is `timing`, an error's traceback, and of each call the attempts, whether a cache
        answered, how many prompt tokens a prefix cache held, and which of several servers answered.
        """
        left_out = {"timing": True, "error": {"traceback"}}
        record = self.model_dump(mode="json", exclude=left_out)  # type: ignore[arg-type]
        for call in record["calls"]:
            del call["attempts"], call["cached"]
            if call["usage"]:
                del call["usage"]["cached_tokens"]
            call["notes"] = without_endpoints(call["notes"])
        return record

    def to_json(self) -> str:
        """One line of the log."""
        with suppress(PydanticSerializationError):  # half of a character, which UTF-8 cannot hold
            return self.model_dump_json(exclude_none=True)
        return json.dumps(
            self.model_dump(mode="json", exclude_none=True),
            ensure_ascii=False,
            separators=(",", ":"),
        )
