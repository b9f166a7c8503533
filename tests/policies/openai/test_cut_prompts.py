"""Servers that cut prompts silently are found out by the tokens they report."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest

from warmline.policies.base import Message, Reply, Request, Usage
from warmline.policies.openai.cut_prompts import cut_prompt, fewest_tokens

from ..chaos_server import ChaosServer
from .asking import asking

pytestmark = pytest.mark.timeout(30)

LONG = "I could not sleep again, and the rain went on until the morning came. " * 300
CHINESE = "我昨天晚上又没有睡着，雨一直下到早上，我想了很多关于工作的事情。" * 200


async def ask(
    text: str, prompt_tokens: int, *, cached: int = 0, times: int = 1, **options: Any
) -> tuple[list[Reply], list[str]]:
    """Replies of a server that reports so many tokens, and the warnings given."""
    request = Request(messages=(Message("system", "Listen."), Message("user", text)), **options)
    count: Callable[[dict[str, Any]], int] = lambda body: prompt_tokens  # noqa: E731
    async with (
        ChaosServer(prompt_tokens=count, cached_tokens=lambda body: cached) as server,
        asking(server) as policy,
    ):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            replies = [await policy.respond(request) for _ in range(times)]
    return replies, [str(warning.message) for warning in caught]


@pytest.mark.parametrize("max_sentences", [None, 1], ids=["whole", "streamed"])
async def test_a_cut_prompt_is_told_once_with_numbers_and_setting(
    max_sentences: int | None,
) -> None:
    replies, said = await ask(LONG, 2048, times=3, max_sentences=max_sentences)
    assert len(said) == 1
    assert "read 2,048 tokens of a prompt of at least 4,201" in said[0]
    assert "OLLAMA_CONTEXT_LENGTH" in said[0]
    for reply in replies:
        noted = {"reported": 2048, "sent_at_least": 4201}
        assert reply.notes == {"openai": {"prompt_cut": noted}}


@pytest.mark.parametrize(
    ("text", "reported", "cached"),
    [
        (LONG, 4300, 0),  # as it is for an English text
        (LONG, 3900, 0),  # a tokenizer with words of several words
        (CHINESE, 2300, 0),  # three characters a token
        (LONG, 1200, 3200),  # cached tokens counted apart
        (LONG, 40, 0),  # only what was newly computed, the cache not mentioned
        ("=" * 40_000, 300, 0),  # long runs are few tokens
        (" \n" * 20_000, 300, 0),
        ("Hello.", 7, 0),
    ],
)
async def test_other_ways_of_counting_are_not_taken_for_a_cut(
    text: str, reported: int, cached: int
) -> None:
    replies, said = await ask(text, reported, cached=cached)
    assert not said
    assert replies[0].notes is None


def test_a_cut_is_seen_in_chinese_too() -> None:
    assert cut_prompt(CHINESE, Usage(512, 0, 5)) == (512, fewest_tokens(CHINESE))
    assert cut_prompt(CHINESE, Usage(512, 0, 5, estimated=True)) is None
    assert cut_prompt(CHINESE, None) is None


def test_fewest_tokens() -> None:
    assert fewest_tokens("I am sad.") == 3
    assert fewest_tokens("Ich bin müde – sehr.") == 4, "a dash is no word"
    assert fewest_tokens("我很难过，因为下雨了") == 2
    assert fewest_tokens("") == 0
