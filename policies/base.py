"""What passes between an agent and whatever decides its words: `Request` in, `Reply` out.

A `Policy` has one asynchronous method. Everything that decides text is one: a server, an in-process
engine, a script, a recording, a person. What changes *how* a policy is asked (retry, cache, best of
n) is a policy around a policy. Requests and replies are plain frozen values: they are made several
times a turn in thousands of concurrent episodes, so they carry no validation machinery.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Literal, Protocol, Self, runtime_checkable

from pydantic import Field

from ..core.errors import ConfigError, ReplyTooLong, Unsupported
from ..core.record import quick
from ..core.source_text import SOURCE_KEY, own_source
from .sampling import DRAWING as DRAWING
from .sampling import THINKING as THINKING
from .sampling import Sampling as Sampling
from .sampling import set_fields

MAX_REPLY_CHARS = 200_000
"""Longest text of a reply, in characters, where nothing else is set: far more than any role says."""

_AS_IT_IS = Sampling()

ChatRole = Literal["system", "user", "assistant"]


@quick
@dataclass(frozen=True, slots=True)
class Message:
    """One chat message, in the roles that chat templates know.

    Attributes:
        said: what somebody in the conversation said, where `content` also holds a note to the model;
            empty for a note alone, None where there is no note and all of `content` was said. Kept
            beside the message; engines, comparisons and records see `content` only.
    """

    role: ChatRole
    content: str
    said: str | None = field(default=None, compare=False, repr=False)

    @property
    def utterance(self) -> str:
        """What somebody said, without notes to the model; empty if the message is a note alone."""
        return self.content if self.said is None else self.said


def _unset(value: object) -> bool:
    """Keeps a mark out of the records of the many that do not have it."""
    return not value


@quick
@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call, or a sum. `cached_tokens` of the `prompt_tokens` came from a prefix cache.

    Attributes:
        estimated: counted by characters, at least in part, since the engine did not say.
        thinking_tokens: those of the `completion_tokens` that the model thought.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    estimated: Annotated[bool, Field(exclude_if=_unset)] = False
    thinking_tokens: Annotated[int, Field(exclude_if=_unset)] = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.cached_tokens + other.cached_tokens,
            self.completion_tokens + other.completion_tokens,
            self.estimated or other.estimated,
            self.thinking_tokens + other.thinking_tokens,
        )

    def continued(self, second: Usage, *, thought: bool) -> Usage:
        """The tokens of an answer that a second pass continued; the prompt is counted once.

        Args:
            second: of that pass, whose prompt is this one and what was written after it.
            thought: what the first pass wrote is thinking.
        """
        return Usage(
            self.prompt_tokens,
            self.cached_tokens,
            self.completion_tokens + second.completion_tokens,
            thinking_tokens=self.completion_tokens if thought else 0,
        )

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


class FinishReason(StrEnum):
    """Why the engine stopped writing."""

    STOP = "stop"
    """The model ended its answer."""
    LENGTH = "length"
    """`max_tokens` or the end of the context."""
    SENTENCES = "sentences"
    """`max_sentences` were complete."""
    CHOICE = "choice"
    """One of `choices` was chosen."""


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One generated token and its log-probability (nats)."""

    token: str
    logprob: float


@quick
@dataclass(frozen=True, slots=True)
class Request:
    """One question to a policy.

    Attributes:
        messages: the rendered prompt.
        role: who is speaking: `seeker`, `counselor`, `supporter`, `judger`, or a user's own.
        sampling: how to draw tokens.
        seed: the call's seed; gives the same reply again on an engine that honours seeds.
        choices: the answer must be exactly one of these.
        schema: the answer must be JSON that fits this JSON schema.
        max_sentences: stop once this many sentences are complete.
        prefill: the answer begins with this text; `Reply.text` includes it.
        logprobs: also return the log-probability of each generated token.
        session: one role of one episode, whose requests share most of their prefix; an engine may
            keep them on the same cache slot.
        observation: what `messages` were rendered from, for policies that need no text.
    """

    messages: tuple[Message, ...]
    role: str = ""
    sampling: Sampling = _AS_IT_IS
    seed: int | None = None
    choices: tuple[str, ...] | None = None
    schema: Mapping[str, Any] | None = None
    max_sentences: int | None = None
    prefill: str = ""
    logprobs: bool = False
    session: str = ""
    observation: object = None


@quick
@dataclass(frozen=True, slots=True)
class Reply:
    """What a policy answered.

    Attributes:
        text: the raw answer, the prefill included, nothing trimmed but surrounding white space.
        finish_reason: why it ended.
        usage: tokens, or None where the engine does not say.
        latency: seconds from asking to answer, waiting included; None where nobody measured.
        policy: name of the policy that answered, as it should appear in a record.
        logprobs: one entry a generated token, where asked for.
        attempts: requests sent to get this answer, retries and re-asks included.
        cached: the answer came from a store and cost nothing now; `usage` is what it cost
            originally.
        notes: what a wrapper wants kept in the record, as plain data under the wrapper's name (the
            analysis behind a rewritten reply, the scores of the candidates).
        thinking: what the model thought before it answered, for the record alone.
    """

    text: str
    finish_reason: FinishReason = FinishReason.STOP
    usage: Usage | None = None
    latency: float | None = None
    policy: str = ""
    logprobs: tuple[TokenLogprob, ...] | None = None
    attempts: int = 1
    cached: bool = False
    notes: Mapping[str, Any] | None = None
    thinking: str | None = None


def refuse_too_long(chars: int, max_chars: int) -> None:
    """Refuse a reply of `chars` characters where at most `max_chars` are taken.

    Raises:
        ReplyTooLong: names both numbers.
    """
    if chars > max_chars:
        raise ReplyTooLong(chars=chars, most=max_chars)


@runtime_checkable
class Policy(Protocol):
    """Decides text. One method is all that is needed:

    ```python
    class Echo:
        async def respond(self, request: Request) -> Reply:
            return Reply(text=request.messages[-1].content)
    ```

    A policy may also have `name` (for records), `capabilities` (checked against each request),
    `describe()` (its identity, saved with a run), `open()` and `aclose()`; `BasePolicy` has them.
    """

    async def respond(self, request: Request) -> Reply:
        """Answer one request.

        Raises:
            PolicyError: the engine failed; `retryable` says whether asking again can help.
        """
        ...


@runtime_checkable
class ScoringPolicy(Policy, Protocol):
    """A policy that can also score a given text: how likely it would be as the answer."""

    async def score(self, request: Request, continuation: str) -> tuple[TokenLogprob, ...]:
        """Log-probabilities (nats) of the tokens of `continuation` as the answer to `request`.

        Unscaled: temperature, penalties and constraints of the request do not enter. The end token
        is not counted. `request.prefill`, if any, comes before the continuation and is not scored.

        Raises:
            ContextTooLong: prompt and continuation do not fit.
        """
        ...


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine honours. An option outside these raises `Unsupported`, it is never ignored.

    Attributes:
        choices: `Request.choices`; always answered with one of them.
        schema: `Request.schema`.
        max_sentences: generation stops early (the environment cuts in any case).
        prefill: `Request.prefill`.
        logprobs: `Request.logprobs`.
        seed: same request, same seed, same reply.
        score: `score()` gives the log-probabilities of a given continuation.
        lora: a LoRA adapter can be attached to the model.
        sampling: names of the `Sampling` fields that are honoured.
        small_model: helps for small models (short prompts and conversations, pre-filled openings) are
            on unless switched off.
        knows_seats: it learned to play the roles from what they are asked, and needs no openings.
        only: where not empty, nothing is answered but a choice among some of these.
    """

    choices: bool = True
    schema: bool = False
    max_sentences: bool = True
    prefill: bool = False
    logprobs: bool = False
    seed: bool = True
    score: bool = False
    lora: bool = False
    sampling: frozenset[str] = DRAWING
    small_model: bool = False
    knows_seats: bool = False
    only: tuple[str, ...] = ()


class BasePolicy:
    """Convenience base: a name, stated capabilities, and nothing to open or close."""

    name: str = "policy"
    capabilities: Capabilities = Capabilities()

    async def respond(self, request: Request) -> Reply:
        raise NotImplementedError(f"{type(self).__name__} must define respond()")

    async def open(self) -> None:
        """Get ready, and fail early: load weights, reach the server, check the key."""

    async def aclose(self) -> None:
        """Free memory, connections and slots. Safe to call twice."""

    def describe(self) -> dict[str, Any]:
        """What decides the answers, as plain data without secrets; saved and compared on resume."""
        return {"policy": self.name}

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    def check(self, request: Request) -> None:
        """Refuse options that this engine cannot honour, alone or together.

        Raises:
            Unsupported: names the options and what the engine can do.
        """
        able, fields = self.capabilities, set_fields(request.sampling)
        plain = request.schema is None and not request.prefill and not request.logprobs
        fitting = request.choices is None or (able.choices and request.choices)
        if plain and fitting and able.sampling.issuperset(fields):
            return
        asked = ["choices"] if request.choices is not None else []
        asked += ["schema"] if request.schema is not None else []
        asked += ["prefill"] if request.prefill else []
        refused = [name for name in asked if not getattr(able, name)]
        if request.logprobs and not able.logprobs:
            refused.append("logprobs")
        refused += [f for f in fields if f not in able.sampling]
        if refused:
            raise Unsupported(
                f"policy '{self.name}' cannot honour {', '.join(refused)}",
                hint="leave the option out for this role, or use a policy that has it"
                " (`warmline doctor` lists what each can do)",
            )
        if request.choices is not None and not request.choices:
            raise Unsupported("choices must hold at least one option")
        if len(asked) > 1:
            raise Unsupported(
                f"policy '{self.name}' cannot honour {' and '.join(asked)} together",
                hint="ask for one of them",
            )


def policy_name(policy: Policy) -> str:
    """The name of a policy for records: its `id` or `name`, else its class's."""
    named = getattr(policy, "id", None) or getattr(policy, "name", None)
    return str(named or type(policy).__name__)


def capabilities_of(policy: Policy) -> Capabilities | None:
    """What a policy says it can do, or None if it does not say (then it is simply asked)."""
    able = getattr(policy, "capabilities", None)
    return able if isinstance(able, Capabilities) else None


def describe_policy(policy: Policy) -> dict[str, Any]:
    """The identity of a policy as plain data: its own description, else its class and its source."""
    describe = getattr(policy, "describe", None)
    if describe is not None:
        given: object = describe()
        if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
            raise ConfigError(
                f"describe() of policy '{policy_name(policy)}' must give a mapping with names of"
                f" type str, not {given!r:.60}"
            )
        described = dict(given)
    else:
        described = {"policy": f"{type(policy).__module__}:{type(policy).__qualname__}"}
    source = own_source(policy)
    return described if source is None else {**described, SOURCE_KEY: source}


def model_folders(policy: Policy) -> tuple[str, ...]:
    """Folders of the weights that answer, those of policies within it included; none if it does not
    say. Beside a checkpoint's weights stands what it has learned from."""
    return tuple(getattr(policy, "model_folders", ()))


async def open_policy(policy: Policy) -> None:
    """Call `open()` where the policy has one."""
    if (opener := getattr(policy, "open", None)) is not None:
        await opener()


async def close_policy(policy: Policy) -> None:
    """Call `aclose()` where the policy has one."""
    if (closer := getattr(policy, "aclose", None)) is not None:
        await closer()
