"""Exports as folders: what `datasets` reads, what the card says, what is refused."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from warmline.agents.templates import PromptTemplate
from warmline.core.errors import ConfigError, DataError, RunError
from warmline.core.files import hold
from warmline.environments.corpus.cleaning.filters.duplicates import NearDuplicates
from warmline.environments.corpus.exporting import card
from warmline.environments.corpus.exporting.card import MARK, front_matter
from warmline.environments.corpus.exporting.export import dataset_of, export_corpus
from warmline.environments.corpus.exporting.files import arrow_schema
from warmline.environments.corpus.exporting.rows import rows_of
from warmline.environments.corpus.exporting.settings import ExportSettings
from warmline.environments.corpus.review.review import EDITED, Verdict
from warmline.environments.corpus.review.store import ReviewStore
from warmline.environments.corpus.sources import Source, write_sources
from warmline.environments.corpus.tags import Finding, Severity, Tags, content_digest
from warmline.environments.dialogue.environment import SupportEnvironment
from warmline.environments.episodes.episode import Call, Episode, EpisodeError, StopReason
from warmline.environments.episodes.log import read_episodes
from warmline.environments.runs.runner import run_batch
from warmline.environments.scenarios.scenario import Origin
from warmline.policies.safety import DISCLAIMER

from ...helpers import scenarios, talk
from ..reviewed import LINES, episode, recorded, write_corpus

datasets = pytest.importorskip("datasets", reason="the extra 'data' is not installed")
yaml = pytest.importorskip("yaml", reason="comes with the extra 'data'")

FORMATS = ["messages", "prompt_completion", "sharegpt", "dialogues", "parquet", "hub"]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Forty dialogues about twenty scenarios, Unicode and empty labels in them."""
    talks = [episode(f"s{n}{'~2' * (k == 2)}") for n in range(20) for k in (1, 2)]
    unlabelled = episode("plain", ("seeker", "Hi \u2028 \U0001f600"), ("supporter", "Hello."))
    return write_corpus(tmp_path / "corpus", [*talks, unlabelled])


def load(folder: Path, cache: Path) -> Any:
    return datasets.load_dataset(str(folder), cache_dir=str(cache))


def front(folder: Path) -> dict[str, Any]:
    """The card's front matter, read by a YAML parser."""
    _, head, _ = (folder / "README.md").read_text("utf-8").split("---\n", 2)
    return dict(yaml.safe_load(head))


def sums(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def write_tags(folder: Path, episodes: list[Episode], **findings: Finding) -> None:
    lines = [
        Tags(e.id, content_digest(e), "c", tuple(filter(None, [findings.get(e.id)]))).to_json()
        for e in episodes
    ]
    (folder / "tags.jsonl").write_text("".join(line + "\n" for line in lines), "utf-8")


@pytest.mark.parametrize("form", FORMATS)
def test_load_dataset_reads_the_folder_and_gives_the_same_rows(
    form: str, corpus: Path, tmp_path: Path
) -> None:
    settings = ExportSettings(format=form)
    report = export_corpus(corpus, tmp_path / "out", settings)
    read = load(tmp_path / "out", tmp_path / "cache")
    assert {name: len(rows) for name, rows in read.items()} == report.rows
    expected = [
        row
        for one in read_episodes(corpus)
        for row in rows_of(one, settings.shape, **settings.row_options())
    ]

    def text(rows: Any) -> list[str]:
        return sorted(json.dumps(row, ensure_ascii=False, sort_keys=True) for row in rows)

    assert text(row for rows in read.values() for row in rows) == text(expected)
    assert any("二十年了" in line and "😔" in line for line in text(expected))
    in_memory = dataset_of(corpus, settings)
    assert {name: list(rows) for name, rows in in_memory.items()} == {
        name: list(rows) for name, rows in read.items()
    }
    assert front(tmp_path / "out")["configs"][0]["config_name"] == "default"


def test_splits_hold_whole_scenarios_and_every_dialogue_once(corpus: Path, tmp_path: Path) -> None:
    export_corpus(
        corpus, tmp_path / "out", format="dialogues", train=0.5, validation=0.25, test=0.25
    )
    side: dict[str, str] = {}
    for path in sorted((tmp_path / "out" / "data").glob("*.jsonl")):
        for line in path.read_text("utf-8").split("\n")[:-1]:
            root = json.loads(line)["id"].split("~")[0]
            assert side.setdefault(root, path.stem) == path.stem
    assert len(side) == 21
    assert set(side.values()) == {"train", "validation", "test"}


@pytest.mark.parametrize("form", FORMATS)
def test_equal_corpora_give_equal_bytes(form: str, corpus: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        export_corpus(corpus, tmp_path / name, format=form)
    assert sums(tmp_path / "one") == sums(tmp_path / "two")
    assert len(sums(tmp_path / "one")) > 1


def test_lines_are_utf8_not_escapes(corpus: Path, tmp_path: Path) -> None:
    export_corpus(corpus, tmp_path / "out", train=1, validation=0, test=0)
    written = (tmp_path / "out" / "data" / "train.jsonl").read_text("utf-8")
    assert "My café closed on Monday 😔" in written
    assert "\\u" not in written


def test_the_share_of_dialogues_in_crisis_is_reported(tmp_path: Path) -> None:
    grave = episode("a", ("seeker", "I want to kill myself."), ("supporter", "Stay with me."))
    folder = write_corpus(tmp_path / "c", [grave, *(episode(name) for name in "bcd")])
    export_corpus(folder, tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "in 1 of 4 dialogues (25.0 %): suicide 1" in text


def test_the_shapes_are_the_ones_that_trl_knows(corpus: Path, tmp_path: Path) -> None:
    data_utils = pytest.importorskip("trl.data_utils", reason="TRL is not installed")
    for form in ("messages", "prompt-completion"):
        row = dataset_of(corpus, format=form)["train"][0]
        assert data_utils.is_conversational(row)
    row = dataset_of(corpus, format="sharegpt")["train"][0]
    assert data_utils.maybe_convert_to_chatml(row)["messages"][0]["content"] == LINES[0][1]


def test_private_columns_are_in_hub_by_default_and_elsewhere_on_demand(
    corpus: Path, tmp_path: Path
) -> None:
    assert "profile" in dataset_of(corpus, format="hub")["train"].column_names
    assert "profile" not in dataset_of(corpus, format="parquet")["train"].column_names
    assert "profile" not in dataset_of(corpus, format="hub", scenario=False)["train"].column_names
    asked = dataset_of(corpus, format="messages", scenario=True)["train"]
    assert asked[0]["profile"] == "Ada, 44, runs a café"
    assert "runs a café" not in json.dumps(asked[0]["messages"], ensure_ascii=False)


@pytest.mark.parametrize("shape", ["messages", "prompt_completion", "sharegpt", "dialogues"])
@pytest.mark.parametrize("more", [False, True])
def test_the_column_types_fit_the_rows(shape: str, more: bool) -> None:
    row = rows_of(episode("e"), shape, ids=more, scenario=more)[0]
    assert arrow_schema(shape, ids=more, scenario=more).names == list(row)


# What goes in


def test_failed_and_retried_episodes(tmp_path: Path) -> None:
    error = EpisodeError(type="EngineTimeout", message="late", role="seeker")
    failed = episode("a", stop=StopReason.ERROR, error=error)
    again = episode("b", stop=StopReason.ERROR, error=error)
    folder = write_corpus(
        tmp_path / "c", [failed, again, episode("b"), episode("c", stop="judger")]
    )
    report = export_corpus(folder, tmp_path / "out")
    assert sum(report.dialogues.values()) == 2
    assert report.left_out == {"ended in an error": 1}
    assert "1 ended in an error" in (tmp_path / "out" / "README.md").read_text("utf-8")


def test_cleanings_tags_are_followed_and_may_be_overruled(tmp_path: Path) -> None:
    talks = [episode(name) for name in ("a", "b", "c")]
    folder = write_corpus(tmp_path / "c", talks)
    write_tags(
        folder,
        talks,
        a=Finding("loops", Severity.DROP, "says it again"),
        b=Finding("closings", Severity.TRIM, "thanks again", 5, edited="Walk."),
    )

    def texts(**settings: Any) -> dict[str, str]:
        made = dataset_of(folder, format="dialogues", train=1, validation=0, test=0, **settings)
        return {row["id"]: row["dialogue"][-1]["text"] for row in made["train"]}

    full = LINES[-1][1]
    assert texts() == {"b": "Walk.", "c": full}
    assert texts(ignore=("loops",)) == {"a": full, "b": "Walk.", "c": full}
    assert texts(also_drop=("closings",)) == {"c": full}
    assert texts(clean=False) == {"a": full, "b": full, "c": full}


def test_near_duplicates_kept_on_purpose_stay_with_their_first(tmp_path: Path) -> None:
    pytest.importorskip("datasketch", reason="the extra 'data' is not installed")
    filler = " ".join(f"word{number}" for number in range(60))
    lines = [("seeker", f"It rained. {filler}"), ("supporter", f"I hear you. {filler}")]
    talks = [recorded(f"x{number}", "mine", *lines) for number in range(12)]
    finder = NearDuplicates()
    folder = write_corpus(tmp_path / "c", talks)
    found = {one.id: next(iter(finder.examine(one)), None) for one in talks}
    assert sum(finding is not None for finding in found.values()) == 11
    write_tags(folder, talks, **found)
    write_sources(folder, [Source(name="mine", licence="MIT")])
    made = dataset_of(folder, ignore=("near_duplicates",), train=0.4, validation=0.3, test=0.3)
    assert [len(rows) for rows in made.values()] == [12]


def test_review_decides_and_its_edits_are_in_the_text(corpus: Path, tmp_path: Path) -> None:
    with ReviewStore(corpus, create=True) as store:
        store.start(required=1)
        store.enrol(read_episodes(corpus))
        store.edit("s0", "ada", 1, "What pulls you back?", version=0)
        store.decide("s0", "ada", Verdict.APPROVE, version=1)
        store.decide("s1", "ada", Verdict.REJECT, version=0, reason="glib")
    report = export_corpus(corpus, tmp_path / "all")
    assert sum(report.dialogues.values()) == 40
    assert report.left_out == {"rejected in review": 1}
    only = dataset_of(corpus, format="dialogues", only_reviewed=True)
    ((row,),) = only.values()
    assert (row["id"], row["dialogue"][1]["text"]) == ("s0", "What pulls you back?")
    text = (tmp_path / "all" / "README.md").read_text("utf-8")
    assert (
        "Of 41 dialogues under review 1 are approved, 1 rejected, 39 pending; 1 were edited" in text
    )
    assert "Pending dialogues are in this export." in text
    assert f"{EDITED} 1" in text


def test_a_text_that_reviewers_never_saw_is_refused(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path / "c", [episode("a")])
    with ReviewStore(folder, create=True) as store:
        store.start(required=1)
        store.enrol([episode("a", ("seeker", "Another text."), ("supporter", "Yes."))])
        store.decide("a", "ada", Verdict.APPROVE, version=0)
    with pytest.raises(DataError, match="'a' is not the text that reviewers saw"):
        export_corpus(folder, tmp_path / "out")


# Licences


def test_sources_are_not_mixed_silently_and_the_card_carries_the_strictest_terms(
    tmp_path: Path,
) -> None:
    research = "CC-BY-NC-4.0 AND research-only"
    folder = write_corpus(tmp_path / "c", [recorded("a", "esconv"), recorded("b", "smilechat")])
    write_sources(
        folder,
        [
            Source(name="esconv", licence=research, sha256="ab" * 32, dropped={"too short": 3}),
            Source(name="smilechat", licence="CC0-1.0"),
        ],
    )
    with pytest.raises(ConfigError, match=r"esconv: CC-BY-NC-4\.0 AND research-only"):
        export_corpus(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(ConfigError, match="smilechat"):
        dataset_of(folder)
    accepted = ("esconv", "smilechat")
    report = export_corpus(folder, tmp_path / "out", accept_licences=accepted)
    assert report.licence.id == research
    text = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert f"Terms of the whole: **{research}**" in text
    assert "ab" * 32 in text
    assert "3 dropped: too short" in text
    assert front(tmp_path / "out")["license"] == "other"


def test_an_unrecorded_source_is_unknown(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path / "c", [recorded("a", "found_online")])
    with pytest.raises(ConfigError, match="found_online: unknown"):
        export_corpus(folder, tmp_path / "out")
    export_corpus(folder, tmp_path / "out", accept_licences=("found_online",))
    assert front(tmp_path / "out")["license"] == "unknown"


def test_what_was_simulated_after_a_source_carries_its_terms(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path / "c", [episode("a")])
    assert export_corpus(folder, tmp_path / "seeds").licence.id == "Apache-2.0"
    write_sources(folder, [Source(name="esconv", licence="CC-BY-NC-4.0")])
    assert export_corpus(folder, tmp_path / "after").licence.id == "CC-BY-NC-4.0"
    with pytest.raises(ConfigError, match=r"simulated here: CC-BY-4\.0"):
        export_corpus(folder, tmp_path / "own", licence="CC-BY-4.0")


def test_own_scenarios_need_a_licence_from_their_author(tmp_path: Path) -> None:
    own = episode("a")
    own = own.model_copy(update={"scenario": own.scenario.model_copy(update={"source": ""})})
    folder = write_corpus(tmp_path / "c", [own])
    with pytest.raises(ConfigError, match="from your own scenarios: unknown"):
        export_corpus(folder, tmp_path / "out")
    assert export_corpus(folder, tmp_path / "out", licence="CC-BY-4.0").licence.id == "CC-BY-4.0"


# The card


async def test_the_card_of_a_simulated_run_says_how_it_was_made(tmp_path: Path) -> None:
    policy = talk(seeker=["I want to kill myself.", "No."])
    environment = SupportEnvironment(seeker=policy, supporter=policy, max_turns=4)
    await run_batch(environment, scenarios(3), out=tmp_path / "run", seed=1)
    export_corpus(tmp_path / "run", tmp_path / "out", licence="CC-BY-4.0", languages=("en",))
    text = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "| seeker | seeker.jinja | `" in text
    assert "| supporter | scripted" in text
    assert "hash of the weights" not in text, "a script has none"
    assert "in 3 of 3 dialogues (100.0 %): suicide 3" in text
    assert "EmoCare (published)" in text
    assert "2,574" in text
    assert DISCLAIMER in text
    assert str(tmp_path) not in text, "no path of this machine"
    assert front(tmp_path / "out")["language"] == ["en"]
    assert front(tmp_path / "out")["license"] == "cc-by-4.0"
    assert "synthetic" in front(tmp_path / "out")["tags"]


def test_a_person_in_a_seat_is_reported(tmp_path: Path) -> None:
    calm = episode("b")
    seated = episode("a", calls=(Call("seeker", "human", (0,), text="x"),))
    export_corpus(write_corpus(tmp_path / "c", [seated, calm]), tmp_path / "out")
    assert "A person typed in 1 of the dialogues" in (tmp_path / "out" / "README.md").read_text()


def test_front_matter_survives_names_with_yaml_in_them() -> None:
    fields = {"pretty_name": 'yes: "#" – no\n- x', "tags": ["on", "1.0"], "n": [{"a": 1, "b": []}]}
    _, head, rest = front_matter(fields).split("---\n")
    assert (yaml.safe_load(head), rest) == ({**fields, "n": [{"a": 1, "b": None}]}, "")


# Refusals


def test_nothing_is_overwritten_unless_it_is_an_export_and_force_is_given(
    corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    export_corpus(corpus, out, format="sharegpt")
    before = sums(out)
    with pytest.raises(RunError, match="exists"):
        export_corpus(corpus, out)
    assert sums(out) == before
    export_corpus(corpus, out, force=True)
    assert sums(out) != before
    assert MARK in (out / "README.md").read_text("utf-8")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    (mine / "README.md").write_text("# My own folder")
    with pytest.raises(RunError, match="is not an earlier export, so it is not replaced"):
        export_corpus(corpus, mine, force=True)
    assert (mine / "thesis.txt").read_text() == "years of work"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus", "mine", "out"]


def test_a_kill_while_writing_leaves_no_half_export(corpus: Path, tmp_path: Path) -> None:
    script = (
        "import os, sys\n"
        "from warmline.environments.corpus.exporting import export, files\n"
        "write = files.JsonlFile.write\n"
        "def dying(self, row):\n"
        "    write(self, row)\n"
        "    os.kill(os.getpid(), 9)\n"
        "files.JsonlFile.write = dying\n"
        "export.export_corpus(sys.argv[1], sys.argv[2])\n"
    )
    command = [sys.executable, "-c", script, str(corpus), str(tmp_path / "out")]
    assert subprocess.run(command, check=False).returncode == -9
    assert not (tmp_path / "out").exists()
    [left] = tmp_path.glob(".out.*.partial")
    long_ago = left.stat().st_mtime - 60
    os.utime(left, (long_ago, long_ago))
    export_corpus(corpus, tmp_path / "out")
    assert not list(tmp_path.glob(".out.*")), "the next start cleans up"


def test_what_another_process_is_writing_is_left_alone(corpus: Path, tmp_path: Path) -> None:
    other = tmp_path / ".out.1.partial"
    other.mkdir()
    os.utime(other, (0, 0))
    descriptor = os.open(other, os.O_RDONLY)
    hold(descriptor)
    export_corpus(corpus, tmp_path / "out")
    os.close(descriptor)
    assert other.is_dir()


def test_an_export_set_aside_by_a_killed_replacement_comes_back(
    corpus: Path, tmp_path: Path
) -> None:
    export_corpus(corpus, tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / ".out.1.old")
    with pytest.raises(RunError, match="is there already"):
        export_corpus(corpus, tmp_path / "out")
    assert (tmp_path / "out" / "README.md").is_file()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"format": "mesages"}, "messages"),
        ({"train": 0.9}, "must sum to 1: train 0.9, validation 0.1, test 0.1"),
        ({"history": 4}, "history belongs to prompt-completion; the format is messages"),
        (
            {"format": "llamafactory"},
            "parquet, hub; other trainers read messages: docs/exporting.md",
        ),
        ({"format": "hub", "strategy": True}, "has a strategy column already"),
        ({"clean": False, "ignore": ("loops",)}, "clean is off"),
        ({"licence": "MIT", "sed": 3}, "seed"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    settings: dict[str, Any], message: str, corpus: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        export_corpus(corpus, tmp_path / "out", **settings)


def test_what_was_never_done_is_not_followed(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="was never cleaned"):
        export_corpus(corpus, tmp_path / "out", ignore=("loops",))
    with pytest.raises(DataError, match="no review was started"):
        export_corpus(corpus, tmp_path / "out", only_reviewed=True)
    with pytest.raises(DataError, match="no episode log"):
        export_corpus(tmp_path / "nowhere", tmp_path / "out")
    quiet = write_corpus(tmp_path / "quiet", [episode("a", ("seeker", "Hello?"))])
    with pytest.raises(DataError, match="nothing is left to export"):
        export_corpus(quiet, tmp_path / "out")


def test_filters_and_licences_that_are_not_there_are_reported(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path / "c", [recorded("a", "esconv"), recorded("b", "mine")])
    write_sources(
        folder, [Source(name="esconv", licence="CC-BY-NC-4.0"), Source(name="gone", licence="MIT")]
    )
    finding = Finding("mine_own", Severity.FLAG, "x")
    tags = [Tags(e.id, content_digest(e), "c", (finding,)) for e in read_episodes(folder)]
    (folder / "tags.jsonl").write_text("".join(t.to_json() + "\n" for t in tags), "utf-8")
    both = {"accept_licences": ("esconv", "mine")}
    for name in ("lenght", "role_jugde"):
        with pytest.raises(ConfigError, match=r"did you mean '(length|role_judge)'"):
            export_corpus(folder, tmp_path / "out", ignore=(name,), **both)
    with pytest.raises(ConfigError, match=r"(?s)named 'esconf'.*mean 'esconv'"):
        export_corpus(folder, tmp_path / "out", accept_licences=("esconf", "mine"))
    # a filter that left findings, a source that no dialogue comes from, a licence in small letters
    accepted = {"accept_licences": ("cc-by-nc-4.0", "mine", "gone")}
    report = export_corpus(folder, tmp_path / "out", ignore=("mine_own", "length"), **accepted)
    assert report.left_out == {}


def test_a_card_of_imported_conversations_does_not_say_that_models_wrote_them(
    tmp_path: Path,
) -> None:
    folder = write_corpus(tmp_path / "c", [recorded("a", "esconv")])
    write_sources(folder, [Source(name="esconv", licence="CC-BY-NC-4.0")])
    export_corpus(folder, tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "generated by language models" not in text
    assert "must not stand in for help from people" in text


def test_a_build_names_the_prompts_that_wrote_its_scenarios(tmp_path: Path) -> None:
    shipped = Path(card.__file__).parents[1] / "generation" / "templates" / "scenario.jinja"
    sha = PromptTemplate(shipped).sha256
    generator = {"scenario_template": sha, "profile_template": "f" * 64}
    (tmp_path / "config.toml").write_text(tomli_w.dumps({"identity": {"generator": generator}}))
    assert card.prompts_of(tmp_path) == [
        ("scenario writer", "scenario.jinja", sha[:16]),
        ("profile writer", "own template", "f" * 16),
    ]


def test_models_are_named_without_where_they_stand(tmp_path: Path) -> None:
    seats = {
        "seeker": {
            "model": "/models/tiny-7b",
            "base_url": "http://10.0.0.1/v1",
            "policy": "openai",
        },
        "supporter": {
            "model": "tiny",
            "source_sha256": "a" * 64,
            "engine": "torch 2",
            "adapters": [{"name": "mine", "sha256": "b" * 64}],
        },
    }
    (tmp_path / "config.toml").write_text(tomli_w.dumps({"identity": seats}))
    assert card.models_of(tmp_path) == [
        ("seeker", "tiny-7b", "", "openai"),
        ("supporter", "tiny with mine", "a" * 16, "torch 2"),
    ]
    (tmp_path / "config.toml").write_text("[identity")
    with pytest.raises(DataError, match="not TOML"):
        card.models_of(tmp_path)


def test_generated_scenarios_are_distinguished_from_written_ones(tmp_path: Path) -> None:
    first, second = episode("a"), episode("b")
    origin = Origin(depth=2, round=1, attempt=1, written_by="openai:m", profile_by="drawn")
    second = second.model_copy(
        update={
            "scenario": second.scenario.model_copy(
                update={"origin": origin, "source": "generated: openai:m"}
            )
        }
    )
    export_corpus(write_corpus(tmp_path / "c", [first, second]), tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "(0: not generated here): 0: 1, 2: 1." in text
    assert "* situations by openai:m: 1" in text
    assert "* profiles by drawn: 1" in text
    assert "* 1 dialogues play scenarios of Warmline's seed pool" in text
