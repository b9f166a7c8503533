"""One answer while it is written: its tokens, its text so far, and when it is complete."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ..base import FinishReason, Sampling, TokenLogprob
from ..text.sentences import SentenceLimit
from ..thinking.watch import Ended, ThinkingWatch

_CONTEXT = 6
"""Tokens before the answer that are decoded with it, since they decide about spaces."""


_REASONS = {Ended.LENGTH: FinishReason.LENGTH, Ended.ENOUGH: FinishReason.SENTENCES}
"""Why an answer ends that a watch has ended; the others only end its thinking."""


class Constraint(Protocol):
    """What may come next."""

    def allowed(self) -> bytes:
        """One bit a token, lowest bit first."""

    def take(self, token: int) -> None:
        """Advance by one token."""

    @property
    def finished(self) -> bool:
        """Whether nothing but the end may follow."""


class Detokenizer:
    """Tokens into text, one at a time; a character is emitted once all its bytes are known.

    Args:
        tokenizer: of transformers.
        before: tokens before the first one.
    """

    def __init__(self, tokenizer: Any, before: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._window = list(before[-_CONTEXT:])
        self._shown = len(self._window)
        self.text = ""

    def add(self, token: int) -> None:
        """Take one more token."""
        self._window.append(token)
        new = self._new_text()
        if new and not new.endswith("\N{REPLACEMENT CHARACTER}"):
            self._emit(new)

    def add_mark(self, token: int, text: str) -> None:
        """Take a special token that is text all the same."""
        self.finish()
        self.text += text
        self._window, self._shown = [token], 1

    def finish(self) -> str:
        """The whole text, with the rest of an unfinished character."""
        if new := self._new_text():
            self._emit(new)
        return self.text

    def _new_text(self) -> str:
        whole, known = self._decode(self._window), self._decode(self._window[: self._shown])
        return whole[len(known) :]

    def _emit(self, new: str) -> None:
        self.text += new
        self._window = self._window[max(0, self._shown - _CONTEXT) :]
        self._shown = len(self._window)

    def _decode(self, tokens: Sequence[int]) -> str:
        return str(
            self._tokenizer.decode(
                tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        )


class Answer:
    """An answer while it is written.

    Args:
        prompt: tokens that the repetition penalty counts as seen, besides the answer's own.
        before: tokens directly before the answer.
        prefill: what the text begins with.
        sampling: every field set.
        seed: of the draws; None draws one from the system.
        stop_tokens: ids that end it.
        max_sentences: ends it once so many are complete.
        logprobs: whether log-probabilities are kept.
        constraint: what may be written.
        watch: says when to end it, where a model thinks.
        marks: special tokens that are kept as text: marks of thinking.
    """

    def __init__(
        self,
        *,
        tokenizer: Any,
        prompt: Sequence[int],
        before: Sequence[int],
        prefill: str,
        sampling: Sampling,
        seed: int | None,
        stop_tokens: frozenset[int],
        max_sentences: int | None,
        logprobs: bool,
        constraint: Constraint | None = None,
        watch: ThinkingWatch | None = None,
        marks: Mapping[int, str] | None = None,
    ) -> None:
        self.prompt, self.sampling, self.stop_tokens = prompt, sampling, stop_tokens
        self.constraint, self.watch, self._marks = constraint, watch, marks or {}
        self.wants_logprobs = logprobs
        self.tokens: list[int] = []
        self.seen: Any = None  # (vocabulary,) booleans, made by the sampler when first needed
        self.reason: FinishReason | None = None
        self._logprobs: list[float] = []
        self._random = random.Random(seed)  # noqa: S311 - draws of text, not of keys
        self._tokenizer = tokenizer
        self._detokenizer = Detokenizer(tokenizer, before)
        self._prefill = prefill
        self._complete = None if max_sentences is None else SentenceLimit(max_sentences)

    def draw(self) -> float:
        """The next number in [0, 1); one a token, so that nothing else can shift the sequence."""
        return self._random.random()

    def take(self, token: int, logprob: float | None) -> None:
        """Advance by one token; `reason` is set once the answer is complete."""
        if token in self.stop_tokens:
            self.reason = FinishReason.STOP
            return
        self.tokens.append(token)
        if logprob is not None:
            self._logprobs.append(logprob)
        if (mark := self._marks.get(token)) is not None:
            self._detokenizer.add_mark(token, mark)
        else:
            self._detokenizer.add(token)
        if self.constraint is not None:
            self.constraint.take(token)
        self.reason = self._reason()

    def _reason(self) -> FinishReason | None:
        if self.constraint is not None and self.constraint.finished:
            return FinishReason.STOP
        if self.watch is not None:
            ended = self.watch(self._detokenizer.text, len(self.tokens))
            if ended is not None:
                return _REASONS.get(ended, FinishReason.STOP)
        if self._complete is not None and self._complete(self._text(self._detokenizer.text)):
            return FinishReason.SENTENCES
        if self.sampling.max_tokens is not None and len(self.tokens) >= self.sampling.max_tokens:
            return FinishReason.LENGTH
        return None

    @property
    def raw(self) -> str:
        """All that was written, thinking included, without the prefill."""
        return self._detokenizer.finish()

    @property
    def text(self) -> str:
        """The finished text, prefill included, without white space around it."""
        return self._text(self._detokenizer.finish()).strip()

    @property
    def logprobs(self) -> tuple[TokenLogprob, ...] | None:
        """One entry a token, where wanted."""
        if not self.wants_logprobs:
            return None
        return token_logprobs(self._tokenizer, self.tokens, self._logprobs)

    def _text(self, written: str) -> str:
        if self._prefill[-1:].isspace():
            written = written.lstrip()
        return self._prefill + written


def token_logprobs(
    tokenizer: Any, tokens: Sequence[int], logprobs: Sequence[float]
) -> tuple[TokenLogprob, ...]:
    """Tokens as text, with their log-probabilities."""
    return tuple(
        TokenLogprob(str(tokenizer.decode([token])), value)
        for token, value in zip(tokens, logprobs, strict=True)
    )
