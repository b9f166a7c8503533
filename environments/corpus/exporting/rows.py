"""Rows of a data set from an episode: pure functions, one a row shape.

`messages` and `prompt_completion` are TRL's conversational language-modelling and prompt-completion
shapes, `sharegpt` is ShareGPT's, `dialogues` is our own, with all that a reader of the corpus may
know. In the first three the dialogue alternates and starts with the seeker, as chat templates ask:
utterances of one speaker in a row are joined by a space, and supporter utterances before the first
seeker utterance are left out. What is private to the seeker (situation, profile) never gets into a
message; it can be a column of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, Literal

from ....agents.roles import Role
from ...episodes.episode import Episode, Utterance

Row = dict[str, Any]
RowShape = Literal["messages", "prompt_completion", "sharegpt", "dialogues"]

_CHAT = {Role.SEEKER: "user", Role.SUPPORTER: "assistant"}
_SHAREGPT = {"user": "human", "assistant": "gpt"}


def chat_messages(utterances: Sequence[Utterance], *, strategy: bool = False) -> list[Row]:
    """The dialogue as alternating chat messages, user first.

    Args:
        utterances: in order.
        strategy: put the strategy before each supporter utterance: `[Question] What happened?`
    """
    messages: list[Row] = []
    for role, said in groupby(utterances, key=lambda u: u.role):
        if not messages and role is Role.SUPPORTER:
            continue
        text = " ".join(_shown(utterance, strategy) for utterance in said)
        messages.append({"role": _CHAT[role], "content": text})
    return messages


def messages_rows(episode: Episode, *, strategy: bool = False) -> list[Row]:
    """One row of TRL's shape `{"messages": [...]}`; none if the supporter never answers."""
    messages = chat_messages(episode.utterances, strategy=strategy)
    return [{"messages": messages}] if len(messages) > 1 else []


def prompt_completion_rows(
    episode: Episode, *, history: int | None = None, strategy: bool = False
) -> list[Row]:
    """One row of TRL's shape `{"prompt": [...], "completion": [...]}` for each supporter turn.

    Args:
        episode: the conversation.
        history: at most this many messages in the prompt, the latest; a prompt that would start
            with the supporter loses that message too. None is all.
        strategy: see `chat_messages`.
    """
    messages = chat_messages(episode.utterances, strategy=strategy)
    rows = []
    for index in range(1, len(messages), 2):
        start = 0 if history is None else max(0, index - history)
        prompt = messages[start + start % 2 : index]
        rows.append({"prompt": prompt, "completion": [messages[index]]})
    return rows


def sharegpt_rows(episode: Episode, *, strategy: bool = False) -> list[Row]:
    """One row of ShareGPT's shape `{"conversations": [{"from", "value"}]}`."""
    return [
        {
            "conversations": [
                {"from": _SHAREGPT[message["role"]], "value": message["content"]}
                for message in row["messages"]
            ]
        }
        for row in messages_rows(episode, strategy=strategy)
    ]


def dialogue_rows(episode: Episode) -> list[Row]:
    """One row with the utterances as they were spoken and what is known of them.

    `strategies` holds every label in order where a source gives several; `strategy` is the first.
    """
    scenario = episode.scenario
    return [
        {
            "id": episode.id,
            "source": episode.source or "warmline",
            "problem_type": scenario.problem_type,
            "category": scenario.category,
            "dialogue": [
                {
                    "role": utterance.role.value,
                    "text": utterance.text,
                    "strategy": utterance.strategy.value if utterance.strategy else None,
                    "strategies": [s.value for s in utterance.strategies],
                }
                for utterance in episode.utterances
            ],
            "crisis": sorted({kind for u in episode.utterances for kind in u.crisis}),
        }
    ]


def rows_of(
    episode: Episode,
    shape: RowShape,
    *,
    history: int | None = None,
    strategy: bool = False,
    ids: bool = False,
    scenario: bool = False,
) -> list[Row]:
    """All rows of one episode in a shape; none if the supporter never answers.

    Args:
        episode: the conversation.
        shape: which of the row functions.
        history: for `prompt_completion`.
        strategy: for the shapes made of messages.
        ids: add the columns `id` and `turn` (the row's number within the conversation);
            `dialogues` has its id anyway.
        scenario: add what was private to the seeker, as the columns `scenario` and `profile`.
    """
    makers: dict[str, Callable[[], list[Row]]] = {
        "messages": lambda: messages_rows(episode, strategy=strategy),
        "prompt_completion": lambda: prompt_completion_rows(
            episode, history=history, strategy=strategy
        ),
        "sharegpt": lambda: sharegpt_rows(episode, strategy=strategy),
        "dialogues": lambda: dialogue_rows(episode),
    }
    rows = makers[shape]()
    private = {"scenario": episode.scenario.situation, "profile": str(episode.scenario.profile)}
    return [
        row
        | ({"id": episode.id, "turn": number} if ids and shape != "dialogues" else {})
        | (private if scenario else {})
        for number, row in enumerate(rows)
    ]


def _shown(utterance: Utterance, strategy: bool) -> str:
    if strategy and utterance.strategy is not None:
        return f"[{utterance.strategy.value}] {utterance.text}"
    return utterance.text
