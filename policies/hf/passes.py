"""The three forward passes of a decoder-only model over rows of different lengths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ...core.errors import ConfigError
from ..models.loading import BASE, LoadedModel
from .cache import COLUMNS, RowCache, rounded_up
from .sampling import undefined_rows


class Passes:
    """A decoder-only model and the cache of its rows.

    Args:
        alone: there is never more than one row. No mask is then needed, so no model is refused.
    """

    def __init__(self, model: LoadedModel, *, alone: bool) -> None:
        self.model, self.alone = model, alone
        self.cache = RowCache(model.layers)

    def chunk(
        self, first: int, past: int, pieces: Sequence[Sequence[int]], adapters: Sequence[str]
    ) -> list[torch.Tensor]:
        """Compute a piece of the prompts of neighbouring slots, and store it.

        Shorter pieces are padded at their end, which none of their tokens attends to.

        Args:
            first: the first of the slots.
            past: tokens of each prompt that are computed already.
            pieces: the tokens that follow.

        Returns:
            Logits `(vocabulary,)` after each piece.
        """
        width = max(map(len, pieces))
        ends = [len(piece) - 1 for piece in pieces]
        kept = sorted(set(ends))
        self.cache.chunk(first, len(pieces), past)
        logits = self._forward(_filled(pieces), self._from(past, width), adapters, kept=kept)
        return [logits[row, kept.index(end)].float() for row, end in enumerate(ends)]

    def step(
        self, tokens: Sequence[int], positions: Sequence[int], adapters: Sequence[str]
    ) -> torch.Tensor:
        """Compute and store one token in each slot, from the first slot on.

        Args:
            tokens: one a slot.
            positions: the place of each in its row.

        Returns:
            Logits `(rows, vocabulary)` after each.
        """
        longest = max(positions) + 1
        width = longest if self.alone else rounded_up(longest, COLUMNS)
        slots = torch.arange(len(tokens), device=self.model.device)
        places = torch.tensor(positions, device=self.model.device)
        self.cache.step(slots, places, width)
        mask = None if self.alone else self._mask(places, width)
        inputs = [[token] for token in tokens]
        return self._forward(inputs, places[:, None], adapters, mask=mask)[:, -1].float()

    def branch(
        self, slot: int, past: int, continuations: Sequence[Sequence[int]], adapter: str
    ) -> list[torch.Tensor]:
        """Compute several continuations of one row side by side, without storing them.

        Args:
            past: tokens of the row.
            continuations: tokens that might follow.

        Returns:
            Logits `(length, vocabulary)` after each token of each continuation.
        """
        width = max(map(len, continuations))
        if width == 0:
            return [torch.empty(0, self.model.vocabulary, device=self.model.device)] * len(
                continuations
            )
        self.cache.branch(slot, past)
        adapters = [adapter] * len(continuations)
        logits = self._forward(_filled(continuations), self._from(past, width), adapters)
        return [logits[row, : len(each)].float() for row, each in enumerate(continuations)]

    def check_batching(self, rows: int) -> None:
        """Check that two rows of different lengths get the same logits as each row alone.

        Args:
            rows: number of rows in the check, at least two.

        Raises:
            ConfigError: they do not, so the model needs an input that this policy does not provide.
        """
        vocabulary = self.model.vocabulary
        texts = [[(7 * n + 3) % vocabulary for n in range(length)] for length in (5, 9)]
        self.cache.resize(rows, COLUMNS)
        for slot, text in enumerate(texts):
            self.chunk(slot, 0, [text[:-1]], [BASE])
        fill = [0] * (rows - len(texts))
        last, places = [text[-1] for text in texts], [len(text) - 1 for text in texts]
        try:
            batched = self.step(last + fill, places + fill, [BASE] * rows)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise self._unbatchable(f"its computation fails ({error})") from error
        exact = self.model.model.dtype == torch.float32
        for text, got in zip(texts, batched, strict=False):
            tokens = torch.tensor([text], device=self.model.device)
            plain = self.model.forward([BASE], input_ids=tokens).logits[0, -1].float()
            if undefined_rows(plain[None]):
                raise self._unusable()
            off = float((got - plain).norm() / plain.norm())
            if not off < (1e-3 if exact else 5e-2):
                raise self._unbatchable(f"its logits are off by {off:.1%}")

    def _unusable(self) -> ConfigError:
        dtype = self.model.dtype
        return ConfigError(
            f"'{self.model.name}' computes infinite or undefined logits in {dtype}, also alone",
            hint="take dtype 'bfloat16' or 'float32': numbers above 65504 are infinite in float16"
            if dtype == "float16"
            else "its weights are damaged",
        )

    def _unbatchable(self, fault: str) -> ConfigError:
        return ConfigError(
            f"'{self.model.name}' cannot be batched: beside another request {fault}",
            hint="set max_batch = 1",
        )

    def _from(self, past: int, width: int) -> torch.Tensor:
        return torch.arange(past, past + width, device=self.model.device)[None]

    def _mask(self, positions: torch.Tensor, width: int) -> Any:
        """Which columns each row attends to: those up to its own, within the layer's window."""
        columns = torch.arange(width, device=positions.device)
        masks: dict[str, torch.Tensor] = {}
        for kind, window in self.model.windows.items():
            seen = columns <= positions[:, None]
            if window is not None:
                seen &= columns > positions[:, None] - window
            mask = seen[:, None, None, :]
            if self.model.model.config._attn_implementation != "sdpa":  # others add their mask
                lowest = torch.finfo(self.model.model.dtype).min
                mask = torch.zeros_like(mask, dtype=self.model.model.dtype).masked_fill(
                    ~mask, lowest
                )
            masks[kind] = mask
        return masks if len(masks) > 1 else next(iter(masks.values()))

    def _forward(
        self,
        tokens: Sequence[Sequence[int]],
        positions: torch.Tensor,
        adapters: Sequence[str],
        *,
        mask: Any = None,
        kept: list[int] | None = None,
    ) -> torch.Tensor:
        """Logits `(rows, kept or all, vocabulary)` of one pass through the chosen view."""
        device = self.model.device
        extra: dict[str, Any] = {"past_key_values": self.cache, "use_cache": True}
        if mask is not None:
            extra["attention_mask"] = mask
        if "position_ids" in self.model.arguments:
            extra["position_ids"] = positions.expand(len(tokens), -1)
        few = kept is not None and "logits_to_keep" in self.model.arguments
        if few:
            extra["logits_to_keep"] = torch.tensor(kept, device=device)
        inputs = torch.tensor(tokens, device=device)
        logits: torch.Tensor = self.model.forward(adapters, input_ids=inputs, **extra).logits
        return logits[:, kept] if kept is not None and not few else logits


def _filled(rows: Sequence[Sequence[int]]) -> list[list[int]]:
    width = max(map(len, rows))
    return [[*row, *[0] * (width - len(row))] for row in rows]
