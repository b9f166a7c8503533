"""The stages of a round of self-evolution: replies, reflections, pairs, training, and two measures.

Each resumes where it was stopped, by its own journal, and gives its measures; which are done is the
state machine's affair (`evolve.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from ...core.errors import ConfigError
from ...core.tasks import run_sync
from ...environments.episodes.episode import Episode
from ...evaluation.replies.evaluate import evaluate
from ...policies.base import Policy
from ..candidates.batch import CandidateBatch, candidate_log_probs
from ..dpo.settings import DpoSettings
from ..dpo.train import train_dpo
from ..loop.base_model import base_name, load_base
from ..loop.loop import attention, base_dtype, on_gpu
from ..preferences.build import (
    SUMMARY_NAME,
    ask_chosen,
    ask_rejected,
    claim_calls,
    iter_pairs,
    pairs_from,
)
from ..preferences.contexts import Context, advised, contexts_of
from ..preferences.policies import engine_names, open_engines
from ..preferences.reflection import DECODING
from ..rows.advice import advice_for, counselor_engine
from ..rows.build import Row, build_rows
from ..rows.encode import IGNORED, Encoded, RowEncoder, encode_rows
from ..rows.room import Room
from ..rows.sources import load_episodes
from ..rows.spool import longest_first
from .evaluation import round_evaluation
from .settings import EvolveSettings
from .tables import published_names

CHECKPOINT = "checkpoint"
"""Folder of a round's model."""


@dataclass(frozen=True, slots=True)
class RoundWork:
    """What the stages of one round need.

    Attributes:
        folder: of the round.
        parent: the model to begin with, as it can be loaded.
        episodes: that give contexts.
        held_out: folder of the conversations that all models are measured on.
        before: measures of the last promoted model.
        supporter, reviser: ready policies; None for those of the settings.
    """

    number: int
    settings: EvolveSettings
    folder: Path
    parent: str
    episodes: Sequence[Episode]
    held_out: Path
    before: Mapping[str, float | None]
    supporter: Policy | None
    reviser: Policy | None
    console: Console

    @property
    def checkpoint(self) -> Path:
        """Where the round's model lies."""
        return self.folder / CHECKPOINT

    def pair_settings(self) -> EvolveSettings:
        """The settings with a seed of the round's own."""
        return self.settings.model_copy(update={"seed": self.settings.seed + self.number})

    def contexts(self) -> tuple[Sequence[Context], Counter[str]]:
        """The contexts of the round, without a counselor's advice."""
        counts: Counter[str] = Counter()
        return contexts_of(self.episodes, self.pair_settings(), counts), counts

    def advised(self, contexts: Sequence[Context]) -> Sequence[Context]:
        """The same with its advice."""
        return advised(contexts, self.episodes, self.pair_settings(), self.settings.out)


Measures = dict[str, float | None]
Stage = Callable[[RoundWork], Measures]


def shown_model(model: str, out: Path) -> str:
    """A model's name for the record: its path from the evolution's folder if it is below that."""
    path = Path(model)
    return path.relative_to(out).as_posix() if path.is_relative_to(out) else model


def _replies(work: RoundWork) -> Measures:
    """The parent's own replies."""
    contexts, _ = work.contexts()
    _ask(work, contexts, refine=False)
    return {"contexts": float(len(contexts))}


def _reflections(work: RoundWork) -> Measures:
    """What stands against them: refined by reflection, or another policy's."""
    contexts, _ = work.contexts()
    _ask(work, contexts, refine=True)
    return {}


def _ask(work: RoundWork, contexts: Sequence[Context], *, refine: bool) -> None:
    settings, folder = work.pair_settings(), work.folder / "replies"
    # the parent by its name within the evolution, so that the folder can be moved between starts
    names = engine_names(settings, shown_model(work.parent, work.folder.parent))
    claim_calls(folder, contexts, settings, names)
    contexts = work.advised(contexts)

    async def asking() -> None:
        engines = open_engines(settings, work.parent, settings.device, work.supporter, work.reviser)
        async with engines as (supporter, reviser):
            if refine:
                await ask_chosen(contexts, settings, folder, reviser)
            else:
                await ask_rejected(contexts, settings, folder, supporter)

    run_sync(asking())


def _pairs(work: RoundWork) -> Measures:
    """Clean pairs, and how relevant both sides are to the user."""
    contexts, counts = work.contexts()
    _, summary = pairs_from(
        work.folder / "replies",
        work.advised(contexts),
        work.pair_settings(),
        work.folder / "pairs",
        counts,
        work.episodes,
    )
    found: Measures = {"pairs": float(summary.pairs)}
    for origin, number in summary.origins.items():
        found[f"chosen_{origin}"] = float(number)
    for side in ("chosen", "rejected"):
        found[f"relevance_{side}"] = summary.relevance[side]
    return found


def _train(work: RoundWork) -> Measures:
    """DPO on the parent; a round without a pair is an error that names the rules."""
    if next(iter_pairs(work.folder / "pairs"), None) is None:
        raise ConfigError(
            f"round {work.number} gives no pair",
            hint=f"see {work.folder / 'pairs' / SUMMARY_NAME} for the rules that dropped them",
        )
    shared = DpoSettings.model_fields.keys() & EvolveSettings.model_fields.keys()
    own = {name: getattr(work.settings, name) for name in shared}
    own |= {
        "model": work.parent,
        "pairs": (str(work.folder / "pairs"),),
        "data": (),
        "out": str(work.checkpoint),
        "seed": work.settings.seed + work.number,
    }
    made = train_dpo(DpoSettings(**own), console=work.console)
    return {
        "reward_accuracy": made.metrics.get("validation_accuracy"),
        "reward_margin": made.metrics.get("validation_margin"),
        "validation_nll": made.metrics.get("validation_nll"),
        "steps": made.metrics.get("steps"),
    }


def _held_out_nll(work: RoundWork) -> Measures:
    """NLL of what people (or the simulation) said, under the round's model."""
    episodes, _ = load_episodes([work.held_out])
    advice = advice_for(episodes, work.settings, work.settings.out)
    built = build_rows(episodes, work.settings, advice)
    nll, tokens, long = gold_nll(_model(work), built.rows, work.settings)
    left_out = float(long + len(built.bad))
    return {"held_out_nll": nll, "held_out_tokens": float(tokens), "held_out_left_out": left_out}


def _evaluation(work: RoundWork) -> Measures:
    """Replies to the held-out conversations, scored as `warmline evaluate` scores them."""
    if not work.settings.evaluate:
        return {}
    settings = work.settings
    own: dict[str, Any] = {
        "policy": "transformers",
        "model": base_name(_model(work)),
        "out": str(work.folder / "evaluation"),
        "seed": settings.seed,
        "options": {"device": settings.device},
        "published": published_names(work.number, settings.variant),
    }
    own |= {"strategy": settings.strategy, "definitions": settings.definitions}
    own |= {"history_window": settings.window, "max_sentences": settings.max_sentences}
    if settings.short:
        own["short"] = True
    own |= settings.supporter.sampling().over(DECODING).as_dict()  # Self-Evolution appendix B
    if settings.template is not None:
        own["template"] = settings.template
    if settings.counselor is not None:
        own["counselor"] = {"seated": True, **counselor_engine(settings)}
    chosen = round_evaluation(own, settings.evaluation)
    result, *_ = evaluate(work.held_out, chosen)
    return {score.metric: score.value for score in result.scores}


STAGES: dict[str, Stage] = {
    "replies": _replies,
    "reflections": _reflections,
    "pairs": _pairs,
    "training": _train,
    "held-out": _held_out_nll,
    "evaluation": _evaluation,
}
"""In their order."""

MEASURING = frozenset({"held-out", "evaluation"})
"""The stages of round 0."""


def _model(work: RoundWork) -> str:
    return work.parent if work.number == 0 else str(work.checkpoint)


def gold_nll(
    model: str, rows: Sequence[Row], settings: EvolveSettings
) -> tuple[float | None, int, int]:
    """Mean negative log-likelihood of the rows' replies, nats a token; the number of tokens, and of
    rows that are too long.

    None where no row can be used.
    """
    dtype = base_dtype(settings)
    base = load_base(model, dtype=dtype, attention=attention(settings, dtype))
    encoder = RowEncoder(base.tokenizer, base.model.config, base.model.generation_config)
    encoded: Sequence[Encoded]
    encoded, _, long = encode_rows(encoder, rows, Room(settings.max_tokens, base.context))
    encoded = longest_first(encoded)
    device = "cuda" if on_gpu(settings) else "cpu"
    network = base.model.to(device).eval()
    seq2seq = bool(network.config.is_encoder_decoder)
    total, count = 0.0, 0
    half = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(dtype)
    for start in range(0, len(encoded), settings.reference_batch):
        some = encoded[start : start + settings.reference_batch]
        replies = [[label for label in row.labels if label != IGNORED] for row in some]
        prompts = [
            row.input_ids if seq2seq else row.input_ids[: len(row.input_ids) - len(reply)]
            for row, reply in zip(some, replies, strict=True)
        ]
        batch = CandidateBatch.padded(
            prompts, [[reply] for reply in replies], pad=base.pad, encoder=seq2seq
        )
        with torch.no_grad(), torch.autocast(device, dtype=half, enabled=half is not None):
            found = candidate_log_probs(network, batch.to(device))
        total -= float(found.sums.double().sum())
        count += int(found.mask.sum())
    return (total / count if count else None), count, len(long)
