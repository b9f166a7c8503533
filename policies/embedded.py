"""The embedded engine: a language model in this process, on the CPU, with nothing to set up.

It is what a first run uses. With the default weights (135 million parameters) it shows the
machinery, not quality: the model is fluent and forgetful. Any GGUF file can take their place.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from .base import (
    BasePolicy,
    Capabilities,
    FinishReason,
    Message,
    Reply,
    Request,
    Sampling,
)
from .errors import BadRequest, ConfigError, EngineUnavailable, UnreadableReply
from .llama import EngineSettings, Generation, LlamaEngine, acquire, release, usable_cores
from .sentences import limit_reached
from .weights import find_weights, weights_identity

DEFAULT_SAMPLING = Sampling(
    temperature=0.7, top_p=0.9, top_k=40, min_p=0.05, repetition_penalty=1.15, max_tokens=96
)
"""What a request leaves open. The penalty ends the loops that a small model falls into."""

SCHEMA_MAX_TOKENS = 512
"""Room for a JSON answer, which is worth nothing when it is cut."""

PENALTY_WINDOW = 256
"""Tokens over which the repetition penalty looks back."""

_CONTROL_TOKEN = re.compile(r"<(?=\|[^<>|\s]{1,40}\|>)")


class EmbeddedPolicy(BasePolicy):
    """A GGUF model run by llama.cpp in this process.

    Policies with equal settings share one loaded engine. Requests in flight are computed together,
    up to `slots` of them; the others wait in order.

    Seeds: with `deterministic=True` the same request and seed give the same text whatever else is
    asked at the time, because every answer is computed alone and from its first token. Without it a
    seed fixes the draws, but not the last digits of the probabilities, which depend on what shares
    the batch and on what part of the prompt was cached; the text then differs after some words.

    Args:
        model: a GGUF file, or `owner/repository:file.gguf` on the Hugging Face hub. None takes the
            file named by `WARMLINE_WEIGHTS`, else SmolLM2-135M-Instruct, fetched once.
        slots: answers computed together; each costs about 45 MB for 2048 tokens of this model.
        threads: threads of the computation; None takes the usable cores.
        context_tokens: most tokens in prompt and answer together.
        deterministic: seeds hold exactly, at about a third of the speed.
        cache_mib: memory in which prompts of other dialogues wait for their next turn, in MiB.

    Raises:
        ConfigError: a setting out of range.
    """

    name = "embedded"

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        slots: int = 8,
        threads: int | None = None,
        context_tokens: int = 3072,
        deterministic: bool = False,
        cache_mib: int = 1024,
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
        if problems:
            raise ConfigError("the embedded policy cannot be set up", problems=problems)
        self._model = model
        self._slots = 1 if deterministic else slots
        self._threads = threads
        self._context_tokens = context_tokens
        self._deterministic = deterministic
        self._cache_mib = cache_mib
        self._engine: LlamaEngine | None = None
        self._closed = False
        self.capabilities = Capabilities(
            schema=True, prefill=True, logprobs=True, seed=deterministic,
            small_model=model is None,
        )  # fmt: skip
