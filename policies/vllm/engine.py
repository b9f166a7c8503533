"""One loaded vLLM engine: its thread, and the adapters attached to it.

vLLM computes in processes of its own and is asked through an asyncio object that belongs to one
event loop. That loop runs here in a thread of its own: policies of any event loop share the engine,
and a request crosses between the threads once, whatever the number of its tokens.
"""

from __future__ import annotations

import asyncio
import atexit
import inspect
import itertools
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, TypeVar

from ...core.errors import BadRequest, ConfigError, EngineUnavailable, PolicyError
from ..sharing import OwnProcess, SharedEngines
from .api import VllmApi, find_api, vllm_version
from .generation import Generation, Watch

T = TypeVar("T")
CPU_CACHE_BYTES = 4 * 2**30
"""Memory for keys and values on a CPU by default. vLLM would take 92 % of the machine."""


CPU_BLOCK_SIZE = 32
"""Tokens in a unit of the prefix cache on a CPU; vLLM's own 128 find nothing in common in short
prompts (0 against 37 % of 260 tokens), at the same speed."""

FORMS = {"structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True}}
"""How answers are bound. Left free to write blanks, a small model writes nothing else until it is
cut off; vLLM can forbid them for the whole engine only, with a backend that is named."""

CPU_WORKER = "warmline.policies.vllm.worker.CpuWorker"
"""Keeps adapters off requests to the bare model; see there."""

_GRACE = 15.0
"""Seconds for the engine's processes to end; vLLM's own 5 are just too few for its workers."""


class EngineDied(EngineUnavailable):
    """The engine's process is gone, and every further request would fail."""

    retryable = False
    fatal = True


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What makes two engines the same one: vLLM's engine arguments, as JSON with sorted keys."""

    arguments: str

    @classmethod
    def of(cls, **arguments: Any) -> EngineSettings:
        """The settings with these engine arguments; those that are None are left to vLLM.

        Raises:
            ConfigError: a value that is not plain data.
        """
        given = {name: value for name, value in arguments.items() if value is not None}
        try:
            return cls(json.dumps(given, sort_keys=True))
        except TypeError as error:
            raise ConfigError(f"engine arguments must be plain data: {error}") from error


class VllmEngine:
    """A loaded model in vLLM. `ENGINES` shares it.

    Attributes:
        ready: done once the model is loaded, or has failed to load.
        api: vLLM's parts.
        llm: the AsyncLLM; to be used in the engine's own loop only.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self.settings = settings
        self.ready: Future[None] = Future()
        self._process = OwnProcess("vLLM's engine")
        self.api: VllmApi
        self.llm: Any = None
        self._numbers = itertools.count()
        self._adapters: dict[tuple[str, str], _Adapter] = {}
        self._adapter_ids = itertools.count(1)
        self._jobs: set[asyncio.Task[Any]] = set()
        self._lock = threading.Lock()
        self._closing = False
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="warmline-vllm", daemon=True)
        atexit.register(self.stop)
        self._thread.start()

    @property
    def has_adapters(self) -> bool:
        """Whether adapters can be attached to the model."""
        return bool(self.llm.vllm_config.lora_config)

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return (
            self._process.here
            and not self._closing
            and self.llm is not None
            and not self.llm.errored
        )

    async def run(self, job: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine in the engine's loop; cancelling the caller cancels it there.

        Raises:
            EngineUnavailable: the engine was closed before or meanwhile, or belongs to another
                process.
        """
        self._process.check()
        with self._lock:
            if self._closing:
                raise _closed()
            future = asyncio.run_coroutine_threadsafe(self._watched(job), self._loop)
        return await asyncio.wrap_future(future)

    async def _watched(self, job: Callable[[], Coroutine[Any, Any, T]]) -> T:
        task = asyncio.current_task()
        assert task is not None
        self._jobs.add(task)
        try:
            return await job()
        except asyncio.CancelledError:
            if self._closing:
                raise _closed() from None
            raise
        except self.api.dead as error:
            ENGINES.forget(self)
            raise EngineDied(
                f"vLLM's engine died ({vllm_version()}); its last messages are above, on stderr",
                hint="close the policy and open it again; on a GPU, lower gpu_memory_utilization or"
                " max_model_len if it ran out of memory",
            ) from error
        finally:
            self._jobs.discard(task)

    # in the engine's loop

    async def generate(
        self, tokens: Sequence[int], params: Any, *, adapter: Any = None, watch: Watch | None = None
    ) -> Generation:
        """Write one answer; a cancelled one is dropped by the engine at its next step.

        Raises:
            BadRequest: vLLM refuses the request.
            EngineUnavailable: it failed at it.
        """
        generation = Generation()
        outputs = self.llm.generate(
            self.api.tokens_prompt(list(tokens)),
            params,
            f"warmline-{next(self._numbers)}",
            lora_request=adapter,
        )
        try:
            async with aclosing(outputs):
                async for output in outputs:
                    new = generation.take(output)
                    if watch is not None and watch(generation.text):
                        self._cut(generation, new, watch)
                        break
        except self.api.dead:
            raise
        except self.api.refusals as error:
            raise BadRequest(f"vLLM refuses the request: {error}") from error
        except Exception as error:
            cause = error.__cause__ or error
            raise EngineUnavailable(
                f"vLLM failed at the request: {type(cause).__name__}: {cause}"
            ) from error
        if generation.finish not in ("stop", "length", "watch"):
            raise EngineUnavailable(f"vLLM ended the answer with '{generation.finish}'")
        if generation.tokens and generation.tokens[-1] in params.stop_token_ids:
            generation.keep(len(generation.tokens) - 1)
        return generation

    def _cut(self, generation: Generation, new: int, watch: Watch) -> None:
        """Cut after the first token at which the watcher returns True.

        One output may bring several tokens. How many depends on how busy the process is, and the
        answer must not.
        """
        decode, count = self.llm.get_tokenizer().decode, len(generation.tokens)
        for shorter in range(count - new + 1, count):
            text = str(decode(generation.tokens[:shorter], skip_special_tokens=True))
            if generation.text.startswith(text) and watch(text):
                generation.text = text
                generation.keep(shorter)
                break
        generation.finish = "watch"

    async def attach_adapter(self, folder: str, digest: str) -> Any:
        """Attach a LoRA adapter to the model, once for all policies that use it.

        Args:
            folder: where it is.
            digest: of its files; the same folder with other weights is another adapter.

        Raises:
            ConfigError: vLLM cannot use it.
        """
        adapter = self._adapters.get((folder, digest))
        if adapter is None:
            number = next(self._adapter_ids)
            name = f"{Path(folder).name}-{number}"
            adapter = _Adapter(self.api.lora_request(name, number, folder))
            self._adapters[folder, digest] = adapter
            adapter.loaded = asyncio.ensure_future(self._add_adapter(adapter.request, folder))
        adapter.users += 1
        try:
            await asyncio.shield(adapter.loaded)
        except BaseException:
            await self.release_adapter(folder, digest)
            raise
        return adapter.request

    async def _add_adapter(self, request: Any, folder: str) -> None:
        try:
            await self.llm.add_lora(request)
        except self.api.dead:
            raise
        except Exception as error:
            raise ConfigError(
                f"vLLM cannot attach the adapter '{Path(folder).name}' to the model: {error}",
                hint="it takes plain LoRA of the layers that it knows; max_lora_rank must be at"
                " least the adapter's rank; the `transformers` policy takes any PEFT adapter",
            ) from error

    async def release_adapter(self, folder: str, digest: str) -> None:
        """Give up an adapter; its last user detaches it from the model."""
        adapter = self._adapters[folder, digest]
        adapter.users -= 1
        if adapter.users == 0:
            del self._adapters[folder, digest]
            await asyncio.wait([adapter.loaded])
            if adapter.loaded.exception() is None and not self.llm.errored:
                await self.llm.remove_lora(adapter.request.lora_int_id)

    # the thread

    def _run(self) -> None:
        # Ctrl-C in a terminal reaches vLLM's processes too. They inherit this thread's mask, and so
        # live on until the conversations under way are finished.
        if hasattr(signal, "pthread_sigmask"):
            resource_tracker.ensure_running()  # would lift the mask if it were started later
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._live())

    async def _live(self) -> None:
        try:
            self._load()
        except Exception as error:  # noqa: BLE001 - raised in `open()`
            with self._lock:
                self._closing = True
            self.ready.set_exception(error)
            return
        self.ready.set_result(None)
        await self._end.wait()
        await self._shut_down()

    def _load(self) -> None:
        _quieten()
        self.api = find_api()
        arguments = json.loads(self.settings.arguments)
        if self.api.is_cpu:
            arguments = cpu_arguments(arguments)
        if FORMS.keys() <= set(self.api.known_arguments):
            arguments = {**FORMS, **arguments}
        settings = self.api.arguments(arguments)
        try:
            self.llm = self.api.async_llm.from_engine_args(settings)
        except self.api.refusals as error:
            raise ConfigError(f"vLLM cannot run this model: {error}") from error
        except Exception as error:
            raise EngineDied(
                f"vLLM {vllm_version()} could not start: {error}",
                hint="its own message is above, on stderr. Usual reasons: too little memory (lower"
                " gpu_memory_utilization or max_model_len), a model that it does not know, or a script"
                ' without `if __name__ == "__main__":`, which vLLM\'s processes import again',
            ) from error

    async def _shut_down(self) -> None:
        for job in self._jobs:
            job.cancel()
        if self._jobs:
            await asyncio.wait(self._jobs)
        # vLLM ends its processes first and then complains that they are gone
        handler = getattr(self.llm, "output_handler", None)
        if handler is not None:
            handler.cancel()
            with suppress(asyncio.CancelledError):
                await handler
        takes_timeout = "timeout" in inspect.signature(self.llm.shutdown).parameters
        self.llm.shutdown(**({"timeout": _GRACE} if takes_timeout else {}))
        self.llm = None
        multiprocessing.active_children()  # reads the exit codes, else the process table keeps them

    def stop(self) -> None:
        """End what is running and the engine's processes. Blocks; safe to call twice.

        In a forked process there is nothing of it to end.
        """
        if not self._process.here:
            return
        with self._lock:
            if not self._closing:
                self._closing = True
                self._loop.call_soon_threadsafe(self._end.set)
        atexit.unregister(self.stop)
        self._thread.join()


@dataclass(slots=True)
class _Adapter:
    request: Any
    users: int = 0
    loaded: asyncio.Future[None] = field(init=False)


def cpu_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    """Engine arguments with what vLLM needs on a CPU, where the user said nothing.

    Raises:
        ConfigError: settings under which a seeded request kills the engine.
    """
    if arguments.get("enable_chunked_prefill"):
        raise ConfigError(
            "enable_chunked_prefill cannot be had on a CPU: a seeded request whose prompt is computed"
            " in pieces kills vLLM's engine",
            hint="leave it out",
        )
    sized = {"kv_cache_memory_bytes", "gpu_memory_utilization"} & arguments.keys()
    if not sized and not os.environ.get("VLLM_CPU_KVCACHE_SPACE"):
        arguments = {"kv_cache_memory_bytes": CPU_CACHE_BYTES, **arguments}
    usual: dict[str, Any] = {"enforce_eager": True, "block_size": CPU_BLOCK_SIZE}
    if arguments.get("enable_lora"):
        usual["worker_extension_cls"] = CPU_WORKER
    return {**usual, **arguments, "enable_chunked_prefill": False}


def _quieten() -> None:
    """Less chatter, and nothing sent home, unless the user has said otherwise.

    vLLM reads these from the environment, in this process and in its own.
    """
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")


def _closed() -> PolicyError:
    return EngineUnavailable(
        "the vLLM engine was closed", hint="keep the policy open until its last answer"
    )


def _open(settings: EngineSettings) -> VllmEngine:
    engine = VllmEngine(settings)
    try:
        engine.ready.result()
    except BaseException:
        engine.stop()
        raise
    return engine


ENGINES = SharedEngines(_open, VllmEngine.stop)
"""The engines of this process."""
