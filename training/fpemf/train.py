"""FPEMF: fine-tuning with fine-grained feedback on a model's own candidates (FPEMF §4).

Episodes become contexts; each gets K candidates (diverse beams by default), each candidate a label
from feedback on four dimensions. Trained is β_ul times the ranking of helpful over unhelpful
candidates plus β_gen times the NLL of the gold reply. All replies to one prompt share its pass.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from ...core.errors import ConfigError
from ...core.outside.console import make_console
from ...core.settings import expect_settings
from ...environments.corpus.seen import Seen
from ..candidates.batch import CandidateLogProbs
from ..candidates.feedback import Key, Labeller, Marks
from ..candidates.losses import contrastive_loss, fpemf_loss, nll_loss, sequence_scores
from ..candidates.rows import CandidateSet
from ..candidates.trainer import CandidateTrainer, Share
from ..loop.base_model import Base, load_base, with_lora
from ..loop.callbacks import make_callbacks
from ..loop.checkpoint import Checkpoint
from ..loop.distributed import in_turn, refuse_alone
from ..loop.loop import (
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
from ..rows.build import refuse_bad
from ..rows.collate import RowDataset
from ..rows.encode import RowEncoder
from ..rows.left_out import LeftOut, joined, left_out_line, left_out_of
from ..rows.sources import DataSource
from ..rows.splits import split_contexts
from .contexts import candidate_sets, dialogues_of
from .data import ContextCollator, RankedContext, encode_contexts, unjudged
from .judging import feedback_on
from .settings import FpemfSettings


def train_fpemf(
    settings: FpemfSettings, *, labeller: Labeller | None = None, console: Console | None = None
) -> TrainingResult:
    """Make candidates, have them judged, train; every stage resumes where it was stopped.

    Args:
        labeller: judges candidates in place of the policy that the settings name.

    Raises:
        ConfigError, DataError, RunError: nothing to train on, or another training in the folder.
        Stopped: Ctrl-C; the same call resumes.
    """
    expect_settings(settings, FpemfSettings, "train_fpemf")
    refuse_alone(settings)
    console = console or make_console(quiet=True)
    dtype = _dtype(settings)
    base = load_base(settings.model, dtype=dtype, divided=settings.fsdp)
    cpu = not on_gpu(settings)
    found = in_turn(lambda: candidate_sets(settings, base, console), cpu=cpu)
    contexts, sources = found.sets, found.sources
    seen = dialogues_of(settings, contexts)
    marks: Mapping[Key, Marks] = {}
    if settings.ranks:
        marks, rated = in_turn(
            lambda: feedback_on(settings, contexts, labeller, console, seen), cpu=cpu
        )
        sources += rated

    def train(folder: Path, seed: int) -> Checkpoint:
        own = (
            base
            if seed == settings.seed
            else load_base(settings.model, dtype=dtype, divided=settings.fsdp)
        )
        return _train_one(
            settings,
            own,
            contexts,
            found.left_out,
            marks,
            folder,
            seed,
            dtype,
            sources,
            seen,
            console,
        )

    return for_each_seed(settings, "fpemf", sources, train, console)


def _dtype(settings: FpemfSettings) -> str:
    """Weights that are all trained need a format in which small steps are not lost."""
    return "float32" if settings.full and settings.dtype == "auto" else base_dtype(settings)


# Loss


@dataclass(frozen=True, slots=True)
class Losses:
    """The loss of a batch and its parts; the gap is between mean P of helpful and unhelpful.

    `scores` are `(batch, K)`, P of every reply, detached.
    """

    loss: Tensor
    ranking: Tensor
    nll: Tensor
    gap: Tensor | None
    scores: Tensor


def losses_of(
    found: CandidateLogProbs,
    labels: Tensor,
    settings: FpemfSettings,
    share: Share = Share(),  # noqa: B008 - immutable
) -> Losses:
    """FPEMF eq. 6–9 over a batch whose first reply of each context is the gold one.

    Args:
        share: of the batch in its step; the parts are means over the batch.
    """
    scores = sequence_scores(found.tokens, found.mask, settings.alpha)
    ranking = contrastive_loss(scores, labels, settings.margin, settings.reduction)
    nll = nll_loss(found.tokens[:, 0], found.mask[:, 0], settings.nll)
    beta_ul = settings.beta_ul if settings.ranks else 0.0
    helpful, unhelpful = scores[labels == 1], scores[labels == 0]
    both = len(helpful) > 0 and len(unhelpful) > 0
    gap = (helpful.mean() - unhelpful.mean()).detach() if both else None
    of_nll = share.of_nll(settings.nll)
    loss = fpemf_loss(ranking * share.contexts, nll * of_nll, beta_ul, settings.beta_gen)
    return Losses(loss, ranking, nll, gap, scores.detach())


class FpemfObjective:
    """FPEMF eq. 9 with its parts: the ranking as a mean over contexts, the NLL as `settings.nll`."""

    size = 8

    def __init__(self, settings: FpemfSettings) -> None:
        self._settings = settings

    def loss(
        self, found: CandidateLogProbs, inputs: Mapping[str, Tensor], share: Share
    ) -> tuple[Tensor, Tensor]:
        """See `Objective.loss`."""
        labels = inputs["labels"]
        losses = losses_of(found, labels, self._settings, share)
        contexts = losses.nll.new_tensor(len(labels))
        units = found.mask[:, 0].sum() if self._settings.nll == "token_mean" else contexts
        sums = [losses.ranking * contexts, contexts, losses.nll * units, units]
        for scores in (losses.scores[labels == 1], losses.scores[labels == 0]):
            sums += [scores.sum(), losses.nll.new_tensor(len(scores))]
        return losses.loss, torch.stack([value.detach().float() for value in sums])

    def means(self, sums: Sequence[float]) -> dict[str, float]:
        """Ranking, NLL, the gap between the mean P of helpful and of unhelpful replies, and all."""
        ranking, contexts, nll, units, helpful, many_helpful, unhelpful, many_unhelpful = sums
        found = {"ranking": ranking / max(contexts, 1), "nll": nll / max(units, 1)}
        settings = self._settings
        beta_ul = settings.beta_ul if settings.ranks else 0.0
        found["total"] = beta_ul * found["ranking"] + settings.beta_gen * found["nll"]
        if many_helpful and many_unhelpful:
            found["gap"] = helpful / many_helpful - unhelpful / many_unhelpful
        return found


# One run


def make_trainer(
    base: Base,
    train: Sequence[RankedContext],
    validation: Sequence[RankedContext],
    folder: Path,
    settings: FpemfSettings,
    *,
    seed: int,
    dtype: str = "float32",
    resumed: bool = False,
) -> CandidateTrainer:
    """The trainer of one run. Draws the adapter's weights from `seed`."""
    torch.manual_seed(seed)
    random.seed(seed)
    model = base.model.requires_grad_(True) if settings.full else with_lora(base.model, settings)
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
        objective=FpemfObjective(settings),
        model=model,
        args=arguments,
        train_dataset=RowDataset(train),
        eval_dataset=RowDataset(validation) if validation else None,
        data_collator=ContextCollator(base.pad, encoder=bool(base.model.config.is_encoder_decoder)),
        processing_class=base.tokenizer,
        callbacks=make_callbacks(settings, folder, validate=bool(validation)),
    )


def _train_one(
    settings: FpemfSettings,
    base: Base,
    contexts: Sequence[CandidateSet],
    before: Sequence[LeftOut],
    marks: Mapping[Key, Marks],
    folder: Path,
    seed: int,
    dtype: str,
    sources: tuple[DataSource, ...],
    seen: Seen,
    console: Console,
) -> Checkpoint:
    encoder = RowEncoder(base.tokenizer, base.model.config, base.model.generation_config)
    sides = split_contexts(contexts, settings.validation_share, seed)
    encoded = [encode_contexts(base, encoder, side, marks, settings) for side in sides]
    (train, long), (validation, too_long) = encoded
    refuse_bad([*long, *too_long], settings.on_bad_row)
    if not train:
        raise ConfigError(
            "no context is left to train on",
            problems=[f"{row.id}: {row.detail}" for row in long[:3]],
            hint="lower validation_share" if not long else "raise max_tokens",
        )
    unknown = unjudged(contexts, marks, settings)
    left_out = joined(before, left_out_of([*long, *too_long, *unknown]))
    labels = Counter(label for row in train for label in row.labels[1:])
    rows = {
        "train": len(train),
        "validation": len(validation),
        "helpful": labels[1],
        "unhelpful": labels[0],
    }
    shown = ", ".join(f"{n} {k}" for k, n in rows.items())
    console.print(f"{folder}: {shown}; {left_out_line(left_out)}", soft_wrap=True)

    def make(resumed: bool) -> CandidateTrainer:
        return make_trainer(
            base, train, validation, folder, settings, seed=seed, dtype=dtype, resumed=resumed
        )

    tokens = sum(row.tokens for row in train) / steps_per_epoch(len(train), settings)
    trainer = run_training(make, folder, tokens, console)
    return finish(
        trainer,
        base,
        folder,
        kind="fpemf",
        settings=settings,
        seed=seed,
        data=sources,
        rows=rows,
        left_out=left_out,
        metrics=best_metrics(trainer),
        seen=seen,
    )
