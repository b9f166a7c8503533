"""The engine of the crisis rules: spellings, denials, severities, files that are wrong, huge texts."""

from __future__ import annotations

import dataclasses

import pytest

import warmline
from warmline.core.errors import DataError
from warmline.policies.crisis import rules
from warmline.policies.crisis.folding import fold
from warmline.policies.crisis.languages import Severity, languages, read_language
from warmline.policies.crisis.rules import crisis_kinds, find_crisis

from .sentences import sentences


def forms(text: str) -> set[str]:
    return {finding.form for finding in find_crisis(text)}


def severity(text: str) -> Severity:
    return find_crisis(text)[0].severity


def test_the_name_is_public() -> None:
    assert warmline.crisis_kinds("What's the point of living?") == ("suicide",)
    assert warmline.crisis_kinds("What's the point of this meeting?") == ()


@pytest.mark.parametrize(
    "text",
    [
        "I WANT TO DIE",
        "\uff29 \uff57\uff41\uff4e\uff54 \uff54\uff4f \uff44\uff49\uff45",
        "I want to d\u200bi\u200be",
        "i w4nt to d1e",
        "I want to dieeeee",
        "I wnat to die",
        "I want to (die)",
        "I want\n to   die",
        "i want 2 die",
        "I'm  s.u.i.c.i.d.a.l",
        "I am suic\u00eddal",
        "I don\u2019t want to live anymore",
        "i dont want to live anymore",
        "シニタイ",
        "我想自殺",
    ],
)
def test_one_rule_finds_many_spellings(text: str) -> None:
    assert forms(text) & {"ideation", "plan"}


def test_folding_changes_spelling_only() -> None:
    assert fold("  Don\u2019t  \u201cSTOP\u201d, caf\u00e9! ") == "dont stop , cafe!"
    assert fold("3 a.m. at 10:45, 2nd floor") == "3 a.m. at 10:45, 2nd floor"
    assert fold("أإآ") == "ااا"


@pytest.mark.parametrize(
    "text",
    [
        "I don't want to die.",
        "I'm not suicidal.",
        "I would never hurt myself.",
        "I have never thought about suicide.",
        "No quiero morir.",
        "Ich will nicht sterben.",
        "我没有自杀的念头",
    ],
)
def test_a_plain_denial_is_not_marked(text: str) -> None:
    assert find_crisis(text) == ()


@pytest.mark.parametrize(
    "text",
    [
        "I don't want to kill myself but I can't stop thinking about it.",
        "I'm not suicidal, but I wouldn't mind not waking up tomorrow.",
        "No, I want to die.",
        "I'm not ok. I want to die.",
    ],
)
def test_a_denial_that_is_taken_back_or_of_something_else_is_marked(text: str) -> None:
    assert "ideation" in forms(text)


def test_a_harmless_phrase_does_not_hide_what_stands_beside_it() -> None:
    assert find_crisis("That joke killed me, lol.") == ()
    assert "ideation" in forms("This job is killing me and I want to die.")


def test_speech_about_others_and_the_past_is_marked_as_a_concern() -> None:
    assert severity("I want to die.") is Severity.HIGH
    assert severity("My friend says she wants to die.") is Severity.CONCERN
    assert severity("I used to be suicidal in school.") is Severity.CONCERN
    assert severity("I just took a whole bottle of pills.") is Severity.EMERGENCY


def test_the_most_severe_finding_comes_first_and_names_its_rule() -> None:
    found = find_crisis("I want to die. I just swallowed a whole bottle of pills.")
    assert [f.severity for f in found] == sorted((f.severity for f in found), reverse=True)
    assert (found[0].form, found[0].kind) == ("overdose", "suicide")
    assert found[0].rule.startswith("en.plans:")


def test_the_first_words_hide_no_finding() -> None:
    """A rule is tried only where one of its words is seen; every sentence is found all the same."""
    plain_languages = [
        dataclasses.replace(
            language,
            words=(),
            rules=tuple(dataclasses.replace(rule, words=()) for rule in language.rules),
        )
        for language in languages()
    ]
    hidden = 0
    for sentence in filter(lambda s: s.in_crisis, sentences()):
        plain = fold(sentence.text)
        seen = bool(find_crisis(sentence.text))
        for language in plain_languages:
            if not (plain.isascii() and language.letters == "own"):
                tokens = set(plain.split())
                looked = rules._look(tokens)._replace(begun=0)
                hidden += bool(list(rules._findings(plain, tokens, looked, language))) > seen
    assert hidden == 0


LATIN = 'letters = "latin"\n'
RULE = '[[rules]]\nform = "plan"\nseverity = "high"\nwords = "rope"\nmatch = ["rope"]\n'
FILE = LATIN + RULE


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("letters = ", "xx.toml: not TOML"),
        (
            FILE.replace("latin", "latn"),
            "xx: no letters 'latn'; there are latin, own",
        ),
        (f"{LATIN}idiom = []\n{RULE}", "no field 'idiom'.*\n.*did you mean 'idioms'"),
        (f"{FILE}unles = []", "rule xx:1 has no field 'unles'"),
        (FILE.replace("plan", "plann"), "no form 'plann'; there are"),
        (FILE.replace("high", "huge"), "no severity 'HUGE'; there are"),
        (f'{FILE}all = ["a"]', "either 'match' or 'all'"),
        (FILE.replace('["rope"]', '["(rope"]'), "xx:1: pattern does not compile"),
        (FILE.replace('["rope"]', '["{knot}"]'), "xx:1: no part 'knot'; there are none"),
    ],
)
def test_a_file_that_is_wrong_is_refused_and_says_how(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_language("xx", {"xx": text})


def test_a_language_may_have_several_files() -> None:
    both = {
        "xx": FILE + '[parts]\nknot = "loop"\n',
        "xx.more": RULE.replace('"rope"]', '"{knot}"]'),
    }
    assert [rule.name for rule in read_language("xx", both).rules] == ["xx:1", "xx.more:1"]
    with pytest.raises(DataError, match=r"xx.more.toml: no field 'letters'; there are rules"):
        read_language("xx", {"xx": FILE, "xx.more": FILE})
    with pytest.raises(DataError, match=r"xx.toml: no such file"):
        read_language("xx", {"xx.more": RULE})


def test_a_file_becomes_rules() -> None:
    language = read_language("xx", {"xx": FILE})
    (rule,) = language.rules
    assert (rule.name, rule.form, rule.severity) == ("xx:1", "plan", Severity.HIGH)


@pytest.mark.parametrize("unit", [" ", "("])
def test_a_megabyte_without_a_word_is_quick_work(unit: str) -> None:
    assert find_crisis(unit * 1_000_000) == ()


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "unit",
    ["*", "\u200b", "a", "die ", "not ", "a. ", "he hits ", "took all pills ", "死", "あ",
     "죽고 ", "मर ", "موت ", "pills, ", "want to ", "ich mich um "],
)  # fmt: skip
def test_a_long_text_of_anything_takes_time_in_proportion(unit: str) -> None:
    """Guards against patterns that backtrack: such a text would take hours."""
    find_crisis(unit * (200_000 // len(unit)))


@pytest.mark.parametrize("before", [0, 18_990, 19_500, 19_995, 57_000])
def test_a_crisis_is_found_wherever_it_stands_in_a_long_text(before: int) -> None:
    text = ("rain " * 20_000)[:before] + " I want to die. " + "rain " * 20_000
    assert crisis_kinds(text) == ("suicide",)
    assert [finding.form for finding in find_crisis(text)] == ["ideation"]


@pytest.mark.parametrize(
    ("said", "kinds"),
    [
        ("they'd all manage better with me gone", ("suicide",)),
        ("It would be easier not to be here.", ("suicide",)),
        ("They are better off without such a brother, I know what I did.", ("suicide",)),
        ("it should have been me", ("suicide",)),
        ("I pray the Lord would just take me", ("suicide",)),
        ("Maybe I should just disappear", ("suicide",)),
        ("He hits me every night and I want it to stop.", ("suicide", "violence")),
        ("Mama can't be here", ()),
        ("If I say I lost the bag, they believe me", ()),
        ("I lied to the guy", ()),
        ("My sister is better off without such a husband.", ()),
        ("It should have been me on that stage.", ()),
        ("Nobody can live without them these days.", ()),
    ],
)
def test_the_own_absence_as_the_better_thing(said: str, kinds: tuple[str, ...]) -> None:
    assert crisis_kinds(said) == kinds
