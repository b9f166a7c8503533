"""Self-Evolution's decoding holds for generation and evaluation: it is read back from every record."""

from __future__ import annotations

from pathlib import Path

from warmline.environments.runs.decoding import DECODINGS
from warmline.evaluation.replies.evaluate import evaluate
from warmline.evaluation.replies.reply import iter_replies
from warmline.policies.scripted import ScriptedPolicy
from warmline.training.evolution.evolve import evolve
from warmline.training.preferences.reflection import iter_calls

from .test_evolve import given, place, policy  # noqa: F401 - a fixture

PUBLISHED = {"temperature": 0.9, "top_p": 0.8, "top_k": 50, "repetition_penalty": 1.2}


def test_the_figures_are_those_of_the_paper() -> None:
    assert DECODINGS["self-evolution"] == PUBLISHED


def test_every_record_of_an_evolution_was_decoded_so(place: Path, tmp_path: Path) -> None:  # noqa: F811
    settings = given(
        place, tmp_path, evaluate=True, rounds=1,
        evaluation="--limit 1 --resamples 0 --max-tokens 8",
    )  # fmt: skip
    evolve(settings, supporter=policy())
    drawn = [
        (call.purpose, call.sampling)
        for folder in sorted(tmp_path.glob("round-*/replies"))
        for call in iter_calls(folder)
    ]
    assert {purpose for purpose, _ in drawn} == {"rejected", "reflection"}
    replies = [r for n in (0, 1) for r in iter_replies(tmp_path / f"round-{n}/evaluation")]
    assert len(replies) >= 2
    drawn += [("evaluation", reply.sampling) for reply in replies]
    for purpose, sampling in drawn:
        assert sampling is not None
        assert {name: sampling.get(name) for name in PUBLISHED} == PUBLISHED, purpose


def test_every_reply_of_an_evaluation_was_decoded_so(place: Path, tmp_path: Path) -> None:  # noqa: F811
    asked = []

    def answer(request: object) -> str:
        asked.append(request)
        return "That is hard."

    how = {"preset": "self-evolution", "resamples": 0, "policy": ScriptedPolicy(answer)}
    [result] = evaluate(str(place / "log"), out=str(tmp_path / "a"), **how)
    assert (result.preset, result.condition) == ("self-evolution", "listed")
    assert next(iter(result.published)) == "Self-Evolution Table 2: LLaMA-3-8B M0"
    for reply in iter_replies(tmp_path / "a"):
        assert reply.sampling == PUBLISHED | {"max_tokens": 120}
    for request in asked:
        assert request.sampling.as_dict() == PUBLISHED | {"max_tokens": 120}
        assert "Reflection of Feelings" in request.messages[0].content
    evaluate(str(place / "log"), out=str(tmp_path / "b"), temperature=0.0, strategy="hidden", **how)
    for reply in iter_replies(tmp_path / "b"):
        assert reply.sampling == PUBLISHED | {"max_tokens": 120, "temperature": 0.0}
