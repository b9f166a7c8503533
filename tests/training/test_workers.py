"""Pairs and candidates by several workers: what one process makes, though one of them is killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from warmline import ScriptedPolicy
from warmline.core.errors import ConfigError
from warmline.training.fpemf.candidates import make_candidates
from warmline.training.preferences.pairs import preference_pairs
from warmline.training.preferences.settings import PairSettings

from ..environments.shards.dying import DiesOnce
from ..policies.tiny_models import save_causal
from .building import CHATML, TEMPLATE, episode, varied, write_log
from .fpemf.test_candidates import plain, run_settings
from .fpemf.test_train import Scorer
from .preferences.answering import seeded
from .preferences.test_build import TALK


def test_pairs_in_two_workers(tmp_path: Path) -> None:
    data = write_log(tmp_path / "data", [episode(name, TALK) for name in "abc"])
    template = tmp_path / "short.jinja"
    template.write_text(TEMPLATE, "utf-8")

    def made(name: str, answer: Any, **more: Any) -> Any:
        settings = PairSettings(
            data=(str(data),), out=str(tmp_path / name), template=str(template), **more
        )
        return preference_pairs(settings, supporter=ScriptedPolicy(answer, record=False))[0]

    dying = DiesOnce(tmp_path / "dying", seeded, at=5)
    two = made("two", dying, workers=2, concurrency=2)
    assert two == made("one", seeded)
    assert len(two) == 6
    assert (tmp_path / "dying" / "dead").exists()
    assert 12 <= len(dying.asked()) <= 14, "only what was open is asked again"
    asked = len(dying.asked())
    assert made("two", dying) == two
    assert len(dying.asked()) == asked
    with pytest.raises(ConfigError, match="give a part or workers"):
        PairSettings(part="1/2", workers=2)


class DyingScorer(Scorer):
    """Kills the first process that asks it."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    async def label(self, prompt: Any, reply: str) -> Any:
        if not self._mark.exists():
            self._mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return await super().label(prompt, reply)


def test_candidates_in_two_workers(tmp_path: Path) -> None:
    causal = save_causal(tmp_path / "model", chat_template=CHATML)
    data = write_log(tmp_path / "log", varied(2))
    whole = make_candidates(run_settings(causal, data, tmp_path / "one"), labeller=Scorer())
    mark = tmp_path / "dead"
    made = make_candidates(
        run_settings(causal, data, tmp_path / "two", workers=2), labeller=DyingScorer(mark)
    )
    assert mark.exists()
    assert made[1] == whole[1]
    assert plain(tmp_path / "two/candidates") == plain(tmp_path / "one/candidates")
