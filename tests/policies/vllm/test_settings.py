"""What the `vllm` policy refuses before an engine starts, and how it describes itself."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from warmline.core.errors import ConfigError, ModelNotFound
from warmline.policies.vllm.engine import ENGINES
from warmline.policies.vllm.policy import VLLMPolicy

from . import vllm_models

pytestmark = [
    pytest.mark.skipif(
        find_spec("vllm") is None,
        reason="vLLM is not installed; `make test-vllm` tests it in an environment of its own",
    ),
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module")
def base() -> Path:
    return vllm_models.smollm()


@pytest.fixture
def adapter(base: Path, tmp_path: Path) -> Path:
    return vllm_models.save_lora(tmp_path / "adapters" / "warm", base, seed=1)


async def test_what_vllm_does_not_load_is_refused_before_it_starts(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    dora = vllm_models.save_lora(tmp_path / "dora", base, seed=1)
    config = json.loads((dora / "adapter_config.json").read_text())
    (dora / "adapter_config.json").write_text(json.dumps({**config, "use_dora": True}))
    with pytest.raises(ConfigError, match="one plain LoRA adapter"):
        await VLLMPolicy(base, adapter=dora).open()
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(ConfigError, match="GGUF file"):
        await VLLMPolicy(tmp_path / "model.gguf").open()
    with pytest.raises(ModelNotFound, match="no model at"):
        await VLLMPolicy(tmp_path / "nothing").open()
    with pytest.raises(ConfigError, match="max_loras of at least 1"):
        await VLLMPolicy(base, adapter=adapter, max_loras=0).open()


async def test_unknown_engine_arguments_are_refused_with_a_suggestion(base: Path) -> None:
    with pytest.raises(ConfigError, match=r"max_num_seq; did you mean 'max_num_seqs'") as told:
        await VLLMPolicy(base, engine_args={"max_num_seq": 4, "shoe_size": 43}).open()
    assert len(told.value.problems) == 2
    assert not any("shoe_size" in settings.arguments for settings in ENGINES)


async def test_a_value_that_vllm_refuses_is_a_config_error(base: Path) -> None:
    with pytest.raises(ConfigError, match="vLLM"):
        await VLLMPolicy(base, dtype="float12").open()
    assert not any("float12" in settings.arguments for settings in ENGINES)


def test_the_description_names_no_place(base: Path, adapter: Path) -> None:
    described = VLLMPolicy(base, adapter=adapter, dtype="float32").describe()
    assert described["model"] == "SmolLM2-135M-Instruct"
    assert described["adapters"][0]["name"] == "warm"
    assert described["engine"].startswith("vllm 0.")
    assert described["dtype"] == "float32"
    assert str(base.parent) not in json.dumps(described)
    assert str(adapter.parent) not in json.dumps(described)
