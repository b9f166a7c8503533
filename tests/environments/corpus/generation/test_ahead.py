"""Workers write a build's scenarios: the corpus is that of one process, which asks nothing itself."""

from __future__ import annotations

import asyncio
import os
import re
from collections import Counter
from pathlib import Path

import pytest

from warmline import Request, ScriptedPolicy
from warmline.core.errors import BadRequest, DataError, PolicyError, RunError
from warmline.core.jsonl import LineLog
from warmline.core.shards import on_slurm
from warmline.environments.corpus.generation.ahead import (
    ANSWERS_NAME,
    AnsweredAhead,
)
from warmline.environments.corpus.generation.journal import read_rejects
from warmline.environments.runs.folder import WRITERS_NAME
from warmline.environments.shards.status import run_status
from warmline.policies.base import Message

from ...shards.dying import DiesOnce
from ..building import answer
from .test_build import TYPES, content, made


class ByProcess:
    """Answers, and keeps which process was asked to write."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __call__(self, request: Request) -> str:
        if request.role == "generator":
            with self._file.open("a") as file:
                file.write(f"{os.getpid()} {request.seed}\n")
        return answer(request)

    def asked(self) -> list[tuple[int, int]]:
        lines = self._file.read_text().splitlines()
        return [(int(pid), int(seed)) for pid, seed in map(str.split, lines)]


def corpus(folder: Path) -> dict[str, list[str]]:
    """What must be equal; the policies' own source text is part of a run's identity, and differs."""
    found = content(folder)
    hashes = re.compile(r'"config_hash": "\w+"')
    return found | {"episodes": [hashes.sub("", line) for line in found["episodes"]]}


SMALL = {"episodes": 6, "rounds": 2, "problem_types": TYPES[:2]}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus of one process."""
    folder = tmp_path_factory.mktemp("alone") / "corpus"
    made(folder, **SMALL)
    assert read_rejects(folder)  # so there was a second attempt
    return folder


def test_workers_build_the_same_corpus_and_the_deciding_process_asks_for_no_scenario(
    alone: Path, tmp_path: Path
) -> None:
    asked, many = ByProcess(tmp_path / "asked"), tmp_path / "many"
    made(many, workers=2, policy=ScriptedPolicy(asked, record=False), **SMALL)
    assert corpus(alone) == corpus(many)
    assert len(list(many.glob("episodes-*.jsonl"))) == 2
    assert os.getpid() not in {pid for pid, _ in asked.asked()}
    assert len({pid for pid, _ in asked.asked()}) > 2  # of each round and attempt anew
    assert set(Counter(seed for _, seed in asked.asked()).values()) == {1}
    assert not (many / WRITERS_NAME).exists()
    made(many, policy=ScriptedPolicy(asked, record=False), **SMALL)  # finished: nothing is asked
    assert corpus(alone) == corpus(many)


def test_a_lost_worker_asks_again_for_what_it_had_not_written(alone: Path, tmp_path: Path) -> None:
    dying = DiesOnce(tmp_path / "dying", answer, at=7)
    made(tmp_path / "many", workers=2, policy=ScriptedPolicy(dying, record=False), **SMALL)
    assert (tmp_path / "dying" / "dead").exists()
    assert corpus(alone) == corpus(tmp_path / "many")


class FailsOnce(ByProcess):
    """An engine that is gone at the n-th question, once."""

    def __call__(self, request: Request) -> str:
        gone = self._file.with_suffix(".gone")
        if self._file.is_file() and len(self.asked()) >= 5 and not gone.exists():
            gone.touch()
            raise PolicyError("the engine is gone")
        return super().__call__(request)


def test_without_workers_a_build_goes_on_from_what_they_were_answered(
    alone: Path, tmp_path: Path
) -> None:
    asked, many = FailsOnce(tmp_path / "asked"), tmp_path / "many"
    with pytest.raises(PolicyError, match="the engine is gone"):
        made(many, workers=2, policy=ScriptedPolicy(asked, record=False), **SMALL)
    assert list((many / WRITERS_NAME).rglob("answers*.jsonl"))
    status = run_status(many)  # there is no log yet
    assert status["asked"] == 6
    assert status["episodes"] == 0
    assert {worker["shard"] for worker in status["workers"]} <= {0, 1}
    assert status["workers"]
    made(many, policy=ScriptedPolicy(asked, record=False), **SMALL)
    assert corpus(alone) == corpus(many)
    assert set(Counter(seed for _, seed in asked.asked()).values()) == {1}
    assert not (many / WRITERS_NAME).exists()


@pytest.mark.parametrize(
    "line", ['{"key": "k"}', '{"reply": 1}', '{"key": "k", "reply": "x"}', '{"key": []}', "[1]"]
)
def test_a_damaged_answer_is_named(line: str, tmp_path: Path) -> None:
    (tmp_path / "answers-1-of-2.jsonl").write_text(line + "\n")
    with pytest.raises(DataError, match=r"answers-1-of-2\.jsonl, line 1"):
        AnsweredAhead(ScriptedPolicy(answer), tmp_path).read()


@pytest.mark.parametrize("message", ["not in this world", "too long\nand a hint", ""])
async def test_a_refused_question_stays_refused(tmp_path: Path, message: str) -> None:
    refusing = [True]

    def refuse(request: Request) -> str:
        if refusing:
            raise BadRequest(message)
        return "asked"

    request = Request((Message("user", "Write."),), role="generator", seed=1)
    first = AnsweredAhead(ScriptedPolicy(refuse), tmp_path)
    with LineLog(tmp_path / ANSWERS_NAME) as first.log, pytest.raises(BadRequest):
        await first.respond(request)
    refusing.clear()
    again = AnsweredAhead(ScriptedPolicy(refuse), tmp_path)
    again.read()
    with pytest.raises(BadRequest, match="^" + "".join(message.splitlines()[:1])):
        await again.respond(request)
    other = await again.respond(Request((Message("user", "Write."),), role="generator", seed=2))
    assert other.text == "asked"


async def test_the_inner_policy_opens_when_it_is_first_asked(tmp_path: Path) -> None:
    class Opened(ScriptedPolicy):
        times = 0

        async def open(self) -> None:
            self.times += 1
            await asyncio.sleep(0.01)

    inner = Opened(lambda _: "written")
    policy = AnsweredAhead(inner, tmp_path)
    await policy.open()
    assert inner.times == 0
    requests = [Request((Message("user", "Write."),), seed=seed) for seed in range(3)]
    await asyncio.gather(*map(policy.respond, requests))
    assert inner.times == 1


def test_a_build_is_refused_beside_an_array_that_writes_its_scenarios(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, many = FailsOnce(tmp_path / "asked"), tmp_path / "many"
    with pytest.raises(PolicyError, match="the engine is gone"):
        made(many, workers=2, policy=ScriptedPolicy(asked, record=False), **SMALL)
    answers = {file: file.read_bytes() for file in many.rglob("answers*.jsonl")}
    monkeypatch.setattr(on_slurm, "active_job", lambda file: "42")  # as squeue would say
    with pytest.raises(RunError, match="Slurm's job 42"):
        made(many, policy=ScriptedPolicy(asked, record=False), **SMALL)
    assert {file: file.read_bytes() for file in many.rglob("answers*.jsonl")} == answers
