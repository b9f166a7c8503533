"""`warmline split`: sides of a corpus, and every reader that takes one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from warmline.cli import app
from warmline.core.errors import ConfigError, DataError, RunError
from warmline.environments.corpus.dividing import split_corpus
from warmline.environments.corpus.exporting.export import export_corpus
from warmline.environments.corpus.splits import scenario_groups
from warmline.environments.episodes.episode import Episode
from warmline.environments.episodes.log import (
    attempts_of,
    iter_episodes,
    latest_episodes,
    log_files,
    read_episodes,
)
from warmline.environments.episodes.sides import place_of, read_split
from warmline.environments.runs.recorded import scenarios_at
from warmline.training.rows.sources import load_episodes

from .reviewed import episode, recorded

runner = CliRunner(env={"COLUMNS": "200"})
GOLDEN = ("s9", "s9~2", "s10", "s10~2")
SHARES = {"train": 0.8, "valid": 0.1, "test": 0.1}


def write(folder: Path, talks: list[Episode]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(talk.to_json() + "\n" for talk in talks)
    (folder / "episodes.jsonl").write_text(text, "utf-8")
    return folder


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Forty conversations about twenty scenarios."""
    return write(
        tmp_path / "corpus", [episode(f"s{n}{two}") for n in range(20) for two in ("", "~2")]
    )


def run(*words: object) -> Any:
    return runner.invoke(app, [*map(str, words)])


def test_shares_hold_and_scenarios_stay_whole(corpus: Path) -> None:
    found = run("split", corpus, "--shares", "train=0.8,valid=0.1,test=0.1")
    assert found.exit_code == 0, found.output
    split = read_split(corpus / "split.json")
    assert {side: len(ids) for side, ids in split.sides.items()} == {
        "train": 32, "valid": 4, "test": 4,
    }  # fmt: skip
    assert (split.by, split.shares, split.seed, split.left_out) == ("scenario", SHARES, 0, ())
    where = {name: side for side, ids in split.sides.items() for name in ids}
    talks = read_episodes(corpus)
    groups: dict[str, set[str]] = {}
    for name, group in zip(talks.ids, scenario_groups(talks), strict=True):
        groups.setdefault(group, set()).add(where[name])
    assert all(len(sides) == 1 for sides in groups.values())


def test_a_seed_gives_the_same_sides_for_ever(corpus: Path) -> None:
    split = split_corpus(corpus, shares=SHARES)
    assert split.sides["test"] == GOLDEN
    assert split_corpus(corpus, shares=SHARES) == split
    with pytest.raises(RunError, match=r"split\.json is another split"):
        split_corpus(corpus, shares=SHARES, seed=1)
    assert split_corpus(corpus, shares=SHARES, seed=1, replace=True).sides["test"] != GOLDEN


def test_by_dialogue_scenarios_are_parted_and_that_is_said(corpus: Path) -> None:
    found = run("split", corpus, "--shares", "train=0.5,test=0.5", "--by", "dialogue")
    assert found.exit_code == 0, found.output
    assert "scenarios are told on more than one side" in found.output
    split = read_split(corpus / "split.json")
    assert [len(ids) for ids in split.sides.values()] == [20, 20]


def test_a_published_list_is_taken_as_it_is(corpus: Path, tmp_path: Path) -> None:
    """The rest is drawn; what tells a scenario of the list is on no side."""
    (tmp_path / "ids.txt").write_text("# published\ns3\n\ns7~2\n", "utf-8")
    split = split_corpus(
        corpus, shares={"train": 0.5, "valid": 0.5}, ids={"test": tmp_path / "ids.txt"}
    )
    assert split.sides["test"] == ("s3", "s7~2")
    assert split.left_out == ("s3~2", "s7")
    assert (len(split.sides["train"]), len(split.sides["valid"])) == (18, 18)
    assert split.lists == {"test": "ids.txt"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("s3\ns99\n", r"line 2.*no dialogue of the corpus has the id 's99'"),
        ("s3\n\ns3\n", r"line 3.*stands in line 1 already"),
        ("# none\n", "holds no id"),
    ],
)
def test_a_faulty_list_is_named(corpus: Path, tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "ids.txt"
    file.write_text(text, "utf-8")
    with pytest.raises(DataError, match=told):
        split_corpus(corpus, ids={"test": file})
    assert not (corpus / "split.json").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "nothing says how to divide"),
        (("--shares", "train=0.8,test=0.1"), "shares sum to 0.9, not 1"),
        (("--shares", "train=0.8,te/st=0.2"), "'te/st' cannot name a side"),
        (("--shares", "train=a,test=0.2"), "the share of 'train' is no number"),
        (("--shares", "train=0.99,test=0.01"), "the side 'test' would be empty"),
        (("--ids", "test"), "'test' is not SIDE=VALUE"),
    ],
)
def test_sides_that_cannot_be_made(corpus: Path, words: tuple[str, ...], told: str) -> None:
    with pytest.raises((ConfigError, DataError)) as error:
        runner.invoke(app, ["split", str(corpus), *words], catch_exceptions=False)
    assert told in str(error.value)


def test_every_reader_takes_a_side(corpus: Path, tmp_path: Path) -> None:
    split = split_corpus(corpus, shares=SHARES)
    named = f"{corpus}:test"
    want = list(split.sides["test"])
    assert [e.id for e in read_episodes(named)] == want
    assert [e.id for e in iter_episodes(Path(named))] == want
    assert [e.id for e in latest_episodes(named)] == want
    assert [e.id for e in attempts_of(named, {want[0], split.sides["train"][0]})] == want[:1]
    assert log_files(named) == [corpus / "episodes.jsonl"]
    assert [e.id for e in read_episodes(f"{corpus}/episodes.jsonl:test")] == want
    assert [s.id for s in scenarios_at(named)] == want
    episodes, [source] = load_episodes([named])
    assert (episodes.ids, source.name, source.items) == (want, "corpus:test", 4)
    assert set(source.sha256) == {"episodes.jsonl", "split.json:test"}
    _, [whole] = load_episodes([str(corpus)])
    assert set(whole.sha256) == {"episodes.jsonl"}


def test_retries_of_a_side_come_as_they_do_of_a_log(tmp_path: Path) -> None:
    log = write(tmp_path / "log", [episode("a"), episode("b"), episode("a"), episode("c")])
    split_corpus(log, ids={"test": _list(tmp_path, "a", "c")})
    assert [e.id for e in iter_episodes(f"{log}:test")] == ["a", "a", "c"]
    assert [e.id for e in read_episodes(f"{log}:test")] == ["a", "c"]


def _list(folder: Path, *names: str) -> Path:
    (folder / "list.txt").write_text("\n".join(names), "utf-8")
    return folder / "list.txt"


def test_a_folder_with_a_colon_is_a_folder(tmp_path: Path) -> None:
    folder = write(tmp_path / "a:b", [episode("x"), episode("y")])
    assert read_episodes(folder).ids == ["x", "y"]
    split_corpus(folder, ids={"test": _list(tmp_path, "y")})
    assert read_episodes(f"{folder}:test").ids == ["y"]
    write(tmp_path / "a", [episode("z")])
    assert read_episodes(folder).ids == ["x", "y"]
    split_corpus(tmp_path / "a", ids={"b": _list(tmp_path, "z")})
    with pytest.raises(DataError, match="is a path and may be the side 'b'"):
        read_episodes(folder)


def test_what_is_not_there_is_one_sentence(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no split there, so it has no sides"):
        read_episodes(f"{corpus}:test")
    split_corpus(corpus, shares=SHARES)
    with pytest.raises(DataError, match=r"no side 'tset'; it has train, valid, test\n.*'test'"):
        read_episodes(f"{corpus}:tset")
    with pytest.raises(DataError, match="no episode log there"):
        read_episodes(f"{tmp_path}/nowhere:test")


def test_a_split_that_no_longer_fits_is_refused(corpus: Path) -> None:
    split_corpus(corpus, shares=SHARES)
    with (corpus / "episodes.jsonl").open("a", encoding="utf-8") as log:
        log.write(episode("new").to_json() + "\n")
    with pytest.raises(DataError, match=r"does not fit .*: 1 dialogues were added since \(new\)"):
        read_episodes(f"{corpus}:test")
    assert len(read_episodes(corpus)) == 41


def test_a_split_changed_by_hand_is_refused(corpus: Path) -> None:
    split_corpus(corpus, shares=SHARES)
    file = corpus / "split.json"
    data = json.loads(file.read_text("utf-8"))
    data["sides"]["test"].append(data["sides"]["train"].pop())
    file.write_text(json.dumps(data), "utf-8")
    with pytest.raises(DataError, match="its sides were changed after it was made"):
        read_episodes(f"{corpus}:test")


@pytest.mark.parametrize("words", [("clean",), ("review", "start"), ("split", "--by", "dialogue")])
def test_work_on_a_whole_corpus_refuses_a_side(corpus: Path, words: tuple[str, ...]) -> None:
    split_corpus(corpus, shares=SHARES)
    with pytest.raises(DataError, match="is about a whole corpus, not the side 'test'"):
        runner.invoke(app, [*words, f"{corpus}:test"], catch_exceptions=False)


def test_an_export_follows_the_stored_sides(tmp_path: Path) -> None:
    talks = [recorded(f"esconv-{n}", "esconv") for n in range(10)]
    corpus = write(tmp_path / "corpus", talks)
    split = split_corpus(
        corpus, shares={"train": 0.5, "dev": 0.5}, ids={"test": _list(tmp_path, "esconv-4")}
    )
    licences = {"accept_licences": ["unknown"]}
    report = export_corpus(corpus, tmp_path / "out", format="dialogues", **licences)
    assert report.dialogues == {side: len(ids) for side, ids in split.sides.items()}
    rows = (tmp_path / "out/data/test.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(row)["id"] for row in rows] == ["esconv-4"]
    assert "stored sides of the corpus" in (tmp_path / "out/README.md").read_text("utf-8")
    one = export_corpus(f"{corpus}:test", tmp_path / "one", format="dialogues", **licences)
    assert (one.dialogues, one.left_out) == ({"test": 1}, {"on another side of the split": 9})
    with pytest.raises(ConfigError, match="divides this corpus already, so seed would change"):
        export_corpus(corpus, tmp_path / "two", format="dialogues", seed=3, **licences)


def test_a_place_says_what_it_names(corpus: Path) -> None:
    split_corpus(corpus, shares=SHARES)
    place = place_of(f"{corpus}:test")
    assert (place.path, place.side, place.name, place.folder) == (
        corpus, "test", "corpus:test", corpus,
    )  # fmt: skip
