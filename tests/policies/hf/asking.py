"""Requests to the `transformers` policy, and what plain passes of the same models say to them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from warmline.policies import Message, Request, Sampling
from warmline.policies.hf.policy import TransformersPolicy

GREEDY = Sampling(temperature=0, max_tokens=24)
WARM = Sampling(temperature=1.0, top_p=0.9, top_k=50, repetition_penalty=1.1, max_tokens=24)
TALKS = [
    "I feel so tired lately.",
    "Nobody listens to me at work, and I cannot sleep. " * 3,
    "我很难过。",
    "Everything is too much! " * 8,
    "Hi",
    "She left, and I do not know what to do with all of these evenings.",
    "Would you like to tell me more? " * 5,
    "no",
]


def ask(text: str, **options: Any) -> Request:
    options.setdefault("sampling", GREEDY)
    return Request((Message("user", text),), **options)


def plain_prompt(folder: Path, text: str) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    talk = [{"role": "user", "content": text}]
    return tokenizer.apply_chat_template(
        talk, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )["input_ids"]


def plain_greedy(model: Any, folder: Path, text: str, tokens: int = 24) -> str:
    """What `generate` writes, one prompt at a time."""
    prompt = plain_prompt(folder, text)
    with torch.inference_mode():
        written = model.generate(prompt, max_new_tokens=tokens, do_sample=False)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    decoded = tokenizer.decode(written[0, prompt.shape[1] :], skip_special_tokens=True)
    return str(decoded).strip()


def plain_logprobs(model: Any, folder: Path, prompt: Any, continuation: str) -> list[float]:
    """Log-probabilities of a continuation by one pass over everything."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    behind = tokenizer(continuation, add_special_tokens=False, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        logits = model(torch.cat([prompt, behind], dim=1)).logits[0].log_softmax(-1)
    first = prompt.shape[1] - 1
    return [float(logits[first + n, token]) for n, token in enumerate(behind[0].tolist())]


async def together(policy: TransformersPolicy, requests: list[Request]) -> list[str]:
    return [reply.text for reply in await asyncio.gather(*map(policy.respond, requests))]
