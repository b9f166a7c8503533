"""`run_sharded`, and any batch of conversations by as many workers as settings say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...core.errors import ConfigError, Interrupted
from ...core.stores.store import folder_of, kept
from ...core.tasks import GRACE, run_interruptible
from ..dialogue.environment import SupportEnvironment
from ..episodes.episode import Episode
from ..episodes.sequence import Episodes
from ..runs.runner import run_batch
from ..runs.settings import RunSettings, load_settings
from ..runs.simulate import choose_scenarios
from ..scenarios.scenario import Scenario
from .settings import Place, RaySettings, ShardSettings, SlurmSettings, refuse_store
from .sharded import RunEvent, RunObserver, ShardedRun
from .view import ShardLines
from .work import EnvironmentSource, Itself


def run_sharded(
    environment: SupportEnvironment
    | EnvironmentSource
    | RunSettings
    | Mapping[str, Any]
    | str
    | Path,
    scenarios: Sequence[Scenario] | None = None,
    *,
    out: str | Path,
    workers: int | None = None,
    on: Place = "local",
    ray: RaySettings | Mapping[str, Any] | None = None,
    slurm: SlurmSettings | Mapping[str, Any] | None = None,
    seed: int | None = None,
    concurrency: int | None = None,
    retry_failed: bool = False,
    observe: RunObserver | None = None,
) -> Episodes:
    """Play one conversation for each scenario, by several workers.

    Each worker is a process with an event loop, engines and connections of its own, and a log of its
    own in the run's folder. Scenarios are given out in small leases. A worker that is lost costs its
    open conversations, which are played again. The same call again plays only what is missing, with
    any number of workers; so does `simulate` or `run_batch` on the same folder. Seeds derive from
    `seed`, the scenario's id and the call's number, so workers change no word.

    The first Ctrl-C lets open conversations finish, a second one drops them, as in `simulate`.

    Args:
        environment: settings of the run (a record, a mapping, or the path of a TOML file); or an
            environment, which is sent to the workers with its policies not open; or a function
            without arguments that makes one in each worker.
        scenarios: with distinct ids; those that the settings choose by default.
        out: the run's folder; or a URL of a store, see `core.stores.store`.
        workers: processes; by default one for each core of this machine, or as many as a cluster
            has room for.
        on: where they are started: `local`, `ray`, or `slurm`, where an array is submitted and
            waited for.
        ray: how they are placed on Ray: fields of `RaySettings`.
        slurm: what the array asks for: fields of `SlurmSettings`.
        seed: the run's seed; by default that of the settings, or 0.
        concurrency: episodes in flight in each worker; by default as in `run_batch`.
        retry_failed: play again the logged episodes that ended in an error.
        observe: called with `Found`, and with the events of `core.shards.driver`.

    Returns:
        The finished episodes in the order of the scenarios; all of them unless it was interrupted.

    Raises:
        ConfigError: settings, repeated scenario ids or a number of workers that cannot be.
        RunError: the folder holds a run with other settings (the difference is shown), the log is in
            use, or workers are lost again and again.
        PolicyError: one that every other episode would meet too (a wrong key, say).
        SystemExit: after SIGTERM or SIGHUP.

    Example:
        ```python
        episodes = warmline.run_sharded(
            {"policy": "openai", "model": "qwen3-8b", "episodes": 2000}, out="runs/many", workers=4
        )
        ```
    """
    who = ShardSettings(
        workers=workers, on=on, ray=ray or RaySettings(), slurm=slurm or SlurmSettings()
    )
    who.refuse_idle({name: of for name, of in (("ray", ray), ("slurm", slurm)) if of is not None})
    settings = _settings_of(environment)
    if settings is not None:
        changes = {"out": str(out), "retry_failed": retry_failed or settings.retry_failed}
        given = {"seed": seed, "concurrency": concurrency}
        changes |= {name: value for name, value in given.items() if value is not None}
        settings = settings.model_copy(update=changes)
        run = ShardedRun.of_settings(settings, choose_scenarios(settings, scenarios))
    elif scenarios is None:
        raise ConfigError("an environment needs scenarios to play", hint="scenarios=[...]")
    else:
        source = Itself(environment) if isinstance(environment, SupportEnvironment) else environment
        run = ShardedRun(
            source,  # type: ignore[arg-type]
            scenarios,
            out=folder_of(out),
            seed=seed or 0,
            concurrency=concurrency,
            retry_failed=retry_failed,
        )
    lines = ShardLines(len(run.scenarios))

    def watch(event: RunEvent) -> None:
        lines(event)
        if observe is not None:
            observe(event)

    refuse_store(who.on, out)
    with kept(out):
        interrupted = run_interruptible(
            lambda stop: run.play_as(who, observe=watch, stop=stop),
            lines.say,
            grace=settings.grace if settings else GRACE,
        )
    if interrupted is not None:
        lines.say(str(interrupted))
        if interrupted.exit_code != Interrupted.exit_code:
            raise SystemExit(interrupted.exit_code)
    return run.episodes()


def _settings_of(given: Any) -> RunSettings | None:
    if isinstance(given, RunSettings):
        return given
    if isinstance(given, Mapping):
        return load_settings(given=given)
    return load_settings(given) if isinstance(given, str | Path) else None


async def play_batch(
    who: ShardSettings,
    environment: SupportEnvironment,
    scenarios: Sequence[Scenario],
    *,
    settings: RunSettings,
    seed: int,
    identity: Mapping[str, Any] | None = None,
    observe: Callable[[Any], None] | None = None,
    stop: asyncio.Event | None = None,
) -> Sequence[Episode]:
    """Play a batch into the folder of some settings: here, or by workers where `who` says so.

    Args:
        who: how many workers, and where.
        environment: with policies that are not open; workers get a copy.
        settings: of the run, saved in its `config.toml`; with a folder.
        identity: see `run_identity`.
        observe: told the events of `run_batch`, or those of `run_sharded`.

    Raises:
        WarmlineError: see `run_batch` and `run_sharded`.
    """
    common: dict[str, Any] = {
        "seed": seed,
        "concurrency": settings.concurrency,
        "retry_failed": settings.retry_failed,
        "settings": settings.model_dump(exclude_defaults=True),
        "prices": settings.prices,
        "identity": identity,
    }
    out = Path(settings.out or "")
    if not who.sharded:
        return await run_batch(
            environment, scenarios, out=out, observe=observe, stop=stop, **common
        )
    run = ShardedRun(Itself(environment), scenarios, out=out, **common)
    await run.play_as(who, observe=observe, stop=stop)
    return run.episodes()
