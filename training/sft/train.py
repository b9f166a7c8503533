"""Supervised fine-tuning with LoRA of the supporter (SweetieChat §5.2, Self-Evolution §2.1) or any seat.

Episodes are split by scenario, become rows, then tokens with masks; `transformers.Trainer` runs the
loop. The loss is a mean over a whole step (of its tokens or replies, `nll`), so accumulation equals a
larger batch.
Left out on purpose: packing (rows are sorted by length instead), optimizers besides AdamW.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from rich.console import Console

from ...core.errors import ConfigError
from ...core.outside.console import make_console
from ...core.settings import expect_settings
from ...environments.corpus.importing.folder import opened
from ...environments.corpus.seen import Seen, seen_of
from ...environments.episodes.episode import Episode
from ..loop.base_model import load_base
from ..loop.checkpoint import Checkpoint
from ..loop.distributed import in_turn, refuse_alone
from ..loop.loop import (
    base_dtype,
    best_metrics,
    choose_attention,
    finish,
    on_gpu,
    run_training,
    steps_per_epoch,
)
from ..loop.results import TrainingResult
from ..loop.resume import for_each_seed
from ..loop.row_trainer import RowTrainer, make_row_trainer
from ..loop.tree_attention import use_tree_attention
from ..rows.advice import advice_for
from ..rows.build import BadRow, Row, refuse_bad
from ..rows.encode import Encoded, RowEncoder, encode_rows, too_long_error
from ..rows.left_out import left_out_line, left_out_of
from ..rows.room import Room
from ..rows.seats import build_seat_rows
from ..rows.sources import (
    DataSource,
    draw,
    load_episodes,
    read_instructions,
    replay_count,
    source_of,
    split_episodes,
)
from ..rows.spool import Spool
from ..rows.trees import grow_trees, refuse_misfits
from .settings import SftSettings


def train_sft(settings: SftSettings, *, console: Console | None = None) -> TrainingResult:
    """Train, resume or find finished; one checkpoint for each of `settings.runs`.

    Raises:
        ConfigError, DataError, RunError: nothing to train on, bad rows that are refused, another
            training in the folder.
        Stopped: Ctrl-C; the same call resumes.
    """
    expect_settings(settings, SftSettings, "train_sft")
    refuse_alone(settings)
    console = console or make_console(quiet=True)
    data = read_data(settings)

    def train(folder: Path, seed: int) -> Checkpoint:
        return _train_one(settings, data, folder, seed, console)

    return for_each_seed(settings, "sft", data.sources, train, console)


# Data


@dataclass(frozen=True, slots=True)
class SftData:
    """Rows on both sides of the split, before any tokenizer."""

    train: Sequence[Row]
    validation: Sequence[Row]
    bad: tuple[BadRow, ...]
    sources: tuple[DataSource, ...]
    seen: Seen


def read_data(settings: SftSettings) -> SftData:
    """Episodes, their split and their rows; instruction rows join the training side."""
    with ExitStack() as stack:
        data, validation = (
            [stack.enter_context(opened(path)) for path in paths]
            for paths in (settings.data, settings.validation)
        )
        return _read(settings, data, validation)


def _read(
    settings: SftSettings, data: Sequence[str | Path], validated: Sequence[str | Path]
) -> SftData:
    episodes, sources = load_episodes(data)
    learned: Sequence[Episode] = episodes
    held: Sequence[Episode]
    if validated:
        held, held_sources = load_episodes(validated)
        sources += held_sources
    else:
        learned, held = split_episodes(episodes, settings.validation_share, settings.seed)
    cpu = not on_gpu(settings)
    advice = in_turn(lambda: advice_for(chain(learned, held), settings, settings.out), cpu=cpu)
    train, validation = (build_seat_rows(side, settings, advice) for side in (learned, held))
    rows: Sequence[Row] = train.rows
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
        rows = Spool(chain(rows, draw(available, count, settings.seed)))
        sources += (source_of(settings.replay, [Path(settings.replay)], len(available)),)
    return SftData(
        rows, validation.rows, train.bad + validation.bad, sources, seen_of(learned, held)
    )


@dataclass(frozen=True, slots=True)
class EncodedData:
    """What a training takes of its rows, in tokens.

    Attributes:
        train, validation: the rows that fit, or their trees.
        rows: those of `train` before any tokenizer, in the same order; of a tree the last one.
        counts: rows on both sides, and trees.
        bad: what is left out.
    """

    train: Sequence[Encoded]
    validation: Sequence[Encoded]
    rows: Sequence[Row]
    counts: dict[str, int]
    bad: Sequence[BadRow]


def encode_data(
    encoder: RowEncoder, data: SftData, settings: SftSettings, context: int
) -> EncodedData:
    """The rows that fit the model and the settings.

    Args:
        context: tokens that the model reads.

    Raises:
        ConfigError: none fits, or bad rows that are refused.
    """
    room = Room(settings.max_tokens, context)
    train, rows, long = encode_rows(encoder, data.train, room)
    validation, held, too_long = encode_rows(encoder, data.validation, room)
    refuse_bad([*long, *too_long], settings.on_bad_row)
    if not train:
        raise too_long_error(encoder, data.train, room, settings)
    counts = {"train": len(train), "validation": len(validation)}
    if settings.per == "tree":
        train, rows = grow_trees(train, rows)
        validation, _ = grow_trees(validation, held)
        counts |= {"trees": len(train), "validation_trees": len(validation)}
    return EncodedData(train, validation, rows, counts, (*data.bad, *long, *too_long))


# One run


def _train_one(
    settings: SftSettings, data: SftData, folder: Path, seed: int, console: Console
) -> Checkpoint:
    dtype = base_dtype(settings)
    base = load_base(settings.model, dtype=dtype, divided=settings.fsdp)
    if settings.per == "tree":
        refuse_misfits(base.model.config, base.arguments, settings.model)
    encoder = RowEncoder(base.tokenizer, base.model.config, base.model.generation_config)
    taken = encode_data(encoder, data, settings, base.context)
    train, validation, rows = taken.train, taken.validation, taken.counts
    if settings.per == "tree" and on_gpu(settings):
        base.model.set_attn_implementation("sdpa")  # the fused one that takes any mask
    elif settings.per == "tree":
        use_tree_attention(base.model)
    else:
        choose_attention(base, settings, dtype, max(row.tokens for row in (*train, *validation)))
    left_out = left_out_of(taken.bad)
    shown = ", ".join(f"{n} {k}" for k, n in rows.items())
    console.print(f"{folder}: {shown}; {left_out_line(left_out)}", soft_wrap=True)
    rows = rows | Counter(b.fault for b in taken.bad)

    def make(resumed: bool) -> RowTrainer:
        return make_row_trainer(
            base, train, validation, folder, settings,
            seed=seed, dtype=dtype, resumed=resumed, nll=settings.nll,
        )  # fmt: skip

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
        left_out=left_out,
        metrics=best_metrics(trainer),
        seen=data.seen,
    )
