"""An adapter that is shipped: small, and without a place of the machine that made it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from warmline.agents.templates import PromptTemplate
from warmline.cli import app
from warmline.core.errors import ConfigError, DataError
from warmline.environments.runs.trained import trained_form
from warmline.policies.hf.policy import TransformersPolicy
from warmline.training.loop import pack as packing
from warmline.training.loop.checkpoint import read_checkpoint
from warmline.training.loop.pack import pack_checkpoint
from warmline.training.sft.train import train_sft

from ...policies.tiny_models import save_causal
from ..building import TEMPLATE, settings, varied, write_log


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("pack")
    base = save_causal(place / "base")
    data = write_log(place / "talks", varied(4))
    given = settings(base, data, place / "out", max_steps=2, max_tokens=512)
    return train_sft(given).checkpoint and place / "out"


def as_embedded(trained: Path, folder: Path) -> Path:
    """The same checkpoint, as if its base were the embedded model."""
    import shutil

    shutil.copytree(trained, folder)
    file = folder / "checkpoint.json"
    record = json.loads(file.read_text()) | {"base": "embedded"}
    file.write_text(json.dumps(record))
    return folder


def test_a_template_is_recorded_as_its_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the form of a checkpoint is known from any folder, and after a change of the file."""
    base = save_causal(tmp_path / "base")
    data = write_log(tmp_path / "talks", varied(4))
    (tmp_path / "own.jinja").write_text(TEMPLATE, "utf-8")
    monkeypatch.chdir(tmp_path)
    own = Path("own.jinja")
    train_sft(settings(base, data, tmp_path / "m0", max_steps=1, template=str(own)))
    own.unlink()
    monkeypatch.chdir("/")
    packed = tmp_path / "packed"
    pack_checkpoint(as_embedded(tmp_path / "m0", tmp_path / "source"), packed)
    for folder in (tmp_path / "m0", packed):
        form = trained_form(TransformersPolicy(str(folder)))
        assert form is not None
        assert PromptTemplate(form.template_name).blocks == ["note", "system"]
    shipped = settings(base, data, tmp_path / "m1", max_steps=1, template="supporter_short.jinja")
    train_sft(shipped.model_copy(update={"on_bad_row": "skip"}))
    assert read_checkpoint(tmp_path / "m1").settings["template"] == "supporter_short.jinja"


def test_what_is_packed(trained: Path, tmp_path: Path) -> None:
    source = as_embedded(trained, tmp_path / "source")
    out = tmp_path / "adapter"
    run = CliRunner().invoke(app, ["checkpoints", str(source), "--pack", str(out)])
    assert run.exit_code == 0, run.output
    assert sorted(file.name for file in out.iterdir()) == [
        "README.md", "adapter_config.json", "adapter_model.safetensors", "checkpoint.json",
        "seen.json", "training_log.jsonl",
    ]  # fmt: skip
    before, after = (load_file(f / "adapter_model.safetensors") for f in (source, out))
    assert before.keys() == after.keys()
    for name, weights in after.items():
        assert weights.dtype is torch.bfloat16
        assert torch.equal(weights, before[name].to(torch.bfloat16))
    for file in out.glob("*"):
        if file.suffix != ".safetensors":
            assert str(tmp_path.parent) not in file.read_text("utf-8"), file.name
            assert str(trained.parent) not in file.read_text("utf-8"), file.name
    config = json.loads((out / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == packing.EMBEDDED_ID
    record, original = read_checkpoint(out), read_checkpoint(source)
    assert record.data == original.data
    assert record.settings["learning_rate"] == original.settings["learning_rate"]
    assert record.metrics == original.metrics
    pack_checkpoint(source, out)  # again, over what is there


def test_what_lies_on_this_machine_alone_is_refused(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="which is on this machine alone"):
        pack_checkpoint(trained, tmp_path / "out")
    with pytest.raises(DataError, match="no checkpoint there"):
        pack_checkpoint(tmp_path, tmp_path / "out")
