"""Callbacks of every trainer: timed saves, the order of rows, and progress on the terminal."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import EarlyStoppingCallback, TrainerCallback
from transformers.integrations import TensorBoardCallback

from ...core.errors import MissingExtra
from ...core.outside.progress import LINE_EVERY
from ...core.tasks import ending_signals
from ..rows.collate import StepSampler
from .distributed import in_any_process
from .settings import LoopSettings


class TimedSaves(TrainerCallback):  # type: ignore[misc]
    """Saves after some minutes, and once more before stopping when asked to stop.

    Processes that train together do both at the same step, as soon as one of them would: in a save
    they wait for one another, and their clocks and signals are a step apart now and then.

    Attributes:
        interrupted: set from a signal handler of this process.
        signal: the one that set it; Ctrl-C's where another process was interrupted.
        stopping: this process, or one that trains with it, was interrupted.
    """

    def __init__(self, minutes: float) -> None:
        self._seconds, self._saved = minutes * 60, time.monotonic()
        self.interrupted = self.stopping = False
        self.signal: int = signal.SIGINT

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._saved = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        due = time.monotonic() - self._saved > self._seconds
        due, self.stopping = in_any_process(due, self.interrupted, device=args.device)
        if due or self.stopping:
            control.should_save = True
        if self.stopping:
            control.should_training_stop = True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._saved = time.monotonic()
        if self.stopping:  # the first one that ended would have the others ended in their saves
            in_any_process(True, device=args.device)


class AtTheEnd(Exception):
    """A resumed training has no step left."""


class NoStep(TrainerCallback):  # type: ignore[misc]
    """Ends a resumed training before it takes a step beyond its last one.

    `Trainer` takes one whenever a save is resumed that does not stand at the end of an epoch.
    """

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        raise AtTheEnd


def is_at_its_end(save: Path) -> bool:
    """Whether a save is that of the last step, or of the one at which the training stopped early."""
    state = json.loads((save / "trainer_state.json").read_text("utf-8"))
    early = state.get("stateful_callbacks", {}).get(EarlyStoppingCallback.__name__)
    counts = [early] if isinstance(early, dict) else early or []
    stopped = any(
        each["attributes"]["early_stopping_patience_counter"]
        >= each["args"]["early_stopping_patience"]
        for each in counts
    )
    return stopped or state["global_step"] >= state["max_steps"]


@contextmanager
def stop_on_interrupt(saves: TimedSaves) -> Iterator[None]:
    """The first Ctrl-C, SIGTERM or SIGHUP ends the step and saves; a second Ctrl-C ends at once.

    A SIGTERM that the caller handles, and a SIGHUP that is ignored (`nohup`), are left alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may take signals
        return

    def on_interrupt(number: int, frame: Any) -> None:
        if saves.interrupted and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not saves.interrupted:
            saves.interrupted, saves.signal = True, number

    before = {number: signal.signal(number, on_interrupt) for number in ending_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class EpochOrder(TrainerCallback):  # type: ignore[misc]
    """Tells the sampler which pass it is; accelerate's skipping on resume does not reach it."""

    def __init__(self, sampler: StepSampler) -> None:
        self._sampler = sampler

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._sampler.set_epoch(int(state.epoch or 0))


class LiveProgress(TrainerCallback):  # type: ignore[misc]
    """A bar that moves with every step (a line now and then where there is no terminal), and one line
    for every evaluation.

    Args:
        console: where it is shown.
        name: of what is trained.
        tokens_per_step: mean number of tokens in one step.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        console: Console,
        name: str,
        tokens_per_step: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console, self._name, self._tokens = console, name, tokens_per_step
        self._clock, self._said = clock, clock()
        self._bar: Progress | None = None
        self._task: Any = None
        self._began, self._first_step = 0.0, 0
        self._loss: float | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not state.is_world_process_zero:
            return
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[status]}"),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._task = self._bar.add_task(
            self._name, total=state.max_steps, completed=state.global_step, status=""
        )
        self._began, self._first_step = self._clock(), state.global_step
        self._bar.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._bar is None:
            return
        status = self._status(state)
        self._bar.update(self._task, completed=state.global_step, status=status)
        if not self._console.is_terminal and self._clock() - self._said >= LINE_EVERY:
            self._said = self._clock()
            done = f"{self._name}: step {state.global_step} of {state.max_steps}"
            self._console.print(f"{done}, {status}", soft_wrap=True)

    def on_log(
        self,
        args: Any,
        state: Any,
        control: Any,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        logs = logs or {}
        self._loss = logs.get("loss", self._loss)
        if self._bar is not None and "eval_loss" in logs:
            # the Trainer's own `best_metric` begins after the untrained weights were measured
            least = min(e["eval_loss"] for e in state.log_history if "eval_loss" in e)
            mark = " (best so far)" if logs["eval_loss"] <= least else ""
            self._bar.console.print(
                f"step {state.global_step}: validation loss {logs['eval_loss']:.4f},"
                f" perplexity {logs['eval_perplexity']:.2f}{mark}"
                if "eval_perplexity" in logs
                else f"step {state.global_step}: validation loss {logs['eval_loss']:.4f}{mark}"
            )

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _status(self, state: Any) -> str:
        seconds = self._clock() - self._began
        speed = self._tokens * (state.global_step - self._first_step) / max(seconds, 1e-9)
        loss = "" if self._loss is None else f"loss {self._loss:.4f}, "
        return f"{loss}{speed:,.0f} tok/s"


def make_callbacks(
    settings: LoopSettings, folder: Path, *, validate: bool
) -> list[TrainerCallback]:
    """Timed saves, early stopping, and the TensorBoard log in `tensorboard/`.

    Raises:
        MissingExtra: TensorBoard is not installed.
    """
    found: list[TrainerCallback] = [TimedSaves(settings.save_minutes)]
    if validate and settings.patience:
        found.append(EarlyStoppingCallback(settings.patience))
    if settings.tensorboard:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtra("a TensorBoard log", extra="train") from error
        found.append(TensorBoardCallback(SummaryWriter(str(folder / "tensorboard"))))
    return found
