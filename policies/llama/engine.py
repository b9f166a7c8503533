"""One loaded llama.cpp engine: its settings and its slots.

The engine runs in this process (`xllamacpp`) and computes up to `slots` answers together. Every
request is one job on a thread that mostly waits in native code, so an event loop is never blocked;
jobs wait first come, first served. Which slot takes which request is left to llama.cpp, which picks
the one with the longest common prefix and parks the others in memory: over sixteen dialogues of ten
turns on eight slots 78 % of prompt tokens came from that cache, 63 % with slots tied to sessions,
and 20 % without the parking.
"""

from __future__ import annotations

import asyncio
import ctypes
import http.client
import json
import os
import secrets
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any
from weakref import WeakSet

from ...core.errors import BadRequest, ConfigError, ContextTooLong, EngineUnavailable, PolicyError
from ..base import TokenLogprob, Usage
from ..models.vocabulary import read_gguf_vocabulary
from ..sharing import OwnProcess, SharedEngines
from ..text.control_marks import ControlMarks
from ..thinking.reader import MARK_TOKENS, pair_in

Watch = Callable[[str, int], bool]
"""Called after every token with the text so far and its number of tokens; True ends the generation."""

_KEPT_TOKENISATIONS = 4096


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What makes two engines the same one.

    Attributes:
        model: the GGUF file.
        slots: sequences computed together.
        threads: threads of the computation.
        context_tokens: prompt and answer of one sequence.
        cache_mib: memory for parked prompts, in MiB; 0 parks none.
        reuse_prompts: begin from the part of a prompt that a slot holds already.
    """

    model: Path
    slots: int
    threads: int
    context_tokens: int
    cache_mib: int
    reuse_prompts: bool


@dataclass(slots=True)
class Generation:
    """What the engine wrote, grown chunk by chunk.

    Attributes:
        text: all text so far; complete characters only.
        finish: `stop`, `length`, or `watch` where the watcher ended it.
        usage: tokens so far.
        thinking: what the model thought before `text`, once that is told from it.
        logprobs: one entry a token, without the one that ends the message, which llama.cpp does
            not stream; the tokens of a character that takes several are one entry, with the
            log-probability of the last. They are the model's own: before temperature, penalty,
            cuts and grammar.
    """

    text: str = ""
    finish: str = ""
    usage: Usage = field(default_factory=Usage)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    thinking: str = ""

    def take(self, chunk: dict[str, Any]) -> None:
        """Add one streamed chunk.

        Raises:
            PolicyError: the chunk is an error.
        """
        if "error" in chunk:
            raise engine_error(chunk["error"])
        if timings := chunk.get("timings"):
            cached = int(timings["cache_n"])
            self.usage = Usage(
                prompt_tokens=cached + int(timings["prompt_n"]),
                cached_tokens=cached,
                completion_tokens=int(timings["predicted_n"]),
            )
        for choice in chunk.get("choices", ()):
            said = choice["delta"].get("content") if "delta" in choice else choice["text"]
            self.text += said or ""
            self.finish = choice["finish_reason"] or self.finish
            for entry in (choice.get("logprobs") or {}).get("content") or ():
                self.logprobs.append(
                    TokenLogprob(entry["token"], min(0.0, float(entry["logprob"])))
                )


def engine_error(error: dict[str, Any]) -> PolicyError:
    """The error for what llama.cpp reports as a dictionary."""
    message = str(error.get("message", error))
    if error.get("type") == "exceed_context_size_error":
        return ContextTooLong(
            prompt_tokens=error.get("n_prompt_tokens"), context_tokens=error.get("n_ctx")
        )
    if int(error.get("code", 500)) < 500:
        return BadRequest(f"the embedded engine refused the request: {message}")
    return EngineUnavailable(f"the embedded engine failed: {message}")


class LlamaEngine:
    """A loaded model and its threads. `ENGINES` shares it.

    Attributes:
        base_url: OpenAI-compatible address of this very engine, on 127.0.0.1 only.
        api_key: the random key that this address asks for.
        vocabulary: what the file says of its tokens and its chat template.
        marks: the model's control marks.
        thinking: the marks of thinking in its template; None for a model that does not think.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self.settings = settings
        self.api_key = secrets.token_urlsafe(24)
        self._process = OwnProcess(f"the engine of '{settings.model.stem}'")
        self._closing = threading.Event()
        self.vocabulary = read_gguf_vocabulary(settings.model)
        self.marks = ControlMarks(
            self.vocabulary.control,
            added=self.vocabulary.added,
            template=self.vocabulary.template,
        )
        self.thinking = pair_in(self.vocabulary.template)
        # Special tokens are left out of answers, and so would be marks that are such tokens.
        self._ends = self.vocabulary.control if self._marks_are_special() else ()
        self._server: Any = _load(settings, self.api_key, special=bool(self._ends))
        _servers.add(self)
        self.base_url = f"{self._server.listening_address}/v1"
        self._jobs = ThreadPoolExecutor(settings.slots, thread_name_prefix="warmline-llama")
        self._tokens: dict[str, list[int]] = {}
        self._folds_system: bool | None = None

    def _marks_are_special(self) -> bool:
        return self.thinking is not None and bool(MARK_TOKENS & set(self.vocabulary.control))

    async def generate(self, body: dict[str, Any], watch: Watch | None = None) -> Generation:
        """Write one answer; when the calling task is cancelled, the slot is free a token later.

        Args:
            body: a request of llama.cpp's server: a chat completion, or a completion if it has a
                `prompt`.
            watch: may end the generation; runs on another thread.

        Raises:
            PolicyError: the engine refused the request, failed, was closed, or belongs to another
                process.
        """
        self._process.check()
        abandoned = threading.Event()
        job = self._jobs.submit(self._generate, body, watch, abandoned)
        try:
            return await asyncio.wrap_future(job)
        except asyncio.CancelledError:
            abandoned.set()
            raise

    async def tokens(self, text: str) -> list[int]:
        """The tokens that the model's own tokeniser makes of `text`; kept, for texts that recur."""
        self._process.check()
        if text not in self._tokens:
            if len(self._tokens) >= _KEPT_TOKENISATIONS:
                self._tokens.clear()
            self._tokens[text] = await asyncio.to_thread(self._tokenise, text)
        return self._tokens[text]

    async def prompt(self, messages: list[dict[str, str]], variables: Mapping[str, Any]) -> str:
        """The text that the model's template makes of messages, up to where an answer begins.

        Args:
            messages: as in a chat completion.
            variables: of the template.
        """
        body = {"messages": messages, "chat_template_kwargs": dict(variables)}
        return str((await asyncio.to_thread(self._call, "POST", "/apply-template", body))["prompt"])

    def _tokenise(self, text: str) -> list[int]:
        asked = {"content": text, "add_special": False, "parse_special": False}
        return [int(token) for token in self._call("POST", "/tokenize", asked)["tokens"]]

    async def folds_system(self) -> bool:
        """Whether the system message must go into the first user message: the chat template has no
        place for one. llama.cpp would join them by itself, otherwise than models are trained here."""
        if self._folds_system is None:
            props = await asyncio.to_thread(self._call, "GET", "/props")
            self._folds_system = not props["chat_template_caps"]["supports_system_role"]
        return self._folds_system

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        # The binding has no call for these; the engine's own address on this machine does.
        address = self.base_url.removeprefix("http://").removesuffix("/v1")
        connection = http.client.HTTPConnection(address, timeout=60)
        try:
            connection.request(
                method,
                path,
                None if body is None else json.dumps(body),
                {"Authorization": f"Bearer {self.api_key}", "Content-Type": "application/json"},
            )
            answer: dict[str, Any] = json.load(connection.getresponse())
        except (OSError, http.client.HTTPException) as error:
            raise EngineUnavailable(f"the embedded engine gave no {path}: {error}") from error
        finally:
            connection.close()
        if "error" in answer:
            raise engine_error(answer["error"])
        return answer

    def _generate(
        self, body: dict[str, Any], watch: Watch | None, abandoned: threading.Event
    ) -> Generation:
        generation = Generation()
        failures: list[Exception] = []

        def on_chunk(chunk: dict[str, Any]) -> bool:
            if abandoned.is_set() or self._closing.is_set():
                return True
            # The binding drops what a callback raises, so it is carried out of it by hand.
            try:
                generation.take(chunk)
                if watch is not None and watch(generation.text, generation.usage.completion_tokens):
                    generation.finish = "watch"
                    return True
            except Exception as error:  # noqa: BLE001
                failures.append(error)
                return True
            return False

        if not self._closing.is_set():
            whole = {**body, "stream": True, "timings_per_token": True, "return_progress": True}
            self._ask(whole, on_chunk)
        if failures:
            raise failures[0]
        if not generation.finish:
            raise EngineUnavailable(
                "the embedded engine was closed before it answered",
                hint="keep the policy open until its last answer",
            )
        end = next((mark for mark in self._ends if generation.text.endswith(mark)), "")
        generation.text = generation.text.removesuffix(end)
        return generation

    def _ask(self, body: dict[str, Any], on_chunk: Callable[[dict[str, Any]], bool]) -> None:
        chat = self._server.handle_chat_completions
        try:
            (self._server.handle_completions if "prompt" in body else chat)(body, on_chunk)
        except ValueError as error:  # what is wrong before a slot is taken
            raise engine_error({"code": 400, "message": str(error)}) from error
        except RuntimeError as error:
            raise engine_error({"code": 500, "message": str(error)}) from error

    def close(self) -> None:
        """End what is running, then free the model. Blocks until both are done.

        xllamacpp's server waits for its own loop when it is freed, and holds Python's lock while it
        waits. If the loop has not begun yet, the order to end gets lost and the process hangs for
        ever. An answer to any question shows that it has begun.
        """
        self._closing.set()
        self._jobs.shutdown(wait=True)
        self._server.handle_metrics()
        self._server = None


def _load(settings: EngineSettings, api_key: str, *, special: bool) -> Any:
    try:
        import xllamacpp
    except ModuleNotFoundError as error:
        raise ConfigError(
            "the embedded engine needs 'xllamacpp', which is not installed",
            hint="pip install xllamacpp; where no wheel exists (macOS on Intel), use the 'openai'"
            " policy with any local server",
        ) from error
    params = xllamacpp.CommonParams()
    params.model.path = str(settings.model)
    params.n_parallel = settings.slots
    params.n_ctx = settings.slots * settings.context_tokens
    params.kv_unified = False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings.threads
    params.n_batch = params.n_ubatch = 512  # a cancelled prompt is dropped after as many tokens
    params.cache_prompt = settings.reuse_prompts
    params.cache_ram_mib = settings.cache_mib if settings.reuse_prompts else 0
    params.ctx_shift = False  # never forget the beginning of a prompt in silence
    params.fit_params = False
    params.prefill_assistant = False  # asked for by request, never guessed from the last message
    params.special = special
    params.warmup = False
    params.verbosity = -1
    params.ui = False
    params.endpoint_metrics = True  # see `LlamaEngine.close`
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [api_key]
    params.model_alias = {settings.model.stem}
    try:
        return xllamacpp.Server(params)
    except RuntimeError as error:
        raise _LoadFailed(
            f"llama.cpp could not load {settings.model} with {settings.slots} slots of"
            f" {settings.context_tokens} tokens",
            hint="the file may be damaged, of a model that this llama.cpp does not know"
            f" (xllamacpp {version('xllamacpp')}), or too large for the free memory",
        ) from error


class _LoadFailed(EngineUnavailable):
    """Loading again would fail again."""

    retryable = False
    fatal = True


_servers: WeakSet[LlamaEngine] = WeakSet()  # see `_keep_servers`


def _keep_servers() -> None:
    """In a forked process: never free the servers, which would wait for loops that are not there."""
    for engine in _servers:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(engine._server))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep_servers)

# llama.cpp is set up and torn down by one thread at a time, whatever the model.
_changing = threading.Lock()


def _open(settings: EngineSettings) -> LlamaEngine:
    with _changing:
        return LlamaEngine(settings)


def _close(engine: LlamaEngine) -> None:
    with _changing:
        engine.close()


ENGINES = SharedEngines(_open, _close)
"""The engines of this process."""
