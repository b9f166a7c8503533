"""Where a policy's reply enters: checked, cleaned, and fit to be read back."""

import ast
import dataclasses
import json
import math
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import warmline
from warmline.core.errors import InvalidReply, NotAReply, PolicyError
from warmline.core.outside.secrets import register_secret
from warmline.environments.episodes.episode import Episode
from warmline.policies import asking
from warmline.policies.asking import ask_policy, ask_score, checked
from warmline.policies.base import FinishReason, Message, Reply, Request, TokenLogprob, Usage
from warmline.policies.thinking.reader import part

ROOT = Path(__file__).parents[2]
ASK = Request(messages=(Message("user", "Hello."),))
GOOD = Reply("Hello.", usage=Usage(1, 0, 1), logprobs=(TokenLogprob("Hello.", -0.5),))


class Gives:
    """A plug-in that gives what it was made with."""

    name = "plugin"

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    async def respond(self, request: Request) -> Reply:
        return self.answer  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"text": 3}, "text must be str"),
        ({"text": None}, "text must be str"),
        ({"finish_reason": "tired"}, "finish_reason must be one of stop, length"),
        ({"finish_reason": ["stop"]}, "finish_reason must be"),
        ({"usage": Usage(1.5, 0, 1)}, r"usage\.prompt_tokens must be a whole number"),  # type: ignore[arg-type]
        ({"usage": Usage(1, 0, -1)}, r"usage\.completion_tokens"),
        ({"usage": Usage(10**5000, 0, 1)}, "a number beyond 64 bits"),
        ({"usage": {"prompt_tokens": 1}}, "usage must be a Usage"),
        ({"latency": math.nan}, "latency must be seconds"),
        ({"policy": 7}, "policy must be str"),
        ({"attempts": True}, "attempts must be a whole number"),
        ({"cached": 1}, "cached must be True or False"),
        ({"logprobs": (TokenLogprob("a", math.nan),)}, r"logprobs\[0\]\.logprob"),
        ({"logprobs": ("a",)}, r"logprobs\[0\] must be a TokenLogprob"),
        ({"notes": {"plugin": object()}}, r"notes\.plugin must be plain data"),
        ({"notes": {"plugin": [{"score": math.inf}]}}, r"notes\.plugin\[0\]\.score"),
        ({"notes": {3: "a"}}, "names of type str"),
        ({"notes": [1]}, "notes must be a mapping"),
    ],
)
async def test_a_field_that_cannot_be_recorded_is_named(
    changed: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidReply, match=rf"policy 'plugin' gave .*{field}") as caught:
        await ask_policy(Gives(dataclasses.replace(GOOD, **changed)), ASK)
    assert not caught.value.fatal, "it ends that episode alone"


async def test_every_fault_is_named_at_once() -> None:
    with pytest.raises(InvalidReply, match=r"text must.*attempts must"):
        await ask_policy(Gives(Reply(1, attempts=-1)), ASK)  # type: ignore[arg-type]


@pytest.mark.parametrize("answer", ["Hello.", None, {"text": "Hello."}])
async def test_what_is_not_a_reply_is_refused_for_all_episodes(answer: object) -> None:
    with pytest.raises(NotAReply, match="async def respond") as caught:
        await ask_policy(Gives(answer), ASK)
    assert caught.value.fatal


async def test_a_policy_that_is_not_asynchronous_is_named() -> None:
    class Plain:
        def respond(self, request: Request) -> Reply:
            return GOOD

    with pytest.raises(NotAReply, match=r"respond\(\) of policy 'Plain' gave Reply"):
        await ask_policy(Plain(), ASK)  # type: ignore[arg-type]


async def test_deep_notes_are_refused() -> None:
    notes: dict[str, Any] = {}
    for _ in range(5000):
        notes = {"n": notes}
    with pytest.raises(InvalidReply, match="nested more than"):
        await ask_policy(Gives(Reply("a", notes=notes)), ASK)


async def test_halves_of_characters_and_secrets_are_taken_out_of_every_text() -> None:
    register_secret("sk-repeated-by-the-server")
    said = Reply(
        "half \ud800, key sk-repeated-by-the-server",
        policy="p\udfff",
        finish_reason="length",  # type: ignore[arg-type]
        notes={"a": ["\ud800", {"b": "sk-repeated-by-the-server"}]},
        logprobs=(TokenLogprob("\ud83d", -1.0),),
    )
    reply = await ask_policy(Gives(said), ASK)
    assert reply.text == "half �, key ***"
    assert reply.policy == "p�"
    assert reply.finish_reason is FinishReason.LENGTH
    assert reply.notes == {"a": ["�", {"b": "***"}]}
    assert reply.logprobs == (TokenLogprob("�", -1.0),)
    assert checked(GOOD, Gives(GOOD)) is GOOD, "nothing is copied where nothing is to be done"


async def test_a_score_that_cannot_be_summed_is_refused() -> None:
    class Scores(Gives):
        async def score(self, request: Request, continuation: str) -> tuple[TokenLogprob, ...]:
            return (TokenLogprob("a", -1.0), TokenLogprob("b", self.answer))

    assert len(await ask_score(Scores(-math.inf), ASK, "a b")) == 2, "an impossible token is one"
    with pytest.raises(InvalidReply, match=r"policy 'plugin' gave a score .*logprobs\[1\]"):
        await ask_score(Scores(math.nan), ASK, "a b")


def test_an_error_from_a_server_is_cleaned() -> None:
    assert str(PolicyError("it said \ud800", hint="\udfff")) == "it said �\n  hint: �"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(
    st.builds(
        Reply,
        text=st.text(st.characters(exclude_categories=())) | VALUES,
        finish_reason=st.sampled_from([*FinishReason, "stop", "tired", None]),
        usage=st.none() | st.builds(Usage, VALUES, st.integers(), st.integers()),
        policy=st.text(st.characters(exclude_categories=())),
        attempts=st.integers() | st.booleans(),
        notes=VALUES,
    )
)
async def test_whatever_passes_can_be_read_back(reply: Reply) -> None:
    """Any reply is refused, or gives a line of the log that is read back as the same episode."""
    environment = warmline.SupportEnvironment(
        seeker=warmline.Seeker(Gives(reply)), supporter=warmline.Supporter(Gives(reply)),
        max_turns=2,
    )  # fmt: skip
    episode = await environment.run(warmline.seed_scenarios()[0])
    line = episode.to_json().encode().decode()
    assert Episode.model_validate(json.loads(line)).to_json() == line


def test_every_policy_is_asked_through_this() -> None:
    """No other place in the package awaits `respond` of a policy."""
    found = []
    for room in ("policies", "agents", "environments", "evaluation", "training"):
        for file in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                called = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
                if called and node.func.attr == "respond" and file.name != "asking.py":  # type: ignore[attr-defined]
                    found.append(f"{file.relative_to(ROOT)}:{node.lineno}")  # type: ignore[attr-defined]
    assert found == []


ODD = st.sampled_from(
    [None, True, False, 0, 1, -1, 2**63, 1.5, math.nan, math.inf, "stop", "", [1]]
)


@given(
    st.dictionaries(st.sampled_from([f.name for f in dataclasses.fields(Reply)]), ODD, max_size=2),
    st.dictionaries(st.sampled_from([f.name for f in dataclasses.fields(Usage)]), ODD, max_size=2),
)
def test_the_quick_look_passes_no_fault(reply: dict[str, Any], usage: dict[str, Any]) -> None:
    """A reply that it finds plain has no fault; and plain ones are found so."""
    odd = Reply(**{"text": "Hello.", "usage": Usage(**usage), **reply})
    assert not (asking._is_plain(odd) and list(asking._faults(odd)))
    assert asking._is_plain(Reply("Hello.", usage=Usage(1, 0, 1), latency=0.5))


async def test_a_long_reply_is_checked_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []

    def noted(text: str) -> Any:
        threads.append(threading.current_thread() is threading.main_thread())
        return part(text)

    monkeypatch.setattr("warmline.policies.thinking.reader.part", noted)
    for length in (1, 1_000):
        text = "<think>a</think>b" * length * 2
        assert (await ask_policy(Gives(Reply(text)), ASK)).text.split() == ["b"] * length * 2
    assert threads == [True, False]
