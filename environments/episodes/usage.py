"""What a run used: calls, tokens, waiting and money, by role."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Annotated, Any, Self

from pydantic import Field

from ...core.record import Record
from ...policies.base import Usage
from .episode import Call, Episode

PERCENTILES = (50, 90, 99)


class Price(Record):
    """Money for a million tokens, in whatever currency; a run's costs come out in the same."""

    prompt: Annotated[float, Field(ge=0)]
    completion: Annotated[float, Field(ge=0)]
    cached: Annotated[float, Field(ge=0)] | None = Field(
        None, description="of prompt tokens from a prefix cache; as `prompt` if left out"
    )

    def of(self, usage: Usage) -> float:
        """What these tokens cost."""
        cached = self.prompt if self.cached is None else self.cached
        fresh = usage.prompt_tokens - usage.cached_tokens
        spent = fresh * self.prompt + usage.cached_tokens * cached
        return (spent + usage.completion_tokens * self.completion) / 1e6


@dataclass(slots=True)
class _Calls:
    """Sums over the calls of one role to one policy.

    Attributes:
        calls: model calls, the failed ones included.
        failed: those without an answer.
        from_cache: those answered by a cache of replies; their tokens are not counted again.
        unreported: answered calls whose engine reported no tokens; missing, not zero.
        estimated: of the answered calls, those whose tokens are estimated.
        prompt, cached, completion: tokens.
        thinking: those of the completion that the models thought.
        waits: answered calls that were measured, by their milliseconds.
    """

    calls: int = 0
    failed: int = 0
    from_cache: int = 0
    unreported: int = 0
    estimated: int = 0
    prompt: int = 0
    cached: int = 0
    completion: int = 0
    thinking: int = 0
    waits: Counter[int] = field(default_factory=Counter)

    def add(self, call: Call, latency: float | None) -> None:
        """Count one call."""
        self.calls += 1
        if call.text is None:
            self.failed += 1
            return
        if latency is not None:
            self.waits[round(latency * 1000)] += 1
        if call.cached:
            self.from_cache += 1
        elif (used := call.usage) is None:
            self.unreported += 1
        else:
            self.prompt += used.prompt_tokens
            self.cached += used.cached_tokens
            self.completion += used.completion_tokens
            self.thinking += used.thinking_tokens
            self.estimated += used.estimated

    def merge(self, other: _Calls) -> None:
        """Add the sums of others."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))

    def as_data(self) -> dict[str, Any]:
        """As plain data."""
        sums = {each.name: getattr(self, each.name) for each in fields(self)}
        return {**sums, "waits": list(self.waits.items())}

    @property
    def reported(self) -> int:
        """Calls whose tokens are counted."""
        return self.calls - self.failed - self.from_cache - self.unreported


class UsageCounter:
    """Counts the calls of episodes as they pass; holds some numbers for each role and policy.

    Prices are put to the sums, so what was counted can be kept and priced later.

    Args:
        by: what counts in place of the role; calls for which it is None are left out.
    """

    def __init__(self, by: Callable[[Call], str | None] = attrgetter("role")) -> None:
        self._by = by
        self._calls: dict[tuple[str, str], _Calls] = {}

    def add(self, episode: Episode) -> None:
        """Count one episode's calls."""
        timed = episode.timing.latencies if episode.timing else ()
        latencies = timed or (None,) * len(episode.calls)
        for call, latency in zip(episode.calls, latencies, strict=True):
            if (name := self._by(call)) is not None:
                self._of(name, call.policy).add(call, latency)

    def merge(self, other: UsageCounter) -> None:
        """Add what another has counted."""
        for (role, policy), calls in other._calls.items():
            self._of(role, policy).merge(calls)

    def _of(self, role: str, policy: str) -> _Calls:
        if (counted := self._calls.get((role, policy))) is None:
            counted = self._calls[role, policy] = _Calls()
        return counted

    def result(self, prices: Mapping[str, Price] | None = None) -> dict[str, dict[str, Any]]:
        """Usage by role, and in total under `total`; see `account`."""
        shown = {}
        for role in dict.fromkeys(role for role, _ in self._calls):
            shown[role] = _shown({p: c for (r, p), c in self._calls.items() if r == role}, prices)
        whole: dict[str, _Calls] = {}
        for (_, policy), calls in self._calls.items():
            whole.setdefault(policy, _Calls()).merge(calls)
        return {**shown, "total": _shown(whole, prices)}

    def as_data(self) -> list[Any]:
        """What was counted, as plain data for `from_data`."""
        return [[role, policy, calls.as_data()] for (role, policy), calls in self._calls.items()]

    @classmethod
    def from_data(
        cls, data: list[Any], by: Callable[[Call], str | None] = attrgetter("role")
    ) -> Self:
        """The counter that `as_data` describes."""
        made = cls(by)
        for role, policy, sums in data:
            waits: Counter[int] = Counter(dict(sums["waits"]))
            made._calls[role, policy] = _Calls(**{**sums, "waits": waits})
        return made


def _shown(by_policy: Mapping[str, _Calls], prices: Mapping[str, Price] | None) -> dict[str, Any]:
    """Sums as plain data, tokens of thinking where there are any; latency as percentiles in seconds."""
    sums = _Calls()
    for calls in by_policy.values():
        sums.merge(calls)
    waits = sorted(sums.waits.items())
    shown: dict[str, Any] = {
        "calls": sums.calls,
        "failed": sums.failed,
        "from_cache": sums.from_cache,
        "prompt_tokens": sums.prompt,
        "cached_tokens": sums.cached,
        "completion_tokens": sums.completion,
        "calls_without_usage": sums.unreported,
        "calls_with_estimated_usage": sums.estimated,
        "latency_seconds": {
            f"p{percent}": _percentile(waits, percent) if waits else None for percent in PERCENTILES
        },
    }
    if sums.thinking:
        shown["thinking_tokens"] = sums.thinking
    if prices:
        cost, unpriced = 0.0, 0
        for policy, calls in by_policy.items():
            if (price := price_of(policy, prices)) is None:
                unpriced += calls.reported
            else:
                cost += price.of(Usage(calls.prompt, calls.cached, calls.completion))
        shown |= {"cost": round(cost, 6), "calls_without_price": unpriced}
    return shown


def account(
    episodes: Iterable[Episode], prices: Mapping[str, Price] | None = None
) -> dict[str, dict[str, Any]]:
    """Usage by role, and in total under `total`.

    Args:
        episodes: any number; only sums are kept.
        prices: by policy as it stands in the record (`openai:gpt-x`); the longest name that the
            policy begins with counts.
    """
    counter = UsageCounter()
    for episode in episodes:
        counter.add(episode)
    return counter.result(prices)


def price_of(policy: str, prices: Mapping[str, Price]) -> Price | None:
    """The price for a policy's name: the longest key that it, or what it wraps, begins with."""
    inner = policy.rsplit("(", 1)[-1]
    fitting = [name for name in prices if policy.startswith(name) or inner.startswith(name)]
    return prices[max(fitting, key=len)] if fitting else None


def _percentile(waits: list[tuple[int, int]], percent: int) -> float:
    """Nearest-rank percentile, in seconds, of sorted milliseconds with their counts."""
    rank = max(1, -(-sum(count for _, count in waits) * percent // 100))
    for wait, count in waits:
        rank -= count
        if rank <= 0:
            return wait / 1000
    raise AssertionError("no rank lies beyond the last value")
