"""The review store: the rule, versions, order, and several reviewers at once."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from warmline.core.errors import ConfigError, DataError, RunError
from warmline.environments.corpus.review.database import review_started, store_path
from warmline.environments.corpus.review.review import (
    EDITED,
    ReviewState,
    Verdict,
    edited_episode,
    ratings_of,
    reading_order,
)
from warmline.environments.corpus.review.store import ReviewStore

from ..reviewed import LINES, episode

APPROVE, REJECT = Verdict.APPROVE, Verdict.REJECT


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ReviewStore]:
    with ReviewStore(tmp_path, create=True, clock=lambda: "2026-01-02T03:04:05+00:00") as opened:
        opened.start(required=3, seed=4)
        opened.enrol(episode(f"e{number}") for number in range(6))
        yield opened


def approve(store: ReviewStore, name: str, *reviewers: str, version: int = 0) -> ReviewState:
    for reviewer in reviewers:
        state = store.decide(name, reviewer, APPROVE, version=version).state
    return state


def test_kept_only_if_all_required_reviewers_approve(store: ReviewStore) -> None:
    assert approve(store, "e1", "ada", "bo") is ReviewState.PENDING
    assert approve(store, "e1", "bo") is ReviewState.PENDING, "the same reviewer twice is one"
    assert approve(store, "e1", "cy") is ReviewState.APPROVED
    standing = store.decide("e1", "dee", REJECT, version=0, reason="too glib")
    assert standing.state is ReviewState.REJECTED
    assert standing.rejected == {"dee": "too glib"}
    assert approve(store, "e1", "dee") is ReviewState.APPROVED, (
        "the latest word of a reviewer counts"
    )
    assert len(store.decisions("e1")) == 6, "and nothing said is lost"


def test_an_edit_makes_a_version_that_nobody_approved(store: ReviewStore) -> None:
    approve(store, "e2", "ada", "bo", "cy")
    item = store.edit("e2", "bo", 3, "Twenty years.", version=0, reason="shorter")
    assert (item.version, item.turns[3].text) == (1, "Twenty years.")
    standing = store.standing("e2")
    assert standing.state is ReviewState.PENDING
    assert [d.reviewer for d in standing.outdated] == ["ada", "bo", "cy"]
    (edit,) = standing.edits
    assert (edit.before, edit.after, edit.reviewer) == (LINES[3][1], "Twenty years.", "bo")
    assert edit.at == "2026-01-02T03:04:05+00:00"
    assert approve(store, "e2", "ada", "bo", "cy", version=1) is ReviewState.APPROVED


def test_nobody_decides_about_a_text_that_was_not_read(store: ReviewStore) -> None:
    store.edit("e2", "bo", 0, "My café closed.", version=0)
    with pytest.raises(RunError, match="is at version 1; version 0 was read"):
        store.decide("e2", "ada", APPROVE, version=0)
    with pytest.raises(RunError, match="read it again"):
        store.edit("e2", "ada", 1, "Why?", version=0)
    assert store.decisions() == []


def test_an_edited_episode_names_the_repair_and_keeps_what_the_policy_wrote(
    store: ReviewStore,
) -> None:
    store.edit("e0", "bo", 0, "I want to kill myself.", version=0)
    store.edit("e0", "bo", 0, "I want to end my life.", version=1)
    changed = edited_episode(episode("e0"), store.edits("e0"))
    first = changed.utterances[0]
    assert (first.text, first.raw) == ("I want to end my life.", LINES[0][1])
    assert first.repairs == (EDITED,)
    assert first.crisis == ("suicide",)
    assert changed.utterances[1:] == episode("e0").utterances[1:]
    assert store.item("e0").crisis == ("suicide",), "and reviewers see it marked"


def test_each_reviewer_has_an_own_order_that_the_seed_fixes(store: ReviewStore) -> None:
    ids = [f"e{number}" for number in range(40)]
    assert reading_order(ids, "ada", 4) == reading_order(reversed(ids), "ada", 4)
    assert reading_order(ids, "ada", 4) != reading_order(ids, "bo", 4)
    assert reading_order(ids, "ada", 4) != reading_order(ids, "ada", 5)
    fewer = [name for name in reading_order(ids, "ada", 4) if name != "e7"]
    assert fewer == reading_order([n for n in ids if n != "e7"], "ada", 4)


def test_next_goes_through_all_once_and_skipped_ones_come_last(store: ReviewStore) -> None:
    order = reading_order([f"e{number}" for number in range(6)], "ada", 4)
    store.skip(order[0], "ada")
    read = []
    while (item := store.next_item("ada")) is not None:
        read.append(item.id)
        store.decide(item.id, "ada", APPROVE, version=item.version)
    assert read == [*order[1:], order[0]]
    store.edit(order[2], "bo", 0, "Changed.", version=0)
    again = store.next_item("ada")
    assert again is not None
    assert (again.id, again.version) == (order[2], 1), "a new version comes back"


def test_what_enough_others_judged_is_not_asked_again(store: ReviewStore) -> None:
    for number in range(6):
        approve(store, f"e{number}", "ada", "bo", "cy")
    assert store.next_item("dee") is None


def test_enrolling_again_adds_only_what_is_new_and_notices_a_changed_text(
    store: ReviewStore,
) -> None:
    approve(store, "e1", "ada")
    assert store.enrol([episode("e1"), episode("e9")]) == 1
    assert store.standing("e1").approved_by == ("ada",)
    with pytest.raises(DataError, match="'e1' was enrolled with another text"):
        store.enrol([episode("e8"), episode("e1", ("seeker", "Something else."))])
    assert "e8" not in store.originals(), "a refused enrolment takes nothing in"


def test_progress_counts(store: ReviewStore) -> None:
    approve(store, "e1", "ada", "bo", "cy")
    store.decide("e2", "ada", REJECT, version=0, reason="role flipped")
    store.edit("e3", "bo", 0, "I hit rock bottom, I want to kill myself.", version=0)
    progress = store.progress()
    assert progress.states == {"pending": 4, "approved": 1, "rejected": 1}
    assert progress.decisions == {"ada": 2, "bo": 1, "cy": 1}
    assert (progress.edited, progress.dialogues, progress.required) == (1, 6, 3)


def test_ratings_hold_each_reviewers_latest_word(store: ReviewStore) -> None:
    store.decide("e1", "ada", REJECT, version=0, reason="too glib")
    store.decide("e1", "ada", APPROVE, version=0)
    store.decide("e1", "bo", REJECT, version=0, reason="flat")
    ratings = ratings_of(store.decisions())
    assert [(r.rater, r.value, r.explanation) for r in ratings] == [
        ("ada", 1.0, ""),
        ("bo", 0.0, "flat"),
    ]
    assert {r.kind for r in ratings} == {"human"}


def test_refusals_say_what_to_do(store: ReviewStore, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a rejection needs a reason"):
        store.decide("e1", "ada", REJECT, version=0, reason=" ")
    with pytest.raises(ConfigError, match="did you mean 'e1'"):
        store.decide("e1x", "ada", APPROVE, version=0)
    with pytest.raises(ConfigError, match="has no utterance 6; it has 0 to 5"):
        store.edit("e1", "ada", 6, "x", version=0)
    with pytest.raises(ConfigError, match="the new text is the old one"):
        store.edit("e1", "ada", 0, LINES[0][1], version=0)
    with pytest.raises(ConfigError, match="the new text is empty"):
        store.edit("e1", "ada", 0, "  ", version=0)
    with pytest.raises(ConfigError, match="needs a name"):
        store.decide("e1", " ", APPROVE, version=0)
    with pytest.raises(
        RunError, match=r"holds a review with other settings(?s:.*)  required: 3 -> 2"
    ):
        store.start(required=2, seed=4)
    with pytest.raises(DataError, match="no review was started"):
        ReviewStore(tmp_path / "elsewhere")
    assert store.decisions() == []
    assert store.edits() == []


def test_a_newer_or_foreign_file_is_refused(tmp_path: Path) -> None:
    with ReviewStore(tmp_path, create=True):
        pass
    with sqlite3.connect(store_path(tmp_path)) as db:
        db.execute("PRAGMA user_version = 9")
    with pytest.raises(DataError, match="of version 9; this Warmline reads 1"):
        ReviewStore(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    store_path(other).write_text("no database, but long enough to be read as a header " * 20)
    with pytest.raises(DataError, match="cannot be used as a review store"):
        ReviewStore(other)


WORKER = """
import sys
from warmline.environments.corpus.review.review import Verdict
from warmline.environments.corpus.review.store import ReviewStore
from warmline.core.errors import RunError
folder, reviewer = sys.argv[1:]
with ReviewStore(folder) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    while (item := store.next_item(reviewer)) is not None:
        try:
            if item.version < 2 and item.id in ("e0", "e1"):
                store.edit(item.id, reviewer, 0, f"{reviewer} {item.version}", version=item.version)
            else:
                store.decide(item.id, reviewer, Verdict.APPROVE, version=item.version)
        except RunError as error:
            assert "meanwhile" in str(error), error
"""


def test_processes_that_approve_and_edit_at_once_lose_nothing(tmp_path: Path) -> None:
    with ReviewStore(tmp_path, create=True) as store:
        store.start(required=2)
        store.enrol(episode(f"e{number}") for number in range(30))
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("ada", "bo")
    ]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:  # both start at the same moment
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in workers:
        _, problems = worker.communicate(timeout=120)
        assert worker.returncode == 0, problems
    with ReviewStore(tmp_path) as store:
        assert store.progress().states == {"pending": 0, "approved": 30, "rejected": 0}
        assert [e.version for e in store.edits("e0")] == [1, 2], (
            "each edit is of the version before"
        )
        before, after = store.edits("e0")
        assert after.before == before.after


def test_a_killed_reviewer_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    with ReviewStore(tmp_path, create=True) as store:
        store.start()
        store.enrol([episode("e1"), episode("e2")])
    script = (
        "import os, sys\n"
        "from warmline.environments.corpus.review.review import Verdict\n"
        "from warmline.environments.corpus.review.store import ReviewStore\n"
        "store = ReviewStore(sys.argv[1])\n"
        "store.decide('e1', 'ada', Verdict.APPROVE, version=0)\n"
        "store._db.execute('BEGIN IMMEDIATE')\n"
        'store._db.execute("UPDATE episodes SET version = 7")\n'
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert done.returncode == -9
    with ReviewStore(tmp_path) as store:
        assert store.standing("e1").approved_by == ("ada",)
        assert store.item("e2").version == 0, "half a change is no change"


def test_one_reviewer_is_one_however_the_name_is_spelt(store: ReviewStore) -> None:
    names = ["Zoe", "zoe", "Zoe\u200b", " ZOE ", "\uff3aoe"]
    for name in names:
        assert store.decide("e1", name, APPROVE, version=0).state is ReviewState.PENDING
    assert store.standing("e1").approved_by == ("Zoe",)
    assert store.progress().decisions == {"Zoe": 5}
    order = [store.next_item(name) for name in names]
    assert len({item.id for item in order if item is not None}) == 1
    assert approve(store, "e1", "Ann", "Bo") is ReviewState.APPROVED
    with pytest.raises(ConfigError, match="a reviewer needs a name"):
        store.decide("e2", "\u200b", APPROVE, version=0)


def test_spellings_that_an_earlier_version_counted_apart_are_one(store: ReviewStore) -> None:
    for name in ("Zoe", "zoe", "Zoe\u200b"):
        store._db.execute(
            "INSERT INTO decisions (episode, version, reviewer, verdict, reason, at)"
            " VALUES ('e1', 0, ?, 'approve', '', '2026-01-01')",
            (name,),
        )
    assert store.standing("e1").state is ReviewState.PENDING
    assert {rating.rater for rating in ratings_of(store.decisions())} == {"Zoe"}


FULL = """
import resource, sys
from typer.testing import CliRunner
from warmline.cli import app
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
done = CliRunner().invoke(app, ["review", "start", sys.argv[1]])
print(type(done.exception).__name__, done.exception)
"""


@pytest.mark.parametrize("size", [0, 4096, 40_000])
def test_a_full_disk_at_the_start_of_a_review_leaves_no_store(size: int, tmp_path: Path) -> None:
    log = tmp_path / "episodes.jsonl"
    log.write_text("".join(episode(f"e{n}").to_json() + "\n" for n in range(60)))
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path), str(size)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.startswith(("RunError", "DataError")), done.stdout + done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["episodes.jsonl"]
    assert not review_started(tmp_path)


def test_what_a_killed_start_left_is_no_review(tmp_path: Path) -> None:
    store_path(tmp_path).touch()
    assert not review_started(tmp_path)
    with ReviewStore(tmp_path, create=True) as store:
        store.start()
        assert not review_started(tmp_path)
        store.enrol([episode("e1")])
    assert review_started(tmp_path)
