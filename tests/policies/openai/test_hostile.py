"""A server that repeats keys, redirects elsewhere, or answers what no reader can take."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import warmline
from warmline.core.errors import ConfigError, PolicyError, RedirectRefused, UnreadableReply
from warmline.policies.doctor import examine
from warmline.policies.openai.policy import OpenAIPolicy
from warmline.policies.openai.redirects import is_same_server

from ..chaos_server import ChaosServer, Refusal
from .asking import ASK, asking

pytestmark = pytest.mark.timeout(60)
KEY = "sk-never-written-4711"


@asynccontextmanager
async def answering(
    body: bytes, *, status: str = "200 OK", headers: str = ""
) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A loopback server that gives one raw answer to everything; its port, and what it was sent."""
    received: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (
                int(x.split(b":")[1])
                for x in head.split(b"\r\n")
                if x.lower().startswith(b"content-l")
            ),
            0,
        )
        received.append(head + await reader.readexactly(length))
        writer.write(
            f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\n"
            f"{headers}content-length: {len(body)}\r\n\r\n".encode()
            + body
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], received


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_redirect_to_another_server_is_refused(stream: bool, host: str) -> None:
    async with ChaosServer() as other:
        target = f"location: http://{host}:{other.port}/v1/chat/completions\r\n"
        async with (
            answering(b"{}", status="307 Temporary Redirect", headers=target) as (port, received),
            asking(other, base_url=f"http://127.0.0.1:{port}/v1", stream=stream) as policy,
        ):
            request = warmline.Request(messages=ASK.messages, max_sentences=3 if stream else None)
            with pytest.raises(
                RedirectRefused,
                match=rf"127\.0\.0\.1:{port} redirects to http://{host}:{other.port}",
            ):
                await policy.respond(request)
        assert len(received) == 1, "it is not asked again"
        assert other.requests == [], "the prompt reached no other server"


def test_which_servers_are_the_same() -> None:
    same = [
        ("http://a/v1", "http://a/v2"),
        ("http://a:80/v1", "http://a/v1"),
        ("http://a/v1", "https://a/v1"),
        ("http://a:8000/v1", "https://a:8000/v1"),
    ]
    other = [
        ("http://a/v1", "http://b/v1"),
        ("https://a/v1", "http://a/v1"),
        ("http://a:8000/v1", "http://a:8001/v1"),
        ("http://127.0.0.1:80", "http://localhost:80"),
        ("http://a/v1", "ftp://a/v1"),
        ("http://a/v1", "http://[::1/v1"),
    ]
    assert all(is_same_server(*pair) for pair in same)
    assert not any(is_same_server(*pair) for pair in other)


async def test_a_redirect_within_the_server_is_followed() -> None:
    """To itself again and again, until the client has enough of it."""
    async with answering(
        b"{}", status="307 Temporary Redirect", headers="location: /v1/chat/completions\r\n"
    ) as (port, received):
        policy = OpenAIPolicy("tiny", base_url=f"http://127.0.0.1:{port}/v1", max_retries=0)
        with pytest.raises(PolicyError, match="redirects"):
            await policy.respond(ASK)
        await policy.aclose()
        assert len(received) > 1


async def test_a_key_that_a_server_repeats_is_in_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As text of a reply, in an unreadable body with the key at its cut, and in a refusal."""
    monkeypatch.setenv("MY_KEY", KEY)
    padding = "x" * (200 - len('{"headers": "') - 10)
    echoes = [
        json.dumps({"headers": f"{padding}Bearer {KEY}"}).encode(),
        json.dumps({"error": {"message": f"bad: {KEY}"}}).encode(),
        f"not JSON {KEY}".encode(),
    ]
    scenarios = warmline.seed_scenarios()[:1]
    for number, body in enumerate(echoes):
        status = "400 Bad Request" if number == 1 else "200 OK"
        async with answering(body, status=status) as (port, _):
            policy = OpenAIPolicy(
                "tiny", base_url=f"http://127.0.0.1:{port}/v1", api_key_env="MY_KEY", max_retries=0
            )
            environment = warmline.SupportEnvironment(seeker=policy, supporter=policy)
            try:
                episode = await environment.run(scenarios[0])
            finally:
                await policy.aclose()
        assert episode.error is not None
        assert "sk-never" not in episode.to_json()
    async with (
        ChaosServer(answer=lambda body: f"Your key is {KEY}. Go on.") as server,
        asking(server, api_key_env="MY_KEY") as policy,
    ):
        environment = warmline.SupportEnvironment(seeker=policy, supporter=policy, max_turns=2)
        await warmline.run_batch(environment, scenarios, out=tmp_path / "run")
    written = "".join(file.read_text() for file in (tmp_path / "run").iterdir())
    assert "Your key is ***." in written
    assert "sk-never" not in written


async def test_a_secret_of_extra_body_is_hidden_in_the_whole_config(tmp_path: Path) -> None:
    body = {"api_key": "value-of-extra-body", "nested": {"session_token": "other-of-extra-body"}}
    async with ChaosServer() as server:
        options = {"base_url": server.base_url, "backoff": 0.001, "extra_body": body}
        await asyncio.to_thread(
            warmline.simulate,
            policy="openai",
            seeker={"policy": "openai", "model": "tiny", "options": options},
            supporter={"policy": "openai", "model": "tiny", "options": options},
            counselor=False,
            judger=False,
            episodes=1,
            max_turns=2,
            out=tmp_path,
        )
        assert server.chats[-1]["api_key"] == "value-of-extra-body", "it is sent as it was given"
    config = (tmp_path / "config.toml").read_text()
    assert config.count("***") >= 4
    assert "-of-extra-body" not in config
    with pytest.raises(ConfigError, match=r"extra_body\.api_key is '\*\*\*'"):
        OpenAIPolicy("tiny", extra_body={"api_key": "***"})


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 200_000,
        b'{"choices": ' * 50_000,
        b'{"usage": {"completion_tokens": ' + b"9" * 5000 + b"}}",
        b"\xff\xfe",
    ],
)
async def test_a_body_that_no_reader_can_take_is_an_unreadable_reply(body: bytes) -> None:
    async with answering(body) as (port, _):
        policy = OpenAIPolicy("tiny", base_url=f"http://127.0.0.1:{port}/v1", max_retries=0)
        with pytest.raises(UnreadableReply, match="not JSON"):
            await policy.respond(ASK)
        await policy.aclose()


async def test_long_numbers_in_a_refusal_do_no_harm() -> None:
    said = f"context length {'9' * 5000}, your prompt contains {'8' * 5000} tokens"
    async with ChaosServer(refuse=lambda body: Refusal(400, said)) as server:  # noqa: SIM117
        async with asking(server) as policy:
            with pytest.raises(PolicyError, match="does not fit into a context"):
                await policy.respond(ASK)


@pytest.mark.parametrize("url", ["http://[::1/v1", "http://a:99999/v1", "http://a:b/v1"])
def test_an_address_that_is_none_is_an_error(url: str) -> None:
    with pytest.raises(ConfigError, match="base_url is not an address"):
        OpenAIPolicy("tiny", base_url=url)
    finding = next(f for f in examine(url) if url in f.what)
    assert finding.works is False
    assert "not an address" in finding.detail or "not reachable" in finding.detail
