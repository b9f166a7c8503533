"""transformers' own `generate` in static batches: what `engines.py` and its like measure against."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from warmline.policies.base import Reply, Request

Calls = list[tuple[Request, Reply]]


def completion(reply: Reply) -> int:
    """Tokens that a reply took, at least one."""
    return max(1, reply.usage.completion_tokens) if reply.usage else 1


def generate(source: Any, calls: Calls, batch: int) -> float:
    """Output tokens a second of answers as long as before, choices and other answers apart."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    device = "cuda" if torch.cuda.is_available() else "cpu"
    path = Path(source)
    if path.is_file():
        tokenizer = AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name)
        model = AutoModelForCausalLM.from_pretrained(
            str(path.parent),
            gguf_file=path.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.bfloat16,
        )
    else:
        tokenizer = AutoTokenizer.from_pretrained(source)
        model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16)
    model.to(device)
    tokenizer.padding_side, tokenizer.pad_token = "left", tokenizer.eos_token
    chosen = [call for call in calls if call[0].choices is not None]
    free = [call for call in calls if call[0].choices is None]
    batches = [
        part[start : start + batch]
        for part in (chosen, free)
        for start in range(0, len(part), batch)
    ]
    written, started = 0, time.perf_counter()
    for rows in batches:
        texts = [
            tokenizer.apply_chat_template(
                [{"role": m.role, "content": m.content} for m in request.messages],
                tokenize=False,
                add_generation_prompt=True,
            )
            for request, _ in rows
        ]
        inputs = tokenizer(texts, return_tensors="pt", padding=True).to(device)
        longest = max(completion(reply) for _, reply in rows)
        with torch.inference_mode():
            model.generate(**inputs, max_new_tokens=longest, min_new_tokens=longest, do_sample=True)
        written += sum(completion(reply) for _, reply in rows)
    return written / (time.perf_counter() - started)
