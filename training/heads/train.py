"""Training of heads on a language model's last states, with one LoRA adapter beneath them.

Counselor and scorer differ in their rows and heads only. `transformers.Trainer` runs the loop; the
loss is the mean over all known labels of a step, so a missing one has no gradient.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import Trainer

from ...core.errors import ConfigError
from ...environments.corpus.seen import Seen
from ...policies.heads.network import HeadedModel, HeadReader, refuse_unfit
from ...policies.models.prompts import PromptWriter
from ..loop.base_model import Base, load_base, lora_targets, with_lora
from ..loop.callbacks import EpochOrder, make_callbacks
from ..loop.checkpoint import Checkpoint
from ..loop.distributed import step_batches
from ..loop.loop import (
    attention,
    base_dtype,
    best_metrics,
    finish,
    run_training,
    steps_per_epoch,
    training_arguments,
)
from ..rows.build import BadRow, refuse_bad
from ..rows.collate import RowDataset, StepSampler
from ..rows.encode import IGNORED
from ..rows.left_out import LeftOut, left_out_line, left_out_of
from ..rows.sources import DataSource
from ..rows.spool import longest_first
from .data import HeadRow, Packed, PackedCollator, encode_heads
from .settings import ClassifierSettings

Heads = Mapping[str, tuple[str, ...]]
"""Options by head, in the order of the logits."""


@dataclass(frozen=True, slots=True)
class HeadData:
    """Rows of the three sides of a split, and what could not be used."""

    train: Sequence[HeadRow]
    validation: Sequence[HeadRow]
    test: Sequence[HeadRow]
    bad: tuple[BadRow, ...]
    sources: tuple[DataSource, ...]


@dataclass(frozen=True, slots=True)
class TrainedHeads:
    """A finished training: the checkpoint is written by `keep`, once the figures are in.

    Attributes:
        probabilities: of the test rows, by row id, all heads side by side; rows that cannot be read
            are missing.
    """

    trainer: HeadTrainer
    base: Base
    folder: Path
    seed: int
    rows: dict[str, int]
    left_out: tuple[LeftOut, ...]
    probabilities: dict[str, list[float]]


# Loss


def head_loss(
    logits: Tensor, labels: Tensor, sizes: Sequence[int], weights: Tensor | None = None
) -> Tensor:
    """Sum of cross-entropies over all known labels, in nats.

    Args:
        logits: `(places, outputs)`, all heads side by side.
        labels: `(places, heads)`, -100 where a label is not known.
        sizes: options of each head.
        weights: `(outputs,)`, factors of the options; None weighs all alike.
    """
    total = logits.sum() * 0.0  # a batch without any label still has a (zero) gradient
    start = 0
    for head, size in enumerate(sizes):
        known = labels[:, head] != IGNORED
        if bool(known.any()):
            own = logits[known, start : start + size]
            factor = None if weights is None else weights[start : start + size].to(own)
            total = total + cross_entropy(own, labels[known, head], factor, reduction="sum")
        start += size
    return total


def balanced_weights(labels: Sequence[int], options: int) -> list[float]:
    """Factors that make options weigh alike: n / (k · count), of mean 1 over the labels.

    Three of one and one of another: 4/(2·3) = 2/3 and 4/(2·1) = 2. Options that do not occur have
        1.
    """
    counts = Counter(labels)
    occurring = len(counts)
    return [
        len(labels) / (occurring * counts[option]) if counts[option] else 1.0
        for option in range(options)
    ]


class HeadTrainer(Trainer):  # type: ignore[misc]
    """`Trainer` with the loss of the heads, a learning rate of their own, and accuracies.

    Args:
        heads: options by head.
        sampler: order of the training rows.
        weights: see `head_loss`.
        head_learning_rate: at its peak.
        arguments: what `Trainer` takes.
    """

    state: Any
    control: Any

    def __init__(
        self,
        *,
        heads: Heads,
        sampler: StepSampler,
        weights: Tensor | None,
        head_learning_rate: float,
        **arguments: Any,
    ) -> None:
        self._sizes = [len(options) for options in heads.values()]
        self._names, self._weights = list(heads), weights
        self._sampler, self._head_rate = sampler, head_learning_rate

        def loss(logits: Tensor, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
            return head_loss(logits, labels, self._sizes, weights) / num_items_in_batch

        super().__init__(compute_loss_func=loss, **arguments)
        self.model_accepts_loss_kwargs = False  # the network does not get the number of labels
        self.add_callback(EpochOrder(sampler))

    def _get_train_sampler(self, train_dataset: Any = None) -> StepSampler:
        return self._sampler

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Any]:
        """The batches of a step, and its known labels, over all processes."""
        batches = step_batches(self, epoch_iterator, num_batches, _own_part)
        return batches, self._get_num_items_in_batch(batches, device)

    def create_optimizer(self, model: Any = None) -> Any:
        """AdamW, in which the heads are a group of their own."""
        optimizer = super().create_optimizer(model)
        heads = [p for n, p in self.model.named_parameters() if "score" in n and p.requires_grad]
        own = {id(p) for p in heads}
        for group in optimizer.param_groups:
            group["params"] = [p for p in group["params"] if id(p) not in own]
        optimizer.add_param_group({"params": heads, "lr": self._head_rate, "weight_decay": 0.0})
        return optimizer

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Loss in nats a label, and the accuracy of each head that has a label."""
        dataset = self.eval_dataset if eval_dataset is None else eval_dataset
        logits, labels = self.read(dataset.rows if isinstance(dataset, RowDataset) else dataset)
        known = int((labels != IGNORED).sum())
        loss = head_loss(logits, labels, self._sizes, self._weights)
        named = {f"{metric_key_prefix}_loss": float(loss) / max(known, 1)}
        start = 0
        for head, (name, size) in enumerate(zip(self._names, self._sizes, strict=True)):
            labelled = labels[:, head] != IGNORED
            if bool(labelled.any()):
                chosen = logits[labelled, start : start + size].argmax(-1)
                hits = (chosen == labels[labelled, head]).float().mean()
                named[f"{metric_key_prefix}_accuracy_{name}"] = float(hits)
            start += size
        self.log(named)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, named)
        return named

    def read(self, rows: Sequence[Packed]) -> tuple[Tensor, Tensor]:
        """Logits `(places, outputs)` and labels `(places, heads)` of all rows in order, on the CPU.

        Every process reads all rows: validation sets are small beside training.
        """
        model = self.model.to(self.args.device).eval()
        logits, labels = [], []
        step = self.args.per_device_eval_batch_size
        for start in range(0, len(rows), step):
            batch = self._prepare_inputs(self.data_collator(rows[start : start + step]))
            labels.append(batch.pop("labels").cpu())
            with torch.no_grad(), self.compute_loss_context_manager():
                logits.append(model(**batch).cpu())
        return torch.cat(logits), torch.cat(labels)


def _own_part(batch: dict[str, Any], rows: int) -> dict[str, Any]:
    """A batch in which only labels of its first rows are known."""
    labels = batch["labels"].clone()
    labels[batch["places"][:, 0] >= rows] = IGNORED
    return batch | {"labels": labels}


# One run


def headed(base: Base, settings: ClassifierSettings, heads: Heads) -> Any:
    """The base's network with fresh heads and a fresh adapter; both are trained.

    Raises:
        ConfigError: an encoder-decoder, or no layers to adapt.
    """
    model = HeadedModel(base.model, sum(map(len, heads.values())))
    targets: Any = settings.lora_targets
    if targets == ("all-linear",):  # PEFT finds them automatically in whole models only
        linear = {
            n.rpartition(".")[2] for n, m in model.named_modules() if isinstance(m, nn.Linear)
        }
        targets = tuple(sorted(linear - {"score"}))
    elif targets == ("attention",):
        targets = tuple(lora_targets(model, targets))
    return with_lora(model, settings.model_copy(update={"lora_targets": targets}), task="SEQ_CLS")


def reader_of(base: Base, settings: ClassifierSettings) -> HeadReader:
    """How this base reads prompts.

    Raises:
        ConfigError: a model that heads cannot lie on.
    """
    refuse_unfit(base.model)
    writer = PromptWriter(base.tokenizer, base.model.config, base.model.generation_config)
    return HeadReader(writer, settings.reading, base.context)


def make_trainer(
    base: Base,
    train: Sequence[Packed],
    validation: Sequence[Packed],
    folder: Path,
    settings: ClassifierSettings,
    heads: Heads,
    *,
    seed: int,
    weights: Sequence[float] | None = None,
    dtype: str = "float32",
    resumed: bool = False,
) -> HeadTrainer:
    """The trainer of one run. Draws the weights of adapter and heads from `seed`."""
    torch.manual_seed(seed)
    model = headed(base, settings, heads)
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
    return HeadTrainer(
        heads=heads,
        model=model,
        args=arguments,
        sampler=StepSampler(array("Q", (row.tokens for row in train)), step, seed),
        weights=None if weights is None else torch.tensor(list(weights)),
        head_learning_rate=settings.head_learning_rate,
        train_dataset=RowDataset(train),
        eval_dataset=RowDataset(longest_first(validation)) if validation else None,
        data_collator=PackedCollator(base.pad),
        processing_class=base.tokenizer,
        callbacks=make_callbacks(settings, folder, validate=bool(validation)),
    )


def train_heads(
    settings: ClassifierSettings,
    data: HeadData,
    heads: Heads,
    folder: Path,
    *,
    seed: int,
    weights: Sequence[float] | None,
    console: Console,
) -> TrainedHeads:
    """Load the base, train or resume, and read the test rows with the weights that are kept.

    Raises:
        ConfigError: no row is left, or bad rows are refused.
    """
    dtype = base_dtype(settings)
    base = load_base(
        settings.model, dtype=dtype, attention=attention(settings, dtype), divided=settings.fsdp
    )
    reader = reader_of(base, settings)
    train, long = encode_heads(reader, data.train)
    validation, too_long = encode_heads(reader, data.validation)
    refuse_bad([*long, *too_long], settings.on_bad_row)
    if not train:
        raise ConfigError(
            f"none of {len(data.train)} rows can be trained on",
            problems=[f"{bad.id}: {bad.detail}" for bad in long[:3]],
            hint="raise max_tokens, or give labelled data",
        )
    rows = {
        "train": sum(len(row.places) for row in train),
        "validation": sum(len(row.places) for row in validation),
        "test": len(data.test),
        "passes": len(train),
    }
    bad = (*data.bad, *long, *too_long)
    left_out = left_out_of(bad)
    shown = ", ".join(f"{n} {k}" for k, n in rows.items())
    console.print(f"{folder}: {shown}; {left_out_line(left_out)}", soft_wrap=True)
    rows |= Counter(each.fault for each in bad)

    def make(resumed: bool) -> HeadTrainer:
        return make_trainer(
            base, train, validation, folder, settings, heads,
            seed=seed, weights=weights, dtype=dtype, resumed=resumed,
        )  # fmt: skip

    tokens = sum(row.tokens for row in train) / steps_per_epoch(len(train), settings)
    trainer = run_training(make, folder, tokens, console)
    return TrainedHeads(
        trainer, base, folder, seed, rows, left_out, _tested(trainer, reader, data.test, heads)
    )


def _tested(
    trainer: HeadTrainer, reader: HeadReader, rows: Sequence[HeadRow], heads: Heads
) -> dict[str, list[float]]:
    """Probabilities by row id, as the seated policy would give them."""
    if not rows:
        return {}
    packed = longest_first(encode_heads(reader, rows, cut=True)[0])
    logits, _ = trainer.read(packed)
    parts = logits.split([len(options) for options in heads.values()], dim=-1)
    found = torch.cat([part.softmax(-1) for part in parts], dim=-1).tolist()
    return dict(zip((name for row in packed for name in row.ids), found, strict=True))


def keep(
    trained: TrainedHeads,
    *,
    kind: str,
    heads: Heads,
    settings: ClassifierSettings,
    sources: Sequence[DataSource],
    metrics: Mapping[str, float | None],
    seen: Seen,
) -> Checkpoint:
    """Write the checkpoint with the loop's metrics and these."""
    return finish(
        trained.trainer,
        trained.base,
        trained.folder,
        kind=kind,
        settings=settings,
        seed=trained.seed,
        data=sources,
        rows=trained.rows,
        left_out=trained.left_out,
        metrics=best_metrics(trained.trainer) | dict(metrics),
        seen=seen,
        heads=heads,
    )
