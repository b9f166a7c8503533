"""No loader runs code of a model's folder, nor asks whether it may."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from warmline.core.errors import ConfigError, WarmlineError
from warmline.evaluation.metrics.bertscore import BertScore
from warmline.evaluation.metrics.metric import Pairs
from warmline.evaluation.metrics.tokens import ModelTokens
from warmline.policies.models.loading import load
from warmline.policies.models.sources import find_source
from warmline.policies.vllm.policy import VLLMPolicy
from warmline.training.loop.base_model import load_base, load_writer

from ..tiny_models import save_causal

CODE = """
from pathlib import Path
Path(__file__).parent.joinpath("RAN").touch()
Path({mark!r}).touch()
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast
class Config(PretrainedConfig):
    model_type = "homemade"
class Model(PreTrainedModel):
    config_class = Config
class Tokenizer(PreTrainedTokenizerFast):
    pass
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_causal(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def trap(tiny: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A model's folder of a kind that only its own code can load, and the file that code makes."""
    folder, mark = tmp_path / "model", tmp_path / "ran"
    folder.mkdir()
    for file in tiny.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "code.py").write_text(CODE.format(mark=str(mark)))
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "homemade",
        "auto_map": {
            "AutoConfig": "code.Config",
            "AutoModel": "code.Model",
            "AutoModelForCausalLM": "code.Model",
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    words = json.loads((folder / "tokenizer_config.json").read_text())
    words |= {
        "tokenizer_class": "Homemade",
        "auto_map": {"AutoTokenizer": [None, "code.Tokenizer"]},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(words))
    return folder, mark


LOADERS: dict[str, Callable[[str], Any]] = {
    "policies": lambda name: load(find_source(name), device="cpu", dtype="float32"),
    "training": load_base,
    "rows": load_writer,
    "tokens": lambda name: ModelTokens(name)(["some text"]),
    "bertscore": lambda name: BertScore(name, layer=1).measure(Pairs(("a b",), ("a c",))),
}


@pytest.mark.parametrize("loader", LOADERS)
def test_no_code_of_a_model_is_run(
    loader: str, trap: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, mark = trap
    answers = io.StringIO("y\n" * 20)
    monkeypatch.setattr(sys, "stdin", answers)
    with pytest.raises(WarmlineError):
        LOADERS[loader](str(folder))
    assert not mark.exists()
    assert answers.tell() == 0, "nothing was asked"


def test_vllm_is_not_allowed_to_either(tiny: Path) -> None:
    with pytest.raises(ConfigError, match="trust_remote_code would run code"):
        VLLMPolicy(str(tiny), engine_args={"trust_remote_code": True})
    if find_spec("vllm") is None:
        pytest.skip("vLLM has its own stage: make test-vllm")
    assert json.loads(VLLMPolicy(str(tiny))._settings.arguments)["trust_remote_code"] is False
