"""A worker with vLLM in its own process, as on a cluster: the run is whole, and says what it took."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

import warmline

from . import vllm_models

pytestmark = [
    pytest.mark.skipif(
        find_spec("vllm") is None,
        reason="vLLM is not installed; `make test-vllm` tests it in an environment of its own",
    ),
    pytest.mark.timeout(600),
]


def test_one_worker_plays_a_run_on_vllm(tmp_path: Path) -> None:
    settings = {
        "policy": "vllm", "model": str(vllm_models.smollm()), "episodes": 4, "max_turns": 2,
        "max_tokens": 16, "seed": 5, "case_dialogues": 0,
        "counselor": {"seated": False}, "judger": {"seated": False},
        "options": {
            "dtype": "float32", "max_model_len": 1024,
            "engine_args": {"kv_cache_memory_bytes": 2**30, "max_num_seqs": 8},
        },
    }  # fmt: skip
    episodes = warmline.run_sharded(settings, out=tmp_path / "run", workers=1)
    assert len(episodes) == 4
    assert all(e.error is None and len(e.utterances) == 2 for e in episodes)
    assert all(call.policy.startswith("vllm") for e in episodes for call in e.calls)
    assert (tmp_path / "run" / "episodes-0000.jsonl").is_file()
    again = warmline.run_sharded(settings, out=tmp_path / "run", workers=1)  # nothing is asked
    assert [e.content() for e in again] == [e.content() for e in episodes]
