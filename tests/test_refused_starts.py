"""A start that is refused leaves no folder, whatever the command."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from warmline.cli import app
from warmline.core.errors import WarmlineError
from warmline.training.reproduction import processes

from . import warm
from .policies.tiny_models import save_causal
from .training.building import CHATML, varied, write_log

UNREADY = "tests.refusing:Unready"


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A corpus, a model, a folder that only looks like one, and an empty folder, by name."""
    folder = tmp_path_factory.mktemp("given")
    for name in ("broken", "empty"):
        (folder / name).mkdir()
    (folder / "broken" / "config.json").write_text('{"model_type": "llama"}')
    (folder / "stages.toml").write_text(
        'about = "a"\nhonest = "b"\nmodel = "m"\n[[stages]]\nname = "talks"\nrun = "simulate"\n'
        f'about = "c"\nsettings = {{ episodes = 2, policy = "{UNREADY}" }}\n'
    )
    return {
        "corpus": str(write_log(folder / "log", varied(4))),
        "model": str(save_causal(folder / "model", chat_template=CHATML)),
        "stages": str(folder / "stages.toml"),
        **{name: str(folder / name) for name in ("broken", "empty")},
    }


COMMANDS = {
    "simulate": f"simulate --episodes 2 --policy {UNREADY}",
    "simulate in shards": f"simulate --episodes 2 --workers 2 --policy {UNREADY}",
    "selfplay": f"selfplay --episodes 2 --a.policy {UNREADY} --b.policy {UNREADY} --policy scripted",
    "build": f"build --episodes 2 --policy {UNREADY}",
    "evaluate": f"evaluate {{corpus}} --policy {UNREADY}",
    "pairs": f"pairs {{corpus}} --supporter.policy {UNREADY}",
    "pairs in parts": f"pairs {{corpus}} --part 1/2 --supporter.policy {UNREADY}",
    "pairs of a model": "pairs {corpus} --model {broken}",
    "candidates": "candidates {corpus} --model {broken} --no-feedback",
    "candidates of a sampler": "candidates {corpus} --model {model} --no-feedback"
    f" --source sampling --sampler.policy {UNREADY}",
    "evolve": "evolve {corpus} --model {broken}",
    "train sft": "train sft {corpus} --model {broken}",
    "train dpo": "train dpo {corpus} --model {broken}",
    "train fpemf": "train fpemf {corpus} --model {broken} --judge.policy scripted",
    "train counselor": "train counselor {corpus} --model {broken}",
    "train scorer": "train scorer {corpus} --model {broken}",
    "chat": f"chat --policy {UNREADY}",
    "import": "import auto {empty}",
    "export": "export {empty}",
    "analyze": "analyze {empty}",
    "tables": "tables fpemf --config {empty}/none.toml",
    "reproduce": "reproduce --preset {stages}",
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_refused_start_leaves_no_folder(
    command: str, given: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "START", warm.context().get_start_method())
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    words = [word.format(**given) for word in command.split()]
    ended = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "runs" / "deep")])
    assert isinstance(ended.exception, WarmlineError), ended.output + repr(ended.exception)
    assert [path.name for path in tmp_path.rglob("*")] == []
