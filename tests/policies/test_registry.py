"""Policies by name: names, import strings and options."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from warmline.cli import app
from warmline.core.errors import ConfigError, PolicyNotFound
from warmline.policies import find_policy, known_policies, make_policy
from warmline.policies.base import Policy
from warmline.policies.scripted import ScriptedPolicy


@pytest.mark.parametrize("name", known_policies())
def test_every_shipped_name_loads_a_policy(name: str) -> None:
    factory = find_policy(name)
    assert isinstance(factory, type)
    assert issubclass(factory, Policy)
    assert factory.name  # type: ignore[attr-defined]


def test_our_own_policies_come_through_the_door() -> None:
    assert {"embedded", "human", "openai", "replay", "scripted"} <= set(known_policies())
    assert known_policies() == sorted(known_policies())


def test_a_policy_by_name_or_by_import_string() -> None:
    assert isinstance(make_policy("scripted", seeker=["a"]), ScriptedPolicy)
    made = make_policy("warmline.policies.scripted:ScriptedPolicy", record=False)
    assert isinstance(made, ScriptedPolicy)
    assert made.record is False


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("opnai", r"no policy named 'opnai'; known: .*\n.*did you mean 'openai'\?"),
        ("zzz", r"no policy named 'zzz'; known: (.|\n)*import string such as"),
        ("no_such_module:X", "no module named 'no_such_module'"),
        ("warmline.nowhere:X", "no module named 'warmline.nowhere'"),
        ("warmline.policies.scripted:ScriptPolicy", r"did you mean 'ScriptedPolicy'\?"),
        ("warmline.policies.scripted:Nothing", "has no class or function 'Nothing'"),
        ("warmline.policies.safety:DISCLAIMER", "has no class or function 'DISCLAIMER'"),
    ],
)
def test_an_unknown_name_is_told_with_what_exists(name: str, message: str) -> None:
    with pytest.raises(PolicyNotFound, match=message):
        make_policy(name)


class NoPolicy:
    """Does not answer."""


def no_policy() -> int:
    """Makes something else."""
    return 3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (":X", "not a policy spec: ':X'\n.*my_package.module:MyPolicy"),
        ("a:", "no policy named 'a'(.|\n)*import string such as"),
        (".x:Y", "'.x:Y' is not an import string\n.*module:Name"),
        ("./mine.py:MyPolicy", "is not an import string\n.*not a path"),
        ("a..b:C", "'a..b:C' is not an import string"),
        ("a b:C", "'a b:C' is not an import string\n.*no blanks"),
        ("a: C", "'C' in the policy spec 'a: C' is not key=value\n.*without blanks"),
        (f"{__name__}:NoPolicy.", "is not an import string"),
        (f"{__name__}:NoPolicy", "it gives NoPolicy, which has no method 'respond'"),
        (f"{__name__}:no_policy", "it gives int, which has no method 'respond'"),
    ],
)
def test_an_odd_import_string_is_an_error_of_the_settings(
    name: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        make_policy(name)
    words = ["simulate", "--policy", name, "--out", str(tmp_path / "run")]
    assert isinstance(CliRunner().invoke(app, words).exception, ConfigError)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("wrapper", [f"{__name__}:NoWrapper", f"{__name__}:no_wrapper"])
def test_what_gives_no_policy_is_no_wrapper(wrapper: str) -> None:
    with pytest.raises(ConfigError, match=r"is no wrapper: it gives .* no method 'respond'"):
        make_policy("scripted", wrap=wrapper)


class NoWrapper:
    """Takes a policy and does not answer."""

    def __init__(self, inner: object) -> None:
        self.inner = inner


def no_wrapper(inner: object) -> None:
    """Takes a policy and gives nothing."""


def test_a_missing_library_inside_a_users_module_is_not_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "needs_more.py").write_text("import a_library_that_is_not_there\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="a_library_that_is_not_there"):
        make_policy("needs_more:X")


def test_all_wrong_options_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        make_policy("replay", mach="exact", wxyz=3)
    assert raised.value.problems == (
        "unknown option 'mach'; did you mean 'match'?",
        "unknown option 'wxyz'",
        "missing option 'path'",
    )
    assert raised.value.hint == "its options are: path, match"
