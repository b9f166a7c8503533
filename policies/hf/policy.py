"""The `transformers` policy: a model of the Hugging Face world, computed in this process.

Decoder-only and encoder-decoder models, PEFT adapters and GGUF files, on a CPU or a GPU. This is
also how a freshly trained checkpoint becomes a policy. transformers has a continuous batching of
its own; it draws all rows from one global seed and has no penalties a request, so the loop here is
ours (`hf/causal.py`). Tensor parallelism and quantized computation are left to vLLM.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import time
import weakref
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ...core.errors import ConfigError, EngineUnavailable, MissingExtra, UnreadableReply
from ..answers import read_json
from ..base import (
    DRAWING,
    THINKING,
    BasePolicy,
    Capabilities,
    FinishReason,
    Reply,
    Request,
    TokenLogprob,
    Usage,
)
from ..models.sources import OpenWeights, Source, find_source, identity
from ..reasking import ask_until_read
from .engine import ENGINES, Engine, EngineSettings

if TYPE_CHECKING:
    from ..models.prompts import PromptWriter
    from .jobs import Outcome

DType = Literal["auto", "float32", "bfloat16", "float16"]
Normalization = Literal["sum", "mean"]

REASKS = 2
"""Further questions after cut-off JSON, each with a seed derived from the first."""


@dataclass(frozen=True, slots=True)
class _Opened:
    """What an open policy holds."""

    engine: Engine
    writer: PromptWriter
    adapter: str


class TransformersPolicy(OpenWeights, BasePolicy):
    """A model run by transformers in this process.

    Policies with equal settings share one loaded model, also where their LoRA adapters differ;
    requests of all of them are computed in one batch. With decoder-only models a request joins and
    leaves the batch between any two tokens; with encoder-decoder models it waits for the batch
    under way to end. Prompts that begin as an earlier one did are computed from there on.

    Seeds: every draw comes from the request's own seed, and the rows of a batch are arranged so
    that a row's numbers do not depend on the others. With one thread, on the CPUs tried, every bit
    was the same at concurrency 1 and 16, in float32 and bfloat16; with two threads
    log-probabilities moved by up to 1.3e-5, and no text changed. This rests on how the libraries
    round, which they do not promise. `deterministic=True` rests on less: one thread, every pass of
    the same shape, no model shared between adapters. Without it GPUs and encoder-decoder models may
    differ after some words. Another dtype, device or release of torch may always give another text.

    Choices: each option is scored by the log-probability of its tokens and of the answer's ending
    after them, so that an option that begins like another competes fairly. Temperature 0 takes the
    best; another one draws from the softmax of score / temperature; None means 1. The other
    sampling settings do not apply to choices, nor `max_sentences` to choices and schemas.

    Log-probabilities are the model's own, before temperature, penalties and constraints.

    A model whose chat template speaks of thinking thinks first, within `max_thinking_tokens`; a
    choice, a schema and the sentence stop hold for the answer after it (`hf/thinking.py`).

    What a request leaves open comes from the model's `generation_config.json`, else is plain
    sampling at temperature 1 with at most 256 tokens.

    Args:
        model: a folder, a `.gguf` file, an adapter folder (its base is found through it), or on the
            Hugging Face hub `owner/model` or `owner/repository:file.gguf`. Weights are read from
            safetensors and GGUF only, and code in repositories is not run. `HF_HUB_OFFLINE=1` is
            respected.
        adapter: a PEFT adapter (folder or hub id) to attach to it. Plain LoRA shares its base with
            other policies, any other kind is merged into a separate copy.
        revision: branch, tag or commit of `model` on the hub.
        merge_adapter: merge LoRA too: faster answers for one more copy of the weights.
        device: `auto` uses a GPU if available.
        dtype: `auto` is bfloat16 on a GPU and on CPUs with AMX or AVX-512 BF16,
            otherwise float32.
        max_batch: maximum number of requests computed together; further ones wait in order.
        context_tokens: maximum number of tokens in prompt and answer; None is the model's own
            limit.
        cache_gb: memory for keys and values of running requests, in GB. None uses 2, or half of
            the free memory of a GPU once the model is loaded.
        prefix_cache_gb: memory for the beginnings of earlier prompts, in GB; 0 keeps none.
        chat_template: Jinja text, or a `.jinja` file, instead of the model's own template.
            Encoder-decoder models without one read the messages joined by line ends.
        choice_normalization: `mean` divides an option's score by its number of tokens.
        deterministic: see above; encoder-decoder models then answer one request at a time.
        threads: of the computation on a CPU, for all that torch begins in this process while the
            model is open. None takes the cores that are idle when it is opened but one, or
            `OMP_NUM_THREADS`; one if `deterministic`.

    Raises:
        ConfigError: an option out of range; all problems at once.
        MissingExtra: torch or transformers is not installed.
    """

    name = "transformers"
    capabilities = Capabilities(
        schema=True, prefill=True, logprobs=True, score=True, lora=True, sampling=DRAWING | THINKING
    )

    def __init__(
        self,
        model: str | Path,
        *,
        adapter: str | Path | None = None,
        revision: str | None = None,
        merge_adapter: bool = False,
        device: str = "auto",
        dtype: DType = "auto",
        max_batch: int = 32,
        context_tokens: int | None = None,
        cache_gb: float | None = None,
        prefix_cache_gb: float = 1.0,
        chat_template: str | None = None,
        choice_normalization: Normalization = "sum",
        deterministic: bool = False,
        threads: int | None = None,
    ) -> None:
        _refuse_bad_options(
            {"max_batch": (max_batch, 1), "context_tokens": (context_tokens, 2),
             "threads": (threads, 1), "prefix_cache_gb": (prefix_cache_gb, 0)},
            {"dtype": (dtype, DType), "choice_normalization": (choice_normalization, Normalization)},
            cache_gb,
        )  # fmt: skip
        if deterministic and threads not in (None, 1):
            raise ConfigError(f"threads = {threads}, but deterministic computation takes one")
        for library in ("torch", "transformers", "peft"):
            if find_spec(library) is None:
                raise MissingExtra("the `transformers` policy", extra="transformers")
        self.id = f"{self.name}:{Path(str(adapter or model)).name}"
        self._model, self._adapter, self._revision = model, adapter, revision
        self._merge = merge_adapter
        self._device, self._dtype = device, dtype
        self._max_batch, self._context_tokens = max_batch, context_tokens
        self._cache_gb, self._prefix_cache_gb = cache_gb, prefix_cache_gb
        self._chat_template = chat_template
        self._by_length = choice_normalization == "mean"
        self._deterministic, self._threads = deterministic, 1 if deterministic else threads
        self._opened: _Opened | None = None
        self._finalizer: weakref.finalize[..., TransformersPolicy] | None = None
        self._closed = False
        self.capabilities = dataclasses.replace(
            type(self).capabilities, schema=find_spec("llguidance") is not None
        )

    async def open(self) -> None:
        """Find or fetch the model and load it, in threads.

        Raises:
            ModelNotFound: no such model or adapter, or not in a safe format.
            ConfigError: a kind of model that cannot be run, or one without chat template.
        """
        self._closed = False
        if self._opened is not None:
            return
        settings = await asyncio.to_thread(lambda: self._settings)
        engine = await ENGINES.acquire(settings)
        try:
            opened = await self._prepare(engine)
        except BaseException:
            await ENGINES.release(engine)
            raise
        if self._opened is not None or self._closed:  # another task was faster
            await asyncio.to_thread(_give_back, engine, self._source.adapter)
        else:
            self._opened = opened
            self._finalizer = weakref.finalize(self, _give_back, engine, self._source.adapter)

    async def _prepare(self, engine: Engine) -> _Opened:
        template = self._chat_template
        if template is not None and template.endswith(".jinja"):
            template = await asyncio.to_thread(Path(template).read_text, "utf-8")
        writer = await asyncio.wrap_future(engine.write_prompts(template))
        folder = self._source.adapter
        if folder is None:
            return _Opened(engine, writer, "__base__")
        attaching = engine.attach_adapter(folder)
        try:
            return _Opened(engine, writer, await asyncio.wrap_future(attaching))
        except asyncio.CancelledError:
            attaching.add_done_callback(lambda done: _release_unclaimed(engine, folder, done))
            raise

    async def aclose(self) -> None:
        """Give the model back; its last user frees it, ending what is still being written."""
        self._closed = True
        finalizer, self._finalizer, self._opened = self._finalizer, None, None
        if finalizer is not None and (held := finalizer.detach()) is not None:
            await asyncio.to_thread(_give_back, *held[2])

    @property
    def requests_at_once(self) -> int:
        """Requests computed together."""
        return self._max_batch

    def describe(self) -> dict[str, Any]:
        """Model, libraries and everything that shapes the answers."""
        settings = self._settings
        described = {
            "policy": self.name,
            **identity(self._source),
            "dtype": settings.dtype,
            "device": settings.device.partition(":")[0],
            "engine": f"transformers {version('transformers')}, torch {version('torch')}",
            "context_tokens": self._context_tokens,
            "deterministic": self._deterministic,
            "choice_normalization": "mean" if self._by_length else "sum",
        }
        if self._chat_template is not None:
            digest = hashlib.sha256(self._chat_template.encode()).hexdigest()
            described["chat_template_sha256"] = digest
        return described

    async def respond(self, request: Request) -> Reply:
        """Answer one request; see `Policy.respond` and `errors.py`."""
        self.check(request)
        started = time.perf_counter()

        def read(outcome: Outcome) -> str | None:
            fits = request.schema is None or read_json(outcome.text, request.schema) is not None
            return outcome.text if fits else None

        text, outcomes = await ask_until_read(request, self._ask, read, reasks=REASKS)
        last = outcomes[-1]
        if text is None:
            cut = last.reason is FinishReason.LENGTH
            raise UnreadableReply(
                f"'{self.id}' was asked {REASKS + 1} times; its last answer is JSON that"
                f" {'is cut off' if cut else 'does not fit the schema'}: {last.text[:200]!r}",
                hint="raise max_tokens, or simplify the schema",
            )
        return Reply(
            text=text,
            finish_reason=last.reason,
            usage=sum((outcome.usage for outcome in outcomes), Usage()),
            latency=time.perf_counter() - started,
            policy=self.id,
            logprobs=last.logprobs,
            attempts=len(outcomes),
            thinking=last.thinking or None,
        )

    async def score(self, request: Request, continuation: str) -> tuple[TokenLogprob, ...]:
        """See `ScoringPolicy.score`. Choices and schema of the request do not enter."""
        plain = dataclasses.replace(request, choices=None, schema=None)
        return (await self._ask(plain, continuation)).logprobs or ()

    async def _ask(self, request: Request, continuation: str | None = None) -> Outcome:
        from .jobs import Job
        from .thinking import think_and_answer, thinks

        if self._opened is None and not self._closed:
            await self.open()
        if (opened := self._opened) is None:
            raise EngineUnavailable(
                f"'{self.id}' was closed", hint="await policy.open(), or `async with policy`"
            )
        job = Job(
            request=request,
            writer=opened.writer,
            adapter=opened.adapter,
            continuation=continuation,
            by_length=self._by_length,
        )

        async def send(one: Job) -> Outcome:
            opened.engine.submit(one)
            return await asyncio.wrap_future(one.future)

        if continuation is None and thinks(opened.writer, request):
            return await think_and_answer(job, send)
        return await send(job)

    @cached_property
    def _source(self) -> Source:
        return find_source(
            self._model, adapter=self._adapter, revision=self._revision, merge=self._merge
        )

    @cached_property
    def _settings(self) -> EngineSettings:
        from ..models.loading import find_device, find_dtype

        source, device = self._source, find_device(self._device)
        return EngineSettings(
            source=source if self._deterministic else dataclasses.replace(source, adapter=None),
            device=device,
            dtype=find_dtype(self._dtype, device),
            max_batch=self._max_batch,
            context_tokens=self._context_tokens,
            cache_gb=self._cache_gb,
            prefix_cache_gb=self._prefix_cache_gb,
            deterministic=self._deterministic,
            threads=self._threads,
        )


def _give_back(engine: Engine, adapter: str | None) -> None:
    if adapter is not None:
        engine.release_adapter(adapter)
    ENGINES.release_now(engine)


def _release_unclaimed(engine: Engine, folder: str, attached: Future[str]) -> None:
    if not attached.cancelled() and attached.exception() is None:
        engine.release_adapter(folder)


def _refuse_bad_options(
    least: dict[str, tuple[float | None, float]],
    named: dict[str, tuple[str, Any]],
    cache_gb: float | None,
) -> None:
    problems = [
        f"{option} must be at least {low}, not {value!r}"
        for option, (value, low) in least.items()
        if value is not None and value < low
    ]
    if cache_gb is not None and cache_gb <= 0:
        problems.append(f"cache_gb must be above 0, not {cache_gb!r}")
    problems += [
        f"{option} must be one of {', '.join(allowed.__args__)}, not {value!r}"
        for option, (value, allowed) in named.items()
        if value not in allowed.__args__
    ]
    if problems:
        raise ConfigError("the transformers policy cannot be set up", problems=problems)
