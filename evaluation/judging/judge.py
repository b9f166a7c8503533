"""Asks a judge about logged episodes, many at once; every answer is a rating in a file.

Nothing is generated again but the verdicts: the log is read, never changed. What a file of ratings
already holds (same subject, dimension, sample, rater and rubric) is not asked again, so the same
command goes on where it was stopped.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...core.errors import ConfigError, PolicyError, UnreadableReply
from ...core.jsonl import LineLog
from ...core.tasks import for_each
from ...environments.episodes.episode import Episode, StopReason
from ...environments.episodes.rating import Rating, iter_ratings
from ...policies.asking import ask_policy
from ...policies.base import Policy, Reply, Request, Sampling, open_policy, policy_name
from .questions import Questions, Subject, question_seed, read_verdict, subjects
from .rubric import Dimension, Rubric

OnRating = Callable[[Rating], None]
Place = tuple[str, int | None]


@dataclass(slots=True)
class Tally:
    """What one command did.

    Attributes:
        rater: the judge's name in the ratings.
        asked: answers that became ratings now.
        resumed: ratings that were there already.
        unreadable: of those asked now, by dimension, how many have no value.
        failed: questions without an answer (the engine went away, say); the same command asks them
            again. The messages are counted in `errors`.
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
class _Job:
    subject: Subject
    dimension: Dimension
    sample: int


async def judge(
    episodes: Iterable[Episode],
    policy: Policy,
    rubric: Rubric,
    *,
    out: str | Path,
    dimensions: tuple[str, ...] = (),
    samples: int = 1,
    concurrency: int = 8,
    seed: int = 0,
    rater: str | None = None,
    sampling: Sampling | None = None,
    template: str | Path | None = None,
    only: Set[Place] | None = None,
    observe: OnRating | None = None,
    stop: asyncio.Event | None = None,
) -> Tally:
    """Judge each subject of the episodes on each dimension.

    Args:
        episodes: a stream will do; those that ended in an error are left out.
        policy: the judge; opened here, closing it is the caller's.
        rubric: what is asked.
        out: the file of ratings; appended to.
        dimensions: names of some; all of the rubric by default.
        samples: answers to each question, with seeds of their own.
        concurrency: questions in flight.
        seed: of the calls.
        rater: the judge's name in the ratings; the policy's by default.
        sampling: laid over temperature 0.8, top-p 0.95, top-k 50 (Self-Evolution App. E.2).
        template: prompts other than ours.
        only: judge these subjects alone; see `draw_subjects`.
        observe: called with each new rating.
        stop: once set, no new question is asked and those in flight are finished.

    Raises:
        Interrupted: `stop` was set.
        ConfigError: impossible samples or concurrency.
        DataError: an unknown dimension, or a file of ratings that cannot be read.
        RunError: the file of ratings is being written by another process, or the disk is full.
        PolicyError: one that every other question would meet too.
    """
    chosen = rubric.only(dimensions)
    check_counts(samples, concurrency)
    name = rater or policy_name(policy)
    questions = Questions(policy, rubric, sampling=sampling, template=template)
    tally = Tally(name)
    done: set[tuple[Hashable, ...]] = set()

    def jobs() -> Iterator[_Job]:
        for episode in episodes:
            if episode.stop is StopReason.ERROR:
                continue
            for subject in subjects(episode, rubric):
                if only is not None and (subject.episode, subject.utterance) not in only:
                    continue
                for dimension in chosen:
                    for sample in range(samples):
                        key = (subject.episode, subject.utterance, subject.candidate)
                        if (*key, dimension.name, sample, name, rubric.id, None) in done:
                            tally.resumed += 1
                        else:
                            yield _Job(subject, dimension, sample)

    async def work(job: _Job) -> None:
        subject, dimension = job.subject, job.dimension
        request = questions.single(
            subject, dimension, question_seed(seed, subject, dimension.name, job.sample)
        )
        answer = await ask(policy, request, tally)
        if answer is None:
            return
        reply, error = answer
        verdict = read_verdict(reply.text if reply else "", dimension, rubric)
        notes: dict[str, Any] = {"score": verdict.score} if verdict.score is not None else {}
        if verdict.faults:
            notes["faults"] = list(verdict.faults)
        if verdict.value is None:
            notes |= {"error": error} if error else {"answer": reply.text if reply else ""}
        rating = Rating(
            episode=subject.episode,
            utterance=subject.utterance,
            candidate=subject.candidate,
            rater=name,
            kind="judge",
            dimension=dimension.name,
            value=verdict.value,
            explanation=verdict.explanation,
            rubric=rubric.id,
            sample=job.sample,
            notes=notes or None,
        )
        log.write_line(rating.to_json(), f"a rating of episode '{rating.episode}'")
        tally.add(rating)
        if observe is not None:
            observe(rating)

    with LineLog(out) as log:
        done.update(rated(out))
        await open_policy(policy)
        await for_each(jobs(), work, concurrency, stop)
    return tally


def draw_subjects(episodes: Iterable[Episode], rubric: Rubric, count: int, seed: int) -> set[Place]:
    """A seeded sample of subjects (Self-Evolution judges 100 contexts); decided by ids, not by their order."""
    ranked = (
        (
            question_seed(seed, subject, "draw", 0),
            subject.episode,
            -1 if subject.utterance is None else subject.utterance,
        )
        for episode in episodes
        if episode.stop is not StopReason.ERROR
        for subject in subjects(episode, rubric)
    )
    drawn = heapq.nsmallest(count, ranked)
    return {(episode, None if index < 0 else index) for _, episode, index in drawn}


async def ask(policy: Policy, request: Request, tally: Tally) -> tuple[Reply | None, str] | None:
    """The reply, or why there can be none; None for a question that is to be asked another time.

    An answer in no readable form, and a question that the engine will always refuse, are missing
    values. An engine that is away is neither: nothing is written.

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


def rated(path: str | Path) -> set[tuple[Hashable, ...]]:
    """What a file of ratings holds already: subject, dimension, sample, rater, rubric, and for a
    comparison which was shown first. Empty where there is no file."""
    if not Path(path).is_file():
        return set()
    return {
        (r.episode, r.utterance, r.candidate, r.dimension, r.sample, r.rater, r.rubric, shown(r))
        for r in iter_ratings(path)
    }


def shown(rating: Rating) -> str | None:
    """Which text a comparison showed first, `A` or `B`; None for what is no comparison."""
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
        raise ConfigError("the judge cannot be asked so", problems=problems)
