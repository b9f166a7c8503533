"""What belongs to the prompt or the machine, not to the talk: labels, thinking, placeholders, debris.

What stands apart from the words is trimmed; what is part of them drops the episode.
"""

from __future__ import annotations

import re
from typing import ClassVar

from .....agents.roles import STRATEGY_LABELS, Role
from .....agents.speech import read_speech
from .....policies.thinking.reader import part
from ....episodes.episode import Episode
from ...tags import Finding
from .base import RecordFilter, excerpt

_STRATEGIES = "|".join(re.escape(label) for label in STRATEGY_LABELS if " " in label)
_LABEL = re.compile(
    rf"(?<![\[(*{{])[\[(*{{]++\s*+(?:(?:support )?strategy\s*+:\s*+)?(?:{_STRATEGIES}|self-disclosure)"
    r"\s*+[\])*}]++(?:\s*+:)?|\[\s*+(?:question|information|others?)\s*+\](?:\s*+:)?",
    re.IGNORECASE,
)
_INSIDE: dict[str, re.Pattern[str]] = {
    "speaks as a language model": re.compile(
        r"\bas an? (?:ai|a\.i\.|artificial intelligence|(?:large )?language model|virtual assistant|chatbot)\b"
        r"(?= (?:language|model|assistant|chat)|,| i\b)"
        r"|\bi(?:'m| am)(?: only| just)? an? (?:ai(?: (?:language model|model|assistant|chatbot))?"
        r"|(?:large )?language model|virtual assistant|artificial intelligence)(?=[\s,.!;]|$)"
        r"|作为(?:一个|一名)?(?:人工智能|AI|语言模型|大模型)|我(?:只)?是(?:一个|一名)?(?:人工智能|AI助手|语言模型)",
        re.IGNORECASE,
    ),
    "a token of a chat template": re.compile(
        r"<\|?/?(?:im_start|im_end|endoftext|eot_id|start_header_id|end_header_id|assistant|user|system"
        r"|begin_of_text|end_of_turn|start_of_turn)\|?>|\[/?INST\]|<</?SYS>>|</?s>|<(?:pad|unk|bos|eos)>"
    ),
    "template code": re.compile(r"\{\{.{0,400}?\}\}|\{%.{0,400}?%\}"),
    "JSON in place of words": re.compile(
        r"^\s*+[\[{]\s*+(?:\{\s*+)?[\"'][\w ]+[\"']\s*+:|[\"'](?:role|content|text|response|utterance)[\"']\s*:\s*[\"']"
    ),
    "Markdown in place of words": re.compile(
        r"```|^#{1,6} \w|^[^\S\n]*+\|.+\|[^\S\n]*$|^(?:---|\*\*\*)[^\S\n]*$", re.M
    ),
    "a placeholder": re.compile(
        r"\[(?:your |my |the |insert |seeker'?s? |user'?s? |supporter'?s? |friend'?s? )*(?:name|age|date|"
        r"location|city|occupation|company|phone number|link)(?: here)?\]|<(?:name|your name)>|\bTODO:",
        re.IGNORECASE,
    ),
    "words of the prompt": re.compile(
        r"\((?:Begin\.|Go on\.|Note, not from the person|Earlier part of the conversation left out)"
        r"|\bStrategy Counsel(?:l)?or\b|\byou play a person who has come to talk\b"
        r"|^(?:kind of problem|what happened|who you are|problem type|how to (?:talk|answer))\s*:"
        r"|\b(?:at most|no more than|within) (?:three|3) (?:short )?sentences\b",
        re.IGNORECASE | re.M,
    ),
    "the sign to close": re.compile(r"^\W*N/A\W*$"),
    "a second speaker": re.compile(
        r"(?:^|\n|[.!?] )\**(?:seeker|supporter|help[- ]seeker|counsel(?:l)?or|therapist)\**\s*[:：]",
        re.IGNORECASE,
    ),
}
_STAGE = re.compile(
    r"[(*](?:(?:he|she|i|softly|quietly|gently|slowly) )?(?:smil|laugh|chuckl|mutter|wink|sigh|nod|paus|sob"
    r"|cri|cry|whisper|sniff|tear|shrug|gasp|giggl|grin|frown|blush|giv|tak|look|lean|hug)"
    r"(?:e|es|s|ies|ing|ping|ging)?(?: [\w' ,]{1,40})?[)*](?!\w)",
    re.IGNORECASE,
)
_WORTH_A_LOOK = (
    *("<", "[", "{", "`", "|", "#", ":", "：", "(", "*", "---", "n/a"),
    *("as an ", "as a ", "an ai", "a language", "language model", "virtual assistant"),
    *("artificial", "人工智能", "模型", "作为", "助手"),
    *("counselor", "counsellor", "sentence", "you play", "analysis", "◁"),
)
"""Any of the patterns needs one of these: a quick look before them."""


class LeakedInstructions(RecordFilter):
    """Trims labels and thinking off utterances; drops episodes in which prompt or machine shows in
    the words.

    The labels are those that the agents' own reader knows (`agents/speech.py`), so what a run
    already took out is not found again.
    """

    name: ClassVar[str] = "leaks"
    trims: ClassVar[bool] = True

    def examine(self, episode: Episode) -> tuple[Finding, ...]:
        found: list[Finding] = []
        for index, utterance in enumerate(episode.utterances):
            low = utterance.text.lower()
            if not any(hint in low for hint in _WORTH_A_LOOK):
                continue
            parted = part(utterance.text)
            if parted.text != utterance.text and parted.text:
                shown = excerpt(parted.thinking or utterance.text)
                found.append(self.trim("what the model thought", index, parted.text, shown))
                continue  # the rest is looked at once that is trimmed
            if parted.thinking or parted.open:
                found.append(self.drop("thinking in place of words", index, excerpt(low)))
                continue
            text, reason = without_labels(utterance.text, utterance.role)
            if reason and text:
                found.append(self.trim(reason, index, text, excerpt(utterance.text)))
            else:  # nothing but a label: that is no utterance, and the filter for broken turns says so
                text = utterance.text
            if stage := _STAGE.search(text):
                found.append(self.flag("a stage direction", index, excerpt(stage.group())))
            for said, pattern in _INSIDE.items():
                if leak := pattern.search(text):
                    found.append(self.drop(said, index, excerpt(leak.group())))
        return tuple(found)


_TRIMMED = {
    "role_label": "a speaker's label",
    "strategy_label": "a strategy label",
    "other_speaker": "the other speaker's words",
    "closes": "the sign to close",
}


def without_labels(text: str, role: Role, most: int = 20) -> tuple[str, str | None]:
    """The text without labels before and inside it, and the reason in words; None if it had none.

    Of labels in front of labels at most `most` are taken off.
    """
    said = read_speech(text, role)
    repairs = [r for r in said.repairs if r in _TRIMMED]
    if said.closes and said.text:
        repairs.append("closes")
    rest = said.text if repairs else text
    bare, labels = _LABEL.subn(" ", rest)
    if labels:
        rest, repairs = " ".join(bare.split()), [*repairs, "strategy_label"]
    if not repairs:
        return text, None
    again, more = without_labels(rest, role, most - 1) if rest and most else (rest, None)
    return (again, _TRIMMED[repairs[0]]) if more else (rest, _TRIMMED[repairs[0]])
