"""Engines in a process that was forked from their own: one clear error, and no hang."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import asyncio, os, sys, time
import warmline
from warmline.core.errors import PolicyError
from warmline.policies import Message, Request, Sampling, make_policy

REQUEST = Request((Message("user", "Hi."),), sampling=Sampling(max_tokens=4))
LOOP = asyncio.new_event_loop()

def ask(policy, request=REQUEST):
    try:
        return "answered" if LOOP.run_until_complete(policy.respond(request)).text else "empty"
    except PolicyError as error:
        return f"{type(error).__name__}: {error.message} // {error.hint}"

def forked(*policies):
    global LOOP
    if child := os.fork():
        end = time.monotonic() + 20
        while time.monotonic() < end:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return print("child ended with", os.waitstatus_to_exitcode(status), flush=True)
            time.sleep(0.05)
        os.kill(child, 9)
        return print("child hangs", flush=True)
    LOOP = asyncio.new_event_loop()
    for policy in policies:
        print("child:", ask(policy), flush=True)
        LOOP.run_until_complete(policy.aclose())
    os._exit(3)  # as multiprocessing ends; not every library's own clean-up survives a fork

def main(*specs):
    policies = [make_policy(name, model=model) for name, model in specs]
    for policy in policies:
        print("parent:", ask(policy), flush=True)
    forked(*policies, make_policy(specs[0][0], model=specs[0][1]))
    print("parent:", ask(policies[0]), flush=True)
    for policy in policies:
        LOOP.run_until_complete(policy.aclose())
"""


def run(script: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT + script], capture_output=True, text=True, timeout=100,
        check=False, env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def check(lines: list[str], name: str) -> None:
    """What both policies say in the child: the open one, and a new one of equal settings."""
    first, used, opened, ended, last = lines
    assert first == last == "parent: answered"
    assert used.startswith(f"child: Forked: the engine of '{name}")
    assert "' was opened in process " in used
    assert opened.startswith("child: Forked: an engine of this kind was opened in process ")
    assert "get_context('spawn')" in used
    assert ended == "child ended with 3"


@pytest.mark.embedded
def test_the_embedded_engine() -> None:
    check(run("main(('embedded', None))"), "SmolLM2-135M-Instruct.Q8_0")


def test_the_transformers_engine(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the extra `transformers` is not installed")
    from .tiny_models import save_causal

    folder = save_causal(tmp_path / "model")
    check(run(f"main(('transformers', {str(folder)!r}))"), "model")


@pytest.mark.embedded
def test_connections_of_a_loop_are_not_shared_and_new_ones_can_be_made() -> None:
    """The server is the embedded engine, which goes on in the parent."""
    lines = run(
        """
from warmline.policies.openai.policy import OpenAIPolicy
engine = make_policy("embedded")
LOOP.run_until_complete(engine.open())
os.environ["FORK_KEY"] = engine.api_key
policy = OpenAIPolicy(base_url=engine.base_url, api_key_env="FORK_KEY", model="any")
print(ask(policy), flush=True)
if not os.fork():
    print(ask(policy), flush=True)
    print(asyncio.run(policy.respond(REQUEST)).finish_reason.value, flush=True)
    os._exit(0)
os.wait()
print(ask(policy), flush=True)
LOOP.run_until_complete(policy.aclose())
LOOP.run_until_complete(engine.aclose())
"""
    )
    assert lines[0] == lines[-1] == "answered"
    assert lines[1].startswith("Forked: the connections to http://127.0.0.1:")
    assert lines[2] in ("length", "stop")


def test_a_classifier(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the extra `transformers` is not installed")
    from warmline.core.errors import PolicyError
    from warmline.policies.heads.batching import Batcher

    batcher: Batcher[int, int] = Batcher(lambda items: [2 * item for item in items], 4)
    assert batcher.ask(4).result() == 8
    read, write = os.pipe()
    if not os.fork():
        try:
            batcher.ask(4)
        except PolicyError as error:
            os.write(write, error.message.encode())
        batcher.close()
        os._exit(0)
    os.wait()
    assert os.read(read, 500).startswith(b"the classifier was opened in process")
    batcher.close()
