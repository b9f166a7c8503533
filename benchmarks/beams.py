"""Ten different replies to a prompt: seconds a context of our diverse beam search, in one run beside

* transformers' last built-in version (4.51.3) in an environment of its own, on the same prompts and
  weights (`--old-python`; see the end of this page for how to make one), and
* ten independent samples by the model's own `generate`, which need not differ.

    python benchmarks/beams.py [--model embedded] [--batches 1 4 8] [--old-python OLD/bin/python]

The other environment: `python -m venv OLD`, then `OLD/bin/pip install torch transformers==4.51.3`.
Each measurement is a process of its own, the sides take turns, and medians are reported. Two processes
of one number must not share cores with other work.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

VOCABULARY = 512
GOAL = 2.0
OURS, OLD, SAMPLES = "ours", "built-in 4.51.3", "samples"


def folder_of(name: str, scratch: Path) -> Path:
    """A model folder that both versions of transformers read, in float32."""
    if name == "tiny":
        from transformers import LlamaConfig, LlamaForCausalLM

        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=VOCABULARY, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, eos_token_id=2, pad_token_id=0,
        )  # fmt: skip
        LlamaForCausalLM(config).save_pretrained(scratch)
        source = scratch
    else:
        from warmline.training.loop.base_model import base_name

        source = Path(base_name(name))
    made = scratch / "both"
    made.mkdir()
    for file in source.glob("*.safetensors*"):
        (made / file.name).symlink_to(file.resolve())
    config = json.loads((source / "config.json").read_text("utf-8"))
    # version 4 knows the rotary base by another name, and ignores this one silently
    config["rope_theta"] = (config.get("rope_parameters") or {}).get("rope_theta", 10000.0)
    config["torch_dtype"] = "float32"
    (made / "config.json").write_text(json.dumps(config), "utf-8")
    return made


def prompts(vocabulary: int, options: argparse.Namespace) -> tuple[torch.Tensor, torch.Tensor]:
    """Random tokens; half of the rows are a quarter shorter and padded on the left."""
    draw = torch.Generator().manual_seed(1)
    ids = torch.randint(3, vocabulary, (options.batch, options.prompt), generator=draw)
    mask = torch.ones_like(ids)
    mask[1::2, : options.prompt // 4] = 0
    return ids.masked_fill(mask == 0, 0), mask


def search(options: argparse.Namespace) -> dict[str, Any]:
    """One measurement: seconds a context, different replies a context, and the tokens."""
    from transformers import AutoModelForCausalLM

    dtype = torch.bfloat16 if options.bfloat16 else torch.float32
    model = AutoModelForCausalLM.from_pretrained(options.folder, torch_dtype=dtype).eval()
    ids, mask = prompts(model.config.vocab_size, options)
    run = runner(options, model, ids, mask)
    run()  # the first pass warms up
    seconds = []
    for _ in range(options.repeats):
        start = time.perf_counter()
        found = run()
        seconds.append((time.perf_counter() - start) / options.batch)
    rows = [[tuple(_spoken(reply)) for reply in context] for context in found]
    distinct = statistics.fmean(len(set(context)) for context in rows)
    return {"seconds": statistics.median(seconds), "distinct": distinct, "rows": rows}


def _spoken(reply: list[int]) -> list[int]:
    return reply[: reply.index(2) + 1] if 2 in reply else reply


def runner(
    options: argparse.Namespace, model: Any, ids: torch.Tensor, mask: torch.Tensor
) -> Callable[[], list[list[list[int]]]]:
    """What is timed: returns the new tokens of every reply."""
    beams, tokens = options.beams, options.tokens
    if options.part == OURS:
        from warmline.training import diverse_beam_search

        def ours() -> Any:
            return diverse_beam_search(
                model, ids, mask, num_beams=beams, num_groups=beams, diversity_penalty=1.0,
                max_new_tokens=tokens, eos_token_id=2, pad_token_id=0,
                compat="transformers" if options.compat else None,
            ).sequences.tolist()  # fmt: skip

        return ours
    wanted: dict[str, Any] = {
        "max_new_tokens": tokens, "num_return_sequences": beams, "pad_token_id": 0,
        "eos_token_id": 2, "attention_mask": mask,
    }  # fmt: skip
    if options.part == OLD:
        wanted |= {"num_beams": beams, "num_beam_groups": beams, "diversity_penalty": 1.0}
        wanted["do_sample"] = False
    else:
        wanted |= {"do_sample": True, "top_k": 0}
    width = ids.shape[1]

    def generate() -> Any:
        torch.manual_seed(0)
        found = model.generate(ids, **wanted)[:, width:]
        return found.view(len(ids), beams, -1).tolist()

    return generate


def alone(options: argparse.Namespace, part: str, batch: int, folder: Path) -> dict[str, Any]:
    """One measurement in a process of its own, for the built-in with another interpreter."""
    python = options.old_python if part == OLD else sys.executable
    words = [python, __file__, "--part", part, "--folder", str(folder), "--batch", str(batch)]
    for name in ("beams", "tokens", "prompt", "repeats"):
        words += [f"--{name}", str(getattr(options, name))]
    words += [f"--{name}" for name in ("bfloat16", "compat") if getattr(options, name)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=os.environ)
    if done.returncode:
        raise SystemExit(f"{part} failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="embedded", help="embedded, a Llama folder, or tiny")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--beams", type=int, default=10)
    parser.add_argument("--tokens", type=int, default=40)
    parser.add_argument("--prompt", type=int, default=112)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--bfloat16", action="store_true")
    parser.add_argument("--compat", action="store_true", help="ours by the old rules, and compared")
    parser.add_argument("--old-python", help="interpreter with transformers 4.51.3")
    parser.add_argument("--json", action="store_true")
    for name in ("part", "folder"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps(search(options)))
        return
    parts = [OURS, *([OLD] if options.old_python else []), SAMPLES]
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = folder_of(options.model, Path(scratch))
        for batch in options.batches:
            found = {part: alone(options, part, batch, folder) for part in parts}
            for part, row in found.items():
                told = {"batch": batch, "side": part, **row}
                told["times_ours"] = row["seconds"] / found[OURS]["seconds"]
                if part == OLD and options.compat:
                    told["same"] = row["rows"] == found[OURS]["rows"]
                del told["rows"]
                rows.append(told)
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        same = "" if "same" not in row else f"  the same tokens: {row['same']}"
        print(
            f"batch {row['batch']:2}  {row['side']:16} {row['seconds']:7.3f} s a context"
            f"  {row['times_ours']:5.2f} times ours  {row['distinct']:4.1f} distinct{same}"
        )
    print(f"goal: the built-in takes at least {GOAL} times as long at batch 4 and more")


if __name__ == "__main__":
    main()
