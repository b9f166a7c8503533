"""The `vllm` policy: vLLM's asynchronous engine, driven from this process.

For many conversations at once on a GPU: continuous batching over all open episodes, a prefix cache,
several GPUs, and LoRA adapters a request, so that roles can share one base model. A server of its
own (`vllm serve`) with the `openai` policy does the same across processes; `docs/vllm.md` has both.
Encoder-decoder models, GGUF files and chains of adapters are left to the `transformers` policy.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import threading
import time
import weakref
from collections.abc import Mapping
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...core.errors import (
    ConfigError,
    ContextTooLong,
    EngineUnavailable,
    MissingExtra,
    PolicyError,
    UnreadableReply,
    Unsupported,
)
from ...core.files import read_text
from ..base import (
    DRAWING,
    THINKING,
    BasePolicy,
    Capabilities,
    Reply,
    Request,
    TokenLogprob,
    Usage,
)  # fmt: skip
from ..models.sources import OpenWeights, Source, find_source, identity
from ..reasking import ask_until_read
from .api import held_by, slots_of, vllm_version
from .engine import ENGINES, EngineSettings, VllmEngine
from .generation import Generation
from .requests import OpenModel, finish_reason, read, score, write

MAX_LORAS = 4
"""Adapters computed in one batch, where a policy has one and `max_loras` says nothing."""

REASKS = 2
"""Further questions after an unusable answer, each with a seed derived from the first."""

_OWN = {
    "model": "model", "revision": "revision", "dtype": "dtype", "max_model_len": "max_model_len",
    "tensor_parallel_size": "tensor_parallel_size", "enforce_eager": "enforce_eager",
    "gpu_memory_utilization": "gpu_memory_utilization", "max_lora_rank": "max_lora_rank",
    "max_loras": "max_loras", "enable_lora": "max_loras", "lora_modules": "adapter",
    "chat_template": "chat_template",
}  # fmt: skip
"""Engine arguments, and the options that set them."""


class VLLMPolicy(OpenWeights, BasePolicy):
    """A model run by vLLM.

    Policies with the same engine settings share one engine, also where their adapters differ;
    requests of all of them are computed in one batch.

    Seeds: every answer is drawn from its own seed, but the last digits of the probabilities depend
    on what shares the batch and on what part of the prompt was cached, so the same request and seed
    may give another text after some words. With `deterministic=True` answers are computed one after
    the other, each from its first token, and a seed holds exactly (same machine, dtype and
    releases).

    Choices and schemas bind the draws (vLLM's structured outputs). Log-probabilities are the
    model's own, before temperature and penalties; those of a bound answer are among what the form
    allowed.

    What a request leaves open comes from the model's `generation_config.json`, else is plain
    sampling at temperature 1, with at most 256 tokens. A bound answer gets no penalties unless the
    request asks for them.

    Args:
        model: a folder with safetensors, an adapter folder (its base is found through it), or an id
            on the Hugging Face hub. Code in repositories is not run.
        adapter: a LoRA folder or hub id to attach to it.
        revision: branch, tag or commit of `model` on the hub.
        tensor_parallel_size: GPUs over which the model is spread.
        gpu_memory_utilization: share of the GPU's memory that the engine takes, in (0, 1]; None is
            vLLM's own. On a CPU without it, 4 GiB are taken for keys and values.
        max_model_len: maximum number of tokens in prompt and answer; None is the model's own limit.
        dtype: `auto`, `bfloat16`, `float16` or `float32`.
        enforce_eager: do not compile the model; None compiles on a GPU, and not on a CPU, where
            seeds and compilation do not go together.
        max_lora_rank: largest rank of an adapter.
        max_loras: adapters computed in one batch; 0 for an engine without. None is 4 where
            `adapter` is given, else 0. Policies that are to share an engine say the same.
        chat_template: Jinja text, or a `.jinja` file, instead of the model's own template.
        deterministic: seeds hold exactly, at the speed of one answer at a time.
        engine_args: further engine arguments of vLLM, by their names in Python.

    Raises:
        ConfigError: an option out of range; all problems at once.
        MissingExtra: vLLM is not installed.
    """

    name = "vllm"
    capabilities = Capabilities(
        schema=True, prefill=True, logprobs=True, seed=False, score=True, lora=True,
        sampling=DRAWING | THINKING,
    )  # fmt: skip

    def __init__(
        self,
        model: str | Path,
        *,
        adapter: str | Path | None = None,
        revision: str | None = None,
        tensor_parallel_size: int = 1,
        gpu_memory_utilization: float | None = None,
        max_model_len: int | None = None,
        dtype: str = "auto",
        enforce_eager: bool | None = None,
        max_lora_rank: int = 64,
        max_loras: int | None = None,
        chat_template: str | None = None,
        deterministic: bool = False,
        engine_args: Mapping[str, Any] | None = None,
    ) -> None:
        further = dict(engine_args or {})
        _refuse_bad_options(
            {"tensor_parallel_size": (tensor_parallel_size, 1), "max_model_len": (max_model_len, 2),
             "max_lora_rank": (max_lora_rank, 1), "max_loras": (max_loras, 0)},
            gpu_memory_utilization,
            further,
            deterministic,
        )  # fmt: skip
        if find_spec("vllm") is None:
            raise MissingExtra("the `vllm` policy", extra="vllm")
        self.id = f"{self.name}:{Path(str(adapter or model)).name}"
        self._model, self._adapter, self._revision = model, adapter, revision
        self._dtype, self._max_model_len = dtype, max_model_len
        self._max_lora_rank, self._max_loras = max_lora_rank, max_loras
        self._chat_template, self._deterministic = chat_template, deterministic
        self._arguments = {
            "dtype": dtype,
            "tensor_parallel_size": tensor_parallel_size,
            "gpu_memory_utilization": gpu_memory_utilization,
            "max_model_len": max_model_len,
            "enforce_eager": enforce_eager,
            "revision": revision,
            "load_format": "safetensors",
            "disable_log_stats": True,
            "enable_prefix_caching": not deterministic,
            "max_num_seqs": 1 if deterministic else None,
        }
        self._further = further
        self._opened: OpenModel | None = None
        self.requests_at_once: int | None = None  # known once it is open, as the next
        self.conversations_held: int | None = None
        self._finalizer: weakref.finalize[..., VLLMPolicy] | None = None
        self._closed = False
        self.capabilities = dataclasses.replace(type(self).capabilities, seed=deterministic)

    async def open(self) -> None:
        """Find or fetch the model and load it, in a thread; vLLM computes in separate processes.

        Raises:
            ModelNotFound: no such model or adapter.
            ConfigError: settings, a model or an adapter that vLLM cannot run.
            EngineUnavailable: the engine did not start.
        """
        self._closed = False
        if self._opened is not None:
            return
        engine = await ENGINES.acquire(await asyncio.to_thread(lambda: self._settings))
        try:
            opened = await engine.run(lambda: self._prepare(engine))
        except BaseException:
            _release_later(engine)  # not waited for: the caller may have been cancelled
            raise
        if self._opened is not None or self._closed:  # another task was faster
            await _give_back(opened, self._lora)
        else:
            self._opened, config = opened, engine.llm.vllm_config
            self.requests_at_once, self.conversations_held = slots_of(config), held_by(config)
            self._finalizer = weakref.finalize(self, _release_later, engine)
            self._finalizer.atexit = False  # the engine ends itself at exit

    async def _prepare(self, engine: VllmEngine) -> OpenModel:
        """In the engine's loop."""
        from ..models.prompts import PromptWriter

        model_config = engine.llm.model_config
        writer = PromptWriter(
            engine.llm.get_tokenizer(),
            model_config.hf_config,
            _generation_config(model_config),
            chat_template=_template(self._chat_template),
        )
        adapter = None if self._lora is None else await engine.attach_adapter(*self._lora)
        return OpenModel(
            engine=engine,
            writer=writer,
            adapter=adapter,
            context=int(model_config.max_model_len),
            defaults=dict(model_config.get_diff_sampling_param()),
        )

    async def aclose(self) -> None:
        """Give the engine back; its last user ends it and its processes, and what they write."""
        self._closed = True
        opened, finalizer = self._opened, self._finalizer
        self._opened = self._finalizer = None
        if opened is not None and finalizer is not None and finalizer.detach() is not None:
            await _give_back(opened, self._lora)

    def describe(self) -> dict[str, Any]:
        """Model, release and everything that shapes the answers."""
        described: dict[str, Any] = {
            "policy": self.name,
            **identity(self._source),
            "engine": f"vllm {vllm_version()}",
            "dtype": self._dtype,
            "max_model_len": self._max_model_len,
            "tensor_parallel_size": self._arguments["tensor_parallel_size"],
            "deterministic": self._deterministic,
        }
        if self._further:
            described["engine_args"] = dict(self._further)
        if self._chat_template is not None:
            text = _template(self._chat_template) or ""
            described["chat_template_sha256"] = hashlib.sha256(text.encode()).hexdigest()
        return described

    def check(self, request: Request) -> None:
        """Refuse what cannot be honoured; vLLM takes no empty option.

        Raises:
            Unsupported: names it.
        """
        super().check(request)
        if "" in (request.choices or ()):
            raise Unsupported("vLLM cannot choose an empty option", hint="leave it out")

    async def respond(self, request: Request) -> Reply:
        """Answer one request; see `Policy.respond` and `errors.py`."""
        self.check(request)
        started = time.perf_counter()
        opened = await self._ensure_open()

        async def ask(again: Request) -> Generation:
            return await opened.engine.run(lambda: write(opened, again))

        text, generations = await ask_until_read(
            request, ask, lambda generation: read(request, generation), reasks=REASKS
        )
        last = generations[-1]
        if text is None:
            raise self._unreadable(last, opened)
        return Reply(
            text=text,
            finish_reason=finish_reason(request, last),
            usage=sum((generation.usage for generation in generations), Usage()),
            latency=time.perf_counter() - started,
            policy=self.id,
            logprobs=tuple(last.logprobs) if request.logprobs else None,
            attempts=len(generations),
            thinking=last.thinking or None,
        )

    def _unreadable(self, last: Generation, opened: OpenModel) -> PolicyError:
        if last.finish == "length" and last.usage.total_tokens >= opened.context:
            return ContextTooLong(
                prompt_tokens=last.usage.prompt_tokens, context_tokens=opened.context
            )
        return UnreadableReply(
            f"'{self.id}' was asked {REASKS + 1} times; its last answer is not what was asked for:"
            f" {last.text[:200]!r}",
            hint="raise max_tokens, simplify the schema, or use a larger model",
        )

    async def score(self, request: Request, continuation: str) -> tuple[TokenLogprob, ...]:
        """See `ScoringPolicy.score`. Choices and schema of the request do not enter."""
        opened = await self._ensure_open()
        return await opened.engine.run(lambda: score(opened, request, continuation))

    async def _ensure_open(self) -> OpenModel:
        if self._opened is None and not self._closed:
            await self.open()
        if self._opened is None:
            raise EngineUnavailable(
                f"'{self.id}' was closed", hint="await policy.open(), or `async with policy`"
            )
        return self._opened

    @cached_property
    def _source(self) -> Source:
        source = find_source(self._model, adapter=self._adapter, revision=self._revision)
        if source.gguf is not None:
            raise ConfigError(
                f"'{source.shown}' is a GGUF file, which the `vllm` policy does not load",
                hint="the `embedded` policy runs it, and so does `transformers`",
            )
        if source.merged:
            raise ConfigError(
                "vLLM attaches one plain LoRA adapter to a base, and this is another kind or a chain:"
                f" {', '.join(Path(folder).name for folder in source.merged)}",
                hint="merge it into the model (peft's merge_and_unload), or use `transformers`",
            )
        return source

    @cached_property
    def _lora(self) -> tuple[str, str] | None:
        """Folder and digest of the adapter."""
        if self._source.adapter is None:
            return None
        return self._source.adapter, str(identity(self._source)["adapters"][0]["sha256"])

    @cached_property
    def _settings(self) -> EngineSettings:
        arguments: dict[str, Any] = {"model": self._source.base, "trust_remote_code": False}
        arguments |= self._arguments
        max_loras = self._max_loras
        if max_loras is None:
            max_loras = MAX_LORAS if self._lora is not None else 0
        elif max_loras == 0 and self._lora is not None:
            raise ConfigError("an adapter needs max_loras of at least 1, not 0")
        if max_loras:
            arguments |= {"enable_lora": True, "max_loras": max_loras,
                          "max_lora_rank": self._max_lora_rank}  # fmt: skip
        return EngineSettings.of(**{**arguments, **self._further})


async def _give_back(opened: OpenModel, lora: tuple[str, str] | None) -> None:
    try:
        if lora is not None and opened.engine.alive:
            await opened.engine.run(lambda: opened.engine.release_adapter(*lora))
    finally:
        await ENGINES.release(opened.engine)


def _release_later(engine: VllmEngine) -> None:
    """Without waiting; objects that nobody closed end in any thread, also in the engine's own."""
    threading.Thread(target=ENGINES.release_now, args=(engine,)).start()


def _refuse_bad_options(
    least: Mapping[str, tuple[int | None, int]],
    gpu_memory_utilization: float | None,
    further: Mapping[str, Any],
    deterministic: bool,
) -> None:
    problems = [
        f"{option} must be at least {low}, not {value!r}"
        for option, (value, low) in least.items()
        if value is not None and value < low
    ]
    if gpu_memory_utilization is not None and not 0 < gpu_memory_utilization <= 1:
        problems.append(
            f"gpu_memory_utilization must be above 0 and at most 1, not {gpu_memory_utilization!r}"
        )
    problems += [
        f"engine_args: {name} is the policy's own option '{_OWN[name]}'"
        for name in further
        if name in _OWN
    ]
    if "trust_remote_code" in further:
        problems.append("engine_args: trust_remote_code would run code of the model's folder")
    if "hf_token" in further:
        problems.append("engine_args: hf_token would be kept in records; set HF_TOKEN instead")
    problems += [
        f"engine_args: {name} is what `deterministic` sets"
        for name in further
        if deterministic and name in ("max_num_seqs", "enable_prefix_caching")
    ]
    if problems:
        raise ConfigError("the vllm policy cannot be set up", problems=problems)


def _template(named: str | None) -> str | None:
    """The text of a template that is given as text or as a file."""
    if named is not None and named.endswith(".jinja"):
        return read_text(Path(named).expanduser())
    return named


def _generation_config(model_config: Any) -> Any:
    from transformers import GenerationConfig

    return GenerationConfig(**model_config.try_get_generation_config())
