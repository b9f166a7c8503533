"""Headers: the routing key of a session, the user's own, and secrets among them."""

import json
from pathlib import Path
from typing import Any

import pytest

import warmline
from warmline.core.errors import ConfigError
from warmline.core.outside.secrets import looks_like_secret
from warmline.policies.base import Request
from warmline.policies.openai.policy import OpenAIPolicy

from ...environments.helpers import scenarios
from ..chaos_server import ChaosServer
from .asking import ASK, asking

pytestmark = pytest.mark.timeout(30)


def in_session(session: str, **fields: Any) -> Request:
    return Request(messages=ASK.messages, session=session, **fields)


async def test_a_session_is_sent_as_a_routing_key() -> None:
    sessions = ["s1/seeker", "s1/seeker", "s1/judger", "später 你好\r\nX-Evil: 1", "x" * 999, ""]
    async with ChaosServer() as server, asking(server) as policy:
        for session in sessions:
            await policy.respond(in_session(session))
        await policy.respond(in_session("s1/seeker", max_sentences=1))
    sent = [received.headers.get("x-session-id") for received in server.requests]
    assert sent[:3] == sessions[:3]
    assert sent[3] == "sp%C3%A4ter%20%E4%BD%A0%E5%A5%BD%0D%0AX-Evil:%201"
    assert sent[4] is not None
    assert len(sent[4]) == 64, "long ones are hashed"
    assert sent[5] is None
    assert sent[6] == "s1/seeker", "in a stream too"
    assert not any("x-evil" in received.headers for received in server.requests)


@pytest.mark.parametrize(("name", "expected"), [("X-Route", "x-route"), ("", None)])
async def test_its_name_can_be_chosen_and_it_can_be_left_out(
    name: str, expected: str | None
) -> None:
    async with ChaosServer() as server, asking(server, session_header=name) as policy:
        await policy.respond(in_session("a"))
    headers = server.requests[0].headers
    assert "x-session-id" not in headers
    assert [n for n, value in headers.items() if value == "a"] == ([expected] if expected else [])


async def test_a_conversation_has_one_key_for_each_role() -> None:
    async with ChaosServer() as server, asking(server) as policy:
        environment = warmline.SupportEnvironment(
            seeker=policy, supporter=policy, counselor=None, judger=None, max_turns=4
        )
        await environment.run(scenarios(1)[0], seed=1)
    chats = [r for r in server.requests if r.path.endswith("completions")]
    keys = [received.headers["x-session-id"] for received in chats]
    assert keys == ["s0/seeker", "s0/supporter"] * 2


SECRETS = {
    "Authorization": "Bearer tok-of-a-gateway",
    "Cookie": "sid=a-cookie-of-mine",
    "X-Plain": "sk-looks-like-a-key-123",
    "Ocp-Apim-Subscription-Key": "0123456789abcdef0123456789abcdef",
}


async def test_extra_headers_are_sent_and_secrets_among_them_reach_no_record(
    tmp_path: Path,
) -> None:
    headers = {**SECRETS, "X-Team": "research"}

    def repeat(body: dict[str, Any]) -> str:
        return f"I saw {' and '.join(SECRETS.values())}. Tell me more."

    async with ChaosServer(answer=repeat) as server:
        given = {"model": "tiny", "base_url": server.base_url, "extra_headers": headers}
        policy = OpenAIPolicy(**given)  # type: ignore[arg-type]
        environment = warmline.SupportEnvironment(
            seeker=policy, supporter=policy, counselor=None, judger=None, max_turns=2
        )
        async with environment:
            await warmline.run_batch(
                environment, scenarios(1), out=tmp_path, settings={"options": given}
            )
    assert (
        headers.items()
        <= {name: server.requests[-1].headers[name.lower()] for name in headers}.items()
    )
    assert policy.describe()["extra_headers"] == {
        **dict.fromkeys(SECRETS, "***"),
        "X-Team": "research",
    }
    written = "".join(path.read_text() for path in tmp_path.iterdir() if path.is_file())
    assert "research" in written
    for value in (*SECRETS.values(), "tok-of-a-gateway"):
        assert value not in written


def test_the_description_has_no_headers_where_there_are_none() -> None:
    described = OpenAIPolicy("m", base_url="http://h/v1").describe()
    assert not {"extra_headers", "session_header"} & described.keys(), "older runs resume"
    assert json.dumps(described)


def test_a_secret_in_the_body_is_known_by_its_look() -> None:
    body = {"user": "sk-another-key-456789", "n": 1}
    described = OpenAIPolicy("m", base_url="http://h/v1", extra_body=body).describe()
    assert described["extra_body"] == {"user": "***", "n": 1}


def test_what_cannot_be_a_header_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        OpenAIPolicy(
            base_url="http://h/v1",
            extra_headers={"a b": "x", "X-A": "line\r\nX-B: 1", "X-C": "***", "X-D": "ü"},
            session_header="X Session",
        )
    assert len(caught.value.problems) == 5
    assert "give it again" in str(caught.value)


def test_tables_that_are_none() -> None:
    """As JSON on the command line, where TOML is read."""
    with pytest.raises(ConfigError, match=r'extra_headers must be a table, such as \{name = "v'):
        OpenAIPolicy(base_url="http://h/v1", extra_headers='{"a": "b"}')  # type: ignore[arg-type]


def test_looks_of_secrets() -> None:
    for value in (
        "Bearer abc-12345", "basic dXNlcjpwYXNz4=", "sk-proj-abcdef123", "hf_abcdefghijk", "ghp_0123456789",
        "AKIAIOSFODNN7EXAMPLE", "eyJhbGciOi.eyJzdWIi.sig", "0123456789abcdef0123456789abcdef",
        "aB3dE5fG7hI9jK1lM3nO5pQ7",
    ):  # fmt: skip
        assert looks_like_secret(value), value
    for value in (
        "research", "Qwen/Qwen2.5-7B-Instruct", "meta-llama/Llama-3.1-8B-Instruct", "2025-08-07",
        "s1/seeker", "assistants=v2", "The bearer of bad news", "basic training", "",
    ):  # fmt: skip
        assert not looks_like_secret(value), value
