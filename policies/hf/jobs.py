"""One request as it passes through an engine's thread."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

from ...core.errors import ContextTooLong, EngineUnavailable
from ..base import FinishReason, Request, Sampling, TokenLogprob, Usage
from ..models.loading import LoadedModel
from ..models.prompts import Prompt, PromptWriter
from ..thinking.watch import Ended, ThinkingWatch
from .answers import Answer, token_logprobs
from .constraints import JsonConstraints
from .sampling import logprobs_of, next_tokens, undefined_rows

DEFAULTS = Sampling(
    temperature=1.0, top_p=1.0, top_k=0, min_p=0.0, repetition_penalty=1.0, max_tokens=256
)
"""For what neither the request nor the model's `generation_config.json` sets."""

SCHEMA_MAX_TOKENS = 512
"""Room for a JSON answer, which is useless when it is cut off."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a job.

    Attributes:
        raw: all that was written after the prompt, thinking included.
        ended: why the answer was ended from outside, where a model thinks.
        thinking: what it thought, once that is told from the text.
        thinking_tokens: tokens until its thinking ended; 0 where it had not.
    """

    text: str
    reason: FinishReason
    usage: Usage
    logprobs: tuple[TokenLogprob, ...] | None
    raw: str = ""
    ended: Ended | None = None
    thinking: str = ""
    thinking_tokens: int = 0


@dataclass(slots=True, eq=False)
class Job:
    """A request, and the future of its outcome.

    Attributes:
        request: with the seed of this attempt.
        writer: renders prompts for the policy that asks.
        adapter: as `LoadedModel.forward` names it.
        continuation: a given text to score instead of an answer to write.
        by_length: whether options are compared by the mean of their tokens' log-probabilities.
        after: what the model thought before; stands at the end of the prompt.
        watch: where a model thinks: says when the answer is to end, given its prompt and the room
            in tokens for all it may write.
        future: cancelled by whoever no longer waits.
    """

    request: Request
    writer: PromptWriter
    adapter: str
    continuation: str | None = None
    by_length: bool = False
    after: str = ""
    watch: Callable[[Prompt, int, int], ThinkingWatch] | None = None
    future: Future[Outcome] = field(default_factory=Future)

    def finish(self, outcome: Outcome) -> None:
        """Hand over the outcome, unless nobody waits."""
        if not self.future.done() and self.future.set_running_or_notify_cancel():
            self.future.set_result(outcome)

    def fail(self, error: BaseException) -> None:
        """Hand over the error, unless nobody waits."""
        if not self.future.done() and self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)

    @property
    def failed(self) -> bool:
        """Whether it ended in an error."""
        future = self.future
        return future.done() and not future.cancelled() and future.exception() is not None

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits any more."""
        return self.future.cancelled()


class UndefinedNumbers(EngineUnavailable):
    """The model computed numbers that are none; asking again would give the same."""

    retryable = False

    def __init__(self, dtype: str) -> None:
        super().__init__(
            f"the model computed infinite or undefined logits in {dtype}",
            hint="numbers above 65504 are infinite in float16; take dtype 'bfloat16' or 'float32'"
            if dtype == "float16"
            else "its weights may be damaged, or an adapter may have diverged",
        )


@dataclass(slots=True, eq=False)
class Task:
    """A job in tokens: either an answer to write or given continuations to score.

    Attributes:
        answer: None where continuations are scored.
        continuations: tokens of the options, or of the one given text.
        room: maximum number of tokens after the prompt.
    """

    job: Job
    prompt: Prompt
    answer: Answer | None
    continuations: tuple[tuple[int, ...], ...]
    room: int

    def usage(self, completion: int, cached: int = 0) -> Usage:
        """Tokens of this job; the prompt's are those that the model read."""
        read = len(self.prompt.tokens) + max(0, len(self.prompt.start) - 1)
        return Usage(read, cached, completion)

    def written(self, cached: int = 0) -> Outcome:
        """The outcome of a finished answer."""
        answer = self.answer
        assert answer is not None
        assert answer.reason is not None
        used = self.usage(len(answer.tokens), cached)
        outcome = Outcome(answer.text, answer.reason, used, answer.logprobs, answer.raw)
        if answer.watch is None:
            return outcome
        tokens = answer.watch.thinking_tokens or 0
        return replace(outcome, ended=answer.watch.ended, thinking_tokens=tokens)

    def answer_scored(
        self, model: LoadedModel, scores: Sequence[tuple[list[float], float]], cached: int = 0
    ) -> None:
        """Finish the job with scored continuations, or fail it where a score is undefined.

        Args:
            scores: for each continuation the log-probabilities of its tokens, and that of the
                answer's ending there.
        """
        if any(math.isnan(value) for tokens, end in scores for value in (*tokens, end)):
            self.job.fail(UndefinedNumbers(model.dtype))
        else:
            self.job.finish(self._scored(model.tokenizer, scores, cached))

    def _scored(
        self, tokenizer: Any, scores: Sequence[tuple[list[float], float]], cached: int
    ) -> Outcome:
        chosen, text = 0, self.job.continuation or ""
        if self.job.request.choices is not None:
            chosen = self._choose(scores)
            text = self.job.request.choices[chosen]
        tokens = self.continuations[chosen]
        wanted = self.job.continuation is not None or self.job.request.logprobs
        return Outcome(
            text,
            FinishReason.CHOICE,
            self.usage(len(tokens), cached),
            token_logprobs(tokenizer, tokens, scores[chosen][0]) if wanted else None,
        )

    def _choose(self, scores: Sequence[tuple[list[float], float]]) -> int:
        totals = [
            (sum(tokens) + end) / (len(tokens) + 1 if self.job.by_length else 1)
            for tokens, end in scores
        ]
        best = max(totals)
        temperature = self._temperature()
        if not temperature:
            return totals.index(best)
        weights = [math.exp((total - best) / temperature) for total in totals]
        draw = random.Random(self.job.request.seed)  # noqa: S311 - a draw of text, not of keys
        return draw.choices(range(len(totals)), weights)[0]

    def _temperature(self) -> float:
        given = self.job.request.sampling.temperature
        return DEFAULTS.temperature or 0.0 if given is None else given


def make_task(
    job: Job,
    tokenizer: Any,
    *,
    context: int,
    defaults: Sampling,
    constraints: JsonConstraints | None,
) -> Task:
    """Tokenize a job.

    Args:
        context: maximum number of tokens in prompt and answer; for an encoder-decoder, in each of
            the two.
        defaults: the model's own settings.
        constraints: needed for requests with a schema.

    Raises:
        ContextTooLong: prompt and answer do not fit.
        BadRequest: the template refuses the messages.
    """
    request, prompt = job.request, job.writer.write(job.request, after=job.after)
    if prompt.begun and not job.after and job.continuation is not None:
        prompt = job.writer.write_without_thinking(request)
    before = prompt.start or prompt.tokens
    if job.continuation is None and request.choices is None:
        room = context - len(before)
        if room < 1 or len(prompt.tokens) > context:
            raise ContextTooLong(
                prompt_tokens=max(len(before), len(prompt.tokens)), context_tokens=context
            )
        answer = _answer(job, prompt, tokenizer, room, defaults, constraints)
        return Task(job, prompt, answer, (), answer.sampling.max_tokens or room)
    texts = (job.continuation or "",) if request.choices is None else request.choices
    continuations = tuple(job.writer.continuation(prompt, text) for text in texts)
    longest = max(map(len, continuations))
    needed = max(len(before) + longest, len(prompt.tokens))
    if needed > context:
        raise ContextTooLong(prompt_tokens=needed, context_tokens=context)
    return Task(job, prompt, None, continuations, longest)


def _answer(
    job: Job,
    prompt: Prompt,
    tokenizer: Any,
    room: int,
    defaults: Sampling,
    constraints: JsonConstraints | None,
) -> Answer:
    request = job.request
    sampling = request.sampling
    if request.schema is not None:  # the model's own penalty would fight the form
        sampling = sampling.over(Sampling(repetition_penalty=1.0, max_tokens=SCHEMA_MAX_TOKENS))
    sampling = sampling.over(defaults).over(DEFAULTS)
    room_asked = min(sampling.max_tokens or room, room)
    watch = None if job.watch is None else job.watch(prompt, room_asked, room)
    sampling = replace(sampling, max_tokens=min(room, watch.most) if watch else room_asked)
    before = prompt.start or prompt.tokens
    return Answer(
        tokenizer=tokenizer,
        prompt=before,
        before=before,
        prefill=request.prefill,
        sampling=sampling,
        seed=request.seed,
        stop_tokens=job.writer.stop_tokens,
        max_sentences=None if request.schema is not None or watch else request.max_sentences,
        logprobs=request.logprobs,
        watch=watch,
        marks=job.writer.mark_tokens,
        constraint=(
            None if request.schema is None or constraints is None
            else constraints.make(request.schema)
        ),
    )  # fmt: skip


def take_tokens(tasks: Sequence[Task], logits: Any, dtype: str) -> list[int]:
    """Draw the next token of each answer; a task whose logits are undefined fails, alone.

    Args:
        logits: `(tasks, vocabulary)`, float32.
        dtype: of the model, for the message.

    Returns:
        The places of the tasks that failed.
    """
    broken = undefined_rows(logits)
    for place in broken:
        tasks[place].job.fail(UndefinedNumbers(dtype))
    good = [n for n in range(len(tasks)) if n not in set(broken)]
    if not good:
        return broken
    answers = [answer for n in good if (answer := tasks[n].answer) is not None]
    kept = logits[good] if broken else logits
    tokens = next_tokens(kept, answers)
    for answer, token, logprob in zip(
        answers, tokens, logprobs_of(kept, tokens, answers), strict=True
    ):
        answer.take(token, logprob)
    return broken
