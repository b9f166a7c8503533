"""The servers of the conformance table, each as a context that gives a maker of policies."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from warmline.policies.llama.policy import EmbeddedPolicy
from warmline.policies.openai.policy import OpenAIPolicy

from ..chaos_server import ChaosServer
from . import dialects
from .cells import Make

KEY = "WARMLINE_CONFORMANCE_KEY"
STARTS_WITHIN = 300.0
"""Seconds that a server has to answer."""

FAKES: dict[str, tuple[Callable[[], ChaosServer], dict[str, Any]]] = {
    "vLLM, Gemma 2": (dialects.vllm_gemma, {"prefill": "continue"}),
    "SGLang": (dialects.sglang, {"prefill": "continue"}),
    "Ollama": (dialects.ollama, {}),
    "OpenAI": (dialects.openai, {"extended_sampling": False}),
    "o-series, GPT-5": (dialects.openai_reasoning, {"extended_sampling": False}),
    "Mistral": (dialects.mistral, {"extended_sampling": False}),
    "DeepSeek": (dialects.deepseek, {"extended_sampling": False}),
}
"""Stand-ins, and the options that docs/servers.md gives for the servers that they stand for."""


@asynccontextmanager
async def fake(name: str) -> AsyncIterator[Make]:
    """A stand-in server."""
    start, options = FAKES[name]
    async with start() as server:
        yield lambda: OpenAIPolicy("tiny", base_url=server.base_url, backoff=0.001, **options)


@asynccontextmanager
async def llama_cpp() -> AsyncIterator[Make]:
    """The embedded engine's own server: llama.cpp's, on the default weights."""
    async with EmbeddedPolicy(slots=4, threads=1, context_tokens=1024) as engine:
        os.environ[KEY] = engine.api_key
        try:
            yield lambda: OpenAIPolicy(
                base_url=engine.base_url, api_key_env=KEY, prefill="continue"
            )
        finally:
            del os.environ[KEY]


@contextmanager
def process(command: Sequence[str], port: int, folder: Path) -> Iterator[str]:
    """A server in a process of its own, once it answers at `/health`; its base URL."""
    said = folder / "server.log"
    with said.open("wb") as log:
        server = subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        )
    try:
        _wait_for(server, f"http://127.0.0.1:{port}/health", said)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def _wait_for(server: subprocess.Popen[bytes], health: str, said: Path) -> None:
    ends = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < ends:
        assert server.poll() is None, f"the server ended: {said.read_text()[-2000:]}"
        try:
            with urllib.request.urlopen(health, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"no answer within {STARTS_WITHIN} s: {said.read_text()[-2000:]}")


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


@contextmanager
def transformers_serve(folder: Path) -> Iterator[Make]:
    """`transformers serve` on a tiny model."""
    from ..tiny_models import save_causal

    model, port = save_causal(folder / "model", seed=1), free_port()
    command = [
        sys.executable, "-m", "transformers.cli.transformers", "serve", str(model),
        "--host", "127.0.0.1", "--port", str(port), "--device", "cpu",
    ]  # fmt: skip
    with process(command, port, folder) as url:
        # the tiny models never end by themselves, which could be thinking without end
        yield lambda: OpenAIPolicy(str(model), base_url=url, thinking_in_prompt=False)


@contextmanager
def vllm_serve(folder: Path) -> Iterator[str]:
    """vLLM's server on SmolLM2, as docs/vllm.md starts it on a CPU; its base URL."""
    from ..vllm.vllm_models import smollm

    port = free_port()
    command = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server",
        "--model", str(smollm()), "--served-model-name", "smollm2",
        "--host", "127.0.0.1", "--port", str(port),
        "--dtype", "float32", "--max-model-len", "1024", "--enforce-eager",
        "--no-enable-chunked-prefill", "--enable-prompt-tokens-details",
        "--kv-cache-memory-bytes", str(2**29),
    ]  # fmt: skip
    with process(command, port, folder) as url:
        yield url


@asynccontextmanager
async def _transformers() -> AsyncIterator[Make]:
    with tempfile.TemporaryDirectory() as folder, transformers_serve(Path(folder)) as make:
        yield make


@asynccontextmanager
async def _vllm() -> AsyncIterator[Make]:
    with tempfile.TemporaryDirectory() as folder, vllm_serve(Path(folder)) as url:
        yield lambda: OpenAIPolicy(base_url=url, prefill="continue", thinking_in_prompt=False)


def installed() -> dict[str, Callable[[], AbstractAsyncContextManager[Make]]]:
    """The columns that can be filled here, by name."""
    found: dict[str, Callable[[], AbstractAsyncContextManager[Make]]] = {}
    if find_spec("vllm") is not None:
        return {"vLLM": _vllm}  # its environment has little else
    found["llama.cpp"] = llama_cpp
    if find_spec("fastapi") is not None:
        found["transformers serve"] = _transformers
    for name in FAKES:
        found[name] = lambda name=name: fake(name)  # type: ignore[misc]
    return found
