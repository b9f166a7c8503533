"""The door of the wrappers, and what all of them pass on."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from warmline.core.errors import ConfigError, WrapperNotFound
from warmline.core.seeds import salted_seed
from warmline.policies.base import Reply, Request, ScoringPolicy, capabilities_of, policy_name
from warmline.policies.registry import (
    find_wrapper,
    known_wrappers,
    make_policy,
    wrap_policy,
)
from warmline.policies.wrappers import BestOf, Budget, Cache, Fallback, Limit, Refine, Wrapper

from .wrapping import ASK, CHOOSE, Bare, Engine, Scoring

PAGE = Path(__file__).parents[3] / "docs" / "wrappers.md"
TRANSPARENT = ("budget", "cache", "limit")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def wrapped(kind: str, inner: Any) -> Any:
    """`inner` in a wrapper of that kind, with what it cannot do without."""
    needed: dict[str, dict[str, Any]] = {
        "budget": {"tokens": 10_000},
        "limit": {"concurrency": 4},
        "best_of": {"scorer": lambda request, reply: 1.0},
        "fallback": {"then": type(inner)()},
    }
    return wrap_policy(inner, {"name": kind, **needed.get(kind, {})})


def test_all_six_come_through_the_door() -> None:
    kinds = {find_wrapper(name) for name in known_wrappers()}
    assert kinds >= {BestOf, Budget, Cache, Fallback, Limit, Refine}
    assert all(find_wrapper(name).kind == name for name in known_wrappers())  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", known_wrappers())
async def test_a_wrapper_passes_everything_on(kind: str) -> None:
    inner = Scoring()
    policy = wrapped(kind, inner)
    assert policy.name.startswith(f"{kind}(engine")
    assert capabilities_of(policy) == inner.capabilities
    assert isinstance(wrapped(kind, inner), ScoringPolicy)
    scored = await wrapped(kind, inner).score(ASK, "so sorry")
    assert [entry.token for entry in scored] == ["so", "sorry"]
    async with policy:
        assert inner.opened == 1
        assert (await policy.respond(CHOOSE)).text == "seed 5"
        assert inner.asked[-1] == CHOOSE
    assert inner.closed == 1
    await policy.aclose()  # twice is safe


@pytest.mark.parametrize("kind", known_wrappers())
async def test_a_wrapper_promises_nothing_that_the_inner_policy_has_not(kind: str) -> None:
    policy = wrapped(kind, Bare())
    assert capabilities_of(policy) is None
    assert not isinstance(policy, ScoringPolicy)
    assert not hasattr(policy, "score")


def test_fallback_scores_only_where_all_can() -> None:
    assert not isinstance(Fallback(Scoring(), then=Engine()), ScoringPolicy)


@pytest.mark.parametrize("kind", known_wrappers())
def test_identity_holds_what_changes_answers_and_nothing_else(kind: str) -> None:
    described = wrapped(kind, Engine()).describe()
    if kind in TRANSPARENT:
        assert described == Engine().describe()
    else:
        assert described["policy"].startswith(f"{kind}(")
        assert "m1" in repr(described)


@pytest.mark.parametrize(
    ("spec", "settings"),
    [
        ("refine", {"max_attempts": 4}),
        ("refine:max_attempts=2", {"max_attempts": 2}),
        (" refine : ", None),
        (
            "refine:max_attempts=2,max_length=1.5",
            {"max_attempts": 2, "max_length": 1.5},
        ),
        ("refine:roles=seeker", {"roles": ("seeker",)}),
        ('refine:roles=["seeker", "supporter"],max_attempts=1', {"roles": ("seeker", "supporter")}),
        ({"name": "refine", "roles": ["judger"]}, {"roles": ("judger",)}),
    ],
)
def test_specs(spec: Any, settings: dict[str, Any] | None) -> None:
    if settings is None:
        with pytest.raises(WrapperNotFound):
            wrap_policy(Engine(), spec)
        return
    policy = wrap_policy(Engine(), spec)
    assert isinstance(policy, Refine)
    assert {name: getattr(policy, name) for name in settings} == settings


def test_text_values_need_no_quotes(tmp_path: Path) -> None:
    for value in (f"{tmp_path}/a b.sqlite", f'"{tmp_path}/a,b=c.sqlite"'):
        policy = wrap_policy(Engine(), f"cache:path={value},unseeded=true")
        assert isinstance(policy, Cache)
        assert policy.store.path == Path(value.strip('"'))
        assert policy.describe()["cache"] == {"unseeded": True}


class Loud(Wrapper):
    """A user's own, found by import string."""

    kind = "loud"

    def __init__(self, policy: Any, *, mark: str = "!") -> None:
        super().__init__(policy)
        self.mark = mark

    async def respond(self, request: Request) -> Reply:
        return Reply(text=(await self.inner.respond(request)).text.upper() + self.mark)


async def test_an_import_string_is_a_name_and_order_is_from_the_inside() -> None:
    path = f"{__name__}:Loud"
    policy = make_policy("scripted", script=["yes"], wrap=[f"{path}:mark=?", path])
    assert (await policy.respond(ASK)).text == "YES?!"
    assert getattr(policy, "name", "") == "loud(loud(scripted))"
    one = make_policy("scripted", script=["yes"], wrap={"name": path, "mark": "."})
    assert (await one.respond(ASK)).text == "YES."


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("cahce", r"no wrapper named 'cahce'; known: best_of, .*did you mean 'cache'"),
        ("budget:tokns=5", r"unknown option 'tokns'; did you mean 'tokens'"),
        ("cache:path", r"'path' in the wrapper spec 'cache:path' is not key=value"),
        ("cache:path=a,b", r"'b' in the wrapper spec .* not key=value\n.*quotation marks"),
        ("fallback", r"wrapper 'fallback' cannot be set up\n.*missing option 'then'"),
        ("=3", r"not a wrapper spec: '=3'"),
        ({"tokens": 5}, r"a wrapper needs a name"),
        ("no_such_module:Thing", r"wrapper 'no_such_module:Thing': no module named"),
        (f"{__package__}.wrapping:Lod", r"module '.*wrapping' has no class or function 'Lod'"),
        ("budget:policy=3", r"unknown option 'policy'"),
    ],
)
def test_what_is_wrong_with_a_spec_is_told(spec: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        make_policy("scripted", wrap=[spec])


def test_only_a_policy_can_be_wrapped() -> None:
    with pytest.raises(ConfigError, match="wrapper 'refine' takes a policy, not str"):
        wrap_policy("scripted", "refine")  # type: ignore[arg-type]


def test_derived_seeds_differ_by_salt_and_number_and_stay() -> None:
    seeds = [salted_seed(7, salt, n) for salt in ("best_of", "refine") for n in range(200)]
    assert len(set(seeds)) == 400
    assert all(seed is not None and 0 <= seed < 2**31 for seed in seeds)
    assert salted_seed(7, "best_of", 1) == seeds[1]
    assert salted_seed(None, "best_of", 1) is None


def test_importing_the_wrappers_is_light() -> None:
    code = (
        "import warmline.policies.wrappers as w; [getattr(w, n) for n in w.__all__];"
        "import sys; print(*sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"openai", "autogen_core", "tenacity", "rich"}.isdisjoint(run.stdout.split())


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL))
def test_the_documented_examples_run(block: str, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    for line in re.findall(r"^print\(.*\)  # (.*)$", block, re.MULTILINE):
        assert line in run.stdout


@pytest.mark.parametrize("block", re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL))
def test_the_documented_settings_are_settings(
    block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from warmline.environments.runs.settings import load_settings
    from warmline.environments.runs.simulate import build_environment

    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    (tmp_path / "run.toml").write_text(block)
    environment = build_environment(load_settings(tmp_path / "run.toml"))
    names = {policy_name(policy) for policy in environment.policies()}
    assert names <= {"cache(budget(openai:my-model))", "autogen:gpt-4o-mini"}


def test_the_page_names_every_wrapper_and_every_option() -> None:
    page = PAGE.read_text()
    for name in known_wrappers():
        section = page.split(f"## `{name}`")[1].split("\n## ")[0]
        for option in list(inspect.signature(find_wrapper(name)).parameters)[1:]:
            assert f"`{option}" in section or option in ("clock", "sleep"), (name, option)
