"""One question to a server, asked again while its answer cannot be read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...core.errors import BadRequest, ContextTooLong
from ...core.tasks import aside
from ..base import DRAWING, FinishReason, Message, Request
from ..reasking import ask_until_read
from ..text.control_marks import PUBLISHED_MARKS
from .call import Call
from .forms import merged
from .pool import ClientPool
from .replies import Completion, unreadable
from .thoughts import Thoughts

_NO_ROOM = re.compile(r"could not finish the message because max_tokens", re.IGNORECASE)
"""How OpenAI refuses a request whose tokens its model thought away."""

Read = Callable[[Completion], str | None]
Correct = Callable[[str], list[Message]]


class Questions:
    """Asks one server, or a pool of them.

    Args:
        client: sends what is asked.
        thoughts: what is known of how the model thinks.
        reasks: further questions after an answer that cannot be read.
        extra_body: the user's own fields of each request.
    """

    def __init__(
        self, client: ClientPool, thoughts: Thoughts, *, reasks: int, extra_body: Mapping[str, Any]
    ) -> None:
        self._client, self._thoughts = client, thoughts
        self.reasks, self._extra_body = reasks, extra_body

    async def ask(
        self,
        request: Request,
        call: Call,
        *,
        messages: Sequence[Message],
        extra: Mapping[str, Any],
        read: Read,
        correct: Correct,
        wanted: str,
        until: Callable[[str], bool] | None = None,
        room: int = 0,
    ) -> tuple[str, Completion]:
        """Ask until the answer can be read, at most `reasks` times more.

        Args:
            read: the text for the reply, or None if the answer is not in the form wanted.
            correct: messages to add after an answer that could not be read.
            room: least `max_tokens`, for forms that are longer than the request allows for.

        Raises:
            UnreadableReply: quotes the last answer.
        """
        history, eaten = list(messages), 0
        thinking = self._thoughts.room(request.sampling)
        free = not extra and messages[-1].role != "assistant"

        async def ask(again: Request) -> Completion:
            try:
                completion = await self.send(
                    again, history, call, extra=extra, room=room, thinking=thinking, until=until
                )
            except BadRequest as error:
                if (refused := self._thoughts.refused_switch(error, request.sampling)) is None:
                    raise
                raise refused from error
            except ContextTooLong as error:
                if not eaten:
                    raise
                raise self._thoughts.nothing_left(request.sampling, thinking, eaten + 1) from error
            return await aside(
                completion.chars, self._thoughts.read, completion, request.sampling, call, free=free
            )

        def read_or_correct(completion: Completion) -> str | None:
            nonlocal eaten, thinking
            if self._thoughts.eaten(completion, request.sampling, thinking):
                eaten += 1
                if eaten <= self.reasks:
                    thinking = self._thoughts.room(request.sampling, thinking)
                    return None
                if not completion.text.strip():
                    return None
            if (text := read(completion)) is None and completion.text.strip():
                history.extend(correct(completion.text))
            return text

        text, answers = await ask_until_read(request, ask, read_or_correct, reasks=self.reasks)
        last = answers[-1]
        if text is not None:
            return text, last
        if eaten == len(answers):
            raise self._thoughts.nothing_left(request.sampling, thinking, eaten)
        raise unreadable(self._client.base_url, len(answers), wanted, last)

    async def send(
        self,
        request: Request,
        messages: Sequence[Message],
        call: Call,
        *,
        extra: Mapping[str, Any],
        thinking: int,
        room: int = 0,
        until: Callable[[str], bool] | None = None,
    ) -> Completion:
        """One answer, its thinking not yet told from its text."""
        chars = sum(len(message.content) for message in messages)
        body = await aside(chars, self.body, request, messages, room=room, thinking=thinking)
        try:
            return await self._client.chat({**body, **extra}, call, until=until)
        except BadRequest as error:
            if _NO_ROOM.search(error.message):
                return Completion("", FinishReason.LENGTH, None, None, no_room=True)
            if not self._thoughts.takes_other_form(error, request.sampling):
                raise
        return await self.send(
            request, messages, call, extra=extra, room=room, thinking=thinking, until=until
        )

    def body(
        self, request: Request, messages: Sequence[Message], *, room: int = 0, thinking: int
    ) -> dict[str, Any]:
        """The fields of a chat completion; the user's `extra_body` gives way to the request's.

        Args:
            room: least `max_tokens` of the answer.
            thinking: tokens for thinking, besides them.
        """
        asked = request.sampling.as_dict()
        sampling = {name: value for name, value in asked.items() if name in DRAWING}
        if "repetition_penalty" in sampling:
            sampling["repeat_penalty"] = sampling["repetition_penalty"]
        sampling |= self._thoughts.fields(request.sampling, answer=room, thinking=thinking)
        body: dict[str, Any] = merged(self._extra_body, sampling)
        body["messages"] = [
            {"role": m.role, "content": PUBLISHED_MARKS.broken(m.content)} for m in messages
        ]
        if request.seed is not None:
            body["seed"] = request.seed % 2**31
        if request.logprobs:
            body["logprobs"] = True
        return body
