"""`Trainer` over batches of candidates: what DPO and FPEMF share beside their losses.

A step's loss is a mean over all of its contexts or gold tokens, whatever batches and processes they
are divided into. The parts of a loss are kept as sums, which add up over batches of any size and over
processes, so that the means that are logged and that choose the best weights are those over all of
the data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from transformers import Trainer

from ..loop.distributed import held_out_batches, step_batches
from ..loop.settings import Nll
from .batch import CandidateBatch, CandidateLogProbs, candidate_log_probs

FILLER = "filler"
"""In a batch that repeats other rows, because a step has none left for this process."""


class Share(NamedTuple):
    """What part of its step a batch is, from 0 to 1.

    Attributes:
        contexts: of the step's contexts.
        tokens: of the tokens of their first replies.
    """

    contexts: Tensor | float = 1.0
    tokens: Tensor | float = 1.0

    def of_nll(self, nll: Nll) -> Tensor | float:
        """Of what the NLL is a mean over: tokens, or replies, one in each context."""
        return self.tokens if nll == "token_mean" else self.contexts


class Objective(Protocol):
    """A loss over candidates.

    Attributes:
        size: how many sums its parts are made of.
    """

    size: int

    def loss(
        self, found: CandidateLogProbs, inputs: Mapping[str, Tensor], share: Share
    ) -> tuple[Tensor, Tensor]:
        """What a batch adds to its step's loss, and a vector of the sums that its parts are means of.

        Args:
            inputs: the batch as the collator made it.
            share: each mean over the batch counts with its share.
        """
        ...

    def means(self, sums: Sequence[float]) -> dict[str, float]:
        """The parts by name, and the whole as `total`, of sums over any number of batches."""
        ...


class CandidateTrainer(Trainer):  # type: ignore[misc]
    """`Trainer` with the loss of an objective, whose parts are logged beside it."""

    control: Any

    def __init__(self, *, objective: Objective, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._objective = objective
        self._sums: Tensor | None = None
        self.model_accepts_loss_kwargs = True  # the losses of a step's batches are added

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Tensor]:
        """The batches of a step, and its contexts and gold tokens `(2,)`, over all processes."""
        batches = step_batches(self, epoch_iterator, num_batches, _own_part)
        sizes = torch.stack([_size(batch) for batch in batches] or [torch.zeros(2)]).sum(dim=0)
        return batches, self.accelerator.reduce(sizes.to(device), "sum")

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        found = candidate_log_probs(model, CandidateBatch.of(inputs))
        if FILLER in inputs:
            loss = found.sums.sum() * 0.0
        else:
            share = Share(*(_size(inputs) / num_items_in_batch.clamp(min=1)))
            loss, sums = self._objective.loss(found, inputs, share)
            loss = loss * self.accelerator.num_processes  # whose gradients are averaged
            self._sums = sums.detach() if self._sums is None else self._sums + sums.detach()
        return (loss, {}) if return_outputs else loss

    def log(self, logs: dict[str, float], *rest: Any) -> None:
        """With the means of the loss's parts since the last time, over all processes."""
        if "loss" in logs:
            own = torch.zeros(self._objective.size) if self._sums is None else self._sums
            sums = self.accelerator.reduce(own.to(self.args.device), "sum")
            logs = logs | self._objective.means(sums.tolist())
            self._sums = None
        super().log(logs, *rest)

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """The loss and its parts over all held-out data of all processes."""
        model = self.model.to(self.args.device).eval()
        sums = torch.zeros(self._objective.size, device=self.args.device)
        for batch, counts in held_out_batches(self, eval_dataset):
            inputs = self._prepare_inputs(batch)
            with torch.no_grad(), self.compute_loss_context_manager():
                found = candidate_log_probs(model, CandidateBatch.of(inputs))
                if counts:
                    sums += self._objective.loss(found, inputs, Share())[1]
        means = self._objective.means(self.accelerator.reduce(sums, "sum").tolist())
        named = {f"{metric_key_prefix}_{name}": value for name, value in means.items()}
        named[f"{metric_key_prefix}_loss"] = named.pop(f"{metric_key_prefix}_total")
        self.log(named)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, named)
        return named


def _own_part(batch: dict[str, Any], rows: int) -> dict[str, Any]:
    """The first rows of a batch."""
    if not rows:  # something must be computed, as all processes wait for each other's gradients
        return {name: tensor[:1] for name, tensor in batch.items()} | {FILLER: True}
    return {name: tensor[:rows] for name, tensor in batch.items()}


def _size(batch: Mapping[str, Any]) -> Tensor:
    """Contexts and gold tokens of a batch, `(2,)`."""
    if FILLER in batch:
        return torch.zeros(2)
    gold = batch["reply_mask"][:, 0]
    return torch.stack([gold.new_tensor(len(gold)), gold.sum()]).float()
