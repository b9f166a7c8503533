"""Tiny models whose weights follow from their names, so that any version of transformers builds them.

Used by the tests, and by the script that made `golden_beams.json` in another environment; imports
nothing of Warmline.
"""

from __future__ import annotations

import zlib
from typing import Any

import torch
from transformers import (
    BlenderbotSmallConfig,
    BlenderbotSmallForConditionalGeneration,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

PAD, BOS, EOS = 0, 1, 2
VOCABULARY = 48
CAUSAL = ("llama", "gpt2")
SEQ2SEQ = ("t5", "blenderbot")


def build(kind: str, *, pad: int = PAD, eos_bias: float = 0.0) -> Any:
    """One tiny model in evaluation mode.

    Args:
        kind: a name in `CAUSAL` or `SEQ2SEQ`.
        pad: the padding token, which may be the end token.
        eos_bias: added to the end token's logit.
    """
    model = _architecture(kind, pad)
    with torch.no_grad():
        for name, weights in sorted(model.named_parameters()):
            draw = torch.Generator().manual_seed(zlib.crc32(name.encode()))
            noise = torch.randn(weights.shape, generator=draw)
            is_scale = weights.dim() == 1 and name.endswith("weight")
            weights.copy_(1 + 0.1 * noise if is_scale else _width(name) * noise)
        if eos_bias:
            _favour_the_end(model, eos_bias)
    return model.eval()


def _width(name: str) -> float:
    return 0.4 if "relative_attention" not in name else 0.8


def _favour_the_end(model: Any, bias: float) -> None:
    head = torch.nn.Linear(model.lm_head.in_features, VOCABULARY, bias=True)
    head.weight.data.copy_(model.lm_head.weight)
    head.bias.data.zero_()
    head.bias.data[EOS] = bias
    model.lm_head = head


def _architecture(kind: str, pad: int) -> Any:
    ids = {"vocab_size": VOCABULARY, "pad_token_id": pad, "eos_token_id": EOS}
    if kind == "llama":
        return LlamaForCausalLM(
            LlamaConfig(
                **ids, bos_token_id=BOS, hidden_size=32, intermediate_size=48,
                num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                tie_word_embeddings=False,
            )
        )  # fmt: skip
    if kind == "gpt2":
        return GPT2LMHeadModel(
            GPT2Config(
                **ids, bos_token_id=BOS, n_embd=32, n_layer=2, n_head=4, n_positions=64,
                tie_word_embeddings=False,
            )
        )  # fmt: skip
    if kind == "t5":
        return T5ForConditionalGeneration(
            T5Config(
                **ids, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4,
                decoder_start_token_id=PAD,
            )
        )  # fmt: skip
    return BlenderbotSmallForConditionalGeneration(
        BlenderbotSmallConfig(
            **ids, bos_token_id=BOS, d_model=32, encoder_layers=2, decoder_layers=2,
            encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=48,
            decoder_ffn_dim=48, max_position_embeddings=64, decoder_start_token_id=BOS,
            forced_eos_token_id=None,
        )
    )  # fmt: skip


def prompts(kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Three prompts of different lengths, padded on the side that the kind needs, with their mask."""
    draw = torch.Generator().manual_seed(7)
    rows = [torch.randint(3, VOCABULARY, (length,), generator=draw) for length in (9, 5, 7)]
    ids = torch.full((3, 9), PAD)
    mask = torch.zeros(3, 9, dtype=torch.long)
    for row, tokens in enumerate(rows):
        at = slice(9 - len(tokens), 9) if kind in CAUSAL else slice(0, len(tokens))
        ids[row, at], mask[row, at] = tokens, 1
    return ids, mask


CASES: list[dict[str, Any]] = [
    {"kind": kind, "pad": pad, "eos_bias": bias, **search}
    for kind in (*CAUSAL, *SEQ2SEQ)
    for pad, bias in ((PAD, 0.0), (PAD, 5.0), (EOS, 5.0))
    for search in (
        {"num_beams": 4, "num_groups": 4, "diversity_penalty": 1.0},
        {"num_beams": 6, "num_groups": 2, "diversity_penalty": 0.5, "length_penalty": 0.0},
        {"num_beams": 10, "num_groups": 5, "diversity_penalty": 2.0, "early_stopping": True},
        {"num_beams": 6, "num_groups": 3, "diversity_penalty": 1.0, "length_penalty": 2.0,
         "early_stopping": "never"},
        {"num_beams": 4, "num_groups": 2, "diversity_penalty": 1.0, "repetition_penalty": 1.3,
         "no_repeat_ngram_size": 2, "min_new_tokens": 4},
    )
]  # fmt: skip
MAX_NEW_TOKENS = 10
