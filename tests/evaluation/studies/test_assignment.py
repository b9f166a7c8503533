"""Who gets what: the rules hold whatever people do, and nothing is handed out beyond the overlap."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from warmline.evaluation.studies.assignment import Load, next_item, shown_first, tie_goes_to
from warmline.evaluation.studies.database import StudyDatabase
from warmline.evaluation.studies.participants import Participants, Stage
from warmline.evaluation.studies.settings import StudySettings
from warmline.evaluation.studies.tasks import Answer, Item, Tasks

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "answer", "leave", "block", "wait", "join"]), st.integers(0, 6)
    ),
    max_size=60,
)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def study(tmp_path: Path, **fields: Any) -> tuple[StudyDatabase, Tasks, Participants, Clock]:
    clock = Clock()
    chosen = StudySettings(
        title="t", kind="dialogues", out=str(tmp_path), items=("x",), task_minutes=10, **fields
    )
    db = StudyDatabase(tmp_path, identity={}, clock=clock)
    return db, Tasks(db, chosen), Participants(db), clock


def items(count: int) -> list[Item]:
    return [Item(f"i{n}", {}) for n in range(count)]


def come(participants: Participants) -> Any:
    who = participants.by_token(participants.join())
    assert who is not None
    participants.consent(who, agreed=True, share=False, country="")
    return participants.by_name(who.name)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(steps=STEPS, overlap=st.integers(1, 3), count=st.integers(1, 4), rule=st.sampled_from(["least", "random"]))  # fmt: skip
def test_the_rules_hold_whatever_people_do(
    tmp_path_factory: pytest.TempPathFactory, steps: Any, overlap: int, count: int, rule: Any
) -> None:
    folder = tmp_path_factory.mktemp("study")
    db, tasks, people, clock = study(folder, overlap=overlap, tasks=3, assignment=rule)
    tasks.enrol(items(count))
    everybody = [come(people) for _ in range(3)]
    for what, number in steps:
        who = everybody[number % len(everybody)]
        if what == "join":
            everybody.append(come(people))
        elif what == "wait":
            clock.now += 60 * (3 + number)
        elif what == "block":
            people.move(people.by_name(who.name), Stage.BLOCKED)
        elif what == "ask" and people.by_name(who.name).stage is not Stage.BLOCKED:
            before = {load.item: load for load in tasks.loads(who)}
            task = tasks.hand_out(who)
            if task is not None and task.status == "active" and not before[task.item.id].mine:
                free = [
                    load.taken for load in before.values() if not load.mine and load.taken < overlap
                ]
                assert before[task.item.id].taken < overlap
                assert rule == "random" or before[task.item.id].taken == min(free)
        elif (task := tasks.current(who)) is not None:
            if what == "answer":
                assert tasks.finish(task, [Answer("d", 1.0)])
                assert not tasks.finish(task, [Answer("d", 5.0)])
            elif what == "leave":
                tasks.leave(task)
        taken = Counter(
            r["item"] for r in db.rows("SELECT item FROM tasks WHERE status IN ('active', 'done')")
        )
        assert all(n <= overlap for n in taken.values())
        each = Counter((r["item"], r["participant"]) for r in db.rows("SELECT * FROM tasks"))
        assert not each or max(each.values()) == 1
        active = Counter(
            r["participant"] for r in db.rows("SELECT * FROM tasks WHERE status = 'active'")
        )
        assert not active or max(active.values()) == 1
    db.close()


def test_what_was_left_or_timed_out_is_done_by_others_until_every_item_has_its_overlap(
    tmp_path: Path,
) -> None:
    db, tasks, people, clock = study(tmp_path, overlap=2, tasks=2)
    tasks.enrol(items(4))
    slow, gone = come(people), come(people)
    stale, left = tasks.hand_out(slow), tasks.hand_out(gone)
    assert stale is not None
    assert left is not None
    people.move(gone, Stage.LEFT)
    clock.now += 11 * 60
    assert tasks.current(slow) is None
    assert tasks.of(slow, stale.id).status == "expired"  # type: ignore[union-attr]
    assert not tasks.finish(stale, [Answer("d", 1.0)])
    assert tasks.progress()["free"] == 8
    for _ in range(4):
        who = come(people)
        for _ in range(2):
            task = tasks.hand_out(who)
            assert task is not None
            assert tasks.finish(task, [Answer("d", 3.0)])
        assert tasks.hand_out(who) is None
    done = Counter(r["item"] for r in db.rows("SELECT item FROM tasks WHERE status = 'done'"))
    assert done == {f"i{n}": 2 for n in range(4)}
    assert tasks.hand_out(come(people)) is None
    assert [r["value"] for r in db.rows("SELECT value FROM answers")] == [3.0] * 8


def test_activity_keeps_a_task_and_a_new_one_goes_to_nobody_else_meanwhile(tmp_path: Path) -> None:
    _, tasks, people, clock = study(tmp_path, overlap=1)
    tasks.enrol(items(1))
    one, other = come(people), come(people)
    task = tasks.hand_out(one)
    assert task is not None
    for _ in range(5):
        clock.now += 9 * 60
        tasks.touch(task)
        assert tasks.hand_out(other) is None
    assert tasks.current(one) == task


def test_the_work_of_a_blocked_participant_is_given_to_others(tmp_path: Path) -> None:
    db, tasks, people, _ = study(tmp_path, overlap=1)
    tasks.enrol(items(1))
    careless = come(people)
    task = tasks.hand_out(careless)
    assert task is not None
    tasks.finish(task, [Answer("d", 1.0)])
    people.move(careless, Stage.BLOCKED)
    again = tasks.hand_out(come(people))
    assert again is not None
    assert again.item.id == task.item.id
    assert [r["status"] for r in db.rows("SELECT status FROM tasks ORDER BY number, rowid")] == [
        "blocked",
        "active",
    ]


def test_gold_comes_at_its_place_and_never_alone() -> None:
    loads = [Load("g", taken=9, gold=True), Load("a", 0), Load("b", 1)]
    fixed = {"overlap": 2, "rule": "least", "seed": 0, "participant": "p", "gold_every": 3}
    assert next_item(loads, done=0, **fixed) == "a"  # type: ignore[arg-type]
    assert next_item(loads, done=2, **fixed) == "g"  # type: ignore[arg-type]
    assert next_item(loads[:1], done=2, **fixed) is None  # type: ignore[arg-type]


def test_sides_are_even_and_follow_from_the_seed() -> None:
    sides = [shown_first(0, f"t{n}", turn) for n in range(200) for turn in range(10)]
    assert sides == [shown_first(0, f"t{n}", turn) for n in range(200) for turn in range(10)]
    assert 900 < sides.count("A") < 1100
    both = Counter((shown_first(0, f"t{n}", 0), tie_goes_to(0, f"t{n}", 0)) for n in range(2000))
    assert min(both.values()) > 400
