"""A model as beam search sees it: prompts once, then one token for every open beam.

Only public parts of transformers: `forward`, the Cache classes, `get_encoder`. What differs between
decoder-only and encoder-decoder models is in this file alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache, EncoderDecoderCache


class Decoder:
    """The running state of one search. Use within `torch.no_grad()`.

    Args:
        model: a causal or sequence-to-sequence model of transformers, PEFT around it or not.
        input_ids: `(batch, time)`; left-padded for a decoder-only model.
        attention_mask: `(batch, time)`, 0 at padding.
        decoder_start_token_id: first token of the decoder, for an encoder-decoder model.

    Attributes:
        rows: number of rows that the cache holds now; at first one a context.
        prompt: `(batch, time)`, what stands before the first new token.
        prompt_mask: `(batch, time)`, 0 at padding.
    """

    def __init__(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        decoder_start_token_id: int | None,
    ) -> None:
        self._model = model
        base = model.get_base_model() if hasattr(model, "peft_config") else model
        self._config = base.config
        self._arguments = frozenset(inspect.signature(base.forward).parameters)
        self._input_mask = attention_mask
        self._encoded: torch.Tensor | None = None
        if base.config.is_encoder_decoder:
            encoder = base.get_encoder()
            self._encoded = encoder(input_ids, attention_mask=attention_mask)[0]
            start = decoder_start_token_id
            self.prompt = torch.full_like(input_ids[:, :1], 0 if start is None else start)
            self.prompt_mask = torch.ones_like(self.prompt)
            self._cache: Any = EncoderDecoderCache(DynamicCache(), DynamicCache())
        else:
            self.prompt, self.prompt_mask = input_ids, attention_mask
            self._cache = DynamicCache(config=base.config)
        self._mask = self.prompt_mask
        self._lengths = self.prompt_mask.sum(dim=1)
        self.rows = len(input_ids)

    def prefill(self) -> torch.Tensor:
        """Compute the prompts; returns logits of the first new token, `(batch, vocabulary)`."""
        positions = (self._mask.cumsum(dim=1) - 1).clamp(min=0)
        return self._forward(self.prompt, positions)

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """Append one token to every row; returns logits of the next one, `(rows, vocabulary)`."""
        ids = torch.tensor(tokens, device=self.prompt.device)[:, None]
        self._mask = torch.cat([self._mask, torch.ones_like(ids)], dim=1)
        positions = self._lengths[:, None]
        self._lengths = self._lengths + 1
        return self._forward(ids, positions)

    def select(self, rows: Sequence[int], *, same_context: bool = False) -> None:
        """Go on with these rows, in this order; one may come several times or not at all.

        Args:
            same_context: each row is replaced by one of the same context, so that what belongs to
                the context may stay.
        """
        if list(rows) == list(range(self.rows)):
            return
        index = torch.tensor(rows, device=self.prompt.device)
        if same_context and self._encoded is not None:
            self._cache.self_attention_cache.reorder_cache(index)
            return
        self._cache.reorder_cache(index)
        if same_context:
            return
        self._mask, self._lengths = self._mask[index], self._lengths[index]
        if self._encoded is not None:
            self._encoded, self._input_mask = self._encoded[index], self._input_mask[index]
        self.rows = len(rows)

    def _forward(self, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        inputs: dict[str, Any] = {"past_key_values": self._cache, "use_cache": True}
        if self._encoded is not None:
            inputs |= {
                "encoder_outputs": (self._encoded,),
                "attention_mask": self._input_mask,
                "decoder_input_ids": ids,
            }
        else:
            inputs |= {"input_ids": ids, "attention_mask": self._mask}
            optional = {"position_ids": positions, "logits_to_keep": 1}
            inputs |= {k: v for k, v in optional.items() if k in self._arguments}
        logits: torch.Tensor = self._model(**inputs).logits[:, -1]
        return logits.float()
