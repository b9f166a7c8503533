"""Marks that end or begin messages for a model, such as `<|im_end|>`: broken up in what is said.

An utterance that holds one could end its own message, and speak for others. Where the model's
vocabulary is at hand, its own list of special tokens says which marks those are; for servers, which
do not tell, there is a list of what current models use. A mark is broken by a space after its first
character, so that a reader still sees what was said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_PUBLISHED = (
    r"<\|[^<>|\s]{1,40}\|>",  # Llama 3, Qwen, Phi, gpt-oss, Cohere, GLM and many more
    r"<｜[^<>｜\s]{1,40}｜>",
    r"</?s>",  # Llama 2, Mistral
    r"<(?:bos|eos|pad|unk|mask|sep|cls|sop|eop|eod)>",  # Gemma, T5, GLM
    r"</?(?:start|end)_?(?:of_?)?(?:turn|utterance|role|text|sentence|message)>",  # Gemma 2 and 3
    r"<\|(?:turn|channel|tool|tool_call|tool_response|image|audio)>",  # Gemma 4
    r"<(?:turn|channel|tool|tool_call|tool_response|image|audio)\|>",
    r"\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_RESULTS|TOOL_CALLS|TOOL_CONTENT|MODEL_SETTINGS"
    r"|gMASK|CLS|SEP|MASK|UNK|PAD|BOS|EOS)\]",  # Mistral, BERT
    r"<</?SYS>>",  # Llama 2
    r"<(?:file_sep|file_separator|repo_name|reponame|filename|gh_stars|jupyter_\w{1,30}"
    r"|fim_(?:prefix|middle|suffix|pad)|empty_output|commit_\w{1,30}|issue_\w{1,30})>",  # StarCoder
    r"<(?:extra_id|SPECIAL|unused|reserved)_?\d{1,4}>",  # Nemotron, T5, Gemma
    r"<(?:seed|longcat|minimax|mm):[\w/]{1,30}>",
    r"<\[[^<>\[\]\s]{1,40}\]>",  # Seed
)
_SHAPE = re.compile(r"(?:<\S{1,60}>|\[\S{1,60}\]|◁\S{1,60}▷)")
_ANY = re.compile("|".join(_PUBLISHED))


class ControlMarks:
    """The marks of one model.

    Args:
        own: its special tokens, whatever they look like.
        added: tokens that were added to its vocabulary: of these, those in brackets; others may be
            words.
        template: its chat template, in which marks of the published list may stand as plain text.
        any_published: all of the published list, for models whose vocabulary is not known.
    """

    def __init__(
        self,
        own: Iterable[str] = (),
        *,
        added: Iterable[str] = (),
        template: str = "",
        any_published: bool = False,
    ) -> None:
        marks = {mark for mark in own if len(mark) > 1}
        marks |= {mark for mark in added if _SHAPE.fullmatch(mark)}
        marks |= {found[0] for found in _ANY.finditer(template)}
        forms = [re.escape(mark) for mark in sorted(marks, key=len, reverse=True)]
        forms += _PUBLISHED if any_published else ()
        self._pattern = re.compile("|".join(forms)) if forms else None

    def broken(self, text: str) -> str:
        """The text with every mark broken up."""
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda mark: f"{mark[0][0]} {mark[0][1:]}", text)

    def __contains__(self, text: str) -> bool:
        return self._pattern is not None and self._pattern.search(text) is not None


PUBLISHED_MARKS = ControlMarks(any_published=True)
"""Those of current models, where a server does not tell its model's own."""
