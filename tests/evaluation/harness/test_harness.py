"""The bridge to lm-evaluation-harness, on a task file and a tiny model of our own."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from warmline.core.errors import ConfigError
from warmline.core.published import published_rows
from warmline.evaluation.harness.run import (
    AVERAGE,
    PUBLISHED,
    TASKS,
    AbilityScore,
    average,
    general_ability,
)

from ...policies.tiny_models import save_causal

pytestmark = pytest.mark.skipif(find_spec("lm_eval") is None, reason="lm-eval is not installed")

QUESTIONS = [
    {"question": f"What is {n} and {n}?", "choices": [str(2 * n), str(2 * n + 1)], "answer": 0}
    for n in range(1, 9)
]


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    folder = tmp_path / "tasks"
    folder.mkdir()
    lines = "".join(json.dumps(q) + "\n" for q in QUESTIONS)
    (folder / "sums.jsonl").write_text(lines, "utf-8")
    (folder / "sums.yaml").write_text(
        "task: warmline_sums\n"
        "dataset_path: json\n"
        f"dataset_kwargs: {{data_files: {{test: {folder}/sums.jsonl}}}}\n"
        "test_split: test\n"
        "output_type: multiple_choice\n"
        'doc_to_text: "{{question}}"\n'
        'doc_to_choice: "{{choices}}"\n'
        "doc_to_target: answer\n"
        "metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]\n",
        "utf-8",
    )
    return folder


def test_a_model_is_scored_on_a_task(tmp_path: Path, tasks: Path) -> None:
    model = save_causal(tmp_path / "model")
    out = tmp_path / "out"
    (score,) = general_ability(
        model, tasks=["warmline_sums"], task_folder=tasks, device="cpu", out=out
    )
    assert score.metric == "acc,none"
    assert score.n == len(QUESTIONS)
    assert score.value is not None
    assert (score.value * len(QUESTIONS) / 100) % 1 == 0
    kept = json.loads((out / "harness.json").read_text())
    assert kept["scores"][0]["value"] == score.value
    assert kept["settings"]["tasks"] == ["warmline_sums"]


def test_an_unknown_task_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'gsm8k'") as refused:
        general_ability(tmp_path / "nowhere", tasks=[*TASKS, "gsm8"])
    assert len(refused.value.problems) == 1  # the published tasks are known


def test_published_rows_match_the_tasks() -> None:
    rows = published_rows(PUBLISHED)
    assert all(list(row) == [*TASKS, AVERAGE] for row in rows.values())
    for row in rows.values():
        scores = [AbilityScore(task, "acc", row[task], None, 1) for task in TASKS]
        assert average(scores) == pytest.approx(row[AVERAGE], abs=0.011)  # as the paper rounds


def test_an_average_is_of_all_five_tasks_or_missing() -> None:
    scores = [AbilityScore(task, "acc", 50.0, None, 1) for task in TASKS]
    assert average(scores) == 50.0
    assert average(scores[1:]) is None
    assert average([*scores[1:], AbilityScore("gsm8k", "acc", None, None, None)]) is None
    twice = [AbilityScore("gsm8k", "other", 90.0, None, 1), *scores]
    assert average(twice) is None  # two metrics of one task: which one counts is not known
