"""Accounting: tokens, latency and money by role; the estimate before launch."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

import warmline
from warmline.environments.episodes.usage import Price, account, price_of
from warmline.environments.runs.estimate import estimate
from warmline.policies.base import Usage

from ..helpers import scenarios, talk


class Metered:
    """Reports 1,000 prompt tokens (600 cached) and 50 completion tokens a call."""

    name = "meter:big"

    async def respond(self, request: warmline.Request) -> warmline.Reply:
        usage = None if request.role == "judger" else Usage(1000, 600, 50)
        text = request.choices[0] if request.choices else "Well."
        return warmline.Reply(text=text, usage=usage, latency=0.25, policy=self.name)


def run(out: Path | None = None, **prices: Price) -> list[warmline.Episode]:
    return warmline.simulate(
        policy=Metered(),
        scenarios=scenarios(2),
        max_turns=4,
        out=out,
        prices={name.replace("_", ":"): price.model_dump() for name, price in prices.items()},
    )


def test_tokens_and_latency_by_role() -> None:
    used = account(run())
    assert used["supporter"]["calls"] == 4
    assert used["supporter"]["prompt_tokens"] == 4000
    assert used["supporter"]["cached_tokens"] == 2400
    assert used["supporter"]["completion_tokens"] == 200
    assert used["supporter"]["latency_seconds"] == {"p50": 0.25, "p90": 0.25, "p99": 0.25}
    assert used["total"]["calls"] == 16
    assert "cost" not in used["total"]


def test_missing_usage_is_counted_not_taken_for_zero() -> None:
    used = account(run())
    assert used["judger"]["calls_without_usage"] == 4
    assert used["total"]["calls_without_usage"] == 4


def test_costs_by_hand() -> None:
    """400 fresh at 2, 600 cached at 0.5 and 50 written at 8 a million: 1,500e-6 a call."""
    price = Price(prompt=2, cached=0.5, completion=8)
    assert price.of(Usage(1000, 600, 50)) == pytest.approx(1500e-6)
    assert Price(prompt=2, completion=8).of(Usage(1000, 600, 50)) == pytest.approx(2400e-6)
    used = account(run(), {"meter:big": price})
    assert used["supporter"]["cost"] == pytest.approx(4 * 1500e-6)
    assert used["total"]["cost"] == pytest.approx(12 * 1500e-6)
    assert account(run(), {"other": price})["supporter"]["calls_without_price"] == 4


def test_the_longest_name_gives_the_price() -> None:
    cheap, dear = Price(prompt=1, completion=1), Price(prompt=9, completion=9)
    prices = {"openai": cheap, "openai:large": dear}
    assert price_of("openai:large-2", prices) is dear
    assert price_of("openai:small", prices) is cheap
    assert price_of("embedded", prices) is None


def test_the_summary_holds_usage_and_cost(tmp_path: Path) -> None:
    run(tmp_path, meter=Price(prompt=1, completion=1))
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["usage"]["seeker"]["calls"] == 4
    assert summary["usage"]["total"]["cost"] > 0


def test_what_came_from_a_cache_costs_nothing_again() -> None:
    (episode, _) = run()
    kept = dataclasses.replace(episode.calls[0], cached=True)
    price = {"meter": Price(prompt=1, completion=1)}
    used = account([episode.model_copy(update={"calls": (kept, *episode.calls[1:])})], price)
    assert used["seeker"]["from_cache"] == 1
    assert used["seeker"]["prompt_tokens"] == 1000
    assert used["seeker"]["cost"] == pytest.approx(1050e-6)


def test_a_wrapped_policy_has_the_price_of_what_it_wraps() -> None:
    price = Price(prompt=1, completion=1)
    assert price_of("refine(best_of(openai:m))", {"openai:m": price}) is price


def test_failed_calls_are_counted_apart() -> None:
    (episode, _) = run()
    broken = dataclasses.replace(episode.calls[0], text=None, error="EngineTimeout: late")
    used = account([episode.model_copy(update={"calls": (broken, *episode.calls[1:])})])
    assert used["seeker"]["failed"] == 1
    assert used["seeker"]["prompt_tokens"] == 1000


async def test_the_estimate_bounds_the_run_and_asks_nobody() -> None:
    policy = talk()
    seats = dict.fromkeys(("seeker", "counselor", "supporter", "judger"), policy)
    environment = warmline.SupportEnvironment(**seats, max_turns=8)
    chosen = warmline.draw_scenarios(100, seed=1)
    foreseen = await estimate(
        environment, chosen, prices={"scripted": Price(prompt=1, completion=1)}
    )
    assert policy.requests == []
    assert foreseen.episodes == 100
    assert foreseen.calls == dict.fromkeys(("seeker", "counselor", "supporter", "judger"), 400)
    assert foreseen.usage["supporter"].prompt_tokens > 400 * 300
    assert foreseen.cost["seeker"] == pytest.approx(foreseen.usage["seeker"].total_tokens / 1e6)


class Chatty:
    """Says as much as it may, in tokens of four characters."""

    name = "chatty"

    async def respond(self, request: warmline.Request) -> warmline.Reply:
        limit = request.sampling.max_tokens or 0
        text = request.choices[0] if request.choices else "and " * limit
        prompt = sum(len(m.content) for m in request.messages) // 4
        return warmline.Reply(text, usage=Usage(prompt, 0, limit))


async def test_no_run_takes_more_than_the_bound() -> None:
    seats = dict.fromkeys(("seeker", "counselor", "supporter", "judger"), Chatty())
    environment = warmline.SupportEnvironment(**seats, max_turns=8)
    chosen = warmline.draw_scenarios(3, seed=1)
    foreseen = await estimate(environment, chosen)
    played = account(await warmline.run_batch(environment, chosen))
    for role in seats:
        bound, used = foreseen.bound[role], played[role]
        assert bound is not None
        assert foreseen.calls[role] == used["calls"]
        assert used["completion_tokens"] <= bound.completion_tokens
        assert used["prompt_tokens"] <= bound.prompt_tokens
        assert foreseen.usage[role].completion_tokens < bound.completion_tokens


@pytest.mark.parametrize(
    ("thinking", "limit", "room"), [("on", None, 2048), ("low", 300, 300), ("off", None, 0)]
)
async def test_thinking_is_within_the_bound(thinking: Any, limit: int | None, room: int) -> None:
    def environment(**sampling: Any) -> warmline.SupportEnvironment:
        drawn = warmline.Sampling(max_tokens=100, **sampling)
        supporter = warmline.Supporter(talk(), sampling=drawn)
        return warmline.SupportEnvironment(seeker=talk(), supporter=supporter, max_turns=4)

    chosen = warmline.draw_scenarios(1, seed=1)
    plain = (await estimate(environment(), chosen)).bound["supporter"]
    seated = environment(thinking=thinking, max_thinking_tokens=limit)
    thought = (await estimate(seated, chosen)).bound["supporter"]
    assert plain is not None
    assert thought is not None
    assert thought.completion_tokens - plain.completion_tokens == 2 * room
    assert thought.prompt_tokens == plain.prompt_tokens, "nobody reads it"


async def test_an_answer_without_max_tokens_has_no_bound() -> None:
    class Boundless(warmline.Supporter):
        default_sampling = warmline.Sampling()

    environment = warmline.SupportEnvironment(seeker=talk(), supporter=Boundless(talk()))
    foreseen = await estimate(environment, warmline.draw_scenarios(2, seed=1))
    assert foreseen.bound == {"seeker": None, "supporter": None}


def test_latency_that_nobody_measured_is_missing() -> None:
    (episode, _) = run()
    unmeasured = episode.timing.model_copy(update={"latencies": (None,) * len(episode.calls)})
    used = account([episode.model_copy(update={"timing": unmeasured})])
    assert used["supporter"]["latency_seconds"] == {"p50": None, "p90": None, "p99": None}
    assert used["supporter"]["calls"] == 2


def test_estimated_tokens_are_counted_and_marked() -> None:
    (episode, _) = run()
    guessed = dataclasses.replace(episode.calls[0], usage=Usage(10, 0, 5, estimated=True))
    marked = episode.model_copy(update={"calls": (guessed, *episode.calls[1:])})
    assert account([marked])["seeker"]["calls_with_estimated_usage"] == 1
    assert marked.usage.estimated
    again = warmline.Episode.model_validate_json(marked.to_json())
    assert again.calls[0].usage == Usage(10, 0, 5, estimated=True)


def test_tokens_of_thinking_are_counted_and_absent_where_there_are_none() -> None:
    (episode, _) = run()
    assert "thinking" not in episode.to_json()
    assert "thinking_tokens" not in account([episode])["total"]
    used = Usage(10, 0, 50, thinking_tokens=30)
    thought = dataclasses.replace(episode.calls[0], usage=used, thinking="She is sad.")
    record = episode.model_copy(update={"calls": (thought, *episode.calls[1:])})
    assert account([record])["seeker"]["thinking_tokens"] == 30
    again = warmline.Episode.model_validate_json(record.to_json())
    assert (again.calls[0].usage, again.calls[0].thinking) == (used, "She is sad.")
