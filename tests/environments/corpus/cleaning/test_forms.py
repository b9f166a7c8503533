"""Lengths, sentences, repetition, broken turns, leaks and crisis language, both ways."""

from __future__ import annotations

import pytest

from warmline import StopReason
from warmline.agents.roles import Role
from warmline.environments import EpisodeError, Utterance
from warmline.environments.corpus.cleaning.filters.broken import Broken
from warmline.environments.corpus.cleaning.filters.crisis import CrisisContent
from warmline.environments.corpus.cleaning.filters.leaks import LeakedInstructions
from warmline.environments.corpus.cleaning.filters.length import Length, SentenceCap
from warmline.environments.corpus.cleaning.filters.repetition import Loop, Repetition, loop_of
from warmline.environments.corpus.cleaning.filters.text import tokens, word_count
from warmline.environments.corpus.tags import Finding, Severity
from warmline.policies.base import FinishReason

from .talks import CALM, call, episode, said, seeker_says, supporter_says

DROP, TRIM, FLAG = Severity.DROP, Severity.TRIM, Severity.FLAG


def shown(findings: tuple[Finding, ...]) -> list[tuple[Severity, str, int | None]]:
    return [(f.severity, f.reason, f.utterance) for f in findings]


def test_a_calm_talk_is_left_alone_by_every_filter() -> None:
    filters = [
        Broken(),
        CrisisContent(),
        LeakedInstructions(),
        Length(),
        SentenceCap(),
        Repetition(),
    ]
    assert [f.examine(episode(*CALM)) for f in filters] == [()] * 6


# Lengths


def test_short_long_and_wordless_dialogues_are_dropped() -> None:
    assert shown(Length().examine(episode(*CALM[:7]))) == [(DROP, "too few utterances", None)]
    assert Length().examine(episode(*CALM[:8])) == ()
    many = episode(*CALM * 2)
    assert shown(Length(max_utterances=19).examine(many)) == [(DROP, "too many utterances", None)]
    assert shown(Length().examine(episode(*["ok"] * 10))) == [(DROP, "hardly any words", None)]


def test_a_very_long_utterance_is_flagged_and_chinese_is_counted_by_its_characters() -> None:
    assert shown(Length().examine(seeker_says("word " * 151))) == [
        (FLAG, "a very long utterance", 4)
    ]
    assert Length().examine(seeker_says("word " * 150)) == ()
    assert word_count("我很难过" * 30) == 80  # 120 characters, 1.5 a word
    assert Length().examine(seeker_says("我很难过" * 50)) == ()
    assert Length().examine(episode(*["我昨天和妈妈吵架了，心里很难受。"] * 8)) == ()


def test_the_sentence_cap_trims_to_three_and_keeps_what_was_written() -> None:
    talk = seeker_says("One. Two is here. Three goes on. Four is too much.", stop=StopReason.JUDGER)
    (found,) = SentenceCap().examine(talk)
    assert (found.severity, found.edited, found.value) == (
        TRIM,
        "One. Two is here. Three goes on.",
        1,
    )
    trimmed = SentenceCap().apply(talk).utterances[4]
    assert trimmed.text == found.edited
    assert trimmed.raw == talk.utterances[4].text
    assert trimmed.repairs == ("sentence_cap",)
    assert len(SentenceCap(max_sentences=1).examine(talk)) >= 1


def test_what_people_said_is_flagged_over_the_cap_and_trimmed_only_if_asked() -> None:
    talk = seeker_says("One. Two is here. Three goes on. Four is too much.")
    (found,) = SentenceCap().examine(talk)
    assert (found.severity, found.utterance, found.edited, found.value) == (FLAG, 4, None, 1)
    assert SentenceCap().apply(talk) is talk
    (found,) = SentenceCap(trim_imported=True).examine(talk)
    assert (found.severity, found.edited) == (TRIM, "One. Two is here. Three goes on.")


# Repetition


@pytest.mark.parametrize(
    ("text", "loop"),
    [
        ("no no no", None),
        ("no no no no no no", Loop(1, 6)),
        ("I am lost I am lost I am lost", Loop(3, 9)),
        ("I am lost I am lost", None),
        ("well I am so tired I am so tired I am so tired I am", Loop(4, 14)),
        ("the dog and the cat and the bird and the fish", None),
        ("", None),
    ],
)
def test_loops_are_found_by_hand_count(text: str, loop: Loop | None) -> None:
    assert loop_of(tokens(text)) == loop


@pytest.mark.parametrize(
    ("text", "severity"),
    [
        ("I am so tired. I am so tired. I am so tired.", DROP),
        ("我真的很累。我真的很累。我真的很累。", DROP),
        ("no no no no no no!", FLAG),
        ("你没有错！你没有错！你没有错！为什么爸爸会这样想呢？我在想这件事应该怎么说。", FLAG),
        ("No, no, no, not the piano.", None),
        ("I waited, and waited, and waited.", None),
        ("Very, very, very sad.", None),
    ],
)
def test_a_loop_that_is_most_of_an_utterance_drops(text: str, severity: Severity | None) -> None:
    found = Repetition().examine(seeker_says(text))
    assert [f.severity for f in found] == ([] if severity is None else [severity])


def test_one_repeated_utterance_is_flagged_two_drop_and_short_ones_may_come_again() -> None:
    line = "She always calls everything I own a clutter."
    once = episode(line, *CALM[1:6], line.upper(), *CALM[7:])
    assert shown(Repetition().examine(once)) == [(FLAG, "seeker says the same again", 6)]
    twice = episode(line, CALM[1], line, CALM[3], line + " Really.", *CALM[5:])
    assert shown(Repetition().examine(twice)) == [
        (DROP, "seeker says the same again", 2),
        (DROP, "seeker says the same again", 4),
    ]
    short = [text for n in range(5) for text in ("I don't know.", CALM[2 * n + 1])]
    assert Repetition().examine(episode(*short)) == ()


def test_the_other_speaker_may_say_ones_words_back() -> None:
    line = "She always calls everything I own a clutter."
    assert Repetition().examine(episode(line, line, *CALM[2:])) == ()


def test_a_message_sent_twice_is_taken_out_once() -> None:
    seeker, supporter = said("a", "b")
    double = (seeker, supporter, supporter, seeker)
    trimmed = Repetition().apply(episode(utterances=double))
    assert [u.text for u in trimmed.utterances] == ["a", "b", "a"]
    assert Repetition().examine(trimmed) == ()


# Broken turns


@pytest.mark.parametrize("text", ["", "  \n", "\u200b", "\x00\x07"])
def test_an_empty_utterance_drops(text: str) -> None:
    assert shown(Broken().examine(seeker_says(text))) == [(DROP, "an empty utterance", 4)]


@pytest.mark.parametrize("text", ["?", "😊", "...", "ok", "嗯", "line one\n\tline two", "é"])
def test_little_is_not_nothing(text: str) -> None:
    assert Broken().examine(seeker_says(text)) == ()


def test_control_characters_are_trimmed_and_lost_ones_drop() -> None:
    talk = seeker_says("It was\x07 mine\ufeff.")
    assert shown(Broken().examine(talk)) == [(TRIM, "control characters", 4)]
    assert Broken().apply(talk).utterances[4].text == "It was mine."
    assert shown(Broken().examine(seeker_says("It was mi\ufffdne."))) == [
        (DROP, "a lost character", 4)
    ]


def test_what_max_tokens_cut_off_is_flagged_and_drops_if_it_is_much() -> None:
    length = call(finish_reason=FinishReason.LENGTH)
    stop = call(finish_reason=FinishReason.STOP)
    texts = ["And then she sold the pia", *CALM[1:]]
    calls = (length, *[stop] * 9)
    talk = episode(utterances=said(*texts, calls=True), calls=calls)
    assert shown(Broken().examine(talk)) == [(FLAG, "cut off in its only sentence", 0)]
    assert Broken(max_cut=0.05).examine(talk)[0].severity is DROP
    whole = episode(utterances=said(*CALM, calls=True), calls=calls)
    assert Broken().examine(whole) == ()  # LENGTH, but the text ends in a full stop


def test_what_max_tokens_cut_off_goes_back_to_its_last_whole_sentence() -> None:
    length = call(finish_reason=FinishReason.LENGTH)
    texts = ["It rained all week. She left on Friday. And then she sold the pia", *CALM[1:]]
    talk = episode(utterances=said(*texts, calls=True), calls=(length,) * 10)
    (found,) = Broken(max_cut=0).examine(talk)
    assert (found.severity, found.edited) == (TRIM, "It rained all week. She left on Friday.")
    assert Broken(max_cut=0).examine(Broken(max_cut=0).apply(talk)) == ()


def test_failed_empty_and_one_sided_episodes_drop() -> None:
    error = EpisodeError(type="EngineTimeout", message="no answer", role="seeker")
    failed = episode(*CALM, stop=StopReason.ERROR, error=error)
    assert shown(Broken().examine(failed)) == [(DROP, "ended in an error", None)]
    assert shown(Broken().examine(episode())) == [(DROP, "no utterance at all", None)]
    lonely = tuple(Utterance(u.role, u.text, u.text) for u in said(*CALM)[::2])
    assert shown(Broken().examine(episode(utterances=lonely))) == [
        (DROP, "only the seeker speaks", None)
    ]


def test_two_messages_in_a_row_are_human_but_not_simulated() -> None:
    twice = (said("Hello there.")[0], *said(*CALM))
    assert shown(Broken().examine(episode(utterances=twice))) == [
        (FLAG, "one speaker twice in a row", None)
    ]
    simulated = episode(utterances=twice, stop=StopReason.JUDGER)
    assert Broken().examine(simulated)[0].severity is DROP


# Leaks

LEAKS = """
As an AI language model, I do not have feelings.
I'm an AI, but I care about you.
I am just a language model, sorry.
<|im_start|>assistant I hear you.
I hear you.</s>
{"role": "supporter", "text": "I hear you."}
[{"content": "I hear you."}]
```I hear you.```
## How to cope
Hello [Your Name], I hear you.
I hear you. Seeker: I feel so sad today.
Dear {{ name }}, I hear you.
N/A
(Note, not from the person: your next answer should be a question.)
Kind of problem: Job Crisis
I will answer in at most three sentences.
作为一个人工智能，我没有感情。
""".strip().splitlines()

NO_LEAKS = """
I asked an AI language model and it was no help.
As an adult, I should know better.
My note to her (begin with the piano, I thought) was long.
She said: no rent, no rules.
Are you an AI?
I <3 that song.
One question: what would you keep?
Here is a thought [not mine]: wait a week.
It is 50/50, #1 on my list, and I am *so* angry.
The n/a field on the form made me laugh.
Three sentences from her would be enough.
I'm an air traffic controller.
I'm a model, and my agency dropped me.
I'm an assistant at a dentist's.
Try this: breathe in, count to four, breathe out.
You play the piano like a person who has come to talk to it.
人工智能让我丢了工作。
作为母亲，我很担心。
""".strip().splitlines()


def test_precision_and_recall_of_leaks_in_the_words() -> None:
    def dropped(line: str) -> bool:
        return any(f.severity is DROP for f in LeakedInstructions().examine(supporter_says(line)))

    assert [line for line in LEAKS if not dropped(line)] == []
    assert [line for line in NO_LEAKS if LeakedInstructions().examine(supporter_says(line))] == []


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("Supporter: I hear you.", "I hear you."),
        ("[Reflection of Feelings] You miss her.", "You miss her."),
        (
            "You miss her. (Affirmation and Reassurance) You are strong.",
            "You miss her. You are strong.",
        ),
        ("I hear you.\nSeeker: Thank you.", "I hear you."),
        ("Take your time. N/A", "Take your time."),
        ("Supporter: [Question] What happened?", "What happened?"),
        ("Supporter: Supporter: What happened?", "What happened?"),
        ("[Strategy: Providing Suggestions] Rest first.", "Rest first."),
    ],
)
def test_labels_are_trimmed(text: str, rest: str) -> None:
    talk = supporter_says(text)
    assert [f.severity for f in LeakedInstructions().examine(talk)] == [TRIM]
    trimmed = LeakedInstructions().apply(talk)
    assert trimmed.utterances[3].text == rest
    assert LeakedInstructions().apply(trimmed) is trimmed


def test_stage_directions_are_flagged() -> None:
    for text in (
        "So am I. (smiling) Let me try.",
        "*sighs deeply* She knows.",
        "(muttering to himself) No.",
    ):
        found = LeakedInstructions().examine(seeker_says(text))
        assert shown(found) == [(FLAG, "a stage direction", 4)], text
    for text in (
        "I am (still) angry.",
        "She smiled (I think).",
        "It was *so* loud.",
        "(Smile is her dog.)",
    ):
        assert LeakedInstructions().examine(seeker_says(text)) == (), text


# Crisis


def test_crisis_language_is_flagged_never_dropped_and_not_repeated() -> None:
    found = CrisisContent().examine(seeker_says("Some nights I want to die, and he hit me again."))
    assert shown(found) == [
        (FLAG, "suicide is mentioned", 4),
        (FLAG, "violence is mentioned", 4),
    ]
    assert all(f.value is None for f in found)
    assert CrisisContent().examine(seeker_says("I am dying to hear that song.")) == ()


def test_marks_of_the_record_count_too() -> None:
    marked = Utterance(Role.SEEKER, "…", "…", crisis=("self_harm",))
    assert shown(CrisisContent().examine(episode(utterances=(marked,)))) == [
        (FLAG, "self harm is mentioned", 0)
    ]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("<think>She is sad. Be kind.</think>\n\nI hear you.", "I hear you."),
        ("She is sad. Be kind.</think>I hear you.", "I hear you."),
        ("[THINK]a[/THINK]I hear you.", "I hear you."),
        ("analysisShe is sad.assistantfinalI hear you.", "I hear you."),
        ("<think>\n\n</think>\n\nI hear you.", "I hear you."),
    ],
)
def test_thinking_left_in_old_logs_is_trimmed(text: str, kept: str) -> None:
    (finding,) = LeakedInstructions().examine(supporter_says(text))
    assert (finding.severity, finding.reason) == (TRIM, "what the model thought")
    trimmed = LeakedInstructions().apply(supporter_says(text))
    assert kept in [utterance.text for utterance in trimmed.utterances]
    assert LeakedInstructions().examine(trimmed) == ()


def test_an_utterance_that_is_nothing_but_thinking_drops_the_episode() -> None:
    cut_by_the_cap = "<think>She is sad. Be kind. No advice."
    (finding,) = LeakedInstructions().examine(supporter_says(cut_by_the_cap))
    assert (finding.severity, finding.reason) == (DROP, "thinking in place of words")
