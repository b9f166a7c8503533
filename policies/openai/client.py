"""One OpenAI-compatible endpoint: a connection pool per event loop, a shared limiter, and retries.

`ChatClient.chat` sends one chat completion until it is answered, or raises a `PolicyError`. What to
ask and how to read the answer is up to `policy.py`. The library's own retries are
switched off: tenacity does them here, so that each request sent is counted and waits its turn at
the limiter.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
import warnings
from asyncio import AbstractEventLoop
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

from ...core.errors import (
    AuthenticationFailed,
    EngineTimeout,
    EngineUnavailable,
    ModelNotFound,
    PolicyError,
    RateLimited,
    RedirectRefused,
)
from ...core.outside.secrets import register_secret
from ...core.tasks import GivingWay
from ..base import refuse_too_long
from ..concurrency import AdaptiveLimiter, Slot, limiter_for
from ..server_errors import (
    ANSWER_FAULTS,
    Endpoint,
    policy_error,
    retry_after,
    server_message,
)
from ..sharing import OwnProcess
from .call import Call
from .cut_prompts import cut_warning
from .dialect import Dialect, Refusal, text_of
from .headers import session_options
from .redirects import refuse_other_server
from .replies import BoundedBody, Completion, StreamedCompletion, read_completion
from .served import ServedModel, not_served

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from tenacity import RetryCallState

OPENAI_URL = "https://api.openai.com/v1"
MAX_WAIT = 120.0
"""Seconds. A server that asks to wait longer than this counts as having refused."""
_MAX_BACKOFF = 30.0  # seconds


class ChatClient:
    """Sends chat completions to one server.

    Args:
        base_url: the server, `/v1` included.
        model: name of the model; may be set later.
        key_env: environment variable that holds the key.
        timeout: seconds for one request, from sending to the last byte.
        max_retries: further requests after the first that a transient failure may cost.
        max_concurrency: maximum number of requests in flight at `base_url` in one event loop.
        backoff: seconds of the first wait; each next one doubles, up to 30.
        max_reply_chars: maximum number of characters in an answer, its thinking included.
        headers: further headers of each request.
        session_header: the one that carries `Call.session`; empty sends none.
    """

    def __init__(
        self,
        *,
        base_url: str,
        model: str,
        key_env: str,
        timeout: float,
        max_retries: int,
        max_concurrency: int,
        backoff: float,
        max_reply_chars: int,
        headers: Mapping[str, str],
        session_header: str,
    ) -> None:
        self.base_url = base_url
        self.model = model
        self._key_env = key_env
        self._timeout = timeout
        self._max_retries = max_retries
        self._max_concurrency = max_concurrency
        self._backoff = backoff
        self._max_reply_chars = max_reply_chars
        self._headers, self._session_header = dict(headers), session_header
        self._jitter = random.Random()  # noqa: S311 - spreads retries; must differ between processes
        self._pools: WeakKeyDictionary[AbstractEventLoop, tuple[AsyncOpenAI, AdaptiveLimiter]] = (
            WeakKeyDictionary()
        )
        self._told_cut = False
        self._process = OwnProcess(f"the connections to {base_url}")
        # vLLM and SGLang then count along in each chunk; OpenAI would refuse the word.
        self._dialect = Dialect(count_along=base_url != OPENAI_URL)

    def endpoint(self) -> Endpoint:
        """This server, as errors name it.

        Raises:
            AuthenticationFailed: the variable holds something that cannot be a key.
        """
        key = os.environ.get(self._key_env, "").strip() or None
        if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
            raise AuthenticationFailed(
                f"${self._key_env} holds characters that no key has",
                hint="export it again, without quotes, spaces or line breaks inside",
            )
        if key is not None:
            register_secret(key)
        return Endpoint(self.base_url, self.model, self._key_env, key, self._timeout)

    def limiter(self) -> AdaptiveLimiter:
        """The limiter of this endpoint in the running event loop."""
        return self._pool()[1]

    def _pool(self) -> tuple[AsyncOpenAI, AdaptiveLimiter]:
        loop = asyncio.get_running_loop()
        if loop in self._pools:
            self._process.check()  # a fork within a coroutine shares sockets with its parent
        else:
            self._process = OwnProcess(f"the connections to {self.base_url}")
            self._pools[loop] = (
                self._connect(), limiter_for(self.base_url, self._max_concurrency)
            )  # fmt: skip
        return self._pools[loop]

    def _connect(self) -> AsyncOpenAI:
        import openai

        key = self.endpoint().key
        if key is None and self.base_url == OPENAI_URL:
            raise AuthenticationFailed(
                f"${self._key_env} is not set, and {OPENAI_URL} wants a key",
                hint=f"export {self._key_env}=…, or give the base_url of another server",
            )
        # Our own limiter bounds the connections; the pool must keep them all, or each burst would
        # open new ones. Its limits have no public name that holds for openai 1, 2 and 3.
        limits = type(openai.DEFAULT_CONNECTION_LIMITS)(
            max_connections=None, max_keepalive_connections=self._max_concurrency
        )
        return openai.AsyncOpenAI(
            api_key=key or "none",  # the library insists; a server without keys does not look
            base_url=self.base_url,
            max_retries=0,
            timeout=self._timeout,
            default_headers=self._headers,
            http_client=openai.DefaultAsyncHttpxClient(
                limits=limits,
                timeout=self._timeout,
                event_hooks={"response": [refuse_other_server, self._bound_body]},
            ),
        )

    async def _bound_body(self, response: Any) -> None:
        """Refuse to read more of a body than an answer of the longest allowed length can take.

        Streams are counted by their text, as they come.
        """
        if "event-stream" not in response.headers.get("content-type", ""):
            response.stream = BoundedBody(
                response.stream,
                self._max_reply_chars,
                logprobs=b'"logprobs"' in await response.request.aread(),
            )

    async def aclose(self) -> None:
        """Close the connections of the running event loop. Safe to call twice."""
        if (pool := self._pools.pop(asyncio.get_running_loop(), None)) is not None:
            await pool[0].close()

    async def models(self) -> list[ServedModel] | None:
        """The models that the server lists, or None if it answers without a list.

        Raises:
            AuthenticationFailed: the key was refused.
            EngineUnavailable, EngineTimeout: nobody answers; not retried.
        """
        import openai

        client, _ = self._pool()
        try:
            async with asyncio.timeout(self._timeout):
                data = await client.get("/models", cast_to=object)
        except openai.APIStatusError as error:
            if isinstance(failure := policy_error(error, self.endpoint()), AuthenticationFailed):
                raise failure from None
            return None
        except (ValueError, RecursionError):  # not JSON
            return None
        except (openai.OpenAIError, TimeoutError) as error:
            raise policy_error(error, self.endpoint()) from error
        entries = data.get("data") if isinstance(data, Mapping) else None
        if not isinstance(entries, list):
            return None
        return [
            ServedModel(str(entry["id"]), str(entry.get("owned_by", "")))
            for entry in entries
            if isinstance(entry, Mapping) and "id" in entry
        ]

    async def chat(
        self,
        body: Mapping[str, Any],
        call: Call,
        *,
        until: Callable[[str], bool] | None = None,
        retry: bool = True,
    ) -> Completion:
        """One answered chat completion.

        Args:
            body: the request's fields, without `model` and `stream`.
            call: counts what it costs.
            until: stream the answer and stop reading once this is true of the text so far.
            retry: whether a transient failure is tried again.

        Raises:
            PolicyError: what failed, after the retries that can help.
        """
        from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt

        def may_help(error: BaseException) -> bool:
            patient = call.retry_after is None or call.retry_after <= MAX_WAIT
            return isinstance(error, PolicyError) and error.retryable and patient

        def wait(state: RetryCallState) -> float:
            backoff: float = min(_MAX_BACKOFF, self._backoff * 2 ** (state.attempt_number - 1))
            spread = self._jitter.random()
            if call.retry_after is not None:
                return call.retry_after + spread * min(backoff, 1.0)
            return backoff * (1 + spread) / 2

        retrying = AsyncRetrying(
            stop=stop_after_attempt(self._max_retries + 1 if retry else 1),
            retry=retry_if_exception(may_help),
            wait=wait,
            sleep=asyncio.sleep,
            reraise=True,
        )
        completion = cast("Completion", await retrying(self._attempt, body, call, until))
        call.count(completion)
        return completion

    async def _attempt(
        self, body: Mapping[str, Any], call: Call, until: Callable[[str], bool] | None
    ) -> Completion:
        import openai

        client, limiter = self._pool()
        async with limiter.slot() as slot:
            try:
                completion = await self._fitted(client, body, call, until)
            except (*ANSWER_FAULTS, openai.OpenAIError, PolicyError) as error:
                failure = policy_error(error, self.endpoint())
                call.retry_after = _requested_wait(error)
                _report_load(slot, error, failure, call.retry_after)
                cause: Exception | None = error
            else:
                slot.succeeded()
                return completion
        if call.retry_after is not None and call.retry_after > MAX_WAIT:
            failure.message += f"; it asks to wait {call.retry_after:g} s"
        if isinstance(failure, ModelNotFound):
            failure = await self._naming_served(failure)
        if isinstance(failure, AuthenticationFailed | RedirectRefused) or failure is cause:
            cause = None  # the library's message may repeat the key, or holds this error itself
        raise failure from cause

    async def _fitted(
        self,
        client: AsyncOpenAI,
        body: Mapping[str, Any],
        call: Call,
        until: Callable[[str], bool] | None,
    ) -> Completion:
        """`_exchange` in the dialect of the server: a field that it refuses by name is renamed or
        left out, and what then succeeds is remembered.

        Raises:
            FormatRefused: what it refuses is `response_format`.
        """
        import openai

        dialect = self._dialect
        asked = body if until is None else {**body, "stream": True}
        while True:
            sent = dialect.spell(self.model, asked)
            call.attempts += 1
            try:
                async with asyncio.timeout(self._timeout):
                    completion = await self._exchange(
                        client, sent, until, session=call.session, stops=dialect.own_stops(body)
                    )
            except openai.APIStatusError as error:
                said = Refusal.of(error.status_code, server_message(error), error.body)
                plainer = dialect.plainer(said, sent)
                if plainer is None:
                    raise
                dialect = plainer
            else:
                self._learn(dialect)
                call.note(asked, sent, dialect, completion)
                self._tell_cut(call)
                return completion

    def _learn(self, dialect: Dialect) -> None:
        """Remember what a server took; what it did not is told once."""
        if dialect == self._dialect:
            return
        told = self._dialect.differences(dialect)
        self._dialect = self._dialect.joined(dialect)
        if told:
            warnings.warn(
                f"{self.base_url} does not take everything that was asked of '{self.model}':"
                f" {'; '.join(told)} (summary.json counts the calls)",
                stacklevel=2,
            )

    def _tell_cut(self, call: Call) -> None:
        if not self._told_cut and (cut := call.notes.get("prompt_cut")):
            self._told_cut = True
            warnings.warn(cut_warning(self.base_url, self.model, **cut), stacklevel=2)

    @property
    def dropped(self) -> frozenset[str]:
        """Fields that this server has refused by name, and that are no longer sent."""
        return self._dialect.dropped

    async def _exchange(
        self,
        client: AsyncOpenAI,
        sent: dict[str, Any],
        until: Callable[[str], bool] | None,
        *,
        session: str,
        stops: Sequence[str],
    ) -> Completion:
        import openai

        # The plain verb: `chat.completions.create` sends the same and costs more time.
        path = "/chat/completions"
        options: Any = session_options(self._session_header, session)
        if until is None or "stream" not in sent:
            answered = await client.post(path, body=sent, cast_to=object, options=options)
            completion = read_completion(answered).cut_at(stops)
            refuse_too_long(completion.chars, self._max_reply_chars)
            return completion
        stream: openai.AsyncStream[object] = await client.post(
            path, body=sent, cast_to=object, options=options,
            stream=True, stream_cls=openai.AsyncStream[object],
        )  # fmt: skip
        answer, give_way = StreamedCompletion(), GivingWay()
        try:
            async for chunk in stream:
                answer.add(chunk)
                if until(answer.text) or any(stop in answer.text for stop in stops):
                    return answer.stopped(text_of(sent["messages"])).cut_at(stops)
                refuse_too_long(answer.chars, self._max_reply_chars)
                await give_way()
        finally:
            await stream.close()  # the server sees the line cut, and stops generating
        return answer.complete().cut_at(stops)

    async def _naming_served(self, failure: ModelNotFound) -> ModelNotFound:
        """The same error with the list of models, if the server gives one."""
        served = None
        with suppress(PolicyError):  # the first error is the one to report
            served = await self.models()
        return not_served(self.base_url, self.model, served) if served else failure


def _requested_wait(error: Exception) -> float | None:
    headers = getattr(getattr(error, "response", None), "headers", None)
    return None if headers is None else retry_after(headers, now=time.time())


def _report_load(slot: Slot, error: Exception, failure: PolicyError, wait: float | None) -> None:
    """Report to the limiter how the server handled the request; other failures do not concern
    load."""
    busy = getattr(error, "status_code", None) == 503 and isinstance(failure, EngineUnavailable)
    if busy or isinstance(failure, (RateLimited, EngineTimeout)):
        slot.overloaded(wait if wait is not None and wait <= MAX_WAIT else None)
