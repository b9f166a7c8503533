"""The claim of a folder: what may change between two starts, and what may not."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from warmline.core.claim import MAY_CHANGE, FreshFolder, claim, claim_json, identity_of, may_change
from warmline.core.errors import DataError, RunError
from warmline.core.record import Record


class Base(Record):
    seed: int = 0
    device: Annotated[str, MAY_CHANGE] = Field("auto", description="where it computes")


class Inherited(Base):
    rounds: Annotated[int, Field(ge=1), MAY_CHANGE] = 2
    model: str | None = None


def test_marks_are_inherited_and_leave_the_identity() -> None:
    assert may_change(Inherited) == {"device", "rounds"}
    assert identity_of(Inherited(seed=3)) == {"seed": 3, "model": None}
    assert identity_of(Inherited(), fixed=["rounds"]) == {"seed": 0, "model": None, "rounds": 2}


def test_the_same_identity_resumes_and_another_is_refused_with_every_difference(
    tmp_path: Path,
) -> None:
    claim(tmp_path, {"seed": 1, "seat": {"policy": "x", "top_k": 3}}, {"out": "runs/x"})
    claim(tmp_path, {"seed": 1, "seat": {"policy": "x", "top_k": 3}})
    with pytest.raises(RunError, match=r"seat\.top_k: 3 -> \(not set\)\n  seed: 1 -> 2"):
        claim(tmp_path, {"seed": 2, "seat": {"policy": "x"}})
    stored = tomllib.loads((tmp_path / "config.toml").read_text())
    assert stored["identity"] == {"seed": 1, "seat": {"policy": "x", "top_k": 3}}


def test_a_class_counts_by_its_name_wherever_its_module_lives(tmp_path: Path) -> None:
    claim(tmp_path, {"seeker": {"agent": "warmline.agents.seeker:Seeker"}, "judge": "a:b"})
    claim(tmp_path, {"seeker": {"agent": "elsewhere.people:Seeker"}, "judge": "a:b"})
    with pytest.raises(RunError, match=r"seeker\.agent"):
        claim(tmp_path, {"seeker": {"agent": "elsewhere.people:Other"}, "judge": "a:b"})
    with pytest.raises(RunError, match="judge"):  # only where a class is named
        claim(tmp_path, {"seeker": {"agent": "elsewhere.people:Seeker"}, "judge": "c:b"})


def test_a_class_counts_by_its_name_inside_lists(tmp_path: Path) -> None:
    claim(tmp_path, {"policies": [{"policy": "a:Mine"}, {"policy": "a:fun.<locals>.Other"}]})
    claim(tmp_path, {"policies": [{"policy": "b.c:Mine"}, {"policy": "b:fun.<locals>.Other"}]})
    with pytest.raises(RunError, match="policies"):
        claim(tmp_path, {"policies": [{"policy": "a:Mine"}, {"policy": "a:Other"}]})


@pytest.mark.parametrize(
    ("before", "now"),
    [("llama3:8b", "qwen3:8b"), ("llama3:latest", "qwen3:latest"), ("a:m:Big", "b:m:Big")],
)
def test_a_model_counts_by_its_whole_name(before: str, now: str, tmp_path: Path) -> None:
    claim(tmp_path, {"seeker": {"policy": before}})
    with pytest.raises(RunError, match=r"seeker\.policy"):
        claim(tmp_path, {"seeker": {"policy": now}})


def test_what_earlier_versions_stored_of_a_free_field_is_ignored(tmp_path: Path) -> None:
    file = tmp_path / "training.json"
    file.write_text('{"seed": 0, "concurrency": 1}')
    claim_json(file, {"seed": 0}, free=["concurrency"], what="training")
    with pytest.raises(RunError, match=r"holds a training with other settings"):
        claim_json(file, {"seed": 4}, what="training")


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("seed = ")
    with pytest.raises(DataError, match=r"config\.toml: not TOML"):
        claim(tmp_path, {})
    (tmp_path / "training.json").write_text("{")
    with pytest.raises(DataError, match=r"training\.json: not JSON"):
        claim_json(tmp_path / "training.json", {})


def test_a_record_without_a_later_setting_had_what_was_done_then(tmp_path: Path) -> None:
    """Trainings begun before `nll` was a setting took the mean over tokens, and divided no weights."""
    file = tmp_path / "training.json"
    file.write_text('{"seed": 1}')
    with pytest.raises(RunError, match="nll: token_mean -> sum"):
        claim_json(file, {"seed": 1, "nll": "sum"})
    with pytest.raises(RunError, match="fsdp: False -> True"):
        claim_json(file, {"seed": 1, "fsdp": True})
    claim_json(file, {"seed": 1, "nll": "token_mean", "fsdp": False})


def refused(folder: Path, files: dict[str, str], said: str) -> None:
    """A start in the folder that writes files and then fails."""
    with FreshFolder(folder).unless_begun({"log.jsonl", "parts/*"}, prepared={"order.jsonl"}):
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        raise RunError(said)


@pytest.mark.parametrize(
    ("files", "said", "left"),
    [
        ({"log.jsonl": "", "parts/1.log": "x", "order.jsonl": "{}"}, "no key", False),
        ({"log.jsonl": "{}"}, "a log with a line is work", True),
        ({"parts/1.jsonl": "{}"}, "likewise below", True),
        ({"log.jsonl": "", "notes.md": "mine"}, "a file of somebody else's", True),
        ({"parts/1.log": "x"}, "see {folder}/parts/1.log", True),
        ({"parts/1.log": "x"}, "`simulate --out {folder}/parts` ended", False),
    ],
)
def test_what_a_failed_start_leaves(
    files: dict[str, str], said: str, left: bool, tmp_path: Path
) -> None:
    folder = tmp_path / "runs" / "deep"
    with pytest.raises(RunError):
        refused(folder, files, said.format(folder=folder))
    assert (tmp_path / "runs").exists() is left
    if left:
        assert {name: (folder / name).read_text() for name in files} == files


def test_a_folder_that_held_something_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    with pytest.raises(RunError):
        refused(tmp_path, {"log.jsonl": ""}, "no key")
    assert (tmp_path / "log.jsonl").is_file()
