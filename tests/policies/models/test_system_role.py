"""Models without a system role: the text of the system opens the first user message."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmline.policies.base import Message, Request
from warmline.policies.models.system_role import fold_system

SYSTEM, USER, REPLY = Message("system", "S"), Message("user", "U"), Message("assistant", "A")


@pytest.mark.parametrize(
    ("messages", "folded"),
    [
        ((SYSTEM, USER, REPLY, USER), (Message("user", "S\n\nU"), REPLY, USER)),
        ((USER, REPLY, USER), (USER, REPLY, USER)),
        ((SYSTEM, SYSTEM, USER), (Message("user", "S\n\nS\n\nU"),)),
        ((SYSTEM, REPLY, USER), (Message("user", "S"), REPLY, USER)),
        ((SYSTEM,), (Message("user", "S"),)),
        ((USER, SYSTEM), (Message("user", "U\n\nS"),)),
        ((USER, SYSTEM, REPLY), (Message("user", "U\n\nS"), REPLY)),
        ((USER, REPLY, SYSTEM, USER), (USER, REPLY, Message("user", "S\n\nU"))),
        ((Message("system", ""), USER), (USER,)),
        ((), ()),
    ],
)
def test_where_the_text_goes(messages: tuple[Message, ...], folded: tuple[Message, ...]) -> None:
    assert fold_system(messages) == folded


@given(st.lists(st.sampled_from([SYSTEM, USER, REPLY])))
def test_nothing_is_lost_and_nobody_speaks_twice_who_did_not_before(said: list[Message]) -> None:
    folded = fold_system(said)
    assert "".join(m.content for m in folded).count("S") == said.count(SYSTEM)
    assert not any(m.role == "system" for m in folded)
    spoken = [m.role for m in said if m.role != "system"]
    if all(a != b for a, b in pairwise(spoken)):
        roles = [m.role for m in folded]
        assert all(a != b for a, b in pairwise(roles))


def test_templates_that_refuse_drop_or_take_a_system_message(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the extra `transformers` is not installed")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from warmline.policies.models.prompts import PromptWriter

    from .. import tiny_models

    folder = tiny_models.save_causal(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    body = "{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}"
    refuses = "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}" + body
    drops = body.replace(" in messages %}", " in messages if m.role != 'system' %}")
    request = Request((SYSTEM, USER, REPLY, USER))
    written = {}
    for name, template in (("takes", body), ("refuses", refuses), ("drops", drops)):
        writer = PromptWriter(
            tokenizer, model.config, model.generation_config, chat_template=template
        )
        written[name] = writer.write(request).text
    assert written["takes"] == "system:S;user:U;assistant:A;user:U;"
    assert written["refuses"] == written["drops"] == "user:S\n\nU;assistant:A;user:U;"


async def test_a_tiny_model_without_system_role_answers_and_keeps_the_contract(
    tmp_path: Path,
) -> None:
    pytest.importorskip("torch", reason="the extra `transformers` is not installed")
    import warmline.testing
    from warmline.policies.hf.policy import TransformersPolicy

    from ...training.building import GEMMA2
    from .. import tiny_models

    folder = tiny_models.save_causal(tmp_path, chat_template=GEMMA2)
    for check in ("answers", "chooses_among_the_options"):
        await warmline.testing.check_policy(lambda: TransformersPolicy(folder, device="cpu"), check)
