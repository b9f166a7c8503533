"""The counselor on tiny models: rows, packing, loss, overfitting, reload, seating, figures."""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import warmline
from warmline.agents.roles import STRATEGY_LABELS, Role, Strategy
from warmline.cli import app
from warmline.core.errors import ConfigError, RunError
from warmline.environments.episodes.episode import Episode, StopReason, Utterance
from warmline.environments.scenarios.scenario import Scenario
from warmline.policies.base import Message, Request, Sampling
from warmline.policies.heads.classifier import ClassifierPolicy
from warmline.policies.scripted import ScriptedPolicy
from warmline.training.counselor.data import HEADS, counselor_turns
from warmline.training.counselor.settings import CounselorSettings
from warmline.training.counselor.train import head_rows, read_data, train_counselor
from warmline.training.heads.data import HeadRow, PackedCollator, encode_heads, pack
from warmline.training.heads.train import balanced_weights, head_loss, make_trainer, reader_of
from warmline.training.loop.base_model import load_base
from warmline.training.loop.checkpoint import find_checkpoints, read_checkpoint

from ...policies.tiny_models import save_causal, save_seq2seq
from ..building import CHATML, TALK, episode, write_log


def separable(count: int) -> list[Episode]:
    """Conversations in which the seeker's last word decides the strategy."""
    talks = []
    for n in range(count):
        asks = (n % 2 == 0, n % 3 == 0)
        talk = tuple(
            (
                ("Why? Why? Why?" if asking else "zzz zzz zzz"),
                "Hm.",
                Strategy.QUESTION if asking else Strategy.REFLECTION,
            )
            for asking in asks
        )
        talks.append(episode(f"talk{n}", talk))
    return talks


def settings(model: Path, data: Path, out: Path, **changed: Any) -> CounselorSettings:
    chosen: dict[str, Any] = {
        "model": str(model),
        "data": (str(data),),
        "out": str(out),
        "dtype": "float32",
        "device": "cpu",
        "learning_rate": 1e-2,
        "head_learning_rate": 1e-2,
        "batch_size": 4,
        "epochs": 12.0,
        "max_tokens": 400,
        "evaluate_every": 40,
    }
    return CounselorSettings(**{k: v for k, v in (chosen | changed).items() if v is not None})


@pytest.fixture(scope="module")
def causal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_causal(tmp_path_factory.mktemp("causal") / "model", chat_template=CHATML)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_log(tmp_path_factory.mktemp("data") / "run", separable(24))


@pytest.fixture(scope="module")
def trained(causal: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "counselor"
    train_counselor(settings(causal, data, out, test_share=0.25))
    return out


# Rows


def test_a_turn_is_what_the_seated_counselor_is_asked() -> None:
    """The messages of a simulated episode's own calls, to the letter."""
    policy = ScriptedPolicy()
    (played,) = warmline.simulate(episodes=1, policy=policy, max_turns=6)
    asked = [played.call_messages(call) for call in played.calls if call.role == "counselor"]
    turns, bad = counselor_turns([played])
    assert asked
    assert [turn.messages for turn in turns] == asked
    assert not bad


def test_labels_previous_strategy_and_bad_rows() -> None:
    said = [
        Utterance(Role.SEEKER, "a", "a"),
        Utterance(
            Role.SUPPORTER, "b", "b", strategy=Strategy.QUESTION,
            labels=(Strategy.QUESTION, Strategy.OTHERS, Strategy.QUESTION),
        ),
        Utterance(Role.SEEKER, "c", "c"),
        Utterance(Role.SUPPORTER, " ", "", strategy=Strategy.OTHERS),
        Utterance(Role.SUPPORTER, "d", "d"),
        Utterance(Role.SUPPORTER, "e", "e", strategy=Strategy.OTHERS),
    ]  # fmt: skip
    plain = Scenario(id="x", problem_type="Job Crisis", situation="-")
    odd = Episode(id="x", scenario=plain, stop=StopReason.RECORDED, utterances=tuple(said))
    none = odd.model_copy(update={"id": "y", "utterances": tuple(said[:1])})
    turns, bad = counselor_turns([odd, none])
    assert [(t.id, t.gold, t.previous, t.exchange) for t in turns] == [
        ("x#1", (0, 7), None, 0),
        ("x#5", (7,), None, 3),
    ]
    assert [(b.id, b.fault) for b in bad] == [
        ("x#3", "empty_reply"),
        ("x#4", "unknown_label"),
        ("y", "no_supporter_turn"),
    ]


def test_no_scenario_is_on_two_sides(causal: Path, tmp_path: Path) -> None:
    """Samples of one scenario (`~1`) and twins of one situation stay together."""
    told = "one two three four five six seven eight nine"
    talks = [
        episode(f"t{n}~{k}", situation=f"{told} {n // 2}") for n in range(20) for k in range(2)
    ]
    run = write_log(tmp_path / "run", talks)
    found = read_data(settings(causal, run, tmp_path / "out", test_share=0.3))
    sides = [
        {int(turn.group[1:]) // 2 for turn in side}
        for side in (found.train, found.validation, found.test)
    ]
    assert all(sides)
    assert not sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2]


def test_bad_rows_are_refused_by_name(causal: Path, tmp_path: Path) -> None:
    broken = episode("gone", ((*TALK[0][:2], None), TALK[1]))
    run = write_log(tmp_path / "run", [*separable(6), broken])
    with pytest.raises(ConfigError, match=r"gone#1: unknown label"):
        read_data(settings(causal, run, tmp_path / "out", on_bad_row="refuse"))
    assert [b.id for b in read_data(settings(causal, run, tmp_path / "out")).bad] == ["gone#1"]


# Packing


def test_prompts_that_begin_one_another_share_a_sequence() -> None:
    rows = [HeadRow(str(n), "g", (), (n,)) for n in range(4)] + [HeadRow("x", "h", (), (9,))]
    prompts = [[1, 2], [1, 2, 3], [1, 4], [1, 4, 5], [1, 4, 5, 6]]
    found = pack(zip(rows, prompts, strict=True))
    assert [(p.input_ids, p.places, p.labels, p.ids) for p in found] == [
        ((1, 2, 3), (1, 2), ((0,), (1,)), ("0", "1")),
        ((1, 4, 5), (1, 2), ((2,), (3,)), ("2", "3")),
        ((1, 4, 5, 6), (3,), ((9,),), ("x",)),
    ]


@given(st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=6), max_size=8))
def test_packing_keeps_every_prompt(prompts: list[list[int]]) -> None:
    rows = [HeadRow(str(n), "g", (), (n,)) for n in range(len(prompts))]
    kept = {
        name: list(each.input_ids[: place + 1])
        for each in pack(zip(rows, prompts, strict=True))
        for name, place in zip(each.ids, each.places, strict=True)
    }
    assert kept == {str(n): prompt for n, prompt in enumerate(prompts)}


@pytest.mark.parametrize("kind", ["llama", "mistral", "gemma3"])
def test_packed_turns_have_the_logits_of_single_prompts(tmp_path: Path, kind: str) -> None:
    """One pass over a dialogue, padded beside another, against a pass for each turn."""
    model = save_causal(tmp_path / "m", kind=kind, chat_template=CHATML)
    base = load_base(str(model))
    chosen = settings(model, tmp_path, tmp_path / "out")
    turns, _ = counselor_turns([episode("a"), episode("b", TALK[:2])])
    reader = reader_of(base, chosen)
    packed, bad = encode_heads(reader, head_rows(turns))
    assert not bad
    assert [len(p.places) for p in packed] == [3, 2]
    trainer = make_trainer(base, packed, [], tmp_path / "out", chosen, HEADS, seed=0)
    with torch.no_grad():
        for name, weights in trainer.model.named_parameters():
            if "lora_B" in name:
                weights.normal_(std=0.2)
    together, _ = trainer.read(packed)
    alone = [trainer.read(encode_heads(reader, [row])[0])[0] for row in head_rows(turns)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-4)


def test_too_long_dialogues_are_cut_only_where_asked(causal: Path, tmp_path: Path) -> None:
    base = load_base(str(causal))
    chosen = settings(causal, tmp_path, tmp_path / "out", max_tokens=80)
    rows = head_rows(counselor_turns([episode("a")])[0])
    reader = reader_of(base, chosen)
    _, bad = encode_heads(reader, rows)
    assert [b.fault for b in bad] == ["too_long"] * len(bad)
    assert bad[-1].id == "a#5"
    cut, none = encode_heads(reader, rows, cut=True)
    assert not none
    assert sum(len(p.places) for p in cut) == 3
    assert max(p.tokens for p in cut) <= 80


# Loss


def test_the_loss_by_hand_and_masked_labels_have_no_gradient() -> None:
    """Two heads of 2 and 4 options at zero logits: ln 2 + ln 4 = 2.079442 for the first row; the
    second row knows only its second head: ln 4 more, 3.465736 in all."""
    logits = torch.zeros(2, 6, requires_grad=True)
    labels = torch.tensor([[1, 2], [-100, 0]])
    loss = head_loss(logits, labels, [2, 4])
    assert loss.item() == pytest.approx(3.465736, abs=1e-6)
    loss.backward()
    assert logits.grad is not None
    assert logits.grad[1, :2].tolist() == [0.0, 0.0]
    assert logits.grad[0, :2].tolist() == [0.5, -0.5]
    nothing = head_loss(logits, torch.full((2, 2), -100), [2, 4])
    assert nothing.item() == 0.0
    nothing.backward()


def test_balanced_weights_by_hand() -> None:
    """Three of one and one of another: 4/(2·3) and 4/(2·1); what does not occur has 1."""
    assert balanced_weights([0, 0, 0, 2], 3) == pytest.approx([2 / 3, 1.0, 2.0])
    logits, labels = torch.zeros(1, 3), torch.tensor([[2]])
    weighted = head_loss(logits, labels, [3], torch.tensor([2 / 3, 1.0, 2.0]))
    assert weighted.item() == pytest.approx(2 * math.log(3), abs=1e-6)


# Training


def test_it_learns_what_can_be_learned(trained: Path) -> None:
    metrics = read_checkpoint(trained).metrics
    assert metrics["test_accuracy"] > 0.95
    assert metrics["test_accuracy"] > metrics["majority_accuracy"]
    assert metrics["validation_loss"] < metrics["validation_loss_before"]


def test_the_checkpoint_says_what_it_is(trained: Path) -> None:
    checkpoint = read_checkpoint(trained)
    assert checkpoint.kind == "counselor"
    assert checkpoint.heads == {"strategy": STRATEGY_LABELS}
    report = json.loads((trained / "report.json").read_text("utf-8"))
    assert set(report["models"]) == {"counselor", "majority", "stages", "transitions", "tf-idf"}
    assert sum(map(sum, report["models"]["counselor"]["table"])) == report["turns"]
    assert not list(trained.glob("*.bin"))
    assert not (trained / "trainer").exists()
    assert (trained / "adapter_model.safetensors").is_file()


def test_reloaded_it_gives_the_same_logits(trained: Path, causal: Path, tmp_path: Path) -> None:
    """The merged network of the policy, asked by messages, against the trainer's own figures."""
    chosen = settings(causal, tmp_path, tmp_path / "out")
    base = load_base(str(causal))
    turns, _ = counselor_turns(separable(6))
    rows = head_rows(turns)
    trainer = make_trainer(
        base,
        encode_heads(reader_of(base, chosen), rows)[0],
        [],
        tmp_path / "o",
        chosen,
        HEADS,
        seed=0,
    )
    trainer.model.load_adapter(str(trained), "default")
    direct, _ = trainer.read(encode_heads(reader_of(base, chosen), rows)[0])

    async def ask() -> list[dict[str, float]]:
        async with ClassifierPolicy(trained, device="cpu", dtype="float32") as policy:
            found = await asyncio.gather(*(policy.predict(turn.messages) for turn in turns))
        return [each.logprobs["strategy"] for each in found]

    seated = torch.tensor([list(each.values()) for each in asyncio.run(ask())])
    assert torch.allclose(direct.log_softmax(-1), seated, atol=1e-4)


def test_the_same_folder_is_not_trained_twice(causal: Path, data: Path, trained: Path) -> None:
    before = (trained / "adapter_model.safetensors").read_bytes()
    again = train_counselor(settings(causal, data, trained, test_share=0.25)).checkpoint
    assert again == read_checkpoint(trained)
    assert (trained / "adapter_model.safetensors").read_bytes() == before
    with pytest.raises(RunError, match="history_window: None -> 4"):
        train_counselor(settings(causal, data, trained, test_share=0.25, history_window=4))


def test_it_sits_in_a_simulation(trained: Path, tmp_path: Path) -> None:
    played = warmline.simulate(
        episodes=2,
        policy="scripted",
        max_turns=6,
        counselor={
            "policy": "classifier",
            "model": str(trained),
            "options": {"device": "cpu", "dtype": "float32"},
        },
        out=str(tmp_path / "run"),
    )
    calls = [call for each in played for call in each.calls if call.role == "counselor"]
    assert calls
    for call in calls:
        assert call.policy == "classifier:counselor"
        assert call.text in STRATEGY_LABELS
        found = call.notes["classifier"]["logprobs"]
        assert max(found, key=found.get) == call.text
        assert sum(map(math.exp, found.values())) == pytest.approx(1.0)


def test_labels_as_completions(causal: Path, data: Path, tmp_path: Path) -> None:
    """The other form: a language model that scores the eight names; the `transformers` policy."""
    out = tmp_path / "labels"
    short = {"max_tokens": 4096, "epochs": 1.0, "test_share": 0.1}
    big = save_causal(tmp_path / "m", chat_template=CHATML)
    file = big / "config.json"
    file.write_text(file.read_text().replace('_embeddings": 512', '_embeddings": 4096'))
    checkpoint = train_counselor(
        settings(big, data, out, form="labels", head_learning_rate=None, **short)
    ).checkpoint
    assert checkpoint.heads == {}
    assert checkpoint.metrics["test_accuracy"] is not None
    assert checkpoint.metrics["test_ece"] is None


def test_the_command_tells_the_figures_beside_the_baselines(
    causal: Path, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    given = ["train", "counselor", str(data), "--model", str(causal), "--out", str(out)]
    few = ["--max-steps", "1", "--zero-shot.policy", "scripted", "--zero-shot-turns", "3"]
    plain = ["--device", "cpu", "--dtype", "float32", "--test-share", "0.25"]
    result = CliRunner().invoke(app, [*given, *few, *plain], env={"COLUMNS": "160"})
    assert result.exit_code == 0, result.output
    for name in ("counselor", "majority", "stages", "transitions", "tf-idf", "zero-shot"):
        assert name in result.output
    assert "--counselor.policy classifier" in result.output
    models = json.loads((out / "report.json").read_text("utf-8"))["models"]
    assert models["zero-shot"]["count"] == 3
    assert models["majority"]["count"] == 12
    (card,) = find_checkpoints(out).values()
    assert card.kind == "counselor"


def test_any_label_is_a_hit_where_that_is_asked_for(causal: Path, tmp_path: Path) -> None:
    """Every turn carries both strategies: any choice of the two is right by `any`."""
    both = (Strategy.QUESTION, Strategy.REFLECTION)
    talks = [
        e.model_copy(
            update={
                "utterances": tuple(
                    replace(u, labels=both, strategy=both[0]) if u.role is Role.SUPPORTER else u
                    for u in e.utterances
                )
            }
        )
        for e in separable(12)
    ]
    run = write_log(tmp_path / "run", talks)
    chosen = settings(causal, run, tmp_path / "o", label="any", max_steps=8, test_share=0.25)
    checkpoint = train_counselor(chosen).checkpoint
    report = json.loads((tmp_path / "o" / "report.json").read_text("utf-8"))
    assert "each of a turn's strategies" in report["accuracy"]
    assert checkpoint.metrics["test_accuracy"] == checkpoint.metrics["test_accuracy_any"]
    assert report["models"]["majority"]["accuracy_any"] == 1.0


def test_settings_that_contradict(causal: Path, tmp_path: Path) -> None:
    for wrong, said in (
        ({"merge": True}, "merged when it is loaded"),
        ({"prompt": "asked", "history_window": 3}, "history_window"),
        ({"form": "labels", "class_weights": "balanced"}, "class_weights"),
        ({"form": "labels", "head_learning_rate": 1e-3}, "head_learning_rate: the labels form"),
        ({"form": "labels", "history_window": 3}, "whole prompt"),
    ):
        with pytest.raises(ConfigError, match=said):
            settings(causal, tmp_path, tmp_path, **wrong)


def test_an_encoder_decoder_is_refused(tmp_path: Path, data: Path) -> None:
    model = save_seq2seq(tmp_path / "m")
    with pytest.raises(ConfigError, match="heads cannot be put on a blenderbot"):
        train_counselor(settings(model, data, tmp_path / "out"))


def test_class_weights_change_the_training(causal: Path, data: Path, tmp_path: Path) -> None:
    few = {"max_steps": 2, "evaluate_every": 2, "test_share": 0.25, "baselines": False}
    losses = [
        train_counselor(settings(causal, data, tmp_path / form, class_weights=form, **few)).metrics[
            "validation_loss"
        ]
        for form in ("none", "balanced")
    ]
    assert losses[0] != losses[1]


def test_the_collator_points_at_the_last_token_of_each_prompt() -> None:
    rows = pack([
        (HeadRow("a", "g", (), (1,)), [5, 6]),
        (HeadRow("b", "g", (), (2,)), [5, 6, 7]),
        (HeadRow("c", "h", (), (3,)), [8]),
    ])  # fmt: skip
    batch = PackedCollator(0)(list(rows))
    assert batch["input_ids"].tolist() == [[5, 6, 7], [0, 0, 8]]
    assert batch["places"].tolist() == [[0, 1], [0, 2], [1, 2]]
    assert batch["labels"].tolist() == [[1], [2], [3]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [0, 0, 1]]


def test_the_view_drops_instructions_and_the_last_note() -> None:
    turns, _ = counselor_turns([episode("a", TALK[:2])])
    from warmline.policies.heads.reading import EARLIER, SYSTEM, Reading

    seen = Reading().view(turns[1].messages)
    assert seen == (
        SYSTEM,
        Message("user", TALK[0][0]),
        Message("assistant", TALK[0][1]),
        Message("user", TALK[1][0]),
    )
    assert Reading(history_window=2).view(turns[1].messages) == (SYSTEM, EARLIER, *seen[2:])
    assert Reading(prompt="asked").view(turns[1].messages) == turns[1].messages


def test_a_single_note_is_not_taken_for_nothing() -> None:
    """The counselor's whole question where the dialogue has not begun stays."""
    from warmline.policies.heads.reading import Reading

    only = Message("user", "(Question to you: which?)")
    assert Reading().view((Message("system", "s"), only))[-1] == only


async def test_what_is_asked_otherwise_is_refused(trained: Path) -> None:
    from warmline.core.errors import Unsupported

    async with ClassifierPolicy(trained, device="cpu", dtype="float32") as policy:
        talk = (Message("user", "Hello."),)
        with pytest.raises(Unsupported, match="writes no text; it chooses among Question"):
            await policy.respond(Request(talk))
        with pytest.raises(Unsupported, match="not trained to choose 'Hug'"):
            await policy.respond(Request(talk, choices=("Question", "Hug")))
        with pytest.raises(Unsupported, match="top_p"):
            await policy.respond(Request(talk, choices=("Question",), sampling=Sampling(top_p=0.5)))
