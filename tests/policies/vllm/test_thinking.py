"""The two passes of a model that thinks in vLLM; what vLLM would write stands here by hand."""

from __future__ import annotations

from warmline.policies.base import Message, Request, Sampling, Usage
from warmline.policies.thinking.reader import PAIRS
from warmline.policies.vllm.generation import Generation, Watch
from warmline.policies.vllm.thinking import think_and_answer

ASK = Request((Message("user", "Hello."),), sampling=Sampling(max_tokens=20))


class Passes:
    """Writes given texts in pieces, as far as the watch lets it."""

    def __init__(self, *texts: tuple[str, str]) -> None:
        self._texts = list(texts)
        self.asked: list[tuple[Request, str, int]] = []

    async def __call__(
        self, request: Request, after: str, watch: Watch | None, room: int
    ) -> Generation:
        self.asked.append((request, after, room))
        text, finish = self._texts.pop(0)
        for end in range(1, len(text) + 1):
            if watch is not None and watch(text[:end]):
                return Generation(text[:end], "watch", Usage(9, 3, end))
        return Generation(text, finish, Usage(9, 3, len(text)))


async def test_one_pass_is_enough_for_free_text() -> None:
    passes = Passes(("<think>One. Two. Three.</think>\n\nFine. Good. And more.", "stop"))
    request = Request(ASK.messages, sampling=ASK.sampling, max_sentences=2)
    answer = await think_and_answer(PAIRS[0], request, passes, begun=False)
    assert (answer.thinking, answer.text, answer.finish) == (
        "One. Two. Three.", "Fine. Good. And m", "watch",
    )  # fmt: skip
    assert len(passes.asked) == 1


async def test_a_choice_binds_the_second_pass() -> None:
    passes = Passes(("Is it over?\n</think>\n\nYES or", "stop"), ("YES", "stop"))
    request = Request(ASK.messages, choices=("YES", "NO"), sampling=ASK.sampling)
    answer = await think_and_answer(PAIRS[0], request, passes, begun=True)
    assert (answer.thinking, answer.text) == ("Is it over?", "YES")
    (free, _, room), (bound, after, more) = passes.asked
    assert (free.choices, bound.choices) == (None, ("YES", "NO"))
    assert after == "Is it over?\n</think>\n\n"
    assert (room, more) == (2048, 0)
    assert answer.usage.prompt_tokens == 9


async def test_thinking_that_does_not_end_is_ended() -> None:
    passes = Passes(("<think>On and on", "length"), ("Fine.", "stop"))
    limited = Sampling(max_tokens=20, max_thinking_tokens=7)
    request = Request(ASK.messages, sampling=limited)
    answer = await think_and_answer(PAIRS[0], request, passes, begun=False)
    assert (answer.thinking, answer.text) == ("On and on", "Fine.")
    assert passes.asked[0][2] == 7
    assert passes.asked[1][1] == "<think>On and on\n</think>\n\n"
