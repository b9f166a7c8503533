"""Checkpoints record what they have seen, back along their lineage, and evaluations say so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from warmline.core.errors import ConfigError
from warmline.core.tasks import run_sync
from warmline.environments.corpus.seen import Seen, digests_of, read_seen, seen_of
from warmline.environments.corpus.splits import held_out
from warmline.evaluation.judging.judge_run import judge_run
from warmline.evaluation.judging.settings import JudgeSettings
from warmline.evaluation.replies.evaluate import evaluate
from warmline.evaluation.replies.places import caveats_of
from warmline.policies.scripted import ScriptedPolicy
from warmline.training.dpo.settings import DpoSettings
from warmline.training.dpo.train import train_dpo
from warmline.training.evolution.evolve import evolve
from warmline.training.evolution.settings import EvolveSettings
from warmline.training.loop.checkpoint import read_checkpoint
from warmline.training.preferences.pairs import preference_pairs
from warmline.training.preferences.settings import PairSettings
from warmline.training.sft.train import train_sft

from ...policies.tiny_models import save_causal
from ..building import CHATML, TEMPLATE, settings, varied, write_log
from ..evolution.test_evolve import policy


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, a template, and thirty different dialogues in three corpora."""
    folder = tmp_path_factory.mktemp("place")
    save_causal(folder / "model", chat_template=CHATML, layers=1)
    (folder / "short.jinja").write_text(TEMPLATE, "utf-8")
    talks = varied(30)
    write_log(folder / "one", talks[:10])
    write_log(folder / "two", talks[10:20])
    write_log(folder / "three", talks[20:])
    write_log(folder / "mixed", talks[5:20])
    train_sft(settings(folder / "model", folder / "one", folder / "m0", max_steps=1, seed=0))
    return folder


def dpo(place: Path, out: Path, **changed: Any) -> DpoSettings:
    given: dict[str, Any] = {
        "model": str(place / "m0"), "data": (str(place / "two"),), "out": str(out),
        "template": str(place / "short.jinja"), "dtype": "float32", "device": "cpu",
        "max_steps": 1, "greeting_last": 0,
    }  # fmt: skip
    return DpoSettings(**(given | changed))


def test_training_and_validation_are_recorded(place: Path) -> None:
    learned, held = held_out(varied(10), 0.1, 0)
    assert len(held) == 1
    assert read_seen(place / "m0") == seen_of(learned, held)
    assert read_checkpoint(place / "m0").seen == {"train": 9, "validation": 1}
    assert "| train | 9 |" in (place / "m0/README.md").read_text("utf-8")


def test_the_lineage_is_in_each_record(place: Path, tmp_path: Path) -> None:
    """M⁰'s dialogues are M¹'s too; so are those of a merged model, and of pairs made before."""
    train_dpo(dpo(place, tmp_path / "m1"), supporter=policy())
    seen = read_seen(tmp_path / "m1")
    assert seen is not None
    before = read_seen(place / "m0")
    assert before is not None
    assert seen == before | Seen(train=digests_of(varied(20)[10:]))
    alone = preference_pairs(
        PairSettings(
            model=str(place / "m0"), data=(str(place / "two"),), out=str(tmp_path / "made"),
            template=str(place / "short.jinja"), greeting_last=0,
        ),
        supporter=policy(),
    )  # fmt: skip
    assert alone[0]
    again = dpo(place, tmp_path / "m1b", data=(), pairs=(str(tmp_path / "made/pairs"),), merge=True)
    train_dpo(again)
    assert read_seen(tmp_path / "m1b") == seen
    assert read_seen(tmp_path / "m1b/merged") == seen


def test_pairs_without_a_record_make_the_checkpoint_unknown(place: Path, tmp_path: Path) -> None:
    train_dpo(dpo(place, tmp_path / "m1"), supporter=policy())
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "pairs.jsonl").write_bytes((tmp_path / "m1/pairs/pairs.jsonl").read_bytes())
    train_dpo(dpo(place, tmp_path / "m2", data=(), pairs=(str(bare),)))
    seen = read_seen(tmp_path / "m2")
    assert seen is not None
    assert seen.unknown == {"bare"}


def test_evaluating_on_them_is_flagged_in_every_table(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "eval"
    how: dict[str, Any] = {
        "policy": "transformers", "model": str(place / "m0"), "max_tokens": 4, "resamples": 0,
        "template": str(place / "short.jinja"), "options": {"device": "cpu"},
    }  # fmt: skip
    [result] = evaluate(str(place / "mixed"), out=str(out), **how)
    told = result.warnings()
    assert len(told) == 1
    assert told[0].startswith("NOT HELD OUT: supporter: 5 of 15 dialogues were seen before (")
    assert "NOT HELD OUT: supporter: 5 of 15" in (out / "tables.md").read_text("utf-8")
    stored = json.loads((out / "scores.json").read_text("utf-8"))[0]["seen"]["supporter"]
    assert stored["train"] + stored["validation"] == 5
    assert caveats_of(out) == (f"eval: {told[0]}",)
    judged = run_sync(
        judge_run(
            out,
            JudgeSettings(corpus=str(place / "mixed"), limit=1),
            policy=ScriptedPolicy(['{"explanation": "so", "score": 3}']),
        )
    )
    assert judged.caveats == caveats_of(out)
    [fresh] = evaluate(str(place / "three"), out=str(tmp_path / "fresh"), **how)
    assert fresh.warnings() == []
    assert "NOT HELD OUT" not in (tmp_path / "fresh/tables.md").read_text("utf-8")


# Self-evolution


def evolving(place: Path, out: Path, **changed: Any) -> EvolveSettings:
    given: dict[str, Any] = {
        "model": str(place / "m0"), "out": str(out), "template": str(place / "short.jinja"),
        "dtype": "float32", "device": "cpu", "max_steps": 1, "rounds": 1, "gate": False,
        "evaluate": False, "greeting_last": 0, "held_out_share": 0.2, "validation_share": 0.2,
    }  # fmt: skip
    return EvolveSettings(**(given | changed))


def test_what_m0_has_seen_is_never_held_out(place: Path, tmp_path: Path) -> None:
    """Under the same seed M⁰'s validation dialogues were the test dialogues before."""
    with pytest.raises(ConfigError, match=r"has seen a dialogue of every scenario of the data"):
        evolve(evolving(place, tmp_path / "a", data=(str(place / "one"),)), supporter=policy())
    given = evolving(place, tmp_path / "b", data=(str(place / "mixed"),))
    evolve(given, supporter=policy())
    lines = (tmp_path / "b/held-out/episodes.jsonl").read_text("utf-8").splitlines()
    names = {json.loads(line)["id"] for line in lines}
    assert len(names) == 3
    assert names <= {f"talk{n}" for n in range(10, 20)}


def test_a_held_out_corpus_that_m0_has_seen_is_refused(place: Path, tmp_path: Path) -> None:
    given = evolving(
        place, tmp_path / "a", data=(str(place / "two"),), held_out=(str(place / "mixed"),)
    )
    with pytest.raises(ConfigError, match="5 of 15 dialogues were seen before"):
        evolve(given, supporter=policy())
