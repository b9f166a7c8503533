"""The embedded engine: a language model in this process, on the CPU, with nothing to set up.

It is what a first run uses. The default weights (135 million parameters) have an adapter merged into
them that learned all four seats from the seed corpus, and stay a small model: fluent and forgetful.
Any GGUF file can take their place.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, get_args

from ...core.errors import ConfigError, EngineUnavailable, UnreadableReply, Unsupported
from ..base import (
    DRAWING,
    THINKING,
    BasePolicy,
    Capabilities,
    FinishReason,
    Message,
    Reply,
    Request,
    Sampling,
    Usage,
)
from ..choosing import CalibratedChoice, choice_grammar
from ..models.cores import llama_threads
from ..models.lora import SHIPPED
from ..models.system_role import fold_system
from ..models.weights import WEIGHTS_VARIABLE, find_weights, weights_identity
from ..reasking import ask_until_read
from ..text.aloud import listener
from ..thinking.reader import opened_by
from .engine import ENGINES, EngineSettings, Generation, LlamaEngine
from .reading import (
    DEFAULT_SAMPLING,
    answer_of,
    fault_of,
    finish_reason_of,
    sampling_of,
    sentence_watch,
)
from .thinking import switches, think_and_answer

PENALTY_WINDOW = 256
"""Tokens over which the repetition penalty looks back."""

REASKS = 2
"""Further questions after an unusable answer, each with a seed derived from the first."""

ChoiceMethod = Literal["direct", "calibrated"]
Adapter = Literal["shipped", "none"]

_CHAT = ("messages", "continue_final_message", "add_generation_prompt")
"""Fields of a chat completion that a plain completion does not have."""


class EmbeddedPolicy(BasePolicy):
    """A GGUF model run by llama.cpp in this process.

    Policies with equal settings share one loaded engine. Requests in flight are computed together,
    up to `slots` of them; the others wait in order.

    Seeds: with `deterministic=True` the same request and seed give the same text whatever else is
    asked at the time, because every answer is computed alone and from its first token. Without it a
    seed fixes the draws, but not the last digits of the probabilities, which depend on what shares
    the batch and on what part of the prompt was cached; the text then differs after some words.

    Args:
        model: a GGUF file, or `owner/repository:file.gguf` on the Hugging Face hub. None uses the
            file named by `WARMLINE_WEIGHTS`, otherwise SmolLM2-135M-Instruct, fetched once.
        slots: answers computed together; each costs about 45 MB for 2048 tokens of this model.
        threads: threads of the computation; None uses as many as `OMP_NUM_THREADS` says, or all
            cores but one that are idle when the policy is opened, or both of two.
        context_tokens: maximum number of tokens in prompt and answer together.
        deterministic: seeds hold exactly; answers are computed one at a time.
        cache_mib: memory for the cached prompts of other dialogues, in MiB.
        adapter: of the default model: `shipped`, merged into it once, or `none`; a model of your own
            stays as it is.
        choice_method: how `Request.choices` are answered. `direct`: written under a grammar of the
            options. `calibrated`: scored, less the score without the dialogue (`choosing.py`); one
            short answer an option. It spreads a small model's answers and does not make them right:
            see the figures there. It draws by temperature alone, so a request that sets another
            sampling field besides, or asks for log-probabilities, is refused.

    Raises:
        ConfigError: a setting out of range.
    """

    name = "embedded"
    speaks_aloud = True
    capabilities = Capabilities(
        schema=True, prefill=True, logprobs=True, seed=False, small_model=True,
        sampling=DRAWING | THINKING,
    )  # fmt: skip

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        slots: int = 8,
        threads: int | None = None,
        context_tokens: int = 3072,
        deterministic: bool = False,
        cache_mib: int = 1024,
        adapter: Adapter = "shipped",
        choice_method: ChoiceMethod = "direct",
    ) -> None:
        problems = [
            f"{option} must be at least {least}, not {value!r}"
            for option, value, least in (
                ("slots", slots, 1),
                ("threads", threads, 1),
                ("context_tokens", context_tokens, 64),
                ("cache_mib", cache_mib, 0),
            )
            if value is not None and value < least
        ]
        problems += [
            f"{option} must be one of {', '.join(get_args(kind))}, not {value!r}"
            for option, value, kind in (
                ("choice_method", choice_method, ChoiceMethod),
                ("adapter", adapter, Adapter),
            )
            if value not in get_args(kind)
        ]
        if problems:
            raise ConfigError("the embedded policy cannot be set up", problems=problems)
        self._model = model
        self.requests_at_once = self._slots = 1 if deterministic else slots
        self._threads = threads
        self._context_tokens = context_tokens
        self._deterministic = deterministic
        self._cache_mib = cache_mib
        self._choice_method = choice_method
        self._calibrated = CalibratedChoice(self._score)
        self._engine: LlamaEngine | None = None
        self._closed = False
        default = not (model or os.environ.get(WEIGHTS_VARIABLE))
        self._adapter = SHIPPED if default and adapter == "shipped" else None
        self.capabilities = replace(
            self.capabilities,
            seed=deterministic,
            small_model=default,
            knows_seats=self._adapter is not None,
        )

    @property
    def model_folders(self) -> tuple[str, ...]:
        """See `policies.base.model_folders`."""
        return () if self._adapter is None else (str(self._adapter),)

    async def open(self) -> None:
        """Find or fetch the weights and load them; both in threads.

        Raises:
            ConfigError: the engine's library is missing, or the file is not a GGUF model.
            ModelNotFound: no such file.
            EngineUnavailable: the weights could not be fetched or loaded.
        """
        self._closed = False
        if self._engine is not None:
            return
        threads = await asyncio.to_thread(llama_threads) if self._threads is None else self._threads
        settings = EngineSettings(
            model=await asyncio.to_thread(find_weights, self._model, adapter=self._adapter),
            slots=self._slots,
            threads=threads,
            context_tokens=self._context_tokens,
            cache_mib=self._cache_mib,
            reuse_prompts=not self._deterministic,
        )
        engine = await ENGINES.acquire(settings)
        if self._engine is not None or self._closed:  # another task was faster
            await ENGINES.release(engine)
        else:
            self._engine = engine

    async def aclose(self) -> None:
        """Give the engine back; its last user frees it, ending what is still being written."""
        self._closed = True
        engine, self._engine = self._engine, None
        if engine is not None:
            await ENGINES.release(engine)

    @property
    def base_url(self) -> str:
        """Address under which the open engine also speaks the OpenAI protocol, on 127.0.0.1 only.

        Raises:
            EngineUnavailable: the policy is not open.
        """
        return self._opened().base_url

    @property
    def api_key(self) -> str:
        """The key that `base_url` asks for: random, new with every load, for this process to share.

        Raises:
            EngineUnavailable: the policy is not open.
        """
        return self._opened().api_key

    def _opened(self) -> LlamaEngine:
        if self._engine is None:
            raise EngineUnavailable(
                "the embedded policy is not open",
                hint="await policy.open(), or `async with policy`",
            )
        return self._engine

    def describe(self) -> dict[str, Any]:
        """Model, engine version and everything that shapes the answers."""
        return {
            "policy": self.name,
            **weights_identity(self._model, adapter=self._adapter),
            "engine": f"xllamacpp {_engine_version()}",
            "context_tokens": self._context_tokens,
            "deterministic": self._deterministic,
            "choice_method": self._choice_method,
            "defaults": DEFAULT_SAMPLING.as_dict(),
            "penalty_window": PENALTY_WINDOW,
        }

    def check(self, request: Request) -> None:
        """As every policy does; calibrated choices also refuse what they cannot honour.

        Raises:
            Unsupported: names the options.
        """
        super().check(request)
        if request.choices is not None and self._choice_method == "calibrated":
            self._check_calibrated(request)

    def _check_calibrated(self, request: Request) -> None:
        idle = {"top_p", "top_k", "min_p", "repetition_penalty"} & request.sampling.as_dict().keys()
        refused = sorted(idle) + ["logprobs"] * request.logprobs
        if refused:
            raise Unsupported(
                f"calibrated choices cannot honour {', '.join(refused)}",
                hint="leave it out for this role, or set choice_method to 'direct'",
            )

    async def respond(self, request: Request) -> Reply:
        """Answer one request; see `Policy.respond` and `errors.py`."""
        self.check(request)
        started = time.perf_counter()
        if self._engine is None and not self._closed:
            await self.open()
        if request.choices is not None and self._choice_method == "calibrated":
            text, usage = await self._calibrated.choose(
                request.messages,
                request.choices,
                temperature=sampling_of(request).temperature or 0.0,
                seed=request.seed,
            )
            latency = time.perf_counter() - started
            return Reply(text, FinishReason.CHOICE, usage, latency, self.name)
        return await self._write(request, started)

    async def _write(self, request: Request, started: float) -> Reply:
        hear = listener()

        async def ask(again: Request) -> Generation:
            engine, body = self._opened(), await self._body(again)
            watch = sentence_watch(again, hear)
            if engine.thinking is None or request.sampling.thinking == "off":
                return await engine.generate(body, watch)
            variables = body.pop("chat_template_kwargs", {})
            prompt = await engine.prompt(await _messages(engine, again.messages), variables)
            plain = {name: value for name, value in body.items() if name not in _CHAT}
            return await think_and_answer(engine, again, prompt, plain, watch)

        def read(generation: Generation) -> str | None:
            answer = answer_of(request, generation)
            return answer if fault_of(request, answer) is None else None

        text, generations = await ask_until_read(request, ask, read, reasks=REASKS)
        last = generations[-1]
        if text is None:
            answer = answer_of(request, last)
            raise UnreadableReply(
                f"the embedded model was asked {REASKS + 1} times; its last answer"
                f" {fault_of(request, answer)}: {answer[:200]!r}",
                hint="raise max_tokens, simplify the schema, or use a larger model",
            )
        return Reply(
            text=text,
            finish_reason=finish_reason_of(request, last),
            usage=sum((generation.usage for generation in generations), Usage()),
            latency=time.perf_counter() - started,
            policy=self.name,
            logprobs=tuple(last.logprobs) if request.logprobs else None,
            attempts=len(generations),
            thinking=last.thinking or None,
        )

    async def _score(self, messages: Sequence[Message], text: str) -> tuple[float, Usage]:
        """The log-probability (nats) of `text` as the answer, by forcing it."""
        request = Request(
            tuple(messages), choices=(text,), logprobs=True, sampling=Sampling(temperature=0.0)
        )
        engine, body = self._opened(), await self._body(request)
        if engine.thinking is not None:  # as an answer without thinking
            variables = body.pop("chat_template_kwargs", {})
            prompt = await engine.prompt(await _messages(engine, messages), variables)
            opened = opened_by(prompt)
            closed = opened.answer_after("", begun=True, closed=False) if opened else ""
            body = {name: value for name, value in body.items() if name not in _CHAT}
            body["prompt"] = prompt + closed
        generation = await engine.generate(body)
        return sum(entry.logprob for entry in generation.logprobs), generation.usage

    async def _body(self, request: Request) -> dict[str, Any]:
        sampling, engine = sampling_of(request), self._opened()
        messages = await _messages(engine, request.messages)
        body: dict[str, Any] = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "min_p": sampling.min_p,
            "repeat_penalty": sampling.repetition_penalty,
            "repeat_last_n": PENALTY_WINDOW,
            "max_tokens": sampling.max_tokens,
            "cache_prompt": not self._deterministic,
        }
        if request.seed is not None:
            body["seed"] = request.seed % 0xFFFFFFFF  # 32 bits; the largest one means "at random"
        if request.choices is not None:
            body["grammar"] = await choice_grammar(request.choices, engine.tokens)
        if request.schema is not None:
            body["json_schema"] = dict(request.schema)
        if request.prefill:
            prefill = engine.marks.broken(request.prefill).rstrip()  # tokens begin with spaces
            messages.append({"role": "assistant", "content": prefill})
            body |= {"continue_final_message": True, "add_generation_prompt": False}
        if request.logprobs:
            body |= {"logprobs": True, "top_logprobs": 1}
        if variables := switches(engine, sampling):
            body["chat_template_kwargs"] = variables
        return body | {"messages": messages}


async def _messages(engine: LlamaEngine, messages: Sequence[Message]) -> list[dict[str, str]]:
    """For a chat completion, with the model's marks broken up: no speaker can end a message."""
    asked = fold_system(messages) if await engine.folds_system() else messages
    return [{"role": m.role, "content": engine.marks.broken(m.content)} for m in asked]


def _engine_version() -> str:
    try:
        return version("xllamacpp")
    except PackageNotFoundError:
        return "(not installed)"
