"""Plug-ins: how a spec is read, which package wins a name, and one package in all five groups."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from warmline.core.errors import ConfigError, MissingExtra
from warmline.core.plugins import Plugins, Spec

THINGS: Plugins[object] = Plugins(
    "warmline.tests.things", "thing", example="my.module:Thing", first=("second", "first")
)


class Thing:
    """A plug-in that keeps its options."""

    def __init__(self, *inner: object, size: object = 1, colour: object = "red") -> None:
        self.inner, self.size, self.colour = inner, size, colour


class Wrapping:
    """One positional argument and a required option."""

    def __init__(self, inner: object, *, depth: int) -> None:
        self.inner, self.depth = inner, depth + 0


def install(folder: Path, name: str, points: str) -> None:
    """An installed distribution that only has entry points."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(points)


@pytest.fixture
def things(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plugins[object]:
    points = f"[{THINGS.group}]\n" + "".join(
        f"{name} = {__name__}:{target}\n"
        for name, target in (("alpha", "Thing"), ("first", "Thing"), ("second", "Wrapping"))
    )
    install(tmp_path, "things", points)
    monkeypatch.syspath_prepend(tmp_path)
    return THINGS


def test_known_names_begin_with_the_given_order(things: Plugins[object]) -> None:
    assert things.known() == ["second", "first", "alpha"]


@pytest.mark.parametrize(
    ("spec", "size", "colour"),
    [
        ("first", 1, "red"),
        ("first:size=2", 2, "red"),
        ("first:size=2,colour=light blue", 2, "light blue"),
        ("first:size=[1, 2],colour='a,b=c'", [1, 2], "a,b=c"),
        ("first:size={a = 1, b = 'x,y'}", {"a": 1, "b": "x,y"}, "red"),
        ("first: size = true ,", True, "red"),
        ("first:colour=http://host:80/v1", 1, "http://host:80/v1"),
        ({"name": "first", "size": 3}, 3, "red"),
        (f"{__name__}:Thing:size=1_000", 1000, "red"),
    ],
)
def test_specs(things: Plugins[object], spec: Spec, size: object, colour: object) -> None:
    made = things.make(spec)
    assert isinstance(made, Thing)
    assert (made.size, made.colour) == (size, colour)


def test_options_override_the_specs_and_inner_arguments_come_first(
    things: Plugins[object],
) -> None:
    made = things.make("second:depth=2", "wrapped", depth=3)
    assert isinstance(made, Wrapping)
    assert (made.inner, made.depth) == ("wrapped", 3)


def test_all_wrong_options_are_reported_at_once(things: Plugins[object]) -> None:
    with pytest.raises(ConfigError) as raised:
        things.make("second:dept=1,zzzz=2", "wrapped")
    assert raised.value.problems == (
        "unknown option 'dept'; did you mean 'depth'?",
        "unknown option 'zzzz'",
        "missing option 'depth'",
    )
    assert raised.value.hint == "its options are: depth"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("frist", r"no thing named 'frist'; known: second, first, alpha\n.*did you mean 'first'"),
        ("zzz:size=3", r"no thing named 'zzz'(.|\n)*import string such as 'my.module:Thing'"),
        ("first:size", r"'size' in the thing spec 'first:size' is not key=value"),
        ("first:colour=a,b", "'b' in the thing spec .* is not key=value\n.*quotation marks"),
        ("=3", "not a thing spec: '=3'"),
        ({"size": 3}, "a thing needs a name"),
        ("no_such_module:X", "thing 'no_such_module:X': no module named 'no_such_module'"),
        (f"{__name__}:Thin", "has no class or function 'Thin'\n.*did you mean 'Thing'"),
        (f"{__name__}:THINGS", "has no class or function 'THINGS'"),
        ("second:depth=text", "thing 'second' cannot be set up: .*str"),
    ],
)
def test_what_is_wrong_with_a_spec_is_named(
    things: Plugins[object], spec: Spec, message: str
) -> None:
    inner = ["wrapped"] if str(spec).startswith("second") else []
    with pytest.raises(ConfigError, match=message):
        things.make(spec, *inner)


def test_two_packages_with_one_name_are_an_error_that_names_both(
    things: Plugins[object], tmp_path: Path
) -> None:
    install(tmp_path, "other", f"[{THINGS.group}]\nfirst = {__name__}:Wrapping\n")
    sys.path.insert(0, str(tmp_path / "again"))
    install(tmp_path / "again", "same", f"[{THINGS.group}]\nalpha = {__name__}:Thing\n")
    try:
        with pytest.raises(ConfigError, match=r"several packages: (?=.*'things')(?=.*'other')"):
            things.find("first")
        assert things.find("alpha") is Thing  # two packages, but the same class
    finally:
        sys.path.remove(str(tmp_path / "again"))


def test_warmlines_own_name_cannot_be_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from warmline.policies.registry import POLICIES
    from warmline.policies.scripted import ScriptedPolicy

    install(tmp_path, "thief", f"[{POLICIES.group}]\nscripted = {__name__}:Thing\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert POLICIES.find("scripted") is ScriptedPolicy
    assert POLICIES.known().count("scripted") == 1


@pytest.mark.parametrize(
    ("before", "name"),
    [
        ("warmline.policies.openai:OpenAIPolicy", "openai"),
        ("warmline.policies.embedded:EmbeddedPolicy", "embedded"),
        ("warmline.policies.human:HumanPolicy", "human"),
    ],
)
def test_an_import_string_of_version_0_1_finds_our_plug_in_where_it_is_now(
    before: str, name: str
) -> None:
    from warmline.policies.registry import POLICIES

    assert POLICIES.find(before) is POLICIES.find(name)
    with pytest.raises(ConfigError, match="has no class or function 'OpenAIPolic'"):
        POLICIES.find("warmline.policies.openai:OpenAIPolic")
    with pytest.raises(ConfigError, match=r"no module named 'warmline\.policies\.gone'"):
        POLICIES.find("warmline.policies.gone:Gone")


def test_an_odd_import_string_is_an_error_of_the_settings_at_every_door() -> None:
    from warmline.environments.corpus.cleaning.filters.registry import FILTERS
    from warmline.environments.corpus.importing.importers.registry import IMPORTERS
    from warmline.evaluation.metrics.metric import METRICS
    from warmline.policies.autogen.policy import AutogenClientPolicy
    from warmline.policies.registry import POLICIES, WRAPPERS
    from warmline.training.candidates.feedback import find_rule

    doors: list[Callable[[str], object]] = [
        *(door.find for door in (POLICIES, WRAPPERS, METRICS, FILTERS, IMPORTERS)),
        lambda name: AutogenClientPolicy(client=name),
        find_rule,
    ]
    for door in doors:
        for name in ("..x:y", ".x:y", ":y", "x:", "a..b:C", "x/y.py:z", "x :y"):
            with pytest.raises(ConfigError, match=re.escape(name)):
                door(name)


NEEDY = "import a_library_that_is_not_there\nclass X: ...\n"


def test_libraries_that_an_installed_plug_in_lacks_are_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "needy_plugin.py").write_text(NEEDY)
    install(tmp_path, "needy", f"[{THINGS.group}]\nneedy = needy_plugin:X\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="'needy' of the package 'needy' needs 'a_library"):
        THINGS.find("needy")
    with pytest.raises(ModuleNotFoundError):  # an import string: the module is the user's own
        THINGS.find("needy_plugin:X")


def test_libraries_that_our_own_plug_in_lacks_are_an_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(
        tmp_path,
        "ours",
        "[warmline.tests.heavy]\nheavy = warmline.policies.hf.seq2seq:Seq2SeqLoop\n",
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "warmline.policies.hf.seq2seq", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    heavy: Plugins[object] = Plugins("warmline.tests.heavy", "thing", example="m:T", extra="all")
    with pytest.raises(MissingExtra, match=r"(?s)the thing 'heavy' needs.*warmline\[all\]"):
        heavy.find("heavy")


PACKAGE = """
from warmline import Reply
from warmline.environments.corpus.importing.importers.base import Recorded, Turn
from warmline.environments.corpus.tags import Finding, Severity
from warmline.evaluation import Measurement
from warmline.policies.wrappers import Wrapper


class Parrot:
    def __init__(self, *, times=1):
        self.times = times

    async def respond(self, request):
        return Reply(" ".join([request.messages[-1].content] * self.times))


class Loud(Wrapper):
    kind = "loud"

    async def respond(self, request):
        return Reply((await self.inner.respond(request)).text.upper())


class Exclamations:
    def measure(self, pairs):
        marks = sum(text.count("!") for text in pairs.hypotheses)
        return [Measurement("exclamations", float(marks), "'!' in all replies", unit="")]


class Capitals:
    name = "capitals"

    def __init__(self, least=1):
        self.least = least

    def examine(self, episode):
        loud = [i for i, u in enumerate(episode.utterances) if u.text.isupper()]
        if len(loud) < self.least:
            return ()
        return tuple(Finding(self.name, Severity.FLAG, "all in capitals", i) for i in loud)


def two_lines(record):
    return Recorded((Turn("user", record["q"]), Turn("assistant", record["a"])), "Burnout")
"""
POINTS = """
[warmline.policies]
parrot = parrot_plugin:Parrot
[warmline.wrappers]
loud = parrot_plugin:Loud
[warmline.metrics]
exclamations = parrot_plugin:Exclamations
[warmline.filters]
capitals = parrot_plugin:Capitals
[warmline.importers]
two_lines = parrot_plugin:two_lines
"""
USE = """
import asyncio, json, sys, warmline
from warmline.environments.corpus.cleaning import known_filters, make_filter
from warmline.environments.corpus.importing.importers.registry import known_importers
from warmline.environments.corpus.importing.reader import Import
from warmline.evaluation import make_metric
from warmline.evaluation.metrics.metric import known_metrics, make_pairs
from warmline.policies import Message, known_policies
from warmline.policies.registry import known_wrappers

shown = {
    "listed": ["parrot" in known_policies(), "loud" in known_wrappers(),
               "exclamations" in known_metrics(), known_filters()[-1], known_importers()[-1]],
}
policy = warmline.make_policy("parrot", times=2, wrap="loud")
request = warmline.Request((Message("user", "Hello."),))
shown["policy"] = asyncio.run(policy.respond(request)).text
(episode,) = Import(sys.argv[1], "two_lines")
shown["importer"] = [(str(u.role), u.text) for u in episode.utterances]
shown["filter"] = [f.utterance for f in make_filter("capitals:least=1").examine(episode)]
shown["unfound"] = len(make_filter("capitals:least=2").examine(episode))
(figure,) = make_metric("exclamations").measure(make_pairs(["a!", "b"], ["a", "b"]))
shown["metric"] = figure.value
print(shown)
"""


def test_an_installed_package_brings_one_of_each(tmp_path: Path) -> None:
    (tmp_path / "parrot_plugin.py").write_text(PACKAGE)
    install(tmp_path, "parrot-plugin", POINTS)
    (tmp_path / "x.jsonl").write_text('{"q": "LEAVE ME", "a": "Since when?"}\n')
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{USE}",
            str(tmp_path / "x.jsonl"),
        ],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert ast.literal_eval(done.stdout) == {
        "listed": [True, True, True, "capitals", "two_lines"],
        "policy": "HELLO. HELLO.",
        "importer": [("seeker", "LEAVE ME"), ("supporter", "Since when?")],
        "filter": [0],
        "unfound": 0,
        "metric": 1.0,
    }
