"""How vLLM's engine lives and dies: seeds, closing, killed processes, forgotten policies."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import warmline.testing
from warmline.core.errors import EngineUnavailable
from warmline.policies import Message, Request, Sampling
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

SETTINGS: dict[str, Any] = {
    "dtype": "bfloat16",
    "max_model_len": 512,
    "engine_args": {"kv_cache_memory_bytes": 2**29},
}
FEELINGS = ("work", "my cat", "rain", "my mother", "exams", "money", "noise", "the war",
            "my boss", "love", "the night", "food", "debts", "pain", "music", "you")  # fmt: skip


def ask(n: int, max_tokens: int = 40) -> Request:
    long = "I have been thinking about my sister and the house we grew up in. " * 8
    return Request(
        (
            Message("system", "You listen kindly."),
            Message("user", f"{long}I feel sad because of {FEELINGS[n]}."),
        ),
        sampling=Sampling(temperature=1.0, top_p=0.95, max_tokens=max_tokens),
        seed=100 + n,
    )


@pytest.fixture(scope="module")
def base() -> Path:
    return vllm_models.smollm()


def engine_processes() -> list[Any]:
    """vLLM's processes below this one."""
    import psutil

    below = psutil.Process().children(recursive=True)
    return [p for p in below if p.is_running() and p.name().startswith("VLLM")]


async def gone(processes: list[Any]) -> bool:
    """Whether they are gone, within seconds, and no dead one is left in the process table."""
    ends = time.monotonic() + 20
    while any(p.is_running() for p in processes) and time.monotonic() < ends:
        await asyncio.sleep(0.1)
    return not any(p.is_running() for p in processes)


async def outcomes(tasks: list[asyncio.Task[Any]]) -> list[Any]:
    return await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), timeout=60)


async def test_deterministic_seeds_hold_at_any_concurrency(base: Path) -> None:
    policy = VLLMPolicy(base, deterministic=True, **SETTINGS)
    assert policy.capabilities.seed
    async with policy:
        alone = [(await policy.respond(ask(n))).text for n in range(16)]
        together = await asyncio.gather(*(policy.respond(ask(n)) for n in reversed(range(16))))
        assert [reply.text for reply in reversed(together)] == alone
        assert len(set(alone)) == 16
        await warmline.testing.check_policy(
            lambda: VLLMPolicy(base, deterministic=True, **SETTINGS), "repeats_a_seed"
        )


async def test_interrupts_are_survived_and_closing_ends_everything(base: Path) -> None:
    policy = VLLMPolicy(base, **SETTINGS)
    await policy.open()
    processes = engine_processes()
    assert len(processes) >= 2
    for process in processes:  # as Ctrl-C in a terminal does
        process.send_signal(signal.SIGINT)
    await asyncio.sleep(1)
    assert (await policy.respond(ask(1, max_tokens=4))).text
    tasks = [asyncio.create_task(policy.respond(ask(n, max_tokens=300))) for n in range(16)]
    await asyncio.sleep(1)
    await policy.aclose()
    for outcome in await outcomes(tasks):
        assert isinstance(outcome, EngineUnavailable), repr(outcome)
        assert "was closed" in str(outcome)
    assert await gone(processes)
    assert not ENGINES
    with pytest.raises(EngineUnavailable, match="was closed"):
        await policy.respond(ask(1))


async def test_a_killed_engine_ends_the_run_and_can_be_opened_again(base: Path) -> None:
    policy = VLLMPolicy(base, **SETTINGS)
    for victim in ("VLLM::Worker", "VLLM::EngineCor"):
        await policy.open()
        assert (await policy.respond(ask(1, max_tokens=4))).text
        tasks = [asyncio.create_task(policy.respond(ask(n, max_tokens=300))) for n in range(16)]
        await asyncio.sleep(1)
        processes = engine_processes()
        next(p for p in processes if p.name().startswith(victim)).kill()
        for outcome in await outcomes(tasks):
            assert isinstance(outcome, EngineUnavailable), repr(outcome)
            assert outcome.fatal
            assert not outcome.retryable
            assert "engine died" in str(outcome)
        with pytest.raises(EngineUnavailable, match="engine died"):
            await asyncio.wait_for(policy.respond(ask(1)), timeout=10)
        assert not ENGINES
        await policy.aclose()
        assert await gone(processes)


FORGETFUL = """
import asyncio, sys, psutil
from warmline.policies import Message, Request, Sampling
from warmline.policies.vllm.policy import VLLMPolicy

async def main():
    policy = VLLMPolicy(sys.argv[1], dtype="bfloat16", max_model_len=512,
                        engine_args={"kv_cache_memory_bytes": 2**29})
    asked = Request((Message("user", "Hello."),), sampling=Sampling(max_tokens=4))
    await policy.respond(asked)
    below = psutil.Process().children(recursive=True)
    print("processes", *(p.pid for p in below if p.name().startswith("VLLM")))

if __name__ == "__main__":
    asyncio.run(main())
"""


async def test_a_script_that_forgets_to_close_leaves_no_process(base: Path, tmp_path: Path) -> None:
    import psutil

    script = tmp_path / "forgetful.py"
    script.write_text(FORGETFUL)
    run = subprocess.run(
        [sys.executable, script, base], capture_output=True, text=True, timeout=300, check=True
    )
    said = next(line for line in run.stdout.splitlines() if line.startswith("processes"))
    pids = [int(pid) for pid in said.split()[1:]]
    assert len(pids) >= 2
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
