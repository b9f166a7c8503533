"""`warmline evaluate` from the outside: files in, table and files out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from warmline import ScriptedPolicy
from warmline.agents.roles import Strategy
from warmline.cli import app
from warmline.core.errors import ConfigError, DataError, EngineTimeout, RunError
from warmline.evaluation import EvaluationSettings, evaluate, evaluate_pairs

from ..recorded import recorded

runner = CliRunner(env={"COLUMNS": "120"})


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    lines = [  # the last answer differs, so that figures of dialogues do
        recorded(name).to_json().replace("bake at home", f"bake at home{' again' * n}") + "\n"
        for n, name in enumerate(("bakery", "ovens", "smell"))
    ]
    (folder / "episodes.jsonl").write_text("".join(lines), "utf-8")
    return folder


def run(*words: object) -> Any:
    return runner.invoke(app, ["evaluate", *map(str, words)])


def scores(result: Any, setting: int = 0) -> dict[str, dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return {row["metric"]: row for row in json.loads(result.stdout)[setting]["scores"]}


def test_both_settings_into_a_table_and_a_folder(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "eval"
    found = run(corpus, "--policy", "scripted", "--setting", "both", "--out", out)
    assert found.exit_code == 0, found.output
    assert (
        "reference context, convention esconv, strategy hidden: 6 replies, 3 dialogues"
        in found.output
    )
    assert (
        "generated context, convention esconv, strategy hidden: 6 replies, 3 dialogues"
        in found.output
    )
    assert "corpus BLEU, NLTK smoothing 3; lower-cased NLTK words" in found.output
    assert "published, FPEMF Table 3: BBJ" in found.output
    assert "18.78" in found.output
    assert len((out / "replies.jsonl").read_text().splitlines()) == 12
    assert [r["setting"] for r in json.loads((out / "scores.json").read_text())] == [
        "reference",
        "generated",
    ]
    page = (out / "tables.md").read_text()
    assert (
        "## Generated context, convention esconv, strategy hidden: 6 replies, 3 dialogues" in page
    )
    assert "* c: corpus BLEU" in page
    assert "| bleu-1 % |" in page
    again = run(corpus, "--policy", "scripted", "--setting", "both", "--out", out)
    assert again.exit_code == 0
    assert len((out / "replies.jsonl").read_text().splitlines()) == 12


def test_json_holds_values_conventions_counts_and_intervals(corpus: Path) -> None:
    found = scores(run(corpus, "--policy", "scripted", "--json"))
    bleu = found["bleu-1"]
    assert bleu["convention"].startswith("corpus BLEU")
    assert (bleu["n"], bleu["missing"], bleu["unit"]) == (6, 0, "%")
    assert bleu["interval"]["groups"] == 3
    assert found["distinct-1"]["interval"] is None
    assert "strategy-accuracy" not in found


def test_a_counselor_brings_the_strategy_scores(corpus: Path) -> None:
    found = run(corpus, "--policy", "scripted", "--counselor.policy", "scripted", "--json")
    assert scores(found)["strategy-accuracy"]["n"] == 6
    table = json.loads(found.stdout)[0]["strategies"]
    assert sum(sum(row.values()) for row in table.values()) == 6


@pytest.mark.parametrize(
    ("option", "value", "changed"),
    [
        ("--limit", "1", lambda s: s["length"]["n"] == 2),
        ("--preset", "sacrebleu", lambda s: "chrf" in s),
        ("--resamples", "0", lambda s: s["bleu-1"]["interval"] is None),
        ("--interval", "bca", lambda s: s["bleu-1"]["interval"]["method"] == "bca"),
        (
            "--metrics",
            "tests.evaluation.metrics.test_overlap:Exclamations",
            lambda s: "exclamations" in s,
        ),
    ],
)
def test_options_change_what_is_measured(
    corpus: Path, option: str, value: str, changed: Any
) -> None:
    assert not changed(scores(run(corpus, "--policy", "scripted", "--json")))
    assert changed(scores(run(corpus, "--policy", "scripted", "--json", option, value)))


def test_other_published_systems_on_request(corpus: Path) -> None:
    found = run(corpus, "--policy", "scripted", "--published", "FPEMF Table 3: PAL", "--json")
    assert list(json.loads(found.stdout)[0]["published"]) == ["FPEMF Table 3: PAL"]
    both = ("--setting", "both", "--published", "SweetieChat Table 7, ServeForEmo: both")
    found = run(corpus, "--policy", "scripted", *both, "--json")
    reference, generated = json.loads(found.stdout)
    assert reference["published"] == {}
    assert generated["published"]["SweetieChat Table 7, ServeForEmo: both"]["meteor"] == 20.64


def test_published_systems_beside_given_pairs(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text('{"hypothesis": "a", "reference": "b"}\n')
    later, earlier = "SweetieChat Table 7, ServeForEmo: both", "FPEMF Table 3: PAL"
    found = run("--pairs", file, "--published", later, "--json")
    assert list(json.loads(found.stdout)[0]["published"]) == [later]
    mixed = run("--pairs", file, "--published", later, "--published", earlier)
    assert "of two settings" in str(mixed.exception)


def test_the_report_takes_the_tables_over(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "eval"
    advised = ("--counselor.policy", "scripted")
    assert run(corpus, "--policy", "scripted", "--out", out, *advised).exit_code == 0
    assert "rows the corpus's" in (out / "tables.md").read_text()
    made = runner.invoke(app, ["report", str(corpus), "--appendix", str(out)])
    assert made.exit_code == 0, made.exception
    html = (corpus / "report.html").read_text("utf-8")
    assert "corpus BLEU, NLTK smoothing 3" in html


def test_the_table_loses_nothing_on_eighty_columns(corpus: Path) -> None:
    words = ["evaluate", str(corpus), "--policy", "scripted", "--counselor.policy", "scripted"]
    found = CliRunner(env={"COLUMNS": "80"}).invoke(app, words)
    assert found.exit_code == 0, found.output
    table = found.output.partition("a: ")[0]
    assert "…" not in table
    row = next(line for line in table.splitlines() if line.startswith("bleu-1 %"))
    assert row.split()[-5:] == ["6", "0", "c", "18.78", "21.64"]


def test_given_pairs(tmp_path: Path) -> None:
    """Two pairs alike in every word, one missing: full marks over two, one counted missing."""
    file = tmp_path / "pairs.jsonl"
    rows = [
        {"hypothesis": "I hear you.", "reference": "I hear you.", "dialogue": "a"},
        {"hypothesis": None, "reference": "Go on.", "dialogue": "a"},
        {"hypothesis": "What then?", "reference": "What then?", "dialogue": "b"},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = run("--pairs", file, "--json", "--out", tmp_path / "eval")
    f1 = scores(found)["f1"]
    assert (f1["value"], f1["n"], f1["missing"]) == (100, 2, 1)
    assert f1["interval"] is None  # full marks in both dialogues say nothing of a third
    assert json.loads((tmp_path / "eval/scores.json").read_text())[0]["setting"] == "pairs"
    assert "given pairs, convention esconv" in run("--pairs", file).output


def test_wrong_input_is_named(corpus: Path, tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text(
        '{"hypothesis": "a", "reference": "b"}\n{"hypotheses": "a", "reference": "b"}\n'
    )
    failures = [
        (run(), ConfigError, "nothing to evaluate is named"),
        (
            run(corpus, "--pairs", file),
            ConfigError,
            "one thing is evaluated: a corpus, or --pairs FILE",
        ),
        (run("--pairs", file), DataError, "line 2: unknown field 'hypotheses'; did you mean"),
        (run("--pairs", file, "--limit", "3"), ConfigError, "limit would change nothing"),
        (run("--pairs", tmp_path / "no"), DataError, "no such file"),
        (run(corpus, "--preset", "escon", "--policy", "scripted"), ConfigError, "mean 'esconv'"),
        (run(corpus, "--setting", "humn", "--policy", "scripted"), ConfigError, "setting"),
        (run(corpus, "--wordnet", tmp_path, "--policy", "scripted"), ConfigError, "no WordNet"),
        (run(corpus, "--perplexity", "--policy", "scripted"), ConfigError, "cannot score"),
    ]
    for result, kind, message in failures:
        assert isinstance(result.exception, kind), result.output
        assert message in str(result.exception)


def test_a_metric_that_cannot_work_is_reported_before_any_reply_is_asked_for(
    tmp_path: Path,
) -> None:
    policy = ScriptedPolicy(supporter=["You miss the smell."])
    with pytest.raises(ConfigError, match="no tokenizer at"):
        evaluate([recorded()], policy=policy, preset="sweetiechat", tokenizer=str(tmp_path / "no"))
    assert policy.requests == []


def test_from_python_with_policy_objects() -> None:
    policy = ScriptedPolicy(supporter=["You miss the smell."])
    (result,) = evaluate([recorded()], policy=policy, resamples=0)
    by_name = {score.metric: score for score in result.scores}
    assert by_name["length"].value == 5
    (advised,) = evaluate(
        [recorded()], policy=policy, counselor=ScriptedPolicy(lambda _: "Question")
    )
    by_name = {score.metric: score for score in advised.scores}
    assert by_name["strategy-accuracy"].value == 50
    with pytest.raises(ConfigError, match="did you mean 'preset'"):
        evaluate([recorded()], policy=policy, presets="esconv")


def test_no_text_at_all_is_an_error_that_names_the_first_failure() -> None:
    def fails(request: Any) -> str:
        raise EngineTimeout("no answer in 5 s")

    with pytest.raises(RunError, match="EngineTimeout: no answer in 5 s"):
        evaluate([recorded()], policy=ScriptedPolicy(fails))


def test_perplexity_stands_in_the_reference_table_only() -> None:
    from .test_perplexity import Letters

    reference, generated = evaluate(
        [recorded()], policy=Letters(0.5), setting="both", perplexity=True
    )
    assert "perplexity" in {score.metric for score in reference.scores}
    assert "perplexity" not in {score.metric for score in generated.scores}


def test_the_function_takes_a_settings_record(corpus: Path, tmp_path: Path) -> None:
    """It gives and writes what the command does."""
    settings = EvaluationSettings(policy="scripted", limit=2, out=str(tmp_path / "mine"))
    seen: list[str] = []
    [result] = evaluate(corpus, settings, observe=lambda reply: seen.append(reply.episode))
    assert (result.replies, len(seen)) == (4, 4)
    command = run(corpus, "--policy", "scripted", "--limit", 2, "--out", tmp_path / "theirs")
    assert command.exit_code == 0, command.output
    for name in ("scores.json", "tables.md"):
        assert (tmp_path / "mine" / name).read_text() == (tmp_path / "theirs" / name).read_text()
    with pytest.raises(ConfigError, match="not both: preset"):
        evaluate(corpus, settings, preset="sacrebleu")


def test_pairs_are_scored_and_written_by_the_function(tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('{"hypothesis": "I hear you.", "reference": "I hear you."}\n')
    result = evaluate_pairs(pairs, out=tmp_path / "out")
    assert {s.metric: s.value for s in result.scores}["bleu-1"] == pytest.approx(100)
    assert (tmp_path / "out" / "tables.md").is_file()


# What the prompt tells of strategies


def test_the_oracle_is_an_upper_bound_wherever_its_numbers_stand(
    corpus: Path, tmp_path: Path
) -> None:
    asked = ScriptedPolicy(lambda request: "I see.")
    out = tmp_path / "oracle"
    evaluate(corpus, policy=asked, strategy="oracle", out=str(out))
    assert "your next answer should be Question" in asked.requests[0].messages[-1].content
    assert "strategy oracle (an upper bound" in (out / "tables.md").read_text("utf-8")
    (result,) = json.loads((out / "scores.json").read_text("utf-8"))
    assert result["condition"] == "oracle"
    assert "strategy-accuracy" not in {score["metric"] for score in result["scores"]}
    found = run(corpus, "--policy", "scripted", "--strategy", "oracle")
    assert "an upper bound" in found.output


def test_a_model_that_chooses_is_measured_by_its_choice(corpus: Path, tmp_path: Path) -> None:
    policy = ScriptedPolicy(lambda request: "[Question] What happened?")
    out = tmp_path / "self"
    (result,) = evaluate(corpus, policy=policy, strategy="self", out=str(out))
    assert "in square brackets" in policy.requests[0].messages[0].content
    rows = [json.loads(line) for line in (out / "replies.jsonl").open(encoding="utf-8")]
    assert {(r["text"], r["strategy"], r["strategy_by"]) for r in rows} == {
        ("What happened?", "Question", "model")
    }
    assert "strategy-accuracy" in {score.metric for score in result.scores}


def test_listed_names_all_strategies_and_hidden_none(corpus: Path) -> None:
    shown = {}
    for condition in ("listed", "hidden"):
        policy = ScriptedPolicy(lambda request: "I see.")
        evaluate(corpus, policy=policy, strategy=condition)
        shown[condition] = {s.value in policy.requests[0].messages[0].content for s in Strategy}
    assert shown == {"listed": {True}, "hidden": {False}}


def test_conditions_that_need_or_refuse_a_counselor(corpus: Path) -> None:
    with pytest.raises(ConfigError, match="'advised' needs a counselor"):
        evaluate(corpus, policy="scripted", strategy="advised")
    with pytest.raises(ConfigError, match="'listed' leaves the counselor unasked"):
        evaluate(corpus, policy="scripted", counselor="scripted", strategy="listed")
    with pytest.raises(ConfigError, match="measure it under listed"):
        evaluate(corpus, policy="scripted", strategy="self", perplexity=True)
