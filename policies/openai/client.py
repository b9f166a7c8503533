"""One OpenAI-compatible endpoint: a connection pool per event loop and a shared limiter.

`ChatClient.attempt` sends one chat completion once. Asking again, there or elsewhere, is up to
`pool.py`; what to ask and how to read the answer, to `policy.py`. The library's own retries are
switched off, so that each request sent is counted and waits its turn at the limiter.
"""

from __future__ import annotations

import asyncio
import os
import time
import warnings
from asyncio import AbstractEventLoop
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any
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
from ..concurrency import AdaptiveLimiter, Slot, limiter_for
from ..endpoints.served import ServedModel, not_served
from ..server_errors import (
    ANSWER_FAULTS,
    Endpoint,
    ErrorWithin,
    error_status,
    policy_error,
    retry_after,
    server_message,
)
from ..sharing import OwnProcess
from .call import Call
from .cut_prompts import cut_warning
from .dialect import Dialect, Refusal
from .exchange import exchange, refuse_page, watch_body
from .headers import session_options
from .options import KEY_VARIABLE
from .redirects import refuse_other_server
from .replies import Completion

if TYPE_CHECKING:
    from openai import AsyncOpenAI

OPENAI_URL = "https://api.openai.com/v1"
MAX_WAIT = 120.0
"""Seconds. A server that asks to wait longer than this counts as having refused."""


class ChatClient:
    """Sends chat completions to one server.

    Args:
        base_url: the server, `/v1` included.
        model: name of the model; may be set later.
        key_env: environment variable that holds the key.
        timeout: seconds for one request, from sending to the last byte.
        max_concurrency: maximum number of requests in flight at `base_url` in one event loop.
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
        max_concurrency: int,
        max_reply_chars: int,
        headers: Mapping[str, str],
        session_header: str,
    ) -> None:
        self.base_url = base_url
        self.model = model
        self._key_env = key_env
        self._timeout = timeout
        self._max_concurrency = max_concurrency
        self._max_reply_chars = max_reply_chars
        self._headers, self._session_header = dict(headers), session_header
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
        if key is None and self._key_env != KEY_VARIABLE:
            unset = f"${self._key_env} is not set, though api_key_env names it"
            leave_out = "export it, or leave api_key_env out for a server without keys"
            raise AuthenticationFailed(unset, hint=leave_out)
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
                event_hooks={"response": [refuse_other_server, self._watch_body]},
            ),
        )

    async def _watch_body(self, response: Any) -> None:
        await watch_body(response, self._max_reply_chars)

    async def aclose(self) -> None:
        """Close the connections of the running event loop. Safe to call twice."""
        if (pool := self._pools.pop(asyncio.get_running_loop(), None)) is not None:
            await pool[0].close()

    def load(self) -> float:
        """Requests that this endpoint has in the running event loop; see `AdaptiveLimiter.load`."""
        pool = self._pools.get(asyncio.get_running_loop())
        return (pool[1] if pool else limiter_for(self.base_url, self._max_concurrency)).load

    async def models(self, *, healthy: bool = False) -> list[ServedModel] | None:
        """The models that the server lists, or None if it answers without a list.

        Args:
            healthy: a server that answers 5xx counts as one that does not answer.

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
            failure = policy_error(error, self.endpoint())
            ill = healthy and error.status_code >= 500 and error.status_code != 501
            if ill or isinstance(failure, AuthenticationFailed):
                raise failure from None
            return None
        except (ValueError, RecursionError):  # not JSON
            return None
        except (openai.OpenAIError, TimeoutError) as error:
            raise policy_error(error, self.endpoint()) from error
        refuse_page(data, self.base_url)
        entries = data.get("data") if isinstance(data, Mapping) else None
        if not isinstance(entries, list):
            return None
        return [
            ServedModel(str(entry["id"]), str(entry.get("owned_by", "")))
            for entry in entries
            if isinstance(entry, Mapping) and "id" in entry
        ]

    async def attempt(
        self, body: Mapping[str, Any], call: Call, until: Callable[[str], bool] | None
    ) -> Completion:
        """Send one chat completion once, in its turn.

        Args:
            body: the request's fields, without `model` and `stream`.
            call: counts what it costs.
            until: stream the answer and stop reading once this is true of the text so far.

        Raises:
            PolicyError: what failed.
        """
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
        """`exchange` in the dialect of the server: a field that it refuses by name is renamed or
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
                    completion = await exchange(
                        client, sent, until,
                        options=session_options(self._session_header, call.session),
                        stops=dialect.own_stops(body),
                        max_chars=self._max_reply_chars,
                    )  # fmt: skip
            except (openai.APIError, ErrorWithin) as error:
                if (status := error_status(error)) is None:
                    raise
                said = Refusal.of(status, server_message(error), error.body)
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
