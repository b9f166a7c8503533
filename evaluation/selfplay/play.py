"""Paired self-play: the same seekers and seeds against two supporters, then a judge.

Both sides play the same scenarios with the same seeds, seeker, counselor and judger; only the
supporter differs. So what differs between the two conversations about one scenario comes from the
supporters, and differences are taken scenario by scenario. Seeds of one scenario are not
independent; intervals and tests take the scenario as the unit.

On disk: `OUT/a/seed-0/` and `OUT/b/seed-0/` are runs with their ratings beside the log,
`OUT/comparisons-seed-0.jsonl` holds comparisons, `OUT/selfplay.json` and `OUT/tables.md` the
result.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from functools import partial
from pathlib import Path
from typing import Any

from ...agents.roles import Role
from ...core.errors import ConfigError
from ...core.files import write_whole
from ...environments.episodes.log import read_episodes
from ...environments.episodes.rating import RATINGS_NAME, Rating, iter_ratings
from ...environments.episodes.sequence import Episodes
from ...environments.runs.simulate import (
    build_environment,
    choose_scenarios,
    simulate_settings,
)
from ...environments.scenarios.scenario import Scenario
from ...environments.shards.parts import Parts
from ...environments.shards.run import play_batch
from ...policies.base import Policy, close_policy
from ...policies.concurrency import open_conversations
from ...policies.registry import make_policy
from ..judging.asking import JudgeTally, OnRating
from ..judging.judge import judge
from ..judging.pairwise import compare, episode_pairs, win_rates
from ..judging.rubric import Rubric, load_rubric
from .page import page
from .result import SelfPlayResult, episode_scores, outcomes, plain_measures
from .settings import SIDES, SelfPlaySettings

RESULT_NAME = "selfplay.json"
TABLES_NAME = "tables.md"


async def self_play(
    settings: SelfPlaySettings,
    *,
    a: Any = None,
    b: Any = None,
    judge_policy: Policy | None = None,
    seats: Mapping[Role, Any] | None = None,
    scenarios: Sequence[Scenario] | None = None,
    observe: Callable[[Any], None] | None = None,
    on_rating: OnRating | None = None,
    stop: asyncio.Event | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> SelfPlayResult:
    """Play, judge and compare. The same call again does only what is missing.

    Args:
        settings: scenarios, limits, seats, seeds and the folder.
        a, b: supporters as policies or agents, in place of `settings.a` and `settings.b`.
        judge_policy: in place of `settings.judge`.
        seats: seeker, counselor and judger as policies or agents.
        scenarios: in place of those that the settings name.
        observe: events of the runs: those of `run_batch`, or of `run_sharded` with workers.
        on_rating: called with each new rating.
        say: told what becomes of workers that judge.
        stop: once set, what is in progress is finished and the rest is left for the next call.

    Raises:
        ConfigError: the two sides are the same, no judge is named, or seats has a supporter.
        Interrupted: `stop` was set.
        WarmlineError: see `run_batch` and `judge`.
    """
    seats = dict(seats or {})
    if Role.SUPPORTER in seats:
        raise ConfigError("the supporters of self-play are a and b; leave that seat out")
    if a is None and b is None and settings.a == settings.b:
        raise ConfigError(
            "both sides are the same supporter",
            hint="give --a.policy and --b.policy, or --a.model and --b.model",
        )
    if judge_policy is None and settings.judge.policy is None:
        raise ConfigError("no judge is named", hint="give --judge.policy")
    rubric = load_rubric(settings.rubric)
    chosen = choose_scenarios(settings.of("a", settings.seeds[0]), scenarios)
    ready = {"a": a, "b": b}
    for seed in settings.seeds:
        for side in SIDES:
            extra = {} if ready[side] is None else {Role.SUPPORTER: ready[side]}
            run, taken = settings.of(side, seed), {**seats, **extra}
            if settings.sharded:
                environment = build_environment(run, taken)
                await play_batch(
                    settings,
                    environment,
                    chosen,
                    settings=run,
                    seed=seed,
                    observe=observe,
                    stop=stop,
                )
            else:
                await simulate_settings(
                    run, seats=taken, scenarios=chosen, observe=observe, stop=stop
                )
    names = frozenset(scenario.id for scenario in chosen)
    if settings.sharded:
        do = partial(_judge_part, settings, judge_policy, rubric, names)
        await Parts(do, Path(settings.out or ""), settings, say).run(stop)
    await _judge_all(settings, judge_policy, rubric, names, observe=on_rating, stop=stop)
    result = result_of(settings, rubric, names)
    folder = Path(settings.out or "")
    data = json.dumps(result.as_dict(), indent=2, ensure_ascii=False) + "\n"
    write_whole(folder / RESULT_NAME, data)
    write_whole(folder / TABLES_NAME, page(result))
    return result


async def _judge_part(
    settings: SelfPlaySettings,
    policy: Policy | None,
    rubric: Rubric,
    names: Set[str],
    part: str,
    stop: asyncio.Event,
) -> None:
    """What a worker does of the judge's questions."""
    await _judge_all(settings, policy, rubric, names, part=part, stop=stop)


async def _judge_all(
    settings: SelfPlaySettings,
    given: Policy | None,
    rubric: Rubric,
    names: Set[str],
    **more: Any,
) -> None:
    policy = given
    if policy is None:
        policy = make_policy(settings.judge.policy or "", **settings.judge.policy_options())
    try:
        await _judge_each(settings, policy, rubric, names, more)
    finally:
        if given is None:
            await close_policy(policy)


async def _judge_each(
    settings: SelfPlaySettings,
    policy: Policy,
    rubric: Rubric,
    names: Set[str],
    more: Mapping[str, Any],
) -> None:
    how: dict[str, Any] = {
        "samples": settings.samples,
        "concurrency": settings.concurrency or open_conversations([policy]),
        "sampling": settings.judge.sampling(),
        **more,
    }
    for seed in settings.seeds:
        played = {side: _episodes(settings, side, seed, names) for side in SIDES}
        for side in SIDES:
            out = settings.folder(side, seed) / RATINGS_NAME
            _refuse_unfinished(await judge(played[side], policy, rubric, out=out, seed=seed, **how))
        if settings.pairwise:
            pairs = episode_pairs(played["a"], played["b"])
            out = _comparisons(settings, seed)
            _refuse_unfinished(
                await compare(pairs, policy, rubric_of_pairs(rubric), out=out, seed=seed, **how)
            )


def rubric_of_pairs(rubric: Rubric) -> Rubric:
    """The rubric for whole conversations, which are what is compared."""
    return rubric if rubric.subject == "episode" else load_rubric("dialogue")


def _refuse_unfinished(tally: JudgeTally) -> None:
    if tally.failed:
        errors = "; ".join(f"{text} ({count} times)" for text, count in tally.errors.most_common(3))
        raise ConfigError(
            f"the judge did not answer {tally.failed} questions: {errors}",
            hint="check its engine; the same command asks only those again",
        )


def _episodes(settings: SelfPlaySettings, side: str, seed: int, names: Set[str]) -> Episodes:
    played = read_episodes(settings.folder(side, seed))
    return played.chosen([name for name in played.ids if name in names])


def _comparisons(settings: SelfPlaySettings, seed: int) -> Path:
    return Path(settings.out or "") / f"comparisons-seed-{seed}.jsonl"


def result_of(settings: SelfPlaySettings, rubric: Rubric, names: Set[str]) -> SelfPlayResult:
    """The result from the folders alone."""
    scores: dict[str, dict[tuple[str, int], dict[str, float]]] = {}
    failed, unreadable = dict.fromkeys(SIDES, 0), 0
    for side in SIDES:
        scores[side] = {}
        for seed in settings.seeds:
            episodes = _episodes(settings, side, seed, names)
            ratings = [
                rating
                for rating in iter_ratings(settings.folder(side, seed))
                if rating.rubric == rubric.id_of(rating.dimension)
                and rating.sample < settings.samples
            ]
            unreadable += sum(rating.value is None for rating in ratings)
            judged = episode_scores(ratings)
            for episode in episodes:
                ok = not episode.stop.failed
                failed[side] += not ok
                scores[side][(episode.id, seed)] = (
                    {**judged.get(episode.id, {}), **plain_measures(episode)} if ok else {}
                )
    measures = [d.name for d in rubric.dimensions]
    return SelfPlayResult(
        scenarios=len(names),
        seeds=settings.seeds,
        failed=failed,
        unreadable=unreadable,
        outcomes=outcomes(scores["a"], scores["b"], measures),
        wins=win_rates(_all_comparisons(settings, rubric)) if settings.pairwise else [],
    )


def _all_comparisons(settings: SelfPlaySettings, rubric: Rubric) -> Iterable[Rating]:
    """By this rubric, all seeds in one list; each seed's samples get numbers of their own."""
    asked = rubric_of_pairs(rubric)
    for place, seed in enumerate(settings.seeds):
        path = _comparisons(settings, seed)
        for rating in iter_ratings(path) if path.is_file() else ():
            if rating.rubric == asked.id_of(rating.dimension) and rating.sample < settings.samples:
                number = place * settings.samples + rating.sample
                yield rating.model_copy(update={"sample": number})
