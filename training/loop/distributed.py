"""Several processes of one training (`torchrun`): who makes shared data, who reports."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import islice
from typing import Any, TypeVar

from ...core.errors import ConfigError
from .settings import LoopSettings

T = TypeVar("T")
Batch = dict[str, Any]
"""As a collator makes it."""

PATIENCE = timedelta(days=7)
"""How long processes wait for one another; the first may be making preference pairs for days."""


def process_count() -> int:
    """How many processes train together, by what their launcher says."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this is the process that reports progress."""
    return int(os.environ.get("RANK", "0")) == 0


def refuse_alone(settings: LoopSettings) -> None:
    """Refuse, before any work, what only several processes can do.

    Raises:
        ConfigError: `fsdp` in a process that trains alone, or on CPUs.
    """
    if settings.fsdp and process_count() == 1:
        raise ConfigError(
            "fsdp divides the weights among processes, and this is the only one",
            hint="add --processes 2, or --on slurm --nodes 2",
        )
    if settings.fsdp and not _gpus_compute(settings):
        raise ConfigError(
            "fsdp needs GPUs: on CPUs accelerate would leave the weights whole, without a word",
            hint="leave --fsdp out",
        )


def _gpus_compute(settings: LoopSettings) -> bool:
    import torch

    return settings.device != "cpu" and torch.cuda.is_available()


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


def in_any_process(*facts: bool, device: Any) -> tuple[bool, ...]:
    """Whether each fact holds in any of the processes that train together; all must ask at once.

    Args:
        device: that the training computes on.
    """
    if process_count() == 1:
        return facts
    import torch

    found = torch.tensor(facts, dtype=torch.int, device=device)
    torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MAX)
    return tuple(map(bool, found.tolist()))


def step_batches(
    trainer: Any,
    batches: Iterator[Batch],
    count: int,
    own_part: Callable[[Batch, int], Batch],
) -> list[Batch]:
    """This process's batches of one step, in which no row of an epoch counts twice.

    An epoch's last batch is filled up with rows from its beginning, so that all processes have
    equally many.

    Args:
        count: of the batches.
        own_part: makes of that batch one in which only so many of its first rows count.
    """
    found = list(islice(batches, count))
    if found and trainer.accelerator.gradient_state.end_of_dataloader:
        found[-1] = own_part(found[-1], _own_rows(trainer, len(trainer.train_dataset)))
    return found


def _own_rows(trainer: Any, rows: int) -> int:
    """How many rows of an epoch's last batch are this process's own."""
    each, state = trainer.args.train_batch_size, trainer.accelerator
    last = rows % (each * state.num_processes) or each * state.num_processes
    return int(min(max(last - each * state.process_index, 0), each))


def held_out_batches(trainer: Any, dataset: Any) -> Iterator[tuple[Batch, bool]]:
    """This process's share of held-out data, each batch with whether it counts; none counts twice.

    Where the weights are divided among the processes, all must compute equally often: one with fewer
    batches gets some that do not count.
    """
    before = trainer.accelerator.even_batches
    trainer.accelerator.even_batches = False
    try:
        loader = trainer.get_eval_dataloader(dataset)
    finally:
        trainer.accelerator.even_batches = before
    batch, own = None, 0
    for batch in loader:
        own += 1
        yield batch, True
    if not trainer.is_fsdp_enabled:
        return
    rows = trainer.eval_dataset if dataset is None else dataset
    each = trainer.args.per_device_eval_batch_size * trainer.accelerator.num_processes
    for _ in range(math.ceil(len(rows) / each) - own):
        yield batch or trainer.data_collator([rows[0]]), False


def whole_weights(trainer: Any) -> dict[str, Any] | None:
    """The weights by name, gathered from the processes that hold their parts; None if each holds all.

    Every process must call it.
    """
    if not trainer.is_fsdp_enabled:
        return None
    weights: dict[str, Any] = trainer.accelerator.get_state_dict(trainer.model)
    return weights
