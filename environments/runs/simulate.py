"""The main job in one call: settings to seats, scenarios to episodes."""

from __future__ import annotations

import asyncio
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ...agents.base import Agent
from ...agents.counselor import StrategyCounselor
from ...agents.judger import Judger
from ...agents.roles import Role
from ...agents.seeker import Seeker
from ...agents.supporter import Supporter
from ...core.errors import ConfigError, Interrupted, did_you_mean
from ...core.stores.store import folder_of, kept
from ...core.tasks import run_interruptible
from ...policies.base import Policy, close_policy
from ...policies.registry import make_policy
from ..dialogue.defaults import limits_for, sampling_for, wants_openings
from ..dialogue.environment import SupportEnvironment
from ..dialogue.limits import Limits
from ..episodes.episode import Episode
from ..episodes.log import read_episodes
from ..scenarios.problem_types import problem_types
from ..scenarios.samples import Samples, ids_of
from ..scenarios.scenario import Scenario
from ..scenarios.seed_pool import draw_scenarios, seed_scenarios
from .events import BatchEvent, BatchObserver, Ended, Resumed
from .progress import ProgressLine, is_interactive
from .recorded import scenarios_at
from .runner import run_batch
from .settings import RoleSettings, RunSettings, load_settings
from .trained import shown_template, trained_form

AGENTS: dict[Role, type[Agent[Any, Any]]] = {
    Role.SEEKER: Seeker,
    Role.COUNSELOR: StrategyCounselor,
    Role.SUPPORTER: Supporter,
    Role.JUDGER: Judger,
}
DEFAULT_EPISODES = 8

T = TypeVar("T")


def simulate(
    *,
    policy: str | Policy | None = None,
    seeker: Any = None,
    counselor: Any = None,
    supporter: Any = None,
    judger: Any = None,
    scenarios: str | Path | Sequence[Scenario] | None = None,
    out: str | Path | None = None,
    observe: BatchObserver | None = None,
    progress: bool | None = None,
    **settings: Any,
) -> Sequence[Episode]:
    """Simulate conversations and return them. Works in scripts and in notebooks.

    With `out` the episodes returned are an `Episodes`: as a list, but a record is read when it is
    asked for.

    The first Ctrl-C lets the open conversations finish, a second one drops them. What is finished is
    then returned, and a line on standard error says how many are missing; SIGTERM and SIGHUP do the
    same within `grace` seconds, and end the process.

    Args:
        policy: for every seat; a name, an import string or a policy object.
        seeker, counselor, supporter, judger: one seat: a policy's name, a mapping of `RoleSettings`
            fields, an agent, a policy object or an AutoGen agent; False leaves counselor or judger
            out.
        scenarios: a JSONL file or scenarios; drawn from the seed pool by default.
        out: the run's folder; the same call again resumes it.
        observe: see `run_batch`.
        progress: count the finished episodes on standard error; by default on a terminal and in a
            notebook.
        settings: any other field of `RunSettings`, such as `episodes`, `seed`, `max_turns`.

    Raises:
        WarmlineError: see `run_batch`; unknown settings are refused with a suggestion.
        SystemExit: after SIGTERM or SIGHUP.

    Example:
        ```python
        episodes = warmline.simulate(episodes=4, policy="embedded", seed=7, out="runs/first")
        ```
    """
    given: dict[str, Any] = dict(settings)
    objects: dict[Role, Any] = {}
    if isinstance(policy, str):
        given["policy"] = policy
    elif policy is not None:
        objects = dict.fromkeys(Role, policy)
    seats = {
        Role.SEEKER: seeker,
        Role.COUNSELOR: counselor,
        Role.SUPPORTER: supporter,
        Role.JUDGER: judger,
    }
    for role, choice in seats.items():
        _take_seat(role, choice, given, objects)
    if out is not None:
        given["out"] = str(out)
    if isinstance(scenarios, str | Path):
        given["scenarios"] = str(scenarios)
    chosen = load_settings(given=given)
    listed = None if isinstance(scenarios, str | Path) else scenarios
    return _simulate_watched(chosen, objects, listed, observe, progress)


def _simulate_watched(
    settings: RunSettings,
    seats: Mapping[Role, Any],
    scenarios: Sequence[Scenario] | None,
    observe: BatchObserver | None,
    progress: bool | None,
) -> Sequence[Episode]:
    """The run, with its progress shown; what is finished, where it is interrupted."""
    played = choose_scenarios(settings, scenarios)
    line = ProgressLine(len(played))
    shown = is_interactive() if progress is None else progress
    ended: dict[str, Episode | None] = {}
    made: list[Sequence[Episode]] = []

    def watch(event: BatchEvent) -> None:
        if isinstance(event, Ended):  # where there is a folder, it is in the log
            ended[sys.intern(event.episode.id)] = event.episode if settings.out is None else None
        elif isinstance(event, Resumed):
            ended.update(dict.fromkeys(event.episodes.ids))
        if shown:
            line(event)
        if observe is not None:
            observe(event)

    async def work(stop: asyncio.Event) -> None:
        made.append(
            await simulate_settings(
                settings, seats=seats, scenarios=played, observe=watch, stop=stop
            )
        )

    try:
        with kept(settings.out or ""):
            interrupted = run_interruptible(work, line.say, grace=settings.grace)
    finally:
        line.end()
    if interrupted is not None:
        line.say(str(interrupted))
        if interrupted.exit_code != Interrupted.exit_code:
            raise SystemExit(interrupted.exit_code)
    if made:
        return made[0]
    if settings.out is not None:
        names = [name for name in ids_of(played) if name in ended]
        return read_episodes(folder_of(settings.out)).chosen(names)
    found = (ended.get(scenario.id) for scenario in played)
    return [episode for episode in found if episode is not None]


def _take_seat(role: Role, choice: Any, given: dict[str, Any], objects: dict[Role, Any]) -> None:
    if choice is None:
        return
    if isinstance(choice, str):
        choice = {"policy": choice}
    elif isinstance(choice, RoleSettings):
        choice = choice.model_dump(exclude_defaults=True)
    elif isinstance(choice, bool):
        choice = {"seated": choice}
    if not isinstance(choice, Mapping):
        objects[role] = choice
        return
    if "policy" in choice:
        objects.pop(role, None)
    given[role.value] = dict(choice)


async def simulate_settings(
    settings: RunSettings,
    *,
    seats: Mapping[Role, Any] | None = None,
    scenarios: Sequence[Scenario] | None = None,
    observe: BatchObserver | None = None,
    stop: asyncio.Event | None = None,
) -> Sequence[Episode]:
    """Run the conversations that the settings describe; `seats` holds ready agents or policies for
    some roles.

    Policies made here are closed at the end; those in `seats` stay open, they are the caller's.
    """
    seats = seats or {}
    environment = build_environment(settings, seats)
    chosen = choose_scenarios(settings, scenarios)
    given = {id(getattr(seat, "policy", seat)) for seat in seats.values()}
    try:
        return await run_batch(
            environment,
            chosen,
            out=settings.out and folder_of(settings.out),
            concurrency=settings.concurrency,
            seed=settings.seed,
            retry_failed=settings.retry_failed,
            observe=observe,
            stop=stop,
            settings=settings.model_dump(exclude_defaults=True),
            prices=settings.prices,
        )
    finally:
        for policy in environment.policies():
            if id(policy) not in given:
                await close_policy(policy)


def build_environment(
    settings: RunSettings, seats: Mapping[Role, Any] | None = None
) -> SupportEnvironment:
    """The environment that the settings describe. Seats with equal engines share one policy.

    Args:
        settings: the run's settings.
        seats: ready agents, policies or AutoGen agents; they take precedence.

    Raises:
        ConfigError: an unknown policy or option, an empty seat that must be taken.
    """
    seats = seats or {}
    shared: dict[str, Policy] = {}
    agents: dict[str, Any] = {}
    for role in Role:
        chosen = settings.role(role)
        if not chosen.seated:
            if role in (Role.SEEKER, Role.SUPPORTER):
                raise ConfigError(f"the {role.value}'s seat cannot be left empty")
            continue
        ready = seats.get(role)
        if ready is not None and (isinstance(ready, Agent) or not hasattr(ready, "respond")):
            agents[role.value] = ready
            continue
        policy = ready or _shared_policy(chosen, shared)
        agents[role.value] = _agent(role, policy, chosen)
    given = {name: getattr(settings, name) for name in Limits.model_fields}
    limits = limits_for(given, {Role(name): seat for name, seat in agents.items()})
    _warn_untrained(agents[Role.SUPPORTER.value], limits["case_dialogues"])
    return SupportEnvironment(**agents, speculative=settings.speculative, **limits)


def _warn_untrained(supporter: Any, cases: int) -> None:
    """Say where a trained supporter is not asked as it was trained, and how it would be."""
    form = trained_form(supporter.policy) if isinstance(supporter, Agent) else None
    if form is None or not form.asked_otherwise(supporter, cases):
        return
    warnings.warn(
        f"the supporter's model was trained on prompts of {form.named}, with {form.cases} case"
        f" dialogues, and is asked with {shown_template(supporter.template.source)} and {cases}; as it was trained:"
        f" {form.options()}",
        stacklevel=3,
    )


def _shared_policy(chosen: RoleSettings, shared: dict[str, Policy]) -> Policy:
    name, options = chosen.policy or "", chosen.policy_options()
    key = repr((name, sorted(options.items(), key=str)))
    if key not in shared:
        shared[key] = make_policy(name, **options)
    return shared[key]


def _agent(role: Role, policy: Policy, chosen: RoleSettings) -> Agent[Any, Any]:
    extra: dict[str, Any] = {}
    speaks = role in (Role.SEEKER, Role.SUPPORTER)
    if speaks:
        extra["openings"] = wants_openings(policy) if chosen.openings is None else chosen.openings
    elif chosen.openings is not None:
        raise ConfigError(f"the {role.value} has no openings; only seeker and supporter do")
    template = chosen.template or (chosen.strategy.template() if chosen.strategy else None)
    sampling = sampling_for(role, policy, chosen.sampling())
    return AGENTS[role](policy, template=template, sampling=sampling, **extra)


def choose_scenarios(
    settings: RunSettings, scenarios: Sequence[Scenario] | None = None
) -> Sequence[Scenario]:
    """The scenarios of a run: given, from a file or a corpus, or drawn from the seed pool.

    A given list or file is played in its order, and from the start again (as `<id>~2`) if more
    episodes are asked for; the seed pool is drawn from in seeded random order.

    Raises:
        DataError: a scenario file that cannot be used.
        ConfigError: an unknown problem type, or no scenario left of those asked for.
    """
    if scenarios is None and settings.scenarios is not None:
        scenarios = scenarios_at(settings.scenarios)
    pool = seed_scenarios() if scenarios is None else scenarios
    if settings.problem_types:
        pool = _of_types(pool, settings.problem_types)
    if not pool:
        raise ConfigError("there is no scenario to play")
    if scenarios is None:
        return draw_scenarios(settings.episodes or DEFAULT_EPISODES, seed=settings.seed, pool=pool)
    count = settings.episodes or len(pool)
    return Samples(pool, ((i % len(pool), i // len(pool) + 1) for i in range(count)))


def _of_types(pool: Sequence[Scenario], wanted: Sequence[str]) -> list[Scenario]:
    known = {scenario.problem_type for scenario in pool} | problem_types().keys()
    unknown = [
        f"'{name}'" + (f"; {hint}" if (hint := did_you_mean(name, known)) else "")
        for name in wanted
        if name not in known
    ]
    if unknown:
        raise ConfigError(
            "unknown problem types", problems=unknown, hint="`warmline types` lists all"
        )
    return [scenario for scenario in pool if scenario.problem_type in wanted]
