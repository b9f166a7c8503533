"""Choosing among options: the grammar that allows them, and calibrated scores.

A small model asked for one of several labels tends to give the same one whatever it has read. Its
score for an option can be corrected by the score that it gives without having read anything:

    score(option) = log P(option | dialogue, question) - log P(option | question)

(contextual calibration, after Zhao et al., 2021, "Calibrate Before Use"; as a difference of
log-probabilities it is the domain-conditional PMI of Holtzman et al., 2021). The engine gives no
log-probabilities of a prompt, so each option is forced by a grammar and those of its tokens summed.

Measured with the default model on 28 supporter turns of ESConv and eight strategies (3.5 right
by chance): when choosing the next strategy, the most frequent choice fell from 23 to 17 of 28, and
3 were right instead of 5; when naming the strategy of a given turn, it fell from 28 to 16, and 3
were right with either method. Scoring how well each strategy explains the given turn (noisy
channel) got 1 right and was left out.
"""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable, Sequence

from .base import Message, Usage

Score = Callable[[Sequence[Message], str], Awaitable[tuple[float, Usage]]]
"""Log-probability (nats) of a text as the answer to messages, and the tokens it took."""

Tokeniser = Callable[[str], Awaitable[list[int]]]

_MAX_BASELINES = 64


async def choice_grammar(options: Sequence[str], tokens: Tokeniser) -> str:
    """The GBNF grammar of exactly these texts, where possible of their usual tokens.

    A grammar of characters would let the model spell an option in letters (`A`, `f`, `f`, ...),
    which it judges by the first letter and finds most unlikely as a whole. Options beyond ASCII are
    still given as characters: this llama.cpp fails where a token ends within one.
    """
    if not all(option.isascii() and option for option in options):
        return "root ::= " + " | ".join(map(_literal, options))
    spelled = [await tokens(option) for option in options]
    return "root ::= " + " | ".join(" ".join(f"<[{t}]>" for t in ids) for ids in spelled)


def _literal(option: str) -> str:
    for plain, escaped in (
        ("\\", "\\\\"),
        ('"', '\\"'),
        ("\n", "\\n"),
        ("\r", "\\r"),
        ("\t", "\\t"),
    ):
        option = option.replace(plain, escaped)
    return f'"{option}"'


class CalibratedChoice:
    """Scores options and draws one; remembers the scores without dialogue.

    Args:
        score: asks the engine.
    """

    def __init__(self, score: Score) -> None:
        self._score = score
        self._baselines: dict[tuple[tuple[Message, ...], tuple[str, ...]], list[float]] = {}

    async def choose(
        self,
        messages: tuple[Message, ...],
        options: tuple[str, ...],
        *,
        temperature: float,
        seed: int | None,
    ) -> tuple[str, Usage]:
        """One of `options`, drawn by softmax of its calibrated score over `temperature`.

        Args:
            temperature: 0 takes the best.
        """
        informed, usage = await self._scores(messages, options)
        blind, blind_usage = await self._baseline(question_alone(messages), options)
        scores = [a - b for a, b in zip(informed, blind, strict=True)]
        return draw(options, scores, temperature, seed), usage + blind_usage

    async def _scores(
        self, messages: Sequence[Message], options: Sequence[str]
    ) -> tuple[list[float], Usage]:
        # One after the other: the options then share one slot's prompt, instead of each slot
        # reading the same prompt for itself.
        scores, usage = [], Usage()
        for option in options:
            score, used = await self._score(messages, option)
            scores.append(score)
            usage += used
        return scores, usage

    async def _baseline(
        self, messages: tuple[Message, ...], options: tuple[str, ...]
    ) -> tuple[list[float], Usage]:
        key = (messages, options)
        if (known := self._baselines.get(key)) is not None:
            return known, Usage()
        scores, usage = await self._scores(messages, options)
        if len(self._baselines) >= _MAX_BASELINES:
            del self._baselines[next(iter(self._baselines))]
        self._baselines[key] = scores
        return scores, usage


def question_alone(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The system messages and the question: the last paragraph of the last message.

    Where that leaves nothing out, the question is empty.
    """
    system = tuple(message for message in messages if message.role == "system")
    if not messages or messages[-1].role == "system":
        return (*system, Message("user", ""))
    last = messages[-1]
    alone = (*system, Message(last.role, last.content.rstrip().rpartition("\n\n")[2]))
    return (*system, Message(last.role, "")) if alone == messages else alone


def draw(
    options: Sequence[str], scores: Sequence[float], temperature: float, seed: int | None
) -> str:
    """One option by softmax of `scores / temperature`; at 0 the best, the first among equals."""
    best = max(scores)
    if temperature == 0:
        return options[scores.index(best)]
    weights = [math.exp((score - best) / temperature) for score in scores]
    return random.Random(seed).choices(options, weights)[0]  # noqa: S311 (not for secrets)
