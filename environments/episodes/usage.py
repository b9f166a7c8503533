"""What a run used: calls, tokens, waiting and money, by role."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

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
class _RoleUsage:
    """Sums over calls.

    Attributes:
        calls: model calls, the failed ones included.
        failed: those without an answer.
        from_cache: those answered by a cache of replies; their tokens are not counted again.
        unreported: answered calls whose engine reported no tokens; missing, not zero.
        unpriced: answered calls of a policy that no price is known for.
        estimated: of the answered calls, those whose tokens are estimated.
        latencies: seconds of each answered call that was measured.
        cost: money for the priced calls.
    """

    calls: int = 0
    failed: int = 0
    from_cache: int = 0
    unreported: int = 0
    estimated: int = 0
    unpriced: int = 0
    usage: Usage = field(default_factory=Usage)
    latencies: list[float] = field(default_factory=list)
    cost: float = 0.0

    def add(self, call: Call, latency: float | None, price: Price | None) -> None:
        """Count one call."""
        self.calls += 1
        if call.text is None:
            self.failed += 1
            return
        if latency is not None:
            self.latencies.append(latency)
        if call.cached:
            self.from_cache += 1
            return
        if call.usage is None:
            self.unreported += 1
            return
        self.usage += call.usage
        self.estimated += call.usage.estimated
        if price is None:
            self.unpriced += 1
        else:
            self.cost += price.of(call.usage)

    def as_dict(self, *, priced: bool) -> dict[str, Any]:
        """Plain data; latency as percentiles in seconds."""
        latencies = sorted(self.latencies)
        shown: dict[str, Any] = {
            "calls": self.calls,
            "failed": self.failed,
            "from_cache": self.from_cache,
            "prompt_tokens": self.usage.prompt_tokens,
            "cached_tokens": self.usage.cached_tokens,
            "completion_tokens": self.usage.completion_tokens,
            "calls_without_usage": self.unreported,
            "calls_with_estimated_usage": self.estimated,
            "latency_seconds": {
                f"p{percent}": round(_percentile(latencies, percent), 3) if latencies else None
                for percent in PERCENTILES
            },
        }
        if priced:
            shown |= {"cost": round(self.cost, 6), "calls_without_price": self.unpriced}
        return shown


def account(
    episodes: Iterable[Episode], prices: Mapping[str, Price] | None = None
) -> dict[str, dict[str, Any]]:
    """Usage by role, and in total under `total`.

    Args:
        episodes: any number; only sums and one latency a call are kept.
        prices: by policy as it stands in the record (`openai:gpt-x`); the longest name that the
            policy begins with counts.
    """
    prices = prices or {}
    spent: dict[str, _RoleUsage] = {}
    total = _RoleUsage()
    for episode in episodes:
        timed = episode.timing.latencies if episode.timing else ()
        latencies = timed or (None,) * len(episode.calls)
        for call, latency in zip(episode.calls, latencies, strict=True):
            price = price_of(call.policy, prices)
            spent.setdefault(call.role, _RoleUsage()).add(call, latency, price)
            total.add(call, latency, price)
    return {
        role: sums.as_dict(priced=bool(prices)) for role, sums in {**spent, "total": total}.items()
    }


def price_of(policy: str, prices: Mapping[str, Price]) -> Price | None:
    """The price for a policy's name: the longest key that it, or what it wraps, begins with."""
    inner = policy.rsplit("(", 1)[-1]
    fitting = [name for name in prices if policy.startswith(name) or inner.startswith(name)]
    return prices[max(fitting, key=len)] if fitting else None


def _percentile(ordered: list[float], percent: int) -> float:
    """Nearest-rank percentile of sorted values."""
    rank = max(1, -(-len(ordered) * percent // 100))
    return ordered[rank - 1]
