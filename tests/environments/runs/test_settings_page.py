"""The settings files of docs/run-settings.md are read, and seat what they say."""

from __future__ import annotations

import inspect
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from warmline.agents.roles import Role
from warmline.environments import RunSettings, load_settings
from warmline.environments.runs.settings import RoleSettings
from warmline.policies import make_policy
from warmline.policies.registry import POLICIES
from warmline.policies.wrappers.base import Wrapper

PAGE = (Path(__file__).parents[3] / "docs" / "run-settings.md").read_text("utf-8")
FILES = dict(re.findall(r"```toml\n# ([\w.]+)\n(.*?)```", PAGE, re.DOTALL))


def read(name: str, tmp_path: Path) -> RunSettings:
    (tmp_path / name).write_text(FILES[name], "utf-8")
    return load_settings(tmp_path / name)


def test_the_page_has_these_files() -> None:
    assert list(FILES) == ["embedded.toml", "server.toml", "vllm.toml", "mixed.toml", "every.toml"]


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_read_and_its_policies_take_its_options(name: str, tmp_path: Path) -> None:
    settings = read(name, tmp_path)
    for role in Role:
        seat = settings.role(role)
        assert seat.policy is not None
        options = seat.policy_options()
        if seat.policy in ("embedded", "openai"):
            make_policy(seat.policy, **options)
        else:  # these look for the checkpoints that the page only names
            inspect.signature(POLICIES.find(seat.policy)).bind(**options)


SEATS: dict[str, dict[str, tuple[str, str | None]]] = {
    "embedded.toml": dict.fromkeys(Role, ("embedded", None)),
    "server.toml": dict.fromkeys(Role, ("openai", "Qwen/Qwen2.5-7B-Instruct")),
    "vllm.toml": dict.fromkeys(Role, ("vllm", "Qwen/Qwen2.5-7B-Instruct")),
    "mixed.toml": {
        "seeker": ("openai", "Qwen/Qwen2.5-32B-Instruct"),
        "counselor": ("classifier", "runs/counselor"),
        "supporter": ("transformers", "runs/m1"),
        "judger": ("openai", "Qwen/Qwen2.5-32B-Instruct"),
    },
}


@pytest.mark.parametrize("name", SEATS)
def test_who_sits_where(name: str, tmp_path: Path) -> None:
    settings = read(name, tmp_path)
    seats = {role.value: settings.role(role) for role in Role}
    assert {role: (seat.policy, seat.model) for role, seat in seats.items()} == SEATS[name]
    assert settings.out == f"runs/{name.removesuffix('.toml')}"


def test_seats_take_from_the_run_what_the_page_says(tmp_path: Path) -> None:
    vllm, mixed = read("vllm.toml", tmp_path), read("mixed.toml", tmp_path)
    shared = vllm.role(Role.SEEKER).options
    assert vllm.role(Role.SUPPORTER).options == {**shared, "adapter": "runs/m1"}
    assert shared["max_loras"] == 1
    assert mixed.role(Role.SUPPORTER).base_url is None
    assert mixed.role(Role.JUDGER).base_url == "http://localhost:8000/v1"
    server = read("server.toml", tmp_path)
    policy = make_policy("openai", **server.role(Role.SEEKER).policy_options())
    assert isinstance(policy, Wrapper)
    assert server.role(Role.SEEKER).temperature == 0.8
    assert server.role(Role.JUDGER).temperature is None


def uncommented(text: str) -> str:
    return re.sub(r"^# (?=\w+ = )", "", text, flags=re.MULTILINE)


def test_every_setting_is_there_with_its_default(tmp_path: Path) -> None:
    assert read("every.toml", tmp_path) == RunSettings()
    (tmp_path / "all.toml").write_text(uncommented(FILES["every.toml"]), "utf-8")
    load_settings(tmp_path / "all.toml")  # what is commented is possible too
    given: dict[str, Any] = tomllib.loads(uncommented(FILES["every.toml"]))
    assert set(given) == set(RunSettings.model_fields)
    seats = {key for role in Role for key in given[role.value]}
    own = set(RoleSettings.model_fields) - set(RunSettings.model_fields)
    assert own <= seats


@pytest.mark.parametrize("name", [name for name in FILES if name != "every.toml"])
def test_commented_lines_are_possible(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(uncommented(FILES[name]), "utf-8")
    load_settings(tmp_path / name)
