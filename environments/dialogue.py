"""The state of one conversation under way, and how it becomes an `Episode`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from ..agents.observations import Turn
from ..agents.roles import Role, Strategy
from ..policies.base import Message, Reply, Request, policy_name
from ..policies.errors import PolicyError
from ..policies.safety import crisis_kinds
from .episode import (
    Call,
    Episode,
    EpisodeError,
    Speaker,
    StopReason,
    Timing,
    Utterance,
    Verdict,
)
from .scenarios import Scenario


def derive_seed(run_seed: int, scenario_id: str, call_index: int) -> int:
    """The seed of one call, in [0, 2**31): from run seed, scenario and call index alone.

    Neither order nor concurrency nor the worker enters, so equal runs give equal episodes.
    """
    key = f"{run_seed}\0{scenario_id}\0{call_index}".encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=4).digest(), "big") >> 1


@dataclass(slots=True)
class Dialogue:
    """One open conversation.

    Kept small: ten thousand may be open at once. Messages are shared between the calls, and the
    validated records are made only when the conversation ends.
    """

    scenario: Scenario
    seed: int
    config_hash: str
    started: str
    turns: list[Turn] = field(default_factory=list)
    utterances: list[Utterance] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    tokens: int = 0
    _calls: list[tuple[Request, str, tuple[int, ...], Reply | PolicyError]] = field(
        default_factory=list
    )
    _messages: dict[Message, int] = field(default_factory=dict)

    def next_seed(self) -> int:
        """The seed for the call that comes next."""
        return derive_seed(self.seed, self.scenario.id, len(self._calls))

    def session(self, role: Role) -> str:
        """Groups the calls of one role, whose prompts share a prefix."""
        return f"{self.scenario.id}/{role.value}"

    def record(self, request: Request, policy: object, answer: Reply | PolicyError) -> int:
        """Keep one call; returns its index."""
        refs = tuple(
            self._messages.setdefault(message, len(self._messages)) for message in request.messages
        )
        name = (answer.policy if isinstance(answer, Reply) else "") or policy_name(policy)  # type: ignore[arg-type]
        self._calls.append((request, name, refs, answer))
        if isinstance(answer, Reply) and answer.usage is not None:
            self.tokens += answer.usage.total_tokens
        return len(self._calls) - 1

    def say(
        self,
        role: Speaker,
        text: str,
        raw: str,
        *,
        call: int,
        strategy: Strategy | None = None,
        repairs: tuple[str, ...] = (),
    ) -> Utterance:
        """Add an utterance; crisis language in it is marked."""
        self.turns.append(Turn(role, text))
        utterance = Utterance.model_construct(
            role=role,
            text=text,
            raw=raw,
            strategy=strategy,
            repairs=repairs,
            crisis=crisis_kinds(text),
            call=call,
        )
        self.utterances.append(utterance)
        return utterance

    def judge(self, end: bool | None, call: int) -> None:
        """Add a verdict on the conversation so far."""
        self.verdicts.append(Verdict.model_construct(after=len(self.turns), end=end, call=call))

    def close(
        self, stop: StopReason, *, seconds: float, error: PolicyError | None = None
    ) -> Episode:
        """The finished record."""
        failure = None
        if error is not None:
            role = self._calls[-1][0].role if self._calls else ""
            failure = EpisodeError(
                type=type(error).__name__,
                message=str(error),
                role=role,
                retryable=error.retryable,
            )
        return Episode(
            id=self.scenario.id,
            scenario=self.scenario,
            seed=self.seed,
            config_hash=self.config_hash,
            stop=stop,
            error=failure,
            utterances=tuple(self.utterances),
            verdicts=tuple(self.verdicts),
            calls=tuple(_call(*entry) for entry in self._calls),
            messages=tuple(self._messages),
            timing=Timing(
                started=self.started,
                seconds=round(seconds, 4),
                latencies=tuple(
                    round(answer.latency, 4) if isinstance(answer, Reply) else 0.0
                    for *_, answer in self._calls
                ),
            ),
        )


def _call(
    request: Request, policy: str, refs: tuple[int, ...], answer: Reply | PolicyError
) -> Call:
    reply = answer if isinstance(answer, Reply) else None
    return Call(
        role=request.role,
        policy=policy,
        messages=refs,
        sampling=request.sampling,
        seed=request.seed,
        choices=request.choices,
        json_schema=dict(request.schema) if request.schema is not None else None,
        max_sentences=request.max_sentences,
        prefill=request.prefill,
        text=reply.text if reply else None,
        finish_reason=reply.finish_reason if reply else None,
        usage=reply.usage if reply else None,
        attempts=reply.attempts if reply else 1,
        error=None if reply else f"{type(answer).__name__}: {answer}",
    )
