"""Opening the openai policy: key, model and server are checked before the first episode."""

import asyncio
import socket
import time
import traceback
import warnings

import pytest

from warmline.core.errors import AuthenticationFailed, ConfigError, EngineUnavailable, ModelNotFound
from warmline.policies.openai.opening import PROBE_TOKENS
from warmline.policies.openai.policy import OpenAIPolicy

from ..chaos_server import ChaosServer, Fault, Refusal
from .asking import ASK, asking

pytestmark = pytest.mark.timeout(30)


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


async def test_open_takes_the_only_model_and_names_it() -> None:
    async with ChaosServer() as server:
        async with OpenAIPolicy(base_url=server.base_url) as policy:
            assert policy.describe()["model"] == "tiny"
            assert (await policy.respond(ASK)).text
        assert [body["model"] for body in server.chats] == ["tiny", "tiny"]
        assert server.chats[0]["max_tokens"] == PROBE_TOKENS, "a short answer"


async def test_open_will_not_guess_among_several_models() -> None:
    async with ChaosServer(models=["b", "a"]) as server:
        with pytest.raises(ConfigError, match="serves 2: a, b"):
            await OpenAIPolicy(base_url=server.base_url).open()


@pytest.mark.parametrize("status", [404, 405, 500])
async def test_open_does_without_a_list_of_models(status: int) -> None:
    async with ChaosServer(models=status) as server:
        async with OpenAIPolicy("tiny", base_url=server.base_url) as policy:
            assert (await policy.respond(ASK)).attempts == 1
        with pytest.raises(ConfigError, match="no model named"):
            await OpenAIPolicy(base_url=server.base_url).open()


@pytest.mark.parametrize("public_list", [False, True])
async def test_a_wrong_key_fails_at_open_and_is_never_shown(
    public_list: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-very-secret")
    if public_list:
        echo = Refusal(401, "Incorrect key: sk-very-secret")
        chaos = ChaosServer(refuse=lambda body: echo)
    else:
        chaos = ChaosServer(key="sk-right")  # also repeats what it was sent
    async with chaos as server:
        policy = OpenAIPolicy("tiny", base_url=server.base_url, api_key_env="MY_KEY")
        with pytest.raises(AuthenticationFailed, match=r"refused the key in \$MY_KEY") as caught:
            await policy.open()
        await policy.aclose()
        assert caught.value.fatal
        shown = "".join(traceback.format_exception(caught.value)) + str(policy.describe())
        assert "very-secret" not in shown
        assert server.requests[0].headers["authorization"] == "Bearer sk-very-secret"


async def test_the_right_key_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-right\n")
    async with (
        ChaosServer(key="sk-right") as server,
        OpenAIPolicy("tiny", base_url=server.base_url, api_key_env="MY_KEY") as policy,
    ):
        assert (await policy.respond(ASK)).text


async def test_an_impossible_key_is_named_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-a\nb")
    policy = OpenAIPolicy("tiny", base_url="http://127.0.0.1:9/v1", api_key_env="MY_KEY")
    with pytest.raises(AuthenticationFailed, match=r"\$MY_KEY holds characters") as caught:
        await policy.open()
    assert "sk-a" not in str(caught.value)


async def test_openai_itself_needs_a_key() -> None:
    with pytest.raises(AuthenticationFailed, match=r"OPENAI_API_KEY is not set.*api\.openai\.com"):
        await OpenAIPolicy("any").open()


async def test_a_variable_that_is_named_must_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sent without a key, the requests were refused one by one, or answered by whoever asks none."""
    monkeypatch.delenv("MY_KEY", raising=False)
    async with ChaosServer() as server:
        policy = OpenAIPolicy("tiny", base_url=server.base_url, api_key_env="MY_KEY")
        with pytest.raises(AuthenticationFailed, match=r"\$MY_KEY is not set, though api_key_env"):
            await policy.open()
        assert not server.requests
        async with OpenAIPolicy("tiny", base_url=server.base_url):
            pass  # a server without keys


async def test_a_name_that_is_answered_and_not_listed_is_told() -> None:
    async with ChaosServer(models=["tiny-chat", "large"]) as server:
        policy = OpenAIPolicy("tiny-cat", base_url=server.base_url)
        with pytest.warns(UserWarning, match=r"lists only 'large', 'tiny-chat'.*mean 'tiny-chat'"):
            await policy.open()
        await policy.aclose()
    async with ChaosServer(models=["llama3:latest"], owner="library") as server:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            async with OpenAIPolicy("llama3", base_url=server.base_url):
                pass  # Ollama's short form


async def test_nobody_there_fails_at_open_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        policy = OpenAIPolicy("tiny", base_url=f"http://127.0.0.1:{taken.getsockname()[1]}/v1")
        started = time.monotonic()
        with pytest.raises(EngineUnavailable, match=r"cannot reach http://127.*\n.*llama-server"):
            await policy.open()
        await policy.aclose()
        assert time.monotonic() - started < 2


async def test_an_unknown_model_fails_at_open_with_a_suggestion() -> None:
    async with ChaosServer([Fault.NO_MODEL], models=["tiny-chat", "large"]) as server:
        policy = OpenAIPolicy("tiny-cat", base_url=server.base_url)
        with pytest.raises(ModelNotFound, match=r"serves 'large', 'tiny-chat'\n.*mean 'tiny-chat'"):
            await policy.open()
        await policy.aclose()


async def test_llama_cpp_would_answer_under_any_name_and_is_not_let() -> None:
    async with ChaosServer(models=["tiny.gguf"], owner="llamacpp") as server:
        policy = OpenAIPolicy("gpt-9", base_url=server.base_url)
        with pytest.raises(ModelNotFound, match=r"no model 'gpt-9'; it serves 'tiny\.gguf'"):
            await policy.open()
        await policy.aclose()


async def test_open_waits_while_the_server_loads_its_weights() -> None:
    plan = [Fault.OVERLOADED] * 3
    async with ChaosServer(plan, models=503) as server, asking(server) as policy:
        await policy.open()
        assert len(server.chats) == 4


async def test_one_policy_serves_several_event_loops() -> None:
    def in_own_loop() -> str:
        async def once() -> str:
            reply = await policy.respond(ASK)
            await policy.aclose()
            return reply.text

        return asyncio.run(once())

    async with ChaosServer() as server:
        policy = OpenAIPolicy("tiny", base_url=server.base_url)
        texts = [await asyncio.to_thread(in_own_loop) for _ in range(2)]
    assert texts[0] == texts[1]


async def test_closing_twice_and_asking_again_are_fine() -> None:
    async with ChaosServer() as server, asking(server) as policy:
        await policy.respond(ASK)
        await policy.aclose()
        await policy.aclose()
        assert (await policy.respond(ASK)).text
