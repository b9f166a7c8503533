"""Ends of conversations: what is trimmed, what stays, and what ended before it began."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmline import StopReason
from warmline.environments.corpus.cleaning.filters.closings import (
    PrematureClosure,
    RedundantClosings,
    closing_kind,
)
from warmline.environments.corpus.tags import Severity

from .talks import CALM, episode, said

CLOSINGS = """
Bye!
Goodbye, and thank you again.
Take care.
Thank you so much!
Thanks a lot.
You're very welcome.
No problem.
You too!
My pleasure.
Have a great day!
Thank you for listening.
Anytime!
See you soon.
再见！
谢谢你！
不客气。
""".strip().splitlines()

NO_CLOSINGS = """
Thank you, but my sister will not listen.
I never got to say goodbye to her.
Did you say bye to him?
You too?
What should I say to her? Bye!
Thanks, I will try the song first and then talk to her.
You're welcome to come, she said.
He has a great day job.
No problem is too small for this chat, tell me more.
I take care of my mother.
Okay.
Thank you. What should I do about the dogs?
谢谢你，可是我还是很难过。
I said good night to her and she hung up on me.
""".strip().splitlines()


def test_precision_and_recall_of_closings() -> None:
    assert [line for line in CLOSINGS if closing_kind(line) is None] == []
    assert [line for line in NO_CLOSINGS if closing_kind(line)] == []


@pytest.mark.parametrize(
    ("tail", "kept"),
    [
        (["Thanks, bye!", "Bye!"], 2),
        (["Thanks, bye!", "Bye!", "Bye bye!", "Take care!", "You too!"], 2),
        (["Thank you!", "You're welcome.", "Goodbye!", "Goodbye!"], 4),
        (["Thank you!", "You're welcome.", "Thanks again!", "No problem!"], 2),
        (["Thank you!", "You're welcome.", "Thanks again!", "Any time!", "Bye!", "Bye!"], 6),
        (["Thanks!", "You're welcome.", "But what about the dogs?", "Bye!"], 4),
    ],
)
def test_one_exchange_of_each_stays(tail: list[str], kept: int) -> None:
    talk = episode(*CALM, *tail)
    trimmed = RedundantClosings().apply(talk)
    assert [u.text for u in trimmed.utterances] == [*CALM, *tail[:kept]]
    if kept < len(tail):
        assert trimmed.utterances[-1].repairs == ("closings",)
    assert len(talk.utterances) == len(CALM) + len(tail)


LINES = st.lists(st.sampled_from([*CLOSINGS, *NO_CLOSINGS]), max_size=14)


@given(LINES)
def test_trimming_twice_is_trimming_once_and_only_cuts_the_end(lines: list[str]) -> None:
    talk = episode(utterances=said(*lines))
    once = RedundantClosings().apply(talk)
    assert RedundantClosings().apply(once) is once
    kept = [u.text for u in once.utterances]
    assert kept == lines[: len(kept)]
    assert all(closing_kind(line) for line in lines[len(kept) :])


def test_ends_of_its_own_are_premature_and_limits_are_not() -> None:
    short = {"utterances": said(*CALM[:4])}
    found = PrematureClosure().examine(episode(stop=StopReason.JUDGER, **short))
    assert [(f.severity, f.reason, f.value) for f in found] == [
        (Severity.DROP, "ended too early (judger)", 4)
    ]
    assert PrematureClosure().examine(episode(stop=StopReason.TURN_LIMIT, **short)) == ()
    assert PrematureClosure().examine(episode(*CALM, stop=StopReason.JUDGER)) == ()


def test_an_early_goodbye_is_flagged_where_the_talk_goes_on() -> None:
    found = PrematureClosure().examine(episode(*CALM[:2], "Never mind, bye!", *CALM[3:]))
    assert [(f.severity, f.utterance) for f in found] == [(Severity.FLAG, 2)]
    assert PrematureClosure().examine(episode(*CALM, "Bye!", "Bye!")) == ()
