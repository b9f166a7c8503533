"""`warmline judge`, `calibrate` and `selfplay` from the command line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from warmline import Scenario
from warmline.cli import app
from warmline.core.errors import ConfigError
from warmline.environments.episodes.rating import Rating, iter_ratings
from warmline.evaluation import JudgeSettings, calibration_report, judge_run

from ..corpora import LINES, episode, write_log

RUN = CliRunner()
MODULE = """
import json

from warmline import ScriptedPolicy


def answer(request):
    user = request.messages[-1].content
    if "<first>" in user:
        return json.dumps({"explanation": "", "better": "first" if BETTER in user.split("<second>")[0] else "second"})
    score = min(5, max(1, len(user) % 6))
    if "faults" in request.schema["properties"]:
        return json.dumps({"explanation": "", "faults": [], "score": score})
    return json.dumps({"explanation": "", "score": score})


BETTER = "You miss more"


def judge():
    return ScriptedPolicy(answer)


def says(text="Hm."):
    return ScriptedPolicy(lambda request: text)
"""


@pytest.fixture
def judges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "some_judges.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "some_judges"


def test_judging_a_log_and_judging_it_again(tmp_path: Path, judges: str) -> None:
    run = write_log(tmp_path / "run", [episode("e1"), episode("e2")])
    before = (run / "episodes.jsonl").read_bytes()
    command = ["judge", str(run), "--judge.policy", f"{judges}:judge", "--rubric", "response"]
    first = RUN.invoke(app, [*command, "--samples", "2"])
    assert first.exit_code == 0, first.output
    assert "56 asked, 0 there already" in " ".join(first.output.split())
    assert "empathy" in first.output
    assert (run / "episodes.jsonl").read_bytes() == before
    assert len(list(iter_ratings(run))) == 2 * 2 * 7 * 2
    again = json.loads(RUN.invoke(app, [*command, "--samples", "2", "--json"]).stdout)
    assert (again["asked"], again["resumed"]) == (0, 56)
    assert {each["n"] for each in again["results"]} == {8}


def test_options_decide_what_is_judged(tmp_path: Path, judges: str) -> None:
    run = write_log(tmp_path / "run", [episode(f"e{n}") for n in range(5)])
    out = tmp_path / "else" / "mine.jsonl"
    done = RUN.invoke(app, [
        "judge", str(run), "--judge.policy", f"{judges}:judge", "--rubric", "dialogue", "--dimensions",
        "safety", "--limit", "3", "--rater", "me", "--out", str(out),
    ])  # fmt: skip
    assert done.exit_code == 0, done.output
    ratings = list(iter_ratings(out))
    assert len(ratings) == 3
    assert {(r.dimension, r.rater, r.utterance) for r in ratings} == {("safety", "me", None)}


def test_two_runs_are_compared(tmp_path: Path, judges: str) -> None:
    one = write_log(tmp_path / "one", [episode(f"e{n}") for n in range(3)])
    two = write_log(tmp_path / "two", [episode(f"e{n}", [*LINES[:3], "Ok."]) for n in range(3)])
    done = RUN.invoke(app, [
        "judge", str(one), "--against", str(two), "--judge.policy", f"{judges}:judge", "--dimensions",
        "helpfulness", "--json",
    ])  # fmt: skip
    assert done.exit_code == 0, done.output
    [rate] = json.loads(done.stdout)["results"]
    assert (rate["wins"], rate["n"], rate["consistent"]) == (3, 3, 1.0)
    assert len(list(iter_ratings(one / "comparisons.jsonl"))) == 6


@pytest.mark.parametrize(("more", "message"), [
    ([], "no judge is named"),
    (["--judge.policy", "scripted", "--against", "x", "--limit", "3"], "--limit draws from one"),
    (["--judge.policy", "scripted", "--against", "x", "--rubric", "response"], "is about replies"),
])  # fmt: skip
def test_what_cannot_be_judged_is_refused(tmp_path: Path, more: list[str], message: str) -> None:
    run = write_log(tmp_path / "run", [episode()])
    done = RUN.invoke(app, ["judge", str(run), *more])
    assert isinstance(done.exception, ConfigError)
    assert message in str(done.exception)


def test_the_function_does_all_but_printing(tmp_path: Path, judges: str) -> None:
    """`judge_run` gives what `warmline judge --json` prints, from the same settings."""
    one = write_log(tmp_path / "one", [episode(f"e{n}") for n in range(3)])
    two = write_log(tmp_path / "two", [episode(f"e{n}", [*LINES[:3], "Ok."]) for n in range(3)])
    settings = JudgeSettings(
        judge={"policy": f"{judges}:judge"}, dimensions=("empathy",), samples=2
    )
    result = asyncio.run(judge_run(one, settings))
    assert result.out == one / "ratings.jsonl"
    assert ([s.dimension for s in result.scores], result.scores[0].n) == (["empathy"], 12)
    command = ["judge", str(one), "--judge.policy", f"{judges}:judge", "--dimensions", "empathy"]
    printed = RUN.invoke(app, [*command, "--samples", "2", "--json"])
    assert json.loads(printed.stdout) == {**result.as_dict(), "asked": 0, "resumed": 12}
    settings = JudgeSettings(
        judge={"policy": f"{judges}:judge"}, against=str(two), dimensions=("safety",)
    )
    compared = asyncio.run(judge_run(one, settings))
    assert (compared.scores, compared.out) == ([], one / "comparisons.jsonl")
    assert (compared.wins[0].wins, compared.tally.asked) == (3, 6)
    with pytest.raises(ConfigError, match="no judge is named"):
        asyncio.run(judge_run(one, JudgeSettings()))


def test_calibration_from_files(tmp_path: Path) -> None:
    run = write_log(tmp_path / "run", [episode(f"e{n}") for n in range(6)])
    judged = [
        Rating(episode=f"e{n}", rater="j", kind="judge", dimension="safety", value=1 + n % 5)
        for n in range(6)
    ]
    (run / "ratings.jsonl").write_text("".join(r.to_json() + "\n" for r in judged))
    people = tmp_path / "people.csv"
    rows = [f"e{n},safety,{1 + n % 4}" for n in range(6)]
    people.write_text("\n".join(["episode,dimension,value", *rows]) + "\n")
    command = ["calibrate", str(run), str(people), "--episodes", str(run)]
    shown = RUN.invoke(app, command)
    assert shown.exit_code == 0, shown.output
    assert "6 subjects are too few" in shown.output
    assert "…" not in shown.stdout
    record = json.loads(RUN.invoke(app, [*command, "--json"]).stdout)
    [found] = record["dimensions"]
    assert record["comparisons"] == []
    assert (found["n"], found["lengths_missing"]) == (6, 0)
    # judge 1 2 3 4 5 1, people 1 2 3 4 1 2
    assert found["difference"]["value"] == pytest.approx(0.5)
    none = RUN.invoke(app, [*command, "--rater", "nobody"])
    assert "no rating by a judge is left\n  - raters: j" in str(none.exception)
    people.write_text("episode,dimension,value\ne1,warmth,3\n")
    other = RUN.invoke(app, command)
    assert "the judge rated: safety; people: warmth" in str(other.exception)
    people.write_text("episode,dimension,value\nelsewhere,safety,3\n")
    apart = str(RUN.invoke(app, command).exception)
    assert "rated no episode in common" in apart
    assert "the judge rated 6 (e0, e1, e2, ...); people rated 1 (elsewhere)" in apart


def test_a_rubric_is_chosen_by_its_name(tmp_path: Path) -> None:
    judged, people = tmp_path / "judged.jsonl", tmp_path / "people.csv"
    lines = [
        Rating(
            episode=f"e{n}", rater="j", kind="judge", dimension="safety", value=n, rubric=rubric
        ).to_json()
        for rubric in ("dialogue 1 (ab)", "response 1 (cd)")
        for n in range(1, 5)
    ]
    judged.write_text("\n".join(lines) + "\n")
    people.write_text("episode,dimension,value\ne1,safety,1\ne2,safety,3\n")
    command = ["calibrate", str(judged), str(people)]
    assert "--rubric" in str(RUN.invoke(app, command).exception)
    done = RUN.invoke(app, [*command, "--rubric", "dialogue"])
    assert done.exit_code == 0, done.exception


def test_calibration_reports_a_position_bias(tmp_path: Path) -> None:
    judged, people = tmp_path / "judged.jsonl", tmp_path / "people.csv"
    ratings = [
        Rating(
            episode=f"e{n}", rater="j", kind="judge", dimension="safety",
            value=1 if first == "A" else -1, notes={"first": first},
        )
        for n in range(9)
        for first in "AB"
    ]  # fmt: skip
    judged.write_text("".join(r.to_json() + "\n" for r in ratings))
    people.write_text("episode,dimension,value\n")
    record = json.loads(RUN.invoke(app, ["calibrate", str(judged), str(people), "--json"]).stdout)
    [order] = record["comparisons"]
    assert (order["first"], order["consistent"], order["ties"]) == (1.0, 0.0, 9)


def test_calibration_reports_how_often_people_chose_the_same(tmp_path: Path) -> None:
    """The judge takes A in four pairs; people take A in the first three of them."""
    judged, people = tmp_path / "judged.jsonl", tmp_path / "people.csv"
    lines = [
        Rating(
            episode=f"e{n}", rater="j", kind="judge", dimension="safety", value=1,
            notes={"first": first},
        ).to_json()
        for n in range(4)
        for first in "AB"
    ]  # fmt: skip
    judged.write_text("\n".join(lines) + "\n")
    rows = [f"e{n},safety,{1 if n < 3 else -1},B" for n in range(4)]
    people.write_text("\n".join(["episode,dimension,value,first", *rows]) + "\n")
    command = ["calibrate", str(judged), str(people)]
    [votes] = json.loads(RUN.invoke(app, [*command, "--json"]).stdout)["votes"]
    assert (votes["n"], votes["agreement"]["value"], votes["people_b"]) == (4, 0.75, 1)
    assert calibration_report(judged, people).as_dict()["votes"] == [votes]
    assert "0.75" in RUN.invoke(app, command).stdout


def test_tables_lose_nothing_on_eighty_columns(tmp_path: Path, judges: str) -> None:
    run = write_log(tmp_path / "run", [episode(f"e{n}") for n in range(3)])
    narrow = CliRunner(env={"COLUMNS": "80"})
    command = ["judge", str(run), "--judge.policy", f"{judges}:judge"]
    for more in (["--rubric", "response"], ["--rubric", "dialogue"], ["--against", str(run)]):
        shown = narrow.invoke(app, [*command, *more])
        assert shown.exit_code == 0, shown.exception
        assert "…" not in shown.stdout
        assert "informativeness" in shown.stdout
    assert "Self-Evolution Table 7: M2" in narrow.invoke(app, command).stdout


def test_runs_without_a_common_conversation_are_refused(tmp_path: Path, judges: str) -> None:
    one = write_log(tmp_path / "one", [episode("e1")])
    two = write_log(tmp_path / "two", [episode("f1")])
    done = RUN.invoke(
        app, ["judge", str(one), "--against", str(two), "--judge.policy", f"{judges}:judge"]
    )
    assert "has a partner in" in str(done.exception)


def test_an_unreadable_answer_says_where_it_is(tmp_path: Path, judges: str) -> None:
    run = write_log(tmp_path / "run", [episode("e1")])
    done = RUN.invoke(app, ["judge", str(run), "--judge.policy", f"{judges}:says"])
    assert "notes.answer" in done.stdout


def test_a_judge_of_which_no_answer_can_be_read_has_an_exit_code(
    tmp_path: Path, judges: str
) -> None:
    run = write_log(tmp_path / "run", [episode("e1")])
    for _ in range(2):  # asked, and found there
        assert (
            RUN.invoke(app, ["judge", str(run), "--judge.policy", f"{judges}:says"]).exit_code == 3
        )
    other = write_log(tmp_path / "other", [episode("e1")])
    compared = ["judge", str(run), "--against", str(other), "--judge.policy", f"{judges}:says"]
    assert RUN.invoke(app, compared).exit_code == 3


def test_helpful_rates_from_a_threshold_of_ones_own_on(tmp_path: Path) -> None:
    """A weak scorer finds all helpful at one half; at its median half of them are."""
    file = tmp_path / "ratings.jsonl"
    values = (0.6, 0.7, 0.8, 0.9)
    lines = [
        Rating(
            episode=f"e{n}", utterance=1, rater="s", kind="scorer", dimension="topic", value=value
        ).to_json()
        for n, value in enumerate(values)
    ]
    file.write_text("\n".join(lines) + "\n")
    words = ["helpful", str(file), "--dimensions", "topic"]

    def share(*more: str) -> float:
        [rates] = json.loads(RUN.invoke(app, [*words, *more, "--json"]).stdout)
        assert rates["rates"]["topic"] == rates["rates"]["helpful"]
        value: float = rates["rates"]["helpful"]["value"]
        return value

    assert [share(), share("--threshold", "0.8"), share("--threshold", "1")] == [1, 0.5, 0]
    shown = RUN.invoke(app, [*words, "--threshold", "0.8"]).stdout
    assert "held from 0.8 on" in shown
    assert "published, FPEMF" not in shown, "no published rate beside another threshold"
    for wrong in ("1.5", "nan"):
        refused = RUN.invoke(app, [*words, "--threshold", wrong])
        assert "outside of a scorer's values" in str(refused.exception)


def beams(file: Path, rater: str, held: Sequence[Sequence[int]]) -> Path:
    """A scorer's ratings: of each of some places the values of its candidates."""
    lines = [
        Rating(
            episode=f"e{n}", utterance=1, candidate=f"candidate{place}", rater=rater,
            kind="scorer", dimension="topic", value=value,
        ).to_json()
        for n, values in enumerate(held)
        for place, value in enumerate(values)
    ]  # fmt: skip
    file.write_text("\n".join(lines) + "\n")
    return file


def test_what_a_training_changed_is_told_in_the_same_places(tmp_path: Path) -> None:
    """Beams 1/4 of four places, then 3/4: 0.5 more in each; the best ones 2 of 4, then 4 of 4."""
    before = beams(tmp_path / "before.jsonl", "s", [(1, 0), (0, 0), (1, 0), (0, 0)])
    after = beams(tmp_path / "after.jsonl", "s", [(1, 1), (1, 0), (1, 1), (1, 0), (1, 1)])
    words = ["helpful", str(after), "--against", str(before), "--dimensions", "topic"]
    data = json.loads(RUN.invoke(app, [*words, "--json"]).stdout)
    assert [each["form"] for each in data["rates"]] == ["single", "beams"]
    found = {(c["form"], c["dimension"]): c["paired"] for c in data["changes"]}
    assert found.keys() == {(f, d) for f in ("single", "beams") for d in ("topic", "helpful")}
    for dimension in ("topic", "helpful"):
        assert found["beams", dimension]["difference"] == 0.5
        assert found["single", dimension]["difference"] == 0.5
        assert found["beams", dimension]["n"] == 4
        assert found["beams", dimension]["missing"] == 1, "a place that only one side has"
    # signs of four equal differences: two of sixteen arrangements are as far from nothing
    assert found["beams", "helpful"]["p"] == pytest.approx(2 / 16)
    assert found["single", "helpful"]["interval"]["low"] < 0.5
    shown = CliRunner(env={"COLUMNS": "100"}).invoke(app, words).stdout
    assert "+50.00" in shown
    assert "both take conversations as the units" in " ".join(shown.split())
    other = beams(tmp_path / "other.jsonl", "another", [(1, 0)])
    refused = RUN.invoke(app, ["helpful", str(after), "--against", str(other), *words[4:]])
    assert "no scorer and kind of reply in common" in str(refused.exception)
    (tmp_path / "none.jsonl").write_text(other.read_text().replace("topic", "warmth"))
    missing = RUN.invoke(app, [*words[:3], str(tmp_path / "none.jsonl"), *words[4:]])
    assert "none.jsonl rates no reply" in str(missing.exception)


def test_helpful_rates_stand_beside_the_published_ones(tmp_path: Path) -> None:
    """Two replies: both hold on empathy, one on topic, so one of two is helpful."""
    file = tmp_path / "ratings.jsonl"
    held = {"empathy": (1, 1), "strategy": (1, 1), "coherence": (1, 1), "topic": (1, 0)}
    lines = [
        Rating(
            episode=f"e{n}", utterance=1, rater="s", kind="scorer", dimension=name, value=values[n]
        ).to_json()
        for name, values in held.items()
        for n in range(2)
    ]
    file.write_text("\n".join(lines) + "\n")
    shown = CliRunner(env={"COLUMNS": "80"}).invoke(app, ["helpful", str(file)])
    assert shown.exit_code == 0, shown.exception
    topic = next(line for line in shown.stdout.splitlines() if " topic " in line)
    assert "50.00" in topic
    assert topic.split()[-2:] == ["72.44", "74.65"]
    [rates] = json.loads(RUN.invoke(app, ["helpful", str(file), "--json"]).stdout)
    assert rates["rates"]["helpful"]["value"] == 0.5
    gold = file.read_text() + lines[0].replace('"candidate":""', '"candidate":"gold"') + "\n"
    file.write_text(gold)
    for more, counts in (
        ([], {"replies": 2, "gold": 1}),
        (["--leave-out", "gold"], {"replies": 2}),
    ):
        rates = json.loads(RUN.invoke(app, ["helpful", str(file), *more, "--json"]).stdout)
        assert {each["form"]: each["replies"] for each in rates} == counts
    [alone] = json.loads(
        RUN.invoke(app, ["helpful", str(file), "--dimensions", "strategy", "--json"]).stdout
    )
    assert list(alone["rates"]) == ["strategy", "helpful"]
    shown = CliRunner(env={"COLUMNS": "100"}).invoke(app, ["helpful", str(file)])
    gold_rows = [line.split() for line in shown.stdout.splitlines() if " gold " in line]
    assert len(gold_rows) == 5
    assert all(row[-2:] == ["-", "-"] for row in gold_rows)
    other = RUN.invoke(app, ["helpful", str(file), "--published", "FPEMF Table 4a: BJB_FPE"])
    assert "did you mean 'FPEMF Table 4a: BBJ_FPE'" in str(other.exception)
    file.write_text(lines[0].replace("empathy", "other") + "\n")
    assert "rates no reply" in str(RUN.invoke(app, ["helpful", str(file)]).exception)


def test_another_comparison_in_the_same_file_is_left_aside(tmp_path: Path, judges: str) -> None:
    one = write_log(tmp_path / "one", [episode("e1")])
    two = write_log(tmp_path / "two", [episode("e1", [*LINES[:3], "Ok."])])
    more = ["--judge.policy", f"{judges}:judge", "--dimensions", "helpfulness", "--json"]
    for other in (two, one):
        done = RUN.invoke(app, ["judge", str(one), "--against", str(other), *more])
        assert done.exit_code == 0, done.exception
        [rate] = json.loads(done.stdout)["results"]
        assert rate["n"] == 1


def test_the_table_is_of_the_judge_that_was_asked(tmp_path: Path, judges: str) -> None:
    run = write_log(tmp_path / "run", [episode("e1")])
    command = ["judge", str(run), "--rubric", "dialogue", "--dimensions", "safety", "--json"]
    first = ["--judge.policy", f"{judges}:judge", "--rater", "first"]
    RUN.invoke(app, [*command, *first])
    RUN.invoke(app, [*command, "--judge.policy", f"{judges}:says", "--rater", "second"])
    again = json.loads(RUN.invoke(app, [*command, *first]).stdout)
    assert (again["rater"], again["asked"]) == ("first", 0)
    assert (again["results"][0]["n"], again["results"][0]["missing"]) == (1, 0)


def test_self_play_from_the_command_line(tmp_path: Path, judges: str) -> None:
    scenarios = tmp_path / "scenarios.jsonl"
    with scenarios.open("w") as file:
        for number in range(3):
            made = Scenario(id=f"s{number}", problem_type="Job Crisis", situation="It closed.")
            file.write(made.model_dump_json(exclude_none=True) + "\n")
    command = [
        "selfplay", "--scenarios", str(scenarios), "--max-turns", "4", "--out",
        str(tmp_path / "play"), "--policy", "scripted", "--no-counselor.seated",
        "--no-judger.seated", "--a.policy", f"{judges}:says", "--a.options",
        "text=You miss more than the pay.", "--b.policy", f"{judges}:says", "--judge.policy",
        f"{judges}:judge", "--seeds", "3", "--seeds", "4", "--pairwise",
    ]  # fmt: skip
    done = RUN.invoke(app, command)
    assert done.exit_code == 0, (done.output, done.exception)
    assert "3 scenarios, 2 seed(s)" in done.output
    assert "…" not in done.stdout
    page = (tmp_path / "play" / "tables.md").read_text()
    assert "| words, supporter * | 6.00 | 1.00 | +5.00 |" in page
    assert "| safety | 6 | 0 | 0 | 0 | 1.00 |" in page
    result = json.loads(RUN.invoke(app, [*command, "--json"]).stdout)
    assert result["seeds"] == [3, 4]
    assert {each["rate"] for each in result["wins"]} == {1.0}
    assert (tmp_path / "play" / "b" / "seed-4" / "ratings.jsonl").is_file()
