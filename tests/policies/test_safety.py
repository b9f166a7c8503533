"""Crisis language: what must be found, what must not, and of which kind."""

from __future__ import annotations

import pytest

from warmline.policies.safety import crisis_kinds

SUICIDE = """
I want to kill myself | killing my self | I’m going to end it all | I want to end my life
I don't want to live anymore | I don’t want to be here anymore | i dont wanna live
I wish I was dead | I wish I'd never been born | I’d be better off dead | I hope I die
They'd be better off without me | there's no point in living | I see no reason to live
I don't see a reason to keep living | life is not worth living | I can't go on living
I have nothing to live for | I tried to take my own life | He took his own life
my brother killed himself | I keep having suicidal thoughts | I'M SUICIDAL | i'm gonna kms
I overdosed last year | I want to jump off a bridge | I wrote a goodbye note
I wish I could just not wake up | I want it all to end | I wish I didn't exist
unalive myself | I want to\u00a0   die | 我想自杀 | 我不想活了 | 我活不下去了 | 活着没意思 | 想結束生命
"""
SELF_HARM = """
I cut myself last night | I've been cutting myself | I started cutting again | self-harm | selfharm
I hurt myself on purpose | he cuts himself | I punch myself | I scratch myself until I bleed
I'm starving myself | 我割腕 | 伤害自己
"""
VIOLENCE = """
He hits me | My husband beats me | my boyfriend hit me | my stepdad hits me | He is hitting me
my husband has been beating me | she choked me | he slapped me | My partner abuses me
my mother used to beat me | I was abused | I was sexually assaulted | I've been molested
he threatened to kill me | He's going to kill me | I want to kill him | I want to hurt someone
he pushed me down the stairs | domestic violence | 家暴 | 他打我
"""
HARMLESS = """
this homework is killing me | The deadline is Friday | I could kill for a coffee | my phone died
I'm dying to see it | My grandmother died | my dog had to be put to sleep | I cut my hair myself
I cut myself off from my friends | cut yourself some slack | a dead end job | dead tired
I want to live in Spain | The heat is killing him | I was dying of laughter | the battery is dead
I hit a wall at work | It hit me that I was alone | this job will be the death of me
these cookies are to die for | I didn't want to hurt her | They keep cutting my hours
He never called me | he beat the record | I tried to jump in and help | 他打我电话 | 我很难过
"""


def _each(table: str) -> list[str]:
    return [text.strip() for line in table.strip().splitlines()
            for text in line.split("|")]  # fmt: skip


@pytest.mark.parametrize("text", _each(SUICIDE))
def test_suicide(text: str) -> None:
    assert crisis_kinds(text) == ("suicide",)


@pytest.mark.parametrize("text", _each(SELF_HARM))
def test_self_harm(text: str) -> None:
    assert crisis_kinds(text) == ("self_harm",)


@pytest.mark.parametrize("text", _each(VIOLENCE))
def test_violence(text: str) -> None:
    assert crisis_kinds(text) == ("violence",)


@pytest.mark.parametrize("text", _each(HARMLESS))
def test_harmless(text: str) -> None:
    assert crisis_kinds(text) == ()


def test_every_kind_in_a_text_is_named_once_and_in_order() -> None:
    text = "He hits me. I cut myself, I hurt myself, and I want to die. I want to die."
    assert crisis_kinds(text) == ("suicide", "self_harm", "violence")
