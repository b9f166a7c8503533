"""Asking again: how often, with which seeds, and what comes back."""

from __future__ import annotations

import pytest

from warmline.core.seeds import reask_seed
from warmline.policies import Message, Request
from warmline.policies.reasking import ask_until_read

ASK = Request((Message("user", "How are you?"),), role="seeker", seed=7)


@pytest.mark.parametrize(
    ("readable", "reasks", "text", "asked"),
    [(0, 2, "ok", 1), (2, 2, "ok", 3), (3, 2, None, 3), (1, 0, None, 1)],
)
async def test_it_asks_until_an_answer_can_be_read_and_not_more_often(
    readable: int, reasks: int, text: str | None, asked: int
) -> None:
    requests: list[Request] = []

    async def ask(request: Request) -> int:
        requests.append(request)
        return len(requests) - 1

    found, answers = await ask_until_read(
        ASK, ask, lambda nth: "ok" if nth >= readable else None, reasks=reasks
    )
    assert found == text
    assert answers == list(range(asked))
    assert [request.seed for request in requests] == [reask_seed(7, n) for n in range(asked)]
    assert all(request.messages == ASK.messages for request in requests)


async def test_an_empty_text_is_an_answer_and_no_seed_stays_none() -> None:
    async def ask(request: Request) -> int | None:
        return request.seed

    unseeded = Request(ASK.messages)
    assert await ask_until_read(unseeded, ask, lambda _: "", reasks=2) == ("", [None])
    assert await ask_until_read(unseeded, ask, lambda _: None, reasks=1) == (None, [None, None])
