"""The `classifier` and `scorer` policies: the contract, batching, and what is refused."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

import warmline.testing
from warmline.agents.roles import STRATEGY_LABELS
from warmline.core.errors import (
    BadRequest,
    ConfigError,
    ContextTooLong,
    DataError,
    EngineUnavailable,
    ModelNotFound,
    PolicyError,
    Unsupported,
)
from warmline.policies.base import Message, Request, Sampling
from warmline.policies.heads.batching import Batcher
from warmline.policies.heads.classifier import ClassifierPolicy, draw_option, split
from warmline.policies.heads.scorer import ScorerPolicy
from warmline.policies.scripted import ScriptedPolicy
from warmline.policies.wrappers.best_of import BestOf

from ..test_contract import hold
from ..tiny_models import save_causal
from .heads_models import save_heads

DIMENSIONS = dict.fromkeys(("empathy", "topic"), ("unhelpful", "helpful"))
TALK = (Message("user", "I could not sleep."),)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_causal(tmp_path_factory.mktemp("tiny") / "base")


@pytest.fixture(scope="module")
def counselor(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("counselor") / "c"
    return save_heads(folder, base, {"strategy": STRATEGY_LABELS}, kind="counselor")


@pytest.fixture(scope="module")
def scorer(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_heads(
        tmp_path_factory.mktemp("scorer") / "s", base, DIMENSIONS, kind="scorer", seed=3
    )


def make(folder: Path, **options: int) -> ClassifierPolicy:
    return ClassifierPolicy(folder, device="cpu", dtype="float32", threads=1, **options)


@pytest.mark.parametrize("check", warmline.testing.POLICY_CHECKS)
async def test_the_contract(check: str, counselor: Path) -> None:
    await hold(lambda: make(counselor), check)


@pytest.mark.parametrize("check", warmline.testing.POLICY_CHECKS)
async def test_the_scorer_keeps_it_too(check: str, scorer: Path) -> None:
    await hold(lambda: ScorerPolicy(scorer, device="cpu", dtype="float32", threads=1), check)


def test_logits_by_hand() -> None:
    """Two heads side by side: of (0, 0) each option has 1/2; of (ln 3, 0, 0), 3/5, 1/5, 1/5."""
    found = split([0.0, 0.0, math.log(3), 0.0, 0.0], {"a": ("x", "y"), "b": ("p", "q", "r")})
    assert {k: math.exp(v) for k, v in found["a"].items()} == pytest.approx({"x": 0.5, "y": 0.5})
    assert [math.exp(v) for v in found["b"].values()] == pytest.approx([0.6, 0.2, 0.2])


def test_temperature_draws_and_zero_does_not() -> None:
    logs = {"a": math.log(0.6), "b": math.log(0.4)}
    assert {draw_option(logs, 0, seed) for seed in range(20)} == {"a"}
    share = sum(draw_option(logs, None, seed) == "a" for seed in range(1000)) / 1000
    assert share == pytest.approx(0.6, abs=0.05)
    cold = sum(draw_option(logs, 0.1, seed) == "a" for seed in range(200)) / 200
    assert cold > 0.95


async def test_a_subset_is_normalised_and_order_does_not_matter(counselor: Path) -> None:
    async with make(counselor) as policy:
        greedy = Sampling(temperature=0.0)
        whole = await policy.respond(Request(TALK, choices=STRATEGY_LABELS, sampling=greedy))
        turned = Request(TALK, choices=STRATEGY_LABELS[::-1], sampling=greedy)
        assert (await policy.respond(turned)).text == whole.text
        two = await policy.respond(Request(TALK, choices=STRATEGY_LABELS[:2], sampling=greedy))
    logs = whole.notes["classifier"]["logprobs"]
    few = two.notes["classifier"]["logprobs"]
    a, b = STRATEGY_LABELS[:2]
    assert few[a] - few[b] == pytest.approx(logs[a] - logs[b])
    assert math.exp(few[a]) + math.exp(few[b]) == pytest.approx(1.0)


async def test_alone_and_together_the_numbers_are_the_same(counselor: Path) -> None:
    prompts = [(Message("user", "word " * n),) for n in range(1, 20)]
    async with make(counselor, max_batch=4) as policy:
        alone = [await policy.predict(prompt) for prompt in prompts]
        together = await asyncio.gather(*(policy.predict(prompt) for prompt in prompts))
    for one, other in zip(alone, together, strict=True):
        assert one.tokens == other.tokens
        assert list(one.logprobs["strategy"].values()) == pytest.approx(
            list(other.logprobs["strategy"].values()), abs=1e-4
        )


async def test_long_dialogues_lose_their_oldest_messages(counselor: Path) -> None:
    talk = [Message("user" if n % 2 == 0 else "assistant", f"{n} " * 40) for n in range(9)]
    async with make(counselor) as policy:
        whole = await policy.predict(talk)
        assert whole.tokens <= 512
        assert whole == await policy.predict([Message("user", "x " * 400), talk[1], *talk[2:]])
        with pytest.raises(ContextTooLong):
            await policy.predict([Message("user", "x " * 600)])


def test_what_is_no_classifier_is_refused(
    base: Path, scorer: Path, counselor: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelNotFound, match="no trained classifier"):
        ClassifierPolicy(base)
    (tmp_path / "checkpoint.json").write_text('{"kind": "sft"}')
    with pytest.raises(ModelNotFound, match=r"\(sft\) has no heads"):
        ClassifierPolicy(tmp_path)
    (tmp_path / "checkpoint.json").write_text("{")
    with pytest.raises(DataError, match="not JSON"):
        ClassifierPolicy(tmp_path)
    with pytest.raises(ConfigError, match="max_batch must be at least 1"):
        ClassifierPolicy(counselor, max_batch=0)
    with pytest.raises(ModelNotFound, match="is a counselor, not a scorer"):
        ScorerPolicy(counselor)


async def test_a_head_that_does_not_fit_is_refused(counselor: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in counselor.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    record = json.loads((copy / "checkpoint.json").read_text())
    record["heads"]["strategy"] = record["heads"]["strategy"][:5]
    (copy / "checkpoint.json").write_text(json.dumps(record))
    with pytest.raises(ConfigError, match="cannot be attached to"):
        await make(copy).open()


async def test_closed_it_says_so(counselor: Path) -> None:
    with pytest.raises(EngineUnavailable, match="not open"):
        await make(counselor).predict(TALK)


def test_its_identity_follows_the_weights(base: Path, counselor: Path, tmp_path: Path) -> None:
    other = save_heads(
        tmp_path / "c", base, {"strategy": STRATEGY_LABELS}, kind="counselor", seed=9
    )
    one, two = make(counselor).describe(), make(other).describe()
    assert one["heads"] == {"strategy": list(STRATEGY_LABELS)}
    assert one["adapters"] != two["adapters"]


# The scorer


async def test_a_reply_holds_only_if_every_dimension_does(scorer: Path) -> None:
    chat = (*TALK, Message("assistant", "That sounds hard."))
    async with ScorerPolicy(scorer, device="cpu", dtype="float32") as policy:
        found = await policy.judge(TALK, "That sounds hard.")
        assert set(found) == {"empathy", "topic"} == set(policy.dimensions)
        assert dict(await policy.label(TALK, "That sounds hard.")) == pytest.approx(found)
        request = Request(chat, choices=("helpful", "unhelpful"), sampling=Sampling(temperature=0))
        reply = await policy.respond(request)
        assert reply.notes["scorer"]["probabilities"] == pytest.approx(found)
        holds = all(value >= 0.5 for value in found.values())
        assert reply.text == ("helpful" if holds else "unhelpful")
        with pytest.raises(Unsupported, match="only answers unhelpful or helpful"):
            await policy.respond(Request(chat, choices=("1", "2")))
        with pytest.raises(BadRequest):
            await policy.respond(Request((), choices=("helpful",)))


async def test_best_of_asks_it_for_its_grade(scorer: Path) -> None:
    """The candidate with the greatest product of probabilities is kept."""
    texts = ["Oh.", "That sounds hard; tell me more?", "zzz zzz"]
    speaker = ScriptedPolicy(lambda request: texts[(request.seed or 0) % 3])
    named = {"policy": "scorer", "model": str(scorer), "device": "cpu", "dtype": "float32"}
    async with BestOf(speaker, n=8, scorer=named) as policy:
        reply = await policy.respond(Request(TALK, seed=0))
    async with ScorerPolicy(scorer, device="cpu", dtype="float32") as judge:
        grades = {t: math.prod((await judge.judge(TALK, t)).values()) for t in texts}
    notes = reply.notes["best_of"]
    drawn_texts = set(notes["texts"].values())
    assert len(drawn_texts) > 1
    assert reply.text == max(drawn_texts, key=grades.__getitem__)
    for key, text in notes["texts"].items():
        assert notes["scores"][key] == pytest.approx(grades[text], rel=1e-3)
    with pytest.raises(ConfigError, match="grades without a rubric"):
        BestOf(speaker, scorer=named, rubric="kind")
    with pytest.raises(ConfigError, match="name no policy"):
        BestOf(speaker, scorer={"model": "x"})


async def test_four_folders_are_one_scorer(base: Path, tmp_path: Path) -> None:
    for seed, name in enumerate(("empathy", "topic")):
        save_heads(tmp_path / name, base, {name: DIMENSIONS[name]}, kind="scorer", seed=seed)
    async with ScorerPolicy(tmp_path, device="cpu", dtype="float32") as policy:
        assert policy.dimensions == ("empathy", "topic")
        assert set(await policy.judge(TALK, "Yes.")) == {"empathy", "topic"}


# The batcher


def test_what_waits_is_computed_together_and_errors_stay_with_their_items() -> None:
    started, go = threading.Event(), threading.Event()
    sizes: list[int] = []

    def compute(items: Sequence[int]) -> list[int | PolicyError]:
        sizes.append(len(items))
        started.set()
        go.wait(5)
        return [BadRequest("odd") if item == 3 else item * 2 for item in items]

    batcher: Batcher[int, int] = Batcher(compute, 4)
    first = batcher.ask(0)
    started.wait(5)
    rest = [batcher.ask(n) for n in range(1, 8)]
    gone = rest.pop(0)
    assert gone.cancel()
    go.set()
    assert first.result(5) == 0
    assert [f.result(5) for f in rest if f is not rest[1]] == [4, 8, 10, 12, 14]
    with pytest.raises(BadRequest, match="odd"):
        rest[1].result(5)
    assert sizes == [1, 4, 2]
    batcher.close()
    with pytest.raises(EngineUnavailable):
        batcher.ask(1)


def test_a_failed_computation_fails_what_was_in_it_and_nothing_else() -> None:
    def compute(items: Sequence[int]) -> list[int | PolicyError]:
        if 13 in items:
            raise RuntimeError("broken")
        return list(items)

    batcher: Batcher[int, int] = Batcher(compute, 1)
    with pytest.raises(EngineUnavailable, match="RuntimeError: broken"):
        batcher.ask(13).result(5)
    assert batcher.ask(1).result(5) == 1
    batcher.close()


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
