"""Content filters and refusals, as OpenAI, Azure and others tell them."""

from typing import Any

import pytest

from warmline.core.errors import AuthenticationFailed, BadRequest, ContentRefused
from warmline.policies.base import Request

from ..chaos_server import ChaosServer, Refusal
from .asking import ASK, CHOOSE, asking, saying

pytestmark = pytest.mark.timeout(30)

AZURE = Refusal(
    400,
    "The response was filtered due to the prompt triggering Azure OpenAI's content management"
    " policy.",
    {
        "code": "content_filter",
        "param": "prompt",
        "innererror": {"code": "ResponsibleAIPolicyViolation"},
    },
)


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (AZURE, "content management policy"),
        (Refusal(400, "Content Exists Risk"), "Content Exists Risk"),
        (Refusal(400, "Input may be bad.", {"code": "data_inspection_failed"}), "may be bad"),
        (Refusal(403, "Your input was flagged by moderation"), "was flagged"),
    ],
)
async def test_a_filtered_prompt(refusal: Refusal, words: str) -> None:
    async with ChaosServer(refuse=lambda body: refusal) as server, asking(server) as policy:
        for request in (ASK, CHOOSE):
            with pytest.raises(ContentRefused, match=words) as caught:
                await policy.respond(request)
            assert not caught.value.fatal
        assert len(server.chats) == 2, "never asked again"


@pytest.mark.parametrize("max_sentences", [None, 3])
async def test_a_filtered_answer_keeps_what_the_server_said(max_sentences: int | None) -> None:
    filtered = {
        "finish_reason": "content_filter",
        "content_filter_results": {
            "self_harm": {"filtered": True, "severity": "medium"},
            "violence": {"filtered": False},
        },
    }
    request = Request(messages=ASK.messages, max_sentences=max_sentences)
    async with (
        ChaosServer(choice=lambda body: filtered, answer=saying("Perhaps you")) as server,
        asking(server) as policy,
    ):
        with pytest.raises(ContentRefused, match=r"filter stopped the answer \(self_harm\) after"):
            await policy.respond(request)
        assert len(server.chats) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_in_its_own_field(stream: bool) -> None:
    said = {"role": "assistant", "content": None, "refusal": "I can't help with that."}

    def choice(body: dict[str, Any]) -> dict[str, Any]:
        return {"delta" if body.get("stream") else "message": said}

    request = Request(messages=ASK.messages, max_sentences=3 if stream else None)
    async with (
        ChaosServer(choice=choice, answer=saying("")) as server,
        asking(server) as policy,
    ):
        with pytest.raises(ContentRefused, match=r"refused to answer: .*I can't help with that"):
            await policy.respond(request)


async def test_other_refusals_stay_what_they_are() -> None:
    async with (
        ChaosServer(refuse=lambda body: Refusal(400, "messages is too short")) as server,
        asking(server) as policy,
    ):
        with pytest.raises(BadRequest) as caught:
            await policy.respond(ASK)
        assert not isinstance(caught.value, ContentRefused)
    async with (
        ChaosServer(refuse=lambda body: Refusal(403, "no access")) as server,
        asking(server) as policy,
    ):
        with pytest.raises(AuthenticationFailed):
            await policy.respond(ASK)
