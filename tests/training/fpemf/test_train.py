"""FPEMF on tiny models: the gap grows, ablations change what is trained, every stage resumes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback
from typer.testing import CliRunner

from warmline.cli import app
from warmline.core.errors import ConfigError, RunError
from warmline.policies.base import Message, Reply, Request
from warmline.training.candidates.batch import CandidateBatch, candidate_log_probs
from warmline.training.candidates.rows import iter_candidates
from warmline.training.fpemf.data import (
    ContextCollator,
    RankedContext,
)
from warmline.training.fpemf.settings import FpemfSettings
from warmline.training.fpemf.train import losses_of, make_trainer, train_fpemf
from warmline.training.loop.base_model import load_base
from warmline.training.loop.checkpoint import Checkpoint
from warmline.training.rows.splits import split_contexts

from ...policies.tiny_models import save_causal, save_seq2seq
from ..building import CHATML, TEMPLATE, varied, write_log


class Scorer:
    """Finds replies with an even number of characters helpful."""

    asked = 0

    async def label(self, prompt: tuple[Message, ...], reply: str) -> Mapping[str, float | None]:
        self.asked += 1
        return {"empathy": float(len(reply) % 2 == 0)}


@pytest.fixture(scope="module")
def causal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_causal(tmp_path_factory.mktemp("causal") / "model", chat_template=CHATML)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_log(tmp_path_factory.mktemp("data") / "log", varied(5))


def given(model: Path, data: Path, out: Path, **changed: Any) -> FpemfSettings:
    usual: dict[str, Any] = {
        "model": str(model),
        "data": (str(data),),
        "out": str(out),
        "template": TEMPLATE,
        "dtype": "float32",
        "device": "cpu",
        "lora_targets": ("all-linear",),
        "learning_rate": 1e-2,
        "schedule": "constant",
        "max_steps": 6,
        "num_candidates": 4,
        "max_new_tokens": 8,
        "dimensions": ("empathy",),
        "judge": {"policy": "scripted"},
        "patience": 0,
    }
    return FpemfSettings(**(usual | changed))


def trained(settings: FpemfSettings) -> Checkpoint:
    return train_fpemf(settings, labeller=Scorer()).checkpoint


def weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "adapter_model.safetensors")


@pytest.mark.parametrize("kind", ["causal", "blenderbot", "t5"])
def test_the_whole_way(kind: str, causal: Path, data: Path, tmp_path: Path) -> None:
    model = causal if kind == "causal" else save_seq2seq(tmp_path / "model", kind=kind)
    made = trained(given(model, data, tmp_path / "out"))
    assert made.kind == "fpemf"
    assert made.rows["train"] == 12
    assert made.rows["validation"] == 3
    assert made.rows["helpful"] > 0
    assert made.rows["unhelpful"] > 0
    for name in ("ranking", "nll", "gap", "loss"):
        assert made.metrics[f"validation_{name}"] is not None
    assert [source.name for source in made.data] == ["log", "ratings.jsonl"]
    load_base(str(tmp_path / "out"))


@pytest.mark.parametrize("kind", ["causal", "t5"])
def test_over_a_hundred_steps_the_gap_grows_and_the_nll_does_not_diverge(
    kind: str, causal: Path, tmp_path: Path
) -> None:
    """A fixed batch whose helpful candidates are, at first, the less likely ones."""
    model = causal if kind == "causal" else save_seq2seq(tmp_path / "model", kind=kind)
    network = load_base(str(model)).model.requires_grad_(True).train()
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    settings = given(model, tmp_path, tmp_path, margin=0.5)
    rows = [
        RankedContext(
            [5 + n, 9, 11], [[20, 21, 2], [30, 31 + n, 2], [40, 2], [50, 51, 52, 2]], [-1] * 4
        )
        for n in range(3)
    ]
    inputs = ContextCollator(0, encoder=kind == "t5")(rows)
    batch = CandidateBatch.of(inputs)
    with torch.no_grad():
        sums = candidate_log_probs(network, batch).tokens.sum(-1) / batch.reply_mask.sum(-1)
    labels = torch.full_like(inputs["labels"], -1)
    labels[:, 1:] = (sums[:, 1:] <= sums[:, 1:].median(dim=1, keepdim=True).values).long()
    # T5 begins with a loss of 26; at 1e-3 it still swings after a hundred steps
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3 if kind == "causal" else 3e-3)
    history = []
    for _ in range(100):
        losses = losses_of(candidate_log_probs(network, batch), labels, settings)
        optimizer.zero_grad()
        losses.loss.backward()
        optimizer.step()
        assert losses.gap is not None
        history.append((losses.gap.item(), losses.nll.item()))
    assert history[0][0] < 0
    assert history[-1][0] > 0.5
    assert history[-1][1] < history[0][1]


def test_gold_is_first_and_ranked_only_when_asked(causal: Path, data: Path, tmp_path: Path) -> None:
    """Losses of one batch: with the gold reply as helpful, the ranking is another."""
    network = load_base(str(causal)).model
    rows = [RankedContext([5, 9, 11], [[20, 21, 2], [30, 2]], [-1, 0])]
    inputs = ContextCollator(0, encoder=False)(rows)
    found = candidate_log_probs(network, CandidateBatch.of(inputs))
    settings = given(causal, data, tmp_path, margin=100.0)
    without = losses_of(found, inputs["labels"], settings)
    assert without.ranking == 0
    assert without.gap is None
    ranked = losses_of(found, torch.tensor([[1, 0]]), settings)
    scores = found.sums[0] / torch.tensor([3, 2])
    # one pair over K = 2
    assert ranked.ranking.item() == pytest.approx((100 - (scores[0] - scores[1])).item() / 2)
    assert ranked.gap is not None
    assert ranked.gap.item() == pytest.approx((scores[0] - scores[1]).item(), abs=1e-6)
    assert without.nll.item() == pytest.approx(-scores[0].item())


@pytest.mark.parametrize(
    "changed",
    [
        {"beta_ul": 0.5},
        {"beta_gen": 0.1},
        {"margin": 5.0},
        {"alpha": 0.0},
        {"reduction": "muffin"},
        {"include_gold": True},
        {"feedback": False},
        {"rule": "any", "dimensions": ("empathy", "topic")},
        {"threshold": 2.0},
        {"num_candidates": 2},
    ],
    ids="-".join,
)
def test_each_ablation_changes_what_is_learned(
    changed: dict[str, Any], causal: Path, data: Path, tmp_path: Path
) -> None:
    trained(given(causal, data, tmp_path / "usual", max_steps=2))
    stored = str(tmp_path / "usual" / "candidates")
    trained(given(causal, data, tmp_path / "other", max_steps=2, candidates=stored, **changed))
    usual, other = weights(tmp_path / "usual"), weights(tmp_path / "other")
    assert any(not torch.equal(usual[name], other[name]) for name in usual)


def test_the_stages_resume(
    causal: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while judging, then while training: nothing is made twice, the result is the same."""
    whole = trained(given(causal, data, tmp_path / "whole", save_minutes=1e-9))
    settings = given(causal, data, tmp_path / "part", save_minutes=1e-9)

    class Leaving(Scorer):
        async def label(
            self, prompt: tuple[Message, ...], reply: str
        ) -> Mapping[str, float | None]:
            found = await super().label(prompt, reply)
            if self.asked > 30:
                raise RunError("killed")
            return found

    with pytest.raises(RunError, match="killed"):
        train_fpemf(settings, labeller=Leaving())
    made = (tmp_path / "part" / "candidates" / "candidates.jsonl").read_bytes()

    import warmline.training.loop.loop as module

    def killed(trainer: Any, resume: Any) -> None:
        trainer.args.max_steps = 6
        trainer.add_callback(_KillAt(3))
        trainer.train()

    with monkeypatch.context() as patched:
        patched.setattr(module, "run_loop", killed)
        with pytest.raises(KeyboardInterrupt):
            train_fpemf(settings, labeller=Scorer())
    scorer = Scorer()
    resumed = train_fpemf(settings, labeller=scorer).checkpoint
    assert scorer.asked == 0
    assert (tmp_path / "part" / "candidates" / "candidates.jsonl").read_bytes() == made
    assert resumed.metrics["steps"] == whole.metrics["steps"] == 6
    expected, own = weights(tmp_path / "whole"), weights(tmp_path / "part")
    assert all(torch.allclose(own[name], expected[name], atol=1e-6) for name in expected)
    assert train_fpemf(settings, labeller=scorer).checkpoint == resumed


def test_all_weights_can_be_trained(causal: Path, data: Path, tmp_path: Path) -> None:
    trained(given(causal, data, tmp_path / "out", full=True, learning_rate=1e-3))
    assert not (tmp_path / "out" / "adapter_config.json").exists()
    before, after = load_base(str(causal)).model, load_base(str(tmp_path / "out")).model
    changed = [
        name
        for (name, old), new in zip(before.named_parameters(), after.parameters(), strict=True)
        if not torch.equal(old, new)
    ]
    assert len(changed) == len(list(before.parameters()))


@pytest.mark.parametrize(
    ("reduction", "nll"),
    [("paper", "reply_mean"), ("muffin", "token_mean"), ("literal", "sum")],
)
def test_a_step_is_the_same_however_it_is_divided(
    reduction: str, nll: str, causal: Path, tmp_path: Path
) -> None:
    """Five contexts with gold replies of one to nine tokens and one to four candidates."""
    rows = [
        RankedContext(
            [5 + n, 9, 11],
            [[*range(20, 20 + 2 * n), 2], *([40 + k, 50 + n, 2] for k in range(1 + n % 4))],
            [-1, *(k % 2 for k in range(1 + n % 4))],
        )
        for n in range(5)
    ]
    found = []
    for batch in (8, 4, 2, 1):
        settings = given(
            causal, tmp_path, tmp_path, margin=1.0, batch_size=batch, accumulation=8 // batch,
            max_steps=1, max_grad_norm=0.0, reduction=reduction, nll=nll,
        )  # fmt: skip
        trainer = make_trainer(load_base(str(causal)), rows, [], tmp_path, settings, seed=0)
        trainer.train()
        log = trainer.state.log_history[0]
        assert log["loss"] == pytest.approx(log["total"], rel=1e-5)
        found.append((log["loss"], log["ranking"], log["grad_norm"]))
    assert found[0][1] > 0
    assert all(other == pytest.approx(found[0], rel=1e-4) for other in found[1:])


def test_a_finished_training_can_still_be_merged(causal: Path, data: Path, tmp_path: Path) -> None:
    trained(given(causal, data, tmp_path / "out", max_steps=1))
    before = weights(tmp_path / "out")
    assert not (tmp_path / "out" / "merged").exists()
    half = tmp_path / "out" / "merged.partial"  # of a merge that was killed
    half.mkdir()
    (half / "config.json").write_text("{", "utf-8")
    trained(given(causal, data, tmp_path / "out", max_steps=1, merge=True))
    assert (tmp_path / "out" / "merged" / "model.safetensors").is_file()
    assert not half.exists()
    after = weights(tmp_path / "out")
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_what_is_left_out_is_told_and_kept(
    causal: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Turns too long for the model, and candidates that nobody judged, among 15 turns."""
    from rich.console import Console

    class Silent(Scorer):
        async def label(
            self, prompt: tuple[Message, ...], reply: str
        ) -> Mapping[str, float | None]:
            return {"empathy": None if len(reply) % 3 == 0 else float(len(reply) % 2)}

    usual = given(causal, data, tmp_path / "all", max_steps=1)
    assert trained(usual).left_out == ()
    short = given(causal, data, tmp_path / "out", max_steps=1, max_tokens=160)
    made = train_fpemf(short, labeller=Silent(), console=Console(width=200)).checkpoint
    found = {each.reason: each for each in made.left_out}
    used = made.rows["train"] + made.rows["validation"]
    assert 0 < found["too_long"].count == 15 - used
    assert "tokens, at most 152" in found["too_long"].examples[0]
    sets = list(iter_candidates(tmp_path / "out" / "candidates"))
    silent = sum(len(c.text) % 3 == 0 for each in sets for c in each.candidates)
    assert found["not_judged"].count == silent > 0
    told = capsys.readouterr().out
    assert f"{found['too_long'].count} too long (talk" in told
    assert f"{silent} not judged" in told
    # the same sets, read from a file, under a limit that some do not fit
    again = given(
        causal, data, tmp_path / "again", candidates=str(tmp_path / "all" / "candidates"),
        max_steps=1, max_tokens=150,
    )  # fmt: skip
    (long, *_) = trained(again).left_out
    assert (long.reason, long.count > 0) == ("too_long", True)
    with pytest.raises(ConfigError, match=r"such as talk\d+#\d: \d+ tokens, at most 2"):
        trained(given(causal, data, tmp_path / "none", max_tokens=10))


def test_groups_are_not_split(causal: Path, data: Path, tmp_path: Path) -> None:
    trained(given(causal, data, tmp_path / "out", max_steps=1))
    contexts = list(iter_candidates(tmp_path / "out" / "candidates"))
    for seed in range(5):
        train, held = split_contexts(contexts, 0.3, seed)
        assert len(train) + len(held) == len(contexts)
        assert held
        assert not {c.group for c in train} & {c.group for c in held}
    assert split_contexts(contexts, 0.0, 0) == (contexts, [])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"judge": {}}, "no feedback: give ratings"),
        ({"full": True, "merge": True}, "merge: with full there is no adapter"),
        ({"num_groups": 5}, "num_groups is 5, num_candidates 4"),
        ({"beta_gen": 0.0, "feedback": False}, "nothing is trained"),
        ({"source": "sampling"}, "needs a sampler's policy"),
        ({"per": "conversation"}, "a candidate answers one turn"),
        ({"validation": ("x",)}, "validation_share of it is held out"),
    ],
)
def test_settings_that_do_not_fit_are_named(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        given(Path("m"), Path("d"), Path("o"), **changed)


def test_candidates_of_another_model_are_not_mixed(
    causal: Path, data: Path, tmp_path: Path
) -> None:
    trained(given(causal, data, tmp_path / "out", max_steps=1))
    with pytest.raises(RunError, match=r"diversity_penalty: 1\.0 -> 2\.0"):
        trained(given(causal, data, tmp_path / "out", max_steps=1, diversity_penalty=2.0))


def test_the_command(causal: Path, data: Path, tmp_path: Path) -> None:
    """Samples of a scripted policy, judged by one, which finds all alike."""
    out = tmp_path / "out"
    options = {
        "--model": causal, "--data": data, "--out": out, "--device": "cpu", "--dtype": "float32",
        "--source": "sampling", "--sampler.policy": "scripted", "--judge.policy": "scripted",
        "--num-candidates": 2, "--max-steps": 2, "--template": _template(tmp_path),
    }  # fmt: skip
    words = ["train", "fpemf", *(str(word) for pair in options.items() for word in pair)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "validation nll" in done.output
    assert "helpful, beams" in done.output
    assert (out / "adapter_model.safetensors").is_file()
    rates = json.loads((out / "helpful.json").read_text("utf-8"))
    assert set(rates) == {"single", "beams", "gold"}
    assert set(rates["beams"]) == {"empathy", "strategy", "coherence", "topic", "helpful"}
    assert "seat it" in done.output
    seeds = [*words, "--runs", "2", "--candidates", str(out / "candidates")]
    seeds[seeds.index("--out") + 1] = str(tmp_path / "seeds")
    several = CliRunner().invoke(app, seeds)
    assert "±" in several.output, several.output
    assert json.loads((tmp_path / "seeds" / "runs.json").read_text())["seeds"] == [0, 1]
    missing = CliRunner().invoke(app, ["train", "fpemf", "--out", str(out)])
    assert isinstance(missing.exception, ConfigError)
    assert "no feedback: give ratings" in str(missing.exception)


class OwnQuestions:
    """A judge's policy that knows its own dimensions."""

    async def respond(self, request: Request) -> Reply:
        raise AssertionError("asked as a policy")

    async def label(self, prompt: tuple[Message, ...], reply: str) -> Mapping[str, float | None]:
        return {"brevity": float(len(reply) % 2 == 0)}


def test_a_policy_that_labels_is_asked_through_that(
    causal: Path, data: Path, tmp_path: Path
) -> None:
    judge = {"policy": f"{__name__}:OwnQuestions"}
    settings = given(causal, data, tmp_path, max_steps=1, judge=judge, dimensions=("brevity",))
    assert train_fpemf(settings).checkpoint.rows["helpful"] > 0
    other = given(
        causal, data, tmp_path / "o", judge={"policy": "scripted"}, dimensions=("brevity",)
    )
    with pytest.raises(ConfigError, match="no question for dimension 'brevity'; known: empathy"):
        train_fpemf(other)


def _template(folder: Path) -> Path:
    file = folder / "short.jinja"
    file.write_text(TEMPLATE, "utf-8")
    return file


class _KillAt(TrainerCallback):  # type: ignore[misc]
    """Ends the process, as far as a test can tell, after a step."""

    def __init__(self, step: int) -> None:
        self._step = step

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self._step:
            raise KeyboardInterrupt


def test_candidates_of_a_model_before_and_after(
    causal: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same contexts for the base and the trained model; helpful rates; nothing twice."""
    from warmline.training.fpemf.candidates import make_candidates
    from warmline.training.fpemf.settings import CandidateRunSettings

    trained(given(causal, data, tmp_path / "fpemf", max_steps=2, limit=6))
    common = {
        "data": (str(data),), "template": TEMPLATE, "device": "cpu", "limit": 6,
        "num_candidates": 4, "max_new_tokens": 8, "dimensions": ("empathy",), "dtype": "float32",
        "judge": {"policy": "scripted"},
    }  # fmt: skip
    found = {}
    for name, model in (("before", causal), ("after", tmp_path / "fpemf")):
        settings = CandidateRunSettings(model=str(model), out=str(tmp_path / name), **common)
        scorer = Scorer()
        contexts, rates = make_candidates(settings, labeller=scorer)
        assert scorer.asked == 6 * 5
        again = Scorer()
        assert make_candidates(settings, labeller=again) == (contexts, rates)
        assert again.asked == 0
        found[name] = contexts
        even = [len(c.text) % 2 == 0 for each in contexts for c in each.candidates]
        assert rates["beams"]["helpful"].value == pytest.approx(sum(even) / len(even))
        assert rates["single"]["helpful"].counted == 6
    assert [c.id for c in found["before"]] == [c.id for c in found["after"]]
    assert [c.prompt for c in found["before"]] == [c.prompt for c in found["after"]]
    assert [c.candidates for c in found["before"]] != [c.candidates for c in found["after"]]
    shown = CliRunner().invoke(app, ["helpful", str(tmp_path / "after" / "candidates")])
    assert shown.exit_code == 0, shown.output
    assert "empathy" in shown.output
    mixed = CandidateRunSettings(model=str(causal), out=str(tmp_path / "after"), **common)
    with pytest.raises(RunError, match="lineage"):
        make_candidates(mixed, labeller=Scorer())
