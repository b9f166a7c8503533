"""Answers of models that think: written freely first, and then the answer alone.

As in `hf/thinking.py`, one pass is enough for free text whose thinking ends by itself; a choice, a
schema or first words bind a second pass that continues the first. llama.cpp's own way, a grammar
from the first token on, would leave no thinking.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..base import Request, Sampling
from ..text.sentences import SentenceLimit
from ..thinking.reader import opened_by, part
from ..thinking.switches import template_variables, usual_switches
from ..thinking.watch import (
    THINKING_TOKENS,
    Ended,
    ThinkingWatch,
    begins_answer,
)
from .engine import Generation, LlamaEngine, Watch

_FORMS = ("grammar", "json_schema")


def switches(engine: LlamaEngine, sampling: Sampling) -> dict[str, Any]:
    """The variables of the chat template that say whether to think."""
    template = engine.vocabulary.template
    if sampling.thinking is None:
        return dict(usual_switches(template)) if engine.thinking is not None else {}
    return dict(template_variables(sampling.thinking, template, engine.settings.model.name))


async def think_and_answer(
    engine: LlamaEngine,
    request: Request,
    prompt: str,
    body: Mapping[str, Any],
    watch: Watch | None,
) -> Generation:
    """One answer of a model that may think.

    Args:
        prompt: as the template writes it.
        body: sampling and form of the answer.
        watch: over the answer of a second pass.
    """
    assert engine.thinking is not None
    begun = opened_by(prompt) is not None
    alone = bool(request.prefill) or any(form in body for form in _FORMS)
    answer, most = int(body["max_tokens"]), request.max_sentences
    looking = ThinkingWatch(
        begun=begun,
        budget=request.sampling.max_thinking_tokens
        or min(THINKING_TOKENS, engine.settings.context_tokens // 2),
        room=answer,
        alone=alone,
        until=None if most is None else SentenceLimit(most),
    )
    free = {name: value for name, value in body.items() if name not in _FORMS}
    free |= {"prompt": prompt, "max_tokens": looking.most}
    first = await engine.generate(free, lambda text, tokens: looking(text, tokens) is not None)
    after = begins_answer(
        engine.thinking, first.text, begun=begun, ended=looking.ended, asked=alone
    )
    if after is None:
        return _parted(first, looking, begun=begun)
    begin = engine.marks.broken(request.prefill).rstrip()
    second = await engine.generate({**body, "prompt": prompt + after + begin}, watch)
    thinking = part(after, begun=begun).thinking
    usage = first.usage.continued(second.usage, thought=bool(thinking))
    return replace(second, thinking=thinking, usage=usage)


def _parted(first: Generation, looking: ThinkingWatch, *, begun: bool) -> Generation:
    parted = part(first.text, begun=begun)
    tokens = looking.thinking_tokens or 0
    finish = "length" if looking.ended is Ended.LENGTH else first.finish
    usage = replace(first.usage, thinking_tokens=tokens if parted.thinking else 0)
    return replace(
        first,
        text=parted.text,
        thinking=parted.thinking,
        finish=finish,
        usage=usage,
        logprobs=first.logprobs[tokens:],
    )
