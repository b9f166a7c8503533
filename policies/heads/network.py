"""A language model's network with heads: options scored from the hidden state of the last token.

One linear layer holds the logits of all heads side by side. The same code reads prompts and pads
batches in training and when the classifier is used as a policy.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...core.errors import ConfigError, ContextTooLong
from ..base import Message
from ..models.loading import DTYPES, MISFITS, check_all_weights_used, load, misfit, padding_token
from ..models.prompts import PromptWriter
from ..models.quiet import quietly
from ..models.sources import find_source
from .reading import Reading


class HeadedModel(nn.Module):  # type: ignore[misc]
    """A decoder-only network without its vocabulary, and a linear layer on its last states.

    Args:
        model: a causal language model of transformers; its network is shared, not copied.
        outputs: options of all heads together.

    Raises:
        ConfigError: an encoder-decoder, or a model that does not give out its network.
    """

    def __init__(self, model: Any, outputs: int) -> None:
        super().__init__()
        refuse_unfit(model)
        self.backbone, self.config = model.base_model, model.config
        width = model.config.get_text_config().hidden_size
        self.score = nn.Linear(width, outputs, dtype=torch.float32)
        self._no_split_modules = getattr(self.backbone, "_no_split_modules", None)
        """Classes of the layers by which FSDP divides it."""
        self._takes = frozenset(inspect.signature(self.backbone.forward).parameters)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        places: Tensor | None = None,
        return_dict: bool | None = None,
        **rest: Any,
    ) -> Tensor:
        """Logits `(places, outputs)` in float32.

        Args:
            input_ids: `(batch, time)`, padded on the left.
            attention_mask: `(batch, time)`; None where nothing is padded.
            position_ids: `(batch, time)`.
            places: `(places, 2)`, row and time of each state that is read; None reads the last of
                each row.
            return_dict, rest: passed by PEFT; `return_dict` is ignored, and the others must not
                carry a value.
        """
        if given := sorted(name for name, value in rest.items() if value is not None):
            raise TypeError(f"the heads take no {', '.join(given)}")
        asked = {"position_ids": position_ids, "attention_mask": attention_mask, "use_cache": False}
        taken = {k: v for k, v in asked.items() if v is not None and k in self._takes}
        hidden = self.backbone(input_ids=input_ids, **taken).last_hidden_state
        states = hidden[:, -1] if places is None else hidden[places[:, 0], places[:, 1]]
        with torch.autocast(hidden.device.type, enabled=False):
            logits: Tensor = self.score(states.float())
        return logits

    def gradient_checkpointing_enable(self, **options: Any) -> None:
        """See transformers."""
        self.backbone.gradient_checkpointing_enable(**options)


def refuse_unfit(model: Any) -> None:
    """Refuse a model that heads cannot be put on.

    Raises:
        ConfigError: an encoder-decoder, or a model that does not give out its network.
    """
    if model.config.is_encoder_decoder or model.base_model is model:
        raise ConfigError(
            f"heads cannot be put on a {model.config.model_type} model",
            hint="use a decoder-only model",
        )


class HeadReader:
    """Turns messages into the token ids that a head reads. Not thread-safe."""

    def __init__(self, writer: PromptWriter, reading: Reading, context: int) -> None:
        self._writer, self._reading = writer, reading
        self.limit = min(reading.max_tokens, context)

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """Token ids, however many."""
        return self._encode(messages, 0)

    def fit(self, messages: Sequence[Message]) -> list[int]:
        """Token ids within the limit: the oldest messages of a longer dialogue are left out.

        Raises:
            ContextTooLong: the latest message alone is too long, or messages are read as asked.
        """
        ids, drop = self._encode(messages, 0), 0
        max_drop = len(messages) if self._reading.prompt == "dialogue" else 0
        while len(ids) > self.limit and drop < max_drop:
            drop += 1
            ids = self._encode(messages, drop)
        if len(ids) > self.limit:
            raise ContextTooLong(prompt_tokens=len(ids), context_tokens=self.limit)
        return ids

    def _encode(self, messages: Sequence[Message], drop: int) -> list[int]:
        seen = self._reading.view(messages, drop=drop)
        answer = not seen or seen[-1].role != "assistant"
        return self._writer.encode(self._writer.render(seen, answer=answer))


def padded(rows: Sequence[Sequence[int]], pad: int) -> dict[str, Tensor]:
    """Token ids as a batch padded on the left: ids and positions, and a mask where it is needed."""
    longest = max(map(len, rows))
    ids = torch.tensor([[pad] * (longest - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    batch = {"input_ids": ids, "position_ids": (mask.cumsum(-1) - 1).clamp(min=0)}
    # without padding, attention is purely causal and needs no mask, which is faster
    return batch if bool(mask.all()) else batch | {"attention_mask": mask}


@dataclass(slots=True)
class LoadedClassifier:
    """A trained classifier in memory. Belongs to the thread that computes with it."""

    model: HeadedModel
    reader: HeadReader
    device: str
    pad: int

    def logits(self, rows: Sequence[Sequence[int]]) -> list[list[float]]:
        """Logits of each row, all heads side by side."""
        batch = {k: v.to(self.device) for k, v in padded(rows, self.pad).items()}
        with torch.inference_mode():
            found: list[list[float]] = self.model(**batch).tolist()
        return found


@quietly()
def load_classifier(
    folder: Path, *, outputs: int, reading: Reading, device: str, dtype: str
) -> LoadedClassifier:
    """A checkpoint's base with its adapter merged into it, and its heads.

    Args:
        folder: with the adapter; it names its base.
        outputs: options of all heads together.
        reading: how it reads prompts.
        device: a torch device.
        dtype: a name in `DTYPES`, of the network; the heads stay in float32.

    Raises:
        ModelNotFound, ConfigError, DataError: see `load`.
    """
    from peft import PeftModel

    source = find_source(folder)
    below = replace(source, merged=source.merged[:-1], adapter=None)
    # merged in float32 where memory allows: an adapter's small changes are lost in other formats
    loaded = load(below, device="cpu", dtype="float32" if device == "cpu" else dtype)
    model = HeadedModel(loaded.model, outputs)
    try:
        adapted = PeftModel.from_pretrained(model, str(folder))
        check_all_weights_used(adapted, "default", str(folder))
        merged = adapted.merge_and_unload(safe_merge=True)
    except MISFITS as error:
        raise misfit(str(folder), source.base, error) from error
    merged.backbone.to(DTYPES[dtype])
    merged = merged.to(device).eval().requires_grad_(False)
    writer = PromptWriter(loaded.tokenizer, loaded.model.config, loaded.model.generation_config)
    pad = padding_token(loaded.tokenizer, loaded.model)
    return LoadedClassifier(merged, HeadReader(writer, reading, loaded.context), device, pad)
