"""Builds tiny models with random weights, saved as real model folders, for tests without a download.

Their text means nothing; their arithmetic is that of the large ones. Weights are drawn wide, so that
distributions are peaked and a wrong mask or position changes the answer.
"""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    BlenderbotSmallConfig,
    BlenderbotSmallForConditionalGeneration,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CONTEXT = 512
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<pad>")
TEXT = (
    "I feel so tired lately. Everything at work is too much, and nobody listens to me!",
    "That sounds hard. Would you like to tell me more about it? I am here for you.",
    "Question, Affirmation and Reassurance, Reflection of Feelings, Self-disclosure.",
    "Não sei o que fazer. 我很难过。 😊😢 Καλημέρα.",
)


def make_tokenizer(*, chat_template: str | None = CHAT_TEMPLATE) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer of about 400 tokens, which can write every text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*TEXT, string.printable], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        bos_token="<|endoftext|>",
        pad_token="<pad>",
        additional_special_tokens=["<|im_start|>"],
        model_max_length=CONTEXT,
    )
    fast.chat_template = chat_template
    return fast


_SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
}


def save_causal(
    folder: Path, *, seed: int = 0, kind: str = "llama", layers: int = 2, **tokenizer: Any
) -> Path:
    """A decoder-only model: `llama`, `mistral` (window of 24) or `gemma3` (window in
    one layer of two)."""
    torch.manual_seed(seed)
    fast = make_tokenizer(**tokenizer)
    ids = {
        "vocab_size": len(fast),
        "eos_token_id": fast.eos_token_id,
        "bos_token_id": fast.bos_token_id,
        "pad_token_id": fast.pad_token_id,
        "initializer_range": 0.3,
    }
    shape = _SHAPE | ids | {"num_hidden_layers": layers}
    model: Any
    if kind == "llama":
        model = LlamaForCausalLM(LlamaConfig(**shape))
    elif kind == "mistral":
        model = MistralForCausalLM(MistralConfig(**shape, sliding_window=24))
    else:
        types = ["sliding_attention", "full_attention"]
        model = Gemma3ForCausalLM(
            Gemma3TextConfig(**shape, head_dim=8, sliding_window=24, layer_types=types)
        )
    return _save(model, fast, folder)


def save_seq2seq(folder: Path, *, seed: int = 0, kind: str = "blenderbot") -> Path:
    """An encoder-decoder model of two layers: `blenderbot` (small) or `t5`."""
    torch.manual_seed(seed)
    fast = make_tokenizer(chat_template=None)
    model: Any
    if kind == "t5":
        config = T5Config(
            vocab_size=len(fast), d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4,
            decoder_start_token_id=fast.pad_token_id, eos_token_id=fast.eos_token_id,
            pad_token_id=fast.pad_token_id, initializer_factor=3.0,
        )  # fmt: skip
        model = T5ForConditionalGeneration(config)
    else:
        config = BlenderbotSmallConfig(
            vocab_size=len(fast), d_model=32, encoder_layers=2, decoder_layers=2,
            encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=64,
            decoder_ffn_dim=64, max_position_embeddings=CONTEXT, init_std=0.3,
            decoder_start_token_id=fast.bos_token_id, bos_token_id=fast.bos_token_id,
            eos_token_id=fast.eos_token_id, pad_token_id=fast.pad_token_id,
            forced_eos_token_id=None,
        )  # fmt: skip
        model = BlenderbotSmallForConditionalGeneration(config)
    return _save(model, fast, folder)


def save_lora(folder: Path, base: Path, *, seed: int = 1, **options: Any) -> Path:
    """A LoRA adapter for a model folder, with random weights on both sides."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(base)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], **options)
    adapted = get_peft_model(model, config)
    with torch.no_grad():
        for name, weights in adapted.named_parameters():
            if "lora_" in name:
                weights.normal_(std=0.3)
    adapted.save_pretrained(folder)
    return folder


def _save(model: Any, tokenizer: Any, folder: Path) -> Path:
    model.generation_config.do_sample = None
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
