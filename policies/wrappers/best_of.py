"""`best_of`: several candidates, and the one that a scorer likes best."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from ...core.errors import ConfigError, PolicyError, did_you_mean
from ...core.seeds import salted_seed
from ..asking import ask_policy
from ..base import (
    Policy,
    Reply,
    Request,
    ScoringPolicy,
    capabilities_of,
    close_policy,
    open_policy,
    policy_name,
)
from ..registry import make_policy
from .base import Wrapper, together, total_usage, with_notes
from .ranking import (
    RUBRIC,
    ByFunction,
    ByLikelihood,
    ByRubric,
    Grade,
    Ranking,
    Score,
    Scorer,
)

T = TypeVar("T")


class BestOf(Wrapper):
    """Asks for several candidates at once and keeps the one with the highest score.

    The first candidate has the request's own seed, the others seeds derived from it; without a seed
    the candidates differ only as far as the engine draws them differently. Equal texts are scored
    once. Ties go to the earliest; where no score can be read, the first candidate stands. Requests
    with `choices` or `schema` are passed on as they are: their answers are not ranked by quality.

    A candidate or a score that fails with a `PolicyError` is missing, and named in the notes; a
    fatal error is raised, as is the first one if every candidate fails.

    Args:
        policy: the inner policy.
        n: candidates.
        scorer: who ranks. A policy, or the name of one, or its settings (`{policy = "scorer",
            model = "runs/scorer"}`). One that has `grade()` is asked by that; one with `score()`
            ranks by its mean log-probability (nats a token); any other is asked for a grade by the
            rubric. Or a function of request and reply that gives a number, or None where it has
            none. The inner policy by default. It is opened and closed with the wrapper.
        ranking: `rubric` or `likelihood`, where the scorer can do both; by default `likelihood` for
            a scorer with `score()`, else `rubric`.
        rubric: what the grades from 1 to 5 mean.

    Raises:
        ConfigError: `n` below 1, an unknown ranking or one that the scorer cannot do.

    The reply has the usage and the attempts of all calls together, the scorer's too; usage is None
    where one of them does not say. `Reply.notes["best_of"]` holds the scores.
    """

    kind = "best_of"

    def __init__(
        self,
        policy: Policy,
        *,
        n: int = 4,
        scorer: str | Mapping[str, Any] | Policy | Score | None = None,
        ranking: Ranking | None = None,
        rubric: str | None = None,
    ) -> None:
        super().__init__(policy)
        if n < 1:
            raise ConfigError(f"best_of needs at least one candidate, not {n}")
        self.n = n
        self._judge: Policy | None = None
        if scorer is None:
            self._scorer = _scorer(policy, ranking, rubric)
        elif isinstance(scorer, str | Mapping | Policy):
            self._judge = _scorer_policy(scorer)
            self._scorer = _scorer(self._judge, ranking, rubric)
        elif callable(scorer) and ranking is None and rubric is None:
            self._scorer = ByFunction(scorer)
        else:
            raise ConfigError(
                f"best_of cannot rank by {scorer!r}",
                hint="give a policy, its name, or (without ranking and rubric) a function",
            )

    async def open(self) -> None:
        """Open the inner policy and the scorer's."""
        await super().open()
        if self._judge is not None:
            await open_policy(self._judge)

    async def aclose(self) -> None:
        """Close both."""
        try:
            await super().aclose()
        finally:
            if self._judge is not None:
                await close_policy(self._judge)

    def describe(self) -> dict[str, Any]:
        """How many, who ranks, and the inner policy."""
        return {
            "policy": self.name,
            "n": self.n,
            "scorer": self._scorer.describe(),
            "inner": super().describe(),
        }

    async def respond(self, request: Request) -> Reply:
        if request.choices is not None or request.schema is not None:
            return await ask_policy(self.inner, request)
        started = time.perf_counter()
        answers = await together(
            _caught(ask_policy(self.inner, dataclasses.replace(request, seed=seed)))
            for seed in (salted_seed(request.seed, "best_of", k) if k else request.seed
                         for k in range(self.n))
        )  # fmt: skip
        candidates = {k: reply for k, reply in enumerate(answers) if isinstance(reply, Reply)}
        if not candidates:
            raise next(failure for failure in answers if isinstance(failure, PolicyError))
        graded = await self._grades(request, candidates)
        best = max(candidates, key=lambda k: (_value(graded.get(candidates[k].text)), -k))
        calls = [*candidates.values(), *_scorer_replies(graded)]
        failed = {
            str(k): _described(f) for k, f in enumerate(answers) if isinstance(f, PolicyError)
        }
        chosen = dataclasses.replace(
            candidates[best],
            usage=total_usage(calls),
            latency=time.perf_counter() - started,
            policy=f"{self.kind}({candidates[best].policy or policy_name(self.inner)})",
            attempts=sum(reply.attempts for reply in calls) + len(failed),
            cached=all(reply.cached for reply in calls),
        )
        return with_notes(chosen, self.kind, _notes(best, candidates, graded, failed))

    async def _grades(
        self, request: Request, candidates: dict[int, Reply]
    ) -> dict[str, Grade | PolicyError]:
        """The scorer's grade of each distinct text. One candidate needs no scorer."""
        if len(candidates) == 1:
            return {}
        texts: dict[str, Reply] = {}
        for reply in candidates.values():
            texts.setdefault(reply.text, reply)
        found = await together(_caught(self._scorer.grade(request, r)) for r in texts.values())
        return dict(zip(texts, found, strict=True))


def _scorer_policy(scorer: str | Mapping[str, Any] | Policy) -> Policy:
    """The scorer's policy, from its name or settings where it is not built yet."""
    if isinstance(scorer, str):
        return make_policy(scorer)
    if not isinstance(scorer, Mapping):
        return scorer
    options = dict(scorer)
    name = options.pop("policy", None)
    if not isinstance(name, str):
        raise ConfigError(
            f"the scorer's settings name no policy: {dict(scorer)!r}",
            hint="such as {policy = 'scorer', model = 'runs/scorer'}",
        )
    return make_policy(name, **options)


def _scorer(policy: Policy, ranking: Ranking | None, rubric: str | None) -> Scorer:
    if isinstance(policy, Scorer):  # a trained one grades without a rubric
        if ranking is not None or rubric is not None:
            raise ConfigError(
                f"'{policy_name(policy)}' grades without a rubric: ranking and rubric cannot be set"
            )
        return policy
    able = capabilities_of(policy)
    can_score = isinstance(policy, ScoringPolicy) and (able is None or able.score)
    if ranking is None:
        ranking = "likelihood" if can_score and rubric is None else "rubric"
    if ranking == "likelihood":
        if rubric is not None:
            raise ConfigError("best_of has no use for a rubric when it ranks by likelihood")
        if not (can_score and isinstance(policy, ScoringPolicy)):
            raise ConfigError(
                f"best_of cannot rank by likelihood: '{policy_name(policy)}' has no score()",
                hint="the transformers and vllm policies have it",
            )
        return ByLikelihood(policy)
    if ranking != "rubric":
        raise ConfigError(
            f"ranking must be 'rubric' or 'likelihood', not {ranking!r}",
            hint=did_you_mean(str(ranking), ("rubric", "likelihood")),
        )
    return ByRubric(policy, RUBRIC if rubric is None else rubric)


async def _caught(question: Coroutine[Any, Any, T]) -> T | PolicyError:
    """The answer, or the failure if the run can go on without it."""
    try:
        return await question
    except PolicyError as failure:
        if failure.fatal:
            raise
        return failure


def _value(graded: Grade | PolicyError | None) -> float:
    """For comparing: a missing score is below every other."""
    value = graded.value if isinstance(graded, Grade) else None
    return float("-inf") if value is None else value


def _scorer_replies(graded: dict[str, Grade | PolicyError]) -> list[Reply]:
    """The scorer's own replies."""
    return [g.reply for g in graded.values() if isinstance(g, Grade) and g.reply is not None]


def _described(failure: PolicyError) -> str:
    return f"{type(failure).__name__}: {failure.message}"


def _notes(
    best: int,
    candidates: dict[int, Reply],
    graded: dict[str, Grade | PolicyError],
    failed: dict[str, str],
) -> dict[str, Any]:
    """What is recorded: texts and scores by candidate, who was chosen, and what failed."""
    found = {k: graded.get(reply.text) for k, reply in candidates.items()}
    notes: dict[str, Any] = {
        "chosen": best,
        "texts": {str(k): reply.text for k, reply in candidates.items()},
        "scores": {str(k): g.value if isinstance(g, Grade) else None for k, g in found.items()},
    }
    if failed:
        notes["failed"] = failed
    if lost := {str(k): _described(g) for k, g in found.items() if isinstance(g, PolicyError)}:
        notes["scorer_failed"] = lost
    return notes
