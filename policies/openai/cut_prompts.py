"""Servers that cut prompts silently: they report far fewer prompt tokens than were sent.

Ollama does so at its default context. What was sent is estimated from below, so that no tokenizer
and no script is taken for a cut: a token hardly ever spans words, and in scripts written without
spaces hardly ever more than four characters.
"""

from __future__ import annotations

import re

from ..base import Usage
from ..text.tokens import estimated_tokens

LEAST_REPORTED = 256
"""Tokens. No server's context is smaller; a smaller number is taken for tokens newly computed, those
from a cache left out, which some servers report."""

CERTAIN = 0.8
"""Share of the least possible number of tokens below which a report means a cut."""

_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]"
)
"""Thai, Lao, Burmese, Khmer, Chinese, Japanese, Korean."""
_CHARACTERS = 4


def fewest_tokens(text: str) -> int:
    """The least number of tokens that a text can plausibly have."""
    if text.isascii():
        return len(text.split())
    rest, unspaced = _UNSPACED.subn(" ", text)
    words = sum(any(map(str.isalnum, word)) for word in rest.split())
    return words + unspaced // _CHARACTERS


def cut_prompt(text: str, usage: Usage | None) -> tuple[int, int] | None:
    """The tokens that a server reports of a prompt and those it has at least, if it cut it.

    Args:
        text: all that was sent.
        usage: what the server reports. Its cached tokens are added: some servers count them apart,
            and counting them twice only hides a cut.
    """
    if usage is None or usage.estimated:
        return None
    reported = usage.prompt_tokens + usage.cached_tokens
    if reported < LEAST_REPORTED or reported >= estimated_tokens(text):
        return None
    sent = fewest_tokens(text)
    return (reported, sent) if reported < CERTAIN * sent else None


def cut_warning(base_url: str, model: str, *, reported: int, sent_at_least: int) -> str:
    """The warning, with the numbers and the setting to change."""
    return (
        f"{base_url} read {reported:,} tokens of a prompt of at least {sent_at_least:,}: it cuts prompts for"
        f" '{model}' silently, and what was cut is not in the answer. Give it a larger context"
        " (Ollama: OLLAMA_CONTEXT_LENGTH=16384 ollama serve; llama.cpp: --ctx-size; vLLM:"
        " --max-model-len), or lower history_window and case_dialogues"
    )
