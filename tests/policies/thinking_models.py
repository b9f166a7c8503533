"""Tiny models that think, trained for seconds to write one thought and one answer by heart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

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
ASKED = ("I lost my job.", "Hello.", "I am sad today.", "Nobody listens to me.", "Can I go?")


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


def save_thinker(folder: Path, *, template: str = "free", steps: int = 160) -> Path:
    """A decoder-only model that thinks, with `<think>` and `</think>` as tokens of their own."""
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
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
