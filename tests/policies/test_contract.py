"""Every engine keeps the policy contract, on a real engine each.

The `openai` policy on real servers and on stand-ins: `tests/policies/conformance/`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import torch
from autogen_core.models import ChatCompletionClient

import warmline.testing
from warmline.policies.base import Policy, Reply, Request
from warmline.policies.llama.policy import EmbeddedPolicy
from warmline.policies.openai.policy import OpenAIPolicy
from warmline.policies.scripted import ScriptedPolicy

from .chaos_server import ChaosServer
from .tiny_models import save_causal

MINE = """
import warmline


class MyPolicy:
    async def respond(self, request: warmline.Request) -> warmline.Reply:
        return warmline.Reply(text="I am listening.")
"""

CHECKS = pytest.mark.parametrize("check", warmline.testing.POLICY_CHECKS)


async def hold(make: Callable[[], Policy], check: str) -> None:
    try:
        await warmline.testing.check_policy(make, check)
    except warmline.testing.NotApplicable as reason:
        pytest.skip(f"not promised: {reason}")


@CHECKS
async def test_scripted(check: str) -> None:
    def answer(request: Request) -> str:
        if request.schema is not None:
            return '{"feeling": "sad", "strong": true}'
        return request.choices[0] if request.choices else f"Words {request.seed}."

    await hold(lambda: ScriptedPolicy(answer), check)


@CHECKS
async def test_a_policy_of_one_method(check: str) -> None:
    class Bare:
        async def respond(self, request: Request) -> Reply:
            return Reply(text="I hear you.")

    await hold(Bare, check)


def test_the_suite_as_printed_holds_in_a_project_of_its_own(tmp_path: Path) -> None:
    """Without our settings of pytest and its plug-ins; what is not promised was an error there."""
    page = (Path(__file__).parents[2] / "docs/engines.md").read_text("utf-8")
    printed = page.split("```python\n")[1].split("```")[0]
    assert "POLICY_CHECKS" in printed
    (tmp_path / "test_mine.py").write_text(f"{printed}\n\n{MINE}", "utf-8")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:asyncio",
         "-p", "no:cacheprovider", "test_mine.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
        env=os.environ | {"PYTEST_ADDOPTS": ""},
    )  # fmt: skip
    counted = ran.stdout.splitlines()[-1]
    assert ran.returncode == 0, ran.stdout
    assert "skipped" in counted
    assert "passed" in counted


@pytest.mark.embedded
@CHECKS
async def test_embedded(check: str) -> None:
    await hold(lambda: EmbeddedPolicy(slots=4, threads=1, context_tokens=1024), check)


@pytest.mark.embedded
async def test_embedded_holds_its_seeds_when_deterministic() -> None:
    def make() -> EmbeddedPolicy:
        return EmbeddedPolicy(threads=1, context_tokens=1024, deterministic=True)

    await hold(make, "repeats_a_seed")


@CHECKS
async def test_openai_on_a_plain_server(check: str) -> None:
    async with ChaosServer() as server:
        if check in ("names_the_context", "honours_sampling", "fits_the_schema"):
            pytest.skip("this stand-in server knows no context, token limit or enum of ours")
        await hold(lambda: OpenAIPolicy("tiny", base_url=server.base_url), check)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_causal(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@CHECKS
async def test_transformers(check: str, llama: Path) -> None:
    from warmline.policies.hf.policy import TransformersPolicy

    await hold(lambda: TransformersPolicy(llama, device="cpu", deterministic=True), check)


@CHECKS
async def test_autogen(check: str) -> None:
    if check == "names_the_context":
        pytest.skip("the replay client has no context")
    from autogen_ext.models.replay import ReplayChatCompletionClient

    from warmline.policies.autogen.policy import AutogenClientPolicy

    class Obliging(ReplayChatCompletionClient):
        """Answers the first option, or the form, that it was asked for."""

        async def create(self, messages: Any, **options: Any) -> Any:
            asked = str(messages[-1].content)
            options_named = ["Yes, but", "Yes", "Übermut", "不知道"] + [f"a{n}" for n in range(16)]
            self.chat_completions = [
                '{"feeling": "sad", "strong": true}'
                if "feeling" in asked
                else next((o for o in reversed(options_named) if o in asked), "I hear you.")
            ]
            self._current_index = 0
            return await super().create(messages, **options)

    def make() -> AutogenClientPolicy:
        client: ChatCompletionClient = Obliging(["I hear you."])
        return AutogenClientPolicy(client)

    await hold(make, check)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def vllm_engine() -> AsyncIterator[Callable[[], Policy]]:
    """One engine for all checks: it takes half a minute to load, and policies share it."""
    from warmline.policies.vllm.policy import VLLMPolicy

    from .vllm.vllm_models import smollm

    def make() -> Policy:
        # float32: in bfloat16 the same token scores 0.05 apart in another batch
        return VLLMPolicy(smollm(), max_model_len=1024, dtype="float32")

    async with make():  # type: ignore[attr-defined]
        yield make


@pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM has its own stage: make test-vllm")
@pytest.mark.timeout(600)
@pytest.mark.asyncio(loop_scope="module")
@CHECKS
async def test_vllm(check: str, vllm_engine: Callable[[], Policy]) -> None:
    await hold(vllm_engine, check)
