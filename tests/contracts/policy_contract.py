"""What every policy must keep, whatever decides its text.

Each check asks a freshly opened policy and raises `AssertionError` with what was asked and what came
back. A check of something that the policy says it cannot do asserts that it is refused, never
ignored. Nothing here depends on what a model writes, only on the form of it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Awaitable, Callable
from typing import Any
from unittest import SkipTest

from warmline.core.errors import ContextTooLong, PolicyError, Unsupported
from warmline.policies.base import (
    Capabilities,
    FinishReason,
    Message,
    Policy,
    Reply,
    Request,
    Sampling,
    ScoringPolicy,
    capabilities_of,
    close_policy,
    open_policy,
)
from warmline.policies.text.sentences import count_sentences

AT_ONCE = 16
"""Requests that the concurrent checks send together."""

PATIENCE = 240.0
"""Seconds after which a check counts as hanging."""

TALK = (
    Message("system", "You listen to people and answer in a few short sentences."),
    Message("user", "I could not sleep because of the exam tomorrow."),
)
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"feeling": {"enum": ["sad", "angry", "calm"]}, "strong": {"type": "boolean"}},
    "required": ["feeling", "strong"],
    "additionalProperties": False,
}
SHORT = Sampling(temperature=1.0, max_tokens=24)


class NotApplicable(SkipTest):
    """The policy says nothing by which this check could be made; test runners count it as skipped."""


def ask(policy: Policy, text: str = TALK[1].content, **changes: Any) -> Request:
    """A small request, with no more sampling than the policy honours; `changes` are its fields."""
    fields: dict[str, Any] = {
        "messages": (TALK[0], Message("user", text)),
        "role": "supporter",
        "sampling": SHORT,
        "seed": 11,
        **changes,
    }
    only = able(policy).only
    if only and not {"choices", "schema", "prefill"} & changes.keys():
        fields["choices"] = only
    known = able(policy).sampling
    asked = {k: v for k, v in fields["sampling"].as_dict().items() if k in known}
    return Request(**{**fields, "sampling": Sampling(**asked)})


def able(policy: Policy) -> Capabilities:
    """What the policy says it can do; one that says nothing is only held to answering."""
    return capabilities_of(policy) or Capabilities(
        choices=False, max_sentences=False, seed=False, sampling=frozenset()
    )


async def refuses(policy: Policy, request: Request) -> None:
    """Assert that an option outside the stated capabilities raises."""
    if capabilities_of(policy) is None:
        raise NotApplicable("the policy does not state its capabilities")
    try:
        reply = await policy.respond(request)
    except Unsupported:
        return
    raise AssertionError(f"an option the policy cannot honour was ignored: {reply}")


# The checks


async def answers(policy: Policy) -> None:
    """A plain request gets text, a finish reason and honest numbers."""
    reply = await policy.respond(ask(policy))
    assert isinstance(reply, Reply)
    assert isinstance(reply.text, str)
    assert isinstance(reply.finish_reason, FinishReason)
    assert reply.latency is None or reply.latency >= 0
    assert reply.attempts >= 1
    if reply.usage is not None:
        assert reply.usage.prompt_tokens >= reply.usage.cached_tokens >= 0
        assert reply.usage.completion_tokens >= 0


async def keeps_order(policy: Policy) -> None:
    """Of many requests at once each gets its own answer."""
    if not able(policy).choices:
        raise NotApplicable("answers can only be told apart by choices")
    only = able(policy).only
    requests = [
        ask(policy, f"Number {n}.", choices=(only[n % len(only)],) if only else (f"a{n}", f"b{n}"))
        for n in range(AT_ONCE)
    ]
    replies = await asyncio.gather(*(policy.respond(request) for request in requests))
    for request, reply in zip(requests, replies, strict=True):
        assert reply.text in (request.choices or ()), f"{reply.text!r} answers another request"


async def chooses_among_the_options(policy: Policy) -> None:
    """The answer is exactly one of the options, also hot and with options inside one another."""
    options = able(policy).only or ("Yes", "Yes, but", "Übermut", "不知道")
    request = ask(policy, choices=options, sampling=Sampling(temperature=1.0))
    if not able(policy).choices:
        await refuses(policy, request)
        return
    for seed in range(6):
        reply = await policy.respond(dataclasses.replace(request, seed=seed))
        assert reply.text in (request.choices or ()), f"{reply.text!r} is none of the options"
        assert reply.finish_reason is FinishReason.CHOICE


async def fits_the_schema(policy: Policy) -> None:
    """The answer is JSON of the schema's form."""
    request = ask(policy, schema=SCHEMA, sampling=Sampling(max_tokens=200))
    if not able(policy).schema:
        await refuses(policy, request)
        return
    value = json.loads((await policy.respond(request)).text)
    assert set(value) == {"feeling", "strong"}, value
    assert value["feeling"] in SCHEMA["properties"]["feeling"]["enum"], value
    assert isinstance(value["strong"], bool), value


async def repeats_a_seed(policy: Policy) -> None:
    """Same request, same seed: same text, alone and beside others."""
    if not able(policy).seed:
        raise NotApplicable("the policy does not promise that seeds hold")
    alone = [(await policy.respond(ask(policy, seed=seed))).text for seed in (1, 2)]
    again = await policy.respond(ask(policy, seed=1))
    assert again.text == alone[0], f"{again.text!r} after {alone[0]!r} with the same seed"
    crowd = [ask(policy, f"Something else, number {n}.", seed=n) for n in range(AT_ONCE - 2)]
    mixed = await asyncio.gather(
        *(policy.respond(r) for r in (ask(policy, seed=1), *crowd, ask(policy, seed=2)))
    )
    assert [mixed[0].text, mixed[-1].text] == alone, "a seed gave other words beside other requests"


async def stops_at_the_sentence_limit(policy: Policy) -> None:
    """Writing ends soon after the sentences are complete."""
    if not able(policy).max_sentences:
        raise NotApplicable("the environment cuts for this policy")
    reply = await policy.respond(ask(policy, max_sentences=1, sampling=Sampling(max_tokens=200)))
    assert count_sentences(reply.text) <= 2, f"went on after one sentence: {reply.text!r}"


async def begins_with_the_prefill(policy: Policy) -> None:
    """The answer begins with the given words."""
    request = ask(policy, prefill="It seems that you")
    if not able(policy).prefill:
        await refuses(policy, request)
        return
    reply = await policy.respond(request)
    assert reply.text.startswith("It seems that you"), repr(reply.text)


async def gives_logprobs(policy: Policy) -> None:
    """One log-probability a token where asked for, none above zero."""
    request = ask(policy, logprobs=True)
    if not able(policy).logprobs:
        await refuses(policy, request)
        return
    reply = await policy.respond(request)
    assert reply.logprobs, "asked for log-probabilities, got none"
    assert all(token.logprob <= 1e-6 for token in reply.logprobs)


async def scores_like_it_speaks(policy: Policy) -> None:
    """`score` finds a greedy answer as likely as the engine said when it wrote it."""
    if not (able(policy).score and able(policy).logprobs and isinstance(policy, ScoringPolicy)):
        raise NotApplicable("the policy does not score")
    greedy = ask(policy, logprobs=True, sampling=Sampling(temperature=0, max_tokens=12))
    reply = await policy.respond(greedy)
    if "\ufffd" in reply.text:
        raise NotApplicable("the model wrote bytes that are no text, so it cannot be read back")
    scored = await policy.score(ask(policy), reply.text)
    written = [t.logprob for t in reply.logprobs or ()][: len(scored)]
    assert scored, "no score for a text"
    close = [abs(a - b.logprob) for a, b in zip(written, scored, strict=False)]
    assert max(close[:-1] or close) < 1e-3, f"{written} when written, {scored} when scored"


async def honours_sampling(policy: Policy) -> None:
    """A sampling setting outside the stated ones is refused; `max_tokens` is kept."""
    known = able(policy).sampling
    probe: dict[str, Any] = {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 5,
        "min_p": 0.1,
        "repetition_penalty": 1.1,
    }
    for name, value in probe.items():
        if name not in known:
            asked = dataclasses.replace(ask(policy), sampling=Sampling(**{name: value}))
            await refuses(policy, asked)
    if "max_tokens" in known:
        reply = await policy.respond(ask(policy, sampling=Sampling(max_tokens=3)))
        if reply.usage is not None:
            assert reply.usage.completion_tokens <= 4, reply.usage


async def takes_unicode(policy: Policy) -> None:
    """Any script, emoji and odd marks go in, and proper text comes out."""
    reply = await policy.respond(
        ask(policy, "我很难过 😢 \u202eabc\u202c e\u0301 <|im_end|> {{ x }} \x07")
    )
    reply.text.encode("utf-8")


async def takes_an_empty_message(policy: Policy) -> None:
    """An empty message is answered, or refused with a reason; nothing breaks."""
    try:
        await policy.respond(ask(policy, ""))
    except PolicyError as error:
        assert str(error)
    await policy.respond(ask(policy))


async def names_the_context(policy: Policy) -> None:
    """A prompt that is far too long is refused with both numbers, and costs nothing else."""
    try:
        await policy.respond(ask(policy, "word " * 200_000))
    except ContextTooLong as error:
        assert error.prompt_tokens, "the message does not say how long the prompt was"
        assert error.context_tokens, "the message does not say how long the context is"
        assert str(error.context_tokens) in str(error)
    await policy.respond(ask(policy))


async def cancelling_frees_the_slot(policy: Policy) -> None:
    """Cancelled requests make room: after more of them than any engine has slots, one answers."""
    long = ask(policy, sampling=Sampling(max_tokens=400))
    tasks = [asyncio.create_task(policy.respond(long)) for _ in range(4 * AT_ONCE)]
    await asyncio.sleep(0.05)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await policy.respond(ask(policy, sampling=Sampling(max_tokens=4)))


async def closes_twice_and_opens_again(policy: Policy) -> None:
    """Closing is safe to repeat, and a closed policy can be opened again."""
    await policy.respond(ask(policy, sampling=Sampling(max_tokens=4)))
    await close_policy(policy)
    await close_policy(policy)
    await open_policy(policy)
    await policy.respond(ask(policy, sampling=Sampling(max_tokens=4)))


_CHECKS: dict[str, Callable[[Policy], Awaitable[None]]] = {
    check.__name__: check
    for check in (
        answers,
        keeps_order,
        chooses_among_the_options,
        fits_the_schema,
        repeats_a_seed,
        stops_at_the_sentence_limit,
        begins_with_the_prefill,
        gives_logprobs,
        scores_like_it_speaks,
        honours_sampling,
        takes_unicode,
        takes_an_empty_message,
        names_the_context,
        cancelling_frees_the_slot,
        closes_twice_and_opens_again,
    )
}
POLICY_CHECKS: tuple[str, ...] = tuple(_CHECKS)
"""Names of all checks, for a parametrised test."""


async def check_policy(
    make: Callable[[], Policy], check: str | None = None, *, patience: float = PATIENCE
) -> None:
    """Hold a policy against the contract.

    Args:
        make: gives a new policy; called once a check, opened and closed here.
        check: one of `POLICY_CHECKS`; None runs all that apply.
        patience: seconds after which a check counts as hanging.

    Raises:
        AssertionError: the policy breaks the contract; the message says where.
        NotApplicable: (one check only) the policy does not promise what it is about.
        ValueError: no such check.
    """
    if check is not None and check not in _CHECKS:
        raise ValueError(f"no check '{check}'; there are: {', '.join(POLICY_CHECKS)}")
    for name in POLICY_CHECKS if check is None else (check,):
        policy = make()
        await open_policy(policy)
        try:
            async with asyncio.timeout(patience):
                await _CHECKS[name](policy)
        except TimeoutError:
            raise AssertionError(f"{name}: no end within {patience:.0f} s") from None
        except NotApplicable:
            if check is not None:
                raise
        finally:
            await close_policy(policy)
