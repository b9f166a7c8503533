"""`warmline import`, and the provenance that it leaves."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

import warmline
from warmline.cli import app
from warmline.core.errors import ConfigError, DataError, RunError, WarmlineError
from warmline.environments.corpus.folder import new_folder
from warmline.environments.corpus.sources import (
    KNOWN_CORPORA,
    Source,
    read_sources,
    write_sources,
)
from warmline.evaluation import analyse_files

from ..samples import MESSAGES, esconv, failed_esconv, write

KEYS = [
    "dialogues", "utterances", "avg_dialogue_len", "avg_utt_len", "seeker_utts", "seeker_avg_len",
    "supporter_utts", "supporter_avg_len", "utts_per_dialogue_per_role",
]  # fmt: skip


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, ["import", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_statistics_as_json_are_one_object_with_the_agreed_keys(tmp_path: Path) -> None:
    path = write(tmp_path / "ESConv.json", [esconv()])
    out = run("esconv", path, "--recipe", "sweetiechat", "--stats", "--json")
    assert list(json.loads(out)) == KEYS
    assert json.loads(out)["utterances"] == 8
    report = json.loads(run("auto", path, "--recipe", "sweetiechat", "--json"))
    assert report["steps"]["merge"]["dropped"] == 3
    assert report["dropped"] == {}


def test_the_tables_tell_what_was_done(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", [esconv(), {"dialog": 1}], lines=True)
    out = " ".join(run("auto", path, "--recipe", "merged", "--stats").split())
    for told in (
        "3 turns merged", "broken records left out", "line 2, field 'dialog'", "29,278", "42.86",
    ):  # fmt: skip
        assert told in out


def test_shares_of_strategies_stand_as_in_the_source_and_as_kept(tmp_path: Path) -> None:
    """3 of 7 labels are questions; two of them stood in one turn, which keeps one: 2 of 6."""
    path = write(tmp_path / "x.json", [esconv()])
    out = " ".join(run("auto", path, "--recipe", "merged", "--stats").split())
    assert "% of labels" in out
    assert "merging" in out
    assert "as kept" in out
    assert "Question │ 42.86 │ 33.33" in out
    run("auto", path, "--recipe", "merged", "--out", tmp_path / "kept")
    shares = analyse_files([tmp_path / "kept"], figures=False).analysis.corpora[0].strategy_shares
    assert shares["Question"] == pytest.approx(1 / 3)


def test_a_written_corpus_has_episodes_sources_and_counts(tmp_path: Path) -> None:
    path = write(tmp_path / "in.json", [esconv(), failed_esconv()])
    out = tmp_path / "corpora" / "mine"
    assert "written" in run("esconv", path, "--out", out)
    assert sorted(p.name for p in out.iterdir()) == [
        "episodes.jsonl", "import.json", "sources.json", "statistics.json",
    ]  # fmt: skip
    assert [e.id for e in warmline.iter_episodes(out)] == ["esconv-1", "failed_esconv-2"]
    first, second = read_sources(out)
    assert first == Source(
        name="esconv",
        licence="CC-BY-NC-4.0 AND research-only",
        url=KNOWN_CORPORA["esconv"].url,
        file="in.json",
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        format="esconv",
        recipe="raw",
        records=2,
        episodes=1,
    )
    assert second.name == "failed_esconv"
    statistics = json.loads((out / "statistics.json").read_text())
    assert statistics["utterances"] == 16
    assert statistics["strategies"]["Question"] == 4
    assert json.loads((out / "import.json").read_text())["sources"] == {
        "esconv": 1, "failed_esconv": 1,
    }  # fmt: skip


def test_what_follows_an_array_is_told_and_ends_a_strict_import(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps([MESSAGES]) + "\n" + json.dumps([MESSAGES]))
    report = json.loads(run("messages", path, "--json"))
    assert (report["episodes"], report["dropped"]) == (1, {"broken_record": 1})
    assert "line 2: the array has ended" in report["faults"][0]
    with pytest.raises(DataError, match="line 2: the array has ended"):
        run("messages", path, "--strict")


def test_an_import_of_which_nothing_is_kept_leaves_with_three(tmp_path: Path) -> None:
    path = write(tmp_path / "x.json", [MESSAGES])
    words = ["import", "messages", str(path), "--recipe", "min_turns", "--json"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 3
    assert json.loads(done.stdout)["dropped"] == {"min_turns": 1}
    path.write_text("[]")
    for format in ("auto", "messages"):  # noqa: A001
        with pytest.raises(DataError, match="holds no record"):
            run(format, path)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("os:system", "'os:system' is no importer: it is a part of Python"),
        ("os:getcwd", "'os:getcwd' is no importer: it is a part of Python"),
        ("platform:node", "'platform:node' is no importer: it cannot be called with a record"),
        ("json:loads", "importer 'json:loads' fails with TypeError: the JSON object must be"),
        ("copy:copy", "importer 'copy:copy' gave a dict, no Recorded"),
    ],
)
def test_what_is_no_importer_is_refused_by_its_name(tmp_path: Path, name: str, told: str) -> None:
    path = write(tmp_path / "x.jsonl", [MESSAGES])
    with pytest.raises(ConfigError, match=f"(?s){told}.*an importer is a function from a record"):
        run(name, path)


def test_an_unknown_licence_is_said_and_can_be_given(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", [MESSAGES])
    assert "licence of messages is not known" in run("messages", path, "--out", tmp_path / "a")
    assert read_sources(tmp_path / "a")[0].licence == "unknown"
    told = run(
        "messages", path, "--out", tmp_path / "b", "--licence", "MIT", "--url", "https://x.y"
    )
    assert "not known" not in told
    (source,) = read_sources(tmp_path / "b")
    assert (source.licence, source.url) == ("MIT", "https://x.y")


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", [MESSAGES])
    (tmp_path / "out").mkdir()
    run("messages", path, "--out", tmp_path / "out")  # an empty one may be filled
    before = (tmp_path / "out" / "episodes.jsonl").read_bytes()
    with pytest.raises(RunError, match="is there already and not empty"):
        run("messages", path, "--out", tmp_path / "out")
    assert (tmp_path / "out" / "episodes.jsonl").read_bytes() == before


def test_a_failed_import_leaves_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", [esconv(), {"dialog": 1}])
    with pytest.raises(DataError, match="line 2"):
        run("esconv", path, "--strict", "--out", tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.jsonl"]


def test_a_full_disk_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        pytest.raises(RunError, match=r"cannot write .*: No space left(?s:.*)nothing was left"),
        new_folder(tmp_path / "out"),
    ):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr("os.getpid", lambda: 7)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write"), new_folder(tmp_path / "file" / "out"):
        pass


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("esconvs", "x"), "did you mean 'esconv'"),
        (("esconv", "nowhere.json"), "no such file or folder"),
        (("esconv", "nowhere.json", "--recipe", "sweetie"), "recipes: raw, merged, sweetiechat"),
    ],
)
def test_errors_say_what_exists(arguments: tuple[str, ...], told: str) -> None:
    with pytest.raises(WarmlineError, match=told):
        run(*arguments)


def test_from_the_command_line_an_error_leaves_with_two() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "warmline.cli", "import", "esconv", "nowhere.json", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "no such file or folder" in done.stderr


def test_the_page_on_importing_runs(tmp_path: Path) -> None:
    page = (Path(__file__).parents[4] / "docs" / "importing.md").read_text("utf-8")
    counting, plug_in = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    write(tmp_path / "ESConv.json", [esconv()])
    done = subprocess.run(
        [sys.executable, "-c", counting], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "utterances=8" in done.stdout
    (tmp_path / "my_formats.py").write_text(plug_in)
    write(tmp_path / "x.jsonl", [{"q": "Tired.", "a": "Since when?"}])
    done = subprocess.run(
        [
            sys.executable,
            "-P",
            "-m",
            "warmline.cli",
            "import",
            "my_formats:pairs",
            "x.jsonl",
            "--json",
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": "."},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["sources"] == {"pairs": 1}


# provenance


def test_sources_are_closed_records_and_read_back(tmp_path: Path) -> None:
    source = Source(name="mine", records=3, episodes=2, dropped={"min_turns": 1})
    write_sources(tmp_path, [source])
    assert read_sources(tmp_path) == read_sources(tmp_path / "sources.json") == (source,)
    with pytest.raises(ValidationError):
        source.name = "yours"  # type: ignore[misc]
    with pytest.raises(ConfigError, match="unknown field 'license'; did you mean 'licence'"):
        Source(name="x", license="MIT")
    with pytest.raises(ConfigError, match="records"):
        Source(name="x", records=-1)


def test_no_sources_are_none_and_broken_ones_are_reported(tmp_path: Path) -> None:
    assert read_sources(tmp_path) == ()
    path = tmp_path / "sources.json"
    for text, told in (
        ("{", "sources.json: not JSON"),
        ("[]", "field 'sources': no list of sources"),
        ('{"sources": [{"name": "a"}, {"nam": "b"}]}', "field 'sources.1.name'"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=told):
            read_sources(tmp_path)
