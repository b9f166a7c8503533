"""Answers of models that think: written freely first, and then the answer alone.

As in `hf/thinking.py`: one pass is enough for free text whose thinking ends by itself. vLLM counts
the tokens, so `max_thinking_tokens` bounds a first pass together with `max_tokens`: what the thinking
leaves of it, the answer may use.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable

from ..base import Request
from ..text.sentences import SentenceLimit
from ..text.tokens import estimated_tokens
from ..thinking.reader import Pair, begins_mark, part
from ..thinking.watch import THINKING_TOKENS, Ended, begins_answer
from .generation import Generation, Watch

Send = Callable[[Request, str, Watch | None, int], Awaitable[Generation]]
"""Sends a request, with what stands after its prompt, a watch, and tokens besides the answer's."""


async def think_and_answer(pair: Pair, request: Request, send: Send, *, begun: bool) -> Generation:
    """One answer of a model that may think.

    Args:
        pair: the model's marks.
        send: has one pass computed.
        begun: the prompt ends within a block.
    """
    alone = request.choices is not None or request.schema is not None or bool(request.prefill)
    free = dataclasses.replace(request, choices=None, schema=None, prefill="")
    room = request.sampling.max_thinking_tokens or THINKING_TOKENS
    first = await send(free, "", _watch(request, begun=begun, alone=alone), room)
    parted = part(first.text, begun=begun)
    ended: Ended | None = None
    if alone and first.finish == "watch":
        ended = Ended.THOUGHT if parted.text != first.text else Ended.SPOKE
    after = begins_answer(pair, first.text, begun=begun, ended=ended, asked=alone)
    if after is None:
        return _parted(first, parted.thinking, parted.text)
    second = await send(request, after, None, 0)
    thinking = part(after, begun=begun).thinking
    usage = first.usage.continued(second.usage, thought=bool(thinking))
    return dataclasses.replace(second, thinking=thinking, usage=usage)


def _watch(request: Request, *, begun: bool, alone: bool) -> Watch:
    """Without a state of its own: vLLM's outputs are looked at again, token by token."""
    limit = request.max_sentences

    def done(text: str) -> bool:
        parted = part(text, begun=begun)
        if parted.open or (parted.text == text and begins_mark(text.lstrip())):
            return False
        if alone:
            return True
        return limit is not None and SentenceLimit(limit)(parted.text)

    return done


def _parted(first: Generation, thinking: str, text: str) -> Generation:
    if not thinking:
        return dataclasses.replace(first, text=text)
    thought, said = estimated_tokens(thinking), estimated_tokens(text)
    tokens = round(first.usage.completion_tokens * thought / (thought + said))
    usage = dataclasses.replace(first.usage, thinking_tokens=tokens)
    return dataclasses.replace(
        first, text=text, thinking=thinking, usage=usage, logprobs=first.logprobs[tokens:]
    )
