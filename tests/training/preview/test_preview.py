"""`warmline preview --preset` prints exactly the rows that training would take."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from warmline.cli import app
from warmline.core.errors import ConfigError
from warmline.policies.scripted import ScriptedPolicy
from warmline.training.sft import train as sft

from ...policies.tiny_models import save_causal
from ..building import CHATML, TEMPLATE, settings, varied, write_log


def test_the_rows_are_those_of_the_trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = save_causal(tmp_path / "model", chat_template=CHATML, layers=1)
    data = write_log(tmp_path / "run", varied(12))
    (tmp_path / "short.jinja").write_text(TEMPLATE, "utf-8")
    orders = [{"instruction": f"Say {n}.", "output": f"{n}!"} for n in range(9)]
    (tmp_path / "orders.json").write_text(json.dumps(orders), "utf-8")
    same: dict[str, Any] = {
        "template": str(tmp_path / "short.jinja"), "replay": str(tmp_path / "orders.json"),
        "replay_rows": 4, "seed": 5,
    }  # fmt: skip
    taken: list[Any] = []
    make = sft.make_row_trainer

    def spying(base: Any, train: Any, *rest: Any, **more: Any) -> Any:
        taken.extend(train)
        return make(base, train, *rest, **more)

    monkeypatch.setattr(sft, "make_row_trainer", spying)
    sft.train_sft(
        settings(model, data, tmp_path / "out", preset="m0", max_steps=1, max_tokens=200, **same)
    )
    words = [w for k, v in same.items() for w in (f"--{k.replace('_', '-')}", str(v))]
    found = CliRunner(env={"COLUMNS": "10000", "NO_COLOR": "1"}).invoke(
        app,
        ["preview", str(data), "--model", str(model), "--preset", "m0", "--limit", "999",
         "--max-tokens", "200", *words],
    )  # fmt: skip
    assert found.exit_code == 0, found.output
    heads = re.findall(r"^(\S+#\d+)(?:, .*)?: (\d+) tokens, (\d+) with loss$", found.output, re.M)
    assert [(int(n), int(m)) for _, n, m in heads] == [(r.tokens, r.learned) for r in taken]
    assert len({name for name, _, _ in heads}) == len(taken)
    assert sum(name.startswith("orders.json#") for name, _, _ in heads) == 4
    assert f"rows that training takes: {len(taken)} train" in found.output
    assert "too long" in found.output


class Opened(ScriptedPolicy):
    """A counselor that counts how often it is opened."""

    times = 0

    def __init__(self) -> None:
        super().__init__(["Question"])

    async def open(self) -> None:
        type(self).times += 1


def test_a_counselor_is_opened_once_and_about_no_more_than_is_shown(tmp_path: Path) -> None:
    model = save_causal(tmp_path / "model", chat_template=CHATML, layers=1)
    data = write_log(tmp_path / "run", varied(12))
    (tmp_path / "short.jinja").write_text(TEMPLATE, "utf-8")
    words = [
        "preview", str(data), "--model", str(model), "--template", str(tmp_path / "short.jinja"),
        "--strategy", "advised", "--counselor", f"{__name__}:Opened", "--limit", "8",
    ]  # fmt: skip
    Opened.times = 0
    found = CliRunner(env={"COLUMNS": "10000", "NO_COLOR": "1"}).invoke(app, words)
    assert found.exit_code == 0, found.output
    assert Opened.times == 1
    heads = re.findall(r"^(\S+#\d+).*: \d+ tokens, \d+ with loss$", found.output, re.M)
    assert len(heads) == 8
    assert found.output.count("(Question)") == 8
    assert "of the first 3 of 12 episodes" in found.output


def test_what_would_change_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="without a preset all rows of the data are shown: seed"):
        CliRunner().invoke(app, ["preview", str(tmp_path), "--seed", "3"], catch_exceptions=False)
