"""Threads of an engine: as many as there are idle cores, told by real processes that keep others busy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra `transformers` is not installed")

from warmline.policies.models.cores import usable_cores

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
    cores = str(usable_cores())
    ran = subprocess.run(
        [sys.executable, "-c", BESIDE, str(model), cores],
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
