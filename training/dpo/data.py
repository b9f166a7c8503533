"""Preference pairs in tokens, and their log-probabilities under the reference, computed once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from ...core.errors import DataError
from ...core.jsonl import LineLog, complete_objects
from ..candidates.batch import CandidateBatch, candidate_log_probs
from ..loop.base_model import Base
from ..loop.loop import on_gpu
from ..preferences.build import PreferencePair
from ..preferences.hygiene import identical
from ..rows.build import BadRow
from ..rows.encode import IGNORED, RowEncoder
from ..rows.room import Room
from ..rows.spool import Spool
from .settings import DpoSettings

SIDES: Final = ("chosen", "rejected")


@dataclass(frozen=True, slots=True)
class PairTokens:
    """A pair in tokens.

    Attributes:
        prompt: ids.
        chosen, rejected: ids, end token included.
    """

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]

    @property
    def tokens(self) -> int:
        """Length of the prompt and the longer reply."""
        return len(self.prompt) + max(len(self.chosen), len(self.rejected))

    @property
    def key(self) -> str:
        """A hash of all of it."""
        shown = repr((self.prompt, self.chosen, self.rejected)).encode()
        return hashlib.blake2b(shown, digest_size=12).hexdigest()


def encode_pair(encoder: RowEncoder, pair: PreferencePair) -> PairTokens:
    """Token ids of one pair."""
    row = encoder.encode(pair.row("chosen"))
    chosen, rejected = (
        [label for label in encoder.encode(pair.row(side)).labels if label != IGNORED]
        for side in SIDES
    )
    prompt = row.input_ids
    if row.decoder_input_ids is None:
        prompt = prompt[: len(prompt) - len(chosen)]
    return PairTokens(prompt, chosen, rejected)


def encode_pairs(
    encoder: RowEncoder, pairs: Sequence[PreferencePair], room: Room | int
) -> tuple[Spool[PairTokens], list[BadRow]]:
    """The encoded pairs, and those that teach nothing or for which there is no room.

    Args:
        room: as a number, of tokens for the prompt and the longer reply.
    """
    room = Room(room, room) if isinstance(room, int) else room
    encoded: Spool[PairTokens] = Spool()
    bad: list[BadRow] = []
    for pair in pairs:
        if (fault := _fault(pair)) is not None:
            bad.append(fault)
            continue
        made = encode_pair(encoder, pair)
        if made.chosen == made.rejected:  # to this tokenizer
            bad.append(BadRow(pair.id, "identical", "(chosen and rejected, in tokens)"))
            continue
        longest = max(len(made.chosen), len(made.rejected))
        if long := room.fault(len(made.prompt), longest, apart=encoder.apart):
            bad.append(BadRow(pair.id, "too_long", long))
        else:
            encoded.append(made)
    return encoded, bad


def _fault(pair: PreferencePair) -> BadRow | None:
    """Why a pair as it stands in a file teaches nothing, or None."""
    said = {side: "\n".join(m.content for m in getattr(pair, side)) for side in SIDES}
    if empty := [side for side in SIDES if not said[side].strip()]:
        return BadRow(pair.id, "empty_reply", f"({' and '.join(empty)})")
    if identical(said["chosen"], said["rejected"]):
        return BadRow(pair.id, "identical", "(chosen and rejected)")
    return None


@dataclass(frozen=True, slots=True)
class ReferencedPair:
    """A pair in tokens, and what the reference gives its replies, in nats."""

    pair: PairTokens
    chosen: float
    rejected: float


class PairCollator:
    """Pairs into the tensors of a `CandidateBatch`, chosen first, and `reference` `(batch, 2)`."""

    def __init__(self, pad: int, *, encoder: bool) -> None:
        self._pad, self._encoder = pad, encoder

    def batch(self, pairs: Sequence[PairTokens]) -> CandidateBatch:
        """The replies of some pairs."""
        return CandidateBatch.padded(
            [pair.prompt for pair in pairs],
            [[pair.chosen, pair.rejected] for pair in pairs],
            pad=self._pad,
            encoder=self._encoder,
        )

    def __call__(self, rows: Sequence[ReferencedPair]) -> dict[str, Tensor]:
        reference = torch.tensor([[row.chosen, row.rejected] for row in rows])
        return self.batch([row.pair for row in rows]).tensors() | {"reference": reference}


def collator_of(base: Base) -> PairCollator:
    """The collator for a model."""
    return PairCollator(base.pad, encoder=bool(base.model.config.is_encoder_decoder))


# Reference


def reference_log_probs(
    base: Base,
    pairs: Sequence[PairTokens],
    settings: DpoSettings,
    dtype: str,
    file: Path,
) -> Spool[ReferencedPair]:
    """Log-probabilities under the model before its adapter; what is in the file is kept.

    Args:
        dtype: of the base's weights; the pass is computed as the trainer computes its own.
        file: `reference.jsonl`; a line a pair.
    """
    salt = hashlib.blake2b(repr((base.identity, dtype)).encode(), digest_size=8).hexdigest()
    with LineLog(file) as log:
        known = _known(file)
        waiting = {}
        for place, pair in enumerate(pairs):
            if (name := f"{salt}-{pair.key}") not in known:
                waiting[name] = place, pair.tokens
        items = sorted(waiting.items(), key=lambda item: item[1][1], reverse=True)
        for start in range(0, len(items), settings.reference_batch):
            some = items[start : start + settings.reference_batch]
            sums = reference_sums(base, [pairs[place] for _, (place, _) in some], settings, dtype)
            for (name, _), (chosen, rejected) in zip(some, sums, strict=True):
                line = {"pair": name, "chosen": chosen, "rejected": rejected}
                log.write_line(json.dumps(line), f"reference of pair '{name}'")
                known[name] = (chosen, rejected)
    return Spool(ReferencedPair(pair, *known[f"{salt}-{pair.key}"]) for pair in pairs)


def _known(file: Path) -> dict[str, tuple[float, float]]:
    known = {}
    for number, line in complete_objects(file):
        try:
            known[line["pair"]] = (float(line["chosen"]), float(line["rejected"]))
        except (KeyError, TypeError) as error:
            raise DataError(f"not a reference: {error!r}", file=file, line=number) from None
    return known


def reference_sums(
    base: Base, pairs: Sequence[PairTokens], settings: DpoSettings, dtype: str
) -> list[list[float]]:
    device = "cuda" if on_gpu(settings) else "cpu"
    model = base.model.to(device).eval()
    batch = collator_of(base).batch(pairs).to(device)
    half = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(dtype)
    with torch.no_grad(), torch.autocast(device, dtype=half, enabled=half is not None):
        found: list[list[float]] = candidate_log_probs(model, batch).sums.tolist()
    return found
