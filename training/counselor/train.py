"""The strategy counselor: history to strategy, with LoRA (FPEMF §3.1.2, SweetieChat App. B).

Episodes are split by scenario into training, validation and test dialogues; heads on the last state
(or the labels as completions) are trained, and measured on the test dialogues beside the baselines.
A turn with several strategies teaches its first one; what counts as a hit is named with the
figures.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from ...agents.roles import STRATEGY_LABELS
from ...core.errors import ConfigError
from ...core.files import write_whole
from ...core.outside.console import make_console
from ...core.settings import expect_settings
from ...environments.corpus.seen import Seen, seen_of
from ...policies.base import Message
from ...policies.registry import make_policy
from ..heads.data import HeadRow, split_sides
from ..heads.metrics import Quality, measure
from ..heads.train import HeadData, balanced_weights, keep, train_heads
from ..loop.base_model import load_base
from ..loop.checkpoint import Checkpoint
from ..loop.distributed import refuse_alone
from ..loop.loop import attention, base_dtype, best_metrics, finish, run_training, steps_per_epoch
from ..loop.results import TrainingResult
from ..loop.resume import for_each_seed
from ..loop.row_trainer import (
    RowTrainer,
    make_row_trainer,
)
from ..rows.build import BadRow, Row, refuse_bad
from ..rows.encode import RowEncoder, encode_rows
from ..rows.left_out import left_out_line, left_out_of
from ..rows.room import Room
from ..rows.sources import DataSource
from ..rows.spool import Spool
from . import baselines as baselines
from .baselines import Guess
from .data import HEADS, CounselorTurn, counselor_turns
from .settings import CounselorSettings

REPORT_NAME = "report.json"
SIZE = len(STRATEGY_LABELS)
TRAINED = "counselor"
"""Name of the trained one among the models that a report compares."""

CONVENTIONS = {
    "first": "a turn's first strategy is the right one",
    "any": "each of a turn's strategies is right",
}


@dataclass(frozen=True, slots=True)
class CounselorData:
    """Turns of the three sides, before any tokenizer."""

    train: Sequence[CounselorTurn]
    validation: Sequence[CounselorTurn]
    test: Sequence[CounselorTurn]
    bad: tuple[BadRow, ...]
    sources: tuple[DataSource, ...]
    seen: Seen


def train_counselor(
    settings: CounselorSettings, *, console: Console | None = None
) -> TrainingResult:
    """Train, resume or find finished; one checkpoint for each of `settings.runs`.

    Raises:
        ConfigError, DataError, RunError: nothing to train on, bad rows that are refused, another
            training in the folder.
        Stopped: Ctrl-C; the same call resumes.
    """
    expect_settings(settings, CounselorSettings, "train_counselor")
    refuse_alone(settings)
    console = console or make_console(quiet=True)
    data = read_data(settings)
    train_form = _train_labels if settings.form == "labels" else _train_head

    def train(folder: Path, seed: int) -> Checkpoint:
        return train_form(settings, data, folder, seed, console)

    return for_each_seed(settings, "counselor", data.sources, train, console)


# Data


def read_data(settings: CounselorSettings) -> CounselorData:
    """Episodes, their split by scenario, and their labelled turns.

    Raises:
        ConfigError: no turn to train on, or bad rows are refused.
    """
    (train, validation, test), sources = split_sides(settings)
    sides = [counselor_turns(side) for side in (train, validation, test)]
    bad = tuple(fault for _, faults in sides for fault in faults)
    refuse_bad(bad, settings.on_bad_row)
    turns = [found for found, _ in sides]
    if not turns[0]:
        faults = Counter(fault.fault for fault in bad)
        raise ConfigError(
            f"{len(train)} episodes give no labelled turn to train on",
            problems=[f"{fault}: {count}" for fault, count in faults.items()],
            hint="import a corpus with strategies, or simulate with a counselor",
        )
    seen = seen_of(train, validation)
    return CounselorData(turns[0], turns[1], turns[2], bad, sources, seen)


def head_rows(turns: Iterable[CounselorTurn]) -> Spool[HeadRow]:
    """Turns as rows of the one head; a dialogue's may be packed together."""
    return Spool(HeadRow(t.id, t.episode, t.messages, (t.gold[0],)) for t in turns)


def label_rows(turns: Iterable[CounselorTurn]) -> Iterator[Row]:
    """Turns as rows of a language model that answers with the strategy's name."""
    return (
        Row(
            t.id, t.group, (*t.messages, Message("assistant", t.strategies[0].value)),
            (len(t.messages),), t.strategies[0],
        )
        for t in turns
    )  # fmt: skip


# The two forms


def _train_head(
    settings: CounselorSettings, data: CounselorData, folder: Path, seed: int, console: Console
) -> Checkpoint:
    weights = None
    if settings.class_weights == "balanced":
        weights = balanced_weights([turn.gold[0] for turn in data.train], SIZE)
    sides = HeadData(
        head_rows(data.train), head_rows(data.validation), head_rows(data.test),
        data.bad, data.sources,
    )  # fmt: skip
    trained = train_heads(
        settings, sides, HEADS, folder, seed=seed, weights=weights, console=console
    )
    probabilities = [trained.probabilities[turn.id] for turn in data.test]
    chosen: list[int | None] = [max(range(SIZE), key=p.__getitem__) for p in probabilities]
    metrics = report(settings, data, Guess(chosen, probabilities), folder)
    return keep(
        trained, kind="counselor", heads=HEADS, settings=settings, sources=data.sources,
        metrics=metrics, seen=data.seen,
    )  # fmt: skip


def _train_labels(
    settings: CounselorSettings, data: CounselorData, folder: Path, seed: int, console: Console
) -> Checkpoint:
    """The strategy's name is trained as a completion; `transformers` scores all eight."""
    dtype = base_dtype(settings)
    base = load_base(
        settings.model, dtype=dtype, attention=attention(settings, dtype), divided=settings.fsdp
    )
    encoder = RowEncoder(base.tokenizer, base.model.config, base.model.generation_config)
    room = Room(settings.max_tokens, base.context)
    train, _, long = encode_rows(encoder, label_rows(data.train), room)
    validation, _, too_long = encode_rows(encoder, label_rows(data.validation), room)
    refuse_bad([*long, *too_long], settings.on_bad_row)
    if not train:
        raise ConfigError(
            f"all {len(long)} rows are longer than {room.longest} tokens, such as {long[0].id}:"
            f" {long[0].detail}",
            hint="raise max_tokens"
            if room.tokens < room.positions
            else "the model has no more positions; --form head reads the latest messages that fit",
        )
    rows = {"train": len(train), "validation": len(validation), "test": len(data.test)}
    bad = (*data.bad, *long, *too_long)
    left_out = left_out_of(bad)
    shown = ", ".join(f"{n} {k}" for k, n in rows.items())
    console.print(f"{folder}: {shown}; {left_out_line(left_out)}", soft_wrap=True)
    rows |= Counter(each.fault for each in bad)

    def make(resumed: bool) -> RowTrainer:
        return make_row_trainer(
            base, train, validation, folder, settings, seed=seed, dtype=dtype, resumed=resumed
        )

    tokens = sum(row.tokens for row in train) / steps_per_epoch(len(train), settings)
    trainer = run_training(make, folder, tokens, console)

    def kept(metrics: Mapping[str, float | None]) -> Checkpoint:
        return finish(
            trainer, base, folder, kind="counselor", settings=settings, seed=seed,
            data=data.sources, rows=rows, metrics=best_metrics(trainer) | dict(metrics),
            seen=data.seen, left_out=left_out,
        )  # fmt: skip

    kept({})  # the policy needs the folder
    policy = make_policy("transformers", model=folder, dtype=dtype, **_device(settings))
    return kept(
        report(settings, data, Guess(baselines.ask_for_strategies(policy, data.test)), folder)
    )


def _device(settings: CounselorSettings) -> dict[str, str]:
    return {} if settings.device == "auto" else {"device": settings.device}


# Figures


def report(
    settings: CounselorSettings, data: CounselorData, trained: Guess, folder: Path
) -> dict[str, float | None]:
    """Measure the trained one and the baselines on the test turns, and write `report.json`.

    Returns:
        The trained one's figures for the checkpoint, and the baselines' accuracies.
    """
    if not data.test:
        return {}
    guesses = {TRAINED: trained}
    if settings.baselines:
        guesses |= {
            "majority": baselines.majority(data.train, data.test),
            "stages": baselines.stages(data.train, data.test),
            "transitions": baselines.transitions(data.train, data.test),
            "tf-idf": baselines.tf_idf(data.train, data.test),
        }
    if settings.zero_shot.policy is not None:
        guesses["zero-shot"] = _zero_shot(settings, data.test)
    found = {name: _measured(data.test, guess) for name, guess in guesses.items()}
    record: dict[str, Any] = {
        "turns": len(data.test),
        "dialogues": len({turn.episode for turn in data.test}),
        "labels": list(STRATEGY_LABELS),
        "accuracy": CONVENTIONS[settings.label],
        "models": {name: quality.as_json() for name, quality in found.items()},
    }
    write_whole(folder / REPORT_NAME, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    metrics = {f"test_{name}": value for name, value in found[TRAINED].numbers().items()}
    metrics["test_accuracy"] = headline(found[TRAINED], settings)
    metrics["test_accuracy_first"] = found[TRAINED].accuracy
    for name, quality in found.items():
        if name != TRAINED:
            metrics[f"{name.replace('-', '_')}_accuracy"] = headline(quality, settings)
    return metrics


def headline(quality: Quality, settings: CounselorSettings) -> float | None:
    """The accuracy by the convention that the settings name."""
    return quality.accuracy_any if settings.label == "any" else quality.accuracy


def _zero_shot(settings: CounselorSettings, test: Sequence[CounselorTurn]) -> Guess:
    """Choices of a policy as it is, for the first turns; the others are missing."""
    engine = settings.zero_shot
    policy = make_policy(str(engine.policy), **engine.policy_options())
    few = test[: settings.zero_shot_turns]
    chosen = baselines.ask_for_strategies(policy, few, settings.zero_shot_concurrency)
    return Guess(chosen + [None] * (len(test) - len(few)))


def _measured(test: Sequence[CounselorTurn], guess: Guess) -> Quality:
    """Unreadable choices are missing: left out, and seen in the count."""
    known = [n for n, choice in enumerate(guess.chosen) if choice is not None]
    return measure(
        [test[n].gold for n in known],
        [choice for choice in guess.chosen if choice is not None],
        SIZE,
        None if guess.probabilities is None else [guess.probabilities[n] for n in known],
    )
