"""The conformance table of docs/engines.md: its rows, how a cell is found out, and how it is read."""

from __future__ import annotations

import re
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import warmline.testing
from warmline.core.errors import ContextTooLong, PolicyError, Unsupported
from warmline.policies.base import Message, Request, Sampling
from warmline.policies.openai.policy import OpenAIPolicy

Make = Callable[[], OpenAIPolicy]

PAGE = Path(__file__).parents[3] / "docs" / "engines.md"
BEGIN, END = "<!-- conformance: begin -->", "<!-- conformance: end -->"

COLUMNS = (
    "llama.cpp", "transformers serve", "vLLM", "vLLM, Gemma 2", "SGLang", "Ollama", "OpenAI",
    "o-series, GPT-5", "Mistral", "DeepSeek",
)  # fmt: skip
REAL = frozenset({"llama.cpp", "transformers serve", "vLLM"})

NEEDS = {
    "chooses_among_the_options": "choices",
    "fits_the_schema": "schema",
    "stops_at_the_sentence_limit": "max_sentences",
    "begins_with_the_prefill": "prefill",
    "gives_logprobs": "logprobs",
}
"""Checks that also pass where a policy refuses what they are about, and the capability."""

UNTRIED = {
    ("llama.cpp", "repeats_a_seed"): "by batch",
    ("transformers serve", "a prompt beyond the context"): "no end",
}
"""Cells that no test can fix, with what stands in them: llama.cpp's seeds depend on what shares the
batch; `transformers serve` computes a prompt of any length until the client gives up."""

_TALK = (Message("system", "You listen to people."), Message("user", "I could not sleep."))


async def _system(make: Make) -> str:
    async with make() as policy:
        reply = await policy.respond(Request(_TALK, seed=3, sampling=Sampling(max_tokens=8)))
    return "folded" if (reply.notes or {}).get("openai", {}).get("folded") else "as it is"


async def _left_out(make: Make) -> str:
    sampling = Sampling(temperature=0.7, top_p=0.9, max_tokens=8)
    async with make() as policy:
        reply = await policy.respond(Request(_TALK, seed=3, sampling=sampling))
    names = (reply.notes or {}).get("openai", {}).get("not_sent", [])
    return ", ".join(names) or "nothing"


async def _too_long(make: Make) -> str:
    async with make() as policy:
        try:
            said = Message("user", "word " * 200_000)
            reply = await policy.respond(Request((_TALK[0], said), sampling=Sampling(max_tokens=4)))
        except ContextTooLong as error:
            return "error" if error.prompt_tokens and error.context_tokens else "error, no numbers"
    return "cut, told" if (reply.notes or {}).get("openai", {}).get("prompt_cut") else "answered"


_OWN: dict[str, Callable[[Make], Awaitable[str]]] = {
    "a system message": _system,
    "left out where refused": _left_out,
    "a prompt beyond the context": _too_long,
}
_LEFT_OUT = ("scores_like_it_speaks", "names_the_context")
"""The `openai` policy never scores; and of a long prompt our own row tells more."""

ROWS = (*(check for check in warmline.testing.POLICY_CHECKS if check not in _LEFT_OUT), *_OWN)


async def outcome(make: Make, row: str) -> str:
    """What a server does in one row: see the legend in docs/engines.md."""
    policies: list[OpenAIPolicy] = []

    def made() -> OpenAIPolicy:
        policies.append(make())
        return policies[-1]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            if row in _OWN:
                return await _OWN[row](made)
            await warmline.testing.check_policy(made, row)
        except warmline.testing.NotApplicable:
            return "–"
        except Unsupported:
            return "refused"
        except PolicyError as error:
            return f"`{type(error).__name__}`"
        except AssertionError:
            return "no"
    needed = NEEDS.get(row)
    able: Any = policies[-1].capabilities
    return "yes" if needed is None or getattr(able, needed) else "refused"


def read_table() -> dict[str, dict[str, str]]:
    """Row, column, cell; as the page has them now."""
    page = PAGE.read_text("utf-8")
    found = re.search(f"{BEGIN}\n(.*?)\n{END}", page, re.DOTALL)
    assert found is not None, f"{PAGE} has no conformance table between its marks"
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in found[1].splitlines()
    ]
    heads = [head.removesuffix(" *") for head in lines[0][1:]]
    return {cells[0]: dict(zip(heads, cells[1:], strict=True)) for cells in lines[2:]}


def write_table(cells: dict[str, dict[str, str]]) -> None:
    """Put the table between the marks of the page."""
    heads = [name if name in REAL else f"{name} *" for name in COLUMNS]
    lines = ["| | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for row in ROWS:
        shown = [cells.get(label(row), {}).get(name, "") for name in COLUMNS]
        lines.append(f"| {label(row)} | " + " | ".join(shown) + " |")
    page = PAGE.read_text("utf-8")
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    table = "\n".join(lines)
    PAGE.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", "utf-8")


def label(row: str) -> str:
    """A row as the table names it."""
    return row.replace("_", " ")
