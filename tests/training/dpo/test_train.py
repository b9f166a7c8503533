"""DPO on tiny models: TRL's loss, the reference's log-probabilities, chains of adapters, resuming."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from transformers import TrainerCallback
from typer.testing import CliRunner

from warmline.cli import app
from warmline.core.errors import ConfigError, RunError
from warmline.policies.base import Request
from warmline.policies.models.sources import find_source
from warmline.policies.scripted import ScriptedPolicy
from warmline.training.candidates.batch import CandidateBatch, candidate_log_probs
from warmline.training.dpo import data as dpo_data
from warmline.training.dpo.data import PairCollator, collator_of, encode_pairs, reference_log_probs
from warmline.training.dpo.settings import DpoSettings
from warmline.training.dpo.train import loss_of, make_trainer, train_dpo
from warmline.training.loop import loop
from warmline.training.loop.base_model import load_base, with_lora
from warmline.training.loop.checkpoint import Checkpoint
from warmline.training.preferences.build import iter_pairs
from warmline.training.rows.encode import RowEncoder

from ...policies.tiny_models import save_causal, save_seq2seq
from ..building import CHATML, TEMPLATE, episode, write_log
from ..preferences.answering import analysis, own
from ..preferences.test_build import TALK


@pytest.fixture(scope="module")
def causal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_causal(tmp_path_factory.mktemp("causal") / "model", chat_template=CHATML, layers=1)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("template") / "short.jinja"
    file.write_text(TEMPLATE, "utf-8")
    return file


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    episodes = [episode(f"talk{n}", TALK) for n in range(6)]
    return write_log(tmp_path_factory.mktemp("data") / "log", episodes)


def given(model: Path, template: Path, out: Path, **changed: Any) -> DpoSettings:
    usual: dict[str, Any] = {
        "model": str(model),
        "out": str(out),
        "template": str(template),
        "dtype": "float32",
        "device": "cpu",
        "learning_rate": 1e-2,
        "schedule": "constant",
        "max_steps": 4,
        "evaluate_every": 100,
        "accumulation": 1,
        "patience": 0,
        "validation_share": 0.2,
    }
    return DpoSettings(**(usual | changed))


def talking(request: Request) -> str:
    """Replies that differ by context and seed."""
    if own(request):
        return f"That is bad, number {request.seed % 7}."
    return analysis(f"Your rent weighs on you in {request.seed % 5} ways.")


@pytest.fixture(scope="module")
def pairs(
    data: Path, causal: Path, template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Twelve pairs, made once."""
    out = tmp_path_factory.mktemp("pairs") / "out"
    settings = given(causal, template, out, data=(str(data),), max_steps=1)
    train_dpo(settings, supporter=ScriptedPolicy(talking))
    return out / "pairs"


def trained(settings: DpoSettings) -> Checkpoint:
    return train_dpo(settings).checkpoint


def weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "adapter_model.safetensors")


def tokens_of(base: Any, pairs: Path, count: int = 99) -> list[Any]:
    encoder = RowEncoder(base.tokenizer, base.model.config, base.model.generation_config)
    encoded, bad = encode_pairs(encoder, list(iter_pairs(pairs))[:count], 512)
    assert not bad
    return encoded


def naive(model: Any, prompt: list[int], reply: list[int]) -> float:
    """Log-probability of one reply, by itself, in float64."""
    with torch.no_grad():
        logits = model(torch.tensor([prompt + reply])).logits[0].double()
    logs = logits.log_softmax(-1)[len(prompt) - 1 : -1]
    return float(logs.gather(1, torch.tensor(reply)[:, None]).sum())


# Loss


def test_the_losses_are_those_of_trl(
    causal: Path, template: Path, pairs: Path, tmp_path: Path
) -> None:
    """TRL's DPOTrainer with the SFT term on the same rows, adapter and seeds, for three steps."""
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    rows = list(iter_pairs(pairs))[:4]
    settings = given(
        causal, template, tmp_path / "ours", max_steps=3, gamma=0.7, beta=0.3, nll="token_mean"
    )
    base = load_base(str(causal))
    known = reference_log_probs(
        base, tokens_of(base, pairs, 4), settings, "float32", tmp_path / "r"
    )
    ours = make_trainer(base, known, [], tmp_path / "ours", settings, seed=0)
    ours.args.logging_steps = ours.state.logging_steps = 1
    start = {n: p.detach().clone() for n, p in ours.model.named_parameters() if p.requires_grad}
    ours.train()

    base = load_base(str(causal))
    model = with_lora(base.model, settings)
    with torch.no_grad():
        for name, values in model.named_parameters():
            if name in start:
                values.copy_(start[name])
    arguments = trl.DPOConfig(
        output_dir=str(tmp_path / "trl"), max_steps=3, per_device_train_batch_size=4, warmup_steps=0.01,
        learning_rate=1e-2, weight_decay=0.0, lr_scheduler_type="constant_with_warmup", logging_steps=1,
        bf16=False, use_cpu=True, gradient_checkpointing=False, report_to="none", disable_tqdm=True,
        loss_type=["sigmoid", "sft"], loss_weights=[1.0, 0.7], beta=0.3, max_length=None,
        max_grad_norm=1.0, save_strategy="no",
    )  # fmt: skip
    theirs = trl.DPOTrainer(
        model=model,
        args=arguments,
        processing_class=base.tokenizer,
        train_dataset=datasets.Dataset.from_list([row.as_trl() for row in rows]),
    )
    theirs.train()
    names = {"loss": "loss", "margin": "rewards/margins", "accuracy": "rewards/accuracies"}
    here, there = (
        {own: [e[name] for e in trainer.state.log_history if name in e] for own, name in logged}
        for trainer, logged in ((ours, [(n, n) for n in names]), (theirs, names.items()))
    )
    assert len(here["loss"]) == 3
    # steps amplify the order of sums; the first loss has taken none
    assert here["loss"][0] == pytest.approx(there["loss"][0], abs=1e-5)
    assert here["loss"] == pytest.approx(there["loss"], rel=1e-4)
    assert here["margin"] == pytest.approx(there["margin"], rel=1e-4, abs=1e-4)
    # a margin of 0 is right or wrong by its last bit: only the last step has moved
    assert here["accuracy"][-1] == there["accuracy"][-1] == 1.0


def test_trl_reads_the_file_of_pairs(pairs: Path, causal: Path, tmp_path: Path) -> None:
    """`pairs.jsonl` as it lies there, lineage and all, is a data set for TRL."""
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    read = datasets.load_dataset(
        "json", data_files=str(pairs / "pairs.jsonl"), cache_dir=str(tmp_path), split="train"
    )
    base = load_base(str(causal))
    trainer = trl.DPOTrainer(
        model=base.model, processing_class=base.tokenizer, train_dataset=read,
        args=trl.DPOConfig(
            output_dir=str(tmp_path), use_cpu=True, bf16=False, gradient_checkpointing=False,
            report_to="none", max_length=None,
        ),
    )  # fmt: skip
    first = tokens_of(base, pairs)[0]
    theirs = trainer.train_dataset[0]
    assert list(theirs["prompt_ids"]) == first.prompt
    assert list(theirs["chosen_ids"]) == first.chosen
    assert list(theirs["rejected_ids"]) == first.rejected


def test_the_loss_is_that_of_logged_log_probabilities(
    causal: Path, template: Path, pairs: Path, tmp_path: Path
) -> None:
    """−ln σ(β[(w − w_ref) − (l − l_ref)]) + γ·NLL, in Python's floats from single passes."""
    settings = given(causal, template, tmp_path, beta=0.2, gamma=0.5)
    policy = load_base(str(save_causal(tmp_path / "policy", seed=3, chat_template=CHATML)))
    reference = load_base(str(causal))
    rows = tokens_of(policy, pairs, 3)
    known = reference_log_probs(reference, rows, settings, "float32", tmp_path / "r")
    inputs = collator_of(policy)(known)
    found = candidate_log_probs(policy.model, CandidateBatch.of(inputs))
    losses, nll, length = [], 0.0, 0
    for row, line in zip(rows, known, strict=True):
        w, lost = (naive(policy.model, row.prompt, r) for r in (row.chosen, row.rejected))
        w0, l0 = (naive(reference.model, row.prompt, r) for r in (row.chosen, row.rejected))
        assert line.chosen == pytest.approx(w0, abs=1e-3)
        assert line.rejected == pytest.approx(l0, abs=1e-3)
        losses.append(math.log1p(math.exp(-0.2 * ((w - w0) - (lost - l0)))))
        nll, length = nll - w, length + len(row.chosen)
    for kind, counted in (("token_mean", length), ("sum", 3)):
        expected = sum(losses) / 3 + 0.5 * nll / counted
        chosen = settings.model_copy(update={"nll": kind})
        loss = loss_of(found, inputs["reference"], chosen).item()
        assert loss == pytest.approx(expected, rel=1e-5)


# Reference


def test_the_reference_is_the_model_without_its_adapter(
    causal: Path, template: Path, pairs: Path, tmp_path: Path
) -> None:
    """Computed before, and live behind a trained adapter that is switched off: the same."""
    settings = given(causal, template, tmp_path / "out")
    base = load_base(str(causal))
    rows = tokens_of(base, pairs)
    known = reference_log_probs(base, rows, settings, "float32", tmp_path / "r")
    trainer = make_trainer(base, known, [], tmp_path / "out", settings, seed=0)
    trainer.train()
    batch = CandidateBatch.of(collator_of(base)(known))
    stored = collator_of(base)(known)["reference"]
    with torch.no_grad():
        moved = candidate_log_probs(trainer.model, batch).sums
        with trainer.model.disable_adapter():
            live = candidate_log_probs(trainer.model, batch).sums
    assert torch.allclose(live, stored, atol=1e-3, rtol=1e-6)
    assert not torch.allclose(moved, stored, atol=1e-1)


def test_what_is_known_of_the_reference_is_not_computed_again(
    causal: Path, template: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = load_base(str(causal))
    settings = given(causal, template, tmp_path, reference_batch=2)
    rows, file = tokens_of(base, pairs), tmp_path / "reference.jsonl"
    whole = reference_log_probs(base, rows, settings, "float32", file)
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:-3]) + lines[-3][:9])
    asked: list[int] = []
    compute = dpo_data.reference_sums

    def counted(base: Any, some: Any, *rest: Any) -> Any:
        asked.append(len(some))
        return compute(base, some, *rest)

    monkeypatch.setattr(dpo_data, "reference_sums", counted)
    again = reference_log_probs(base, rows, settings, "float32", file)
    assert sum(asked) == 3
    for one, other in zip(again, whole, strict=True):
        assert one.chosen == pytest.approx(other.chosen, abs=1e-4)
    other_model = load_base(str(save_causal(tmp_path / "other", seed=1, chat_template=CHATML)))
    reference_log_probs(other_model, rows, settings, "float32", file)
    assert sum(asked) == 3 + len({row.key for row in rows})


# The whole way


@pytest.mark.parametrize("kind", ["causal", "blenderbot"])
def test_the_whole_way(kind: str, causal: Path, template: Path, data: Path, tmp_path: Path) -> None:
    model = causal if kind == "causal" else save_seq2seq(tmp_path / "model", kind=kind)
    settings = given(model, template, tmp_path / "out", data=(str(data),))
    made = train_dpo(settings, supporter=ScriptedPolicy(talking)).checkpoint
    assert made.kind == "dpo"
    assert (made.rows["train"], made.rows["validation"]) == (10, 2)
    assert made.rows["chosen_refined"] == 12
    assert [source.name for source in made.data] == ["log", "pairs.jsonl"]
    for name in ("loss", "dpo", "nll", "accuracy", "margin", "chosen_reward", "rejected_reward"):
        assert made.metrics[f"validation_{name}"] is not None
    # before any step the adapter says nothing, so both rewards are 0
    first = json.loads((tmp_path / "out" / "training_log.jsonl").read_text().splitlines()[0])
    assert first["eval_dpo"] == pytest.approx(math.log(2), abs=1e-5)
    assert first["eval_loss"] == pytest.approx(first["eval_dpo"] + first["eval_nll"], abs=1e-5)
    load_base(str(tmp_path / "out"))


def test_the_model_that_is_trained_answers_by_itself(
    causal: Path, template: Path, data: Path, tmp_path: Path
) -> None:
    """No policy is named: the tiny model itself replies and reflects, and gold stands in."""
    settings = given(
        causal, template, tmp_path / "out", data=(str(data),), max_steps=1, limit=3,
        tries=1, reflection_tokens=8, supporter={"max_tokens": 6},
    )  # fmt: skip
    made = trained(settings)
    assert made.rows["chosen_gold"] >= 1
    calls = (tmp_path / "out" / "replies" / "calls.jsonl").read_text().splitlines()
    assert {json.loads(c)["policy"] for c in calls} == {"transformers:model"}


def test_adapters_make_a_chain(causal: Path, template: Path, pairs: Path, tmp_path: Path) -> None:
    """M² on M¹ on M⁰: each refers to its parent, and its reference is the parent merged."""
    for number in (1, 2):
        parent = causal if number == 1 else tmp_path / "m1"
        made = trained(given(parent, template, tmp_path / f"m{number}", pairs=(str(pairs),)))
        assert made.parent == (None if number == 1 else "../m1")
    chain = find_source(tmp_path / "m2", merge=True).merged
    assert [Path(folder).name for folder in chain] == ["m1", "m2"]
    first, second = load_base(str(tmp_path / "m1")), load_base(str(tmp_path / "m2"))
    rows = tokens_of(first, pairs)
    batch = PairCollator(0, encoder=False).batch(rows)
    with torch.no_grad():
        reference = candidate_log_probs(first.model, batch).sums
        after = candidate_log_probs(second.model, batch).sums
    lines = (tmp_path / "m2" / "reference.jsonl").read_text().splitlines()
    stored = {json.loads(x)["pair"].partition("-")[2]: json.loads(x)["chosen"] for x in lines}
    for row, value in zip(rows, reference[:, 0].tolist(), strict=True):
        assert stored[row.key] == pytest.approx(value, abs=1e-3)
    assert not torch.allclose(reference, after, atol=1e-1)


def test_preferences_are_learned(causal: Path, template: Path, pairs: Path, tmp_path: Path) -> None:
    made = trained(
        given(causal, template, tmp_path / "out", pairs=(str(pairs),), max_steps=25, batch_size=12)
    )
    log = [
        json.loads(x) for x in (tmp_path / "out" / "training_log.jsonl").read_text().splitlines()
    ]
    evaluated = [entry for entry in log if "eval_loss" in entry]
    # policy and reference are one at first, up to rounding: who leads is then chance
    assert abs(evaluated[0]["eval_margin"]) < 1e-4
    assert made.metrics["validation_accuracy"] == 1.0
    assert made.metrics["validation_margin"] > 0.5
    assert made.metrics["validation_nll"] < evaluated[0]["eval_nll"] - 0.5


@pytest.mark.parametrize(
    "changed",
    [
        {"beta": 1.0},
        {"gamma": 0.0},
        {"nll": "token_mean"},
        {"lora_targets": ("attention",)},
        {"lora_r": 2},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_each_option_changes_what_is_learned(
    changed: dict[str, Any], causal: Path, template: Path, pairs: Path, tmp_path: Path
) -> None:
    trained(given(causal, template, tmp_path / "usual", pairs=(str(pairs),), max_steps=2))
    trained(
        given(causal, template, tmp_path / "other", pairs=(str(pairs),), max_steps=2, **changed)
    )
    usual, other = weights(tmp_path / "usual"), weights(tmp_path / "other")
    if changed.get("lora_r"):
        assert {w.shape[0] for n, w in other.items() if "lora_A" in n} == {2}
        return
    same = usual.keys() & other.keys()
    assert usual.keys() != other.keys() or any(not torch.equal(usual[n], other[n]) for n in same)


@pytest.mark.parametrize("nll", ["token_mean", "reply_mean", "sum"])
def test_a_step_is_the_same_however_it_is_divided(
    causal: Path, template: Path, pairs: Path, tmp_path: Path, nll: str
) -> None:
    """Five pairs as one batch, as four and one, two, two and one, and singly."""
    rows = list(iter_pairs(pairs))[:5]
    texts = ("I am sorry to hear that, and I would like to help.", "Oh.", "Tell me.", "Yes, yes.")
    said = [
        row.model_copy(update={"chosen": (row.chosen[0].model_copy(update={"content": text}),)})
        for row, text in zip(rows, (*texts, "Your rent weighs on you."), strict=True)
    ]
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(row.to_json() + "\n" for row in said))
    found = []
    for batch in (8, 4, 2, 1):
        settings = given(
            causal, template, tmp_path / str(batch), pairs=(str(file),), batch_size=batch,
            accumulation=8 // batch, max_steps=1, validation_share=0.0, max_grad_norm=0.0, nll=nll,
        )  # fmt: skip
        base = load_base(str(causal))
        encoder = RowEncoder(base.tokenizer, base.model.config, base.model.generation_config)
        encoded, _ = encode_pairs(encoder, said, 512)
        known = reference_log_probs(base, encoded, settings, "float32", tmp_path / "r")
        trainer = make_trainer(base, known, [], tmp_path / str(batch), settings, seed=0)
        gradients: dict[str, torch.Tensor] = {}
        trainer.add_callback(_KeepGradients(gradients))
        trainer.train()
        log = trainer.state.log_history[0]
        assert log["loss"] == pytest.approx(log["total"], rel=1e-5)
        found.append((log["loss"], gradients))
    (loss, gradients), *others = found
    for other_loss, other in others:
        assert other_loss == pytest.approx(loss, rel=1e-5)
        for name, expected in gradients.items():
            assert torch.allclose(other[name], expected, rtol=1e-4, atol=1e-6), name


def test_pairs_that_teach_nothing_are_counted(
    causal: Path, template: Path, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty side, and two sides that say the same but for white space."""
    rows = list(iter_pairs(pairs))
    blank = rows[0].chosen[0].model_copy(update={"content": " "})
    same = rows[0].rejected[0].model_copy(update={"content": rows[0].chosen[0].content + " "})
    broken = [
        rows[0].model_copy(update={"id": "blank#1", "chosen": (blank,)}),
        rows[0].model_copy(update={"id": "none#1", "rejected": ()}),
        rows[0].model_copy(update={"id": "same#1", "rejected": (same,)}),
    ]
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(row.to_json() + "\n" for row in [*rows, *broken]))
    settings = given(
        causal, template, tmp_path / "out", pairs=(str(file),), max_steps=1, validation_share=0.0
    )
    made = train_dpo(settings, console=Console(width=200)).checkpoint
    assert (made.rows["train"], made.rows["empty_reply"], made.rows["identical"]) == (12, 2, 1)
    assert {e.reason: e.count for e in made.left_out} == {"empty_reply": 2, "identical": 1}
    assert "left out: 2 empty reply (blank#1" in capsys.readouterr().out
    refusing = settings.model_copy(update={"on_bad_row": "refuse", "out": str(tmp_path / "no")})
    with pytest.raises(ConfigError, match=r"same#1: identical \(chosen and rejected\)"):
        trained(refusing)


def test_a_killed_training_goes_on_to_the_same(
    causal: Path,
    template: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed while asking, then while training: nothing is asked twice, the weights are the same."""
    usual = {"data": (str(data),), "max_steps": 6, "save_minutes": 1e-9}
    whole = train_dpo(
        given(causal, template, tmp_path / "whole", **usual), supporter=ScriptedPolicy(talking)
    ).checkpoint
    settings = given(causal, template, tmp_path / "part", **usual)

    def leaving(request: Request) -> str:
        if len(policy.requests) > 15:
            raise KeyboardInterrupt
        return talking(request)

    policy = ScriptedPolicy(leaving)
    with pytest.raises(KeyboardInterrupt):
        train_dpo(settings, supporter=policy)

    def killed(trainer: Any, resume: Any) -> None:
        trainer.add_callback(_KillAt(3))
        trainer.train()

    rest = ScriptedPolicy(talking)
    with monkeypatch.context() as patched:
        patched.setattr(loop, "run_loop", killed)
        with pytest.raises(KeyboardInterrupt):
            train_dpo(settings, supporter=rest)
    assert 0 < len(rest.requests) < 24
    unasked = ScriptedPolicy(talking)
    resumed = train_dpo(settings, supporter=unasked).checkpoint
    assert not unasked.requests
    assert resumed.metrics["steps"] == whole.metrics["steps"] == 6
    expected, own_weights = weights(tmp_path / "whole"), weights(tmp_path / "part")
    assert all(torch.allclose(own_weights[n], expected[n], atol=1e-6) for n in expected)
    quicker = settings.model_copy(update={"concurrency": 2, "reference_batch": 3})
    assert train_dpo(quicker, supporter=unasked).checkpoint == resumed
    with pytest.raises(RunError, match=r"beta: 0.1 -> 0.2"):
        train_dpo(settings.model_copy(update={"beta": 0.2}), supporter=unasked)


def test_groups_are_not_split_and_long_pairs_are_counted(
    causal: Path, template: Path, pairs: Path, tmp_path: Path
) -> None:
    longest = max(row.tokens for row in tokens_of(load_base(str(causal)), pairs))
    short = given(
        causal, template, tmp_path / "out", pairs=(str(pairs),), max_tokens=longest - 1, max_steps=1
    )
    made = trained(short)
    assert made.rows["too_long"] >= 1
    with pytest.raises(ConfigError, match="rows cannot be used"):
        trained(short.model_copy(update={"on_bad_row": "refuse", "out": str(tmp_path / "other")}))
    with pytest.raises(ConfigError, match="none is left to train on"):
        trained(short.model_copy(update={"max_tokens": 3, "out": str(tmp_path / "none")}))


def test_the_command(causal: Path, template: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = {
        "--model": causal, "--data": data, "--out": out, "--device": "cpu", "--dtype": "float32",
        "--supporter.policy": "scripted", "--variant": "gold", "--max-steps": 2,
        "--template": template,
    }  # fmt: skip
    words = ["train", "dpo", *(str(word) for pair in options.items() for word in pair)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "validation accuracy" in done.output
    assert (out / "adapter_model.safetensors").is_file()
    assert (out / "pairs" / "summary.json").is_file()


class _KillAt(TrainerCallback):  # type: ignore[misc]
    """Ends the process, as far as a test can tell, after a step."""

    def __init__(self, step: int) -> None:
        self._step = step

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self._step:
            raise KeyboardInterrupt


class _KeepGradients(TrainerCallback):  # type: ignore[misc]
    """Copies what the first step is about to apply."""

    def __init__(self, kept: dict[str, torch.Tensor]) -> None:
        self._kept = kept

    def on_pre_optimizer_step(
        self, args: Any, state: Any, control: Any, model: Any, **kwargs: Any
    ) -> None:
        for name, weight in model.named_parameters():
            if weight.grad is not None:
                self._kept.setdefault(name, weight.grad.clone())


def test_contexts_that_gave_no_pair_are_in_the_record(
    causal: Path, template: Path, data: Path, tmp_path: Path
) -> None:
    """What `summary.json` counts beside the pairs, made here or given."""
    made = trained(given(causal, template, tmp_path / "made", data=(str(data),), max_steps=1))
    rules = json.loads((tmp_path / "made" / "pairs" / "summary.json").read_text())["rules"]
    dropped = {k: n for k, n in rules.items() if not k.startswith(("gold_for_", "merged"))}
    assert dropped["greeting_turns"] > 0
    assert {e.reason: e.count for e in made.left_out} == dropped
    folder = (str(tmp_path / "made" / "pairs"),)
    again = trained(given(causal, template, tmp_path / "read", pairs=folder, max_steps=1))
    assert again.left_out == made.left_out
