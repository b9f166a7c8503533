"""Role inconsistency by rule: a seeker who supports, a supporter who seeks (SweetieChat App. C.1).

Real people drift into each other's roles for a sentence: they ask back, pity, recommend. So one
claim of the other role decides, and cues decide only when several utterances hold one; fewer are
flagged. English and Chinese; in other languages nothing is found.
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar

from pydantic import Field

from .....agents.roles import Role
from .....agents.speech import is_farewell
from ....episodes.episode import Episode
from ...tags import Finding
from .base import RecordFilter, excerpt
from .text import plain

Cues = dict[str, re.Pattern[str]]

_HELPER = (
    r"(?:supporter|emotional support(?:er)?|peer supporter|(?:trained |active )?listener"
    r"|counsel(?:l)?or|therapist|support (?:assistant|agent|person|worker)|assistant)"
)
_START = r"(?:^|[.!?…,;]\s*|\b(?:and|but|so|well|ok|okay|oh|yes|hi|hello|hey|that)[,!]? )"

SEEKER_CLAIMS: Cues = {
    "claims the supporter's role": re.compile(
        rf"\bas (?:a|an|your) {_HELPER},? (?:i|it'?s my|my)\b"
        rf"|\bi(?:'m| am) (?:a|an|your) (?:trained |emotional |supportive )*{_HELPER}"
        r" (?:and i(?:'m| am) )?here (?:to|for)\b"
        r"|\bmy role (?:as|is to|here is to) (?:a |your |support|listen|help|provide|offer)"
        r"|\bi(?:'m| am) (?:always |right )?here (?:for you |today )?to"
        r" (?:support|listen to|help|assist|comfort|guide) you\b"
        r"|(?<![你您])作为(?:一名|一个|你的|您的)?(?:倾听者|支持者|咨询师|心理咨询师|心理医生|助手)，?我"
        r"|我是(?:你|您)的(?:倾听者|支持者|心理咨询师|咨询师|助手)"
    ),
}
SEEKER_CUES: Cues = {
    "asks as a supporter does": re.compile(
        r"\bhow (?:does|did|do|has) (?:that|this|it) mak(?:e|es|ing) you feel\b"
        r"|\bhow are you feeling (?:about|right now|today|now|lately|these days)\b"
        r"|\bwhat(?:'s| is| has been)(?: been)? (?:on your mind|bothering you|troubling you)\b"
        r"|\bwhat (?:brings|brought) you here\b"
        r"|\b(?:can|could|would|will) you (?:like to |be willing to )?"
        r"(?:tell|share with) me (?:a bit |a little )?more about (?:your|what you|how you|yourself)\b"
        r"|\bwould you like to (?:talk|share|tell me|explore|discuss)\b"
        r"|\bhow (?:can|may|could) i (?:help|support|assist|be of (?:help|service|assistance)(?: to)?)"
        r" you\b"
        r"|有什么(?:我)?(?:可以|能)帮(?:助|到)?(?:你|您)"
        r"|(?<!谢)(?:你|您)(?:愿意|能|可以)(?:和我|跟我|多)?(?:说说|分享|谈谈)(?:你|您)?(?:的|自己|是什么|更多|发生)"
        r"|这让(?:你|您)(?:感到|感觉|觉得)(?:怎么样|如何)"
    ),
    "comforts as a supporter does": re.compile(
        rf"{_START}(?:it |that )?(?:sounds|seems) like you(?:'re|'ve|r| are| have| feel|'d)\b"
        r"|\bi (?:can |completely |totally |really |fully |truly )*(?:understand|hear|sense|imagine|see)"
        r" (?:how|that|what|why) you(?:'re| are|'ve been| must be)? "
        r"(?:feel(?:ing)?|going through|hurting|struggling|upset|worried|overwhelmed)\b"
        r"|\byour feelings are (?:completely |totally |perfectly |entirely )*(?:valid|normal|understandable)\b"
        r"|\b(?:completely|totally|perfectly|okay|ok|normal|natural|understandable) (?:that you|for you to)"
        r" (?:feel|be feeling)\b"
        r"|\byou(?:'re| are) not alone\b"
        r"|\bi(?:'m| am) (?:so |very |really )*sorry (?:to hear )?(?:that )?you(?:'re| are|'ve been|'ve)"
        r" (?:feeling|going through|dealing with|struggling|been|having|experiencing)\b"
        r"|\bi(?:'m| am) (?:always |right )?here for you\b"
        r"|\byou(?:'re| are) (?:really |clearly )?going through (?:something|a (?:really |very |so )?"
        r"(?:hard|tough|difficult|rough|dark))\b|\b(?:issues|struggles|troubles) you(?:'re| are)"
        r" (?:going through|facing|dealing with)\b"
        r"|\bthank you for (?:sharing|trusting me|opening up|telling me)\b"
        r"|我(?:能|可以|很|完全)*(?:理解|明白|体会)(?:到)?(?:你|您)(?:现在)?的(?:感受|心情|处境|痛苦|困扰|担忧)"
        r"|(?:听起来|看起来|看来)(?:你|您)(?:似乎|好像|现在|最近|很|正)|(?:你|您)并不孤单|感谢(?:你|您)的分享"
    ),
    "advises as a supporter does": re.compile(
        r"\bhave you (?:ever )?(?:tried|considered|thought about|thought of|talked to|spoken to|spoken with"
        r"|talked with|reached out)\b"
        r"|\bi(?:'d| would)?(?: strongly| highly| also| really)? (?:suggest|recommend|advise|encourage)"
        r" (?:that )?you\b"
        r"|\b(?:you (?:could|might|may) (?:want to |also |even )*|why don't you |maybe you (?:should|could) )"
        r"(?:try|consider|start by|reach out|talk to|seek|think about|write down|set|focus)\b"
        r"|\b(?:try to|remember to|it(?:'s| is) important (?:that you|for you) ?(?:to)?)"
        r" (?:take care of yourself|be kind to yourself|be gentle with yourself|take (?:some )?time for"
        r" yourself|take breaks|practice self-care|prioritize your|take it one (?:day|step) at a time)"
        r"|(?:^|我|[，。,!！？?])建议(?:你|您)|(?:你|您)有没有(?:尝试|试|考虑)过|(?:你|您)(?:可以|不妨)(?:先)?(?:尝试|试试|试着|考虑)"
    ),
}
SUPPORTER_CLAIMS: Cues = {
    "claims the seeker's role": re.compile(
        r"\bas (?:a|the) (?:seeker|help[- ]seeker|person seeking (?:help|support)),? (?:i|my)\b"
        r"|\bi(?:'m| am) (?:the|a) (?:seeker|help[- ]seeker)\b"
        r"|\bi (?:really )?need(?:ed)? someone to talk to(?: about my| right now| today|[.!])"
        r"|作为(?:一名|一个)?求助者|我是(?:一名|一个)?求助者"
    ),
}
SUPPORTER_CUES: Cues = {
    "thanks as a seeker does": re.compile(
        r"\bthank(?:s| you)(?: so much| very much| a lot)? for (?:all )?(?:your (?:advice|support|help"
        r"|suggestions?|guidance|encouragement|reassurance)"
        r"|listening(?: to me)?|helping me|being (?:here|there) for me|hearing me out|the advice"
        r"|the suggestions?)"
        r"|\bi (?:feel|am feeling|'m feeling) (?:so much |much |a lot |a little |a bit |already )*"
        r"(?:better|lighter|calmer|relieved) (?:now |already )*(?:after|since|thanks to|just from"
        r"|because of) (?:talking|speaking|chatting|our|you|your)"
        r"|谢谢(?:你|您)的?(?:建议|帮助|倾听|支持|开导|安慰)|和(?:你|您)聊(?:完|天)(?:之后|后)?我(?:感觉)?好多了"
    ),
    "asks for help as a seeker does": re.compile(
        r"\bi (?:just |really |honestly )*don'?t know (?:what to do|how to (?:cope|deal|handle|move"
        r" forward|get through)|who to turn to)(?: any ?more| with| about|[.!?]|$)"
        r"|\b(?:can|could|will) you (?:please )?(?:help me(?! (?:to )?(?:understand|see|get))|give me (?:some |any )?advice|tell me what to do)\b"
        r"|\bwhat should i do\b(?! to help| for you)"
        r"|\bdo you have any (?:advice|suggestions|tips) for me\b"
        r"|我(?:真的)?不知道该?怎么办|(?:你|您)能(?:帮帮?我|给我(?:一些|点)?建议)"
    ),
}
_CUES = {
    Role.SEEKER: (SEEKER_CLAIMS, SEEKER_CUES),
    Role.SUPPORTER: (SUPPORTER_CLAIMS, SUPPORTER_CUES),
}
_HINTS = {
    Role.SEEKER: (
        *("you", "as a", "my role", "take care", "take time", "take breaks", "take it", "be kind"),
        *("be gentle", "practice self", "prioritize", "作为", "我是", "你", "您"),
    ),
    Role.SUPPORTER: (
        *("thank", "feel", "don't know", "dont know", "help me", "give me", "tell me what"),
        *("what should i", "for me", "seeker", "someone to talk", "as a", "as the"),
        *("谢谢", "聊", "求助者", "不知道", "帮", "给我"),
    ),
}
"""Every cue holds one of these: a quick look before the patterns."""
_QUOTED = re.compile(r"\"[^\"]{1,300}\"|“[^”]{1,300}”|「[^」]{1,300}」")
_REPORTED = re.compile(
    r"(?:\b(?:says?|said|saying|tells?|told|telling|asks?|asked|asking|like|wrote|texted|replied|that)"
    r"(?: (?:me|him|her|them|us|my \w+))?|[说說问問道])[,:：，]? ?$"
)


def role_cue(text: str, role: Role) -> tuple[str, str, bool] | None:
    """How an utterance of `role` falls into the other role, if it does.

    What is quoted or reported ("she said you should try …") does not count.

    Returns:
        The reason, the words that show it, and whether they claim the role outright.
    """
    bare = _QUOTED.sub(" ", plain(text))
    if not any(hint in bare for hint in _HINTS[role]):
        return None
    for claim, family in zip((True, False), _CUES[role], strict=True):
        for reason, pattern in family.items():
            for match in pattern.finditer(bare):
                if not _REPORTED.search(bare[: match.start()].rstrip(",")):
                    return reason, match.group().strip(" .,!?;"), claim
    return None


class RoleConsistency(RecordFilter):
    """Drops episodes in which a speaker takes the other's role, by rule.

    Goodbyes do not count: everybody wishes everybody well there.
    """

    name: ClassVar[str] = "role"

    cues: Annotated[int, Field(ge=1)] = Field(
        2, description="utterances with a cue, of one speaker, that drop an episode"
    )

    def examine(self, episode: Episode) -> tuple[Finding, ...]:
        found: list[Finding] = []
        for role in _CUES:
            found += self._of(role, episode)
        return tuple(found)

    def _of(self, role: Role, episode: Episode) -> list[Finding]:
        hits = [
            (index, cue)
            for index, utterance in enumerate(episode.utterances)
            if utterance.role == role
            and (cue := role_cue(utterance.text, role)) is not None
            and not is_farewell(utterance.text)
        ]
        decided = len(hits) >= self.cues or any(claim for _, (_, _, claim) in hits)
        make = self.drop if decided else self.flag
        return [
            make(f"{role.value} {reason}", index, excerpt(words))
            for index, (reason, words, _) in hits
        ]
