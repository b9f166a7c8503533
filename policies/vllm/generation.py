"""What vLLM's engine writes for one request, as its outputs arrive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..base import TokenLogprob, Usage

Watch = Callable[[str], bool]
"""Called with the text so far; True ends the answer."""


@dataclass(slots=True)
class Generation:
    """What the engine wrote.

    Attributes:
        text: complete characters only.
        finish: `stop`, `length`, or `watch` where the watcher ended it.
        usage: tokens computed, including those after the place where the watcher ended it.
        tokens: ids of the text's tokens, the one that ends an answer not among them.
        logprobs: their log-probabilities (nats), where asked for.
        thinking: what the model thought before `text`, once that is told from it.
        prompt_logprobs: vLLM's entry for each token of the prompt, where asked for.
    """

    text: str = ""
    finish: str = ""
    usage: Usage = field(default_factory=Usage)
    tokens: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    thinking: str = ""
    prompt_logprobs: Sequence[Any] = ()

    def take(self, output: Any) -> int:
        """Add one of vLLM's outputs; gives the number of its tokens."""
        part = output.outputs[0]
        new = list(part.token_ids)
        self.text += part.text
        self.tokens += new
        for token, entry in zip(new, part.logprobs or (), strict=False):
            info = entry[token]
            self.logprobs.append(
                TokenLogprob(info.decoded_token or "", min(0.0, float(info.logprob)))
            )
        self.usage = Usage(
            prompt_tokens=len(output.prompt_token_ids or ()),
            cached_tokens=output.num_cached_tokens or 0,
            completion_tokens=self.usage.completion_tokens + len(new),
        )
        self.prompt_logprobs = output.prompt_logprobs or self.prompt_logprobs
        self.finish = part.finish_reason or self.finish
        return len(new)

    def keep(self, count: int) -> None:
        """Drop the tokens after the first `count`."""
        del self.tokens[count:], self.logprobs[count:]
