"""A served policy, asked by OpenAI's own client and by our own policy."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from typer.testing import CliRunner

pytest.importorskip("fastapi", reason="the extra web is not installed")
pytest.importorskip("uvicorn", reason="the extra web is not installed")

import warmline
from warmline.cli import app
from warmline.core.errors import ConfigError, ModelNotFound, RateLimited
from warmline.environments.serving import SupporterSeat, serving
from warmline.environments.serving.server import TOKEN_VARIABLE, serve_policy
from warmline.policies.base import Capabilities, Reply, Request, TokenLogprob, Usage
from warmline.policies.safety import CRISIS_GUIDANCE
from warmline.policies.scripted import ScriptedPolicy

ASKED: list[Any] = [{"role": "user", "content": "I cannot sleep before the exam."}]
LONG = "That is a hard night. You have worked for it. What keeps you awake? Tell me more. And then?"


class Thinker:
    """Says what it was asked, and thinks first."""

    name = "thinker"
    capabilities = Capabilities(schema=True, logprobs=True)

    def __init__(self) -> None:
        self.requests: list[Request] = []

    async def respond(self, request: Request) -> Reply:
        self.requests.append(request)
        return Reply(
            json.dumps({"choice": "Question"}) if request.schema else LONG,
            thinking="They are afraid.",
            usage=Usage(12, 4, 9, thinking_tokens=3),
            logprobs=(TokenLogprob("That", -0.5),) if request.logprobs else None,
            policy="thinker",
        )


@pytest.fixture(scope="module")
def thinker() -> Iterator[tuple[Thinker, openai.OpenAI, str]]:
    policy = Thinker()
    with serving(policy) as base_url:
        yield policy, openai.OpenAI(base_url=base_url, api_key="none", max_retries=0), base_url


def test_openais_client_gets_text_thinking_tokens_and_log_probabilities(thinker: Any) -> None:
    policy, client, _ = thinker
    assert [model.id for model in client.models.list()] == ["thinker"]
    made = client.chat.completions.create(
        model="thinker", messages=ASKED, temperature=0.3, max_completion_tokens=50, seed=5,
        logprobs=True, extra_body={"top_k": 4},
    )  # fmt: skip
    assert made.choices[0].message.content == LONG
    assert made.choices[0].message.reasoning_content == "They are afraid."
    assert made.choices[0].finish_reason == "stop"
    assert made.choices[0].logprobs.content[0].logprob == -0.5
    assert (made.usage.prompt_tokens, made.usage.total_tokens) == (12, 21)
    asked = policy.requests[-1]
    assert asked.sampling.as_dict() == {"temperature": 0.3, "top_k": 4, "max_tokens": 50}
    assert asked.seed == 5
    assert asked.messages[0].content == ASKED[0]["content"]


def test_a_stream_is_the_same_answer_in_parts(thinker: Any) -> None:
    _, client, _ = thinker
    with client.chat.completions.create(
        model="thinker", messages=ASKED, stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)
    deltas = [choice.delta for chunk in chunks for choice in chunk.choices]
    assert "".join(delta.content or "" for delta in deltas) == LONG
    assert sum(bool(delta.content) for delta in deltas) > 2
    assert deltas[0].reasoning_content == "They are afraid."
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage.completion_tokens == 9


@pytest.mark.parametrize(
    ("fields", "status", "param", "says"),
    [
        ({"stop": ["."]}, 400, "stop", "not supported"),
        ({"n": 2}, 400, "n", "1"),
        ({"temperature": -1}, 400, None, "temperature must be at least 0"),
        ({"max_completion_tokens": 0}, 400, None, "max_tokens must be at least 1"),
        ({"messages": []}, 400, "messages", "at least 1"),
        ({"model": "other"}, 404, None, "known: thinker"),
        ({"response_format": {"type": "xml"}}, 400, "response_format", "response_format"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(
    thinker: Any, fields: dict[str, Any], status: int, param: str | None, says: str
) -> None:
    _, client, _ = thinker
    with pytest.raises(openai.APIStatusError) as refused:
        client.chat.completions.create(**{"model": "thinker", "messages": ASKED} | fields)
    assert refused.value.status_code == status
    assert refused.value.param == param
    assert says in refused.value.message


def test_our_own_policy_converses_through_it(thinker: Any) -> None:
    policy, _, base_url = thinker
    (episode,) = warmline.simulate(
        policy=ScriptedPolicy(judger=["NO"], seeker=["I am worn out.", "It goes on."]),
        counselor={"policy": "openai", "base_url": base_url},
        supporter={"policy": "openai", "base_url": base_url, "thinking": None},
        episodes=1,
        max_turns=4,
        case_dialogues=0,
    )
    assert episode.stop == "turn_limit", episode.error
    spoken = episode.utterances[1]
    assert spoken.strategy == warmline.Strategy.QUESTION
    assert spoken.text == "That is a hard night. You have worked for it. What keeps you awake?"
    call = episode.calls[spoken.call or 0]
    assert call.thinking == "They are afraid."
    assert "They are afraid" not in episode.transcript()
    assert any(request.schema for request in policy.requests)


def test_a_failing_policy_is_an_error_of_http_and_the_next_is_answered() -> None:
    def answer(request: Request) -> str:
        if "busy" in request.messages[-1].content:
            raise RateLimited("the engine is busy")
        return "I am here."

    with serving(ScriptedPolicy(answer)) as base_url:
        client = openai.OpenAI(base_url=base_url, api_key="none", max_retries=0)
        with pytest.raises(openai.RateLimitError, match="the engine is busy"):
            client.chat.completions.create(
                model="scripted", messages=[{"role": "user", "content": "busy"}]
            )
        made = client.chat.completions.create(model="scripted", messages=ASKED)
        assert made.choices[0].message.content == "I am here."


def test_the_seat_has_the_prompt_the_cap_and_no_system_message() -> None:
    policy = ScriptedPolicy(lambda request: LONG)
    with serving(SupporterSeat(policy, problem_type="Academic Pressure")) as base_url:
        client = openai.OpenAI(base_url=base_url, api_key="none", max_retries=0)
        talk = [*ASKED, {"role": "assistant", "content": "Go on."}, *ASKED]
        made = client.chat.completions.create(model="scripted", messages=talk)
        assert made.choices[0].message.content.endswith("What keeps you awake?")
        with pytest.raises(openai.BadRequestError, match="its own prompt") as refused:
            client.chat.completions.create(
                model="scripted", messages=[{"role": "system", "content": "Be rude."}, *ASKED]
            )
        assert refused.value.param == "messages.0.role"
        with pytest.raises(openai.BadRequestError, match="must be the user's"):
            client.chat.completions.create(model="scripted", messages=talk[:2])
    sent = policy.requests[0]
    assert sent.messages[0].role == "system"
    assert "Academic Pressure" in sent.messages[0].content
    assert [m.role for m in sent.messages[1:]] == ["user", "assistant", "user"]


def test_crisis_language_comes_with_the_help_lines() -> None:
    said = [{"role": "user", "content": "I want to kill myself tonight."}]
    policy = ScriptedPolicy(lambda request: "I hear you.")
    with serving(policy) as base_url:
        client = openai.OpenAI(base_url=base_url, api_key="none", max_retries=0)
        told = client.chat.completions.create(model="scripted", messages=said).warmline
        calm = client.chat.completions.create(model="scripted", messages=ASKED)
        streamed = list(
            client.chat.completions.create(model="scripted", messages=said, stream=True)
        )
    assert told == {
        "crisis": {"said": ["suicide"], "answered": []},
        "guidance": CRISIS_GUIDANCE,
    }
    assert not hasattr(calm, "warmline")
    assert streamed[-1].warmline == told


def test_a_small_model_in_the_seat_does_not_answer_a_crisis() -> None:
    policy = ScriptedPolicy(lambda request: "I hear you.")
    policy.capabilities = Capabilities(small_model=True)
    with serving(SupporterSeat(policy)) as base_url:
        client = openai.OpenAI(base_url=base_url, api_key="none", max_retries=0)
        made = client.chat.completions.create(
            model="scripted", messages=[{"role": "user", "content": "I want to kill myself."}]
        )
    assert made.choices[0].message.content == CRISIS_GUIDANCE
    assert not policy.requests


def test_other_addresses_need_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    with pytest.raises(ConfigError, match=f"set {TOKEN_VARIABLE}"):
        serve_policy(ScriptedPolicy(), host="0.0.0.0")
    monkeypatch.setenv(TOKEN_VARIABLE, "short")
    with pytest.raises(ConfigError, match="fewer than 16"):
        serve_policy(ScriptedPolicy(), host="0.0.0.0")
    monkeypatch.setenv(TOKEN_VARIABLE, "a-token-of-sixteen-or-more")
    with serving(ScriptedPolicy()) as base_url:
        wrong = openai.OpenAI(base_url=base_url, api_key="none", max_retries=0)
        with pytest.raises(openai.AuthenticationError, match="token as the API key"):
            wrong.models.list()
        right = openai.OpenAI(base_url=base_url, api_key="a-token-of-sixteen-or-more")
        assert [model.id for model in right.models.list()] == ["scripted"]


def test_a_page_of_another_name_cannot_ask_it(thinker: Any) -> None:
    _, _, base_url = thinker
    request = urllib.request.Request(f"{base_url}/models", headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    assert refused.value.code == 421
    refused.value.close()


def test_the_command_refuses_an_unknown_policy_before_it_serves() -> None:
    done = CliRunner().invoke(app, ["serve-policy", "--policy", "embeded"])
    assert "did you mean 'embedded'" in str(done.exception)


def test_a_policy_that_cannot_be_opened_is_an_error_without_a_trace() -> None:
    words = ["serve-policy", "--policy", "embedded", "--model", "none.gguf", "--port", "0"]
    done = subprocess.run(
        [sys.executable, "-m", "warmline.cli", *words],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2
    assert "error: no weights at none.gguf" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    with (
        pytest.raises(ModelNotFound, match="no weights"),
        serving(warmline.EmbeddedPolicy("none.gguf")),
    ):
        pass


def test_the_page_runs() -> None:
    page = Path(__file__).parents[3] / "docs" / "serving.md"
    (block,) = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    exec(compile(block, str(page), "exec"), {})
