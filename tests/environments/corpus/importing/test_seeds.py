"""The dialogues that ship, as a corpus: their episodes, their folder, their sides, their data set."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

import warmline
from warmline.agents import Role
from warmline.cli import app
from warmline.core.errors import ConfigError, DataError
from warmline.environments import Profile, StopReason
from warmline.environments.corpus import SeedImport, import_corpus, read_sources, seed_episodes
from warmline.environments.corpus.exporting.export import export_corpus
from warmline.environments.corpus.splits import scenario_groups
from warmline.environments.runs.recorded import scenarios_at
from warmline.environments.scenarios import seed_pool
from warmline.policies.safety import DISCLAIMER

DIALOGUES = warmline.seed_dialogues()
EPISODES = list(seed_episodes())


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seeds") / "seeds"
    import_corpus(SeedImport(), folder)
    return folder


def test_each_dialogue_is_an_episode_with_all_that_any_seat_knows() -> None:
    scenarios = {scenario.id: scenario for scenario in warmline.seed_scenarios()}
    for dialogue, episode in zip(DIALOGUES, EPISODES, strict=True):
        assert episode.id == dialogue.id
        assert episode.stop is StopReason.RECORDED
        assert episode.scenario == scenarios[dialogue.scenario]
        assert isinstance(episode.scenario.profile, Profile)
        assert [(u.role, u.text, u.strategy) for u in episode.utterances] == [
            (t.role, t.text, t.strategy) for t in dialogue.turns
        ]
        assert episode.annotations == {"stages": [t.stage for t in dialogue.turns]}
        assert all(u.strategy_source == "person" for u in episode.utterances if u.strategy)


def test_crisis_language_is_marked_in_them() -> None:
    marked = {e.scenario.problem_type for e in EPISODES for u in e.utterances if u.crisis}
    assert "Self-Harm Behaviors" in marked


def test_the_folder_is_an_ordinary_corpus_with_sides(corpus: Path) -> None:
    assert list(warmline.read_episodes(corpus)) == EPISODES
    for side in ("train", "test"):
        read = warmline.read_episodes(f"{corpus}:{side}")
        assert [e.id for e in read] == [d.id for d in warmline.seed_dialogues(side)]
    assert {s.id for s in scenarios_at(f"{corpus}:test")} == {
        s.id for s in warmline.seed_scenarios("test")
    }
    (source,) = read_sources(corpus)
    assert (source.name, source.licence) == (seed_pool.SOURCE, "Apache-2.0")
    assert source.sha256 == seed_pool.seed_digest()
    assert (source.records, source.episodes) == (len(DIALOGUES), len(DIALOGUES))


def test_no_scenario_is_told_on_two_sides(corpus: Path) -> None:
    """By the definition that exports and trainings share, not only by id."""
    episodes = warmline.read_episodes(corpus)
    sides: dict[str, set[str]] = {}
    for episode, group in zip(episodes, scenario_groups(episodes), strict=True):
        sides.setdefault(group, set()).add(seed_pool.seed_side(episode.scenario.id))
    assert all(len(found) == 1 for found in sides.values())


def test_the_command_writes_the_folder_and_counts(tmp_path: Path) -> None:
    out = tmp_path / "seeds"
    result = CliRunner().invoke(app, ["import", "seeds", "--out", str(out), "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["records"], report["episodes"]) == (len(DIALOGUES), len(DIALOGUES))
    counted = Counter(t.strategy for d in DIALOGUES for t in d.turns if t.strategy)
    assert report["strategies"] == {s.value: n for s, n in counted.most_common()}
    assert len(warmline.read_episodes(f"{out}:train")) == 0.8 * len(DIALOGUES)


@pytest.mark.parametrize(
    "given", [["talks.jsonl"], ["--limit", "3"], ["--recipe", "merged"], ["--licence", "MIT"]]
)
def test_what_would_change_nothing_is_refused(given: list[str]) -> None:
    result = CliRunner().invoke(app, ["import", "seeds", *given])
    assert isinstance(result.exception, ConfigError)
    assert "would change nothing" in result.exception.message


def test_a_format_without_a_file_says_what_is_missing() -> None:
    result = CliRunner().invoke(app, ["import", "messages"])
    assert isinstance(result.exception, ConfigError)
    assert "which file" in result.exception.message


def test_the_data_set_says_who_wrote_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["export", "seeds", "--format", "hub", "--container", "jsonl", "--out", "hub"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    rows = {
        side: [
            json.loads(line)
            for line in Path("hub", "data", f"{side}.jsonl").read_text("utf-8").splitlines()
        ]
        for side in ("train", "test")
    }
    assert {side: [row["id"] for row in found] for side, found in rows.items()} == {
        side: [d.id for d in warmline.seed_dialogues(side)]  # type: ignore[arg-type]
        for side in rows
    }
    assert rows["test"][0]["scenario"] == warmline.seed_scenarios("test")[0].situation
    card = Path("hub", "README.md").read_text("utf-8")
    for said in (
        DISCLAIMER,
        "written for Warmline by a language model",
        "no real person's words",
        'license: "apache-2.0"',
        '"synthetic"',
        "Every fifth scenario of a problem type is kept for testing",
        "## Meant for, and not for",
    ):
        assert said in card, said
    assert "imported from the sources below" not in card


def test_one_side_is_exported_alone_and_an_unknown_one_refused(tmp_path: Path) -> None:
    report = export_corpus("seeds:test", tmp_path / "out")
    assert report.dialogues == {"test": len(warmline.seed_dialogues("test"))}
    with pytest.raises(DataError, match="no side 'valid'; it has train, test"):
        export_corpus("seeds:valid", tmp_path / "none")


def test_a_folder_of_that_name_comes_first(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(corpus, "seeds")
    log = Path("seeds", "episodes.jsonl")
    log.write_text(EPISODES[0].to_json() + "\n", "utf-8")
    Path("seeds", "split.json").unlink()
    report = export_corpus("seeds", "out", train=1, validation=0, test=0)
    assert report.dialogues == {"train": 1}


def test_all_supporter_turns_are_labelled() -> None:
    for episode in EPISODES:
        for said in episode.utterances:
            assert (said.strategy is not None) == (said.role is Role.SUPPORTER)
