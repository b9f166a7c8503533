"""One spelling for many: the form of a text in which crisis rules are matched.

Folding undoes case, width, accents, apostrophes, invisible characters, letters written as digits,
letters set apart and letters repeated. It is used for matching alone; no stored text is changed.
Every step is linear in the length of the text.
"""

from __future__ import annotations

import re
import unicodedata

_APOSTROPHES = "'\u2018\u2019\u02bc\u02b9\u00b4`\u2032"
_SPACERS = (
    '"\u201c\u201d\u201e\u00ab\u00bb()[]{}<>-\u2010\u2011\u2012\u2013\u2014_~|/\\\u300c\u300d'
)
_SAME = {
    # Arabic letters and Hindi signs that people write in more than one way
    **dict.fromkeys("\u0623\u0625\u0622\u0671", "\u0627"),
    "\u0649": "\u064a",
    "\u0629": "\u0647",
    "\u0640": "",
    **{chr(code): "" for code in range(0x064B, 0x0653)},
    "\u093c": "",
    "\u0901": "\u0902",
    # Han characters in their simplified form, those that the rules hold
    **dict(
        zip(
            "殺輕結對關開實體傷強姦總經慣親媽著還沒義麼樣裡裏個離邊遺書樓農藥過這來說無無們會爾為難學煙燙頭劃縊嚴覺歸斷幾閉動淨讓許釋滿準備們後臥",
            "杀轻结对关开实体伤强奸总经惯亲妈着还没义么样里里个离边遗书楼农药过这来说无无们会尔为难学烟烫头划缢严觉归断几闭动净让许释满准备们后卧",
            strict=True,
        )
    ),
    # katakana as hiragana
    **{chr(code): chr(code - 0x60) for code in range(0x30A1, 0x30F7)},
}
_CHARACTERS = str.maketrans(_SAME)
_NO_APOSTROPHES = str.maketrans(dict.fromkeys(_APOSTROPHES, ""))
_PLAIN = str.maketrans(dict.fromkeys(_APOSTROPHES) | dict.fromkeys(_SPACERS, " "))
_NOT_PLAIN = re.compile(f"[{re.escape(_APOSTROPHES + _SPACERS)}]")
_ACCENTS = re.compile("[\u0300-\u036f]")
_DIGIT = re.compile("[013457@$]")
_DIGITS = dict(zip("013457@$", "oieastas", strict=True))
_LETTER_AS_DIGIT = re.compile(r"[013457@$](?<=[a-z].)(?=[a-z])|\$(?=[a-z])")
_MAY_BE_APART = re.compile("[. ][a-z][. ][a-z][. ]")
_APART = re.compile(r"(?<!\w)(?:[a-z][. ]){3,}[a-z](?!\w)")
_REPEATED = re.compile(r"([a-z])\1\1+")
_THREE = tuple(letter * 3 for letter in "abcdefghijklmnopqrstuvwxyz")


def fold_characters(text: str) -> str:
    """Unify characters one by one; safe for the text of a pattern too."""
    return _one_script(text).translate(_NO_APOSTROPHES)


def _one_script(text: str) -> str:
    if text.isascii():
        return text
    text = unicodedata.normalize("NFKD", text)
    text = unicodedata.normalize("NFC", _ACCENTS.sub("", text)).translate(_CHARACTERS)
    return "".join(c for c in text if unicodedata.category(c) != "Cf")


def fold(text: str) -> str:
    """The text as the rules see it: lower case, single spaces, one spelling a character.

    Apostrophes vanish (`don't` and `dont` are one); quotes, brackets and dashes become spaces;
    sentence marks and commas stay, since rules must not reach over them.
    """
    plain = _one_script(text.lower())
    if _NOT_PLAIN.search(plain):  # a search is faster than a translation
        plain = plain.translate(_PLAIN)
    if _DIGIT.search(plain):
        plain = _LETTER_AS_DIGIT.sub(lambda found: _DIGITS[found[0]], plain)
    plain = " ".join(plain.split())
    if _MAY_BE_APART.search(plain):
        plain = _APART.sub(lambda found: re.sub("[. ]", "", found[0]), plain)
    for three in _THREE:  # quicker than the pattern, which looks at each letter for long
        if three in plain:
            return _REPEATED.sub(_once_or_twice, plain)
    return plain


def _once_or_twice(found: re.Match[str]) -> str:
    return found[1] if found[1] in "aeiou" else found[1] * 2
