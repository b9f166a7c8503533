"""Asks a judge about logged episodes: a score for each subject on each dimension of a rubric.

The log is read, never changed. Asking, storing and resuming are in `asking.py`.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...environments.episodes.episode import Episode
from ...policies.base import Policy, Request, Sampling
from ..replies.reply import Setting
from .asking import Answer, JudgeTally, OnRating, ask_all
from .questions import JudgePrompts, Subject, question_seed, read_verdict, subjects
from .rubric import Dimension, Rubric

Place = tuple[str, int | None]


@dataclass(frozen=True, slots=True)
class _Grading:
    """Asks for the score of one subject on one dimension."""

    subject: Subject
    dimension: Dimension
    sample: int
    rubric: Rubric
    first: str | None = None

    def request(self, prompts: JudgePrompts, seed: int) -> Request:
        return prompts.single(self.subject, self.dimension, seed)

    def read(self, text: str) -> Answer:
        verdict = read_verdict(text, self.dimension, self.rubric)
        notes: dict[str, Any] = {} if verdict.score is None else {"score": verdict.score}
        if verdict.faults:
            notes["faults"] = list(verdict.faults)
        return Answer(verdict.value, verdict.explanation, notes)


async def judge(
    episodes: Iterable[Episode | Subject],
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
    part: str | None = None,
) -> JudgeTally:
    """Judge each subject of the episodes on each dimension.

    Args:
        episodes: may be a stream; those that ended in an error are left out. Or what is judged
            itself, see `reply_subjects`.
        policy: the judge; opened here, closed by the caller.
        rubric: what is asked.
        out: the file of ratings; appended to.
        dimensions: names of some; all of the rubric by default.
        samples: answers to each question, each with its own seed.
        concurrency: questions asked at the same time.
        seed: of the calls.
        rater: the judge's name in the ratings; the policy's by default.
        sampling: overrides single fields of temperature 0.8, top-p 0.95, top-k 50 (Self-Evolution
            App. E.2).
        template: prompts other than ours.
        only: judge only these subjects; see `draw_subjects`.
        observe: called with each new rating.
        stop: once set, no new question is asked and those in flight are finished.
        part: one part of the questions only, see `ask_all`.

    Raises:
        Interrupted: `stop` was set.
        ConfigError: impossible samples or concurrency.
        DataError: an unknown dimension, or a file of ratings that cannot be read.
        RunError: the file of ratings is being written by another process, or the disk is full.
        PolicyError: one that every other question would meet too.
    """
    chosen = (
        subject
        for subject in _all_subjects(episodes, rubric)
        if only is None or (subject.episode, subject.utterance) in only
    )
    return await ask_all(
        chosen,
        lambda subject, dimension, sample: [_Grading(subject, dimension, sample, rubric)],
        policy,
        rubric,
        out=out,
        dimensions=dimensions,
        samples=samples,
        concurrency=concurrency,
        seed=seed,
        rater=rater,
        sampling=sampling,
        template=template,
        observe=observe,
        stop=stop,
        part=part,
    )


def _all_subjects(episodes: Iterable[Episode | Subject], rubric: Rubric) -> Iterator[Subject]:
    for each in episodes:
        if isinstance(each, Subject):
            yield each
        elif not each.stop.failed:
            yield from subjects(each, rubric)


def draw_subjects(
    episodes: Iterable[Episode | Subject], rubric: Rubric, count: int, seed: int
) -> set[Place]:
    """A seeded sample of places (Self-Evolution judges 100 contexts), decided by their ids and not
    by their order; several texts for one place are drawn together."""
    ranked = (
        (
            question_seed(seed, replace(subject, candidate=""), "draw", 0),
            subject.episode,
            -1 if subject.utterance is None else subject.utterance,
        )
        for subject in _all_subjects(episodes, rubric)
    )
    least = heapq.nsmallest(len(Setting) * count, ranked)  # a place may be there in each context
    sample = list(dict.fromkeys(least))[:count]
    return {(episode, None if index < 0 else index) for _, episode, index in sample}
