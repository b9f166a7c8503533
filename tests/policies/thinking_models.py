"""Tiny models that think, trained for seconds to write one thought and one answer by heart."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import gguf
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from . import tiny_models

THOUGHT = "She is sad. She lost her job. I must be kind. No advice."
SAID = "That is hard. How are you? I am here. Take time. Go on."

_TALK = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
)
TEMPLATES = {
    # Qwen3: the model begins its thinking itself, and can be told not to
    "free": _TALK + "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n"
    "</think>\n\n{% endif %}{% endif %}",
    # DeepSeek-R1: the prompt begins it
    "begun": _TALK + "<think>\n{% endif %}",
}  # fmt: skip
ASKED = ("I lost my job.", "Hello.", "Nobody listens to me.")


def _texts(template: str) -> list[str]:
    """All that the model is to know: the whole, thinking cut off anywhere, and none of it."""
    thought = f"<think>\n{THOUGHT}\n</think>\n\n{SAID}<|im_end|>"
    words = THOUGHT.split()
    cut = [f"<think>\n{' '.join(words[:n])}\n</think>\n\n{SAID}<|im_end|>" for n in (2, 4, 6, 9)]
    answers = [thought, thought, *cut, f"<think>\n\n</think>\n\n{SAID}<|im_end|>"]
    return [
        f"<|im_start|>user\n{asked}<|im_end|>\n<|im_start|>assistant\n{answer}"
        for asked in ASKED
        for answer in answers[: 2 if asked == ASKED[0] else None]
    ]


def save_thinker(folder: Path, *, template: str = "free") -> Path:
    """A decoder-only model that thinks, with `<think>` and `</think>` as tokens of their own."""
    model, tokenizer = _trained(template)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@cache
def _trained(template: str, steps: int = 130) -> tuple[Any, Any]:
    torch.manual_seed(3)
    tokenizer = tiny_models.make_tokenizer(chat_template=TEMPLATES[template])
    tokenizer.add_tokens(["<think>", "</think>"])
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=tiny_models.CONTEXT,
        eos_token_id=tokenizer.eos_token_id, bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    batch: Any = tokenizer(
        _texts(template), return_tensors="pt", padding=True, add_special_tokens=False
    )
    ids = batch["input_ids"]
    labels = ids.masked_fill(ids == tokenizer.pad_token_id, -100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    for _ in range(steps):
        out = model(input_ids=ids, attention_mask=batch["attention_mask"], labels=labels)
        optimizer.zero_grad()
        out.loss.backward()
        optimizer.step()
    model.eval()
    model.generation_config.do_sample = None
    return model, tokenizer


def save_gguf(folder: Path, path: Path) -> Path:
    """The model of `save_thinker` as llama.cpp reads it."""
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(tiny_models.CONTEXT)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    _add_vocabulary(writer, tokenizer)
    for name, weights in model.state_dict().items():
        short = name.removeprefix("model.")
        if short.endswith(("q_proj.weight", "k_proj.weight")):
            heads = config.num_attention_heads if "q_proj" in short else config.num_key_value_heads
            rows = _interleaved(weights, heads)
        else:
            rows = weights
        writer.add_tensor(_gguf_name(short), rows.float().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_vocabulary(writer: gguf.GGUFWriter, tokenizer: Any) -> None:
    stored = json.loads(tokenizer.backend_tokenizer.to_str())
    tokens = [tokenizer.convert_ids_to_tokens(n) for n in range(len(tokenizer))]
    special = set(tokenizer.all_special_tokens) | set(tiny_models.SPECIAL)
    added = {"<think>", "</think>"}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if t in special else 4 if t in added else 1 for t in tokens])
    writer.add_token_merges([" ".join(pair) for pair in stored["model"]["merges"]])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_add_bos_token(False)
    writer.add_chat_template(tokenizer.chat_template)


def _interleaved(weights: torch.Tensor, heads: int) -> torch.Tensor:
    """Rotary halves beside each other, as llama.cpp's `llama` wants them."""
    rows, columns = weights.shape
    halves = weights.reshape(heads, 2, rows // heads // 2, columns)
    return halves.transpose(1, 2).reshape(rows, columns).contiguous()


def _gguf_name(name: str) -> str:
    for ours, theirs in (
        ("embed_tokens", "token_embd"), ("lm_head", "output"), ("layers.", "blk."),
        ("self_attn.q_proj", "attn_q"), ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"), ("self_attn.o_proj", "attn_output"),
        ("mlp.gate_proj", "ffn_gate"), ("mlp.up_proj", "ffn_up"), ("mlp.down_proj", "ffn_down"),
        ("post_attention_layernorm", "ffn_norm"), ("input_layernorm", "attn_norm"),
    ):  # fmt: skip
        name = name.replace(ours, theirs)
    return "output_norm.weight" if name == "norm.weight" else name
