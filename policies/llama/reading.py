"""What a request asks of the embedded engine beside its messages, and how what it wrote is read."""

from __future__ import annotations

from dataclasses import replace

from ...core.jsonl import parse_json
from ..answers import misfit
from ..base import FinishReason, Request, Sampling
from ..text.aloud import Hear
from ..text.sentences import SentenceLimit
from .engine import Generation, Watch

DEFAULT_SAMPLING = Sampling(
    temperature=0.7, top_p=0.9, top_k=40, min_p=0.05, repetition_penalty=1.15, max_tokens=96
)
"""For what a request leaves open. The penalty ends the loops that a small model falls into."""

SCHEMA_MAX_TOKENS = 512
"""Room for a JSON answer, which is useless when it is cut off."""


def sampling_of(request: Request) -> Sampling:
    """What is asked for, over our defaults.

    Bound answers get no repetition penalty of ours, which would fight their form, and room to end:
    an option is never cut, whatever `max_tokens` says, since a token is at least a byte.
    """
    if request.choices is not None:
        room = max(len(option.encode()) for option in request.choices) + 1
        return replace(_bound(request, DEFAULT_SAMPLING), max_tokens=room)
    if request.schema is not None:
        return _bound(request, replace(DEFAULT_SAMPLING, max_tokens=SCHEMA_MAX_TOKENS))
    return request.sampling.over(DEFAULT_SAMPLING)


def _bound(request: Request, defaults: Sampling) -> Sampling:
    return request.sampling.over(replace(defaults, repetition_penalty=1.0))


def sentence_watch(request: Request, hear: Hear | None = None) -> Watch | None:
    """Ends a generation once the request's sentences are complete; None where it names no number.

    Args:
        hear: is given the answer so far.
    """
    limit = request.max_sentences
    if limit is None or request.choices is not None or request.schema is not None:
        return None
    reached = SentenceLimit(limit)

    def watch(text: str, _: int) -> bool:
        said = _joined(request.prefill, text)
        if hear is not None:
            hear(said)
        return reached(said)

    return watch


def _joined(prefill: str, continuation: str) -> str:
    if prefill[-1:].isspace():
        continuation = continuation.lstrip()
    return prefill + continuation


def answer_of(request: Request, generation: Generation) -> str:
    """What was written, behind the words that were put into the model's mouth."""
    if request.choices is not None and generation.text in request.choices:
        return generation.text
    return _joined(request.prefill, generation.text).strip()


def fault_of(request: Request, text: str) -> str | None:
    """Why an answer cannot be taken, or None."""
    if request.choices is not None:
        return None if text in request.choices else "is not one of the choices"
    if request.schema is not None:
        try:
            value = parse_json(text)
        except ValueError:
            return "is not complete JSON"
        return misfit(value, request.schema)
    return None if text else "is empty"


def finish_reason_of(request: Request, generation: Generation) -> FinishReason:
    """Why the engine stopped writing."""
    if request.choices is not None:
        return FinishReason.CHOICE
    if generation.finish == "watch":
        return FinishReason.SENTENCES
    return FinishReason.LENGTH if generation.finish == "length" else FinishReason.STOP
