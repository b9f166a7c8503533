"""What a model thought is never learned, unless a setting asks for it."""

from __future__ import annotations

import dataclasses

import pytest

import warmline
from warmline.core.errors import ConfigError
from warmline.environments import seed_scenarios
from warmline.policies.base import Message, Reply, Request
from warmline.policies.scripted import ScriptedPolicy
from warmline.training.rows.build import Row, build_rows
from warmline.training.rows.encode import IGNORED, RowEncoder
from warmline.training.rows.settings import RowSettings

from ...policies.thinking_models import TEMPLATES
from ..building import SMOLLM2, tokenizer
from .test_encode import config

SECRET = "zqx-thought"
TURN = Row(
    "a#1", "a", (Message("user", "Hi."), Message("assistant", "I hear you.")), (1,),
    thinking="She is sad.",
)  # fmt: skip


class Thinks(ScriptedPolicy):
    """Each reply is thought about first, in the marks of DeepSeek-R1."""

    async def respond(self, request: Request) -> Reply:
        reply = await super().respond(request)
        return dataclasses.replace(reply, text=f"<think>{SECRET} {reply.text}</think>{reply.text}")


async def thoughtful_episode() -> warmline.Episode:
    policy = Thinks(
        seeker=["It is hard today.", "I lost my job."], supporter=["I hear you.", "What happened?"],
        counselor=["Question"], judger=["NO"],
    )  # fmt: skip
    environment = warmline.SupportEnvironment(
        seeker=policy, counselor=policy, supporter=policy, judger=policy, max_turns=4
    )
    return await environment.run(seed_scenarios()[0], seed=1)


async def test_thinking_is_in_the_record_and_nobody_is_shown_it() -> None:
    episode = await thoughtful_episode()
    assert episode.stop is warmline.StopReason.TURN_LIMIT
    assert {call.role for call in episode.calls} == {"seeker", "counselor", "supporter", "judger"}
    assert all(call.thinking and call.thinking.startswith(SECRET) for call in episode.calls)
    assert all(verdict.end is False for verdict in episode.verdicts)
    assert SECRET not in "".join(message.content for message in episode.messages)
    assert SECRET not in episode.transcript()
    assert SECRET not in "".join(utterance.raw for utterance in episode.utterances)
    again = warmline.Episode.model_validate_json(episode.to_json())
    assert [call.thinking for call in again.calls] == [call.thinking for call in episode.calls]


@pytest.mark.parametrize(
    ("per", "as_asked"), [("turn", False), ("turn", True), ("conversation", False)]
)
async def test_thinking_is_in_no_row(per: str, as_asked: bool) -> None:
    settings = RowSettings(per=per, as_asked=as_asked)  # type: ignore[arg-type]
    rows = build_rows([await thoughtful_episode()], settings).rows
    assert rows
    assert not any(row.thinking for row in rows)
    assert SECRET not in str([row.as_trl() for row in rows])


async def test_a_setting_asks_for_it() -> None:
    rows = build_rows([await thoughtful_episode()], RowSettings(thinking=True)).rows
    assert [row.thinking for row in rows] == [f"{SECRET} I hear you.", f"{SECRET} What happened?"]
    last = rows[-1].as_trl()["completion"][0]
    assert last == {
        "role": "assistant", "content": "What happened?",
        "reasoning_content": f"{SECRET} What happened?",
    }  # fmt: skip
    with pytest.raises(ConfigError, match="thinking is for rows of turns"):
        RowSettings(thinking=True, per="conversation")


def encoder_of(template: str) -> RowEncoder:
    made = tokenizer(template)
    return RowEncoder(made, config(made), config(made))


def learned(encoder: RowEncoder, row: Row) -> tuple[str, str]:
    """The texts without loss and with it."""
    encoded = encoder.encode(row)
    start = next(n for n, label in enumerate(encoded.labels) if label != IGNORED)
    decode = encoder._tokenizer.decode
    return decode(encoded.input_ids[:start]), decode(encoded.input_ids[start:])


@pytest.mark.parametrize(
    ("template", "thinking", "end", "text"),
    [
        ("free", "She is sad.", "assistant\n",
         "<think>\nShe is sad.\n</think>\n\nI hear you.<|im_end|>"),
        ("free", "", "assistant\n", "I hear you.<|im_end|>"),
        ("begun", "She is sad.", "<think>\n", "She is sad.\n</think>\n\nI hear you.<|im_end|>"),
        ("begun", "", "<think>\n", "</think>\n\nI hear you.<|im_end|>"),
    ],
)  # fmt: skip
def test_the_reply_begins_where_the_seated_model_would(
    template: str, thinking: str, end: str, text: str
) -> None:
    encoder = encoder_of(TEMPLATES[template])
    prompt, reply = learned(encoder, dataclasses.replace(TURN, thinking=thinking))
    assert prompt.endswith(end)
    assert reply.lstrip("\n") == text
    asked = encoder.writer.write(Request(messages=TURN.messages[:1]))
    assert prompt == encoder._tokenizer.decode(asked.tokens)


def test_thinking_cannot_be_learned_without_marks_for_it() -> None:
    with pytest.raises(ConfigError, match="the chat template knows no marks for it"):
        encoder_of(SMOLLM2).encode(TURN)
