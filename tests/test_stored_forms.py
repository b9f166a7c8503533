"""Records that version 0.1 wrote still load, and what it began goes on, with nothing asked twice.

`stored/forms.py` has the commands, `stored/make.py` made the folders. A change that means to change a
record's identity (a prompt's template, say) makes a run that was begun before refused: then the form
gets an `other`, the words that the refusal must say.
"""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import warmline
from warmline.cli import app
from warmline.core.errors import RunError
from warmline.environments.corpus import ReviewStore, read_sources
from warmline.environments.corpus.tags import iter_tags
from warmline.environments.episodes.rating import iter_ratings
from warmline.environments.scenarios import seed_pool
from warmline.evaluation.replies.reply import iter_replies
from warmline.policies.base import Message, Request, Sampling, close_policy, open_policy
from warmline.training.candidates.rows import iter_candidates
from warmline.training.evolution.evolve import read_state
from warmline.training.loop.checkpoint import read_checkpoint
from warmline.training.preferences.build import iter_pairs
from warmline.training.preferences.reflection import iter_calls
from warmline.training.rows import build

from .stored.forms import (
    ARCHIVE,
    CORPORA,
    EXPORTS,
    REPRODUCTION,
    RUNS,
    STOPPED,
    TALKING,
    TRAININGS,
    Form,
)

DESK = import_module(TALKING.partition(":")[0]).DESK
"""Of the module that the commands import: by its own name, which differs from a relative one's."""

STORED = Path(__file__).parent / "stored" / "v0_1"
BEGUN_IDS = ["anger-management-issues-1", "sexual-orientation-3", "culture-shock-2",
             "addictive-behaviors-2"]  # fmt: skip

BEGUN = next(form for form in RUNS if form.name == "run begun")
CACHED = next(form for form in RUNS if form.name == "run with a cache")
CLEANING = next(form for form in CORPORA if form.name == "tags")
ALL = [*RUNS, *CORPORA, *TRAININGS, *STOPPED]
by_name = pytest.mark.parametrize("form", ALL, ids=lambda form: form.name.replace(" ", "-"))
claiming = pytest.mark.parametrize(
    "form", [f for f in ALL if f.changed], ids=lambda form: form.name.replace(" ", "-")
)


@pytest.fixture(scope="session")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All records, unpacked once."""
    folder = tmp_path_factory.mktemp("stored") / "all"
    shutil.copytree(STORED, folder)
    with tarfile.open(folder / ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="session")
def small_pool() -> tuple[dict[str, Any], ...]:
    """The pool of version 0.1: of each problem type three scenarios and one dialogue."""
    return tuple(
        kind | {"scenario": kind["scenario"][:3], "dialogue": kind["dialogue"][:1]}
        for kind in seed_pool._files()
    )


def forget() -> None:
    """Have everything that was made of the seed pool made again."""
    for made in (seed_pool._scenarios, seed_pool._dialogues, build._cases):
        made.cache_clear()


@pytest.fixture
def place(
    records: Path,
    small_pool: tuple[dict[str, Any], ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Path]:
    """A copy of the records, in which the commands run, with the seed pool that they were made with."""
    monkeypatch.setattr(seed_pool, "_files", cache(lambda: small_pool))
    forget()
    copy = tmp_path / "copy"
    shutil.copytree(records, copy)
    monkeypatch.chdir(copy)
    DESK.reset()
    yield copy
    DESK.reset()
    monkeypatch.undo()
    forget()


def run(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


def lasting(folder: Path) -> dict[str, bytes]:
    """What a finished command must leave as it is: journals, logs, weights and marks."""
    names = ("*.jsonl", "*.safetensors", "checkpoint.json", "sources.json")
    files = [f for name in names for f in folder.rglob(name)] if folder.is_dir() else [folder]
    return {str(file): file.read_bytes() for file in files}


# Resuming


@by_name
def test_a_stored_command_goes_on_and_asks_nothing_twice(form: Form, place: Path) -> None:
    if form.out == "talks":
        shutil.rmtree("talks")  # an import is made anew, and must be what it was
    finished = form.left is None and not form.interrupted
    before = lasting(Path(form.out)) if form.out != "talks" else lasting(STORED / "talks")
    old = {name: Path(name).read_bytes() for name in form.journals}
    result = run(*form.command)
    assert result.exit_code == 0, f"{result.exception!r}\n{result.output}"
    assert len(DESK.asked) == form.rest
    if form.interrupted:
        assert "resuming from step 2" in result.output, result.output
        log = Path(form.out, "training_log.jsonl").read_text("utf-8").splitlines()
        assert [json.loads(line)["step"] for line in (log[0], log[-1])] == [0, 12]
    for name, text in old.items():
        assert Path(name).read_bytes().startswith(text), name
    after = lasting(Path(form.out))
    if finished:
        assert list(after.values()) == list(before.values())
    else:
        assert after != before
    DESK.reset()
    if form.out != "talks":
        assert run(*form.command).exit_code == 0
    assert DESK.asked == []
    assert lasting(Path(form.out)) == after


@claiming
def test_another_setting_is_refused(form: Form, place: Path) -> None:
    before = lasting(Path(form.out))
    result = run(*form.command, *form.changed)
    assert isinstance(result.exception, RunError), result.output
    assert "->" in result.exception.message
    assert DESK.asked == []
    assert lasting(Path(form.out)) == before


def test_a_reproduction_goes_on_behind_its_mark(place: Path) -> None:
    mark = Path("reproduction/01-first/done.json").read_bytes()
    result = run(*REPRODUCTION.command)
    assert result.exit_code == 0, result.output
    assert "The first run: done before" in result.output
    assert Path("reproduction/02-second/done.json").is_file()
    assert Path("reproduction/01-first/done.json").read_bytes() == mark
    other = Path("two.toml").read_text().replace("--max-turns 2", "--max-turns 4")
    Path("two.toml").write_text(other)
    assert isinstance(run(*REPRODUCTION.command).exception, RunError)


# Reading


@pytest.mark.parametrize(
    "name", ["run", "other", "run-begun", "run-cached", "build", "talks", "evolve/held-out"]
)
def test_episodes_load_and_are_written_as_they_were(name: str, place: Path) -> None:
    lines = Path(name, "episodes.jsonl").read_text("utf-8").splitlines()
    found = warmline.read_episodes(name)
    assert [episode.to_json() for episode in found] == lines
    assert all(episode.utterances for episode in found)


def test_a_failed_episode_is_played_again_only_when_asked(place: Path) -> None:
    found = warmline.read_episodes("run-begun")
    assert [episode.id for episode in found] == BEGUN_IDS
    assert [episode.stop.value for episode in found] == ["turn_limit", "error", *["turn_limit"] * 2]
    assert found[1].error is not None
    assert found[1].error.type == "BadRequest"
    assert run(*BEGUN.command, "--retry-failed").exit_code == 0
    assert len(DESK.asked) == BEGUN.rest + 8
    assert {episode.stop.value for episode in warmline.read_episodes("run-begun")} == {"turn_limit"}


def test_the_same_seed_gives_the_stored_episodes(place: Path) -> None:
    stored = {episode.id: episode.content() for episode in warmline.read_episodes("run")}
    assert run(*RUNS[0].command, "--out", "again").exit_code == 0
    assert {e.id: e.content() for e in warmline.read_episodes("again")} == stored


@pytest.mark.parametrize(("file", "kinds"), [
    ("run/ratings.jsonl", {"judge"}),
    ("run/comparisons.jsonl", {"judge"}),
    ("fpemf/candidates/ratings.jsonl", {"scorer"}),
])  # fmt: skip
def test_ratings_load_and_are_written_as_they_were(file: str, kinds: set[str], place: Path) -> None:
    found = list(iter_ratings(file))
    assert [rating.to_json() for rating in found] == Path(file).read_text("utf-8").splitlines()
    assert {rating.kind for rating in found} == kinds


def test_replies_calls_candidates_and_pairs_are_written_as_they_were(place: Path) -> None:
    readers: dict[str, Any] = {
        "evaluation/replies.jsonl": iter_replies,
        "pairs/replies/calls.jsonl": iter_calls,
        "evolve/round-1/replies/calls.jsonl": iter_calls,
        "pairs/pairs/pairs.jsonl": iter_pairs,
        "fpemf/candidates/candidates.jsonl": iter_candidates,
        "fpemf-drawing/candidates/candidates.jsonl": iter_candidates,
    }
    for file, read in readers.items():
        lines = Path(file).read_text("utf-8").splitlines()
        assert [each.to_json() for each in read(file)] == lines, file


def test_the_cache_answers_everything(place: Path) -> None:
    assert run(*CACHED.command, "--out", "again").exit_code == 0
    assert DESK.asked == []
    (stored,), (again,) = warmline.read_episodes("run-cached"), warmline.read_episodes("again")
    assert again.content() == stored.content()


def test_tags_and_sources(place: Path) -> None:
    lines = Path("run/tags.jsonl").read_text("utf-8").splitlines()
    assert [tags.to_json() for tags in iter_tags("run")] == lines
    assert run("clean", "run-begun", *CLEANING.command[2:]).exit_code == 0
    before = Path("run-begun/tags.jsonl").read_bytes()
    assert run(*BEGUN.command).exit_code == 0
    DESK.reset()
    assert run("clean", "run-begun", *CLEANING.command[2:]).exit_code == 0
    assert Path("run-begun/tags.jsonl").read_bytes().startswith(before)
    assert len(DESK.asked) == 1
    (source,) = read_sources("talks")
    assert (source.name, source.licence, source.format) == ("stored-talks", "CC0-1.0", "messages")


def test_a_review_goes_on(place: Path) -> None:
    assert run("review", "start", "run", "--required", "2", "--seed", "7").exit_code == 0
    refused = run("review", "start", "run", "--required", "2", "--seed", "8")
    assert isinstance(refused.exception, RunError)
    with ReviewStore(Path("run")) as store:
        progress = store.progress()
        assert progress.states == {"pending": 1, "approved": 1, "rejected": 1}
        assert progress.decisions == {"ada": 2, "bo": 1}
        (edit,) = store.edits(BEGUN_IDS[0])
        assert (edit.after, edit.reviewer) == ("What would help tonight?", "ada")
        assert [(d.verdict.value, d.reason) for d in store.decisions(BEGUN_IDS[1])] == [
            ("reject", "the seeker advises")
        ]
        assert [item.id for name in ("ada", "bo") if (item := store.next_item(name))] == [
            BEGUN_IDS[2], BEGUN_IDS[1],
        ]  # fmt: skip
    for name in ("ada", "bo"):
        assert (
            run("review", "next", "run", "--reviewer", name, "--approve", BEGUN_IDS[2]).exit_code
            == 0
        )
    assert json.loads(run("review", "status", "run", "--json").stdout)["states"]["approved"] == 2


@pytest.mark.parametrize("name", EXPORTS)
def test_an_export_is_made_again_byte_for_byte(name: str, place: Path) -> None:
    assert run(*EXPORTS[name], "--out", f"{name}-again").exit_code == 0
    made = {file.name: file.read_bytes() for file in Path(f"{name}-again", "data").iterdir()}
    assert made == {file.name: file.read_bytes() for file in Path(name, "data").iterdir()}


# Checkpoints


def test_checkpoints_load_and_are_listed(place: Path) -> None:
    kinds = {"sft": "sft", "dpo": "dpo", "fpemf": "fpemf", "counselor": "counselor",
             "scorer": "scorer"}  # fmt: skip
    for folder, kind in kinds.items():
        found = read_checkpoint(folder)
        assert (found.kind, found.base, found.metrics["steps"]) == (kind, "base", 2)
        stored = json.loads(Path(folder, "checkpoint.json").read_text("utf-8"))
        assert found.model_dump(mode="json") == {"left_out": []} | stored  # a later field
    listed = run("checkpoints", ".")
    assert all(folder in listed.output for folder in kinds), listed.output


async def test_checkpoints_take_their_seats(place: Path) -> None:
    said = (Message("user", "I am tired."),)
    for folder in ("sft", "dpo", "fpemf"):
        policy = warmline.make_policy("transformers", model=folder, device="cpu")
        request = Request(messages=said, role="supporter", seed=1, sampling=Sampling(max_tokens=3))
        assert (await policy.respond(request)).usage is not None
        await close_policy(policy)
    for seat, folder, options in (
        ("classifier", "counselor", tuple(s.value for s in warmline.Strategy)),
        ("scorer", "scorer", ("helpful", "unhelpful")),
    ):
        policy = warmline.make_policy(seat, model=folder, device="cpu")
        await open_policy(policy)
        request = Request(messages=said, role="counselor", seed=1, choices=options)
        assert (await policy.respond(request)).text in options
        await close_policy(policy)


def test_an_evolution_begun(place: Path) -> None:
    first, second = (read_state(Path(f"evolve/round-{n}/state.json")) for n in (0, 1))
    assert first is not None
    assert second is not None
    assert (first.parent, first.done, first.promoted) == ("base", ("held-out", "evaluation"), True)
    assert (second.parent, second.done, second.promoted) == ("base", ("replies",), None)
