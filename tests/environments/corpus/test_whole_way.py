"""The whole way of a corpus, offline: build, clean, review, export, and what `datasets` makes of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import warmline
from warmline.cli import app
from warmline.core.errors import ConfigError
from warmline.environments.corpus import BuildReport, build, clean_run, export_corpus, read_tags
from warmline.environments.corpus.cleaning import CleanSettings
from warmline.environments.corpus.review.review import Verdict
from warmline.environments.corpus.review.store import ReviewStore
from warmline.environments.corpus.sources import Source, write_sources

from .building import scripted
from .reviewed import recorded, write_corpus

LOADS = """
import json, sys
from datasets import load_dataset

splits = load_dataset(sys.argv[1])
print(json.dumps({name: [dict(row) for row in rows] for name, rows in splits.items()}))
"""


def loaded(folder: Path, cache: Path) -> dict[str, list[dict[str, object]]]:
    """All rows as the Hugging Face tools read them, offline and in a process of their own."""
    clean = {"HF_HOME": str(cache), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", LOADS, str(folder)],
        capture_output=True, text=True, check=True, env={**os.environ, **clean},
    )  # fmt: skip
    rows: dict[str, list[dict[str, object]]] = json.loads(done.stdout.splitlines()[-1])
    return rows


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BuildReport]:
    """Ten conversations about two problem types, made in two rounds."""
    pytest.importorskip("datasketch", reason="near-duplicates need the extra data")
    folder = tmp_path_factory.mktemp("whole") / "corpus"
    report = build(
        policy=scripted(),
        out=str(folder),
        dialogues=10,
        rounds=2,
        problem_types=("Burnout", "Sleep Problems"),
        seed=2,
        max_turns=12,
    )
    return folder, report


def reviewed(folder: Path) -> tuple[str, str]:
    """Two must approve: one dialogue is rejected, one edited and approved, the rest wait."""
    result = CliRunner().invoke(app, ["review", "start", str(folder), "--required", "2"])
    assert result.exit_code == 0, result.output
    with ReviewStore(folder) as store:
        bad, mended = sorted(standing.id for standing in store.standings())[:2]
        store.decide(bad, "ada", Verdict.REJECT, version=0, reason="the seeker gives advice")
    for arguments in (
        ["edit", str(folder), mended, "1", "What would help tonight?", "--reviewer", "ada"],
        ["next", str(folder), "--reviewer", "ada", "--approve", mended],
        ["next", str(folder), "--reviewer", "bo", "--approve", mended],
    ):
        result = CliRunner().invoke(app, ["review", *arguments])
        assert result.exit_code == 0, result.output
    return bad, mended


def test_a_built_corpus_is_cleaned_reviewed_exported_and_loads_as_it_is(
    corpus: tuple[Path, BuildReport], tmp_path: Path
) -> None:
    pytest.importorskip("datasets", reason="load_dataset needs the extra data")
    folder, report = corpus
    assert report.statistics.dialogues == 10
    settings = CleanSettings(filters=("sentence_cap:max_sentences=1", "length:min_utterances=4"))
    assert clean_run(folder, settings).kept == 10
    assert len(read_tags(folder)) == 10
    bad, mended = reviewed(folder)

    out = tmp_path / "hub"
    shares = ["--train", "0.5", "--validation", "0.25", "--test", "0.25"]
    done = CliRunner().invoke(
        app, ["export", str(folder), "--out", str(out), "--format", "hub", "--json", *shares]
    )
    assert done.exit_code == 0, done.output
    written = json.loads(done.stdout)
    assert written["left_out"] == {"rejected in review": 1}
    assert sum(written["dialogues"].values()) == 9

    splits = loaded(out, tmp_path / "cache")
    assert {name: len(rows) for name, rows in splits.items()} == written["rows"]
    rows = {str(row["id"]): row for part in splits.values() for row in part}
    episodes = {e.id: e for e in warmline.read_episodes(folder)}
    assert rows.keys() == episodes.keys() - {bad}
    for name, row in rows.items():
        dialogue = row["dialogue"]
        assert isinstance(dialogue, list)
        said = [u.text for u in episodes[name].utterances]
        if name == mended:
            said[1] = "What would help tonight?"
        assert [turn["text"] for turn in dialogue] == said
        assert row["scenario"] == episodes[name].scenario.situation

    card = (out / "README.md").read_text()
    assert "All were simulated with Warmline." in card
    assert "must not stand in for help from people" in card
    assert "Apache-2.0" in card
    assert "Left out of this export: 1 rejected in review." in card
    assert str(tmp_path) not in card


def test_what_is_exported_comes_back_by_import(
    corpus: tuple[Path, BuildReport], tmp_path: Path
) -> None:
    folder, _ = corpus
    export_corpus(folder, tmp_path / "out", train=1, validation=0, test=0, clean=False)
    back = tmp_path / "back"
    done = CliRunner().invoke(
        app,
        ["import", "messages", str(tmp_path / "out/data/train.jsonl"), "--out", str(back),
         "--name", "mine", "--licence", "Apache-2.0"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    exported = [json.loads(line) for line in (tmp_path / "out/data/train.jsonl").open()]
    said = [[u.text for u in episode.utterances] for episode in warmline.read_episodes(back)]
    assert said == [[m["content"] for m in row["messages"]] for row in exported]


def test_the_page_on_exporting_mixes_two_corpora(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs the page's own lines on two small corpora; the licence guard then asks for both."""
    page = Path(__file__).parents[3] / "docs" / "exporting.md"
    (block,) = (
        block
        for block in re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
        if "write_sources" in block
    )
    monkeypatch.chdir(tmp_path)
    for name, licence in (("esconv", "CC-BY-NC-4.0"), ("smilechat", "CC0-1.0")):
        folder = write_corpus(Path("corpora") / name, [recorded(f"{name}-1", name)])
        write_sources(folder, [Source(name=name, licence=licence)])
    Path("corpora/mixed").mkdir()
    exec(block, {})
    with pytest.raises(ConfigError, match="sources under different licences"):
        export_corpus("corpora/mixed", "out")
    report = export_corpus("corpora/mixed", "out", accept_licences=("esconv", "smilechat"))
    assert sum(report.dialogues.values()) == 2
    assert report.licence.id == "CC-BY-NC-4.0"
