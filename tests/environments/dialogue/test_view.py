"""One view of the dialogue: seated, evaluated and trained, a supporter gets the same prompt."""

from __future__ import annotations

import pytest

from warmline import ScriptedPolicy, SupportEnvironment, Supporter
from warmline.agents import Role, SupporterBrief, Turn
from warmline.environments.dialogue.view import counselor_view, supporter_view
from warmline.evaluation.replies.generate import ReplyMaker, generate_replies
from warmline.training.rows.build import build_rows
from warmline.training.rows.settings import RowSettings

from ..helpers import scenario, talk


@pytest.mark.parametrize("window", [1, 3, 6])
async def test_seated_evaluated_and_trained_prompts_are_equal(window: int) -> None:
    policy = talk()
    seated = SupportEnvironment(
        seeker=policy, supporter=policy, max_turns=8, case_dialogues=0, history_window=window
    )
    episode = await seated.run(scenario(), seed=1)
    asked = [episode.call_messages(call) for call in episode.calls if call.role == "supporter"]
    evaluated = ScriptedPolicy(lambda request: "I see.")
    await generate_replies(
        [episode], ReplyMaker(Supporter(evaluated), history_window=window), concurrency=1
    )
    rows = build_rows([episode], RowSettings(history_window=window, strategy="hidden")).rows
    assert [request.messages for request in evaluated.requests] == asked
    assert [row.prompt for row in rows] == asked
    assert len(asked) == 4


def test_turns_without_text_are_not_shown_but_count_in_the_window() -> None:
    said = [Turn(Role.SEEKER, "a"), Turn(Role.SUPPORTER, " "), Turn(Role.SEEKER, "b")]
    brief = SupporterBrief("Job Crisis")
    assert [turn.text for turn in supporter_view(brief, said, window=2).history] == ["b"]
    assert [turn.text for turn in supporter_view(brief, said, window=None).history] == ["a", "b"]
    assert [turn.text for turn in counselor_view(said).history] == ["a", "b"]
    assert supporter_view(brief, said).turn == counselor_view(said).turn == 1
