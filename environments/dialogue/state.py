"""The state of one conversation under way, and how it becomes an `Episode`."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field

from ...agents.observations import Turn
from ...agents.roles import Role, Strategy
from ...agents.speech import written_strategy
from ...core.errors import PolicyCrashed, PolicyError
from ...core.outside.secrets import hide_secrets
from ...core.outside.text import clean_text
from ...core.seeds import call_seed
from ...policies.base import ChatRole, Message, Policy, Reply, Request, policy_name
from ..episodes.episode import (
    Call,
    Episode,
    EpisodeError,
    Speaker,
    StopReason,
    Timing,
    Utterance,
    Verdict,
)
from ..scenarios.scenario import Scenario
from .view import Heard

MAX_TRACEBACK = 8_000
"""Characters of a traceback that a record keeps, from its end, where the fault is."""


_NO_PROMPT: tuple[tuple[Message, ...], tuple[int, ...]] = ((), ())


@dataclass(slots=True)
class Dialogue:
    """One open conversation.

    Kept small, since ten thousand may be open at once: messages are shared between the calls, and
    of a call only what its record needs is kept.
    """

    scenario: Scenario
    seed: int
    config_hash: str
    started: str
    turns: Heard = field(default_factory=Heard)
    utterances: list[Utterance] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    tokens: int = 0
    _calls: list[Call] = field(default_factory=list)
    _latencies: list[float | None] = field(default_factory=list)
    _messages: dict[ChatRole, dict[str, int]] = field(default_factory=dict)
    _message_count: int = 0
    _placed: dict[int, int] = field(default_factory=dict)
    _held: list[Message] = field(default_factory=list)
    _latest: dict[str, tuple[tuple[Message, ...], tuple[int, ...]]] = field(default_factory=dict)

    @classmethod
    def reopened(cls, episode: Episode) -> Dialogue:
        """The dialogue of a stored episode, to be gone on with: the next call gets the seed that it
        would have had. How it ended, and an error of its last call, are left aside."""
        timing = episode.timing or Timing(started="", seconds=0.0)
        dialogue = cls(episode.scenario, episode.seed, episode.config_hash, timing.started)
        dialogue.turns = Heard(Turn(said.role, said.text) for said in episode.utterances)
        dialogue.utterances = list(episode.utterances)
        dialogue.verdicts = list(episode.verdicts)
        dialogue._calls = list(episode.calls)
        dialogue._latencies = list(timing.latencies) or [None] * len(episode.calls)
        dialogue.tokens = episode.usage.total_tokens
        for message in episode.messages:
            dialogue._place_of(message)
        return dialogue

    def next_seed(self, calls_before: int = 0) -> int:
        """The seed for the call that comes next, or after `calls_before` others."""
        return call_seed(self.seed, self.scenario.id, len(self._calls) + calls_before)

    def record(self, request: Request, policy: Policy, answer: Reply | PolicyError) -> int:
        """Keep one call; returns its index."""
        schema = None if request.schema is None else dict(request.schema)
        places = self._places_of(request.role, request.messages)
        if isinstance(answer, Reply):
            if answer.usage is not None:
                self.tokens += answer.usage.total_tokens
            call = Call(
                request.role,
                answer.policy or policy_name(policy),
                places,
                request.sampling,
                request.seed,
                request.choices,
                schema,
                request.max_sentences,
                request.prefill,
                text=answer.text,
                finish_reason=answer.finish_reason,
                usage=answer.usage,
                attempts=answer.attempts,
                cached=answer.cached,
                notes=None if answer.notes is None else dict(answer.notes),
                thinking=answer.thinking,
            )
            self._latencies.append(answer.latency)
        else:
            crash = answer.original if isinstance(answer, PolicyCrashed) else answer
            call = Call(
                request.role,
                policy_name(policy),
                places,
                request.sampling,
                request.seed,
                request.choices,
                schema,
                request.max_sentences,
                request.prefill,
                error=f"{type(crash).__name__}: {answer}",
            )
            self._latencies.append(None)
        self._calls.append(call)
        return self.last_call

    def _places_of(self, role: str, messages: tuple[Message, ...]) -> tuple[int, ...]:
        """The place of each message among those of the episode; new ones get the next places.

        Kept by role and text, which Python hashes once: most messages were sent with earlier calls.
        Those that come again as the very object (of a turn, of a system prompt) are kept by it too,
        so that nothing of them has to be fetched from memory. A prompt that only grows at its end
        is compared with the one before as a whole.
        """
        before, known = self._latest.get(role, _NO_PROMPT)
        shared = len(known) - 1  # what comes last is often joined with a question
        if shared < 1 or messages[:shared] != before[:shared]:
            shared = 0
        places, placed = list(known[:shared]), self._placed
        for message in messages[shared:]:
            if (place := placed.get(id(message))) is None:
                place = self._place_of(message)
                if message.said is None:  # it is no question of this call alone
                    placed[id(message)] = place
                    self._held.append(message)
            places.append(place)
        found = tuple(places)
        self._latest[role] = messages, found
        return found

    def _place_of(self, message: Message) -> int:
        if (known := self._messages.get(message.role)) is None:
            known = self._messages[message.role] = {}
        if (place := known.get(message.content)) is None:
            place = known[message.content] = self._message_count
            self._message_count += 1
        return place

    def _all_messages(self) -> tuple[Message, ...]:
        """Every message that was sent, in the order of its first use."""
        placed = [
            (place, role, text)
            for role, texts in self._messages.items()
            for text, place in texts.items()
        ]
        return tuple(Message(role, text) for _, role, text in sorted(placed))

    @property
    def last_call(self) -> int:
        """Index of the call recorded last."""
        return len(self._calls) - 1

    def say(
        self,
        role: Speaker,
        text: str,
        raw: str,
        *,
        call: int,
        crisis: tuple[str, ...],
        strategy: Strategy | None = None,
        repairs: tuple[str, ...] = (),
    ) -> Utterance:
        """Add an utterance, with the crisis language in it.

        Without advice, the strategy that the supporter wrote in front of its answer counts.
        """
        self.turns.append(Turn(role, text))
        own = None
        if strategy is None and role is Role.SUPPORTER and "strategy_label" in repairs:
            own = written_strategy(raw)
        utterance = Utterance(
            role, text, raw, call, strategy or own, repairs, crisis,
            strategy_by="model" if own else None,
        )  # fmt: skip
        self.utterances.append(utterance)
        return utterance

    def judge(self, end: bool | None, call: int) -> Verdict:
        """Add a verdict on the conversation so far."""
        self.verdicts.append(Verdict(len(self.turns), call, end))
        return self.verdicts[-1]

    def close(
        self, stop: StopReason, *, seconds: float, error: PolicyError | None = None
    ) -> Episode:
        """The finished record. Made from checked parts, so it is not checked again."""
        failure = None
        if error is not None:
            crash = error.original if isinstance(error, PolicyCrashed) else None
            failure = EpisodeError(
                type=type(crash or error).__name__,
                message=str(error),
                role=self._calls[-1].role if self._calls else "",
                retryable=error.retryable,
                traceback=None if crash is None else _traceback_of(crash),
            )
        return Episode.model_construct(
            id=self.scenario.id,
            scenario=self.scenario,
            seed=self.seed,
            config_hash=self.config_hash,
            stop=stop,
            error=failure,
            utterances=tuple(self.utterances),
            verdicts=tuple(self.verdicts),
            calls=tuple(self._calls),
            messages=self._all_messages(),
            timing=Timing(
                started=self.started,
                seconds=round(seconds, 4),
                latencies=tuple(None if s is None else round(s, 4) for s in self._latencies),
            ),
        )


def _traceback_of(error: Exception) -> str:
    text = "".join(traceback.format_exception(error))
    return hide_secrets(clean_text(text))[-MAX_TRACEBACK:]
