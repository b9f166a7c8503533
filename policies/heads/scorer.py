"""The `scorer` policy: judges a reply on the dimensions that it was trained for (FPEMF §4.1).

It judges in three places: as the ranker of `best_of`, as the labeller of FPEMF's candidates, and as
the rater of whole conversations. As a policy it answers `helpful` or `unhelpful` of a chat's last
message.
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...core.errors import BadRequest, ModelNotFound, Unsupported
from ..base import BasePolicy, FinishReason, Message, Reply, Request, Usage
from ..wrappers.ranking import Grade
from .classifier import CHECKPOINT_NAME, ClassifierPolicy, Prediction, draw_option, read_record

HOLDS, FAILS = "helpful", "unhelpful"
ANSWERS = (FAILS, HOLDS)
"""The options of each dimension's head."""
RUBRIC = "warmline-scorer/1"
"""Values are probabilities that a dimension holds; it holds from 0.5 on."""


class ScorerPolicy(BasePolicy):
    """Judges replies; a reply is helpful only if every dimension holds.

    At temperature 0 each dimension holds from a probability of 0.5 on; another temperature draws
    from the product of the probabilities. `Reply.notes["scorer"]` holds the probabilities.

    Args:
        model: a folder that `warmline train scorer` wrote: one checkpoint for all dimensions, or a
            sub-folder each.
        device, dtype, max_batch, threads: see the `classifier` policy.

    Raises:
        ModelNotFound: the folder holds no scorer.
        ConfigError, MissingExtra: see the `classifier` policy.
    """

    name = "scorer"
    capabilities = ClassifierPolicy.capabilities

    def __init__(
        self,
        model: str | Path,
        *,
        device: str = "auto",
        dtype: Any = "auto",
        max_batch: int = 32,
        threads: int | None = None,
    ) -> None:
        folder = Path(model).expanduser()
        self._parts = [
            ClassifierPolicy(part, device=device, dtype=dtype, max_batch=max_batch, threads=threads)
            for part in scorer_folders(folder)
        ]
        self.id = f"{self.name}:{folder.name}"
        self.capabilities = dataclasses.replace(type(self).capabilities, only=ANSWERS)

    @property
    def dimensions(self) -> tuple[str, ...]:
        """What is judged, in order."""
        return tuple(name for part in self._parts for name in part.heads)

    async def open(self) -> None:
        """Load the model."""
        for part in self._parts:
            await part.open()

    async def aclose(self) -> None:
        """Free it. Safe to call twice."""
        for part in self._parts:
            await part.aclose()

    def describe(self) -> dict[str, Any]:
        """Weights, dimensions and what shapes the numbers."""
        return {"policy": self.name, "parts": [part.describe() for part in self._parts]}

    async def respond(self, request: Request) -> Reply:
        """Judge the last message, whoever wrote it; see `Policy.respond`.

        Raises:
            Unsupported: choices that are not `helpful` and `unhelpful`.
            BadRequest: no messages.
        """
        started = time.perf_counter()
        self.check(request)
        if request.choices is None or not set(request.choices) <= set(ANSWERS):
            raise Unsupported(
                f"'{self.id}' only answers {' or '.join(ANSWERS)}, not"
                f" {request.choices or 'in free text'}",
                hint="use it as the scorer of best_of or the judge of FPEMF",
            )
        if not request.messages:
            raise BadRequest("the request has no messages", hint="the last one is judged")
        found, tokens = await self._predict(request.messages[:-1], request.messages[-1].content)
        every = math.prod(found.values())
        if request.sampling.temperature == 0:
            every = float(all(value >= 0.5 for value in found.values()))
        logs = {HOLDS: _log(every), FAILS: _log(1 - every)}
        asked = {choice: logs[choice] for choice in request.choices}
        return Reply(
            text=draw_option(asked, request.sampling.temperature, request.seed),
            finish_reason=FinishReason.CHOICE,
            usage=Usage(tokens, 0, 0),
            latency=time.perf_counter() - started,
            policy=self.id,
            notes={"scorer": {"probabilities": found}},
        )

    async def judge(self, messages: Sequence[Message], reply: str) -> dict[str, float]:
        """By dimension the probability that it holds.

        Args:
            messages: what the reply answers, as chat messages; instructions and notes are not read.
            reply: the supporter's.

        Raises:
            EngineUnavailable: not open.
            ContextTooLong: the reply alone is longer than the model reads.
        """
        return (await self._predict(messages, reply))[0]

    async def label(self, prompt: tuple[Message, ...], reply: str) -> Mapping[str, float | None]:
        """FPEMF's question about one candidate; see `training.feedback.Labeller`."""
        return await self.judge(prompt, reply)

    async def grade(self, request: Request, reply: Reply) -> Grade:
        """`best_of`'s question: the probability that all dimensions hold, taken as independent."""
        return Grade(math.prod((await self.judge(request.messages, reply.text)).values()))

    async def _predict(
        self, messages: Sequence[Message], reply: str
    ) -> tuple[dict[str, float], int]:
        chat = (*messages, Message("assistant", reply))
        predictions: list[Prediction] = await asyncio.gather(
            *(part.predict(chat) for part in self._parts)
        )
        found = {
            name: math.exp(options[HOLDS])
            for each in predictions
            for name, options in each.logprobs.items()
        }
        return found, sum(each.tokens for each in predictions)


def scorer_folders(folder: Path) -> list[Path]:
    """The checkpoints of a scorer: the folder itself, or its sub-folders.

    Raises:
        ModelNotFound: there is none, or one of another kind.
    """
    inside = sorted(file.parent for file in folder.glob(f"*/{CHECKPOINT_NAME}"))
    found = [folder] if (folder / CHECKPOINT_NAME).is_file() or not inside else inside
    for part in found:
        if (kind := read_record(part).get("kind")) != "scorer":
            raise ModelNotFound(
                f"the checkpoint '{part}' is a {kind}, not a scorer",
                hint="`warmline train scorer` makes one",
            )
    return found


def _log(probability: float) -> float:
    return math.log(probability) if probability > 0 else -1e9
