"""The `openai` policy on `transformers serve`, a server that ignores much of what it is asked.

It answers choices, schemas and log-probabilities with plain text. Each must come out as an error, and
what the server does honour must keep the contract.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

import warmline.testing
from warmline.core.errors import UnreadableReply, Unsupported
from warmline.policies.openai.policy import OpenAIPolicy

from ..tiny_models import save_causal

pytestmark = [
    pytest.mark.skipif(find_spec("fastapi") is None, reason="`transformers serve` needs fastapi"),
    pytest.mark.timeout(300),
]

KEPT = (
    "answers",
    "repeats_a_seed",
    "stops_at_the_sentence_limit",
    "begins_with_the_prefill",
    "honours_sampling",
    "takes_unicode",
    "takes_an_empty_message",
)
REFUSED = {
    "keeps_order": UnreadableReply,
    "chooses_among_the_options": UnreadableReply,
    "fits_the_schema": UnreadableReply,
    "gives_logprobs": Unsupported,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    folder = tmp_path_factory.mktemp("served")
    model = save_causal(folder)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        str(Path(sys.executable).with_name("transformers")), "serve", str(model),
        "--host", "127.0.0.1", "--port", str(port), "--device", "cpu",
    ]  # fmt: skip
    said = folder / "server.log"
    with said.open("wb") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        )
    try:
        _wait_for(process, f"http://127.0.0.1:{port}/health", said)
        yield f"http://127.0.0.1:{port}/v1", str(model)
    finally:
        process.kill()
        process.wait()


def _wait_for(process: subprocess.Popen[bytes], health: str, said: Path) -> None:
    ends = time.monotonic() + 120
    while time.monotonic() < ends:
        if process.poll() is not None:
            pytest.fail(f"transformers serve ended: {said.read_text()[-2000:]}")
        try:
            urllib.request.urlopen(health, timeout=2).close()
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.5)
        else:
            return
    pytest.fail(f"transformers serve did not start: {said.read_text()[-2000:]}")


@pytest.mark.parametrize("check", KEPT)
async def test_what_it_honours_keeps_the_contract(check: str, server: tuple[str, str]) -> None:
    url, model = server
    await warmline.testing.check_policy(lambda: OpenAIPolicy(model, base_url=url), check)


@pytest.mark.parametrize("check", REFUSED)
async def test_what_it_ignores_is_an_error(check: str, server: tuple[str, str]) -> None:
    url, model = server
    with pytest.raises(REFUSED[check]):
        await warmline.testing.check_policy(lambda: OpenAIPolicy(model, base_url=url), check)
