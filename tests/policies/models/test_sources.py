"""What a model's name means, where it is a mistyped path."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from warmline.core.errors import ModelNotFound
from warmline.policies.models.sources import find_source


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one run's checkpoint, in which nothing can be asked of a hub."""
    (tmp_path / "trained" / "first").mkdir(parents=True)
    (tmp_path / "trained" / "first" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a connection was asked for")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return tmp_path


def test_embedded_is_the_embedded_engines_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in trainings; a folder of that name comes first."""
    (tmp_path / "other.gguf").write_bytes(b"GGUF" + bytes(60))
    monkeypatch.setenv("WARMLINE_WEIGHTS", str(tmp_path / "other.gguf"))
    source = find_source("embedded")
    assert (Path(source.base), source.gguf) == (tmp_path.resolve(), "other.gguf")
    (tmp_path / "embedded").mkdir()
    (tmp_path / "embedded" / "config.json").write_text("{}")
    assert find_source("embedded").gguf is None


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("runs/none", "no folder 'runs/none'"),
        ("trained/frist", "did you mean 'first'?"),
        ("trained/other", "'trained' holds: first"),
    ],
)
def test_a_mistyped_folder_is_answered_at_once(named: str, said: str) -> None:
    with pytest.raises(ModelNotFound, match="no folder") as caught:
        find_source(named)
    assert said in str(caught.value)
    with pytest.raises(ModelNotFound, match="no folder"):
        find_source("trained/first", adapter=named)


def test_an_id_of_the_hub_is_one() -> None:
    assert find_source("owner/model").base == "owner/model"
    assert find_source("trained/first").base.endswith("trained/first")
