"""What the `vllm` policy can say without vLLM: how it looks for it, and which settings it refuses."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import pytest

from warmline.core.errors import ConfigError, MissingExtra
from warmline.policies import make_policy
from warmline.policies.vllm.api import find_form
from warmline.policies.vllm.engine import (
    CPU_BLOCK_SIZE,
    CPU_CACHE_BYTES,
    CPU_WORKER,
    EngineSettings,
    cpu_arguments,
)
from warmline.policies.vllm.policy import VLLMPolicy


class Form:
    def __init__(self, json: Any = None, choice: Any = None) -> None: ...


def release(**parts: Any) -> SimpleNamespace:
    """`vllm.sampling_params` as a release may have it."""
    return SimpleNamespace(**parts)


def test_the_newer_way_of_binding_answers_is_found_first() -> None:
    class Params:
        def __init__(self, structured_outputs: Any = None, guided_decoding: Any = None) -> None: ...

    both = release(SamplingParams=Params, StructuredOutputsParams=Form, GuidedDecodingParams=Form)
    assert find_form(both) == (Form, "structured_outputs")


def test_the_older_way_is_used_where_it_is_all_there_is() -> None:
    class Params:
        def __init__(self, guided_decoding: Any = None) -> None: ...

    old = release(SamplingParams=Params, GuidedDecodingParams=Form)
    assert find_form(old) == (Form, "guided_decoding")


def test_a_class_that_sampling_does_not_take_is_not_used() -> None:
    class Params:
        def __init__(self, constraint: Any = None) -> None: ...

    strange = release(
        SamplingParams=Params, StructuredOutputsParams=Form, GuidedDecodingParams=Form
    )
    with pytest.raises(ConfigError, match=r"has no SamplingParams\.structured_outputs"):
        find_form(strange)


def test_a_class_without_choices_is_refused() -> None:
    class Params:
        def __init__(self, structured_outputs: Any = None) -> None: ...

    class NoChoice:
        def __init__(self, json: Any = None) -> None: ...

    with pytest.raises(ConfigError, match=r"has no StructuredOutputsParams\(choice\)"):
        find_form(release(SamplingParams=Params, StructuredOutputsParams=NoChoice))


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed")
def test_without_vllm_the_policy_says_how_to_get_it() -> None:
    with pytest.raises(MissingExtra, match=r"warmline\[vllm\]"):
        make_policy("vllm", model="some/model")


def test_all_bad_options_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as told:
        VLLMPolicy(
            "m",
            tensor_parallel_size=0,
            max_model_len=1,
            max_lora_rank=0,
            max_loras=-1,
            gpu_memory_utilization=1.5,
            deterministic=True,
            engine_args={"dtype": "float16", "max_num_seqs": 4, "hf_token": "x"},
        )
    assert [problem.partition(" ")[0].strip(":") for problem in told.value.problems] == [
        "tensor_parallel_size", "max_model_len", "max_lora_rank", "max_loras",
        "gpu_memory_utilization", "engine_args", "engine_args", "engine_args",
    ]  # fmt: skip
    assert "policy's own option 'dtype'" in str(told.value)
    assert "HF_TOKEN" in str(told.value)


def test_settings_are_the_same_whatever_their_order() -> None:
    one = EngineSettings.of(model="m", dtype="auto", revision=None)
    assert one == EngineSettings.of(dtype="auto", model="m")
    assert one != EngineSettings.of(dtype="auto", model="m", revision="main")


def test_settings_must_be_plain_data() -> None:
    with pytest.raises(ConfigError, match="plain data"):
        EngineSettings.of(model=object())


def test_on_a_cpu_memory_is_bounded_and_seeds_are_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLLM_CPU_KVCACHE_SPACE", raising=False)
    assert cpu_arguments({}) == {
        "enforce_eager": True,
        "enable_chunked_prefill": False,
        "kv_cache_memory_bytes": CPU_CACHE_BYTES,
        "block_size": CPU_BLOCK_SIZE,
    }
    said = {"gpu_memory_utilization": 0.5, "enforce_eager": False, "block_size": 64}
    assert cpu_arguments(said) == {**said, "enable_chunked_prefill": False}
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    assert "kv_cache_memory_bytes" not in cpu_arguments({})


def test_on_a_cpu_adapters_are_kept_off_the_bare_model() -> None:
    assert cpu_arguments({"enable_lora": True})["worker_extension_cls"] == CPU_WORKER
    own = {"enable_lora": True, "worker_extension_cls": "mine.Worker"}
    assert cpu_arguments(own)["worker_extension_cls"] == "mine.Worker"


def test_chunked_prefill_is_refused_on_a_cpu() -> None:
    with pytest.raises(ConfigError, match="kills vLLM's engine"):
        cpu_arguments({"enable_chunked_prefill": True})


def test_importing_the_policy_loads_no_heavy_library() -> None:
    code = (
        "import sys, warmline.policies.vllm.policy;"
        "print(*sorted({'vllm', 'torch', 'transformers'} & {*sys.modules}))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""
