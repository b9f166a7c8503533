"""Nothing but our own words from training, loading and answering in Python."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ...policies.tiny_models import save_causal
from ..building import CHATML, TEMPLATE, varied, write_log

SCRIPT = """
import asyncio, sys
from transformers.utils import logging
from warmline.policies import Message, Request
from warmline.policies.hf.policy import TransformersPolicy
from warmline.training import SftSettings, train_sft

model, data, template, out = sys.argv[1:]
train_sft(SftSettings(model=model, data=(data,), out=out, template=template, max_steps=2, device="cpu"))

async def answer():
    async with TransformersPolicy(out) as policy:
        await policy.respond(Request((Message("user", "Hello"),), max_sentences=1))

asyncio.run(answer())
assert logging.is_progress_bar_enabled()
assert logging.get_verbosity() == logging.WARNING
"""


def test_the_libraries_stay_quiet_and_are_themselves_afterwards(tmp_path: Path) -> None:
    model = save_causal(tmp_path / "model", chat_template=CHATML)
    data = write_log(tmp_path / "run", varied(6))
    environment = {k: v for k, v in os.environ.items() if k != "TRANSFORMERS_VERBOSITY"}
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, model, data, TEMPLATE, tmp_path / "m0"],
        env=environment, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
