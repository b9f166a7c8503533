"""Conversations through the environment beside the same engine driven directly, in one run.

For each engine: a batch of concurrent conversations, every request kept; then the same requests, all
at once and with answers as long as before, straight to the engine's own interface. The goal is 0.9
of the raw engine's output tokens a second. Two plain baselines on the same policy show what the
loop is worth: one conversation after the other, and all in lockstep.

    python benchmarks/engines.py [--engines embedded openai transformers vllm] [--episodes 32]
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import warmline
from warmline.policies.base import Policy, Reply, Request, Usage, close_policy, open_policy

GOAL = 0.9


@dataclass
class Kept:
    """A policy that keeps what it was asked and answered."""

    inner: Any
    calls: list[tuple[Request, Reply]] = field(default_factory=list)

    @property
    def capabilities(self) -> Any:
        return self.inner.capabilities

    async def open(self) -> None:
        await open_policy(self.inner)

    async def respond(self, request: Request) -> Reply:
        reply: Reply = await self.inner.respond(request)
        self.calls.append((request, reply))
        return reply


@dataclass(frozen=True)
class Load:
    """How much is played."""

    episodes: int
    turns: int
    tokens: int


def environment(policy: Policy, load: Load) -> warmline.SupportEnvironment:
    sampling = warmline.Sampling(max_tokens=load.tokens)
    return warmline.SupportEnvironment(
        seeker=warmline.Seeker(policy, sampling=sampling),
        counselor=policy,
        supporter=warmline.Supporter(policy, sampling=sampling),
        judger=None,
        case_dialogues=1,
        max_turns=load.turns,
        max_sentences=20,
        stop_on_farewell=False,
    )


async def play(policy: Kept, load: Load, how: str) -> dict[str, Any]:
    """Play the load and measure it; `how` is concurrent, sequential or lockstep."""
    scenarios = warmline.draw_scenarios(load.episodes, seed=0)
    env = environment(LockStep(policy, load.episodes) if how == "lockstep" else policy, load)
    policy.calls.clear()
    own, started = time.thread_time(), time.perf_counter()
    if how == "sequential":
        episodes = [await env.run(scenario, seed=0) for scenario in scenarios]
    else:
        episodes = await asyncio.gather(*(env.run(s, seed=0) for s in scenarios))
    seconds, own = time.perf_counter() - started, time.thread_time() - own
    failed = [e.error for e in episodes if e.error]
    if failed:
        raise SystemExit(f"{len(failed)} episodes failed: {failed[0]}")
    usage = sum((reply.usage or Usage() for _, reply in policy.calls), Usage())
    return {
        "seconds": seconds,
        "tokens_a_second": usage.completion_tokens / seconds,
        "episodes_an_hour": load.episodes / seconds * 3600,
        "prefix_cache_hits": usage.cached_tokens / max(1, usage.prompt_tokens),
        "own_thread_share": own / seconds,
    }


class LockStep:
    """Asks only when every conversation has asked: a barrier a turn, as batch loops have."""

    def __init__(self, inner: Policy, size: int) -> None:
        self.inner, self.size = inner, size
        self.waiting: list[asyncio.Event] = []

    async def respond(self, request: Request) -> Reply:
        turn = asyncio.Event()
        self.waiting.append(turn)
        if len(self.waiting) == self.size:
            for event in self.waiting:
                event.set()
            self.waiting = []
        await turn.wait()
        return await self.inner.respond(request)


# Each engine: a policy, and a way to send the kept requests to it without us

Raw = Callable[[list[tuple[Request, Reply]]], Awaitable[int]]


async def embedded(load: Load) -> tuple[Policy, Raw]:
    policy = warmline.EmbeddedPolicy(slots=min(16, load.episodes), context_tokens=2048)
    await policy.open()

    async def raw(calls: list[tuple[Request, Reply]]) -> int:
        await policy.aclose()  # an engine that has not seen these prompts, as ours had not
        await policy.open()
        engine = policy._opened()
        bodies = [await policy._body(request, request.seed) for request, _ in calls]
        written = 0

        def one(call: tuple[dict[str, Any], tuple[Request, Reply]]) -> None:
            nonlocal written
            body, (request, reply) = call
            if request.choices is None:
                body |= {"max_tokens": completion(reply), "ignore_eos": True}
            answer: list[dict[str, Any]] = []
            engine._server.handle_chat_completions({**body, "stream": False}, answer.append)
            written += answer[0]["usage"]["completion_tokens"]

        with ThreadPoolExecutor(engine.settings.slots) as pool:
            await asyncio.to_thread(lambda: list(pool.map(one, zip(bodies, calls, strict=True))))
        return written

    return policy, raw


async def openai(load: Load) -> tuple[Policy, Raw]:
    engine = warmline.EmbeddedPolicy(slots=min(16, load.episodes), context_tokens=2048)
    await engine.open()
    os.environ["WARMLINE_BENCH_KEY"] = engine.api_key
    policy = warmline.OpenAIPolicy(
        base_url=engine.base_url, api_key_env="WARMLINE_BENCH_KEY", stream=False
    )
    await policy.open()

    async def raw(calls: list[tuple[Request, Reply]]) -> int:
        from openai import AsyncOpenAI

        client = AsyncOpenAI(base_url=engine.base_url, api_key=engine.api_key)

        async def one(request: Request, reply: Reply) -> int:
            forced = {"ignore_eos": True} if request.choices is None else {}
            answer = await client.chat.completions.create(
                model=str(policy.model),
                messages=[{"role": m.role, "content": m.content} for m in request.messages],  # type: ignore[misc]
                max_tokens=completion(reply),
                seed=request.seed,
                extra_body=forced,
            )
            return answer.usage.completion_tokens if answer.usage else 0

        return sum(await asyncio.gather(*(one(*call) for call in calls)))

    return policy, raw


async def transformers(load: Load) -> tuple[Policy, Raw]:
    from warmline.policies.transformers import TransformersPolicy
    from warmline.policies.weights import find_weights

    policy = TransformersPolicy(find_weights(), max_batch=min(32, load.episodes))
    await policy.open()

    async def raw(calls: list[tuple[Request, Reply]]) -> int:
        return await asyncio.to_thread(_generate, find_weights(), calls, min(32, load.episodes))

    return policy, raw


def _generate(weights: Any, calls: list[tuple[Request, Reply]], batch: int) -> int:
    """transformers' own `generate` in static batches, answers as long as before."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    folder, name = str(weights.parent), weights.name
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=name, quantization_config=GgufConfig(dequantize=True), dtype="auto"
    )
    tokenizer.pad_token = tokenizer.eos_token
    free = [call for call in calls if call[0].choices is None]
    written, started = 0, time.perf_counter()
    for start in range(0, len(free), batch):
        rows = free[start : start + batch]
        texts = [
            tokenizer.apply_chat_template(
                [{"role": m.role, "content": m.content} for m in request.messages],
                tokenize=False,
                add_generation_prompt=True,
            )
            for request, _ in rows
        ]
        inputs = tokenizer(texts, return_tensors="pt", padding=True)
        longest = max(completion(reply) for _, reply in rows)
        with torch.inference_mode():
            model.generate(**inputs, max_new_tokens=longest, min_new_tokens=longest, do_sample=True)
        written += sum(completion(reply) for _, reply in rows)
    _generate.seconds = time.perf_counter() - started  # type: ignore[attr-defined]
    return written


async def vllm(load: Load) -> tuple[Policy, Raw]:
    from warmline.policies.vllm import VLLMPolicy

    policy = VLLMPolicy(os.environ["WARMLINE_BENCH_MODEL"], max_model_len=2048)
    await policy.open()

    async def raw(calls: list[tuple[Request, Reply]]) -> int:
        forced = [dataclasses.replace(r, max_sentences=None, sampling=r.sampling) for r, _ in calls]
        replies = await asyncio.gather(*(policy.respond(request) for request in forced))
        return sum(completion(reply) for reply in replies)

    return policy, raw


def completion(reply: Reply) -> int:
    return max(1, reply.usage.completion_tokens) if reply.usage else 1


ENGINES = {"embedded": embedded, "openai": openai, "transformers": transformers, "vllm": vllm}


async def measure(name: str, load: Load, baselines: bool) -> dict[str, Any]:
    policy, raw = await ENGINES[name](load)
    kept = Kept(policy)
    await play(kept, Load(2, 2, 8), "concurrent")  # warm up
    ours = await play(kept, load, "concurrent")
    calls = list(kept.calls)
    started = time.perf_counter()
    written = await raw(calls)
    seconds = getattr(_generate, "seconds", 0) or time.perf_counter() - started
    direct = written / seconds
    result = {
        "ours": ours,
        "raw_tokens_a_second": direct,
        "ratio": ours["tokens_a_second"] / direct,
    }
    if baselines:
        result["lockstep"] = await play(kept, load, "lockstep")
        few = dataclasses.replace(load, episodes=max(1, load.episodes // 8))
        result["sequential"] = await play(kept, few, "sequential")
    await close_policy(policy)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--engines", nargs="+", default=["embedded", "openai", "transformers"])
    parser.add_argument("--episodes", type=int, default=32)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--no-baselines", action="store_true")
    given = parser.parse_args()
    load = Load(given.episodes, given.turns, given.tokens)
    for name in given.engines:
        result = asyncio.run(measure(name, load, not given.no_baselines))
        print(json.dumps({name: _rounded(result)}), flush=True)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    return round(value, 3) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
