"""Answers of models that think: the thinking is written freely, and then the answer is asked for.

One pass is enough where the answer is free text and the thinking ends by itself. Otherwise a second
pass continues the first: a choice, a schema or first words bind the answer alone, and thinking that
takes more than its tokens is ended with the model's own mark.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from concurrent.futures import Future

from ..base import Request
from ..models.prompts import Prompt, PromptWriter
from ..text.sentences import SentenceLimit
from ..thinking.reader import part
from ..thinking.watch import THINKING_TOKENS, ThinkingWatch, begins_answer
from .jobs import Job, Outcome

Send = Callable[[Job], Awaitable[Outcome]]


def thinks(writer: PromptWriter, request: Request) -> bool:
    """Whether the model may think before it answers a request."""
    return writer.thinking is not None and request.sampling.thinking != "off"


async def think_and_answer(job: Job, send: Send) -> Outcome:
    """The outcome of a job whose model may think.

    Args:
        job: not sent yet.
        send: has a job computed.
    """
    request, pair = job.request, job.writer.thinking
    assert pair is not None
    begun = False
    alone = request.choices is not None or request.schema is not None or bool(request.prefill)

    def watch(prompt: Prompt, answer: int, room: int) -> ThinkingWatch:
        nonlocal begun
        begun = prompt.begun
        budget = request.sampling.max_thinking_tokens or THINKING_TOKENS
        most = request.max_sentences
        return ThinkingWatch(
            begun=begun,
            budget=max(1, min(budget, room - answer)),
            room=answer,
            alone=alone,
            until=None if most is None else SentenceLimit(most),
        )

    free = dataclasses.replace(request, choices=None, schema=None, prefill="")
    first = await send(dataclasses.replace(job, request=free, watch=watch, future=Future()))
    after = begins_answer(pair, first.raw, begun=begun, ended=first.ended, asked=alone)
    if after is None:
        return _parted(first, begun)
    second = await send(dataclasses.replace(job, after=after, future=Future()))
    return _joined(first, second, part(after, begun=begun).thinking)


def _parted(first: Outcome, begun: bool) -> Outcome:
    parted = part(first.raw, begun=begun)
    tokens = first.thinking_tokens
    return dataclasses.replace(
        first,
        text=parted.text.strip(),
        thinking=parted.thinking,
        usage=dataclasses.replace(first.usage, thinking_tokens=tokens if parted.thinking else 0),
        logprobs=None if first.logprobs is None else first.logprobs[tokens:],
    )


def _joined(first: Outcome, second: Outcome, thinking: str) -> Outcome:
    """One outcome of two passes; the prompt is counted once."""
    usage = first.usage.continued(second.usage, thought=bool(thinking))
    return dataclasses.replace(second, usage=usage, thinking=thinking)
