"""Self-evolution, M⁰ to M¹ to M² (Self-Evolution §2.2): rounds of stages, each done once.

A round asks its parent for replies, has them refined, makes pairs of them, trains on those,
measures the result, and promotes it or rolls back. `state.json` says what is done; it is replaced
in one step after each stage, and a stage that was cut short resumes where it was, by its own
journal.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from rich.console import Console

from ...core.claim import CONFIG_NAME, FreshFolder, claim, identity_of, may_change
from ...core.errors import ConfigError, DataError, RunError
from ...core.files import read_json, read_text, write_whole
from ...core.fixed import fixed_fields
from ...core.outside.console import make_console
from ...core.record import Record, problems_of
from ...core.settings import expect_settings
from ...environments.corpus.seen import dialogue_digest, overlap, seen_by
from ...environments.corpus.splits import held_out, scenario_groups
from ...environments.episodes.episode import Episode
from ...environments.episodes.log import LOG_NAME
from ...environments.episodes.sequence import take
from ...evaluation.replies.reply import SCORES_NAME
from ...policies.base import Policy
from ...policies.models.sources import find_source
from ..loop.base_model import base_name, free_memory
from ..loop.checkpoint import is_checkpoint, read_checkpoint
from ..loop.results import TrainingResult
from ..rows.sources import load_episodes, split_episodes
from .settings import EvolveSettings
from .stages import CHECKPOINT, MEASURING, STAGES, RoundWork, shown_model
from .tables import TABLE_NAME, several, write_data, write_tables

STATE_NAME = "state.json"


class RoundState(Record):
    """Where a round stands; `state.json`.

    Attributes:
        round: 0 is M⁰, which is only measured.
        parent: the model that the round begins with; a checkpoint of this evolution by its path
            from the evolution's folder.
        done: stages that are finished, in order.
        measures: by name; None where something could not be measured.
        promoted: whether the next round begins with this one's model.
        why: the gate's reasons.
    """

    version: int = 1
    round: int
    parent: str
    done: tuple[str, ...] = ()
    measures: dict[str, float | None] = Field(default_factory=dict)
    promoted: bool | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class EvolutionResult(TrainingResult):
    """What an evolution left behind; checkpoints are those of the rounds, metrics those of `kept`.

    Attributes:
        rounds: the states of all rounds, M⁰'s first; of several seeds one after the other, and
            metrics and deviations are then of the last round.
        kept: the checkpoint that was promoted last; None if every round was rolled back, or of
            several seeds.
    """

    rounds: tuple[RoundState, ...] = ()
    kept: Path | None = None


def evolve(
    settings: EvolveSettings,
    *,
    supporter: Policy | None = None,
    reviser: Policy | None = None,
    console: Console | None = None,
) -> EvolutionResult:
    """Run, resume or find finished all rounds; with several `runs` once for each seed.

    Args:
        supporter, reviser: in place of the policies that the settings name (for every round); the
            caller closes them.

    Raises:
        ConfigError, DataError, RunError: nothing to learn from, another evolution in the folder, or
            an evaluation that failed.
    """
    expect_settings(settings, EvolveSettings, "evolve")
    console = console or make_console(quiet=True)
    if settings.out is None:
        raise ConfigError("no folder for the evolution", hint="--out runs/evolve")
    if settings.runs > 1:
        return _evolve_seeds(settings, Path(settings.out), supporter, reviser, console)
    return _evolve_once(settings, Path(settings.out), supporter, reviser, console)


def _evolve_seeds(
    settings: EvolveSettings,
    out: Path,
    supporter: Policy | None,
    reviser: Policy | None,
    console: Console,
) -> EvolutionResult:
    """Once for each seed in `out/seed<n>`, then the tables of all."""
    found: dict[int, EvolutionResult] = {}
    for seed in range(settings.seed, settings.seed + settings.runs):
        folder = out / f"seed{seed}"
        own = {"seed": seed, "runs": 1, "out": str(folder), "model": _m0_of(settings.model, seed)}
        console.print(f"seed {seed}: from {own['model']}", soft_wrap=True)
        one = settings.model_copy(update=own)
        found[seed] = _evolve_once(one, folder, supporter, reviser, console)
    data = several({seed: read_json(result.folder / TABLE_NAME) for seed, result in found.items()})
    write_data(out, data)
    last = data["models"][-1]["measures"]
    return EvolutionResult(
        out,
        tuple(folder for result in found.values() for folder in result.folders),
        tuple(checkpoint for result in found.values() for checkpoint in result.checkpoints),
        {name: each["mean"] for name, each in last.items()},
        {name: each["deviation"] for name, each in last.items() if each["deviation"] is not None},
        rounds=tuple(state for result in found.values() for state in result.rounds),
    )


def _m0_of(model: str, seed: int) -> str:
    """The M⁰ of a seed where a training of several left one for each; else the one that there is.

    Raises:
        ConfigError: there are some, and none for this seed.
    """
    own = Path(model) / f"seed{seed}"
    if is_checkpoint(own):
        return str(own)
    if others := sorted(f.name for f in Path(model).glob("seed*") if is_checkpoint(f)):
        raise ConfigError(
            f"{model} has no M0 of seed {seed}; it has {', '.join(others)}",
            hint="the seeds count from --seed; `train sft --runs` trains more",
        )
    return model


def _evolve_once(
    settings: EvolveSettings,
    out: Path,
    supporter: Policy | None,
    reviser: Policy | None,
    console: Console,
) -> EvolutionResult:
    episodes, held = _held_out(settings)
    with FreshFolder(out).unless_begun({CONFIG_NAME}, prepared={"held-out/*"}):
        _claim(out, settings)
        lines = (e.to_json() + "\n" for e in held)
        write_whole(out / "held-out" / LOG_NAME, lines, holds_episodes=True)
        states = _run_rounds(settings, out, episodes, supporter, reviser, console)
    write_tables(out, [state.model_dump(mode="json") for state in states], _scores(out, states))
    folders = [
        folder for n in range(1, len(states)) if is_checkpoint(folder := _checkpoint(out, n))
    ]
    return EvolutionResult(
        out,
        tuple(folders),
        tuple(read_checkpoint(folder) for folder in folders),
        dict(next((s.measures for s in reversed(states) if s.promoted), {})),
        rounds=tuple(states),
        kept=checkpoint_of(out),
    )


def _claim(out: Path, settings: EvolveSettings) -> None:
    kept = {"data", "rounds"} if settings.split_rounds else {"data"}
    named = may_change(EvolveSettings) | fixed_fields(EvolveSettings).keys()
    free = [f"evolve.{name}" for name in named - kept]  # earlier versions stored them
    claim(out, {"evolve": identity_of(settings, fixed=kept)}, free=free, what="evolution")


def _held_out(settings: EvolveSettings) -> tuple[Sequence[Episode], Sequence[Episode]]:
    """Conversations to learn from, and those to measure on, which M⁰ has never seen.

    Raises:
        ConfigError: M⁰ has seen what was to be held out.
    """
    episodes, _ = load_episodes(settings.data)
    seen = seen_by(find_source(base_name(settings.model), merge=True).folders)
    if settings.held_out:
        held = load_episodes(settings.held_out)[0]
        if (found := overlap(held, seen)).seen:
            raise ConfigError(
                f"held_out is not held out from {settings.model}: {found}",
                hint="`warmline split` divides a corpus; train M0 on CORPUS:train, and give"
                " CORPUS:test here",
            )
        return episodes, held
    known = seen.train | seen.validation
    if not known:
        return split_episodes(episodes, settings.held_out_share, settings.seed)
    taken = {e.id for e in episodes if dialogue_digest(e) in known}
    learned, held_back = held_out(episodes, settings.held_out_share, settings.seed, keep=taken)
    if not held_back:
        raise ConfigError(
            f"{settings.model} has seen a dialogue of every scenario of the data, so none can be"
            " held out from it",
            hint="`warmline split` divides a corpus; train M0 on CORPUS:train, and give"
            " --held-out CORPUS:test",
        )
    return learned, held_back


def _part(episodes: Sequence[Episode], number: int, settings: EvolveSettings) -> Sequence[Episode]:
    """The conversations of a round: all, or its own part of the scenarios."""
    if not settings.split_rounds or number == 0:
        return episodes
    groups = scenario_groups(episodes)
    places = {name: n for n, name in enumerate(sorted(set(groups)))}
    mine = (n for n, name in enumerate(groups) if places[name] % settings.rounds == number - 1)
    return take(episodes, mine)


# A round


def _run_rounds(
    settings: EvolveSettings,
    out: Path,
    episodes: Sequence[Episode],
    supporter: Policy | None,
    reviser: Policy | None,
    console: Console,
) -> list[RoundState]:
    states: list[RoundState] = []
    best = settings.model
    before: Mapping[str, float | None] = {}
    for number in range(settings.rounds + 1):
        work = RoundWork(
            number,
            settings,
            out / f"round-{number}",
            best,
            _part(episodes, number, settings),
            out / "held-out",
            before,
            supporter,
            reviser,
            console,
        )
        state = _run_round(work, shown_model(best, out))
        states.append(state)
        if state.promoted:
            best = settings.model if number == 0 else str(work.checkpoint)
            before = state.measures
    return states


def _run_round(work: RoundWork, parent: str) -> RoundState:
    file = work.folder / STATE_NAME
    state = read_state(file) or RoundState(round=work.number, parent=parent)
    if state.parent != parent:
        raise RunError(
            f"{work.folder} begins with {state.parent}, and the round before it gave {parent}",
            hint="choose another folder",
        )
    for name, stage in STAGES.items():
        if name in state.done or (work.number == 0 and name not in MEASURING):
            continue
        work.console.print(f"round {work.number}: {name}")
        measures = stage(work)
        free_memory()
        state = state.model_copy(
            update={"done": (*state.done, name), "measures": state.measures | measures}
        )
        write_whole(file, _as_json(state))
    if state.promoted is None:
        promoted, why = decide(work.number, state.measures, work.before, work.settings)
        state = state.model_copy(update={"promoted": promoted, "why": why})
        write_whole(file, _as_json(state))
        shown = "promoted" if promoted else "rolled back"
        work.console.print(f"round {work.number}: {shown}: {why}")
    return state


def read_state(file: Path) -> RoundState | None:
    """The state in a file; None if there is none yet.

    Raises:
        DataError: it cannot be read.
    """
    if not file.is_file():
        return None
    try:
        return RoundState.model_validate_json(read_text(file))
    except ValidationError as error:
        raise DataError("; ".join(problems_of(error, RoundState)[:3]), file=file) from None


def _as_json(state: RoundState) -> str:
    return json.dumps(state.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


def decide(
    number: int,
    measures: Mapping[str, float | None],
    before: Mapping[str, float | None],
    settings: EvolveSettings,
) -> tuple[bool, str]:
    """Whether a round's model is promoted, and why. Pure.

    What could not be measured does not stop a model.
    """
    if number == 0:
        return True, "where it begins"
    if not settings.gate:
        return True, "no gate"
    shown, fine = [], True
    nll, old = measures.get("held_out_nll"), before.get("held_out_nll")
    if nll is not None and old is not None:
        limit = old * (1 + settings.gate_nll)
        fine &= nll <= limit
        shown.append(f"held-out NLL {nll:.4f}, at most {limit:.4f}")
    accuracy = measures.get("reward_accuracy")
    if accuracy is not None:
        fine &= accuracy >= settings.gate_accuracy
        shown.append(f"reward accuracy {accuracy:.3f}, at least {settings.gate_accuracy:g}")
    return fine, "; ".join(shown) or "nothing was measured"


def _scores(out: Path, states: Sequence[RoundState]) -> list[list[dict[str, Any]]]:
    """What `warmline evaluate` wrote for each round; empty where it was not asked."""
    found = []
    for state in states:
        file = out / f"round-{state.round}" / "evaluation" / SCORES_NAME
        found.append(read_json(file) if file.is_file() else [])
    return found


def checkpoint_of(out: str | Path) -> Path | None:
    """The checkpoint that an evolution promoted last; None if every round was rolled back.

    Raises:
        DataError: no evolution there.
    """
    files = sorted(Path(out).glob(f"round-*/{STATE_NAME}"), key=lambda f: _round_of(f.parent))
    if not files:
        raise DataError("no evolution there", file=out, hint="`warmline evolve --out` makes one")
    states = [(file.parent, read_state(file)) for file in files]
    kept = [folder for folder, state in states if state and state.promoted and state.round]
    if not kept:
        return None
    read_checkpoint(kept[-1] / CHECKPOINT)
    return kept[-1] / CHECKPOINT


def _checkpoint(out: Path, number: int) -> Path:
    return out / f"round-{number}" / CHECKPOINT


def _round_of(folder: Path) -> int:
    return int(folder.name.rpartition("-")[2])
