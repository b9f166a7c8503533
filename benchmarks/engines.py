"""Conversations through the environment beside the same engine driven directly, in one run.

For each engine: a batch of conversations, as many open as `run_batch` chooses, every request kept;
then the same requests, all at once and with answers as long as before, straight to the engine's own
interface, drawn alike. The goal is 0.9 of the raw engine's output tokens a second, 0.95 with
`--slots 32` and 64 episodes. Two baselines show what the loop is worth: one after the other, and all in lockstep.

    python benchmarks/engines.py [--engines embedded openai transformers vllm] [--episodes 32]
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from static_batches import Calls, completion, generate

import warmline
from warmline.policies.base import Policy, Reply, Request, Usage, open_policy
from warmline.policies.concurrency import open_conversations

NUMBERS = {
    "in-flight": "vllm, raw: most requests open at once",
    "slots": "vllm: requests computed at once",
    "open": "conversations open; default: chosen by the engine",
}
GIVEN: dict[str, Any] = dict.fromkeys(("model", "in_flight", "open", "slots", "plain"))


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


class Unstable:
    """Begins every prompt with another word, as prompts do that carry a date or a turn count."""

    def __init__(self, inner: Policy) -> None:
        self.inner, self.count = inner, 0

    async def respond(self, request: Request) -> Reply:
        self.count += 1
        first, *others = request.messages
        first = dataclasses.replace(first, content=f"{self.count}. {first.content}")
        return await self.inner.respond(dataclasses.replace(request, messages=(first, *others)))


class NeverEnds:
    """Asks for the verdict and hears no, so that equally many turns are played."""

    def __init__(self, inner: Policy) -> None:
        self.inner = inner

    async def respond(self, request: Request) -> Reply:
        reply = await self.inner.respond(request)
        return dataclasses.replace(reply, text="NO")


def environment(
    policy: Policy, load: Load, judged: bool, speculative: bool
) -> warmline.SupportEnvironment:
    sampling = warmline.Sampling(max_tokens=load.tokens)
    return warmline.SupportEnvironment(
        seeker=warmline.Seeker(policy, sampling=sampling),
        counselor=policy,
        supporter=warmline.Supporter(policy, sampling=sampling),
        judger=warmline.Judger(NeverEnds(policy)) if judged else None,
        min_turns=2,
        speculative=speculative,
        case_dialogues=1,
        max_turns=load.turns,
        max_sentences=20,
        stop_on_farewell=False,
    )


async def play(
    policy: Kept,
    load: Load,
    how: str,
    *,
    unstable: bool = False,
    judged: bool = False,
    speculative: bool = False,
) -> dict[str, Any]:
    """Play the load and measure it; `how` is concurrent, sequential or lockstep."""
    scenarios = warmline.draw_scenarios(load.episodes, seed=0)
    seated: Policy = Unstable(policy) if unstable else policy
    if how == "lockstep":
        seated = LockStep(seated, load.episodes)
    env = environment(seated, load, judged, speculative)
    policy.calls.clear()
    own, started = time.thread_time(), time.perf_counter()
    if how == "sequential":
        episodes: Any = [await env.run(scenario, seed=0) for scenario in scenarios]
    else:
        opened = load.episodes if how == "lockstep" else open_conversations([policy.inner])
        episodes = await warmline.run_batch(env, scenarios, concurrency=GIVEN["open"] or opened)
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


# Each engine: a policy just opened, and a way to send the kept requests to it without us. Every
# measurement gets an engine of its own that has seen none of the prompts.

Raw = Callable[[Calls], Awaitable[float]]
"""Sends them all at once, answers as long as before; gives output tokens a second."""


@asynccontextmanager
async def embedded(load: Load) -> AsyncIterator[tuple[Policy, Raw]]:
    policy = warmline.EmbeddedPolicy(slots=min(16, load.episodes), context_tokens=2048)
    await policy.open()

    async def raw(calls: Calls) -> float:
        engine = policy._opened()
        bodies = [await policy._body(request) for request, _ in calls]

        def one(call: tuple[dict[str, Any], tuple[Request, Reply]]) -> int:
            body, (request, reply) = call
            if request.choices is None:
                body |= {"max_tokens": completion(reply), "ignore_eos": True}
            answer: list[dict[str, Any]] = []
            engine._server.handle_chat_completions({**body, "stream": False}, answer.append)
            return int(answer[0]["usage"]["completion_tokens"])

        def all_of_them() -> float:
            started = time.perf_counter()
            with ThreadPoolExecutor(engine.settings.slots) as pool:
                written = sum(pool.map(one, zip(bodies, calls, strict=True)))
            return written / (time.perf_counter() - started)

        return await asyncio.to_thread(all_of_them)

    yield policy, raw
    await policy.aclose()


@asynccontextmanager
async def openai(load: Load) -> AsyncIterator[tuple[Policy, Raw]]:
    engine = warmline.EmbeddedPolicy(slots=min(16, load.episodes), context_tokens=2048)
    await engine.open()
    os.environ["WARMLINE_BENCH_KEY"] = engine.api_key
    policy = warmline.OpenAIPolicy(
        base_url=engine.base_url, api_key_env="WARMLINE_BENCH_KEY", stream=False
    )
    await policy.open()

    async def raw(calls: Calls) -> float:
        from openai import AsyncOpenAI

        client = AsyncOpenAI(base_url=engine.base_url, api_key=engine.api_key)

        async def one(request: Request, reply: Reply) -> int:
            extra: dict[str, Any] = {"ignore_eos": True}
            if request.choices is not None:
                options = " | ".join(map(json.dumps, request.choices))
                extra = {"grammar": f"root ::= {options}"}
            answer = await client.chat.completions.create(
                model=str(policy.model),
                messages=[{"role": m.role, "content": m.content} for m in request.messages],  # type: ignore[misc]
                max_tokens=completion(reply),
                seed=request.seed,
                extra_body=extra,
            )
            return answer.usage.completion_tokens if answer.usage else 0

        started = time.perf_counter()
        written = sum(await asyncio.gather(*(one(*call) for call in calls)))
        return written / (time.perf_counter() - started)

    yield policy, raw
    await policy.aclose()
    await engine.aclose()


@asynccontextmanager
async def transformers(load: Load) -> AsyncIterator[tuple[Policy, Raw]]:
    from warmline.policies.hf.policy import TransformersPolicy
    from warmline.policies.models.weights import find_weights

    source: Any = GIVEN["model"] or find_weights()
    policy = TransformersPolicy(source, dtype="bfloat16", max_batch=min(32, load.episodes))
    await policy.open()

    async def raw(calls: Calls) -> float:
        return await asyncio.to_thread(generate, source, calls, min(32, load.episodes))

    yield policy, raw
    await policy.aclose()


@asynccontextmanager
async def vllm(load: Load) -> AsyncIterator[tuple[Policy, Raw]]:
    from warmline.policies.vllm.policy import VLLMPolicy

    bound = {"max_num_seqs": GIVEN["slots"]} if GIVEN["slots"] else {}
    source = GIVEN["model"] or os.environ["WARMLINE_BENCH_MODEL"]
    policy = VLLMPolicy(source, max_model_len=2048, engine_args=bound)
    await policy.open()

    async def raw(calls: Calls) -> float:
        from vllm import SamplingParams
        from vllm.sampling_params import StructuredOutputsParams

        engine = policy._opened.engine  # type: ignore[union-attr]
        tokenizer = engine.llm.get_tokenizer()
        gate = asyncio.Semaphore(GIVEN["in_flight"] or len(calls))

        async def one(number: int, request: Request, reply: Reply) -> int:
            chat = [{"role": m.role, "content": m.content} for m in request.messages]
            prompt = tokenizer.apply_chat_template(
                chat, add_generation_prompt=True, return_dict=False
            )
            form: dict[str, Any] = {"ignore_eos": True, "max_tokens": completion(reply)}
            if request.choices is not None:
                choice = StructuredOutputsParams(choice=list(request.choices))
                form = {"structured_outputs": choice, "max_tokens": 32}
            form |= {} if GIVEN["plain"] else drawing(request)
            written = 0
            async with gate:
                async for output in engine.llm.generate(
                    {"prompt_token_ids": list(prompt)}, SamplingParams(**form), f"raw-{number}"
                ):
                    written = len(output.outputs[0].token_ids)
            return written

        async def everything() -> float:
            started = time.perf_counter()
            jobs = (one(number, *call) for number, call in enumerate(calls))
            return sum(await asyncio.gather(*jobs)) / (time.perf_counter() - started)

        rate: float = await engine.run(everything)
        return rate

    yield policy, raw
    await policy.aclose()


def drawing(request: Request) -> dict[str, Any]:
    """How the tokens of the request were drawn: that costs the engine a part of each step."""
    asked: dict[str, Any] = {"seed": request.seed and request.seed % 2**63}
    drawn = request.sampling.as_dict()
    return asked | {n: v for n, v in drawn.items() if n in ("temperature", "top_p", "top_k")}


ENGINES = {"embedded": embedded, "openai": openai, "transformers": transformers, "vllm": vllm}


async def measure(name: str, load: Load, baselines: bool) -> dict[str, Any]:
    calls: Calls = []

    async def fresh(how: str, load: Load, **options: Any) -> dict[str, Any]:
        async with ENGINES[name](load) as (policy, _):
            kept = Kept(policy)
            await play(kept, Load(2, 2, 8), "concurrent")  # warm up
            result = await play(kept, load, how, **options)
            calls[:] = kept.calls
            return result

    ours = await fresh("concurrent", load)
    async with ENGINES[name](load) as (_, raw):
        direct = await raw([call for call in calls if call[1].text])
    result: dict[str, Any] = {
        "ours": ours,
        "raw_tokens_a_second": direct,
        "ratio": ours["tokens_a_second"] / direct,
    }
    if not baselines:
        return result
    few = dataclasses.replace(load, episodes=max(2, load.episodes // 8))
    result["lockstep"] = await fresh("lockstep", load)
    result["sequential"] = await fresh("sequential", few)
    result["unstable_prompts"] = await fresh("concurrent", load, unstable=True)
    for word in (False, True):
        judged = await fresh("concurrent", few, judged=True, speculative=word)
        result[f"judged_{few.episodes}_at_once" + ("_speculative" if word else "")] = judged
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", help="for transformers and vllm: a model's folder")
    for name, meant in NUMBERS.items():
        parser.add_argument(f"--{name}", type=int, help=meant)
    parser.add_argument("--plain", action="store_true", help="vllm, raw: no seeds, no top-p")
    parser.add_argument("--engines", nargs="+", default=["embedded", "openai", "transformers"])
    for name, usual in (("episodes", 32), ("turns", 4), ("tokens", 48)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    parser.add_argument("--no-baselines", action="store_true")
    given = parser.parse_args()
    GIVEN.update({name: getattr(given, name) for name in GIVEN})
    load = Load(given.episodes, given.turns, given.tokens)
    for name in given.engines:
        found = asyncio.run(measure(name, load, not given.no_baselines))
        print(json.dumps({name: found}), flush=True)


if __name__ == "__main__":
    main()
