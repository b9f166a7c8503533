"""Cleaning a folder: tags, report, resume, kills, the judge, plug-ins, settings, the command."""

from __future__ import annotations

import json
import random
import sys
import tracemalloc
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import warmline
from warmline import Episode, StopReason
from warmline.agents.roles import Role
from warmline.core.errors import (
    AuthenticationFailed,
    BadRequest,
    ConfigError,
    DataError,
    EngineTimeout,
    RunError,
)
from warmline.core.jsonl import LineLog
from warmline.environments import EpisodeLog, Utterance
from warmline.environments.corpus.cleaning import (
    CleanSettings,
    clean_run,
    examine,
    known_filters,
    make_filter,
)
from warmline.environments.corpus.cleaning.filters.registry import FilterNotFound
from warmline.environments.corpus.cleaning.judge import ANSWERS
from warmline.environments.corpus.cleaning.report import report_of
from warmline.environments.corpus.tags import (
    Finding,
    Severity,
    Tags,
    cleaned,
    content_digest,
    read_tags,
)
from warmline.environments.episodes.rating import iter_ratings

from .talks import CALM, episode, said

WORDS = sorted({w for s in warmline.seed_scenarios() for w in s.situation.split() if w.isalpha()})


def varied(name: str, *extra: str) -> Episode:
    """A conversation with words of its own."""
    draw = random.Random(name)
    lines = [" ".join(draw.choices(WORDS, k=9)) + "." for _ in range(10)]
    return episode(*lines, *extra, name=name)


FAULTY = {
    "short": episode(*CALM[:4], name="short"),
    "leak": episode("As an AI language model, I am sad.", *CALM[1:], name="leak"),
    "labels": episode(CALM[0], "Supporter: " + CALM[1], *CALM[2:], name="labels"),
    "bye": episode(*CALM, "Thanks, bye!", "Bye!", "Bye bye!", "Take care!", name="bye"),
}


def fill(folder: Path, *episodes: Episode) -> Path:
    with EpisodeLog(folder / "episodes.jsonl") as log:
        for one in episodes:
            log.append(one)
    return folder


def test_every_episode_gets_its_tags_and_nothing_is_deleted(tmp_path: Path) -> None:
    fill(tmp_path, varied("fine"), *FAULTY.values())
    before = (tmp_path / "episodes.jsonl").read_bytes()
    report = clean_run(tmp_path)
    assert (tmp_path / "episodes.jsonl").read_bytes() == before
    tags = read_tags(tmp_path)
    assert [*tags] == ["fine", *FAULTY]
    assert tags["fine"].findings == ()
    assert [name for name in tags if tags[name].dropped] == ["short", "leak", "bye"]
    assert (report.episodes, report.kept, report.dropped, report.trimmed) == (5, 2, 3, 1)
    assert report.dropped_by == {"leaks": 1, "length": 1, "near_duplicates": 1}
    assert json.loads((tmp_path / "cleaning.json").read_text()) == report.model_dump(mode="json")


def test_a_second_time_changes_nothing_and_new_episodes_are_added(tmp_path: Path) -> None:
    fill(tmp_path, varied("a"), FAULTY["leak"])
    first = clean_run(tmp_path)
    data = (tmp_path / "tags.jsonl").read_bytes()
    assert clean_run(tmp_path) == first
    assert (tmp_path / "tags.jsonl").read_bytes() == data
    fill(tmp_path, varied("b"))
    assert clean_run(tmp_path).episodes == 3
    assert (tmp_path / "tags.jsonl").read_bytes().startswith(data)


def test_cut_anywhere_the_tags_come_out_the_same(tmp_path: Path) -> None:
    double = varied("a").model_copy(update={"id": "again"})
    fill(tmp_path, varied("a"), FAULTY["leak"], varied("b"), double, FAULTY["bye"])
    clean_run(tmp_path)
    whole = (tmp_path / "tags.jsonl").read_bytes()
    assert read_tags(tmp_path)["again"].dropped
    for length in range(0, len(whole), 37):
        (tmp_path / "tags.jsonl").write_bytes(whole[:length])
        clean_run(tmp_path)
        assert (tmp_path / "tags.jsonl").read_bytes() == whole


def test_other_settings_make_the_tags_anew(tmp_path: Path) -> None:
    fill(tmp_path, FAULTY["short"])
    assert clean_run(tmp_path).dropped == 1
    settings = CleanSettings(filters=("length:min_utterances=4",))
    assert clean_run(tmp_path, settings).dropped == 0
    assert len(read_tags(tmp_path)) == 1
    assert clean_run(tmp_path, CleanSettings(skip=("length",))).dropped == 0


def test_an_episode_played_again_is_judged_by_its_last_try(tmp_path: Path) -> None:
    failed = varied("a").model_copy(update={"stop": StopReason.ERROR})
    fill(tmp_path, failed, varied("a"))
    report = clean_run(tmp_path)
    assert (report.episodes, report.kept) == (1, 1)


def test_a_dropped_dialogue_does_not_push_out_its_better_twin(tmp_path: Path) -> None:
    leaky = varied("a", "As an AI language model, I am sad.", "I hear you.")
    fill(tmp_path, leaky, varied("a").model_copy(update={"id": "twin"}))
    clean_run(tmp_path)
    assert [t.dropped for t in read_tags(tmp_path).values()] == [True, False]


def test_findings_after_a_cut_point_into_the_logged_episode() -> None:
    talk = episode(
        utterances=(*said(*CALM[:2]), said(*CALM[:2])[1], *said("I want to die.", "Oh."))
    )
    assert [(f.filter, f.utterance) for f in examine(talk, CleanSettings().make())] == [
        ("repetition", 2),
        ("length", None),
        ("crisis", 3),
    ]


def test_the_report_reports_what_one_filter_alone_costs() -> None:
    filters = CleanSettings(skip=("near_duplicates",)).make()
    both = episode("As an AI language model, I am sad.", *CALM[1:4], name="both")
    tags = [tags_of(talk, examine(talk, filters)) for talk in (FAULTY["leak"], both)]
    report = report_of(tags)
    assert report.dropped_by == {"leaks": 2, "length": 1}
    assert report.only_by == {"leaks": 1}


def test_what_is_trimmed_away_drops_nothing() -> None:
    looped = episode(*CALM, "Bye!", "Bye!", *["Thank you so much for listening."] * 6)
    found = examine(looped, CleanSettings().make())
    assert {f.severity for f in found} == {Severity.TRIM}
    talk = episode(
        "One. Two. Three. As an AI language model, four.", *CALM[1:], stop=StopReason.JUDGER
    )
    assert [f.filter for f in examine(talk, CleanSettings().make())] == ["sentence_cap"]


LINES = st.lists(
    st.sampled_from(
        [
            *("Thanks, bye!", "Bye!", "You too.", "Thank you.", "N/A", "", "\x07Hm."),
            *(
                "Supporter: [Question] What now? N/A",
                "Seeker: I. II. III. IV.",
                "Okay. Bye. N/A. x. y.",
            ),
            *("One. Two. Three. Bye! Four.", "(Question) Why?", "Hm.\nSupporter: Hm. Hm. Hm. Bye."),
            *("She sold the piano.", "She sold the piano.", "I want to die."),
        ]
    ),
    max_size=12,
)


@given(
    LINES,
    st.lists(st.booleans(), min_size=12, max_size=12),
    st.sampled_from([StopReason.RECORDED, StopReason.JUDGER]),
)
def test_cleaning_a_cleaned_episode_trims_nothing_more(
    lines: list[str], who: list[bool], stop: StopReason
) -> None:
    roles = [Role.SEEKER if w else Role.SUPPORTER for w in who]
    spoken = tuple(Utterance(r, t, t) for r, t in zip(roles, lines, strict=False))
    talk = episode(utterances=spoken, stop=stop)
    filters = CleanSettings(skip=("near_duplicates",)).make()
    tags = tags_of(talk, examine(talk, filters))
    once = cleaned(talk, tags)
    again = examine(once, filters)
    assert [f for f in again if f.severity is Severity.TRIM] == []
    rest = [
        (f.filter, f.severity, f.reason) for f in tags.findings if f.severity is not Severity.TRIM
    ]
    assert [(f.filter, f.severity, f.reason) for f in again] == rest


def tags_of(talk: Episode, findings: tuple[Finding, ...]) -> Tags:
    return Tags(talk.id, content_digest(talk), "", findings)


def test_the_report_does_not_depend_on_the_order() -> None:
    filters = CleanSettings(skip=("near_duplicates",)).make()
    tags = [tags_of(talk, examine(talk, filters)) for talk in FAULTY.values()]
    assert report_of(tags) == report_of(reversed(tags))


# The judge


def judge(answers: dict[str, str]) -> warmline.ScriptedPolicy:
    def answer(request: warmline.Request) -> str:
        asked.append(request.session)
        return answers.get(request.session.split("/")[0], ANSWERS[0])

    asked: list[str] = []
    policy = warmline.ScriptedPolicy(answer)
    policy.asked = asked
    return policy


def test_the_judge_is_asked_only_about_what_the_rules_keep(tmp_path: Path) -> None:
    fill(tmp_path, varied("a"), varied("b"), FAULTY["leak"])
    policy = judge({"b": "Seeker changes role."})
    report = clean_run(tmp_path, judge=policy)
    assert sorted(policy.asked) == ["a/role_judge", "b/role_judge"]
    assert report.dropped_by == {"leaks": 1, "role_judge": 1}
    ratings = {r.episode: r.value for r in iter_ratings(tmp_path)}
    assert ratings == {"a": 1.0, "b": 0.0}


def test_what_the_judge_answered_is_not_asked_again(tmp_path: Path) -> None:
    fill(tmp_path, varied("a"), varied("b"))
    clean_run(tmp_path, judge=judge({}))
    (tmp_path / "tags.jsonl").unlink()
    policy = judge({"a": ANSWERS[1]})
    assert clean_run(tmp_path, judge=policy).dropped == 0
    assert policy.asked == []


def test_a_refused_question_is_a_missing_answer_and_a_wrong_key_stops(tmp_path: Path) -> None:
    fill(tmp_path, varied("a"), varied("b"))

    def refuse(request: warmline.Request) -> str:
        if request.session.startswith("a/"):
            raise BadRequest("too long")
        return ANSWERS[0]

    clean_run(tmp_path, judge=warmline.ScriptedPolicy(refuse))
    assert [r.value for r in iter_ratings(tmp_path)] == [None, 1.0]
    assert [f.filter for f in read_tags(tmp_path)["a"].findings] == ["role_judge"]

    def wrong_key(request: warmline.Request) -> str:
        raise AuthenticationFailed("no")

    other = fill(tmp_path / "other", varied("c"))
    with pytest.raises(AuthenticationFailed):
        clean_run(other, judge=warmline.ScriptedPolicy(wrong_key))


def test_a_question_that_timed_out_is_asked_again(tmp_path: Path) -> None:
    fill(tmp_path, varied("a"), varied("b"))
    asked: list[str] = []

    def hangs_once(request: warmline.Request) -> str:
        asked.append(request.session)
        if asked == ["a/role_judge"]:
            raise EngineTimeout("no answer within 60 s")
        return ANSWERS[0]

    settings = CleanSettings(concurrency=1)
    first = clean_run(tmp_path, settings, judge=warmline.ScriptedPolicy(hangs_once))
    assert [(r.filter, r.episodes) for r in first.reasons] == [("role_judge", 1)]
    second = clean_run(tmp_path, settings, judge=warmline.ScriptedPolicy(hangs_once))
    assert asked == ["a/role_judge", "b/role_judge", "a/role_judge"]
    assert (second.episodes, second.reasons) == (2, ())
    third = clean_run(tmp_path, settings, judge=warmline.ScriptedPolicy(hangs_once))
    assert third == second
    assert len(asked) == 3


# One at a time, and only where there is a log


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no flock; the lock is left out")
def test_a_folder_is_cleaned_by_one_process_at_a_time(tmp_path: Path) -> None:
    fill(tmp_path, varied("a"))
    clean_run(tmp_path)
    tags = (tmp_path / "tags.jsonl").read_bytes()
    other = CleanSettings(skip=("length",))
    with (
        LineLog(tmp_path / "tags.jsonl"),
        pytest.raises(RunError, match="being written by another process"),
    ):
        clean_run(tmp_path, other)
    assert (tmp_path / "tags.jsonl").read_bytes() == tags


def test_a_folder_without_a_log_stays_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no episode log"):
        clean_run(tmp_path)
    assert list(tmp_path.iterdir()) == []


# The door


class NoShouting:
    """A plug-in as the documents show it."""

    name: ClassVar[str] = "no_shouting"

    def __init__(self, least: int = 1) -> None:
        self.least = least

    def examine(self, episode: Episode) -> tuple[Finding, ...]:
        loud = [i for i, u in enumerate(episode.utterances) if u.text.isupper()]
        if len(loud) < self.least:
            return ()
        return tuple(Finding(self.name, Severity.FLAG, "all in capitals", i) for i in loud)


SHOUTING = f"{__name__}:NoShouting"


def test_a_filter_of_ones_own_comes_by_import_string_with_options(tmp_path: Path) -> None:
    fill(tmp_path, varied("a", "STOP IT!", "I hear you."))
    report = clean_run(tmp_path, CleanSettings(filters=(SHOUTING,)))
    assert [(r.filter, r.episodes) for r in report.reasons] == [("no_shouting", 1)]
    assert clean_run(tmp_path, CleanSettings(filters=(f"{SHOUTING}:least=2",))).reasons == ()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("lenght", "did you mean 'length'"),
        ("length:min_utterence=3", "did you mean 'min_utterances'"),
        ("length:3", "is not key=value"),
        ("near_duplicates:treshold=0.5", "treshold"),
        ("warmline:nothing", "has no class or function 'nothing'"),
        ("no_such_package:Thing", "no module named 'no_such_package'"),
        ({"min_utterances": 3}, "needs a name"),
    ],
)
def test_errors_name_what_exists(spec: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_filter(spec)


def test_every_default_filter_goes_by_its_own_name() -> None:
    assert [make_filter(name).name for name in known_filters()] == known_filters()
    with pytest.raises(FilterNotFound):
        make_filter("nothing")
    with pytest.raises(ConfigError, match="did you mean 'crisis'"):
        CleanSettings(skip=("crises",)).chosen()


# Memory


def test_memory_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        folder = tmp_path / str(count)
        fill(folder, *(varied(f"e{n}") for n in range(count)))
        tracemalloc.start()
        clean_run(folder, CleanSettings(skip=("near_duplicates",)))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(64)  # imports and caches
    small, large = peak(128), peak(512)
    assert (
        large - small < 384 * 1500
    )  # the tags of an episode; the episode itself takes ten times that


# The command


def run(*arguments: str) -> str:
    from warmline.cli import app

    result = CliRunner().invoke(app, ["clean", *arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def test_the_command_prints_one_json_object(tmp_path: Path) -> None:
    fill(tmp_path, varied("a"), FAULTY["leak"])
    record = json.loads(run(str(tmp_path), "--json", "--fidelity"))
    assert record["cleaning"]["dropped_by"] == {"leaks": 1}
    assert record["fidelity"]["overall"]["episodes"] == 2
    assert (tmp_path / "fidelity.json").is_file()


def test_the_command_takes_settings_from_file_and_options(tmp_path: Path) -> None:
    fill(tmp_path, FAULTY["short"])
    (tmp_path / "clean.toml").write_text('filters = ["length:min_utterances=4"]\n')
    text = run(str(tmp_path), "--config", str(tmp_path / "clean.toml"))
    assert "1 episodes: 1 kept" in text
    assert "1 dropped" in run(str(tmp_path))
    assert "1 kept" in run(str(tmp_path), "--skip", "length")
    assert "seeker fidelity" in run(str(tmp_path), "--fidelity")


def test_the_command_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no episode log there"):
        run(str(tmp_path))
    with pytest.raises(ConfigError, match="is not a folder"):
        run(str(tmp_path / "nothing"))
