"""The Python blocks of the pages about training run, on a tiny model and scripted conversations."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import warmline
import warmline.training
from warmline.core.errors import ConfigError, MissingExtra
from warmline.training.loop.checkpoint import read_checkpoint

from ..policies.tiny_models import save_causal
from .building import CHATML, TALK, TEMPLATE, episode, write_log

DOCS = Path(__file__).parents[2] / "docs"


def blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text("utf-8"), re.DOTALL)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with `runs/talks` and a tiny model."""
    monkeypatch.chdir(tmp_path)
    save_causal(tmp_path / "tiny", chat_template=CHATML, layers=1)
    (tmp_path / "short.jinja").write_text(TEMPLATE, "utf-8")
    write_log(tmp_path / "runs" / "talks", [episode(f"talk{n}", TALK) for n in range(5)])
    return tmp_path


def test_training_in_python(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The block of docs/training.md; the tiny model and a short template replace the defaults."""
    (block,) = (block for block in blocks("training.md") if "import SftSettings" in block)
    tiny = 'SftSettings(model="tiny", template="short.jinja", device="cpu", '
    exec(compile(block.replace("SftSettings(data", f"{tiny}data"), "docs/training.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "runs/python/m0" in printed
    assert "±" in printed
    assert read_checkpoint(place / "runs" / "python" / "m0").metrics["steps"] == 4
    assert (place / "runs" / "python" / "seeds" / "seed1" / "checkpoint.json").is_file()


@pytest.mark.parametrize("page", ["counselor.md", "evolve.md"])
def test_the_other_pages(page: str, place: Path) -> None:
    for block in blocks(page):
        exec(compile(block, f"docs/{page}", "exec"), {})


def test_public_names_exist_and_match_the_type_checkers_view() -> None:
    for name in warmline.training.__all__:
        assert getattr(warmline.training, name) is not None
    text = Path(warmline.training.__file__).read_text("utf-8")
    seen = text[text.index("if TYPE_CHECKING") : text.index("_HOME")]
    imported = set(re.findall(r"\b\w+\b", " ".join(re.findall(r"import (.*)", seen))))
    assert imported == set(warmline.training.__all__)
    with pytest.raises(AttributeError, match="train_sftt"):
        _ = warmline.training.train_sftt


@pytest.mark.parametrize(
    "name",
    ["train_sft", "train_counselor", "train_scorer", "train_fpemf", "train_dpo", "evolve",
     "preference_pairs"],
)  # fmt: skip
def test_settings_of_another_kind_are_refused_by_name(name: str) -> None:
    function = getattr(warmline.training, name)
    for given in (None, {"data": ("runs/talks",)}, warmline.training.Checkpoint):
        with pytest.raises(
            ConfigError, match=rf"{name} takes \w+Settings, not {type(given).__name__}"
        ):
            function(given)


def test_without_its_libraries_a_trainer_names_what_to_install() -> None:
    """In a process of its own, where torch cannot be imported."""
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from warmline.core.errors import MissingExtra\n"
        "from warmline.training import SftSettings\n"
        "try:\n    from warmline.training import train_sft\n"
        "except MissingExtra as error:\n    print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "warmline[train]" in run.stdout
    assert issubclass(MissingExtra, Exception)
