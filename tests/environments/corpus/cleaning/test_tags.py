"""Tags: their line, what exports choose by them, and how trims are applied."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmline import StopReason
from warmline.core.errors import DataError
from warmline.environments import Verdict
from warmline.environments.corpus.tags import (
    Choice,
    Finding,
    Severity,
    Tags,
    cleaned,
    content_digest,
    edited,
    iter_tags,
    kept,
    read_tags,
)

from .talks import CALM, episode

DROP, TRIM, FLAG = Severity.DROP, Severity.TRIM, Severity.FLAG
TALK = episode(*CALM)


def tagged(*findings: Finding, name: str = "e1") -> Tags:
    talk = TALK.model_copy(update={"id": name})
    return Tags(name, content_digest(talk), "c", findings)


FINDINGS = st.builds(
    Finding,
    st.sampled_from(["leaks", "role"]),
    st.sampled_from(Severity),
    st.text(),
    st.none() | st.integers(0, 9),
    st.none() | st.integers().map(float) | st.text(),
    st.none() | st.text(),
)


@given(st.lists(FINDINGS, max_size=3))
def test_a_line_of_tags_reads_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, findings: list[Finding]
) -> None:
    path = tmp_path_factory.mktemp("tags") / "tags.jsonl"
    tags = tagged(*findings)
    path.write_text(tags.to_json() + "\n", "utf-8", newline="\n")
    assert list(iter_tags(path)) == [tags]


def test_of_an_id_tagged_again_the_last_counts_and_a_torn_line_is_left_out(tmp_path: Path) -> None:
    lines = [tagged(), tagged(Finding("role", DROP, "x")), tagged(name="e2")]
    text = "\n".join(t.to_json() for t in lines)
    (tmp_path / "tags.jsonl").write_text(text[:-5], "utf-8")
    assert read_tags(tmp_path) == {"e1": lines[1]}


def test_tags_are_read_from_the_file_when_they_are_asked_for(tmp_path: Path) -> None:
    lines = [tagged(Finding("role", DROP, "人" * n, n), name=f"é{n}") for n in range(40)]
    text = "".join(t.to_json() + "\n" for t in lines)
    (tmp_path / "tags.jsonl").write_text(text, "utf-8", newline="\n")
    tags = read_tags(tmp_path)
    assert len(tags) == 40
    assert [tags[one.id] for one in reversed(lines)] == lines[::-1]
    assert [*tags.values()] == lines
    assert "é40" not in tags
    with pytest.raises(KeyError):
        tags["é40"]


def test_what_is_no_line_of_tags_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="warmline clean FOLDER"):
        read_tags(tmp_path)
    (tmp_path / "tags.jsonl").write_text(tagged().to_json() + '\n{"id": 1}\n', "utf-8")
    with pytest.raises(DataError, match="line 2"):
        read_tags(tmp_path)


def test_the_digest_follows_what_filters_look_at() -> None:
    assert content_digest(TALK) == content_digest(episode(*CALM))
    others = [
        TALK.model_copy(update={"id": "e2"}),
        TALK.model_copy(update={"stop": StopReason.JUDGER}),
        episode(*CALM[:-1], "Other."),
        episode(*CALM, profile="Ada, 44"),
    ]
    assert len({content_digest(talk) for talk in [TALK, *others]}) == 5
    dated = TALK.model_copy(update={"annotations": {"score": 5}})
    assert content_digest(dated) == content_digest(TALK)


# Choosing


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        (Choice(), ["plain", "flag"]),
        (Choice(ignore=frozenset({"role"})), ["plain", "flag", "drop"]),
        (Choice(also_drop=frozenset({"crisis"})), ["plain"]),
        (Choice(untagged=True), ["plain", "flag", "none"]),
    ],
)
def test_exports_choose(choice: Choice, names: list[str]) -> None:
    talks = [TALK.model_copy(update={"id": n}) for n in ("plain", "flag", "drop", "none")]
    tags = {
        "plain": tagged(name="plain"),
        "flag": tagged(Finding("crisis", FLAG, "x", 0), name="flag"),
        "drop": tagged(Finding("role", DROP, "x", 0), name="drop"),
    }
    assert [talk.id for talk in kept(talks, tags, choice)] == names


def test_trims_are_a_choice_too() -> None:
    tags = {"e1": tagged(Finding("closings", TRIM, "x", 9, None, ""))}
    assert [len(e.utterances) for e in kept([TALK], tags)] == [9]
    assert list(kept([TALK], tags, Choice(trim=False))) == [TALK]


def test_tags_of_another_state_of_an_episode_are_refused() -> None:
    tags = tagged(Finding("sentence_cap", TRIM, "x", 0, None, "Short."))
    assert cleaned(TALK, tags).utterances[0].text == "Short."
    with pytest.raises(DataError, match="another state"):
        cleaned(episode(*CALM[:-1], "Other."), tags)
    assert cleaned(TALK, None) is TALK


# Trimming


def test_repairs_tell_what_was_done_and_raw_stays() -> None:
    tags = tagged(
        Finding("leaks", TRIM, "x", 1, None, "Was it yours? Really? Truly? Yes?"),
        Finding("sentence_cap", TRIM, "x", 1, None, "Was it yours?"),
        Finding("closings", TRIM, "x", 9, None, ""),
        Finding("closings", TRIM, "x", 8, None, ""),
    )
    done = cleaned(TALK, tags)
    assert done.utterances[1].text == "Was it yours?"
    assert done.utterances[1].raw == CALM[1]
    assert done.utterances[1].repairs == ("clean:leaks", "clean:sentence_cap")
    assert done.utterances[-1].text == CALM[7]
    assert done.utterances[-1].repairs == ("clean:closings",)
    assert [u.text for u in TALK.utterances] == list(CALM)


def test_verdicts_keep_their_place() -> None:
    talk = TALK.model_copy(
        update={"verdicts": (Verdict(2, 0, False), Verdict(6, 1, False), Verdict(10, 2, True))}
    )
    cut = [
        Finding("repetition", TRIM, "x", 3, None, ""),
        Finding("closings", TRIM, "x", 9, None, ""),
    ]
    assert [v.after for v in edited(talk, cut).verdicts] == [2, 5, 8]


def test_an_edit_does_not_touch_strategies_and_calls() -> None:
    first = dataclasses.replace(TALK.utterances[0], call=None, crisis=("violence",))
    talk = TALK.model_copy(update={"utterances": (first, *TALK.utterances[1:])})
    done = edited(talk, [Finding("leaks", TRIM, "x", 0, None, "Hm.")])
    assert done.utterances[0] == dataclasses.replace(first, text="Hm.", repairs=("leaks",))
    assert done.utterances[1:] == talk.utterances[1:]
