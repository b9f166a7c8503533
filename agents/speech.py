"""Reading what a speaking role wrote: the utterance, and whether it closes the conversation.

Control never stays in the text: the papers' `N/A` becomes `Say.closes`, farewells and greetings are
recognised here and nowhere else. Each repair is named, so that the record can say what was done.
"""

from __future__ import annotations

import re

from .observations import Say
from .roles import STRATEGY_LABELS, Role, Strategy, parse_strategy

_CLOSE_ALONE = re.compile(r"""[\s"'“”‘’(\[*]*N\s*/\s*A[\s"'“”‘’)\].!*]*""", re.IGNORECASE)
_CLOSE_SIGNS = ("N/A", "n/a", "N/a", "n/A")
_OPENERS, _CLOSERS, _END_MARKS = "\"'“([*", ")]\"'”’*", ".!?…。！？"
_AFTER_SIGN = re.compile(r"""["'”)\].!*]*+\s*+""")

_NAMES = {
    Role.SEEKER: r"seeker|user|client|person|help[- ]?seeker|求助者|来访者",
    Role.SUPPORTER: r"supporter|assistant|counsel(?:l)?or|therapist|listener|you|支持者|倾听者|咨询师",
}
_LABELS = "|".join(re.escape(label) for label in STRATEGY_LABELS)
_STRATEGY_LABEL = re.compile(
    rf"\s*+(?:[\[(*]++\s*+(?:{_LABELS})\s*+[\])*]++\s*+[:：]?|(?:{_LABELS})\s*+[:：]"
    rf"|\*{{0,9}}strategy\s*+[:：]\*{{0,9}}\s*+(?:{_LABELS})\s*[.\n])\s*+",
    re.IGNORECASE,
)
_ASIDE = r"\s*+(?:\([^)\n]*+\)\s*+)?"
"""Between a name and its colon: "Supporter (softly):"."""
_OWN_LABEL = {
    role: re.compile(rf"\s*+\*{{0,9}}(?:{names})\*{{0,9}}{_ASIDE}[:：]\*{{0,9}}\s*+", re.IGNORECASE)
    for role, names in _NAMES.items()
}
_ANY_NAME = "|".join(_NAMES.values())
_NEXT_SPEAKER = re.compile(
    rf"\n[^\S\n]*+\*{{0,9}}(?:{_ANY_NAME})\*{{0,9}}{_ASIDE}[:：]", re.IGNORECASE
)

_CLAUSE_START = (
    r"(?:^|[.!?…,;:~()—–-]\s*|\b(?:and|but|so|well|ok|okay|alright|thanks|thank you|now|then)\s+)"
    r"(?:(?:i'?ll|we'?ll|i will|we will|let'?s|i hope|hope|you|please|hope to|wishing you|i wish you"
    r"|wish you|until then|for now|again)\s+)*"
)
_GOODBYE = (
    r"see (?:you|ya)(?= (?:later|soon|around|then|tomorrow|next|again|tonight)\b|\W*$|\s*,)"
    r"|cya|talk (?:to you )?(?:later|soon|again)"
    r"|take (?:good |very good )?care(?! of)|take (?:good |very good )?care of your ?sel(?:f|ves)"
    r"|farewell|good ?night(?!'?s)|until next time|all the best"
    r"|have (?:yourself )?an? (?:good|great|nice|lovely|restful|peaceful|wonderful|safe)(?: rest of)?"
    r"(?: (?:your|the))? (?:day|night|evening|morning|afternoon|week(?:end)?|one|time|sleep|rest|trip)"
)
_BYE = r"(?:good ?bye|bye(?:[- ]?bye)?|good ?night)"
_TOLD = (
    "say said says saying wave waved a the no last final proper real him her me them us our my his"
    " their of to good"
)
_NOT_TOLD = "".join(rf"(?<!\b{word} )" for word in _TOLD.split())
"""A goodbye after these words is told about ("I never got to say goodbye"), not said."""
_FAREWELL = re.compile(
    rf"{_CLAUSE_START}(?:{_GOODBYE})\b(?:[\s,]+[\w'’]+){{0,4}}\W*$"
    rf"|(?:^|[.!?,;]\s*){_BYE}(?:(?=\W*$|[,.!…])|\s+(?:for now|now|then|and|for|all|everyone|my)\b)[^?]*$"
    rf"|\b{_NOT_TOLD}(?<!good){_BYE}(?: for)?(?: then| now)?\W*$"
    r"|(?<![说說道])(?:再见|再見|拜拜|晚安|保重)[啦了哦呀啊吧呢]?\W*$",
    re.IGNORECASE,
)
_FAREWELL_WORDS = (
    *("bye", "see y", "cya", "talk", "care", "farewell", "night", "until next", "all the best"),
    *("have a", "have y", "再见", "再見", "拜拜", "晚安", "保重"),
)
"""Every farewell holds one of these: a quick look before the pattern."""
_ENDING = 1000
"""Characters at the end of an utterance in which a farewell is looked for."""
_GREETING = re.compile(
    r"\s*(?:(?:hi|hello|hey|hiya|greetings|howdy|good (?:morning|afternoon|evening|day))"
    r"(?:[ ,]{1,9}(?:there|again|everyone|you|friend|dear))*|你好|您好|嗨)\s*+[,.!?…！。，~]++\s*+",
    re.IGNORECASE,
)


def read_speech(raw: str, role: Role) -> Say:
    """What a speaking role said.

    Taken out, each under its name in `Say.repairs`: the speaker's own label ("Supporter: ..."), a
    strategy label in front, everything from a line on in which another speaker is written, and
    quotation marks around the whole.

    Returns:
        The utterance; `closes` is set if it was `N/A` or ended in it.
    """
    text, repairs = raw.strip(), []
    if own := _OWN_LABEL[role].match(text):
        text = text[own.end() :]
        repairs.append("role_label")
    if label := _STRATEGY_LABEL.match(text):
        text = text[label.end() :]
        repairs.append("strategy_label")
    if other := _NEXT_SPEAKER.search(text):
        text = text[: other.start()]
        repairs.append("other_speaker")
    text = text.strip()
    if len(text) > 2 and text[0] + text[-1] in ('""', "“”") and text[0] not in text[1:-1]:
        text = text[1:-1].strip()
        repairs.append("quotation_marks")
    if "/" in text:
        if _CLOSE_ALONE.fullmatch(text):
            return Say("", closes=True, repairs=tuple(repairs))
        if (before := _before_sign(text)) is not None:
            return Say(before, closes=True, repairs=tuple(repairs))
    return Say(text, False, tuple(repairs))


def written_strategy(raw: str) -> Strategy | None:
    """The strategy that a supporter wrote in front of its answer (`[Question] What happened?`)."""
    text = raw.strip()
    if own := _OWN_LABEL[Role.SUPPORTER].match(text):
        text = text[own.end() :]
    label = _STRATEGY_LABEL.match(text)
    if label is None:
        return None
    name = re.sub(r"\A\W*(?:strategy\W+)?|\W*\Z", "", label[0], flags=re.IGNORECASE)
    return parse_strategy(name)


def _before_sign(text: str) -> str | None:
    """The utterance in front of an `N/A` that stands at the end, behind a full sentence or line."""
    sign = max(map(text.rfind, _CLOSE_SIGNS))
    if sign < 0 or not _AFTER_SIGN.fullmatch(text, sign + 3):
        return None
    opened = text[:sign].rstrip(_OPENERS)
    said = opened.rstrip()
    if said.rstrip(_CLOSERS).endswith(tuple(_END_MARKS)):
        if said == opened:  # no space between: what can close the sentence belongs to it
            attached = text[len(said) : sign]
            said += attached[: len(attached) - len(attached.lstrip(_CLOSERS))]
        return said.strip()
    return said.strip() if "\n" in opened[len(said) :] else None


def is_farewell(text: str) -> bool:
    """Whether an utterance ends in a goodbye. A question never does."""
    ending = text.rstrip().replace("’", "'")
    if ending.endswith(("?", "？")):
        return False
    if len(ending) > _ENDING:
        ending = "x " + ending[-_ENDING:]  # a goodbye is at the end; x: the text began before
    plain = ending.lower()
    return any(word in plain for word in _FAREWELL_WORDS) and bool(_FAREWELL.search(ending))


def strip_greeting(text: str) -> str:
    """The utterance without a leading greeting; unchanged if nothing else would be left."""
    match = _GREETING.match(text)
    rest = text[match.end() :].lstrip() if match else text
    return rest[:1].upper() + rest[1:] if match and rest else text
