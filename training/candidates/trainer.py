"""`Trainer` over batches of candidates: what DPO and FPEMF share beside their losses.

The parts of a loss are kept as sums, which add up over batches of any size and over processes, so
that the means that are logged and that choose the best weights are those over all of the data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import Trainer

from ..loop.distributed import held_out_batches
from .batch import CandidateBatch, CandidateLogProbs, candidate_log_probs


class Objective(Protocol):
    """A loss over candidates.

    Attributes:
        size: how many sums its parts are made of.
    """

    size: int

    def loss(self, found: CandidateLogProbs, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The loss of a batch, and a vector of the sums that its parts are means of.

        Args:
            inputs: the batch as the collator made it.
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
        self.model_accepts_loss_kwargs = False  # so that accumulated losses are averaged

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        found = candidate_log_probs(model, CandidateBatch.of(inputs))
        loss, sums = self._objective.loss(found, inputs)
        self._sums = sums.detach() if self._sums is None else self._sums + sums.detach()
        return (loss, {}) if return_outputs else loss

    def log(self, logs: dict[str, float], *rest: Any) -> None:
        """With the means of the loss's parts since the last time."""
        if "loss" in logs and self._sums is not None:
            logs = logs | self._objective.means(self._sums.tolist())
            self._sums = None
        super().log(logs, *rest)

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """The loss and its parts over all held-out data of all processes."""
        model = self.model.to(self.args.device).eval()
        sums = torch.zeros(self._objective.size, device=self.args.device)
        for batch in held_out_batches(self, eval_dataset):
            inputs = self._prepare_inputs(batch)
            with torch.no_grad(), self.compute_loss_context_manager():
                found = candidate_log_probs(model, CandidateBatch.of(inputs))
                sums += self._objective.loss(found, inputs)[1]
        means = self._objective.means(self.accelerator.reduce(sums, "sum").tolist())
        named = {f"{metric_key_prefix}_{name}": value for name, value in means.items()}
        named[f"{metric_key_prefix}_loss"] = named.pop(f"{metric_key_prefix}_total")
        self.log(named)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, named)
        return named
