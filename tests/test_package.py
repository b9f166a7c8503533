"""The package itself: what it holds, what it imports, and that its wheel works."""

from __future__ import annotations

import ast
import importlib
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

import warmline

ROOT = Path(__file__).parents[1]
ROOMS = ("core", "policies", "agents", "environments", "evaluation", "training")
MAY_IMPORT = {room: set(ROOMS[:place]) for place, room in enumerate(ROOMS)}
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SOURCES = [
    path for room in ROOMS if (ROOT / room).is_dir() for path in sorted((ROOT / room).rglob("*.py"))
]


def imported_rooms(path: Path) -> set[str]:
    """Rooms that a file imports, also inside functions."""
    package = path.relative_to(ROOT).parent.parts
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            target = [*base, *(node.module or "").split(".")]
            names = [target[0]] if target[0] else [alias.name for alias in node.names]
            rooms.update(names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("warmline"):
            pytest.fail(f"{path}: imports inside the rooms are relative")
    return rooms & set(ROOMS)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_import_ladder_holds(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    assert imported_rooms(path) - {room} <= MAY_IMPORT[room]


def test_every_package_folder_is_listed_for_the_wheel() -> None:
    folders = {
        "warmline." + ".".join(path.parent.relative_to(ROOT).parts)
        for room in ROOMS
        for path in (ROOT / room).rglob("__init__.py")
    }
    assert folders | {"warmline", "warmline.testing"} == set(
        PYPROJECT["tool"]["setuptools"]["packages"]
    )


SDIST = "import sys, setuptools.build_meta as build; build.build_sdist(sys.argv[1])"


def test_sdist_and_wheel_hold_everything_and_work_on_their_own(tmp_path: Path) -> None:
    """The wheel is made of the sdist, and runs in another folder than the checkout."""
    source = tmp_path / "source"  # built in the tree, it would leave entry points that grow stale
    for part in (*ROOMS, "tests/contracts"):
        shutil.copytree(
            ROOT / part, source / part, ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
        )
    for name in ("__init__.py", "cli.py", "py.typed", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    made = [sys.executable, "-c", SDIST, str(tmp_path)]
    subprocess.run(made, cwd=source, check=True, capture_output=True)
    (sdist,) = tmp_path.glob("*.tar.gz")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
         "--wheel-dir", str(tmp_path), str(sdist)],
        check=True,
        capture_output=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"warmline"}
    expected = {
        f"warmline/{path.relative_to(ROOT)}"
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.suffix in (".py", ".toml", ".jinja", ".css", ".js")
        and "__pycache__" not in path.parts
    }
    assert expected <= names
    assert {"warmline/py.typed", "warmline/cli.py"} <= names
    unpacked = tmp_path / "unpacked"
    zipfile.ZipFile(wheel).extractall(unpacked)
    code = (
        "import warmline, pathlib; print(pathlib.Path(warmline.__file__).parent);"
        "print(len(warmline.simulate(episodes=2, policy=warmline.ScriptedPolicy(), max_turns=2)))"
    )

    def run(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=tmp_path,
            env={"PYTHONPATH": str(unpacked), "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    assert run("-c", code).split() == [str(unpacked / "warmline"), "2"]
    settings = "--policy scripted --episodes 2 --max-turns 2 --quiet --out run"
    run("-m", "warmline.cli", "simulate", *settings.split())
    assert len(warmline.read_episodes(tmp_path / "run")) == 2


HEAVY = (
    "torch",
    "transformers",
    "vllm",
    "ray",
    "submitit",
    "fastapi",
    "uvicorn",
    "xllamacpp",
    "sklearn",
)


@pytest.mark.parametrize(
    ("code", "forbidden"),
    [
        ("import warmline", (*HEAVY, "autogen_agentchat", "openai", "pydantic", "jinja2")),
        ("import warmline.cli", HEAVY),
        ("import warmline; [getattr(warmline, n) for n in warmline.__all__]", HEAVY),
        ("import warmline; warmline.make_policy('scripted')", (*HEAVY, "autogen_agentchat")),
    ],
)
def test_starting_is_light(code: str, forbidden: tuple[str, ...]) -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", f"{code}; import sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert set(loaded).isdisjoint(forbidden)


@pytest.mark.parametrize(
    "code", ["import warmline", "warmline.cli.app(['--help'], standalone_mode=False)"]
)
def test_starting_reads_no_seed_dialogue(code: str) -> None:
    look = "from warmline.environments.scenarios import seed_pool; print(seed_pool._files.cache_info())"
    done = subprocess.run(
        [sys.executable, "-c", f"import warmline, warmline.cli; {code}; {look}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "misses=0" in done.stdout.splitlines()[-1]


def test_core_dependencies_stay_light() -> None:
    names = {re.split(r"[<>=;\[ ]", d)[0] for d in PYPROJECT["project"]["dependencies"]}
    assert names.isdisjoint(HEAVY[:7])


LAZY = [
    "warmline",
    "warmline.agents",
    "warmline.policies",
    "warmline.policies.wrappers",
    "warmline.environments",
    "warmline.environments.corpus",
    "warmline.environments.corpus.cleaning",
    "warmline.environments.serving",
    "warmline.evaluation",
    "warmline.evaluation.report",
    "warmline.training",
]


def checked_imports(package: ModuleType) -> dict[str, str]:
    """Names that a package imports for type checkers only, each with its module."""
    source = ast.parse(Path(package.__file__ or "").read_text())
    (block,) = [n for n in source.body if isinstance(n, ast.If)]
    return {
        alias.name: "." * node.level + (node.module or "")
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_every_lazy_package_is_tested() -> None:
    found = {
        ".".join(("warmline", *path.parent.relative_to(ROOT).parts))
        for path in (ROOT / "__init__.py", *SOURCES)
        if path.name == "__init__.py" and "lazy_names(" in path.read_text()
    }
    assert found == set(LAZY)


@pytest.mark.parametrize("name", LAZY)
def test_public_names_exist_and_match_the_type_checkers_view(name: str) -> None:
    if name == "warmline.training":
        pytest.importorskip("torch", reason="the extra `transformers` is not installed")
    package = importlib.import_module(name)
    homes = {item: home for home, items in package._HOMES.items() for item in items}
    assert homes == checked_imports(package)
    assert set(homes) <= set(package.__all__)
    assert set(homes) <= set(dir(package))
    for item in package.__all__:
        assert getattr(package, item) is not None
    with pytest.raises(AttributeError, match=f"module '{name}' has no attribute 'nowhere'$"):
        _ = package.nowhere


def test_a_misspelt_public_name_is_named_with_the_nearest() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'simulat'; did you mean 'simulate'"):
        _ = warmline.simulat


def test_training_without_its_libraries_names_the_extra() -> None:
    code = """
import sys
sys.modules["torch"] = None
import warmline.training
try:
    warmline.training.diverse_beam_search
except Exception as error:
    print(type(error).__name__, error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("MissingExtra warmline.training.diverse_beam_search needs")
    assert "warmline[train]" in run.stdout


def test_nothing_of_a_machine_is_in_the_repository() -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    pattern = re.compile(r"index-url|(?<![\w.])/(?:root|home/\w+|work)/")
    for name in filter(None, tracked):
        path = ROOT / name
        if path.suffix in (".py", ".md", ".toml", ".txt", ".yaml", ".ipynb", ".jinja"):
            if path == Path(__file__):
                continue
            assert not pattern.search(path.read_text("utf-8")), name


def test_every_extra_for_users_has_commands_that_try_it() -> None:
    known = tomllib.loads((ROOT / ".ci" / "extras.toml").read_text("utf-8"))["commands"]
    extras = set(PYPROJECT["project"]["optional-dependencies"]) - {"dev", "docs", "vllm"}
    assert set(known) == extras | {"core"}
    refused = {
        name for name, commands in known.items() if any(c.startswith("! ") for c in commands)
    }
    assert refused == extras  # each is also asked for where it is missing
    makefile, script = (ROOT / "Makefile").read_text(), (ROOT / ".ci" / "extras").read_text()
    (torch,) = re.findall(r"^TORCH \?= (\S+)$", makefile, re.MULTILINE)
    assert f'TORCH = "{torch}"' in script
