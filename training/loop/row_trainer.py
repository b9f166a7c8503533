"""`transformers.Trainer` over rows of tokens: its loss, its order of rows, its validation."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers import Trainer

from ..rows.collate import Collator, RowDataset, StepSampler, places_to_keep
from ..rows.encode import IGNORED, Encoded
from ..rows.spool import longest_first
from .base_model import Base, with_lora
from .callbacks import EpochOrder, make_callbacks
from .distributed import Batch, held_out_batches, step_batches
from .loop import training_arguments
from .settings import AdapterLoopSettings, Nll


def token_loss(
    logits: torch.Tensor, labels: torch.Tensor, *, shifted: bool, nll: Nll = "token_mean"
) -> torch.Tensor:
    """Sum over learned tokens of their negative log-likelihood, in nats and float32.

    Args:
        logits: `(batch, time, vocabulary)`, or only at `places_to_keep` of the labels.
        labels: `(batch, time)`, -100 where there is no loss.
        shifted: a label is predicted by the place before it (decoder-only).
        nll: for "reply_mean" each token is divided by the number of tokens of its reply.
    """
    lengths = reply_lengths(labels)
    if shifted:
        places = places_to_keep(labels)
        logits = logits[:, places] if logits.shape[1] == labels.shape[1] else logits
        labels, lengths = labels[:, places + 1], lengths[:, places + 1]
    learned = labels != IGNORED
    if nll != "reply_mean":
        return cross_entropy(logits[learned].float(), labels[learned], reduction="sum")
    each = cross_entropy(logits[learned].float(), labels[learned], reduction="none")
    return (each / lengths[learned]).sum()


def reply_lengths(labels: torch.Tensor) -> torch.Tensor:
    """For each learned token the number of tokens of its reply; 0 where nothing is learned.

    A reply is a run of learned tokens: what another speaks stands between two of them.

    Args:
        labels: `(batch, time)`, -100 where there is no loss.
    """
    learned = (labels != IGNORED).long()
    runs = _starts(labels).long().cumsum(dim=1) * learned
    counts = torch.zeros(len(labels), labels.shape[1] + 1, dtype=torch.long, device=labels.device)
    counts.scatter_add_(1, runs, learned)
    return counts.gather(1, runs) * learned


def count_units(labels: torch.Tensor, nll: Nll) -> torch.Tensor:
    """What an NLL is a mean over: the learned tokens of some rows, or their replies."""
    return (labels != IGNORED).sum() if nll == "token_mean" else _starts(labels).sum()


def _starts(labels: torch.Tensor) -> torch.Tensor:
    """Where a reply begins, `(batch, time)`."""
    learned = labels != IGNORED
    before = torch.cat([torch.zeros_like(learned[:, :1]), learned[:, :-1]], dim=1)
    return learned & ~before


class RowTrainer(Trainer):  # type: ignore[misc]
    """`Trainer` with our order of rows, whose loss and validation loss are those of `nll`.

    Args:
        sampler: order of the training rows.
        nll: what the loss is a mean over.
        arguments: what `Trainer` takes.
    """

    def __init__(self, *, sampler: StepSampler, nll: Nll = "token_mean", **arguments: Any) -> None:
        shifted = not arguments["model"].config.is_encoder_decoder

        def loss(
            outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None
        ) -> torch.Tensor:
            summed = token_loss(outputs.logits, labels, shifted=shifted, nll=nll)
            return summed / num_items_in_batch

        super().__init__(compute_loss_func=loss, **arguments)
        self._sampler, self._shifted, self._nll = sampler, shifted, nll
        self.add_callback(EpochOrder(sampler))

    def _get_train_sampler(self, train_dataset: Any = None) -> StepSampler:
        return self._sampler

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Any]:
        """The batches of a step, and its learned tokens or replies, over all processes."""
        batches = step_batches(self, epoch_iterator, num_batches, _own_part)
        if self._nll == "token_mean":
            return batches, self._get_num_items_in_batch(batches, device)
        counts = [count_units(batch["labels"], self._nll) for batch in batches]
        units = torch.stack(counts or [torch.tensor(0)]).sum().to(device)
        return batches, self.accelerator.reduce(units, "sum").clamp(min=1)

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Loss in nats as it is trained, perplexity by token, and the number of tokens."""
        summed, units, loss, tokens = self._summed(held_out_batches(self, eval_dataset))
        mean = loss / max(tokens, 1)
        metrics = {
            "loss": summed / max(units, 1),
            "perplexity": math.exp(min(mean, 700.0)),
            "tokens": tokens,
        }
        named = {f"{metric_key_prefix}_{name}": value for name, value in metrics.items()}
        self.log(named)
        state, control = self.state, self.control  # type: ignore[has-type]
        self.control = self.callback_handler.on_evaluate(self.args, state, control, named)
        return named

    def _summed(self, batches: Iterable[tuple[Batch, bool]]) -> tuple[float, float, float, float]:
        """Sum of losses and what it is a mean over, NLL and tokens, over all processes."""
        model = self.model.to(self.args.device).eval()
        sums = torch.zeros(4, dtype=torch.float64, device=self.args.device)
        for batch, counts in batches:
            inputs = self._prepare_inputs(batch)
            labels = inputs.pop("labels")
            with torch.no_grad(), self.compute_loss_context_manager():
                logits = model(**inputs).logits
            if not counts:
                continue
            total = token_loss(logits, labels, shifted=self._shifted).double()
            own = total
            if self._nll == "reply_mean":
                own = token_loss(logits, labels, shifted=self._shifted, nll=self._nll).double()
            units = count_units(labels, self._nll)
            sums += torch.stack([own, units.double(), total, (labels != IGNORED).sum().double()])
        summed: list[float] = self.accelerator.reduce(sums, "sum").tolist()
        return summed[0], summed[1], summed[2], summed[3]


def _own_part(batch: dict[str, Any], rows: int) -> dict[str, Any]:
    """A batch in which only its first rows are learned."""
    labels = batch["labels"].clone()
    labels[rows:] = IGNORED
    own = batch | {"labels": labels}
    return own | {"logits_to_keep": places_to_keep(labels)} if "logits_to_keep" in batch else own


def make_row_trainer(
    base: Base,
    train: Sequence[Encoded],
    validation: Sequence[Encoded],
    folder: Path,
    settings: AdapterLoopSettings,
    *,
    seed: int,
    dtype: str = "float32",
    resumed: bool = False,
    nll: Nll = "token_mean",
) -> RowTrainer:
    """The trainer of one run. Draws the adapter's weights from `seed`."""
    torch.manual_seed(seed)
    model = with_lora(base.model, settings)
    arguments = training_arguments(
        folder,
        settings,
        rows=len(train),
        seed=seed,
        dtype=dtype,
        validate=bool(validation),
        resumed=resumed,
    )
    step = settings.batch_size * settings.accumulation * arguments.world_size
    held = longest_first(validation)
    return RowTrainer(
        model=model,
        args=arguments,
        nll=nll,
        sampler=StepSampler(array("Q", (row.tokens for row in train)), step, seed),
        train_dataset=RowDataset(train),
        eval_dataset=RowDataset(held) if held else None,
        data_collator=Collator(base.pad, base.arguments),
        processing_class=base.tokenizer,
        callbacks=make_callbacks(settings, folder, validate=bool(validation)),
    )
