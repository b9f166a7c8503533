"""Whether a full stop ends the sentence or only shortens a word.

sentencex knows the abbreviations of many languages; it is asked about one full stop at a time, with
the word before and the word after. Its lists also hold words that people end sentences with ("me",
"no", "ok": Maine, number, Oklahoma), and lack some that they do not; both are corrected here. The
lists used are the English one for Latin letters and the Russian one for Cyrillic letters. What
Spanish, French, German, Hindi and Arabic add is listed here.
"""

from __future__ import annotations

import re
from functools import lru_cache

import sentencex


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ENDS = _words(
    # in sentencex's English list, and ordinary words, names or chat abbreviations
    "al ala arc ark art bart bros btw cal cit col con conn dak del det ens ext fed fig"
    " fla gov hon ia id ida ill ind ing ins insp kan ken la lb ll ma mar mass may md me med"
    " mi mich mile min minn miss mo mt no oh ok op ore pa pd penn plz ps psych re ref rep reps"
    " res rev sat sc sec sen sens sep sun ut va ver wash wed wis wy yd or hi in de as pt pm am ed"
    # in its Russian list
    " а в и к о с у жен муж нед дол авт пер тел"
    # in its other lists, should they ever be asked
    " im ja nein mir dir so da"
)  # fmt: skip
"""Words that end sentences: their full stop counts unless a number follows ("no. 1", "Jan. 5")."""

_NEVER = _words(
    "e.g i.e eg ie cf viz vs a.k.a mr mrs ms mx messrs dr prof"
    " sra srta dra ud uds vd vds p.ej"  # Spanish
    " mme mlle mlles p.ex"  # French
    " z.b d.h u.a z.t bzw nr ggf evtl vgl inkl zzgl s.o s.u"  # German
    " т.е т.к т.н г-н ул см стр рис пл акад проф тов напр"  # Russian
    " डॉ श्री प्रो"
)
"""Abbreviations that something always follows."""

_TITLES = _words("gen lt sgt capt cpl col cmdr gov pres sen rep hon rev supt fr hr mm mgr")
"""Titles, where both they and the name behind them are capitalised."""

_MAY = _words(
    "etc inc ltd co corp jr sr a.m p.m approx dept apt ave blvd est hr hrs mins secs lbs st mt ft"
    " ph.d b.a m.a b.sc m.sc u.s u.s.a u.k e.u d.c jan feb mar apr jun jul aug sept oct nov dec mon"
    " tue tues wed thu thur thurs fri sat sun"
    " ee.uu núm pág av"  # Spanish
    " env tél"  # French
    " usw u.s.w o.ä"  # German
    " т.д т.п др пр г гг в вв ч мин сек руб коп тыс млн млрд н.э"
)
"""Abbreviations that end a sentence where a capital letter follows, of a word not below."""

_ABBREVIATIONS = _NEVER | _MAY

_NUMBERED = _words(
    "no nos nr str p pp vol vols fig figs ch sec art ext núm pág tel jan feb mar apr jun jul aug sep"
    " sept oct nov dec sat sun wed mon tue thu fri ca approx № п стр рис гл ст"
)
"""Abbreviations that numbers follow."""

_FOLLOWING_TIME = _words(
    "monday tuesday wednesday thursday friday saturday sunday est pst cst mst gmt utc et pt"
)
"""Capital words that go on after "5 p.m."."""

_MONTHS = _words(
    "januar jänner februar märz april mai juni juli august september oktober november dezember"
    " klasse stock etage jahrhundert mal"
)
"""German words that a number with a full stop is an ordinal before."""

_STARTERS = _words(
    "the this that these those there then it he she we you they i my your his her our their its and"
    " but so or if when what why how who where which maybe perhaps now no yes not do did does is are"
    " was were can could would should will let please thank thanks sorry in on at for as to after"
    " before because since once sometimes also well just all one some everyone everything nobody"
    " nothing have has today tomorrow yesterday later still even hope hopefully ok okay oh"
)
"""English words that, capitalised, begin a sentence rather than go on after an abbreviation."""

_LETTERED = _words(
    "plan vitamin option type grade hepatitis team group part section class an a option answer"
    " version choice letter and or to"
)
"""Before a single letter: the letter is a name or grade, no initial."""

_SPACED = re.compile(r"(?:(?<!\S)[^\W\d_]{1,2}\. ?){1,3}[^\W\d_]{1,3}$")
_CLOSING = "\"'“”’»)]}*_"
_OPENING = "\"'“”‘’«»„([{*_¿¡"


def full_stop_ends(before: str, word: str, after: str) -> bool:
    """Whether the full stop between `before` and `word` ends a sentence.

    Args:
        before: the text in front of the full stop, at most some fifty characters of it.
        word: the next word; empty if none follows at once.
        after: the characters directly behind that word.
    """
    last = _last(before)
    token = last.lstrip(_OPENING).rstrip(_CLOSING)
    plain = token.lower()
    if not token or not word:
        return True
    if word[0].isdigit() and plain in _NUMBERED:
        return False
    if token.isdigit():
        return not (len(token) <= 2 and word[0].isupper() and word.lower() in _MONTHS)
    if after.startswith(".") and f"{plain}.{word.lower()}" in _ABBREVIATIONS:
        return False
    if (spaced := _SPACED.search(before)) is not None:
        joined = spaced.group().replace(" ", "").lower()
        if joined in _NEVER:
            return False
        if joined in _MAY:
            return _after_abbreviation(joined, word)
    if plain in _NEVER:  # "I saw my dr. And then"
        return token == plain and "." not in plain and _capital(word) and word.lower() in _STARTERS
    if plain in _TITLES and token[0].isupper() and word[0].isupper():
        return word.lower() in _STARTERS
    if not token[-1].isalnum():
        return True
    if plain in ("г", "гг", "в", "вв"):  # a year or century, else a city or a preposition
        front = before[: -len(last)].rstrip()
        return (front[-1:].isdigit() or front[-1:] in ("X", "V", "I")) and _capital(word)
    if plain in _MAY and plain not in _ENDS:
        return _after_abbreviation(plain, word)
    if len(token) == 1:
        return _after_letter(before[: -len(last)], token, word, after)
    if "." in token:
        return _after_dotted(token, word)
    if plain in _ENDS or len(token) > 12:
        return True
    return not _library_joins(_language(token), token, ".", word)


def exclamation_goes_on(before: str, word: str) -> bool:
    """Whether `!` belongs to a name, as in "Yahoo! is", by sentencex's list."""
    token = _last(before).lstrip(_OPENING)
    return token[:1].isupper() and len(token) <= 12 and _library_joins("en", token, "!", word)


def never_final(word: str) -> bool:
    """Whether a word with a full stop is an abbreviation that something always follows."""
    return word.lower() in _NEVER


def _last(text: str) -> str:
    return text.split()[-1] if text and not text[-1].isspace() else ""


def _capital(word: str) -> bool:
    return not word[:1].islower() and not word[:1].isdigit()


def _after_abbreviation(plain: str, word: str) -> bool:
    if not _capital(word):
        return False
    if plain in ("a.m", "p.m"):
        return word.lower() not in _FOLLOWING_TIME
    if plain in ("etc", "usw", "u.s.w") or not plain.isascii():
        return True
    return word.lower() in _STARTERS


def _after_letter(front: str, letter: str, word: str, after: str) -> bool:
    """After one letter: an initial ("J. Smith"), half of an abbreviation ("z. B."), or a word."""
    if len(word) == 1 and after.startswith(".") and word != "I":
        return False
    if not letter.isupper():  # "u" for "you"; scripts without capitals shorten titles so
        return letter.islower() and letter.isascii()
    if not _capital(word):
        return True
    last = front.rstrip()[front.rstrip().rfind(" ") + 1 :].lower()
    if letter == "I":
        return last.isalpha()
    return last in _LETTERED or (word.lower() in _STARTERS and word.isascii())


def _after_dotted(token: str, word: str) -> bool:
    """After "U.S", "J.R.R" or a name of a file or server."""
    parts = [part for part in token.split(".") if part]
    if all(len(part) <= 2 for part in parts):
        return _capital(word) and word.lower() in _STARTERS
    return True


def _language(token: str) -> str:
    return "ru" if "\u0400" <= token[0] <= "\u04ff" else "en"


@lru_cache(maxsize=16384)
def _library_joins(language: str, token: str, mark: str, word: str) -> bool:
    """Whether sentencex keeps "<token><mark> <word>" together."""
    if not (token.replace("'", "").replace("-", "").isalnum() and word.isalnum()):
        return False
    return len(list(sentencex.segment(language, f"we {token}{mark} {word}"))) == 1


NAMES_END_IN = re.compile(
    r"(?:com|org|net|edu|gov|mil|int|info|biz|dev|app|html?|php|asp|py|js|ts|css|json|xml|ya?ml|toml|md"
    r"|txt|pdf|docx?|xlsx?|csv|jpe?g|png|gif|mp[34]|wav|zip|gz|exe|io|ai|tv|co|uk|de|fr|es|ru|cn|jp|eu"
    r"|ca|au|nl|ch|br|xyz|online)",
    re.IGNORECASE,
)
"""What stands behind the dot of a server's or a file's name."""
