"""`budget`: stops the run when a number of tokens or an amount of money is spent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from ...core.errors import BudgetExceeded, ConfigError, UnreadableReply, Unsupported
from ..asking import ask_policy
from ..base import Policy, Reply, Request, TokenLogprob, Usage
from .base import Wrapper, estimated_completion, estimated_prompt, scoring

_MILLION = 1_000_000


class Budget(Wrapper):
    """Refuses a request that would exceed what may be spent.

    Spent is what replies say they used; replies with `cached` set cost nothing. A request is
    refused if what is spent, the prompts in flight and its own prompt (estimated at four bytes a
    token) together are more than the budget. So it can be overshot by the answers of the requests
    that are in flight at that moment, and by the error of the estimates, not by more.

    The refusal stops the run (`BudgetExceeded` is fatal): finished episodes stay, and the same
    command with a larger budget resumes it. Requests in flight are then cancelled; each is counted
    with its estimated prompt, as is one that ends in an `UnreadableReply`. With a `cache` around
    the budget, the unfinished episodes need not be paid for again.

    Args:
        policy: the inner policy.
        tokens: maximum number of tokens, prompts and answers together; or
        money: maximum amount, in the currency of the prices. One of the two.
        prompt_price, completion_price: price of a million tokens; needed with `money`.
        cached_price: price of a million prompt tokens served from the provider's prefix cache; that
            of other prompt tokens by default.
        spent: what counts as spent at the start, in tokens or money (by an earlier run, say).
        estimate: count the estimated prompt and `max_tokens` where the engine does not say what it
            used, rather than refuse to go on.

    Raises:
        ConfigError: not exactly one of `tokens` and `money`, a missing price, a negative amount.
        BudgetExceeded: (from `respond`) it would cost too much.
        Unsupported: (from `respond`) the engine does not say what it used, and `estimate` is off.
    """

    kind: ClassVar[str] = "budget"

    def __init__(
        self,
        policy: Policy,
        *,
        tokens: int | None = None,
        money: float | None = None,
        prompt_price: float | None = None,
        cached_price: float | None = None,
        completion_price: float | None = None,
        spent: float = 0,
        estimate: bool = False,
    ) -> None:
        super().__init__(policy)
        _refuse_bad(tokens, money, spent, (prompt_price, cached_price, completion_price))
        self._prices: tuple[float, float, float] | None = None
        if prompt_price is not None and completion_price is not None:
            cached = prompt_price if cached_price is None else cached_price
            self._prices = (prompt_price, cached, completion_price)
        self._limit = float(tokens if tokens is not None else money or 0)
        self._unit = "tokens" if tokens is not None else "money"
        self._estimate = estimate
        self._spent, self._in_flight = float(spent), 0.0

    @property
    def spent(self) -> float:
        """Tokens or money spent so far, what it started with included."""
        return self._spent

    @property
    def left(self) -> float:
        """What is not spent yet; below 0 if it was overshot."""
        return self._limit - self._spent

    async def respond(self, request: Request) -> Reply:
        prompt = estimated_prompt(request.messages)
        with self._promised(self.cost(Usage(prompt))):
            reply = await ask_policy(self.inner, request)
        if not reply.cached:
            usage = reply.usage or self._assumed(Usage(prompt, 0, estimated_completion(request)))
            self._spent += self.cost(usage)
        return reply

    async def _score(self, request: Request, continuation: str) -> tuple[TokenLogprob, ...]:
        """Counts as a prompt: that of the request by estimate, and the tokens scored."""
        prompt = estimated_prompt(request.messages)
        with self._promised(self.cost(Usage(prompt))):
            scored = await scoring(self.inner).score(request, continuation)
        self._spent += self.cost(Usage(prompt + len(scored)))
        return scored

    def cost(self, usage: Usage) -> float:
        """What `usage` costs, in the unit of this budget."""
        if self._prices is None:
            return usage.total_tokens
        prompt_price, cached_price, completion_price = self._prices
        fresh = usage.prompt_tokens - usage.cached_tokens
        return (
            fresh * prompt_price
            + usage.cached_tokens * cached_price
            + usage.completion_tokens * completion_price
        ) / _MILLION

    @contextmanager
    def _promised(self, expected: float) -> Iterator[None]:
        """Refuse, or hold `expected` back while the request is in flight."""
        if self._spent + self._in_flight + expected > self._limit:
            raise BudgetExceeded(
                f"the budget of {self._show(self._limit)} would be exceeded:"
                f" {self._show(self._spent)} spent, about {self._show(self._in_flight)} in flight,"
                f" about {self._show(expected)} for the next prompt",
                hint="what is finished stays; the same command with a larger budget goes on",
            )
        self._in_flight += expected
        try:
            yield
        except (asyncio.CancelledError, UnreadableReply):
            self._spent += expected
            raise
        finally:
            self._in_flight -= expected

    def _assumed(self, usage: Usage) -> Usage:
        if not self._estimate:
            raise Unsupported(
                f"a budget is set, but '{self.name}' got no token counts from its engine",
                hint="use an engine that reports usage (the openai policy with stream = false), or"
                " set estimate = true",
            )
        return usage

    def _show(self, amount: float) -> str:
        return f"{amount:,.0f} tokens" if self._unit == "tokens" else f"{amount:,.4g}"


def _refuse_bad(
    tokens: int | None,
    money: float | None,
    spent: float,
    prices: tuple[float | None, float | None, float | None],
) -> None:
    problems = []
    if (tokens is None) == (money is None):
        problems.append("set tokens or money, one of the two (two budgets can be combined)")
    if money is not None and (prices[0] is None or prices[2] is None):
        problems.append("money needs prompt_price and completion_price, per million tokens")
    if money is None and any(price is not None for price in prices):
        problems.append("prices can only be used with money")
    amounts = (tokens, money, spent, *prices)
    if any(amount is not None and not amount >= 0 for amount in amounts):
        problems.append("no amount and no price may be below 0")
    if problems:
        raise ConfigError("wrapper 'budget' cannot be set up", problems=problems)
