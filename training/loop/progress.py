"""Live progress of a training on the terminal: loss, learning rate, tokens a second, time left."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import TrainerCallback


class LiveProgress(TrainerCallback):  # type: ignore[misc]
    """A bar that moves with every step, and one line for every evaluation.

    Args:
        console: where it is shown.
        name: of what is trained.
        tokens_per_step: mean number of tokens in one step.
    """

    def __init__(self, console: Console, name: str, tokens_per_step: float) -> None:
        self._console, self._name, self._tokens = console, name, tokens_per_step
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
            TextColumn("{task.fields[told]}"),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._task = self._bar.add_task(
            self._name, total=state.max_steps, completed=state.global_step, told=""
        )
        self._began, self._first_step = time.monotonic(), state.global_step
        self._bar.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=state.global_step, told=self._told(state))

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
            best = state.best_metric
            mark = " (best so far)" if best is None or logs["eval_loss"] <= best else ""
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

    def _told(self, state: Any) -> str:
        seconds = time.monotonic() - self._began
        speed = self._tokens * (state.global_step - self._first_step) / max(seconds, 1e-9)
        loss = "" if self._loss is None else f"loss {self._loss:.4f}, "
        return f"{loss}{speed:,.0f} tok/s"
