"""`warmline demo`: what this is, in a minute: a written dialogue, then four that a model plays.

The written one comes from the seed corpus, and prints at once. The others are played by the embedded
model on scenarios of the seed corpus's test side, which its adapter has not learned, each of another
category. Any other policy can be shown the same way.
"""

# typer reads these annotations when the command is registered, so they are not postponed
import time
from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.rule import Rule
from rich.text import Text

from ...agents.roles import Role
from ...core.claim import OtherSettings
from ...core.errors import NOTHING_CAME
from ...core.outside.console import make_console
from ...core.tasks import run_interruptible
from ...policies.safety import DISCLAIMER
from ..dialogue.spoken import Spoken
from ..episodes.episode import Episode, StopReason, Utterance
from ..scenarios.problem_types import category_of
from ..scenarios.scenario import Scenario
from ..scenarios.seed_pool import draw_scenarios, seed_scenarios
from ..scenarios.written import HEADING, ORIGIN, read_written
from .display import STYLES
from .events import BatchEvent, Ended, Resumed
from .settings import RunSettings, load_settings

TYPES = ("Workplace Stress", "Problems with Friends", "Sleep Problems", "Internet Addiction")
"""Everyday problems, each of another category, and of another than the written dialogue's."""
FOLDER = "runs/demo"
MIN_TURNS, MAX_TURNS = 8, 12

ENDS = {
    StopReason.JUDGER: "the judger found it complete",
    StopReason.SUPPORTER_CLOSED: "the supporter found it complete",
    StopReason.FAREWELL: "both said goodbye",
    StopReason.TURN_LIMIT: "the limit of utterances was reached",
}
CUTS = {"sentence_cap": "cut to three sentences", "greeting": "freed of a repeated greeting"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(
    seed: Annotated[int, typer.Option(help="Another seed, other scenarios and talks.")] = 7,
    policy: Annotated[str, typer.Option(help="Who plays, by name or import string.")] = "embedded",
    model: Annotated[str | None, typer.Option(help="Its model, if it takes one.")] = None,
    base_url: Annotated[str | None, typer.Option(help="Address of a server.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help=f"Folder of the run; default {FOLDER}, or the next free one."),
    ] = None,
    written: Annotated[bool, typer.Option(help="Begin with the written dialogue.")] = True,
    episodes: Annotated[
        int, typer.Option(help="How many of the four to play.", min=1, max=len(TYPES))
    ] = len(TYPES),
) -> None:
    """Show a written dialogue, then play four conversations of different kinds."""
    console = make_console()
    if written:
        console.print(Rule(HEADING))
        console.print(written_dialogue())
    console.print(Rule("Played now, on scenarios that the model has not seen"))
    given = {"policy": policy, "model": model, "base_url": base_url, "seed": seed}
    given |= {"min_turns": MIN_TURNS, "max_turns": MAX_TURNS}
    settings = load_settings(given={k: v for k, v in given.items() if v is not None})
    with Playing(console) as view:
        settings, interrupted = _play(settings, demo_scenarios(seed)[:episodes], out, view)
    if interrupted is not None:
        console.print(Text(str(interrupted), style="yellow"))
        raise typer.Exit(interrupted.exit_code)
    console.print(Text(DISCLAIMER, style="dim"))
    console.print(whats_next(settings), soft_wrap=True)
    if view.failed == episodes:
        raise typer.Exit(NOTHING_CAME)


def demo_scenarios(seed: int) -> list[Scenario]:
    """One scenario of the test side for each of `TYPES`."""
    side = seed_scenarios("test")
    pools = [[s for s in side if s.problem_type == kind] for kind in TYPES]
    return [draw_scenarios(1, seed=seed, pool=pool)[0] for pool in pools]


def _play(
    settings: RunSettings, scenarios: Sequence[Scenario], out: Path | None, view: "Playing"
) -> tuple[RunSettings, Any]:
    """Play them, where no folder is named in the first that holds no other run."""
    from .simulate import simulate_settings

    for number in count(1):
        folder = str(out) if out else FOLDER + (f"-{number}" if number > 1 else "")
        chosen = settings.model_copy(update={"out": folder})
        try:
            interrupted = run_interruptible(
                lambda stop, chosen=chosen: simulate_settings(  # type: ignore[misc]
                    chosen, scenarios=scenarios, observe=view, stop=stop
                ),
                view.console.print,
                grace=settings.grace,
            )
        except OtherSettings:
            if out:
                raise
            continue
        return chosen, interrupted
    raise AssertionError("unreachable")


class Playing:
    """Prints each conversation when it ends, and meanwhile counts what was said on one line.

    Args:
        console: where.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.failed = self._said = self._ended = 0
        self._began = time.monotonic()
        self._bar = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), console=console, transient=True
        )
        self._task = self._bar.add_task("opening the model", total=None)

    def __enter__(self) -> "Playing":
        if self.console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def __call__(self, event: BatchEvent) -> None:
        match event:
            case Resumed(episodes=found):
                for episode in found:
                    self._end(episode)
            case Spoken(what=Utterance()):
                self._said += 1
            case Ended(episode=episode):
                self._end(episode)
        seconds = time.monotonic() - self._began
        state = f"{self._said} utterances in {seconds:.0f} s, {self._ended} conversations ended"
        self._bar.update(self._task, description=state)

    def _end(self, episode: Episode) -> None:
        self._ended += 1
        self.failed += episode.error is not None
        self.console.print(played(episode))


def written_dialogue() -> RenderableType:
    """One of the dialogues that ship, for a reader."""
    found = read_written()
    return _for_reading(found.problem_type, found.scenario, found.lines, ORIGIN)


def played(episode: Episode) -> RenderableType:
    """A conversation for a reader: scenario first, how it ended and what was cut last."""
    scenario = episode.scenario
    knows = f"{scenario.situation} ({scenario.profile})"
    lines = [(_speaker(said), said.text) for said in episode.utterances]
    return _for_reading(scenario.problem_type, knows, lines, _end_of(episode))


def _speaker(said: Utterance) -> str:
    name = said.role.value.capitalize()
    return f"{name} ({said.strategy.value})" if said.strategy is not None else name


def _for_reading(
    problem_type: str, knows: str, lines: Iterable[tuple[str, str]], end: str
) -> RenderableType:
    head = Text(problem_type, style="bold")
    head.append(f"  ({category_of(problem_type)})", style="not bold dim")
    about = Text(f"What the seeker alone knows: {knows}", "dim")
    return Group(Text(), head, about, Text(), *map(_line, lines), Text(), Text(end, style="dim"))


def _line(line: tuple[str, str]) -> Text:
    speaker, text = line
    name, space, strategy = speaker.partition(" ")
    shown = Text(name, style=f"bold {STYLES[Role(name.lower())]}")
    shown.append(space + strategy, style="not bold magenta")
    return shown.append(f": {text}", style="not bold default")


def _end_of(episode: Episode) -> str:
    """How a conversation ended, and what was done to its utterances."""
    if episode.error is not None:
        return f"Ended by an error: {episode.error.message}"
    parts = [
        f"Ended after {len(episode.utterances)} utterances: {ENDS.get(episode.stop, episode.stop.value)}"
    ]
    done = [repair for said in episode.utterances for repair in said.repairs]
    for name in dict.fromkeys(done):
        parts.append(f"{done.count(name)} {CUTS.get(name, f'repaired ({name})')}")
    return "; ".join(parts) + "."


def whats_next(settings: RunSettings) -> Text:
    """What to type next."""
    folder = settings.out
    shown = Text("Next: ", style="bold")
    shown.append(
        f"`warmline report {folder}` shows every call;"
        " `warmline demo --policy openai --model NAME --base-url URL` asks a larger model;"
        f" `warmline train sft {folder} --out runs/m0` trains on it.",
        style="not bold",
    )
    return shown
