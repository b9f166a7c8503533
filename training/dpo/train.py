"""Direct preference optimisation with an NLL term on the chosen replies (Self-Evolution eq. 6–8).

Pairs are made of conversations first (`preferences/`) or given. The reference is the model before
the new adapter, so its log-probabilities are computed once, before training, and kept. Chosen and
rejected of a pair share the pass over their prompt (`candidates/batch.py`, K = 2).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from ...core.errors import ConfigError
from ...core.outside.console import make_console
from ...core.settings import expect_settings
from ...environments.corpus.seen import Seen, seen_in
from ...policies.base import Policy
from ..candidates.batch import CandidateLogProbs
from ..candidates.losses import dpo_loss, nll_loss
from ..candidates.trainer import CandidateTrainer, Share
from ..loop.base_model import Base, load_base, with_lora
from ..loop.callbacks import make_callbacks
from ..loop.checkpoint import Checkpoint
from ..loop.distributed import in_turn, refuse_alone
from ..loop.loop import (
    attention,
    base_dtype,
    best_metrics,
    finish,
    on_gpu,
    run_training,
    steps_per_epoch,
    training_arguments,
)
from ..loop.results import TrainingResult
from ..loop.resume import for_each_seed
from ..preferences.build import PreferencePair, iter_pairs, pairs_file
from ..preferences.pairs import dropped_in, preference_pairs
from ..rows.build import refuse_bad
from ..rows.collate import RowDataset
from ..rows.encode import RowEncoder
from ..rows.left_out import left_out_line, left_out_of
from ..rows.room import Room
from ..rows.sources import DataSource, source_of
from ..rows.splits import split_contexts
from ..rows.spool import Spool
from .data import ReferencedPair, collator_of, encode_pairs, reference_log_probs
from .settings import DpoSettings

REFERENCE_NAME = "reference.jsonl"


def train_dpo(
    settings: DpoSettings,
    *,
    supporter: Policy | None = None,
    reviser: Policy | None = None,
    console: Console | None = None,
) -> TrainingResult:
    """Make pairs where none are given, train; every stage resumes where it was stopped.

    Args:
        supporter, reviser: in place of the policies that the settings name; the caller closes them.

    Raises:
        ConfigError, DataError, RunError: nothing to train on, or another training in the folder.
        Stopped: Ctrl-C; the same call resumes.
    """
    expect_settings(settings, DpoSettings, "train_dpo")
    refuse_alone(settings)
    console = console or make_console(quiet=True)
    pairs, sources = in_turn(
        lambda: read_pairs(settings, supporter, reviser, console), cpu=not on_gpu(settings)
    )

    dropped = dropped_contexts(settings)

    def train(folder: Path, seed: int) -> Checkpoint:
        return _train_one(settings, pairs, dropped, sources, folder, seed, console)

    return for_each_seed(settings, "dpo", sources, train, console)


# Pairs


def read_pairs(
    settings: DpoSettings,
    supporter: Policy | None,
    reviser: Policy | None,
    console: Console,
) -> tuple[Sequence[PreferencePair], tuple[DataSource, ...]]:
    """The pairs: read, or made in `out/replies` and `out/pairs`."""
    if not settings.pairs:
        return preference_pairs(settings, supporter=supporter, reviser=reviser, console=console)
    files = [pairs_file(path) for path in settings.pairs]
    pairs: Spool[PreferencePair] = Spool()
    sources = []
    for file in files:
        before = len(pairs)
        pairs.extend(iter_pairs(file))
        sources.append(source_of(file, [file], len(pairs) - before))
    return pairs, tuple(sources)


def dialogues_of(settings: DpoSettings) -> Seen:
    """The dialogues whose contexts the pairs answer; those of validation pairs count as trained on,
    since every run of several seeds divides them differently."""
    found = Seen()
    for path in settings.pairs or (str(Path(settings.out or ".") / "pairs"),):
        found |= seen_in(pairs_file(path).parent)
    return found


def dropped_contexts(settings: DpoSettings) -> dict[str, int]:
    """By rule the contexts that gave no pair, as the summaries beside the pairs count them."""
    made = [Path(settings.out or ".") / "pairs"]
    folders = [pairs_file(path).parent for path in settings.pairs] or made
    counts: Counter[str] = Counter()
    for folder in folders:
        counts.update(dropped_in(folder))
    return dict(counts)


# Loss


def loss_of(
    found: CandidateLogProbs,
    reference: Tensor,
    settings: DpoSettings,
    share: Share = Share(),  # noqa: B008 - immutable
) -> Tensor:
    """Self-Evolution eq. 8 over a batch: DPO plus gamma times the chosen replies' NLL.

    Args:
        found: the chosen reply first, the rejected second.
        reference: `(batch, 2)`.
        share: of the batch in its step.
    """
    (chosen, rejected), (old_chosen, old_rejected) = found.sums.unbind(1), reference.unbind(1)
    preferred = dpo_loss(chosen, rejected, old_chosen, old_rejected, settings.beta)
    nll = nll_loss(found.tokens[:, 0], found.mask[:, 0], settings.nll)
    return preferred * share.contexts + settings.gamma * nll * share.of_nll(settings.nll)


class DpoObjective:
    """Self-Evolution eq. 8, with rewards (beta times the log-ratio), as means over pairs."""

    NAMES = ("dpo", "accuracy", "margin", "chosen_reward", "rejected_reward")
    size = len(NAMES) + 3

    def __init__(self, settings: DpoSettings) -> None:
        self._settings = settings

    def loss(
        self, found: CandidateLogProbs, inputs: Mapping[str, Tensor], share: Share
    ) -> tuple[Tensor, Tensor]:
        """See `Objective.loss`."""
        rewards = self._settings.beta * (found.sums.detach() - inputs["reference"])
        margin = rewards[:, 0] - rewards[:, 1]
        preferred = -torch.nn.functional.logsigmoid(margin)
        shown = torch.stack([preferred, (margin > 0).float(), margin, *rewards.T]).sum(dim=1)
        kind, pairs = self._settings.nll, margin.new_tensor(len(margin))
        nll = nll_loss(found.tokens.detach()[:, 0], found.mask[:, 0], kind)
        units = found.mask[:, 0].sum().float() if kind == "token_mean" else pairs
        sizes = torch.stack([nll * units, units, pairs])
        loss = loss_of(found, inputs["reference"], self._settings, share)
        return loss, torch.cat([shown, sizes])

    def means(self, sums: Sequence[float]) -> dict[str, float]:
        """Means over pairs, of the NLL as `settings.nll`; the total is what is trained."""
        *shown, nll, units, pairs = sums
        found = {n: v / max(pairs, 1) for n, v in zip(self.NAMES, shown, strict=True)}
        found["nll"] = nll / max(units, 1)
        return found | {"total": found["dpo"] + self._settings.gamma * found["nll"]}


# One run


def make_trainer(
    base: Base,
    train: Sequence[ReferencedPair],
    validation: Sequence[ReferencedPair],
    folder: Path,
    settings: DpoSettings,
    *,
    seed: int,
    dtype: str = "float32",
    resumed: bool = False,
) -> CandidateTrainer:
    """The trainer of one run. Draws the adapter's weights from `seed`."""
    torch.manual_seed(seed)
    random.seed(seed)
    arguments = training_arguments(
        folder,
        settings,
        rows=len(train),
        seed=seed,
        dtype=dtype,
        validate=bool(validation),
        resumed=resumed,
    )
    return CandidateTrainer(
        objective=DpoObjective(settings),
        model=with_lora(base.model, settings),
        args=arguments,
        train_dataset=RowDataset(train),
        eval_dataset=RowDataset(validation) if validation else None,
        data_collator=collator_of(base),
        processing_class=base.tokenizer,
        callbacks=make_callbacks(settings, folder, validate=bool(validation)),
    )


def _train_one(
    settings: DpoSettings,
    pairs: Sequence[PreferencePair],
    dropped: Mapping[str, int],
    sources: tuple[DataSource, ...],
    folder: Path,
    seed: int,
    console: Console,
) -> Checkpoint:
    dtype = base_dtype(settings)
    base = load_base(
        settings.model, dtype=dtype, attention=attention(settings, dtype), divided=settings.fsdp
    )
    encoder = RowEncoder(base.tokenizer, base.model.config, base.model.generation_config)
    room = Room(settings.max_tokens, base.context)
    sides = [
        encode_pairs(encoder, side, room)
        for side in split_contexts(pairs, settings.validation_share, seed)
    ]
    bad = [row for _, some in sides for row in some]
    refuse_bad(bad, settings.on_bad_row)
    faults = {"too_long": 0} | Counter(row.fault for row in bad)
    if not sides[0][0]:
        raise ConfigError(
            f"of {len(pairs)} pairs none is left to train on",
            problems=[f"{fault.replace('_', ' ')}: {n}" for fault, n in faults.items() if n],
            hint=room.hint(settings)
            if faults["too_long"]
            else "more conversations, or a lower validation_share",
        )
    train, validation = in_turn(
        lambda: [
            reference_log_probs(base, side, settings, dtype, folder / REFERENCE_NAME)
            for side, _ in sides
        ],
        cpu=not on_gpu(settings),
    )
    rows = {"train": len(train), "validation": len(validation), **faults}
    rows |= {f"chosen_{origin}": n for origin, n in Counter(p.origin for p in pairs).items()}
    left_out = left_out_of(bad, dropped)
    shown = ", ".join(f"{n} {k.replace('_', ' ')}" for k, n in rows.items())
    console.print(f"{folder}: {shown}; {left_out_line(left_out)}", soft_wrap=True)

    def make(resumed: bool) -> CandidateTrainer:
        return make_trainer(
            base, train, validation, folder, settings, seed=seed, dtype=dtype, resumed=resumed
        )

    tokens = sum(row.pair.tokens for row in train) / steps_per_epoch(len(train), settings)
    trainer = run_training(make, folder, tokens, console)
    return finish(
        trainer,
        base,
        folder,
        kind="dpo",
        settings=settings,
        seed=seed,
        data=sources,
        rows=rows,
        left_out=left_out,
        metrics=best_metrics(trainer),
        seen=dialogues_of(settings),
    )
