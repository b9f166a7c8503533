"""One request to vLLM: its prompt and settings, what comes back, and how that is read.

The coroutines here run in the engine's own event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...core.errors import ContextTooLong
from ..answers import read_json
from ..base import DRAWING, FinishReason, Request, TokenLogprob
from ..text.sentences import SentenceLimit
from .engine import VllmEngine
from .generation import Generation, Watch
from .thinking import think_and_answer

if TYPE_CHECKING:
    from ..models.prompts import Prompt, PromptWriter

MAX_TOKENS = 256
"""For a free answer if neither request nor model sets it. vLLM's own default, 16, cuts
sentences."""

SCHEMA_MAX_TOKENS = 512
"""Room for a JSON answer, which is useless when it is cut off."""

_DRAWING = ("temperature", "top_k", "top_p", "min_p")


@dataclass(frozen=True, slots=True)
class OpenModel:
    """What an open policy holds.

    Attributes:
        engine: shared with other policies.
        writer: of prompts, under this policy's template.
        adapter: vLLM's name for the adapter, or None.
        context: maximum number of tokens in prompt and answer together.
        defaults: sampling of the model's `generation_config.json`.
    """

    engine: VllmEngine
    writer: PromptWriter
    adapter: Any
    context: int
    defaults: Mapping[str, Any]


async def write(opened: OpenModel, request: Request) -> Generation:
    """Have one answer written; a model that thinks does so first (`vllm/thinking.py`).

    Raises:
        ContextTooLong, BadRequest: the engine never sees the request.
        EngineUnavailable: it failed.
    """
    if opened.writer.thinking is None or request.sampling.thinking == "off":
        return await _write(opened, request, opened.writer.write(request), _sentence_watch(request))

    async def send(asked: Request, after: str, watch: Watch | None, room: int) -> Generation:
        prompt = opened.writer.write(asked, after=after)
        watched = _sentence_watch(asked) if watch is None else watch
        return await _write(opened, asked, prompt, watched, room=room)

    begun = opened.writer.write(request).begun
    return await think_and_answer(opened.writer.thinking, request, send, begun=begun)


async def _write(
    opened: OpenModel, request: Request, prompt: Prompt, watch: Watch | None, *, room: int = 0
) -> Generation:
    """One pass; `room` are tokens besides those of the answer."""
    _refuse_too_long(len(prompt.tokens), opened)
    api = opened.engine.api
    fields = _sampling(opened, request)
    if room:
        fields["max_tokens"] += min(room, max(1, (opened.context - len(prompt.tokens)) // 2))
    if opened.writer.mark_tokens:  # else the marks of thinking would be left out of the text
        fields["skip_special_tokens"] = False
    params = api.sampling(
        choices=request.choices,
        schema=request.schema,
        seed=None if request.seed is None else request.seed % 2**63,
        logprobs=0 if request.logprobs else None,  # 0: of the drawn token only
        stop_token_ids=sorted(opened.writer.stop_tokens),
        output_kind=api.final_only if watch is None else api.deltas,
        **fields,
    )
    return await opened.engine.generate(prompt.tokens, params, adapter=opened.adapter, watch=watch)


def _refuse_too_long(tokens: int, opened: OpenModel) -> None:
    if tokens + 1 > opened.context:  # vLLM always writes one token
        raise ContextTooLong(prompt_tokens=tokens, context_tokens=opened.context)


def _sampling(opened: OpenModel, request: Request) -> dict[str, Any]:
    asked = {n: value for n, value in request.sampling.as_dict().items() if n in DRAWING}
    bound = request.choices is not None or request.schema
    own = {name: v for name, v in opened.defaults.items() if not bound or name in _DRAWING}
    fields = {"max_tokens": SCHEMA_MAX_TOKENS if request.schema else MAX_TOKENS, **own, **asked}
    if request.choices is not None:
        # an option is never cut: a byte is at most one token, and one ends the answer
        longest = max(len(option.encode()) for option in request.choices)
        fields["max_tokens"] = max(fields["max_tokens"], longest + 1)
    return fields


def _sentence_watch(request: Request) -> Watch | None:
    limit = request.max_sentences
    if limit is None or request.choices is not None or request.schema is not None:
        return None
    reached = SentenceLimit(limit)
    return lambda text: reached(_joined(request.prefill, text))


def _joined(prefill: str, written: str) -> str:
    return prefill + (written.lstrip() if prefill[-1:].isspace() else written)


def read(request: Request, generation: Generation) -> str | None:
    """The text of the reply, or None if it is not what was asked for."""
    if request.choices is not None:
        return generation.text if generation.text in request.choices else None
    if request.schema is not None:
        fitting = read_json(generation.text, request.schema)
        return None if fitting is None else fitting[0]
    return _joined(request.prefill, generation.text).strip() or None


def finish_reason(request: Request, generation: Generation) -> FinishReason:
    """Why a reply that could be read ended."""
    if request.choices is not None:
        return FinishReason.CHOICE
    if generation.finish == "watch":
        return FinishReason.SENTENCES
    return FinishReason.LENGTH if generation.finish == "length" else FinishReason.STOP


async def score(opened: OpenModel, request: Request, continuation: str) -> tuple[TokenLogprob, ...]:
    """The log-probabilities of a given continuation; see `ScoringPolicy.score`."""
    prompt = opened.writer.write_without_thinking(request)
    given = opened.writer.continuation(prompt, continuation)
    if not given:
        return ()
    tokens = [*prompt.tokens, *given]
    _refuse_too_long(len(tokens), opened)
    scored = _score_token_by_token if opened.engine.has_adapters else _score_prompt
    entries = await scored(opened, tokens, len(prompt.tokens))
    decode = opened.engine.llm.get_tokenizer().decode
    return tuple(
        TokenLogprob(str(decode([token])), min(0.0, entry))
        for token, entry in zip(given, entries, strict=True)
    )


async def _score_prompt(opened: OpenModel, tokens: list[int], start: int) -> list[float]:
    """Log-probabilities (nats) of the tokens from `start` on, in one pass."""
    api = opened.engine.api
    params = api.sampling(
        temperature=0.0, max_tokens=1, prompt_logprobs=0, stop_token_ids=[],
        output_kind=api.final_only,
    )  # fmt: skip
    generation = await opened.engine.generate(tokens, params, adapter=opened.adapter)
    entries = generation.prompt_logprobs[start:]
    return [float(e[t].logprob) for t, e in zip(tokens[start:], entries, strict=True)]


async def _score_token_by_token(opened: OpenModel, tokens: list[int], start: int) -> list[float]:
    """The same, each token as the only one allowed after those before it.

    vLLM's prompt log-probabilities go wrong beside adapters: without their change of the output
    layer (vllm#51594), and on a CPU the engine dies of them. The first token is waited for, so that
    the others find the prompt in the cache.
    """
    api = opened.engine.api

    async def one(place: int) -> float:
        params = api.sampling(
            temperature=0.0, max_tokens=1, logprobs=0, stop_token_ids=[],
            allowed_token_ids=[tokens[place]], output_kind=api.final_only,
        )  # fmt: skip
        generation = await opened.engine.generate(tokens[:place], params, adapter=opened.adapter)
        return generation.logprobs[0].logprob

    first = await one(start)
    return [first, *await asyncio.gather(*map(one, range(start + 1, len(tokens))))]
