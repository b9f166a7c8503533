"""Fine-tuning tiny models: losses against TRL, accumulation, resume, overfitting, reload, seating."""

from __future__ import annotations

import json
import math
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, TrainerCallback

import warmline
from warmline.core.errors import ConfigError, RunError
from warmline.policies.models.loading import load
from warmline.policies.models.sources import find_source
from warmline.training.loop.base_model import load_base, with_lora
from warmline.training.loop.checkpoint import read_checkpoint
from warmline.training.loop.loop import SAVES, Stopped, last_save
from warmline.training.loop.results import result_of
from warmline.training.loop.row_trainer import (
    count_units,
    make_row_trainer,
    reply_lengths,
    token_loss,
)
from warmline.training.rows.build import build_rows
from warmline.training.rows.collate import Collator, places_to_keep
from warmline.training.rows.encode import Encoded, RowEncoder
from warmline.training.rows.settings import RowSettings
from warmline.training.sft.train import train_sft

from ...policies.tiny_models import save_causal, save_seq2seq
from ..building import CHATML, TEMPLATE, settings, varied, write_log


@pytest.fixture(scope="module")
def causal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_causal(tmp_path_factory.mktemp("causal") / "model", chat_template=CHATML)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_log(tmp_path_factory.mktemp("data") / "run", varied(12))


def encoded(model: Any, tokenizer: Any, count: int = 12) -> list[Encoded]:
    encoder = RowEncoder(tokenizer, model.config, model.generation_config)
    rows = build_rows(varied(count), RowSettings(template=TEMPLATE)).rows
    return [encoder.encode(row) for row in rows]


def losses(trainer: Any) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


# The loss


def test_the_loss_by_hand() -> None:
    """Two learned places with uniform logits over 4 tokens: 2 ln 4 = 2.772589 nats."""
    labels = torch.tensor([[-100, -100, 1, 2]])
    for places in (2, 4):  # spared, and all
        logits = torch.zeros(1, places, 4)
        assert token_loss(logits, labels, shifted=True).item() == pytest.approx(2.772589, abs=1e-6)
    assert token_loss(torch.zeros(1, 4, 4), labels, shifted=False).item() == pytest.approx(
        2.772589, abs=1e-6
    )


def test_the_means_over_replies_by_hand() -> None:
    """A conversation whose replies have 2 tokens and 1, and one of a single reply of 3, over 4
    uniform tokens: each costs ln 4. By reply: 3 replies of ln 4 each; summed: 6 ln 4 over 3.
    The place between the replies of the first row is spared, and they are still two.
    """
    labels = torch.tensor([[-100, 1, 2, -100, 3, -100], [-100, 1, 2, -100, -100, -100]])
    labels[1, 3] = -100
    assert reply_lengths(labels).tolist() == [[0, 2, 2, 0, 1, 0], [0, 2, 2, 0, 0, 0]]
    assert count_units(labels, "token_mean").item() == 5
    assert count_units(labels, "reply_mean").item() == count_units(labels, "sum").item() == 3
    one = math.log(4)
    for places in (places_to_keep(labels).numel(), 6):
        logits = torch.zeros(2, places, 4)
        means = token_loss(logits, labels, shifted=True, nll="reply_mean")
        assert means.item() == pytest.approx(3 * one, rel=1e-6)
        summed = token_loss(logits, labels, shifted=True, nll="sum")
        assert summed.item() == pytest.approx(5 * one, rel=1e-6)


@pytest.mark.parametrize("kind", ["llama", "mistral", "gemma3"])
def test_sparing_logits_changes_no_loss_and_no_gradient(tmp_path: Path, kind: str) -> None:
    """Our batch against the model's own loss, row by row, unpadded and with all logits."""
    base = load_base(str(save_causal(tmp_path / "m", kind=kind)))
    model = base.model.requires_grad_(True)
    rows = encoded(model, base.tokenizer)[:6]
    batch = Collator(base.tokenizer.pad_token_id, base.arguments)(rows)
    assert 1 < len(batch["logits_to_keep"]) < batch["input_ids"].shape[1] / 2
    labels = batch.pop("labels")
    ours = token_loss(model(**batch).logits, labels, shifted=True)
    ours.backward()
    gradient = model.lm_head.weight.grad.clone()
    model.zero_grad()
    theirs = torch.zeros(())
    for row in rows:
        each = model(torch.tensor([row.input_ids]), labels=torch.tensor([row.labels])).loss
        theirs = theirs + each * row.learned
    theirs.backward()
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    assert torch.allclose(gradient, model.lm_head.weight.grad, atol=1e-3, rtol=1e-4)


def test_the_losses_are_those_of_trl(causal: Path, tmp_path: Path) -> None:
    """TRL's SFTTrainer on the same conversational rows, in the same order, with the same adapter."""
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    changed = settings(causal, tmp_path, tmp_path / "ours", max_steps=4, accumulation=2)
    base = load_base(str(causal))
    rows = encoded(base.model, base.tokenizer)
    ours = make_row_trainer(base, rows, [], tmp_path / "ours", changed, seed=0)
    ours.args.logging_steps = ours.state.logging_steps = 1
    start = {n: p.detach().clone() for n, p in ours.model.named_parameters() if p.requires_grad}
    order = list(ours._get_train_sampler())
    ours.train()

    shapes = [r.as_trl() for r in build_rows(varied(12), RowSettings(template=TEMPLATE)).rows]
    base = load_base(str(causal))
    torch.manual_seed(0)
    model = with_lora(base.model, changed)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if name in start:
                weights.copy_(start[name])
    arguments = trl.SFTConfig(
        output_dir=str(tmp_path / "trl"), max_steps=4, per_device_train_batch_size=2, gradient_accumulation_steps=2, learning_rate=1e-2, warmup_steps=0.01, weight_decay=0.0,
        lr_scheduler_type="linear", logging_steps=1, bf16=False, use_cpu=True,
        gradient_checkpointing=False, report_to="none", completion_only_loss=True,
        train_sampling_strategy="sequential", max_length=None, disable_tqdm=True, max_grad_norm=1.0,
        save_strategy="no",
    )  # fmt: skip
    theirs = trl.SFTTrainer(
        model=model, args=arguments, processing_class=base.tokenizer,
        train_dataset=datasets.Dataset.from_list([shapes[n] for n in order]),
    )  # fmt: skip
    theirs.train()
    assert len(losses(ours)) == 4
    assert losses(ours) == pytest.approx(losses(theirs), rel=2e-4)


# The loop


@pytest.mark.parametrize(("kind", "steps"), [("causal", 60), ("blenderbot", 80)])
def test_a_batch_can_be_learned_by_heart(tmp_path: Path, kind: str, steps: int) -> None:
    """Two replies; every weight may move, from a narrower start than other tests need."""
    model = tmp_path / "m"
    model = save_causal(model) if kind == "causal" else save_seq2seq(model, kind=kind)
    base = load_base(str(model))
    rows = encoded(base.model, base.tokenizer, 1)[:2]
    given = settings(
        model, tmp_path, tmp_path / "out", max_steps=steps, schedule="constant", max_grad_norm=0.0
    )
    trainer = make_row_trainer(base, rows, [], tmp_path / "out", given, seed=0)
    trainer.model.requires_grad_(True)
    with torch.no_grad():
        for weights in trainer.model.parameters():
            weights.mul_(0.2 if weights.dim() > 1 else 1.0)
    before = trainer.evaluate(trainer.train_dataset)["eval_loss"]
    trainer.train()
    after = trainer.evaluate(trainer.train_dataset)["eval_loss"]
    assert before > 5
    assert after < 0.1  # processors round differently


@pytest.mark.parametrize("nll", ["token_mean", "reply_mean", "sum"])
def test_accumulation_equals_a_large_batch(causal: Path, tmp_path: Path, nll: Any) -> None:
    """Losses and weights; rows differ in length, so means over batches would not agree."""
    found = []
    for batch, accumulation in ((4, 1), (2, 2), (1, 4)):
        base = load_base(str(causal))
        rows = encoded(base.model, base.tokenizer)
        changed = settings(
            causal, tmp_path, tmp_path / "out", batch_size=batch, accumulation=accumulation
        )
        trainer = make_row_trainer(
            base, rows, rows[:5], tmp_path / f"{batch}", changed, seed=0, nll=nll
        )
        trainer.train()
        weights = {n: p for n, p in trainer.model.named_parameters() if "lora" in n}
        found.append((losses(trainer), weights))
    for other, weights in found[1:]:
        assert other == pytest.approx(found[0][0], rel=1e-4)
        for name, weight in weights.items():
            assert torch.allclose(weight, found[0][1][name], atol=1e-3), name


class Killed(BaseException):
    """Stands for the end of the process: nothing catches it."""


class KillAt(TrainerCallback):  # type: ignore[misc]
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            raise Killed


@pytest.mark.parametrize("killed_at", [7, 15])
def test_a_killed_run_goes_on_to_the_same_losses(
    causal: Path, data: Path, tmp_path: Path, killed_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With dropout, in the first and in the second epoch: order and chance are the same."""
    changed = {"evaluate_every": 3, "lora_dropout": 0.2, "patience": 0, "runs": 1}
    whole = settings(causal, data, tmp_path / "whole", **changed)
    reference = train_sft(whole).checkpoint

    torn = settings(causal, data, tmp_path / "torn", **changed)
    from warmline.training.loop import row_trainer

    made = row_trainer.make_callbacks

    def killing(*given: Any, **named: Any) -> Any:
        return [*made(*given, **named), KillAt(killed_at)]

    monkeypatch.setattr(row_trainer, "make_callbacks", killing)
    with pytest.raises(Killed):
        train_sft(torn)
    monkeypatch.undo()
    save = last_save(tmp_path / "torn")
    assert save is not None
    assert save.name == f"checkpoint-{killed_at // 3 * 3}"
    (save.parent / "checkpoint-99").mkdir()  # a save that the kill tore
    resumed = train_sft(torn).checkpoint
    assert not (tmp_path / "torn" / SAVES).exists()
    logs = [
        {
            (entry["step"], key): entry[key]
            for entry in map(json.loads, (folder / "training_log.jsonl").read_text().splitlines())
            for key in ("loss", "eval_loss", "grad_norm")
            if key in entry
        }
        for folder in (tmp_path / "whole", tmp_path / "torn")
    ]
    assert logs[0].keys() == logs[1].keys()
    assert list(logs[1].values()) == pytest.approx(list(logs[0].values()), rel=1e-5)
    assert resumed.metrics == pytest.approx(reference.metrics, rel=1e-5)


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_saves_and_the_same_call_goes_on(
    name: str, code: int, causal: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupt(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 4:
                signal.raise_signal(getattr(signal, name))

    from warmline.training.loop import row_trainer

    given = settings(causal, data, tmp_path / "out", max_steps=8, evaluate_every=8)
    made = row_trainer.make_callbacks
    monkeypatch.setattr(
        row_trainer, "make_callbacks", lambda *a, **k: [*made(*a, **k), Interrupt()]
    )
    with pytest.raises(Stopped, match="stopped after 5 of 8 steps") as stopped:
        train_sft(given)
    assert stopped.value.exit_code == code
    assert last_save(tmp_path / "out").name == "checkpoint-5"
    monkeypatch.undo()
    whole = train_sft(given).checkpoint
    assert whole.metrics["steps"] == 8


def test_the_same_command_again_trains_nothing(causal: Path, data: Path, tmp_path: Path) -> None:
    given = settings(causal, data, tmp_path / "out", max_steps=2)
    first = train_sft(given)
    assert train_sft(given) == first
    with pytest.raises(RunError, match=r"learning_rate: 0.01 -> 0.5"):
        train_sft(given.model_copy(update={"learning_rate": 0.5}))
    other = write_log(tmp_path / "other", varied(5))
    with pytest.raises(RunError, match=r"(?s)holds a training with other settings.*  data: "):
        train_sft(given.model_copy(update={"data": (str(other),)}))


def test_early_stopping_keeps_the_best(causal: Path, data: Path, tmp_path: Path) -> None:
    """A rate far too high: validation gets worse, and after two evaluations the run stops."""
    made = train_sft(
        settings(
            causal, data, tmp_path / "out", learning_rate=1.0, schedule="constant", epochs=20.0,
            evaluate_every=2, patience=2,
        )
    ).checkpoint  # fmt: skip
    log = [json.loads(x) for x in (tmp_path / "out/training_log.jsonl").read_text().splitlines()]
    evaluated = {e["step"]: e["eval_loss"] for e in log if "eval_loss" in e}
    assert made.metrics["steps"] < 100
    best = min((loss, step) for step, loss in evaluated.items() if step)
    assert (made.metrics["validation_loss"], made.metrics["best_step"]) == best
    # what lies in the folder is the best, not the last
    loaded = load(find_source(tmp_path / "out", merge=True), device="cpu", dtype="float32")
    from warmline.training.rows.sources import load_episodes, split_episodes

    held = split_episodes(load_episodes([data])[0], 0.1, 0)[1]
    encoder = RowEncoder(loaded.tokenizer, loaded.model.config, loaded.model.generation_config)
    rows = [encoder.encode(r) for r in build_rows(held, RowSettings(template=TEMPLATE)).rows]
    total = sum(
        token_loss(
            loaded.model(torch.tensor([r.input_ids])).logits, torch.tensor([r.labels]), shifted=True
        ).item()
        for r in rows
    )
    assert total / sum(r.learned for r in rows) == pytest.approx(best[0], rel=1e-4)


def test_several_runs(causal: Path, data: Path, tmp_path: Path) -> None:
    """Mean and sample deviation over the seeds, e.g. of 1, 2, 3: 2 ± 1."""
    made = train_sft(settings(causal, data, tmp_path / "out", max_steps=2, runs=3, seed=5))
    assert [c.seed for c in made.checkpoints] == [5, 6, 7]
    assert made.folders == tuple(tmp_path / f"out/seed{n}" for n in (5, 6, 7))
    assert [(tmp_path / f"out/seed{n}/checkpoint.json").is_file() for n in (5, 6, 7)] == [True] * 3
    found = [c.metrics["validation_loss"] for c in made.checkpoints]
    assert made.metrics["validation_loss"] == pytest.approx(sum(found) / 3)
    assert made.deviations["validation_loss"] > 0
    with pytest.raises(RunError, match="has 3 checkpoints"):
        _ = made.checkpoint
    values = [
        (tmp_path, c.model_copy(update={"metrics": {"x": float(n), "y": None}}))
        for n, c in enumerate(made.checkpoints, 1)
    ]
    result = result_of(tmp_path, values)
    assert (result.metrics, result.deviations) == ({"x": 2.0}, {"x": 1.0})
    stored = json.loads((tmp_path / "runs.json").read_text())
    assert stored == {"seeds": [5, 6, 7], "metrics": {"x": {"mean": 2.0, "deviation": 1.0}}}


def test_replay_joins_the_training_rows(causal: Path, data: Path, tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    file.write_text(json.dumps([{"instruction": f"Say {n}.", "output": f"{n}"} for n in range(40)]))
    made = train_sft(
        settings(causal, data, tmp_path / "out", max_steps=1, replay=str(file), replay_share=0.25)
    ).checkpoint
    rows = 12 * 3 - made.rows["validation"]
    assert made.rows["train"] == rows + round(rows / 3)
    assert [source.name for source in made.data] == ["run", "rows.json"]


def test_rows_that_are_too_long_are_counted_or_refused(
    causal: Path, data: Path, tmp_path: Path
) -> None:
    made = train_sft(settings(causal, data, tmp_path / "a", max_steps=1, max_tokens=150)).checkpoint
    (left,) = made.left_out
    assert (left.reason, left.count) == ("too_long", made.rows["too_long"])
    assert left.count > 0
    assert "tokens, at most 150" in left.examples[0]
    with pytest.raises(ConfigError, match=r"rows cannot be used\n  - talk\d+#\d: too long"):
        train_sft(settings(causal, data, tmp_path / "b", max_tokens=150, on_bad_row="refuse"))
    with pytest.raises(ConfigError, match="are longer than the 3 tokens"):
        train_sft(settings(causal, data, tmp_path / "c", max_tokens=3))


# The checkpoint


async def test_a_checkpoint_sits_in_simulate(causal: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "m0"
    made = train_sft(
        settings(causal, data, out, max_steps=3, merge=True, tensorboard=True)
    ).checkpoint
    assert made == read_checkpoint(out)
    assert {p.name for p in out.iterdir()} >= {
        "adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "checkpoint.json",
        "training_log.jsonl", "README.md", "merged", "tensorboard",
    }  # fmt: skip
    assert not [p for p in out.rglob("*") if p.suffix in (".bin", ".pt", ".pth", ".pkl")]
    assert "must not stand in for help" in (out / "README.md").read_text()
    assert made.metrics["validation_loss"] < made.metrics["validation_loss_before"]

    script = warmline.ScriptedPolicy(seeker=["Hm."], counselor=["Question"], judger=["NO"])
    supporter = warmline.make_policy(
        "transformers", model=str(out), dtype="float32", device="cpu", context_tokens=512
    )
    environment = warmline.SupportEnvironment(
        seeker=script,
        counselor=script,
        supporter=warmline.Supporter(
            supporter, template=TEMPLATE, sampling=warmline.Sampling(max_tokens=8)
        ),
        judger=script,
        max_turns=4,
    )
    played = await environment.run(
        warmline.Scenario(id="s", problem_type="Job Crisis", situation="x"), seed=1
    )
    assert [u.text for u in played.utterances if u.role == "supporter"]
    assert played.error is None
    await supporter.aclose()


def test_the_reloaded_adapter_gives_the_trained_logits(causal: Path, tmp_path: Path) -> None:
    """In the policy's loader, merged and as the written merged model."""
    base = load_base(str(causal))
    rows = encoded(base.model, base.tokenizer)
    out = tmp_path / "out"
    changed = settings(causal, tmp_path, out, max_steps=5)
    trainer = make_row_trainer(base, rows, [], out, changed, seed=0)
    trainer.train()
    from warmline.environments.corpus.seen import Seen
    from warmline.training.loop.loop import finish
    from warmline.training.loop.merge import merge_checkpoint

    probe = torch.tensor([rows[0].input_ids])
    with torch.no_grad():
        trained = trainer.model.eval()(probe).logits
        untrained = AutoModelForCausalLM.from_pretrained(causal)(probe).logits
    finish(
        trainer, base, out, kind="sft", settings=changed, seed=0, data=(), rows={}, metrics={},
        seen=Seen(),
    )  # fmt: skip
    loaded = load(find_source(out), device="cpu", dtype="float32")
    name = loaded.add_adapter(str(out))
    with torch.no_grad():
        laid = loaded.forward([name], input_ids=probe).logits
        merged = load(find_source(out, merge=True), device="cpu", dtype="float32").model(probe)
        merge_checkpoint(out, tmp_path / "merged")
        written = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")(probe)
    assert (trained - untrained).abs().max() > 0.1
    assert torch.allclose(laid, trained, atol=1e-5)
    assert torch.allclose(merged.logits, trained, atol=1e-4)
    assert torch.allclose(written.logits, trained, atol=1e-4)


def test_training_on_a_checkpoint_chains(causal: Path, data: Path, tmp_path: Path) -> None:
    """M¹ on M⁰: the parent is named relatively, so that the folder of both can be moved."""
    train_sft(settings(causal, data, tmp_path / "runs/m0", max_steps=2))
    made = train_sft(
        settings(tmp_path / "runs/m0", data, tmp_path / "runs/m1", max_steps=2)
    ).checkpoint
    assert made.parent == "../m0"
    (tmp_path / "runs").rename(tmp_path / "moved")
    source = find_source(tmp_path / "moved/m1")
    assert source.base == str(causal)
    assert [Path(folder).name for folder in source.merged] == ["m0"]
    assert Path(source.adapter or "").name == "m1"
