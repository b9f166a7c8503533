"""What a training tells while it runs."""

from __future__ import annotations

import io
import signal
import sys
from pathlib import Path

import pytest

pytest.importorskip("transformers")

from rich.console import Console
from transformers import TrainerControl, TrainerState, TrainingArguments

from warmline.core.outside.progress import LINE_EVERY
from warmline.training.loop.callbacks import LiveProgress, TimedSaves, stop_on_interrupt


def test_a_loss_above_that_of_the_untrained_weights_is_not_the_best(tmp_path: Path) -> None:
    told = io.StringIO()
    bar = LiveProgress(Console(file=told, width=100), "counselor", 10.0)
    state, control = TrainerState(max_steps=3), TrainerControl()
    given = TrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    bar.on_train_begin(given, state, control)
    for step, loss in enumerate((1.46, 2.10, 1.40, 1.45)):
        state.global_step = step
        state.log_history.append({"step": step, "eval_loss": loss})
        bar.on_log(given, state, control, logs={"eval_loss": loss})
        if step:  # as the Trainer does after every validation but the first
            state.best_metric = min(loss, state.best_metric or loss)
    bar.on_train_end(given, state, control)
    lines = [line.strip() for line in told.getvalue().splitlines() if "validation" in line]
    assert [line.endswith("(best so far)") for line in lines] == [True, False, True, False]


def test_steps_are_told_now_and_then_where_there_is_no_terminal(tmp_path: Path) -> None:
    told, now = io.StringIO(), [0.0]
    bar = LiveProgress(Console(file=told, width=100), "sft", 10.0, clock=lambda: now[0])
    state, control = TrainerState(max_steps=9), TrainerControl()
    given = TrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    bar.on_train_begin(given, state, control)
    for step in range(1, 7):
        state.global_step, now[0] = step, step * LINE_EVERY / 2
        bar.on_step_end(given, state, control)
    lines = [line for line in told.getvalue().splitlines() if line.startswith("sft: step")]
    assert [line.partition(",")[0] for line in lines] == [f"sft: step {n} of 9" for n in (2, 4, 6)]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_the_step_and_a_second_ctrl_c_ends_at_once(name: str) -> None:
    number, before = getattr(signal, name), signal.getsignal(signal.SIGTERM)
    saves = TimedSaves(5.0)
    with stop_on_interrupt(saves):
        signal.raise_signal(number)
        assert (saves.interrupted, saves.signal) == (True, number)
        signal.raise_signal(signal.SIGTERM)  # a shutdown often sends both, or one twice
        assert saves.signal == number
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before
