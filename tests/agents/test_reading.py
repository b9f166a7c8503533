"""Reading replies: speech, closings, farewells, greetings, strategies, verdicts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warmline import ScriptedPolicy
from warmline.agents import (
    Advise,
    Judge,
    Judger,
    Role,
    Say,
    Strategy,
    StrategyCounselor,
    parse_strategy,
)
from warmline.agents.speech import is_farewell, read_speech, strip_greeting
from warmline.policies.base import Reply


@pytest.mark.parametrize(
    ("raw", "text", "repairs"),
    [
        ("I hear you.", "I hear you.", ()),
        ("  I hear you.\n", "I hear you.", ()),
        ("Supporter: I hear you.", "I hear you.", ("role_label",)),
        ("**Supporter:** I hear you.", "I hear you.", ("role_label",)),
        ("Supporter (Question): What happened?", "What happened?", ("role_label",)),
        ("支持者：我在听。", "我在听。", ("role_label",)),
        ("[Question] What happened?", "What happened?", ("strategy_label",)),
        ("(Reflection of Feelings) You feel lost.", "You feel lost.", ("strategy_label",)),
        ("Question: What happened?", "What happened?", ("strategy_label",)),
        ("Strategy: Question\nWhat happened?", "What happened?", ("strategy_label",)),
        ("Information is hard to find.", "Information is hard to find.", ()),
        ("I see.\n\nSeeker: I lost my job.", "I see.", ("other_speaker",)),
        ("I see.\n**Person**: And then", "I see.", ("other_speaker",)),
        ("I see: the user: left.", "I see: the user: left.", ()),
        ("Supporter: [Others] Hm.\nUser: hi", "Hm.",
         ("role_label", "strategy_label", "other_speaker")),
        ('"I hear you."', "I hear you.", ("quotation_marks",)),
        ("“I hear you.”", "I hear you.", ("quotation_marks",)),
        ('"No," he said, "never."', '"No," he said, "never."', ()),
        ("Supporter:", "", ("role_label",)),
        ("", "", ()),
    ],
)  # fmt: skip
def test_what_the_supporter_said(raw: str, text: str, repairs: tuple[str, ...]) -> None:
    assert read_speech(raw, Role.SUPPORTER) == Say(text, repairs=repairs)


def test_labels_belong_to_a_role() -> None:
    assert read_speech("Seeker: I am sad.", Role.SEEKER).text == "I am sad."
    assert read_speech("I am sad.\nSupporter: Why?", Role.SEEKER).text == "I am sad."
    assert read_speech("My client: he yells.", Role.SEEKER).text == "My client: he yells."


@pytest.mark.parametrize("raw", ["N/A", "n/a", " N / A. ", "**N/A**", "(N/A)", "“N/A”", '"N/A"'])
def test_not_applicable_alone_closes_without_words(raw: str) -> None:
    said = read_speech(raw, Role.SUPPORTER)
    assert (said.text, said.closes) == ("", True)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("Take care! N/A", "Take care!"),
        ("Take care!\nN/A", "Take care!"),
        ("Take care! (N/A)", "Take care!"),
        ('He said "go." N/A', 'He said "go."'),
        ("我在。N/A", "我在。"),
        ("I told him N/A. N/A", "I told him N/A."),
    ],
)
def test_not_applicable_after_last_words_closes(raw: str, text: str) -> None:
    assert read_speech(raw, Role.SUPPORTER) == Say(text, closes=True)


@pytest.mark.parametrize(
    "raw",
    [
        "The form says N/A in every field.",
        "I put N/A",
        'I wrote "N/A"',
        "It was N/A. What now?",
        "NA",
    ],
)
def test_not_applicable_inside_a_sentence_is_speech(raw: str) -> None:
    assert read_speech(raw, Role.SUPPORTER) == Say(raw)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=80), st.sampled_from([Role.SEEKER, Role.SUPPORTER]))
def test_reading_never_adds_words(raw: str, role: Role) -> None:
    assert read_speech(raw, role).text in raw


FAREWELLS = """
Bye! | Goodbye. | Bye for now! | Thanks for listening, goodbye. | Take care! | ok bye | okay bye then
Take good care of yourself! | Take care, and thanks again. | See you later. | See you next week!
Talk to you soon. | I'll talk to you later. | Good night! | Goodnight | Good night, sleep well.
Have a good day! | Have a great rest of your day. | I hope you have a lovely weekend! 😊
Bye, and thank you for everything. | Goodbye and good luck. | gtg, bye | All the best to you.
I feel better. Bye now, Sam. | Until next time. | Well, see you. | 保重，再见。 | 拜拜 | 再见啦
"""
NO_FAREWELLS = """
I have to take care of my kids. | I couldn't get a good night's sleep | Should I say goodbye?
I never said goodbye to him. | I never got to say goodbye | He left without saying goodbye.
It’s hard to say goodbye. | She didn't even say bye | He waved me goodbye. | I said: why?
I want to have a good life | I did not have a good day. | I don't have a good relationship
I want to see you. | We will see. | See, you are strong. | I just want to talk again
I take care | I tried all the best doctors | Bye was all he wrote on the note. | Take care of him.
Can we talk later? | 我没能和他说再见 | It was a bye week | We don't talk again. | Stand by.
"""


def _each(table: str) -> list[str]:
    return [text.strip() for line in table.strip().splitlines() for text in line.split("|")]


@pytest.mark.parametrize("text", _each(FAREWELLS))
def test_a_farewell(text: str) -> None:
    assert is_farewell(text)


@pytest.mark.parametrize("text", _each(NO_FAREWELLS))
def test_no_farewell(text: str) -> None:
    assert not is_farewell(text)


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("Hello there! I am sad.", "I am sad."),
        ("Hi, how did it feel?", "How did it feel?"),
        ("Good morning! Ok.", "Ok."),
        ("你好！我很难过。", "我很难过。"),
        ("Hi!", "Hi!"),
        ("Hello?", "Hello?"),
        ("hello world is big", "hello world is big"),
        ("Hidden things.", "Hidden things."),
        ("", ""),
    ],
)
def test_a_leading_greeting_is_stripped_unless_it_is_all(text: str, rest: str) -> None:
    assert strip_greeting(text) == rest


@pytest.mark.parametrize("strategy", Strategy)
def test_every_label_names_its_strategy(strategy: Strategy) -> None:
    label = strategy.value
    for text in (label, label.lower(), label.upper(), f"**{label}**.", f"3. {label}", f"[{label}]",
                 label.replace("-", " "), f"I would choose {label}, since it fits."):  # fmt: skip
        assert parse_strategy(text) is strategy


@pytest.mark.parametrize(
    ("text", "strategy"),
    [
        ("Questions", Strategy.QUESTION),
        ("Paraphrasing or Restatement", Strategy.RESTATEMENT),
        ("Reflection", Strategy.REFLECTION),
        ("Reassurance", Strategy.AFFIRMATION),
        ("suggestion", Strategy.SUGGESTION),
        ("Other", Strategy.OTHERS),
        ("Affirmation & Reassurance", Strategy.AFFIRMATION),
        ("Affirmation/Reassurance", Strategy.AFFIRMATION),
        ("**Affirmation + Reassurance**", Strategy.AFFIRMATION),
        ("Reassurance and Affirmation", Strategy.AFFIRMATION),
        ("Strategy: Affirmation & Reassurance, since she doubts.", Strategy.AFFIRMATION),
        ("Restatement/Paraphrasing", Strategy.RESTATEMENT),
        ("Question. The seeker needs to say more before Information.", Strategy.QUESTION),
        ("**Question**\n\nIt is too early for Information.", Strategy.QUESTION),
        ("Information, not Question", Strategy.INFORMATION),
        ("I would not choose Question", None),
        ("Question, Information", None),
        ("- Question\n- Information", None),
        ("Question or Information", None),
        ("Others may ask a question", None),
        ("a reflection on the day", None),
        ("be kind", None),
        ("questionable", None),
        ("", None),
    ],
)
def test_other_spellings_are_read_and_nothing_is_guessed(
    text: str, strategy: Strategy | None
) -> None:
    assert parse_strategy(text) is strategy
    assert StrategyCounselor(ScriptedPolicy()).read(Reply(text)) == Advise(strategy)


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("YES", True), ("yes.", True), ("**Yes**", True), ("Yes, both said goodbye.", True),
        ("NO", False), (" no\n", False), ("NO, no.", False),
        ("Yes. No further help needed.", True), ("YES - no further help is needed.", True),
        ("Yes, no further help is needed.", True), ("**YES**\nNo question is open.", True),
        ("No, I do not think that the answer should be yes.", False),
        ("The seeker said no to advice. Final answer: **YES**", True),
        ("Has she said yes? Not yet. Verdict: no.", False),
        ("She said no, then yes.\n\n**NO**", False),
        ("- YES\n- NO", None), ("Yes and no.", None), ("yes, no", None), ("Not yes.", None),
        ("", None), ("perhaps", None), ("YES or NO", None), ("yesterday", None), ("nobody", None),
    ],
)  # fmt: skip
def test_a_verdict_is_yes_no_or_missing(text: str, end: bool | None) -> None:
    assert Judger(ScriptedPolicy()).read(Reply(text)) == Judge(end)
