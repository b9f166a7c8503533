"""Chat completions as they are read and written: OpenAI's fields to a `Request`, a `Reply` back.

A field that no policy can honour is refused by its name, as OpenAI's own server refuses it; nothing
that was asked for is left out silently. Left out on purpose: several answers to one request, tools,
images and log-probabilities of alternatives.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from ...core.errors import BadRequest
from ...core.outside.text import is_blank
from ...policies.asking import LARGEST_NUMBER, not_plain
from ...policies.base import FinishReason, Message, Reply, Request, Sampling

SPLIT = 24
"""Characters in one event of a stream."""

Whole = Annotated[int, Field(ge=-LARGEST_NUMBER - 1, le=LARGEST_NUMBER)]
"""A whole number that engines can take."""


class Text(BaseModel):
    """One part of a message's content."""

    model_config = ConfigDict(extra="forbid")
    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    """One message; `name` is allowed and has no meaning here."""

    model_config = ConfigDict(extra="ignore")
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Text]

    @field_validator("content")
    @classmethod
    def _says_something(cls, content: str | list[Text]) -> str | list[Text]:
        if is_blank(_plain(content)):
            raise PydanticCustomError("blank", "is empty; leave the message out, or say something")
        return content

    def message(self) -> Message:
        """It as policies know it; `developer` is OpenAI's newer word for the system."""
        return Message("system" if self.role == "developer" else self.role, _plain(self.content))


class StreamOptions(BaseModel):
    """Whether the stream ends with the tokens."""

    model_config = ConfigDict(extra="forbid")
    include_usage: bool = False
    continuous_usage_stats: bool = False


class ChatBody(BaseModel):
    """The body of a chat completion. Fields about the caller alone (`user`, `metadata`, `store`)
    are taken and change nothing."""

    model_config = ConfigDict(extra="forbid")
    model: str
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    temperature: FiniteFloat | None = None
    top_p: FiniteFloat | None = None
    top_k: Whole | None = None
    min_p: FiniteFloat | None = None
    repetition_penalty: FiniteFloat | None = None
    max_tokens: Whole | None = None
    max_completion_tokens: Whole | None = None
    seed: Whole | None = None
    n: Literal[1] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    logprobs: bool = False
    response_format: dict[str, Any] | None = None
    user: str | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None

    def sampling(self) -> Sampling:
        """What was said about drawing tokens."""
        return Sampling(
            self.temperature,
            self.top_p,
            self.top_k,
            self.min_p,
            self.repetition_penalty,
            self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens,
        )

    def schema_asked(self) -> Mapping[str, Any] | None:
        """The JSON schema that the answer must fit.

        Raises:
            FieldRefused: a form of answer that is not one of OpenAI's.
        """
        form = self.response_format or {"type": "text"}
        if form.get("type") == "text":
            return None
        if form.get("type") == "json_object":
            return {"type": "object"}
        named = form.get("json_schema")
        schema = named.get("schema") if isinstance(named, dict) else None
        if form.get("type") != "json_schema" or not isinstance(schema, dict):
            raise FieldRefused(
                "response_format",
                "response_format must be text, json_object, or json_schema with a schema",
            )
        if fault := not_plain(schema, "response_format.json_schema.schema"):
            raise FieldRefused("response_format", fault)
        return schema

    def request(self, session: str = "") -> Request:
        """The question to the policy."""
        return Request(
            tuple(each.message() for each in self.messages),
            role="supporter",
            sampling=self.sampling(),
            seed=self.seed,
            schema=self.schema_asked(),
            logprobs=self.logprobs,
            session=session,
        )


def read_body(data: bytes) -> ChatBody:
    """The body of a request.

    Raises:
        FieldRefused: names the first field that is wrong, and what is wrong with it.
    """
    try:
        return ChatBody.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise FieldRefused(field, f"{field} is not supported here; leave it out") from None
        raise FieldRefused(field, f"{field or 'the body'}: {first['msg']}") from None


class FieldRefused(BadRequest):
    """A field of the request that cannot be honoured.

    Attributes:
        field: its name, as OpenAI's errors give it.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def completion(model: str, reply: Reply, crisis: Mapping[str, Any] | None) -> dict[str, Any]:
    """A whole answer, with what was found of crisis language under `warmline`."""
    message = {"role": "assistant", "content": reply.text, **_thinking(reply)}
    choice = {"index": 0, "message": message, "finish_reason": _finish(reply)}
    if reply.logprobs is not None:
        choice["logprobs"] = {
            "content": [
                {"token": each.token, "logprob": each.logprob, "bytes": None, "top_logprobs": []}
                for each in reply.logprobs
            ]
        }
    made = _head("chat.completion", model) | {"choices": [choice], "usage": usage(reply)}
    return made | ({"warmline": dict(crisis)} if crisis else {})


def events(
    model: str, reply: Reply, crisis: Mapping[str, Any] | None, *, with_usage: bool
) -> Iterator[str]:
    """The answer as server-sent events. A policy answers whole, so all of them come at its end."""
    head = _head("chat.completion.chunk", model)

    def event(delta: Mapping[str, Any], finish: str | None = None, **more: Any) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return f"data: {json.dumps(head | {'choices': [choice]} | more)}\n\n"

    yield event({"role": "assistant", "content": "", **_thinking(reply)})
    for start in range(0, len(reply.text), SPLIT):
        yield event({"content": reply.text[start : start + SPLIT]})
    yield event({}, _finish(reply), **({"warmline": dict(crisis)} if crisis else {}))
    if with_usage:
        yield f"data: {json.dumps(head | {'choices': [], 'usage': usage(reply)})}\n\n"
    yield "data: [DONE]\n\n"


def usage(reply: Reply) -> dict[str, Any] | None:
    """Tokens in OpenAI's words; None where the policy does not count."""
    if reply.usage is None:
        return None
    used = reply.usage
    return {
        "prompt_tokens": used.prompt_tokens,
        "completion_tokens": used.completion_tokens,
        "total_tokens": used.total_tokens,
        "prompt_tokens_details": {"cached_tokens": used.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": used.thinking_tokens},
    }


def _plain(content: str | list[Text]) -> str:
    return content if isinstance(content, str) else "".join(part.text for part in content)


def _head(kind: str, model: str) -> dict[str, Any]:
    made = {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": kind}
    return made | {"created": int(time.time()), "model": model}


def _finish(reply: Reply) -> str:
    return "length" if reply.finish_reason is FinishReason.LENGTH else "stop"


def _thinking(reply: Reply) -> dict[str, str]:
    return {"reasoning_content": reply.thinking} if reply.thinking else {}
