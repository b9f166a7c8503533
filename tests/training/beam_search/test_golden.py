"""Diverse beam search gives token for token what transformers 4.51.3 gave.

`golden_beams.json` was made in an environment of its own (torch 2.13.0, transformers 4.51.3): for each
of `golden_models.CASES` the model was built by `golden_models.build` and asked by `model.generate(ids,
attention_mask=mask, num_beam_groups=…, num_return_sequences=num_beams, max_new_tokens=10,
do_sample=False, pad_token_id=…, output_scores=True)`; kept were the new tokens up to the first end
token, and `sequences_scores`. The case `smollm` was made the same way from the weights of
SmolLM2-135M-Instruct in bfloat16, computed in float32 (4 beams, 4 groups, penalty 1, 12 tokens).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from warmline.core.errors import WarmlineError
from warmline.training import diverse_beam_search

from ..golden_models import CASES, EOS, MAX_NEW_TOKENS, build, prompts

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "golden_beams.json").read_text())


def spoken(output: Any, context: int) -> list[list[int]]:
    """The replies to one prompt, without padding."""
    rows = zip(output.sequences[context].tolist(), output.lengths[context].tolist(), strict=True)
    return [tokens[:length] for tokens, length in rows]


@pytest.mark.parametrize("number", range(len(CASES)))
def test_as_the_old_built_in(number: int) -> None:
    golden = GOLDEN["cases"][number]
    case = dict(golden["case"])
    assert case == CASES[number]
    kind, pad = case.pop("kind"), case.pop("pad")
    model = build(kind, pad=pad, eos_bias=case.pop("eos_bias"))
    found = diverse_beam_search(
        model, *prompts(kind), max_new_tokens=MAX_NEW_TOKENS, compat="transformers", **case
    )
    assert [spoken(found, context) for context in range(3)] == golden["sequences"]
    assert torch.allclose(found.scores, torch.tensor(golden["scores"]), atol=2e-3)


def test_the_cases_are_worth_it() -> None:
    """Sequences that end, sequences that do not, and duplicates that the default avoids."""
    replies = [tuple(r) for case in GOLDEN["cases"] for c in case["sequences"] for r in c]
    assert 300 < sum(reply[-1] == EOS for reply in replies) < len(replies) - 300
    contexts = [c for case in GOLDEN["cases"] for c in case["sequences"]]
    assert sum(len(c) - len({tuple(r) for r in c}) for c in contexts) > 100


@pytest.mark.embedded
def test_smollm_as_the_old_built_in() -> None:
    from transformers import AutoModelForCausalLM

    from warmline.policies.models.weights import find_weights

    from ...policies.vllm.vllm_models import smollm

    try:
        find_weights()
    except WarmlineError as error:
        pytest.skip(f"no weights on this machine: {error}")
    model = AutoModelForCausalLM.from_pretrained(smollm(), dtype=torch.float32)
    golden = GOLDEN["smollm"]
    longest = max(map(len, golden["prompts"]))
    ids = [[0] * (longest - len(p)) + p for p in golden["prompts"]]
    mask = [[0] * (longest - len(p)) + [1] * len(p) for p in golden["prompts"]]
    found = diverse_beam_search(
        model,
        torch.tensor(ids),
        torch.tensor(mask),
        num_beams=4,
        num_groups=4,
        diversity_penalty=1.0,
        max_new_tokens=12,
        pad_token_id=0,
        compat="transformers",
    )
    assert [spoken(found, context) for context in range(2)] == golden["sequences"]
    assert torch.allclose(found.scores, torch.tensor(golden["scores"]), atol=2e-3)
