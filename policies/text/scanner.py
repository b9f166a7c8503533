"""Finds where sentences end, in one pass over a text that may still be growing.

Each decision depends on what stands before a place and on at most `REACH` characters behind it, so a
decision once taken never changes, no character is looked at more than a bounded number of times, and
memory does not grow with the text. What is to be decided next is kept between two pieces.
"""

from __future__ import annotations

import re
from unicodedata import numeric

from .abbreviations import NAMES_END_IN, exclamation_goes_on, full_stop_ends, never_final

REACH = 300
"""Most characters looked at behind a place, and the longest text in quotation marks or brackets
that counts as one part of the sentence around it."""

_KEPT = 512  # characters of context kept in front of the place reached
_CUT_AT = 4096
_TAIL = 8  # no mark whose kind is open begins further from the end

_HARD = "。！？｡।॥؟۔؝؞։።፧፨။។៕᙮᠃᠉᥄᥅꓿꘎꘏꡶꡷꣎꣏꤯꧈꧉꩝꩞꩟꫰꫱꯫܀܁܂߹᜵᜶᪨᪩᭚᭛᰻᰼᱾᱿‼‽⁇⁈⁉⸮"  # Unicode's STerm
_MARKS = ".!?…" + _HARD
_HAN = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uff00-\uffef"
_CJK = re.compile(f"[{_HAN}]")
_EMOJI = r"\U0001f000-\U0001faff\u2600-\u27bf\u2b50\u2b55\u2764\ufe0f\u200d"
_EMOTICON = r"(?<!\S)[:;=]['-]?[()DP/|]{1,9}(?!\S)|(?<!\S)<3{1,9}(?!\S)"
_BRACKETS = "([{（【「『《"
_CLOSING = {
    **{a: re.compile(f"[\\{a}\\{b}\n]") for a, b in zip(_BRACKETS, ")]}）】」』》", strict=True)},
    '"': re.compile(r'(?<=\S)"(?!\w)|\n'),
    "'": re.compile(r"(?<=\S)['’](?!\w)|\n"),
    "‘": re.compile(r"(?<=\S)['’](?!\w)|\n"),
    "“": re.compile(r"[”“\n]"),
    "„": re.compile(r"[“”\n]"),
    "«": re.compile(r"[»\n]"),
}
_ELIDED = re.compile(r"(?:cause|em|til|tis|twas|bout|n|round|cuz)(?!\w)", re.IGNORECASE)
_DEEPEST = 3

_EVENTS = (
    r"(?P<line>[\n\r\u2028\u2029\x85])"
    r"|(?P<item>(?<!\S)(?:\(?(?:\d{1,2}|[A-Za-z])\.?\)|\d{1,2}\.)(?!\S)|(?<!\S)\d{1,2}\)(?=[^\W\d_])"
    r"|(?<!\S)\d\ufe0f?\u20e3|[①-⑳❶-❿➀-➓])"
    r"|(?P<bullet>(?<=\s)[•▪●](?!\S))"
    rf"|(?P<face>[{_EMOJI}]{{1,16}}|{_EMOTICON})"
    rf"|(?P<marks>[{_MARKS}]{{1,16}})"
    r"|(?P<opener>(?<![:;=\w-])[(]|[\[{（【“„«「『《]|(?<![\w\"'])[\"'](?=\S)|(?<!\w)‘(?=\w))"
)
_EVENT = re.compile(_EVENTS)
_EVENT_OR_WORD = re.compile(_EVENTS + r"|(?P<word>[" + _HAN + r"]|[^\W_]{1,64})")
_HALF_ITEM = re.compile(
    r"(?<!\S)(?:\(?(?:\d{1,2}|[A-Za-z])?\.?\)?|\d\ufe0f|[:;=]['-]?[()DP/|]{0,9}|<3{0,9}|[•▪●])\Z"
)
_CLOSERS = re.compile(
    rf"(?:[)\]}}”’»」』】）》*_~{_EMOJI}]|[\"'“](?!\w)|[ \xa0\u202f]»|\[\d{{1,3}}\]){{0,16}}"
)
_NEXT = re.compile(
    rf"(?P<space>\s{{0,{REACH}}})[\"'“‘«„(\[*¿¡_-]{{0,4}}(?P<word>[{_HAN}]|\w{{0,24}})(?P<after>(?<=\w)[^\s]?|)"
)
_LINE_START = re.compile(
    rf"(?P<space>\s{{0,{REACH}}})(?P<item>\(?(?:\d{{1,2}}|[A-Za-z])(?:\.|\.?\))(?!\S)|[-*•–—▪●](?!\S))?"
    r"[\"'“‘«„(\[*¿¡_]{0,4}(?P<first>\S?)"
)
_BREAK = re.compile(r"[\n\r\u2028\u2029\x85]")
_UNSPACED_REACH = 40
_UNSPACED = re.compile(rf"\S{{1,{_UNSPACED_REACH}}}")
_MARK_RUN = re.compile(rf"[{_MARKS}]+")
_AROUND = "\"'“”‘’()*,;:"
_APOSTROPHES = re.compile(r"['’]")
_HEARTS = re.compile(r"[\u2764\U0001f493-\U0001f49f\U0001f9e1\U0001f90d\U0001f90e]|<3")
_PRONOUNS = frozenset({"i", "we", "they"})
_ADDRESS = re.compile(r"://|www\.|[@/=\\&#%]")


class SentenceScanner:
    """Takes a text in pieces and collects where its sentences begin.

    Attributes:
        boundaries: offsets in the whole text at which the second, third, ... sentence begins. Only
            what no further text can change is there, until `finish` is called.
        steps: places examined, for tests of the cost.
    """

    def __init__(self) -> None:
        self.boundaries: list[int] = []
        self.steps = 0
        self._text = ""
        self._offset = 0  # of `_text` in the whole
        self._at = 0  # what lies before is decided
        self._start = 0  # of the sentence under way
        self._content = False  # it has a letter or digit
        self._pending: int | None = None  # where the next one begins, if there is a next one
        self._item: tuple[str, int] | None = None  # style and number of the last list item

    def feed(self, piece: str) -> None:
        """Take more text."""
        if self._at > _CUT_AT:
            self._forget(self._at - _KEPT)
        self._text += piece
        self._run(final=False)

    def finish(self) -> None:
        """Decide what is left: nothing follows."""
        self._run(final=True)

    def _forget(self, count: int) -> None:
        self._text = self._text[count:]
        self._offset += count
        self._at -= count
        self._start = max(0, self._start - count)
        if self._pending is not None:
            self._pending -= count

    def _run(self, *, final: bool) -> None:
        text, size = self._text, len(self._text)
        open_from = size
        if not final and (half := _HALF_ITEM.search(text, max(self._at, size - _TAIL))):
            open_from = half.start()
        while self._at < size:
            self.steps += 1
            settled = self._content and self._pending is None
            event = (_EVENT if settled else _EVENT_OR_WORD).search(text, self._at)
            if event is None:
                self._at = size if final else max(self._at, min(open_from, size - _TAIL))
                return
            if not final and (event.end() == size or event.start() >= open_from):
                self._at = max(self._at, min(event.start(), open_from))
                return
            after = self._take(event, final)
            if after is None:
                self._at = event.start()
                return
            self._at = after

    def _take(self, event: re.Match[str], final: bool) -> int | None:
        """Where to go on after an event, or None if that depends on text to come."""
        match event.lastgroup:
            case "word":
                self._write()
                return event.end()
            case "marks":
                return self._end_mark(event.start(), event.end(), final)
            case "opener":
                return self._enclosed(event.start(), final)
            case "line":
                return self._line(event.start(), final)
            case "face":
                return self._face(event, final)
            case "item":
                return self._list_item(event)
            case _:
                self._propose(event.start())
                return event.end()

    def _write(self) -> None:
        """A letter or digit was read: the sentence that was about to begin has begun."""
        if self._pending is not None and self._content:
            self.boundaries.append(self._offset + self._pending)
            self._start = self._pending
        self._pending, self._content = None, True

    def _propose(self, place: int) -> None:
        if self._content:
            self._pending = place

    # Marks

    def _end_mark(self, start: int, end: int, final: bool) -> int | None:
        judged = self._judge(start, end, final)
        if judged is None:
            return None
        place, ends = judged
        if ends:
            self._propose(place)
        return place

    def _judge(
        self, start: int, end: int, final: bool, *, enclosed: bool = False
    ) -> tuple[int, bool] | None:
        """Whether the end marks from `start` to `end` end a sentence, and where to go on.

        `enclosed`: a closing quotation mark or bracket comes next. None: more text is needed.
        """
        text, size = self._text, len(self._text)
        closers = _CLOSERS.match(text, end)
        assert closers is not None
        close = closers.end()
        if close == size:
            return (size, False) if final else None
        if text[close] == "[" and not final and size - close < _TAIL:
            return None  # perhaps the number of a note
        ahead = _NEXT.match(text, close)
        assert ahead is not None
        run, begin, closed = text[start:end], ahead.end("space"), enclosed or close > end
        if not final and size in (begin, ahead.end()) and (begin == size or not _hard(run)):
            return None
        if _hard(run):
            ends: bool | None = True
        elif begin > close:
            ends = self._ends_before_space(run, start, ahead["word"], ahead["after"], closed)
        else:
            ends = self._ends_unspaced(run, start, close, closed, final)
        return None if ends is None else (begin if ends else close, ends)

    def _ends_before_space(self, run: str, start: int, word: str, after: str, closed: bool) -> bool:
        lower = word[:1].islower()
        before = self._text[max(0, start - 48) : start]
        if "!" in run or "?" in run:
            return not lower or not (closed or (run == "!" and exclamation_goes_on(before, word)))
        if run == "..":
            return True
        if run != ".":
            return self._ellipsis_ends(start, word)
        return not (closed and lower) and full_stop_ends(before, word, after)

    def _ellipsis_ends(self, start: int, word: str) -> bool:
        """Before a capital letter; before "I" only after three words ("Well... I don't know")."""
        if word == "I":
            return len(self._text[max(self._start, start - 48) : start].split()) >= 3
        return not word or word[0].isupper()

    def _ends_unspaced(
        self, run: str, start: int, place: int, closed: bool, final: bool
    ) -> bool | None:
        """Whether a sentence ends where the next one follows without a space ("ok.thanks")."""
        text = self._text
        first = text[place]
        if not first.isalpha():
            return False
        if _CJK.match(first):
            return "!" in run or "?" in run or (run == "." and bool(_CJK.match(text, start - 1)))
        right = _UNSPACED.match(text, place)
        assert right is not None
        if right.end() == len(text) and not final and len(right.group()) < _UNSPACED_REACH:
            return None
        left = _last_token(text[max(0, start - 64) : start])
        if _ADDRESS.search(left) or _ADDRESS.search(right.group()):
            return False
        if "!" not in run and "?" not in run and run not in (".", ".."):
            return first.isupper()
        return (closed and first.isupper()) or _words_meet(left, right.group(), run)

    def _enclosed(self, start: int, final: bool) -> int | None:
        """Past what stands in closed quotation marks or brackets, which stays together."""
        text, size = self._text, len(self._text)
        if text[start] == "'":
            if not final and size - start < _TAIL:
                return None
            if _ELIDED.match(text, start + 1):
                return start + 1
        window = min(size, start + 1 + REACH)
        close, known = _closing(text, start, window)
        if close is None:
            return start + 1 if final or known or window < size else None
        if close + 1 == size and not final:
            return None
        last = close - 1 if text[close] == "»" and text[close - 1].isspace() else close
        first = last
        while first > start + 1 and last - first < 16 and text[first - 1] in _MARKS:
            first -= 1
        after, ends = close + 1, False
        if first < last:
            judged = self._judge(first, last, final, enclosed=True)
            if judged is None:
                return None
            after, ends = max(after, judged[0]), judged[1]
        if any(map(str.isalnum, text[start:close])):
            self._write()
        if ends:
            self._propose(after)
        return after

    # Lines, list items, faces

    def _line(self, start: int, final: bool) -> int | None:
        """A line ends a sentence, unless the next one goes on in small letters."""
        text = self._text
        ahead = _LINE_START.match(text, start)
        assert ahead is not None
        begin = ahead.end("space")
        if begin == len(text):
            return begin if final else None
        space = ahead["space"].replace("\r\n", "\n")
        if len(_BREAK.findall(space)) < 2:
            if not final and len(text) - begin < _TAIL:
                return None
            if not ahead["item"] and ahead["first"].islower():
                return begin
        self._propose(begin)
        return begin

    def _list_item(self, event: re.Match[str]) -> int:
        """A number of a list: it belongs to what follows, and the next number begins a sentence.

        Within a line only numbers that go on from the last one count, or a first one.
        """
        label = event["item"]
        mark = label.strip("(.)")
        if mark.isdecimal():
            number, style = int(mark), label[-1] + "1"
        elif mark.isascii():
            number, style = ord(mark.lower()) - ord("a") + 1, label[-1] + "a"
        else:  # in a circle, or on a key
            number, style = int(numeric(mark[0])), "o"
        style += "(" if label[0] == "(" else ""
        if self._item == (style, number - 1):
            self._propose(event.start())
        elif not (self._begins_line(event) or (number == 1 and self._may_be_first(event))):
            self._write()
            return event.end() - (label[-1] == ".")  # its full stop may end a sentence
        self._item = (style, number)
        return event.end()

    def _begins_line(self, event: re.Match[str]) -> bool:
        front = self._text[max(0, event.start() - REACH) : event.start()].rstrip(" \t")
        return not self._content or not front or bool(_BREAK.match(front, len(front) - 1))

    def _may_be_first(self, event: re.Match[str]) -> bool:
        front = self._text[max(0, event.start() - 3) : event.start()].rstrip()
        marked = event["item"][-1] == ")" or not event["item"][-1].isascii()
        return marked or self._pending is not None or front[-1:] in (":", "：")

    def _face(self, event: re.Match[str], final: bool) -> int | None:
        """An emoji or emoticon ends a sentence that has no other mark, before a capital letter.

        Not where it stands for a verb ("I ❤ Paris"), nor before small letters.
        """
        text = self._text
        ahead = _NEXT.match(text, event.end())
        assert ahead is not None
        if ahead.end() == len(text) and not final:
            return None
        first = ahead["word"][:1]
        verb = (
            _last_token(text[max(0, event.start() - 16) : event.start()].rstrip()).lower()
            in _PRONOUNS
        )
        if not self._content or self._pending is not None or verb or not first.isalpha():
            return event.end()
        spaced = ahead.end("space") > event.end()
        if first.islower() or not (spaced or (_CJK.match(first) and not _HEARTS.search(event[0]))):
            return event.end()
        self._propose(ahead.end("space"))
        return ahead.end("space")


def _hard(run: str) -> bool:
    return any(mark in _HARD for mark in run)


def _last_token(text: str) -> str:
    """What stands at the end of `text` without white space; empty if it ends in white space."""
    return text.split()[-1] if text and not text[-1].isspace() else ""


def _words_meet(left: str, right: str, run: str) -> bool:
    """Whether `left` and `right`, with nothing but end marks between, are words of two sentences.

    Not names of files and servers, initials, or a word with a mark inside ("f!ck").
    """
    before = [part.strip(_AROUND) for part in _MARK_RUN.split(left or "so")]  # "so .Then"
    behind = [part.strip(_AROUND) for part in _MARK_RUN.split(right)]
    last, word = before[-1], behind[0]
    if min(map(len, before)) < 2 or (len(word) < 2 and word not in ("I", "i", "A")):
        return False
    if "!" in run or "?" in run:
        return True
    named = any(NAMES_END_IN.fullmatch(part) for part in (*before[1:], *behind))
    plain = all(_APOSTROPHES.sub("", part).isalpha() for part in (*before, word))
    mixed = last.isupper() and (word[0].islower() or (word.isupper() and len(last + word) < 8))
    return plain and not named and not mixed and not never_final(last)


def _closing(text: str, start: int, window: int) -> tuple[int | None, bool]:
    """Where the quotation mark or bracket at `start` closes before `window`.

    Returns:
        The place, or None; and whether None is certain whatever follows (a line break came first).
    """
    opener, depth = text[start], 0
    for found in _CLOSING[opener].finditer(text, start + 1, window):
        mark = found.group()
        if mark == "\n":
            return None, True
        if mark == opener and opener in _BRACKETS:
            depth += 1
            if depth > _DEEPEST:
                return None, True
        elif mark == ")" and text[found.start() - 1] in ":;=-^":
            continue  # a smile
        elif depth == 0:
            return found.start(), True
        else:
            depth -= 1
    return None, False
