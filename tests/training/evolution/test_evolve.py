"""Self-evolution on a tiny model: rounds, gate, tables, and kills at any moment."""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from warmline.agents.roles import Strategy
from warmline.core.claim import claim
from warmline.core.errors import ConfigError, DataError, RunError
from warmline.core.published import systems
from warmline.core.settings import read_settings
from warmline.evaluation.replies.evaluate import evaluate
from warmline.evaluation.replies.settings import EvaluationSettings
from warmline.policies.base import Request
from warmline.policies.scripted import ScriptedPolicy
from warmline.training.evolution.evaluation import round_evaluation
from warmline.training.evolution.evolve import STATE_NAME, checkpoint_of, decide, evolve, read_state
from warmline.training.evolution.settings import EvolveSettings
from warmline.training.evolution.tables import page, published_names, tables
from warmline.training.loop.checkpoint import read_checkpoint
from warmline.training.preferences.build import iter_pairs
from warmline.training.rows.build import build_rows
from warmline.training.sft.train import train_sft

from ...policies.tiny_models import save_causal
from ...warm import Started
from ..building import CHATML, TEMPLATE, episode, write_log
from ..building import settings as sft_settings
from ..preferences.answering import analysis, own
from ..preferences.test_build import TALK


def talking(request: Request) -> str:
    """Replies that differ by context and seed."""
    if own(request):
        return f"That is bad, number {request.seed % 7}."
    return analysis(f"Your rent weighs on you in {request.seed % 5} ways.")


def policy() -> ScriptedPolicy:
    """For the command line, as an import string."""
    return ScriptedPolicy(talking)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, a template and conversations."""
    folder = tmp_path_factory.mktemp("place")
    save_causal(folder / "model", chat_template=CHATML, layers=1)
    (folder / "short.jinja").write_text(TEMPLATE, "utf-8")
    write_log(folder / "log", [episode(f"talk{n}", TALK) for n in range(5)])
    return folder


def given(place: Path, out: Path, **changed: Any) -> EvolveSettings:
    usual: dict[str, Any] = {
        "model": str(place / "model"),
        "data": (str(place / "log"),),
        "template": str(place / "short.jinja"),
        "out": str(out),
        "dtype": "float32",
        "device": "cpu",
        "learning_rate": 1e-2,
        "max_steps": 2,
        "accumulation": 1,
        "held_out_share": 0.2,
        "validation_share": 0.25,
        "gate": False,
        "evaluate": False,
    }
    return EvolveSettings(**(usual | changed))


def content(out: Path) -> dict[str, Any]:
    """What two equal evolutions share: states, tables, pairs, calls in any order, weights."""
    from safetensors.torch import load_file

    found: dict[str, Any] = {}
    for file in sorted(out.rglob("*")):
        name = file.relative_to(out).as_posix()
        if file.name in ("state.json", "table.json", "pairs.jsonl", "summary.json"):
            found[name] = file.read_text("utf-8")
        if file.name == "calls.jsonl":
            found[name] = sorted(file.read_text("utf-8").splitlines())
        if file.name == "adapter_model.safetensors" and "trainer" not in name:
            found[name] = {k: v.tolist() for k, v in load_file(file).items()}
    return found


@pytest.fixture(scope="module")
def whole(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "out"
    evolve(given(place, out), supporter=policy())
    return out


def test_two_rounds(whole: Path, place: Path) -> None:
    states = [read_state(whole / f"round-{n}" / STATE_NAME) for n in range(3)]
    assert [s.parent for s in states] == [
        str(place / "model"), str(place / "model"), "round-1/checkpoint",
    ]  # fmt: skip
    assert [s.promoted for s in states] == [True] * 3
    assert states[0].done == ("held-out", "evaluation")
    assert states[2].done[:4] == ("replies", "reflections", "pairs", "training")
    for state in states[1:]:
        assert state.measures["contexts"] == 8
        assert state.measures["chosen_refined"] == state.measures["pairs"] == 8
        assert state.measures["reward_accuracy"] is not None
        assert 0 <= state.measures["relevance_rejected"] < state.measures["relevance_chosen"]
    nll = [s.measures["held_out_nll"] for s in states]
    assert len(set(nll)) == 3
    assert checkpoint_of(whole) == whole / "round-2" / "checkpoint"
    record = json.loads((whole / "round-2" / "checkpoint" / "checkpoint.json").read_text())
    assert record["parent"] == "../../round-1/checkpoint"


def test_held_out_conversations_teach_nothing(whole: Path) -> None:
    held = {json.loads(x)["id"] for x in (whole / "held-out/episodes.jsonl").open()}
    assert len(held) == 1
    for number in (1, 2):
        learned = {p.id.partition("#")[0] for p in iter_pairs(whole / f"round-{number}" / "pairs")}
        assert len(learned) == 4
        assert not learned & held


def test_each_round_has_its_own_seeds(whole: Path) -> None:
    seeds = [
        {json.loads(x)["seed"] for x in (whole / f"round-{n}/replies/calls.jsonl").open()}
        for n in (1, 2)
    ]
    assert not seeds[0] & seeds[1]


def test_the_same_call_again_does_nothing(whole: Path, place: Path) -> None:
    before = content(whole)
    asked = policy()
    result = evolve(given(place, whole), supporter=asked)
    assert not asked.requests
    assert result.kept == result.folders[1] == whole / "round-2" / "checkpoint"
    assert [made.kind for made in result.checkpoints] == ["dpo", "dpo"]
    assert result.metrics["reward_accuracy"] == result.rounds[2].measures["reward_accuracy"]
    assert content(whole) == before
    with pytest.raises(RunError, match=r"evolve.beta: 0.1 -> 0.5"):
        evolve(given(place, whole, beta=0.5), supporter=asked)
    with pytest.raises(RunError, match=r"evolve.data: "):
        evolve(given(place, whole, data=(str(place / "log"), str(place / "log"))), supporter=asked)


def test_a_round_that_fails_the_gate_is_rolled_back(place: Path, tmp_path: Path) -> None:
    settings = given(place, tmp_path, gate=True, gate_accuracy=1.0, gate_nll=0.0, rounds=2)
    settings = settings.model_copy(update={"learning_rate": 1.0, "gamma": 0.0})
    result = evolve(settings, supporter=policy())
    states = result.rounds
    assert [s.promoted for s in states] == [True, False, False]
    assert states[2].parent == states[1].parent == str(place / "model")
    assert "held-out NLL" in states[1].why
    assert checkpoint_of(tmp_path) is result.kept is None
    assert len(result.checkpoints) == 2
    assert "rolled back" in (tmp_path / "table.md").read_text()


def test_the_gate(place: Path, tmp_path: Path) -> None:
    """At most 5 per cent above 2.0 is 2.1."""
    settings = given(place, tmp_path, gate=True)
    before = {"held_out_nll": 2.0}
    for nll, accuracy, expected in (
        (2.1, 0.5, True), (2.11, 0.9, False), (1.0, 0.49, False), (None, None, True),
        (1.0, None, True), (None, 0.2, False),
    ):  # fmt: skip
        measures = {"held_out_nll": nll, "reward_accuracy": accuracy}
        assert decide(1, measures, before, settings)[0] is expected
    assert decide(0, {}, {}, settings)[0]
    free = settings.model_copy(update={"gate": False})
    assert decide(1, {"held_out_nll": 99.0}, before, free) == (True, "no gate")
    strict = settings.model_copy(update={"gate_nll": 0.0})
    assert not decide(1, {"held_out_nll": 2.1}, before, strict)[0]


def test_rounds_can_have_data_of_their_own(place: Path, tmp_path: Path) -> None:
    settings = given(place, tmp_path, split_rounds=True, variant="gold", validation_share=0.0)
    evolve(settings, supporter=policy())
    first, second = (
        {p.id.partition("#")[0] for p in iter_pairs(tmp_path / f"round-{n}" / "pairs")}
        for n in (1, 2)
    )
    assert len(first) == len(second) == 2
    assert not first & second


def test_no_pair_is_an_error_with_the_rule_that_dropped_them(place: Path, tmp_path: Path) -> None:
    silent = ScriptedPolicy(lambda request: "N/A")
    with pytest.raises(ConfigError, match="round 1 gives no pair"):
        evolve(given(place, tmp_path), supporter=silent)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"pairs": ("a",), "data": ()}, "a round makes its own"),
        ({"held_out_share": 0.0}, "nothing is held out"),
        ({"evaluation": "'"}, "not a command line"),
        ({"evaluation": "--limt 3"}, "(?i)no such option.*--limt"),
        ({"evaluation": {"limt": 3}}, "unknown field 'limt'; did you mean 'limit'"),
        ({"evaluation": {"out": "x"}}, "a round has its own folder"),
        ({"per": "conversation"}, "a pair answers one turn"),
    ],
)
def test_settings_that_do_not_fit_are_named(
    changed: dict[str, Any], message: str, place: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        given(place, tmp_path, **changed)


def test_the_evaluation_is_a_table_or_the_options_of_the_command() -> None:
    """What earlier versions took as one text is read by the same parser as the command line."""
    own = {"model": "m", "options": {"device": "cpu"}, "published": ["a"], "seed": 3}
    text = round_evaluation(
        own, "--limit 6 --max-tokens 48 --metrics meteor --options slots=2 --published b --json"
    )
    table = {"limit": 6, "max_tokens": 48, "metrics": ["meteor"], "options": {"slots": 2}}
    assert round_evaluation(own, table | {"published": ["b"]}) == text
    assert (text.limit, text.max_tokens, text.metrics, text.seed) == (6, 48, ("meteor",), 3)
    assert text.options == {"device": "cpu", "slots": 2}
    assert text.published == ("a", "b")
    assert round_evaluation(own, "").limit is None


def test_fixed_fields_of_earlier_settings_are_accepted(place: Path, tmp_path: Path) -> None:
    """Earlier versions had `runs`, `pairs`, `per` and `validation` here, at one value each."""
    earlier = {"runs": 1, "pairs": [], "per": "turn", "validation": []}
    settings = given(place, tmp_path, **earlier)
    assert settings == given(place, tmp_path)
    later = {"rounds", "out", "concurrency", "save_minutes", "tensorboard", "device"}
    stored = settings.model_dump(mode="json") | earlier
    claim(tmp_path, {"evolve": {k: v for k, v in stored.items() if k not in later}})
    evolve(given(place, tmp_path, rounds=1), supporter=policy())


def test_several_seeds_are_told_with_their_deviations(place: Path, tmp_path: Path) -> None:
    """Each seed begins with its own M0, and lies in a folder of its own; the tables are of all."""
    for seed in (3, 4):
        folder = tmp_path / "m0" / f"seed{seed}"
        made = sft_settings(
            place / "model", place / "learned", folder, max_steps=1, seed=seed,
            template=str(place / "short.jinja"),
        )  # fmt: skip
        write_log(place / "learned", [episode("other", TALK[:2])])
        train_sft(made)
    settings = given(
        place, tmp_path / "out", model=str(tmp_path / "m0"), seed=3, runs=2, rounds=1,
        evaluate=True, evaluation="--limit 1 --resamples 0 --max-tokens 4",
        held_out=(str(place / "log"),),
    )  # fmt: skip
    found = evolve(settings, supporter=policy())
    values = []
    for seed in (3, 4):
        own = tmp_path / "out" / f"seed{seed}"
        assert read_checkpoint(own / "round-1/checkpoint").parent == f"../../../../m0/seed{seed}"
        values.append(json.loads((own / "table.json").read_text())["models"][1]["measures"])
    data = json.loads((tmp_path / "out/table.json").read_text("utf-8"))
    assert data["seeds"] == [3, 4]
    for name in ("held_out_nll", "bleu-2"):
        both = [each[name] for each in values]
        told = data["models"][1]["measures"][name]
        assert told["mean"] == pytest.approx(sum(both) / 2)
        assert told["deviation"] == pytest.approx(abs(both[0] - both[1]) / 2**0.5)
        assert found.metrics[name] == told["mean"]
    assert values[0]["held_out_nll"] != values[1]["held_out_nll"]
    text = (tmp_path / "out/table.md").read_text("utf-8")
    assert "over the seeds 3, 4" in text
    assert "promoted under 2 of 2 seeds" in text
    nll = data["models"][1]["measures"]["held_out_nll"]
    assert f"{nll['mean']:.4g} ± {nll['deviation']:.2g}" in text
    assert evolve(settings, supporter=policy()).metrics == found.metrics
    with pytest.raises(ConfigError, match="has no M0 of seed 5; it has seed3, seed4"):
        evolve(settings.model_copy(update={"runs": 3}), supporter=policy())


def test_a_folder_without_an_evolution(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no evolution there"):
        checkpoint_of(tmp_path)


# Kills


def evolve_settings(file: Path) -> None:
    """What the process that is killed runs."""
    evolve(read_settings(EvolveSettings, file), supporter=policy())


@pytest.mark.timeout(600)
def test_killed_at_random_moments_it_ends_up_the_same(
    place: Path, whole: Path, tmp_path: Path
) -> None:
    """SIGKILL four times, each in another stage as far as its journal tells, then to the end."""
    import tomli_w

    settings = given(place, tmp_path / "out", save_minutes=1e-9)
    file = tmp_path / "settings.toml"
    plain = settings.model_dump(mode="json", exclude_defaults=True)
    file.write_text(tomli_w.dumps({k: v for k, v in plain.items() if v is not None}), "utf-8")
    out = tmp_path / "out"
    marks = [
        out / "round-1" / "replies" / "calls.jsonl",
        out / "round-1" / "checkpoint" / "reference.jsonl",
        out / "round-2" / "pairs" / "pairs.jsonl",
        out / "round-2" / "checkpoint" / "trainer",
    ]
    draw = random.Random(0)
    kills = 0
    for mark in marks:
        process = Started(evolve_settings, file)
        while process.poll() is None and not mark.exists():
            time.sleep(0.005)
        time.sleep(draw.random() * 0.2)
        kills += process.kill() == -signal.SIGKILL
    assert kills >= 3
    evolve(settings, supporter=policy())
    expected, found = content(whole), content(out)
    assert found.keys() == expected.keys()
    for name in expected:
        if name.endswith(".safetensors"):
            for layer, values in expected[name].items():
                assert found[name][layer] == [pytest.approx(row, abs=1e-5) for row in values]
        elif name.endswith(("calls.jsonl", "pairs.jsonl", "summary.json")):
            assert found[name] == expected[name]
    assert (out / "table.md").is_file()


# Tables


def scores(number: int, **figures: float) -> list[dict[str, Any]]:
    return [
        {
            "scores": [
                {"metric": name, "value": value, "convention": "ours"}
                for name, value in figures.items()
            ],
            "published": {
                f"Self-Evolution Table 2: LLaMA-3-8B M{number}": {"bleu-2": 18.0 + number},
                "FPEMF Table 3: BBJ": {"bleu-2": 7.02},
            },
        }
    ]


def test_the_tables_have_ours_and_theirs() -> None:
    states = [
        {
            "round": n,
            "promoted": True,
            "why": "",
            "measures": {"bleu-2": 2.0 * (n + 1), "meteor-exact-stem": 5.0},
        }
        for n in range(3)
    ]
    data = tables(states, [scores(n, **{"bleu-2": 2.0 * (n + 1)}) for n in range(3)])
    text = page(data)
    assert "| ours M1 | 4 (+100.00 %) |" in text
    assert "| ours M2 | 6 (+50.00 %) |" in text
    assert "| published LLaMA-3-8B M1 | 19 (+5.56 %) |" in text
    assert "FPEMF" not in text
    assert "| ours M2 | 6 | - | - | 5 |" in text
    assert "| bleu-2 | ours |" in text


def test_published_systems_by_round() -> None:
    assert published_names(0, "refined")[0] == "Self-Evolution Table 2: LLaMA-3-8B M0"
    assert published_names(1, "gold")[-1] == "Self-Evolution Table 5: HM,P M1"
    assert published_names(2, "stronger")[-1] == "Self-Evolution Table 5: HL,P M2"
    assert published_names(3, "refined") == []


def test_every_published_system_exists() -> None:
    """The names are what `warmline evaluate` is asked for, which refuses unknown ones."""
    known = systems("reference")
    for number in range(3):
        for variant in ("gold", "stronger", "refined"):
            for name in published_names(number, variant):
                assert name in known


# What the model is told of strategies


def labels_in(texts: list[str]) -> set[str]:
    return {s.value for s in Strategy if any(s.value in text for text in texts)}


def roomy_model(place: Path) -> str:
    """The tiny model with room for whole system prompts."""
    folder = place / "roomy"
    if not folder.is_dir():
        shutil.copytree(place / "model", folder)
        for name, key in (
            ("config.json", "max_position_embeddings"), ("tokenizer_config.json", "model_max_length"),
        ):  # fmt: skip
            held = json.loads((folder / name).read_text("utf-8"))
            (folder / name).write_text(json.dumps(held | {key: 4096}), "utf-8")
    return str(folder)


def prompts_of_an_evolution(
    place: Path, out: Path, monkeypatch: pytest.MonkeyPatch, **changed: Any
) -> tuple[dict[str, list[Any]], list[EvaluationSettings]]:
    """The prompts of every stage of one round, and the settings of its evaluations."""
    seen: dict[str, list[Any]] = {}
    evaluated: list[EvaluationSettings] = []

    def rows(episodes: Any, settings: Any, advice: Any) -> Any:
        built = build_rows(episodes, settings, advice)
        seen.setdefault("held-out", []).extend(row.prompt for row in built.rows)
        return built

    def evaluation(corpus: Any, settings: EvaluationSettings) -> Any:
        evaluated.append(settings)
        answering = ScriptedPolicy(lambda request: "I see.")
        found = evaluate(corpus, settings, policy=answering)
        seen.setdefault("evaluation", []).extend(r.messages for r in answering.requests)
        return found

    monkeypatch.setattr("warmline.training.evolution.stages.build_rows", rows)
    monkeypatch.setattr("warmline.training.evolution.stages.evaluate", evaluation)
    asked = policy()
    settings = given(place, out, rounds=1, evaluate=True, template=None, max_steps=1, **changed)
    evolve(settings.model_copy(update={"model": roomy_model(place)}), supporter=asked)
    seen["replies"] = [r.messages for r in asked.requests if own(r)]
    seen["reflections"] = [r.messages for r in asked.requests if not own(r)]
    pairs = list(iter_pairs(out / "round-1" / "pairs"))
    seen["training"] = [[m.message() for m in pair.prompt] for pair in pairs]
    return seen, evaluated


@pytest.mark.parametrize("condition", ["hidden", "listed"])
def test_no_prompt_of_any_stage_names_the_label_of_a_reference_reply(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, condition: str
) -> None:
    seen, evaluated = prompts_of_an_evolution(
        place, tmp_path / "out", monkeypatch, strategy=condition
    )
    assert set(seen) == {"held-out", "evaluation", "replies", "reflections", "training"}
    listed = {s.value for s in Strategy} if condition == "listed" else set()
    for stage, prompts in seen.items():
        assert prompts, stage
        for prompt in prompts:
            assert not labels_in([m.content for m in prompt if m.role != "system"]), stage
            if stage != "reflections":
                assert labels_in([m.content for m in prompt if m.role == "system"]) == listed, stage
    # an answer to a context is asked for, learned and measured under one prompt
    assert {m[0].content for m in seen["evaluation"]} == {m[0].content for m in seen["training"]}
    assert [(s.temperature, s.top_p, s.top_k, s.repetition_penalty) for s in evaluated] == [
        (0.9, 0.8, 50, 1.2)
    ] * 2


def test_the_oracle_shows_labels_and_says_so_but_not_to_the_reflection(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, _ = prompts_of_an_evolution(place, tmp_path / "out", monkeypatch, strategy="oracle")
    for stage in ("held-out", "evaluation", "replies", "training"):
        shown = [labels_in([p[-1].content]) for p in seen[stage]]
        assert all(len(labels) == 1 for labels in shown), stage
    notes = "Note, not from the person"
    assert any(notes in prompt[-1].content for prompt in seen["replies"])
    assert not [p for p in seen["reflections"] if notes in p[-1].content]
    assert "**An upper bound**" in (tmp_path / "out" / "table.md").read_text("utf-8")
