"""The documents: code blocks run, links lead somewhere, commands exist."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import warmline
from warmline.core.record import Record
from warmline.core.settings import read_settings
from warmline.environments import RunSettings
from warmline.environments.corpus.generation.checks import situation_fault, type_fault
from warmline.environments.corpus.generation.settings import BuildSettings
from warmline.environments.shards.settings import ShardSettings
from warmline.evaluation.studies.settings import StudySettings
from warmline.evaluation.tables.settings import TablesSettings
from warmline.policies.registry import known_policies
from warmline.training.reproduction.presets import Preset

ROOT = Path(__file__).parents[1]
PAGES = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "benchmarks").glob("*.md"),
]
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line.split("  #")[0].strip()
    for block in re.findall(
        r"^```\n(.*?)^```$", re.sub(r"(?ms)^```\w.*?^```$", "", README), re.DOTALL | re.MULTILINE
    )
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith("warmline ")
]
SMALLER = {
    'episodes=2, policy="embedded"': 'episodes=1, max_turns=4, policy="embedded"',
    "--episodes 8": "--episodes 1 --max-turns 8",
    "--episodes 60": "--episodes 1 --max-turns 8",
    "warmline demo": "warmline demo --episodes 1",
    "--setting both": "--setting both --limit 1 --max-tokens 16",
}
"""What a test makes smaller in what the README asks of the embedded model; `.ci/run` does `make demo`."""


def smaller(text: str) -> str:
    """The same, with smaller numbers."""
    for large, small in SMALLER.items():
        text = text.replace(large, small)
    return text


@pytest.mark.embedded
@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_the_readmes_examples_run(block: str, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", smaller(block)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr


def of_the_embedded_model() -> list[str]:
    """The README's commands that it answers; those with a server of the reader's are left out."""
    return [
        line
        for line in COMMANDS
        if ("--policy embedded" in line or line == "warmline demo") and "openai" not in line
    ]


def test_the_readme_names_the_embedded_model_in_every_kind_of_command() -> None:
    assert {line.split()[1] for line in of_the_embedded_model()} == {
        "simulate", "build", "evaluate", "demo"
    }  # fmt: skip


@pytest.mark.embedded
@pytest.mark.parametrize("line", of_the_embedded_model())
def test_the_readmes_commands_give_a_result_on_the_embedded_model(
    line: str, tmp_path: Path
) -> None:
    """Exit code 0: not 3, that nothing came of it. What is simulated is long enough to be kept."""

    def run(*words: str) -> str:
        command = [sys.executable, "-m", "warmline.cli", *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    words = smaller(line).split()[1:]
    if words[0] == "evaluate":
        run("import", "seeds", "--out", words[1])
    run(*words)
    if words[0] in ("simulate", "demo"):
        folder = tmp_path / (words[words.index("--out") + 1] if "--out" in words else "runs/demo")
        episodes = warmline.read_episodes(folder)
        assert len(episodes) == 1
        assert all(8 <= len(episode.utterances) <= 20 for episode in episodes)
        run("clean", str(folder))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text("utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_readme_names_every_policy() -> None:
    assert not [name for name in known_policies() if f"`{name}`" not in README]


def test_the_tests_that_the_architecture_promises_exist() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    for path in re.findall(r"`(tests/[\w/.]+\.py)", text):
        assert (ROOT / path).is_file(), path


TOML = [
    (f"{page.stem}-{number}", block)
    for page in PAGES
    for number, block in enumerate(
        re.findall(r"```toml\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    )
]
"""Every block of TOML, by its page and its place there."""
SETTINGS: dict[str, type[Record]] = {
    "building-0": BuildSettings,
    "reproduce-0": Preset,
    "results-0": RunSettings,
    **{f"run-settings-{number}": RunSettings for number in range(5)},
    "safety-0": RunSettings,
    "scale-0": ShardSettings,
    "servers-0": RunSettings,
    "studies-0": StudySettings,
    "tables-0": TablesSettings,
    "wrappers-0": RunSettings,
    "wrappers-1": RunSettings,
}
"""What reads a block."""
PARTS = ("safety-1", "studies-1")
"""Blocks that are no whole settings file: a rule on crises, help lines of a study."""


def test_it_is_known_what_reads_each_block_of_toml() -> None:
    assert sorted(name for name, _ in TOML) == sorted([*SETTINGS, *PARTS])


@pytest.mark.parametrize(("name", "block"), TOML, ids=[name for name, _ in TOML])
def test_a_block_of_toml_is_read_by_its_command(name: str, block: str, tmp_path: Path) -> None:
    assert tomllib.loads(block)
    if name in SETTINGS:
        (tmp_path / "given.toml").write_text(block, "utf-8")
        read_settings(SETTINGS[name], tmp_path / "given.toml")


def test_the_page_on_building_has_the_figures_of_the_shipped_pool() -> None:
    """How many situations pass the checks, and how many the coarse check of the type refuses."""
    page = (ROOT / "docs" / "building.md").read_text("utf-8")
    scenarios = warmline.seed_scenarios()
    texts = {scenario.id: scenario.situation for scenario in scenarios}
    assert not [name for name, text in texts.items() if situation_fault(text)]
    assert f"all {len(texts)} shipped situations pass" in page
    unfit = [s.id for s in scenarios if type_fault(s.situation, s.problem_type)]
    assert f"refuses {len(unfit)} of the {len(texts)} shipped situations" in page


POINTER = re.compile(r"`([\w/.]+\.(?:py|toml|jinja))`(?:: ((?:`[\w.]+`(?:, )?)+))?")
"""A file in the index of the papers, and the names in it that are meant."""


def test_the_index_of_the_papers_points_at_what_is_there() -> None:
    """A bare file name stands for a file that the page names in full elsewhere."""
    text = (ROOT / "docs" / "papers.md").read_text("utf-8")
    pointers = POINTER.findall(text)
    whole = {path for path, _ in pointers if "/" in path}
    assert len(whole) > 50
    assert not [path for path in whole if not (ROOT / path).is_file()]
    known = {Path(path).name for path in whole}
    assert not [path for path, _ in pointers if "/" not in path and path not in known]
    for path, names in pointers:
        code = (ROOT / path).read_text("utf-8") if names else ""
        for name in re.findall(r"\w+", names):
            defined = rf"^ *(?:(?:async )?def|class) {name}\b|^ *{name}\b[^=\n]*="
            assert re.search(defined, code, re.MULTILINE), f"{path}: {name}"


@pytest.mark.parametrize(
    ("page", "extra"),
    [
        ("analyses", "eval"), ("building", "data"), ("cleaning", "data"), ("counselor", "train"),
        ("evolve", "train"), ("exporting", "data"), ("fpemf", "train"), ("metrics", "eval"),
        ("notebooks", "data"), ("quick-start", "data,eval"), ("quick-start", "train"),
        ("scale", "ray"), ("scale", "slurm"), ("scale", "store"), ("scorer", "train"),
        ("serving", "web"), ("studies", "web"), ("tables", "harness"), ("training", "train"),
        ("wrappers", "autogen"),
    ],
)  # fmt: skip
def test_a_page_names_the_extra_that_its_commands_need(page: str, extra: str) -> None:
    text = (ROOT / "docs" / f"{page}.md").read_text("utf-8")
    assert re.search(rf"pip install (-e )?'(warmline|\.)\[{extra}\]'|the extra `{extra}`", text)
