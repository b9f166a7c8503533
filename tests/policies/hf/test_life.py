"""Sharing, closing, cancelling, failing."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra `transformers` is not installed")


from warmline.core.errors import EngineUnavailable
from warmline.policies import Sampling
from warmline.policies.hf.policy import TransformersPolicy

from .asking import TALKS, ask


async def test_policies_of_equal_settings_share_one_model(llama: Path) -> None:
    async with TransformersPolicy(llama) as one:
        loaded = one._opened.engine
        two, other = TransformersPolicy(llama), TransformersPolicy(llama, max_batch=2)
        await asyncio.gather(two.open(), two.open(), other.open())
        assert two._opened.engine is loaded
        assert other._opened.engine is not loaded
        await one.aclose()
        assert (await two.respond(ask("Hi"))).text
        await other.aclose()
        await two.aclose()
        await two.aclose()
        with pytest.raises(EngineUnavailable, match="was closed"):
            await two.respond(ask("Hi"))
        await two.open()
        assert (await two.respond(ask("Hi"))).text
        await two.aclose()


@pytest.mark.parametrize("kind", ["llama", "t5"])
async def test_closing_frees_the_weights(folders: Path, kind: str) -> None:
    policy = TransformersPolicy(folders / kind)
    await policy.respond(ask("Hi"))
    weights = weakref.ref(policy._opened.engine._model.model)
    await policy.aclose()
    gc.collect()
    assert weights() is None


async def test_a_forgotten_policy_frees_the_weights(llama: Path) -> None:
    policy = TransformersPolicy(llama)
    await policy.open()
    weights = weakref.ref(policy._opened.engine._model.model)
    del policy
    gc.collect()
    assert weights() is None


async def test_cancelling_frees_the_row(llama: Path) -> None:
    endless = ask("Hi", sampling=Sampling(temperature=0, max_tokens=400))
    async with TransformersPolicy(llama, max_batch=1) as policy:
        loop = policy._opened.engine._loop
        first = asyncio.create_task(policy.respond(endless))
        second = asyncio.create_task(policy.respond(ask(TALKS[0])))
        third = asyncio.create_task(policy.respond(ask(TALKS[1])))
        while not loop._rows:
            await asyncio.sleep(0)
        row = loop._rows[0]
        second.cancel()
        first.cancel()
        assert (await third).text
        assert row.task.answer.reason is None  # it was given up, not written to its end
        while loop.busy:  # the row is freed a moment after its answer is handed over
            await asyncio.sleep(0)
        for task in (first, second):
            with pytest.raises(asyncio.CancelledError):
                await task


@pytest.mark.parametrize("kind", ["llama", "blenderbot"])
async def test_an_error_in_the_computation_reaches_everybody_once(
    folders: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with TransformersPolicy(folders / kind, max_batch=3) as policy:
        model = policy._opened.engine._model
        real, calls = type(model).forward, []

        def failing(self: Any, *args: Any, **kwargs: Any) -> Any:
            calls.append(1)
            if len(calls) == 6:
                raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
            return real(self, *args, **kwargs)

        requests = [ask(talk) for talk in TALKS] + [ask("Hi", choices=("a", "b"))]
        monkeypatch.setattr(type(model), "forward", failing)
        failed = await asyncio.gather(*map(policy.respond, requests), return_exceptions=True)
        monkeypatch.undo()
        errors = [error for error in failed if isinstance(error, Exception)]
        assert len(errors) >= 3
        for error in errors:
            assert isinstance(error, EngineUnavailable)
            assert "out of memory" in error.message
            assert "max_batch" in error.hint
        assert not policy._opened.engine._loop.busy
        assert (await policy.respond(ask("Hi"))).text


async def test_closing_ends_what_is_under_way(llama: Path) -> None:
    policy = TransformersPolicy(llama, max_batch=2)
    await policy.open()
    endless = ask("Hi", sampling=Sampling(temperature=0, max_tokens=400))
    tasks = [asyncio.create_task(policy.respond(endless)) for _ in range(4)]
    while not policy._opened.engine._loop._rows:
        await asyncio.sleep(0)
    await policy.aclose()
    for ended in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(ended, EngineUnavailable)


async def test_the_event_loop_is_never_blocked(llama: Path) -> None:
    longest, last = 0.0, asyncio.get_running_loop().time()

    async def tick() -> None:
        nonlocal longest, last
        while True:
            await asyncio.sleep(0.005)
            now = asyncio.get_running_loop().time()
            longest, last = max(longest, now - last), now

    async with TransformersPolicy(llama) as policy:
        ticking = asyncio.create_task(tick())
        requests = [ask(t, sampling=Sampling(max_tokens=200)) for t in TALKS * 4]
        await asyncio.gather(*map(policy.respond, requests))
        ticking.cancel()
    assert longest < 0.5


def test_importing_the_policy_loads_no_torch() -> None:
    code = (
        "import sys, warmline.policies.hf.policy as t;"
        "print({'torch', 'transformers', 'peft', 'llguidance'} & set(sys.modules), t.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("set() warmline.policies.hf.policy")
