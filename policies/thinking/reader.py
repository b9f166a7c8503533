"""Tells what a model thought from what it says.

Engines send both in one text, with marks between them. Known are the marks of DeepSeek-R1, Qwen3,
GLM, SmolLM3 and their kin (`<think>`), Magistral (`[THINK]`), Cohere, Seed-OSS, Kimi, OpenThinker,
Kimi K3, Apertus, Granite 3.2 and Apriel (in plain words), Gemma 4 (`<|channel>thought`), and gpt-oss's channels
("harmony"), also where an engine has already left out its special tokens.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pair:
    """The marks around a block of thinking, as a model writes them, and what it writes after it."""

    opens: str
    closes: str
    then: str = "\n\n"

    def answer_after(self, written: str, *, begun: bool, closed: bool) -> str:
        """What stands between the prompt and the answer.

        Args:
            written: what was written so far, from the prompt on.
            begun: the prompt ended within the block.
            closed: what was written ends with the block's end; else it is ended here.
        """
        if closed:
            return written.rstrip() + self.then
        opened = "" if begun or self.opens in written else f"{self.opens}\n"
        return f"{opened}{written.rstrip()}\n{self.closes}{self.then}"


_FINAL = "<|start|>assistant<|channel|>final<|message|>"

_GRANITE = Pair("Here is my thought process:", "Here is my response:")
_APRIEL = Pair("Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]")
_IN_WORDS = (_GRANITE.opens, _APRIEL.opens)
"""These count at the very beginning only."""

PAIRS = (
    Pair("<think>", "</think>"),
    Pair("<thinking>", "</thinking>"),
    Pair("<thought>", "</thought>"),
    Pair("<reasoning>", "</reasoning>"),
    Pair("[THINK]", "[/THINK]"),
    Pair("<seed:think>", "</seed:think>"),
    Pair("◁think▷", "◁/think▷"),
    Pair("<|START_THINKING|>", "<|END_THINKING|>"),
    Pair("<|begin_of_thought|>", "<|end_of_thought|>"),
    Pair("<|channel>thought", "<channel|>"),
    Pair("<|inner_prefix|>", "<|inner_suffix|>"),
    Pair("<|open|>think<|sep|>", "<|close|>think<|sep|>", "<|open|>response<|sep|>"),
    _GRANITE,
    _APRIEL,
    Pair("<|channel|>analysis<|message|>", "<|end|>", _FINAL),
    Pair("<|channel|>commentary<|message|>", "<|end|>", _FINAL),
)

_FRAMES = (
    *("<|start|>assistant", "<|channel|>final<|message|>", "<|return|>"),
    *("<|START_RESPONSE|>", "<|END_RESPONSE|>"),
    *("<|begin_of_solution|>", "<|end_of_solution|>"),
    *("<|open|>response<|sep|>", "<|close|>response<|sep|>", "[END FINAL RESPONSE]", "<|call|>"),
)
"""Around the answer of models that mark it too."""

_ENDS_ANYWHERE = frozenset(pair.closes for pair in PAIRS) - {"<|end|>", _GRANITE.closes}
"""Marks that end thinking whose beginning was not seen: it stood in the prompt."""

_MARKS = sorted(
    {mark for pair in PAIRS for mark in (pair.opens, pair.closes)} | set(_FRAMES),
    key=len,
    reverse=True,
)
# no other mark stands within a header, or it would count until the header is complete
_OTHER = "|".join(re.escape(mark) for mark in _MARKS if not mark.startswith("<"))
_HEADER = (
    rf"<\|channel\|>\s?(analysis|commentary|final)\b(?:(?!{_OTHER})[^<]){{0,60}}"
    rf"(?:<\|constrain\|>(?:(?!{_OTHER})[^<]){{0,20}})?<\|message\|>"
)
"""A message's header in gpt-oss's answers: its channel, then to whom and in what form."""

_MARK = re.compile("|".join((*map(re.escape, _MARKS), _HEADER)))
_LONGEST_MARK = max(len(mark) for pair in PAIRS for mark in (pair.opens, pair.closes, *_FRAMES))
_LONGEST_HEADER = len("<|channel|> commentary<|constrain|><|message|>") + 60 + 20
_WRAPS = (("<answer>", "</answer>"), ("<response>", "</response>"))
"""Around what is said, after their thinking, by Granite, Hunyuan, ERNIE and models trained alike."""
MARK_TOKENS = frozenset(
    piece
    for mark in (*(m for pair in PAIRS for m in (pair.opens, pair.closes)), *_FRAMES)
    for piece in (mark, *re.findall(r"<\|\w+\|?>|<\w+\|>", mark))
)
"""Marks, and the tokens of which longer marks are made."""

_OPENED = {pair.opens: pair for pair in PAIRS}
_BARE_ANALYSIS = re.compile(r"\s*(?:analysis|commentary)(?=[A-Za-z\"'(*\d\n])")
"""How gpt-oss's answer begins once its special tokens were left out; at most `BARE_BEGINNING`
characters of it show that."""
BARE_BEGINNING = len("commentary") + 1
BARE_FINAL = "assistantfinal"
"""How it goes on to its answer."""


@dataclass(frozen=True, slots=True)
class Parted:
    """A reply in its two parts.

    Attributes:
        thinking: of all blocks, a blank line between them; empty where there was none.
        text: what is said. The very text where nothing was found in it.
        open: the text ends within a block.
    """

    thinking: str
    text: str
    open: bool = False


def part(text: str, *, begun: bool = False) -> Parted:
    """What a reply thinks and what it says.

    A mark that ends a block without one that begins it makes all before it thinking. Marks in
    complete JSON are part of it.

    Args:
        text: the reply, whole or so far.
        begun: the prompt ended within a block.
    """
    if not begun and _BARE_ANALYSIS.match(text):
        return _part_bare_harmony(text)
    if not begun and (not has_mark(text) or is_json(text)):
        return Parted("", text)
    blocks = Blocks(begun=begun)
    blocks.read(text, 0)
    return blocks.parted(text) if blocks.start or begun else Parted("", text)


def may_think(text: str) -> bool:
    """Whether there is anything to tell apart in a reply; a quick look before `part`."""
    return has_mark(text) or _BARE_ANALYSIS.match(text) is not None


class Blocks:
    """Tells the blocks of thinking in a text by their marks, from one mark to the next.

    Attributes:
        inside: the marks of the block that is open; True where it began in the prompt.
        start: where the latest mark ends.
    """

    __slots__ = ("inside", "said", "start", "thought")

    def __init__(self, *, begun: bool) -> None:
        self.thought: list[str] = []
        self.said: list[str] = []
        self.inside: Pair | bool = begun
        self.start = 0

    def read(self, text: str, start: int) -> None:
        """Take in the marks of `text` from `start` on; none of them was taken in before."""
        for mark in _MARK.finditer(text, start):
            found = mark[0] if mark[1] is None else f"<|channel|>{mark[1]}<|message|>"
            if found in _OPENED:
                if self.inside or (found in _IN_WORDS and text[: mark.start()].strip()):
                    continue
                self.said.append(text[self.start : mark.start()])
                self.inside = _OPENED[found]
            elif not self._ends(found, text[self.start : mark.start()]):
                continue
            self.start = mark.end()

    def _ends(self, found: str, before: str) -> bool:
        """Take in a mark that opens no block, behind what stands before it; whether it counts."""
        if found == _GRANITE.closes and self.inside != _GRANITE:
            return False
        if found in _FRAMES and not (found == "<|call|>" and self.inside):
            if found.startswith("<|channel|>final") and self.inside:
                self.thought.append(before)  # a model may forget to end its analysis
                self.inside = False
            elif not self.inside:
                self.said.append(before)
            else:
                return False
        elif self.inside:
            if self.inside is not True and found != _kin(self.inside.closes, found):
                return False
            self.thought.append(before)
            self.inside = False
        elif found not in _ENDS_ANYWHERE:
            self.said.append(before)
        else:
            self.thought += [*self.said, before]
            self.said = []
        return True

    def parted(self, text: str) -> Parted:
        """`text` in its parts; all its marks were taken in."""
        rest = [text[self.start :]]
        thought = self.thought + rest if self.inside else self.thought
        said = self.said if self.inside else self.said + rest
        text = _joined(said, " ")
        return Parted(
            _joined(thought, "\n\n"), unwrapped(text) if thought else text, bool(self.inside)
        )

    def said_before(self) -> str:
        """What was said before the latest mark; what was thought is forgotten."""
        self.thought.clear()
        if len(self.said) > 1:
            self.said = [_joined(self.said, " ")]
        return self.said[0].strip() if self.said else ""


def unwrapped(said: str) -> str:
    """What is said behind thinking, without the tags that some models write around it."""
    for opens, closes in _WRAPS:
        if said.startswith(opens):
            return said.removeprefix(opens).removesuffix(closes).strip()
    return said


def unread_from(text: str, end: int) -> int:
    """Where a mark can begin of which `text` up to `end` holds no more than a part."""
    start = max(0, end - _LONGEST_MARK + 1)
    header = text.rfind("<|channel|>", max(0, end - _LONGEST_HEADER), end)
    if header >= 0 and text.find("<|message|>", header, end) < 0:
        return min(start, header)
    return start


def has_mark(text: str) -> bool:
    """Whether a text holds any mark of thinking."""
    if not any(char in text for char in "<[◁") and not text.lstrip().startswith("Here "):
        return False
    return _MARK.search(text) is not None


def ends_unopened(text: str) -> bool:
    """Whether the first mark in a reply ends a block: one that began in the prompt."""
    first = _MARK.search(text)
    return first is not None and first[0] in _ENDS_ANYWHERE and not is_json(text)


def opened_by(prompt: str) -> Pair | None:
    """The block within which a prompt ends, if it ends with the mark that begins one."""
    end = prompt.rstrip()
    return next((pair for pair in PAIRS if end.endswith(pair.opens)), None)


def pair_in(template: str | None) -> Pair | None:
    """The marks that a chat template speaks of, the first of them that are known."""
    if template is None:
        return None
    return next((p for p in PAIRS if p.opens in template or p.closes in template), None)


def bare_thinking(text: str, start: int = 0) -> bool:
    """Whether a text begins with thinking whose marks were left out (gpt-oss)."""
    return _BARE_ANALYSIS.match(text, start) is not None


def begins_mark(text: str) -> bool:
    """Whether a text so far may be the beginning of a mark that begins a block."""
    return any(pair.opens.startswith(text) for pair in PAIRS)


def _kin(mark: str, found: str) -> str:
    """Models mix `think` and `thinking`, and end a call of a tool otherwise; other marks must be the
    block's own."""
    for mixed in (("</think>", "</thinking>"), ("<|end|>", "<|call|>")):
        if mark in mixed and found in mixed:
            return found
    return mark


def _part_bare_harmony(text: str) -> Parted:
    begin = _BARE_ANALYSIS.match(text)
    assert begin is not None
    thought, ended, said = text[begin.end() :].partition(BARE_FINAL)
    return Parted(thought.strip(), said.strip(), not ended)


def is_json(text: str) -> bool:
    """Whether a text is complete JSON, an object or a list."""
    stripped = text.strip()
    if stripped[:1] not in ("{", "["):
        return False
    try:
        json.loads(stripped)
    except (ValueError, RecursionError):
        return False
    return True


def _joined(parts: list[str], between: str) -> str:
    return between.join(stripped for piece in parts if (stripped := piece.strip()))
