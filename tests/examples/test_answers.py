"""Answers to the tasks at the end of the notebooks, one a notebook, under its name."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import jupytext
import pytest
import torch

import warmline
from warmline.agents.roles import Role
from warmline.environments import EpisodeLog
from warmline.environments.corpus import ReviewStore, seed_episodes
from warmline.environments.corpus.review.review import Verdict
from warmline.evaluation import analyse_files, paired_test
from warmline.policies.scripted import ScriptedPolicy
from warmline.training import EvolveSettings, SftSettings, evolve, train_sft
from warmline.training.candidates.losses import contrastive_loss

from ..policies.tiny_models import save_causal
from ..training.building import CHATML, TEMPLATE, varied, write_log
from .notebooks import NOTEBOOKS

PLAYED = {"policy": "scripted", "max_turns": 6, "case_dialogues": 0, "seed": 5}


def first_cells(name: str, count: int) -> dict[str, Any]:
    """What the first cells of code in a notebook define."""
    cells = [c for c in jupytext.read(NOTEBOOKS / f"{name}.py").cells if c.cell_type == "code"]
    defined: dict[str, Any] = {}
    for cell in cells[:count]:
        exec(cell.source, defined)
    return defined


def test_n1_first_conversation() -> None:
    """No reply has a strategy, and the counselor was not asked at all."""
    advised, alone = (
        warmline.simulate(**PLAYED, episodes=1, **seats)[0] for seats in ({}, {"counselor": False})
    )
    assert all(u.strategy for u in advised.utterances if u.role == Role.SUPPORTER)
    assert not any(u.strategy for u in alone.utterances)
    assert "counselor" not in {call.role for call in alone.calls}


def test_n2_swapping_policies() -> None:
    """Its own lines: the seeker has written 6, 11, 17 and 19 words before the four replies."""
    given = first_cells("n2_swapping_policies", 3)
    stages: Any = given["Stages"]

    class Patient(stages):
        async def respond(self, request: warmline.Request) -> warmline.Reply:
            said = [turn.text for turn in request.observation.history if turn.role == Role.SEEKER]
            if sum(len(text.split()) for text in said) < 15:
                return warmline.Reply("Question")
            return await super().respond(request)

    def chosen(counselor: object) -> list[str]:
        seats = {"counselor": counselor, "supporter": given["Listener"]()}
        (episode,) = warmline.simulate(policy=given["rest"], **seats, **given["small"])
        return [str(u.strategy) for u in episode.utterances if u.role == Role.SUPPORTER]

    before, after = chosen(stages()), chosen(Patient())
    assert before[1] == "Reflection of Feelings"
    assert after == ["Question", "Question", *before[2:]]


def test_n3_building_a_corpus(tmp_path: Path) -> None:
    """Asking belongs to the beginning."""
    episodes = list(seed_episodes("test"))[::3]
    with EpisodeLog(tmp_path / "episodes.jsonl") as log:
        for episode in episodes:
            log.append(episode)
    found = analyse_files([tmp_path], figures=False, limit=10).analysis
    shares = [sixth["Question"] or 0 for sixth in found.corpora[0].progress]
    assert shares[0] > 2 * shares[-1]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("tiny")
    data = write_log(folder / "log", varied(5))
    model = save_causal(folder / "model", chat_template=CHATML, layers=1)
    (folder / "short.jinja").write_text(TEMPLATE, "utf-8")
    given: dict[str, object] = {"model": str(model), "data": (str(data),), "dtype": "float32"}
    return given | {"device": "cpu", "template": str(folder / "short.jinja")}


def test_n4_sft_and_counselor(tiny: dict[str, object], tmp_path: Path) -> None:
    """Its record names the condition, and says that it is an upper bound."""
    made = train_sft(SftSettings(**tiny, out=str(tmp_path), strategy="oracle", max_steps=1))
    assert made.checkpoint.settings["strategy"] == "oracle"


def test_n5_fpemf() -> None:
    """Nothing, and no gradient: there is no pair to rank."""
    scores = torch.tensor([[-1.0, -2.0, -3.0]], requires_grad=True)
    loss = contrastive_loss(scores, torch.tensor([[1, 1, 1]]))
    loss.backward()
    assert loss.item() == 0
    assert scores.grad is not None
    assert not scores.grad.any()


def test_n6_self_evolution(tiny: dict[str, object], tmp_path: Path) -> None:
    """A round that makes real replies less likely is rolled back; its state says by how much."""
    result = evolve(
        EvolveSettings(
            **tiny,
            out=str(tmp_path),
            rounds=1,
            gate=True,
            gate_nll=0.0,
            gate_accuracy=0.0,
            learning_rate=0.05,
            max_steps=4,
            accumulation=1,
            held_out_share=0.2,
            validation_share=0.25,
            evaluate=False,
            variant="stronger",
            reviser={"policy": "scripted"},
            greeting_first=0,
            greeting_last=0,
        ),
        supporter=ScriptedPolicy(lambda request: f"That is bad {request.seed % 7}."),
        reviser=ScriptedPolicy(lambda request: f"zzz qqq {request.seed % 5}"),
    )
    before, after = result.rounds
    worse = after.measures["held_out_nll"] > before.measures["held_out_nll"]
    assert after.promoted is not worse
    assert bool(result.kept) is not worse


def test_n7_comparing_two_supporters() -> None:
    """About as often as p says: a test that holds its level."""
    dice = random.Random(7)
    false_alarms = 0
    for draw in range(100):
        a, b = ([dice.gauss(0, 1) for _ in range(20)] for _ in "ab")
        found = paired_test(a, b, test="wilcoxon", resamples=50, seed=draw)
        false_alarms += found.p is not None and found.p < 0.05
    assert 1 <= false_alarms <= 10


def test_n8_people_in_the_loop(tmp_path: Path) -> None:
    """What two agreed on is settled, and nobody is asked about it any more."""
    episodes = list(seed_episodes("test"))[:4]
    with ReviewStore(tmp_path, create=True) as store:
        store.start(required=2)
        store.enrol(episodes)
        for name in ("ada", "ben"):
            while (item := store.next_item(name)) is not None:
                store.decide(item.id, name, Verdict.APPROVE, version=item.version)
        assert store.progress().states["approved"] == 4
        assert store.next_item("eva") is None


def test_n9_laptop_to_cluster(tmp_path: Path) -> None:
    """Nothing is played twice: the first log's lines stay, and the number of workers is free."""
    warmline.simulate(**PLAYED, episodes=4, out=tmp_path)
    log = (tmp_path / "episodes.jsonl").read_text("utf-8")
    grown = warmline.run_sharded({**PLAYED, "episodes": 8}, out=tmp_path, workers=2)
    assert len(grown) == 8
    assert (tmp_path / "episodes.jsonl").read_text("utf-8") == log
