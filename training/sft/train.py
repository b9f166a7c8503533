"""Supervised fine-tuning of the supporter with LoRA (SweetieChat §5.2, Self-Evolution §2.1), read top to bottom.

Episodes are split by scenario, become rows, then tokens with masks; `transformers.Trainer` runs the
loop. The loss is the mean over all learned tokens of a step, so accumulation equals a larger batch.
Left out on purpose: packing (rows are sorted by length instead), optimizers besides AdamW.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback

from ...core.errors import ConfigError
from ...environments.episodes.episode import Episode
from ..loop.base_model import Base, load_base, with_lora
from ..loop.checkpoint import Checkpoint
from ..loop.distributed import held_out_batches
from ..loop.loop import (
    base_dtype,
    best_metrics,
    callbacks,
    choose_attention,
    finish,
    run_training,
    steps_per_epoch,
    training_arguments,
)
from ..loop.resume import for_each_seed
from ..loop.settings import SftSettings
from ..rows.build import BadRow, Row, build_rows, refuse_bad
from ..rows.collate import Collator, RowDataset, StepSampler, places_to_keep
from ..rows.encode import IGNORED, Encoded, RowEncoder, encode_rows
from ..rows.sources import (
    DataSource,
    draw,
    load_episodes,
    read_instructions,
    replay_count,
    source_of,
    split_episodes,
)


def train_sft(settings: SftSettings, *, console: Console | None = None) -> list[Checkpoint]:
    """Train, resume or find finished; one checkpoint for each of `settings.runs`.

    Raises:
        ConfigError, DataError, RunError: nothing to train on, bad rows that are refused, another
            training in the folder.
        Stopped: Ctrl-C; the same call goes on.
    """
    console = console or Console(quiet=True)
    data = read_data(settings)

    def train(folder: Path, seed: int) -> Checkpoint:
        return _train_one(settings, data, folder, seed, console)

    return for_each_seed(settings, "sft", data.sources, train, console)


# Data


@dataclass(frozen=True, slots=True)
class SftData:
    """Rows on both sides of the split, before any tokenizer."""

    train: tuple[Row, ...]
    validation: tuple[Row, ...]
    bad: tuple[BadRow, ...]
    sources: tuple[DataSource, ...]


def read_data(settings: SftSettings) -> SftData:
    """Episodes, their split and their rows; instruction rows join the training side."""
    episodes, sources = load_episodes(settings.data)
    held: list[Episode]
    if settings.validation:
        held, held_sources = load_episodes(settings.validation)
        sources += held_sources
    else:
        episodes, held = split_episodes(episodes, settings.validation_share, settings.seed)
    train, validation = build_rows(episodes, settings), build_rows(held, settings)
    rows = train.rows
    if not rows:
        raise ConfigError(
            f"{len(episodes)} episodes give no row to train on",
            problems=[f"{fault}: {count}" for fault, count in train.faults.items()],
        )
    if settings.replay:
        available = read_instructions(settings.replay)
        count = replay_count(
            len(rows), len(available), number=settings.replay_rows, share=settings.replay_share
        )
        rows += tuple(draw(available, count, settings.seed))
        sources += (source_of(settings.replay, [Path(settings.replay)], len(available)),)
    return SftData(rows, validation.rows, train.bad + validation.bad, sources)


# Loss


def token_loss(logits: torch.Tensor, labels: torch.Tensor, *, shifted: bool) -> torch.Tensor:
    """Sum over learned tokens of their negative log-likelihood, in nats and float32.

    Args:
        logits: `(batch, time, vocabulary)`, or only at `places_to_keep` of the labels.
        labels: `(batch, time)`, -100 where there is no loss.
        shifted: a label is predicted by the place before it (decoder-only).
    """
    if shifted:
        places = places_to_keep(labels)
        logits = logits[:, places] if logits.shape[1] == labels.shape[1] else logits
        labels = labels[:, places + 1]
    learned = labels != IGNORED
    return cross_entropy(logits[learned].float(), labels[learned], reduction="sum")


class RowTrainer(Trainer):  # type: ignore[misc]
    """`Trainer` with our order of rows, and a validation loss that is a mean over tokens.

    Args:
        sampler: order of the training rows.
        arguments: what `Trainer` takes.
    """

    def __init__(self, *, sampler: StepSampler, **arguments: Any) -> None:
        shifted = not arguments["model"].config.is_encoder_decoder

        def loss(
            outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None
        ) -> torch.Tensor:
            return token_loss(outputs.logits, labels, shifted=shifted) / num_items_in_batch

        super().__init__(compute_loss_func=loss, **arguments)
        self._sampler, self._shifted = sampler, shifted
        self.add_callback(Epochs(sampler))

    def _get_train_sampler(self, train_dataset: Any = None) -> StepSampler:
        return self._sampler

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Loss in nats a token, perplexity, and the number of tokens."""
        loss, tokens = self._summed(held_out_batches(self, eval_dataset))
        mean = loss / max(tokens, 1)
        metrics = {"loss": mean, "perplexity": math.exp(min(mean, 700.0)), "tokens": tokens}
        named = {f"{metric_key_prefix}_{name}": value for name, value in metrics.items()}
        self.log(named)
        state, control = self.state, self.control  # type: ignore[has-type]
        self.control = self.callback_handler.on_evaluate(self.args, state, control, named)
        return named

    def _summed(self, loader: DataLoader[Any]) -> tuple[float, float]:
        """Sum of losses and number of learned tokens, over all processes."""
        model = self.model.to(self.args.device).eval()
        sums = torch.zeros(2, dtype=torch.float64, device=self.args.device)
        for batch in loader:
            inputs = self._prepare_inputs(batch)
            labels = inputs.pop("labels")
            with torch.no_grad(), self.compute_loss_context_manager():
                logits = model(**inputs).logits
            sums[0] += token_loss(logits, labels, shifted=self._shifted).double()
            sums[1] += (labels != IGNORED).sum()
        total = self.accelerator.reduce(sums, "sum").tolist()
        return total[0], total[1]


class Epochs(TrainerCallback):  # type: ignore[misc]
    """Tells the sampler which pass it is; accelerate's skipping on resume does not reach it."""

    def __init__(self, sampler: StepSampler) -> None:
        self._sampler = sampler

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._sampler.set_epoch(int(state.epoch or 0))


# One run


def make_trainer(
    base: Base,
    train: Sequence[Encoded],
    validation: Sequence[Encoded],
    folder: Path,
    settings: SftSettings,
    *,
    seed: int,
    dtype: str = "float32",
    resumed: bool = False,
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
    held = sorted(validation, key=lambda row: row.tokens, reverse=True)
    return RowTrainer(
        model=model,
        args=arguments,
        sampler=StepSampler([row.tokens for row in train], step, seed),
        train_dataset=RowDataset(train),
        eval_dataset=RowDataset(held) if held else None,
        data_collator=Collator(base.tokenizer.pad_token_id, base.arguments),
        processing_class=base.tokenizer,
        callbacks=callbacks(settings, folder, validate=bool(validation)),
    )


def _train_one(
    settings: SftSettings, data: SftData, folder: Path, seed: int, console: Console
) -> Checkpoint:
    dtype = base_dtype(settings)
    base = load_base(settings.model, dtype=dtype)
    encoder = RowEncoder(base.tokenizer, base.model.config, base.model.generation_config)
    longest = min(settings.max_tokens, base.context)
    train, _, long = encode_rows(encoder, data.train, longest)
    validation, _, too_long = encode_rows(encoder, data.validation, longest)
    refuse_bad([*long, *too_long], settings.on_bad_row)
    if not train:
        raise ConfigError(
            f"all {len(data.train)} rows are longer than {longest} tokens",
            hint="raise max_tokens, or lower history_window or case_dialogues",
        )
    choose_attention(base, settings, dtype, max(row.tokens for row in (*train, *validation)))
    bad = Counter(b.fault for b in (*data.bad, *long, *too_long))
    rows: dict[str, int] = {"train": len(train), "validation": len(validation)} | dict(bad)
    told = ", ".join(f"{n} {k.replace('_', ' ')}" for k, n in rows.items())
    console.print(f"{folder}: {told}", soft_wrap=True, markup=False)

    def make(resumed: bool) -> RowTrainer:
        return make_trainer(
            base, train, validation, folder, settings, seed=seed, dtype=dtype, resumed=resumed
        )

    tokens = sum(row.tokens for row in train) / steps_per_epoch(len(train), settings)
    trainer = run_training(make, folder, tokens, console)
    return finish(
        trainer,
        base,
        folder,
        kind="sft",
        settings=settings,
        seed=seed,
        data=data.sources,
        rows=rows,
        metrics=best_metrics(trainer),
    )
