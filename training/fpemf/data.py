"""Contexts of FPEMF in tokens: prompt, replies and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..candidates.batch import CandidateBatch
from ..candidates.feedback import Key, Marks, find_rule, labels_of
from ..candidates.losses import MISSING
from ..candidates.rows import CandidateSet, candidate_name
from ..candidates.sources import known_tokens
from ..loop.base_model import Base
from ..rows.build import BadRow
from ..rows.encode import RowEncoder
from ..rows.room import Room
from ..rows.spool import Spool
from .settings import FpemfSettings


@dataclass(frozen=True, slots=True)
class RankedContext:
    """A context in tokens.

    Attributes:
        prompt: ids.
        replies: the gold reply first, then the candidates.
        labels: one a reply; the gold reply's is -1 unless it is ranked too.
    """

    prompt: list[int]
    replies: list[list[int]]
    labels: list[int]

    @property
    def tokens(self) -> int:
        """Length of the prompt and its longest reply."""
        return len(self.prompt) + max(map(len, self.replies))


def encode_context(
    base: Base,
    encoder: RowEncoder,
    context: CandidateSet,
    marks: Mapping[Key, Marks],
    settings: FpemfSettings,
) -> RankedContext:
    """Prompt, replies and labels of one context; candidates without a label are left out."""
    row = encoder.encode(context.row(context.gold))
    gold = [label for label in row.labels if label >= 0]
    prompt = row.input_ids
    if row.decoder_input_ids is None:
        prompt = prompt[: len(prompt) - len(gold)]
    replies, labels = [gold], [1 if settings.include_gold else MISSING]
    if settings.ranks:
        found = labels_of(context, marks, find_rule(settings.rule))[: settings.num_candidates]
        for candidate, label in zip(context.candidates, found, strict=False):
            if label != MISSING:
                replies.append(known_tokens(base.tokenizer, encoder, context, candidate))
                labels.append(label)
    return RankedContext(prompt, replies, labels)


def encode_contexts(
    base: Base,
    encoder: RowEncoder,
    contexts: Sequence[CandidateSet],
    marks: Mapping[Key, Marks],
    settings: FpemfSettings,
) -> tuple[Spool[RankedContext], list[BadRow]]:
    """The contexts in tokens, and those that are longer than the settings or the model allow."""
    room = Room(settings.max_tokens, base.context)
    kept: Spool[RankedContext] = Spool()
    bad: list[BadRow] = []
    for context in contexts:
        made = encode_context(base, encoder, context, marks, settings)
        longest = max(map(len, made.replies))
        if fault := room.fault(len(made.prompt), longest, apart=encoder.apart):
            bad.append(BadRow(context.id, "too_long", fault))
        else:
            kept.append(made)
    return kept, bad


def unjudged(
    contexts: Sequence[CandidateSet], marks: Mapping[Key, Marks], settings: FpemfSettings
) -> list[BadRow]:
    """The candidates that no rating decides: they are not ranked."""
    if not settings.ranks:
        return []
    rule = find_rule(settings.rule)
    return [
        BadRow(f"{context.id}/{candidate_name(number)}", "not_judged")
        for context in contexts
        for number, label in enumerate(labels_of(context, marks, rule)[: settings.num_candidates])
        if label == MISSING
    ]


class ContextCollator:
    """Contexts into the tensors of a `CandidateBatch`, and `labels` `(batch, replies)`."""

    def __init__(self, pad: int, *, encoder: bool) -> None:
        self._pad, self._encoder = pad, encoder

    def __call__(self, rows: Sequence[RankedContext]) -> dict[str, Tensor]:
        batch = CandidateBatch.padded(
            [row.prompt for row in rows],
            [row.replies for row in rows],
            pad=self._pad,
            encoder=self._encoder,
        )
        width = batch.reply_ids.shape[1]
        labels = [[*row.labels, *[MISSING] * (width - len(row.labels))] for row in rows]
        return batch.tensors() | {"labels": torch.tensor(labels)}
