"""One HTTP exchange: a chat completion is sent, and whatever comes back is read.

Not all that comes with HTTP 200 is what was asked for: a whole answer instead of a stream, a stream
instead of an answer, JSON that is called plain text, an error object, a proxy's web page.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Any

from ...core.errors import EngineUnavailable, PolicyError, ReplyTooLong
from ...core.tasks import GivingWay
from ..base import refuse_too_long
from ..server_errors import page_title
from .dialect import text_of
from .replies import Completion, StreamedCompletion, read_completion

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_BYTES_A_CHARACTER = 6
"""Of a body: a character that JSON escapes."""
_BYTES_WITH_LOGPROBS = 64
"""The same, with its share of the log-probabilities."""
_BODY_ROOM = 1_000_000
"""Bytes besides the text: usage, hidden reasoning."""
_STREAMED = re.compile(rb'"stream":\s?true')
_DONE = re.compile(rb"(?:^|\n)data:\s?\[DONE\]")
_EVENT = re.compile(r"^data:(.*)$", re.MULTILINE)


class BoundedBody:
    """A response's body that ends in `ReplyTooLong` once it is too large to hold a reply.

    Args:
        stream: of the HTTP library, whichever the `openai` library brings.
        max_chars: maximum number of characters in the reply.
        logprobs: whether log-probabilities were asked for.
    """

    def __init__(self, stream: Any, max_chars: int, *, logprobs: bool) -> None:
        self._stream, self._max_chars = stream, max_chars
        each = _BYTES_WITH_LOGPROBS if logprobs else _BYTES_A_CHARACTER
        self._left = _BODY_ROOM + each * max_chars

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._stream)  # the HTTP library insists on a stream of its own

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            self._left -= len(part)
            if self._left < 0:
                raise ReplyTooLong(chars=None, most=self._max_chars)
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()


class EndedBody:
    """A streamed body that keeps in mind whether its end was marked by `[DONE]`."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._end = b"\n"
        self.done = False

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._stream)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            seen = self._end + part
            self.done = self.done or _DONE.search(seen) is not None
            self._end = seen[-len("\ndata: [DONE]") :]
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()


async def watch_body(response: Any, max_chars: int) -> None:
    """Refuse to read more of a body than an answer of the longest allowed length can take.

    A stream that was asked for is counted by its text, as it comes.
    """
    asked = await response.request.aread()
    if "event-stream" in response.headers.get("content-type", "") and _STREAMED.search(asked):
        response.stream = EndedBody(response.stream)
    else:
        response.stream = BoundedBody(response.stream, max_chars, logprobs=b'"logprobs"' in asked)


async def exchange(
    client: AsyncOpenAI,
    sent: dict[str, Any],
    until: Callable[[str], bool] | None,
    *,
    options: Any,
    stops: Sequence[str],
    max_chars: int,
) -> Completion:
    """One answer to one request.

    Args:
        sent: the body of the request.
        until: stop reading the stream once this is true of the text so far.
        options: of the HTTP request.
        stops: texts at which the answer is cut here.
        max_chars: maximum number of characters in the answer.
    """
    import openai

    # The plain verb: `chat.completions.create` sends the same and costs more time.
    path = "/chat/completions"
    if until is None or "stream" not in sent:
        answered = await client.post(path, body=sent, cast_to=object, options=options)
        completion = read_answer(answered, str(client.base_url)).cut_at(stops)
        refuse_too_long(completion.chars, max_chars)
        return completion
    stream: openai.AsyncStream[object] = await client.post(
        path, body=sent, cast_to=object, options=options,
        stream=True, stream_cls=openai.AsyncStream[object],
    )  # fmt: skip
    answer, give_way = StreamedCompletion(), GivingWay()
    try:
        if re.search("json|html", stream.response.headers.get("content-type", "")):
            whole = (await stream.response.aread()).decode("utf-8")
            completion = read_answer(whole, str(client.base_url)).cut_at(stops)
            refuse_too_long(completion.chars, max_chars)
            return completion
        async for chunk in stream:
            answer.add(chunk)
            if until(answer.text) or any(stop in answer.text for stop in stops):
                return answer.stopped(text_of(sent["messages"])).cut_at(stops)
            refuse_too_long(answer.chars, max_chars)
            await give_way()
    finally:
        await stream.close()  # the server sees the line cut, and stops generating
    done = getattr(stream.response.stream, "done", False)
    return answer.complete(done=done).cut_at(stops)


def read_answer(data: object, base_url: str) -> Completion:
    """The answer in a whole body: JSON, or its text where the server does not call it JSON.

    Raises:
        EngineUnavailable: it is a web page.
        ValueError: it is no JSON.
        UnreadableReply, ErrorWithin, ContentRefused: see `read_completion`.
    """
    if not isinstance(data, str):
        return read_completion(data)
    refuse_page(data, base_url)
    stripped = data.strip()
    if stripped.startswith(("data:", "event:", ":")):
        answer = StreamedCompletion()
        events = [event.strip() for event in _EVENT.findall(stripped)]
        for event in events:
            if event != "[DONE]":
                answer.add(json.loads(event))
        return answer.complete(done="[DONE]" in events)
    return read_completion(json.loads(stripped))


def refuse_page(data: object, base_url: str) -> None:
    """Refuse a web page in the place of an answer.

    Raises:
        EngineUnavailable: with the title of the page.
    """
    if isinstance(data, str) and (title := page_title(data)) is not None:
        raise EngineUnavailable(
            f"{base_url.rstrip('/')} answered with a web page{title}, not as a model server does",
            hint="a base_url usually ends in /v1; a login or a proxy may stand before the server",
        )


def lost_connection(error: PolicyError) -> bool:
    """Whether a connection was refused or broke off."""
    import openai

    broken, timed_out = openai.APIConnectionError, openai.APITimeoutError
    lost = isinstance(error.__cause__, broken) and not isinstance(error.__cause__, timed_out)
    return lost or never_sent(error)


def never_sent(error: PolicyError) -> bool:
    """Whether no connection came about, so that no server has seen the request."""
    cause = error.__cause__
    # by name: the library below openai 3 is another than below openai 1 and 2
    return type(cause and cause.__cause__).__name__ in ("ConnectError", "ConnectTimeout")
