"""Several processes of one training (`torchrun`): who makes shared data, who reports."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

T = TypeVar("T")

PATIENCE = timedelta(days=7)
"""How long processes wait for one another; the first may be making preference pairs for days."""


def process_count() -> int:
    """How many processes train together, by what their launcher says."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this is the process that reports progress."""
    return int(os.environ.get("RANK", "0")) == 0


def in_turn(work: Callable[[], T], *, cpu: bool) -> T:
    """Do resumable work in one process after the other: the first does it, the others find it done.

    Args:
        work: leaves what it makes in files, and resumes there when it is called again.
        cpu: whether the training computes on CPUs.
    """
    if process_count() == 1:
        return work()
    from accelerate import PartialState

    state = PartialState(cpu=cpu, timeout=PATIENCE)
    made: list[T] = []
    for turn in range(state.num_processes):
        if turn == state.process_index:
            made.append(work())
        state.wait_for_everyone()
    return made[0]


def held_out_batches(trainer: Any, dataset: Any) -> Any:
    """This process's share of held-out data; none is read twice so that all have equally much."""
    before = trainer.accelerator.even_batches
    trainer.accelerator.even_batches = False
    try:
        return trainer.get_eval_dataloader(dataset)
    finally:
        trainer.accelerator.even_batches = before
