"""Requests, replies, sampling, and what a policy refuses."""

from __future__ import annotations

from typing import Any

import pytest

from warmline.core.errors import ConfigError, PolicyCrashed, Unsupported
from warmline.policies.base import (
    BasePolicy,
    Capabilities,
    Message,
    Policy,
    Reply,
    Request,
    Sampling,
    Usage,
    close_policy,
    describe_policy,
    open_policy,
    policy_name,
)

ASK = (Message("user", "Hello?"),)


class Echo:
    async def respond(self, request: Request) -> Reply:
        return Reply(request.messages[-1].content)


class Plain(BasePolicy):
    name = "plain"
    capabilities = Capabilities(choices=False, sampling=frozenset({"temperature", "max_tokens"}))


def test_every_sampling_problem_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        Sampling(temperature=-1, top_p=0, top_k=-1, min_p=1, repetition_penalty=0, max_tokens=0)
    assert [problem.split()[0] for problem in raised.value.problems] == [
        "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "max_tokens",
    ]  # fmt: skip
    assert "top_p must be above 0 and at most 1, not 0" in str(raised.value)


@pytest.mark.parametrize(
    "edge",
    [{"temperature": 0}, {"top_p": 1}, {"top_k": 0}, {"min_p": 0}, {"max_tokens": 1}, {}],
)
def test_the_edges_of_the_sampling_ranges_are_allowed(edge: dict[str, float]) -> None:
    assert Sampling(**edge).as_dict() == edge  # type: ignore[arg-type]


@pytest.mark.parametrize("field", ["temperature", "top_p", "min_p", "repetition_penalty"])
def test_not_a_number_is_refused(field: str) -> None:
    with pytest.raises(ConfigError, match=field):
        Sampling(**{field: float("nan")})  # type: ignore[arg-type]


def test_own_settings_go_over_the_defaults() -> None:
    defaults = Sampling(temperature=0.7, top_p=0.9, max_tokens=120)
    assert Sampling(temperature=0.0, top_k=5).over(defaults) == Sampling(
        temperature=0.0, top_p=0.9, top_k=5, max_tokens=120
    )
    assert Sampling().over(defaults) == defaults


def test_usage_adds_up() -> None:
    both = Usage(10, 4, 3) + Usage(1, 1, 1)
    assert both == Usage(11, 5, 4)
    assert both.total_tokens == 15


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"choices": ("a", "b")}, "choices"),
        ({"schema": {}}, "schema"),
        ({"prefill": "I"}, "prefill"),
        ({"logprobs": True}, "logprobs"),
        ({"sampling": Sampling(top_k=3)}, "top_k"),
    ],
)
def test_an_option_that_the_engine_lacks_is_refused(
    changes: dict[str, object], option: str
) -> None:
    with pytest.raises(Unsupported, match=f"'plain' cannot honour {option}"):
        Plain().check(Request(ASK, **changes))  # type: ignore[arg-type]


def test_all_refused_options_are_named() -> None:
    request = Request(ASK, choices=("a",), logprobs=True, sampling=Sampling(min_p=0.1, top_p=0.5))
    with pytest.raises(Unsupported, match="choices, logprobs, top_p, min_p"):
        Plain().check(request)


def test_what_the_engine_can_do_passes() -> None:
    Plain().check(Request(ASK, sampling=Sampling(temperature=0.5, max_tokens=3), seed=1))


async def test_one_method_makes_a_policy() -> None:
    echo = Echo()
    assert isinstance(echo, Policy)
    assert (await echo.respond(Request(ASK))).text == "Hello?"
    assert policy_name(echo) == "Echo"
    described = describe_policy(echo)
    assert described["policy"] == f"{__name__}:Echo"
    assert set(described) == {"policy", "source_hash"}
    await open_policy(echo)
    await close_policy(echo)


async def test_opening_and_closing_reach_the_policy() -> None:
    calls: list[str] = []

    class Counted(BasePolicy):
        async def open(self) -> None:
            calls.append("open")

        async def aclose(self) -> None:
            calls.append("close")

    async with Counted():
        assert calls == ["open"]
    assert calls == ["open", "close"]


@pytest.mark.parametrize("described", [None, {5: 1}, "text"])
def test_a_description_that_cannot_be_stored_is_refused(described: Any) -> None:
    class Odd(BasePolicy):
        def describe(self) -> Any:
            return described

    with pytest.raises(ConfigError, match=r"describe\(\) of policy 'policy' must give a mapping"):
        describe_policy(Odd())


def test_an_error_that_cannot_say_its_message_is_still_an_error() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    assert "cannot be read (RuntimeError)" in str(PolicyCrashed(Mute()))
