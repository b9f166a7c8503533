"""A loaded model, and the one thread that computes with it."""

from __future__ import annotations

import atexit
import gc
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from ...core.errors import EngineUnavailable
from ..models.cores import set_torch_threads
from ..models.sources import Source
from ..sharing import Forked, OwnProcess, SharedEngines

if TYPE_CHECKING:
    from ..models.loading import LoadedModel
    from ..models.prompts import PromptWriter
    from .constraints import JsonConstraints
    from .jobs import Job, Task


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What makes two engines the same one.

    Attributes:
        source: the weights, without the adapter that a policy attaches to them.
        device: a torch device.
        dtype: a name in `loading.DTYPES`.
        max_batch: maximum number of requests computed together.
        context_tokens: maximum number of tokens in prompt and answer; None is the model's own
            limit.
        cache_gb: memory for keys and values of running requests, in GB; None chooses.
        prefix_cache_gb: memory for prefixes of earlier prompts, in GB.
        deterministic: every pass has the same number of rows.
        threads: of the computation on a CPU; None takes the cores that are idle but one.
    """

    source: Source
    device: str
    dtype: str
    max_batch: int
    context_tokens: int | None
    cache_gb: float | None
    prefix_cache_gb: float
    deterministic: bool
    threads: int | None


class _Loop(Protocol):
    @property
    def busy(self) -> bool: ...
    def step(self, waiting: deque[Job]) -> None: ...
    def abandon(self) -> list[Job]: ...
    def forget_adapter(self) -> None: ...
    def check_batching(self) -> None: ...


class Engine:
    """Computes jobs in a thread of its own. `ENGINES` shares it.

    An error in the computation fails every job under way and every one that waits, with
    `EngineUnavailable`; all keys and values are dropped, and the next job finds an empty engine.

    Attributes:
        ready: done once the model is loaded, or has failed to load.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self.settings = settings
        self.ready: Future[None] = Future()
        self._process = OwnProcess(f"the engine of '{settings.source.shown}'")
        self._condition = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._calls: deque[Callable[[], None]] = deque()
        self._stopping = False
        self._adapter_users: dict[str, int] = {}
        self._model: LoadedModel | None = None
        self._loop: _Loop | None = None
        self._constraints: JsonConstraints | None = None
        self._threads_before: int | None = None
        self._thread = threading.Thread(target=self._run, name="warmline-hf", daemon=True)
        atexit.register(self.stop)  # torch must not be computing while the interpreter exits
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Queue a job.

        Raises:
            EngineUnavailable: the engine has been closed, or belongs to another process.
        """
        self._process.check()
        with self._condition:
            if self._stopping:
                raise EngineUnavailable("the engine was closed")
            self._waiting.append(job)
            self._condition.notify()

    def write_prompts(self, chat_template: str | None) -> Future[PromptWriter]:
        """A writer of prompts for this model, under a policy's own template or the model's."""

        def make() -> PromptWriter:
            from ..models.prompts import PromptWriter

            model = self._loaded()
            return PromptWriter(
                model.tokenizer,
                model.model.config,
                model.model.generation_config,
                chat_template=chat_template,
            )

        return self._call(make)

    def attach_adapter(self, folder: str) -> Future[str]:
        """Attach an adapter to the model, once for all policies that use it; returns its name."""

        def add() -> str:
            name = self._loaded().add_adapter(folder)
            self._adapter_users[folder] = self._adapter_users.get(folder, 0) + 1
            return name

        return self._call(add)

    def release_adapter(self, folder: str) -> Future[None]:
        """Give up an adapter; its last user detaches it from the model."""

        def remove() -> None:
            self._adapter_users[folder] -= 1
            if not self._adapter_users[folder]:
                del self._adapter_users[folder]
                self._loaded().remove_adapter(folder)
                if self._loop is not None:
                    self._loop.forget_adapter()

        return self._call(remove)

    def stop(self) -> None:
        """End the thread after its current step and free the model. Safe to call twice.

        In a forked process there is no thread to end, and its lock may be held for ever.
        """
        if not self._process.here:
            return
        with self._condition:
            self._stopping = True
            self._condition.notify()
        atexit.unregister(self.stop)
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _call(self, make: Callable[[], Any]) -> Future[Any]:
        """Run something in the thread, between two steps."""
        done: Future[Any] = Future()

        def run() -> None:
            if done.set_running_or_notify_cancel():
                try:
                    done.set_result(make())
                except Exception as error:  # noqa: BLE001 - raised where it is waited for
                    done.set_exception(error)

        try:
            self._process.check()
        except Forked as error:
            done.set_exception(error)
            return done
        with self._condition:
            if self._stopping:
                done.set_exception(EngineUnavailable("the engine was closed"))
                return done
            self._calls.append(run)
            self._condition.notify()
        return done

    def _loaded(self) -> LoadedModel:
        if self._model is None:
            raise EngineUnavailable("the engine was closed")
        return self._model

    # in the thread

    def _run(self) -> None:
        try:
            self._load()
        except Exception as error:  # noqa: BLE001 - raised in `open()`
            self.ready.set_exception(error)
        else:
            self.ready.set_result(None)
            while self._turn():
                pass
        self._free()

    def _load(self) -> None:
        import torch

        from ..models.loading import load, token_budget
        from .causal import CausalLoop, Limits
        from .seq2seq import Seq2SeqLoop

        wanted = self.settings
        self._threads_before = set_torch_threads(wanted.threads, wanted.device)
        model = load(
            replace(wanted.source, adapter=None),
            device=wanted.device,
            dtype=wanted.dtype,
            context_tokens=wanted.context_tokens,
        )
        self._model = model
        if model.is_encoder_decoder:
            together = 1 if wanted.deterministic else wanted.max_batch
            self._loop = Seq2SeqLoop(model, together, self._make_task)
            return
        limits = Limits(
            max_batch=wanted.max_batch,
            token_budget=token_budget(model, wanted.cache_gb),
            prefix_bytes=int(wanted.prefix_cache_gb * 1e9),
            deterministic=wanted.deterministic,
        )
        self._loop = CausalLoop(model, limits, self._make_task)
        with torch.inference_mode():
            self._loop.check_batching()

    def _turn(self) -> bool:
        """Wait for work and do it; False once the engine is to end."""
        import torch

        loop = self._loop
        assert loop is not None
        with self._condition:
            self._condition.wait_for(
                lambda: self._stopping or self._calls or self._waiting or loop.busy
            )
            if self._stopping:
                return False
            calls, self._calls = self._calls, deque()
            arrived, self._waiting = self._waiting, deque()
        for call in calls:
            call()
        try:
            with torch.inference_mode():
                loop.step(arrived)
        except Exception as error:  # noqa: BLE001 - raised in every job, see the class
            self._fail(error, loop.abandon(), arrived)
            return True
        with self._condition:
            self._waiting.extendleft(reversed(arrived))
        return True

    def _make_task(self, job: Job) -> Task:
        from .constraints import JsonConstraints
        from .jobs import make_task

        model = self._loaded()
        if job.request.schema is not None and self._constraints is None:
            self._constraints = JsonConstraints(
                model.tokenizer, model.vocabulary, job.writer.stop_tokens
            )
        return make_task(
            job,
            model.tokenizer,
            context=model.context,
            defaults=model.defaults,
            constraints=self._constraints,
        )

    def _fail(self, error: Exception, under_way: list[Job], arrived: deque[Job]) -> None:
        with self._condition:
            jobs = [*under_way, *arrived, *self._waiting]
            self._waiting.clear()
        out_of_memory = "out of memory" in str(error).lower() or isinstance(error, MemoryError)
        for job in jobs:
            failure = EngineUnavailable(
                f"the computation failed and was dropped: {type(error).__name__}: {error}",
                hint="lower max_batch or cache_gb" if out_of_memory else None,
            )
            failure.__cause__ = error
            job.fail(failure)
        if out_of_memory:
            _free_unused_memory()

    def _free(self) -> None:
        with self._condition:
            self._stopping = True
            jobs, calls = list(self._waiting), list(self._calls)
            self._waiting.clear()
            self._calls.clear()
        under_way = self._loop.abandon() if self._loop is not None else []
        self._loop = self._model = self._constraints = None
        for job in [*under_way, *jobs]:
            job.fail(EngineUnavailable("the engine was closed"))
        for call in calls:  # they find no model and raise where they are waited for
            call()
        if self._threads_before is not None:
            set_torch_threads(self._threads_before, self.settings.device)
        _free_unused_memory()


def _free_unused_memory() -> None:
    import torch

    gc.collect()  # models are full of cycles
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _open(settings: EngineSettings) -> Engine:
    engine = Engine(settings)
    try:
        engine.ready.result()
    except BaseException:
        engine.stop()
        raise
    return engine


ENGINES = SharedEngines(_open, Engine.stop)
"""The engines of this process."""
