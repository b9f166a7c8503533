"""Tiny models, built once, and a watch that nothing stays loaded."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from warmline.policies.hf import engine


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", autouse=True)
def float32_on_any_cpu() -> Iterator[None]:
    """Where nothing is said; numbers are compared, and CPUs that multiply bfloat16 would take that."""
    import torch

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(torch.cpu, "get_capabilities", dict, raising=False)
        yield


@pytest.fixture(autouse=True)
def nothing_stays_loaded() -> Iterator[None]:
    yield
    gc.collect()
    assert not engine.ENGINES
    assert not [t for t in threading.enumerate() if t.name == "warmline-hf" and t.is_alive()]


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from .. import tiny_models

    folder = tmp_path_factory.mktemp("models")
    for kind in ("llama", "mistral", "gemma3"):
        tiny_models.save_causal(folder / kind, kind=kind)
    for kind in ("blenderbot", "t5"):
        tiny_models.save_seq2seq(folder / kind, kind=kind)
    tiny_models.save_lora(folder / "warm", folder / "llama", seed=1)
    tiny_models.save_lora(folder / "cold", folder / "llama", seed=2)
    return folder


@pytest.fixture(scope="session")
def llama(folders: Path) -> Path:
    return folders / "llama"
