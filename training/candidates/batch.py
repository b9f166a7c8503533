"""Log-probabilities of several replies to one prompt, the prompt computed once.

A batch holds for each context one prompt and K replies: the candidates of FPEMF, or chosen and
rejected of DPO. Gradients are those of K separate passes. Two forms:

* `cache`: the prompt's keys and values are computed once, repeated, and kept in the graph. Fastest.
* `tree`: prompt and replies are one row, and a mask keeps the replies from seeing each other. The
  form for gradient checkpointing, which knows no cache; FlashAttention-2 has no such mask.

Of an encoder-decoder the encoder runs once; `cache` also shares the keys of cross-attention.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self

import torch
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache

from ...core.errors import ConfigError
from .losses import token_log_probs

Form = Literal["auto", "cache", "tree"]
TREE_TOKENS = 512
"""Tokens of all candidates of a context up to which one row was the faster and leaner form
(`benchmarks/fpemf.py`); its attention grows with their square."""


@dataclass(frozen=True, slots=True)
class CandidateBatch:
    """Contexts with their replies.

    Attributes:
        prompt_ids, prompt_mask: `(batch, prompt)`; padded on the left for a decoder-only model, on
            the right for an encoder.
        reply_ids, reply_mask: `(batch, candidates, time)`, end token included, padded on the right;
            a candidate that is not there is all padding.
    """

    prompt_ids: Tensor
    prompt_mask: Tensor
    reply_ids: Tensor
    reply_mask: Tensor

    @classmethod
    def of(cls, inputs: Mapping[str, Any]) -> Self:
        """From a mapping that holds the four tensors, and perhaps more."""
        return cls(*(inputs[name] for name in cls.__slots__))

    @classmethod
    def padded(
        cls,
        prompts: Sequence[Sequence[int]],
        replies: Sequence[Sequence[Sequence[int]]],
        *,
        pad: int,
        encoder: bool,
    ) -> Self:
        """From token ids; contexts may have different numbers of replies.

        Args:
            prompts: one a context.
            replies: for each context its replies, each with its end token.
            encoder: whether an encoder reads the prompts.

        Raises:
            ConfigError: an empty prompt, or no reply at all.
        """
        if not all(prompts) or not any(reply for some in replies for reply in some):
            raise ConfigError("a candidate batch needs prompts of a token or more, and a reply")
        width = max(len(some) for some in replies)
        longest = max(len(reply) for some in replies for reply in some)
        whole = [[*some, *[[]] * (width - len(some))] for some in replies]
        return cls(
            *padded_prompts(prompts, pad=pad, encoder=encoder),
            torch.tensor([[_filled(r, longest, pad, "right") for r in some] for some in whole]),
            torch.tensor(
                [[_filled([1] * len(r), longest, 0, "right") for r in some] for some in whole]
            ),
        )

    def tensors(self) -> dict[str, Tensor]:
        """The four tensors by name, as `of` takes them."""
        return {name: getattr(self, name) for name in self.__slots__}

    def to(self, device: torch.device | str) -> Self:
        """The same batch on a device."""
        return type(self)(*(tensor.to(device) for tensor in self.tensors().values()))


def padded_prompts(
    prompts: Sequence[Sequence[int]], *, pad: int, encoder: bool
) -> tuple[Tensor, Tensor]:
    """Prompts and their mask, `(batch, prompt)`; padded on the right only for an encoder."""
    side: Literal["left", "right"] = "right" if encoder else "left"
    most = max(map(len, prompts))
    ids = torch.tensor([_filled(prompt, most, pad, side) for prompt in prompts])
    return ids, torch.tensor([_filled([1] * len(p), most, 0, side) for p in prompts])


class CandidateLogProbs(NamedTuple):
    """What a model gives the replies, in nats and float32.

    Attributes:
        sums: `(batch, candidates)`, log-probability of each reply; 0 where there is none.
        tokens: `(batch, candidates, time)`, of each token; 0 at padding.
        mask: `(batch, candidates, time)`, True at tokens.
    """

    sums: Tensor
    tokens: Tensor
    mask: Tensor


def candidate_log_probs(
    model: Any, batch: CandidateBatch, *, form: Form = "auto"
) -> CandidateLogProbs:
    """Log-probabilities of all replies; differentiable.

    Args:
        model: a causal or sequence-to-sequence model of transformers, PEFT around it or not.
        form: "auto" takes `tree` with gradient checkpointing, and for short replies
            (`TREE_TOKENS`) to a model that can, else `cache`.

    Raises:
        ConfigError: the model cannot be used in the form that is asked for.
    """
    base = _base(model)
    checkpointing = model.training and any(
        getattr(module, "gradient_checkpointing", False) for module in base.modules()
    )
    if form == "auto":
        _, candidates, time = batch.reply_ids.shape
        fits = candidates * time <= TREE_TOKENS and not base.config.is_encoder_decoder
        longest = batch.prompt_ids.shape[1] + time
        form = "tree" if checkpointing or (fits and not _tree_fault(base, longest)) else "cache"
    if form == "cache" and checkpointing:
        raise ConfigError(
            "gradient checkpointing keeps no cache", hint="take form='tree', or switch it off"
        )
    mask = batch.reply_mask.bool()
    # contexts and candidates that are there; nothing is computed for the others
    at = mask.any(dim=-1).nonzero(as_tuple=True)
    replies = batch.reply_ids[at]
    if base.config.is_encoder_decoder:
        found = _decoded(model, base, batch, at[0], replies, share=form == "cache")
    elif form == "cache":
        found = _cached(model, base, batch, at[0], replies)
    else:
        found = _tree(model, base, batch, mask)[at]
    tokens = found.new_zeros(mask.shape).index_put(at, found).masked_fill(~mask, 0.0)
    return CandidateLogProbs(tokens.sum(dim=-1), tokens, mask)


def _cached(
    model: Any, base: Any, batch: CandidateBatch, context: Tensor, replies: Tensor
) -> Tensor:
    """Prompts once, then all replies after them; `(replies, time)`."""
    cache = DynamicCache(config=base.config)
    positions = (batch.prompt_mask.cumsum(dim=1) - 1).clamp(min=0)
    inputs = {"position_ids": positions, "logits_to_keep": 1}
    first = model(
        input_ids=batch.prompt_ids,
        attention_mask=batch.prompt_mask,
        past_key_values=cache,
        use_cache=True,
        **_known(base, inputs),
    ).logits[:, -1:]
    if cache.get_seq_length() != batch.prompt_ids.shape[1]:
        raise ConfigError(
            f"a {base.config.model_type} model keeps no cache that can be trained through",
            hint="take form='tree'",
        )
    if replies.shape[1] == 1:
        return token_log_probs(first[context], replies)
    cache.batch_select_indices(context)
    ahead = batch.prompt_mask[context]
    fed = replies[:, :-1]
    steps = torch.arange(fed.shape[1], device=fed.device)
    rest = model(
        input_ids=fed,
        attention_mask=torch.cat([ahead, torch.ones_like(fed)], dim=1),
        past_key_values=cache,
        use_cache=True,
        **_known(base, {"position_ids": ahead.sum(dim=1, keepdim=True) + steps}),
    ).logits
    return _joined(first[context], rest, replies)


def _decoded(
    model: Any, base: Any, batch: CandidateBatch, context: Tensor, replies: Tensor, *, share: bool
) -> Tensor:
    """Encoder once, then the decoder over all replies; `(replies, time)`."""
    encoded = base.get_encoder()(batch.prompt_ids, attention_mask=batch.prompt_mask)[0]
    start = torch.full_like(batch.prompt_ids[:, :1], _start(base))
    if not share:
        logits = model(
            encoder_outputs=(encoded[context],),
            attention_mask=batch.prompt_mask[context],
            decoder_input_ids=torch.cat([start[context], replies[:, :-1]], dim=1),
            use_cache=False,
        ).logits
        return token_log_probs(logits, replies)
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
    first = model(
        encoder_outputs=(encoded,),
        attention_mask=batch.prompt_mask,
        decoder_input_ids=start,
        past_key_values=cache,
        use_cache=True,
    ).logits
    if replies.shape[1] == 1:
        return token_log_probs(first[context], replies)
    cache.batch_select_indices(context)
    rest = model(
        encoder_outputs=(encoded[context],),
        attention_mask=batch.prompt_mask[context],
        decoder_input_ids=replies[:, :-1],
        past_key_values=cache,
        use_cache=True,
    ).logits
    return _joined(first[context], rest, replies)


def _tree(model: Any, base: Any, batch: CandidateBatch, mask: Tensor) -> Tensor:
    """Prompt and replies as one row a context; `(batch, candidates, time)`."""
    _, candidates, time = mask.shape
    if fault := _tree_fault(base, batch.prompt_ids.shape[1] + time):
        raise ConfigError(fault[0], hint=fault[1])
    lengths = batch.prompt_mask.sum(dim=1, keepdim=True)
    steps = torch.arange(time, device=lengths.device).repeat(candidates)
    prompt_positions = (batch.prompt_mask.cumsum(dim=1) - 1).clamp(min=0)
    logits = model(
        input_ids=torch.cat([batch.prompt_ids, batch.reply_ids.flatten(1)], dim=1),
        attention_mask=_tree_mask(batch, mask, _compute_dtype(base)),
        position_ids=torch.cat([prompt_positions, lengths + steps], dim=1),
        use_cache=False,
        **_known(base, {"logits_to_keep": candidates * time + 1}),
    ).logits[:, -(candidates * time + 1) :]
    # a reply's first token is predicted by the prompt's last, the others by the token before
    first = logits[:, :1, None].expand(-1, candidates, -1, -1)
    rest = logits[:, 1:].unflatten(1, (candidates, time))[:, :, :-1]
    return _joined(first, rest, batch.reply_ids)


def _tree_mask(batch: CandidateBatch, mask: Tensor, dtype: torch.dtype) -> Tensor:
    """What each place may look at, `(batch, 1, length, length)`: 0, or the least number."""
    contexts, candidates, time = mask.shape
    prompt, device = batch.prompt_ids.shape[1], mask.device
    length = prompt + candidates * time
    owner = torch.full((length,), -1, device=device)
    owner[prompt:] = torch.arange(candidates, device=device).repeat_interleave(time)
    causal = torch.ones(length, length, dtype=torch.bool, device=device).tril()
    allowed = causal & ((owner[:, None] == owner) | (owner == -1))
    there = torch.cat([batch.prompt_mask.bool(), mask.flatten(1)], dim=1)
    seen = allowed & there[:, None, :]
    blocked = torch.zeros(contexts, 1, length, length, dtype=dtype, device=device)
    return blocked.masked_fill(~seen[:, None], torch.finfo(dtype).min)


def _tree_fault(base: Any, longest: int) -> tuple[str, str] | None:
    """Why the model cannot read replies in one row, and what to do; None where it can."""
    config = base.config.get_text_config()
    if "position_ids" not in _arguments(base):
        return (
            f"a {config.model_type} model takes no positions, so replies cannot share a row",
            "take form='cache', without gradient checkpointing",
        )
    if "flash" in str(config._attn_implementation):
        return (
            "FlashAttention has no mask for replies that share a row",
            "take form='cache' or attention 'sdpa'",
        )
    window = getattr(config, "sliding_window", None)
    slides = "sliding_attention" in (getattr(config, "layer_types", None) or ["sliding_attention"])
    if window and slides and longest > window:
        return (
            f"rows of {longest} tokens are longer than the model's window of {window}",
            "take form='cache'",
        )
    return None


def _joined(first: Tensor, rest: Tensor, replies: Tensor) -> Tensor:
    """Log-probabilities from the logits of first tokens and of all others."""
    head = token_log_probs(first, replies[..., :1])
    return torch.cat([head, token_log_probs(rest, replies[..., 1:])], dim=-1)


def _base(model: Any) -> Any:
    """The model of transformers inside wrappers for parallel training and adapters."""
    model = getattr(model, "module", model)
    return model.get_base_model() if hasattr(model, "peft_config") else model


def _arguments(base: Any) -> frozenset[str]:
    return frozenset(inspect.signature(base.forward).parameters)


def _known(base: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    arguments = _arguments(base)
    return {name: value for name, value in inputs.items() if name in arguments}


def _start(base: Any) -> int:
    for settings in (base.generation_config, base.config):
        token: int | None = getattr(settings, "decoder_start_token_id", None)
        if token is not None:
            return token
    raise ConfigError("the model names no decoder_start_token_id")


def _compute_dtype(base: Any) -> torch.dtype:
    """The number format in which attention is computed."""
    kind = base.device.type
    if torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    dtype: torch.dtype = base.get_input_embeddings().weight.dtype
    return dtype


def _filled(
    tokens: Sequence[int], length: int, value: int, side: Literal["left", "right"]
) -> list[int]:
    padding = [value] * (length - len(tokens))
    return padding + list(tokens) if side == "left" else list(tokens) + padding
