"""Stand-in servers that speak as real ones do, built from their documentation and error texts.

Each is a real HTTP server on the loopback device. What it answers obeys the request where the server
that it stands for would.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from typing import Any

from ..chaos_server import ChaosServer, Refusal

Body = dict[str, Any]
Refuse = Callable[[Body], Refusal | None]

_OPTION = re.compile(r"^(?:\d+\.|-) (.+)$", re.MULTILINE)


def text_of(body: Body) -> str:
    return " ".join(message["content"] for message in body["messages"])


def words(body: Body) -> int:
    return len(text_of(body).split())


def _value(schema: dict[str, Any], dice: random.Random) -> Any:
    if "enum" in schema:
        return dice.choice(schema["enum"])
    kind = schema.get("type")
    if kind == "object":
        return {name: _value(part, dice) for name, part in schema["properties"].items()}
    return {"boolean": True, "integer": 3, "number": 0.5}.get(str(kind), "some words")


def obliging(*, schemas: bool = True, seeds: bool = True) -> Callable[[Body], str]:
    """What a capable model would answer.

    Args:
        schemas: whether `response_format` binds the answer; else it is only read in the prompt.
        seeds: whether a seed decides it.
    """
    free = random.Random(4711)

    def answer(body: Body) -> str:
        dice = random.Random(body["seed"]) if seeds and "seed" in body else free
        if schemas and (form := body.get("response_format")) is not None:
            return json.dumps(_value(form["json_schema"]["schema"], dice))
        asked = body["messages"][-1]["content"]
        if "exactly one of these options" in asked:
            return dice.choice(_OPTION.findall(asked))
        if "fits this JSON schema" in asked:
            schema = json.loads(asked[asked.index("nothing else:\n") + 14 :])
            return json.dumps(_value(schema, dice))
        begun = body["messages"][-1] if body.get("continue_final_message") else None
        opening = "" if begun is not None else "You said something. "
        return f"{opening}I heard {dice.randrange(10**6)}. Tell me more. I have time."

    return answer


def one_after_the_other(*refusals: Refuse) -> Refuse:
    """The first refusal that there is."""

    def refuse(body: Body) -> Refusal | None:
        return next((said for said in (look(body) for look in refusals) if said), None)

    return refuse


def knows_only(said: str, *names: str, status: int = 400) -> Refuse:
    """Refuses the fields named, as unknown; `said` is given the name."""

    def refuse(body: Body) -> Refusal | None:
        found = next((name for name in names if name in body), None)
        return None if found is None else Refusal(status, said.format(name=found))

    return refuse


_EXTENSIONS = ("top_k", "min_p", "repetition_penalty", "repeat_penalty", "structured_outputs")


def _no_counting_along(body: Body) -> Refusal | None:
    if "continuous_usage_stats" in body.get("stream_options", {}):
        return Refusal(400, "Unknown parameter: 'stream_options.continuous_usage_stats'.")
    return None


def _context(tokens: int, said: str, **fields: Any) -> Refuse:
    """Refuses longer prompts in these words, which are given both numbers."""

    def refuse(body: Body) -> Refusal | None:
        count = words(body)
        if count <= tokens:
            return None
        return Refusal(400, said.format(count=count, room=tokens), fields)

    return refuse


_OPENAI = one_after_the_other(
    knows_only("Unrecognized request argument supplied: {name}", *_EXTENSIONS),
    _no_counting_along,
    _context(
        128_000,
        "This model's maximum context length is {room} tokens. However, your messages resulted in"
        " {count} tokens. Please reduce the length of the messages.",
        code="context_length_exceeded",
    ),
)


def reasoning(body: Body) -> Refusal | None:
    """OpenAI's o-series and GPT-5: only defaults."""
    if "max_tokens" in body:
        return Refusal(
            400,
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use"
            " 'max_completion_tokens' instead.",
            {"param": "max_tokens", "code": "unsupported_parameter"},
        )
    for name in ("temperature", "top_p"):
        if body.get(name, 1) != 1:
            return Refusal(
                400,
                f"Unsupported value: '{name}' does not support {body[name]} with this model. Only"
                " the default (1) value is supported.",
                {"param": name, "code": "unsupported_value"},
            )
    for name in ("stop", "logprobs"):
        if name in body:
            return Refusal(
                400,
                f"Unsupported parameter: '{name}' is not supported with this model.",
                {"param": name, "code": "unsupported_parameter"},
            )
    return None


def no_system(body: Body) -> Refusal | None:
    if any(message["role"] == "system" for message in body["messages"]):
        return Refusal(400, "System role not supported")
    return None


OLLAMA_CONTEXT = 4096


def openai() -> ChaosServer:
    return ChaosServer(owner="system", answer=obliging(), refuse=_OPENAI, cached_tokens=_none)


def openai_reasoning() -> ChaosServer:
    refuse = one_after_the_other(reasoning, _OPENAI)
    return ChaosServer(owner="system", answer=obliging(), refuse=refuse, cached_tokens=_none)


def ollama() -> ChaosServer:
    """Cuts what is longer than its context, and says nothing of it."""
    return ChaosServer(
        owner="library",
        answer=obliging(),
        logprobs=False,
        prompt_tokens=lambda body: min(words(body) + 8, OLLAMA_CONTEXT),
        cached_tokens=_none,
    )


def sglang() -> ChaosServer:
    said = "The input ({count} tokens) is longer than the model's context length ({room} tokens)."
    return ChaosServer(owner="sglang", answer=obliging(), refuse=_context(4096, said))


def vllm_gemma() -> ChaosServer:
    """vLLM, serving a model whose chat template has no system role."""
    said = (
        "This model's maximum context length is {room} tokens. However, your request has {count}"
        " input tokens. Please reduce the length of the input messages."
    )
    return ChaosServer(
        owner="vllm",
        answer=obliging(),
        refuse=one_after_the_other(no_system, _context(4096, said)),
    )


def mistral() -> ChaosServer:
    """Refuses whatever its documentation does not list; its seed has another name."""
    said = (
        "[{{'type': 'extra_forbidden', 'loc': ['body', '{name}'], 'msg': 'Extra inputs are not"
        " permitted', 'input': 5}}]"
    )
    refused = (*_EXTENSIONS, "seed", "logprobs", "stream_options")
    long = "Prompt contains {count} tokens, too large for model with {room} maximum context length"
    return ChaosServer(
        owner="mistralai",
        answer=obliging(),
        refuse=one_after_the_other(knows_only(said, *refused, status=422), _context(32_768, long)),
    )


def deepseek() -> ChaosServer:
    """Takes `response_format` for plain JSON only, and ignores seeds."""

    def refuse(body: Body) -> Refusal | None:
        if body.get("response_format", {}).get("type") == "json_schema":
            return Refusal(400, "This response_format type is unavailable now")
        return None

    long = (
        "This model's maximum context length is {room} tokens. However, you requested {count}"
        " tokens ({count} in the messages, 0 in the completion)."
    )
    return ChaosServer(
        owner="deepseek",
        answer=obliging(seeds=False),
        refuse=one_after_the_other(refuse, _context(65_536, long)),
    )


def _none(body: Body) -> int:
    return 0
