"""Threads of an engine: as many as there are idle cores, told by real processes that keep others busy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra `transformers` is not installed")

from warmline.policies.models import cores
from warmline.policies.models.cores import llama_threads, usable_cores

BESIDE = """
import asyncio, json, subprocess, sys, time
import torch
from warmline.policies.hf.policy import TransformersPolicy
from warmline.policies.models import cores

async def threads(policy):
    await policy.open()
    engine = policy._opened.engine
    count = await asyncio.wrap_future(engine._call(torch.get_num_threads))
    await policy.aclose()
    return count

async def main():
    torch.set_num_threads(8)
    found = {"asked": await threads(TransformersPolicy(sys.argv[1], threads=3))}
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(int(sys.argv[2]))]
    try:
        time.sleep(0.2)
        found["beside"] = await threads(TransformersPolicy(sys.argv[1]))
        found["spare"] = cores.spare_cores()
    finally:
        for process in busy:
            process.kill()
    loop = asyncio.get_running_loop()
    found["after"] = await loop.run_in_executor(None, torch.get_num_threads)
    torch.set_num_threads(1)
    found["told one"] = await threads(TransformersPolicy(sys.argv[1]))
    print(json.dumps(found))

asyncio.run(main())
"""


def found(model: Path, **given: str) -> dict[str, int]:
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"} | given
    count = str(usable_cores())
    ran = subprocess.run(
        [sys.executable, "-c", BESIDE, str(model), count],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    answer: dict[str, int] = json.loads(ran.stdout)
    return answer


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from .. import tiny_models

    folder = tmp_path_factory.mktemp("cores") / "llama"
    tiny_models.save_causal(folder, kind="llama")
    return folder


def test_beside_busy_processes_one_thread_computes(model: Path) -> None:
    """Eight threads beside them made 0.2 tokens a second of what one makes 5."""
    counts = found(model)
    assert counts["asked"] == 3
    assert counts["beside"] == counts["spare"] < 8
    assert counts["after"] == 8, "other computations keep theirs"
    assert counts["told one"] == 1


def test_the_variable_of_openmp_decides(model: Path) -> None:
    assert found(model, OMP_NUM_THREADS="8")["beside"] == 8


@pytest.mark.parametrize(
    ("usable", "busy", "given", "loaded", "threads", "spins"),
    [
        (2, 0, {}, (), 2, "0"),
        (2, 1, {}, (), 1, None),
        (1, 0, {}, (), 1, None),
        (8, 0, {}, (), 7, None),
        (8, 3, {}, (), 5, None),
        (2, 0, {}, ("torch",), 1, None),
        (2, 0, {}, ("xllamacpp",), 1, None),
        (2, 0, {"GOMP_SPINCOUNT": "0"}, ("torch", "xllamacpp"), 2, "0"),
        (2, 0, {"GOMP_SPINCOUNT": "1000"}, (), 1, "1000"),
        (2, 0, {"OMP_WAIT_POLICY": "active"}, (), 1, None),
        (2, 0, {"OMP_WAIT_POLICY": "PASSIVE"}, ("torch",), 2, None),
        (8, 7, {"OMP_NUM_THREADS": "4,2"}, ("torch",), 4, None),
        (8, 3, {"OMP_NUM_THREADS": "many"}, (), 5, None),
        (8, 3, {"OMP_NUM_THREADS": "0"}, (), 5, None),
    ],
)
def test_llama_cpp_takes_both_of_two_idle_cores_if_its_threads_sleep_while_they_wait(
    usable: int, busy: int, given: dict[str, str], loaded: tuple[str, ...], threads: int,
    spins: str | None, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for variable in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(variable, "")  # so that it is put back afterwards
        monkeypatch.delenv(variable)
    for variable, value in given.items():
        monkeypatch.setenv(variable, value)
    for library in ("torch", "xllamacpp"):
        if library in loaded:
            monkeypatch.setitem(sys.modules, library, sys)
        else:
            monkeypatch.delitem(sys.modules, library, raising=False)
    monkeypatch.setattr(cores, "usable_cores", lambda: usable)
    monkeypatch.setattr(cores, "_busy_cores", lambda: busy)
    assert llama_threads() == threads
    assert os.environ.get("GOMP_SPINCOUNT") == spins


ORDER = """
import asyncio, os, sys
from warmline import EmbeddedPolicy
from warmline.policies.models import cores

cores.usable_cores = lambda: 2
cores._busy_cores = lambda: 0

async def main():
    assert "xllamacpp" not in sys.modules and "torch" not in sys.modules
    async with EmbeddedPolicy() as policy:
        print(policy._engine.settings.threads, os.environ["GOMP_SPINCOUNT"], "xllamacpp" in sys.modules)

asyncio.run(main())
"""


@pytest.mark.embedded
def test_that_they_sleep_is_said_before_the_engines_library_is_loaded() -> None:
    """It reads the variable once."""
    left_out = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    ran = subprocess.run(
        [sys.executable, "-c", ORDER],
        env={k: v for k, v in os.environ.items() if k not in left_out},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ran.stdout.split() == ["2", "0", "True"], ran.stderr
