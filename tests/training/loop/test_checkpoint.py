"""Checkpoint records, lineage, and the commands around them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from warmline.cli import app
from warmline.core.errors import ConfigError, DataError, MissingExtra
from warmline.environments.runs.settings import load_settings
from warmline.environments.runs.simulate import build_environment
from warmline.training.command import TRAINERS
from warmline.training.loop import command as loop_command
from warmline.training.loop.base_model import load_base, lora_targets
from warmline.training.loop.checkpoint import (
    Checkpoint,
    find_checkpoints,
    lineage,
    model_card,
    parent_of,
    read_checkpoint,
    write_checkpoint,
)
from warmline.training.loop.checkpoints_command import trees
from warmline.training.loop.merge import merge_checkpoint
from warmline.training.rows.sources import DataSource

from ...policies.tiny_models import save_causal, save_seq2seq
from ..building import CHATML, TEMPLATE, episode, write_log


def record(name: str, **fields: object) -> Checkpoint:
    values: dict[str, object] = {
        "kind": "sft",
        "base": "embedded",
        "created": f"2026-01-0{len(name)}T00:00:00+00:00",
        "warmline": "1.0",
    }
    return Checkpoint.model_validate(values | fields)


def family(top: Path) -> Path:
    """m0 on embedded, m01 on m0, m012 on m01, and `another` on another model."""
    write_checkpoint(top / "m0", record("m0", metrics={"validation_loss": 2.5}), [{"loss": 1.0}])
    write_checkpoint(top / "m01", record("m01", base="runs/m0", parent="../m0", kind="dpo"), [])
    write_checkpoint(top / "m012", record("m012", base="x", parent="../m01", kind="dpo"), [])
    write_checkpoint(top / "another", record("another", base="owner/model"), [])
    return top


def test_a_record_comes_back(tmp_path: Path) -> None:
    source = DataSource(name="run", sha256={"episodes.jsonl": "ab"}, items=3)
    made = record("m0", data=(source,), rows={"train": 5, "too_long": 1}, seed=4)
    write_checkpoint(tmp_path / "m0", made, [{"step": 1, "loss": 2.0}])
    assert read_checkpoint(tmp_path / "m0") == made
    log = (tmp_path / "m0/training_log.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in log] == [{"step": 1, "loss": 2.0}]


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no checkpoint there[\s\S]*warmline checkpoints"):
        read_checkpoint(tmp_path)
    (tmp_path / "checkpoint.json").write_text('{"kind": "sft", "base": "x", "bse": 1}')
    with pytest.raises(DataError, match="unknown field 'bse'; did you mean 'base'"):
        read_checkpoint(tmp_path)
    assert parent_of(str(tmp_path / "nowhere"), tmp_path) is None


def test_lineage(tmp_path: Path) -> None:
    found = find_checkpoints(family(tmp_path))
    assert [path.name for path in found] == ["m0", "m01", "m012", "another"]
    named = {
        getattr(above, "name", above): [path.name for path in paths]
        for above, paths in lineage(found).items()
    }
    assert named == {
        "embedded": ["m0"], "m0": ["m01"], "m01": ["m012"], "owner/model": ["another"]
    }  # fmt: skip


def test_a_parent_that_is_gone_stands_as_a_root(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "m1", record("m1", parent="../gone"), [])
    (root,) = lineage(find_checkpoints(tmp_path))
    assert str(root).endswith("gone")


def test_the_lineage_is_drawn_as_a_tree(tmp_path: Path) -> None:
    console = Console(record=True, width=80)
    for tree in trees(find_checkpoints(family(tmp_path)), tmp_path):
        console.print(tree)
    lines = [line.rstrip() for line in console.export_text().splitlines()]
    assert lines[0] == "embedded"
    assert lines[1] == "└── m0  sft, seed 0, validation loss 2.5000, 2026-01-02 00:00"
    assert lines[2].startswith("    └── m01  dpo")
    assert lines[3].startswith("        └── m012  dpo")
    assert lines[4] == "owner/model"


def test_the_model_card_says_what_it_is_not_for() -> None:
    card = model_card("m0", record("m0", metrics={"validation_loss": 2.5, "other": None}))
    assert "| validation_loss | 2.5 |" in card
    assert "| other | not known |" in card
    assert "must not stand in for help from people" in card
    assert "left alone with it" in card


def test_the_checkpoints_command(tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["checkpoints", str(family(tmp_path))])
    assert shown.exit_code == 0
    assert "m012" in shown.output
    for folder, said in ((tmp_path / "no", "no such folder"), (tmp_path / "m0x", "no checkpoint")):
        if "x" in folder.name:
            folder.mkdir()
        error = CliRunner().invoke(app, ["checkpoints", str(folder)]).exception
        assert isinstance(error, DataError)
        assert said in str(error)


def test_merging_what_has_no_adapter_is_refused(tmp_path: Path) -> None:
    model = save_causal(tmp_path / "m")
    with pytest.raises(ConfigError, match="has no adapter to merge"):
        merge_checkpoint(model, tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    with pytest.raises(ConfigError, match="is not empty"):
        merge_checkpoint(model, tmp_path / "full")


def test_the_layers_of_attention(tmp_path: Path) -> None:
    causal = load_base(str(save_causal(tmp_path / "llama"))).model
    assert lora_targets(causal, ("attention",)) == ["k_proj", "o_proj", "q_proj", "v_proj"]
    pair = load_base(str(save_seq2seq(tmp_path / "t5", kind="t5"))).model
    assert lora_targets(pair, ("attention",)) == ["k", "o", "q", "v"]
    other = load_base(str(save_seq2seq(tmp_path / "b"))).model
    assert lora_targets(other, ("attention",)) == ["k_proj", "out_proj", "q_proj", "v_proj"]
    assert lora_targets(causal, ("all-linear",)) == "all-linear"
    assert lora_targets(causal, ("up_proj",)) == ["up_proj"]


# The commands


def test_preview_marks_the_tokens_with_loss(tmp_path: Path) -> None:
    model = save_causal(tmp_path / "m")
    data = write_log(tmp_path / "run", [episode(), episode("b", ())])
    command = ["preview", str(data), "--model", str(model), "--template", TEMPLATE, "--limit"]
    shown = CliRunner().invoke(app, [*command, "9"]).output
    assert "a#1, Question" in shown
    assert "⟦What happened there?<|im_end|>⟧" in shown
    assert "3 rows; left out: 1 no supporter turn" in shown
    assert "must not stand in for help" in " ".join(shown.split())
    first = CliRunner().invoke(app, [*command, "1"]).output
    assert "3 rows; of the first 1 of 2 episodes, the others were not read" in first


def test_train_sft_from_the_command_line(tmp_path: Path) -> None:
    model = save_causal(tmp_path / "m")
    data = write_log(tmp_path / "run", [episode("a"), episode("b")])
    command = [
        "train", "sft", str(data), "--model", str(model), "--out", str(tmp_path / "m0"),
        "--template", TEMPLATE, "--max-steps", "2", "--device", "cpu", "--dtype", "float32",
        "--runs", "2",
    ]  # fmt: skip
    shown = CliRunner().invoke(app, command)
    assert shown.exit_code == 0, shown.output
    assert "3 train, 3 validation" in shown.output
    assert "validation loss" in shown.output
    assert "±" in shown.output
    runs = json.loads((tmp_path / "m0/runs.json").read_text())
    assert runs["seeds"] == [0, 1]
    assert set(runs["metrics"]["validation_loss"]) == {"mean", "deviation"}


def test_a_training_is_seated_as_it_was_trained(tmp_path: Path, recwarn: Any) -> None:
    """The line that is printed asks as the rows did; another way is warned of."""
    model = save_causal(tmp_path / "m", chat_template=CHATML)
    config = json.loads((model / "config.json").read_text("utf-8"))
    config["max_position_embeddings"] = 2048  # room for the template that ships
    (model / "config.json").write_text(json.dumps(config), "utf-8")
    data = write_log(tmp_path / "run", [episode("a"), episode("b")])
    out = tmp_path / "m0"
    words = ["train", "sft", str(data), "--model", str(model), "--out", str(out), "--max-steps", "1",
             "--validation-share", "0", "--device", "cpu", "--strategy", "listed"]  # fmt: skip
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 0, shown.output
    seat = f"--supporter.policy transformers --supporter.model {out}"
    asked = "--supporter.strategy listed --case-dialogues 0"
    assert f"warmline simulate {seat} {asked}" in " ".join(shown.output.split())
    base = {"policy": "scripted", "supporter": {"policy": "transformers", "model": str(out)}}
    build_environment(load_settings(given=base))
    assert [w for w in recwarn if f"as it was trained: {asked}" in str(w.message)]
    recwarn.clear()
    base["supporter"] |= {"strategy": "listed"}  # type: ignore[operator]
    build_environment(load_settings(given=base | {"case_dialogues": 0}))
    assert not [w for w in recwarn if "as it was trained" in str(w.message)]


def test_a_training_has_a_folder_of_its_own(tmp_path: Path) -> None:
    model = save_causal(tmp_path / "m", chat_template=CHATML)
    data = write_log(tmp_path / "run", [episode("a"), episode("b")])
    words = [
        "train",
        "sft",
        str(data),
        "--model",
        str(model),
        "--out",
        str(data.parent if data.is_file() else data),
    ]
    done = CliRunner().invoke(app, words)
    assert "holds conversations or other work" in str(done.exception)
    assert not (tmp_path / "run" / "training.json").exists()


def test_missing_libraries_are_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_command, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'warmline\[train\]'"):
        loop_command.need_libraries()


def test_every_trainer_is_a_command() -> None:
    shown = CliRunner().invoke(app, ["train", "--help"]).output
    names = [name for group in TRAINERS.values() for name in group]
    assert "sft" in names
    for name in names:
        assert name in shown
