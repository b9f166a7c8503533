"""Asks a judge many questions at once; every answer is a rating in a file.

What the file already holds (same subject, dimension, sample, rater, rubric and order of showing) is
not asked again, so the same command resumes where it was stopped. `judge.py` asks about one text at
a time, `pairwise.py` about two.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, TypeVar

from ...core.errors import ConfigError, PolicyError, UnreadableReply
from ...core.jsonl import LineLog
from ...core.shards.division import file_of, part_files, streamed, take_parts
from ...core.tasks import for_each
from ...environments.episodes.rating import Rating, iter_ratings
from ...policies.asking import ask_policy
from ...policies.base import Policy, Reply, Request, Sampling, open_policy, policy_name
from .questions import JudgePrompts, Subject, question_seed
from .rubric import Dimension, Rubric

OnRating = Callable[[Rating], None]
Item = TypeVar("Item")


@dataclass(slots=True)
class JudgeTally:
    """What one command did.

    Attributes:
        rater: the judge's name in the ratings.
        asked: answers that became ratings now.
        resumed: ratings that were there already.
        unreadable: of those asked now, by dimension, how many have no value.
        failed: questions without an answer (the engine went away, for example); the same command
            asks them again. The messages are counted in `errors`.
    """

    rater: str
    asked: int = 0
    resumed: int = 0
    unreadable: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    errors: Counter[str] = field(default_factory=Counter)

    def add(self, rating: Rating) -> None:
        """Count one new rating."""
        self.asked += 1
        self.unreadable[rating.dimension] += rating.value is None

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "rater": self.rater,
            "asked": self.asked,
            "resumed": self.resumed,
            "unreadable": {name: count for name, count in self.unreadable.items() if count},
            "failed": self.failed,
            "errors": dict(self.errors),
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """A judge's answer as it is stored: value (None if it could not be read), reason and notes."""

    value: float | None
    explanation: str
    notes: dict[str, Any]


class Question(Protocol):
    """One question to the judge. `first`: which of two texts is shown first; None for one text."""

    @property
    def subject(self) -> Subject: ...
    @property
    def dimension(self) -> Dimension: ...
    @property
    def sample(self) -> int: ...
    @property
    def first(self) -> str | None: ...

    def request(self, prompts: JudgePrompts, seed: int) -> Request: ...
    def read(self, text: str) -> Answer: ...


async def ask_all(
    items: Iterable[Item],
    questions_of: Callable[[Item, Dimension, int], Iterable[Question]],
    policy: Policy,
    rubric: Rubric,
    *,
    out: str | Path,
    dimensions: tuple[str, ...],
    samples: int,
    concurrency: int,
    seed: int,
    rater: str | None,
    sampling: Sampling | None,
    template: str | Path | None,
    observe: OnRating | None,
    stop: asyncio.Event | None,
    part: str | None = None,
) -> JudgeTally:
    """Ask the questions of every item on each dimension, `samples` times; see `judge`.

    Args:
        items: a stream will do.
        questions_of: an item's questions on one dimension with one number of the sample.
        part: ask one part of the questions only, as 3/8, into a file of its own beside `out`; without
            it, what the files of parts hold is taken in, and they are removed.
    """
    chosen = rubric.only(dimensions)
    check_counts(samples, concurrency)
    tally = JudgeTally(rater or policy_name(policy))
    prompts = JudgePrompts(policy, rubric, sampling=sampling, template=template)
    done: set[tuple[Hashable, ...]] = set()
    taken: set[tuple[Hashable, ...]] = set()
    every = (
        question
        for item in items
        for dimension in chosen
        for sample in range(samples)
        for question in questions_of(item, dimension, sample)
    )

    def missing() -> Iterator[Question]:
        for question in streamed(every, part):
            key = _key(question, tally.rater, rubric)
            if key in done:
                tally.resumed += 1
            elif key not in taken:
                yield question

    async def work(question: Question) -> None:
        salt, subject = question.dimension.name, question.subject
        request = question.request(prompts, question_seed(seed, subject, salt, question.sample))
        answered = await ask(policy, request, tally)
        if answered is None:
            return
        reply, error = answered
        rating = _rating(question, reply.text if reply else "", error, tally.rater, rubric)
        keep(rating)

    def keep(rating: Rating) -> None:
        log.write_line(rating.to_json(), f"a rating of episode '{rating.episode}'")
        tally.add(rating)
        if observe is not None:
            observe(rating)

    def take(file: Path) -> None:
        """Take in what a part asked."""
        for rating in iter_ratings(file):
            key = rated_key(rating)
            if key not in done and key not in taken:
                taken.add(key)
                keep(rating)

    whole = Path(out)
    with LineLog(file_of(whole, part)) as log:
        done.update(already_rated(whole))
        if part is None:
            take_parts(whole, take)
        else:
            done.update(key for file in part_files(whole) for key in already_rated(file))
        questions = missing()
        first = next(questions, None)
        if first is not None:
            await open_policy(policy)
            await for_each(chain([first], questions), work, concurrency, stop)
    return tally


def _key(question: Question, rater: str, rubric: Rubric) -> tuple[Hashable, ...]:
    """As in `already_rated`."""
    place = question.subject
    return (
        *(place.episode, place.utterance, place.candidate, question.dimension.name),
        *(question.sample, rater, rubric.id_of(question.dimension.name), question.first),
    )


def _rating(question: Question, text: str, error: str, rater: str, rubric: Rubric) -> Rating:
    """The rating that an answer gives; an answer without a value is kept in the notes."""
    answer = question.read(text)
    notes = dict(answer.notes)
    if answer.value is None:
        notes |= {"error": error} if error else {"answer": text}
    return Rating(
        episode=question.subject.episode,
        utterance=question.subject.utterance,
        candidate=question.subject.candidate,
        rater=rater,
        kind="judge",
        dimension=question.dimension.name,
        value=answer.value,
        explanation=answer.explanation,
        rubric=rubric.id_of(question.dimension.name),
        sample=question.sample,
        notes=notes or None,
    )


async def ask(
    policy: Policy, request: Request, tally: JudgeTally
) -> tuple[Reply | None, str] | None:
    """The reply, or why there can be none; None for a question that is to be asked another time.

    An answer in no readable form, and a question that the engine will always refuse, are missing
    values. If the engine cannot be reached, nothing is written.

    Raises:
        PolicyError: a fatal one.
    """
    try:
        return await ask_policy(policy, request), ""
    except UnreadableReply as error:
        return None, str(error)
    except PolicyError as error:
        if error.fatal:
            raise
        if not error.retryable:
            return None, str(error)
        tally.failed += 1
        tally.errors[f"{type(error).__name__}: {error.message}"] += 1
        return None


def already_rated(path: str | Path) -> set[tuple[Hashable, ...]]:
    """What a file of ratings holds already: subject, dimension, sample, rater, rubric, and for a
    comparison which text was shown first. Empty where there is no file."""
    if not Path(path).is_file():
        return set()
    return {rated_key(rating) for rating in iter_ratings(path)}


def rated_key(rating: Rating) -> tuple[Hashable, ...]:
    """What question a rating answers."""
    return (
        *(rating.episode, rating.utterance, rating.candidate, rating.dimension),
        *(rating.sample, rating.rater, rating.rubric, shown_first(rating)),
    )


def shown_first(rating: Rating) -> str | None:
    """Which text a comparison showed first, `A` or `B`; None for a rating that compares nothing."""
    first = (rating.notes or {}).get("first")
    return str(first) if first is not None else None


def check_counts(samples: int, concurrency: int) -> None:
    """Raises ConfigError unless both are at least 1."""
    problems = [
        f"{name} must be at least 1, not {value}"
        for name, value in (("samples", samples), ("concurrency", concurrency))
        if value < 1
    ]
    if problems:
        raise ConfigError("the judge cannot be asked like this", problems=problems)
