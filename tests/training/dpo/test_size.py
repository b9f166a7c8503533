"""Pairs and contexts beyond a thousand lie in a file: memory does not grow with their count."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from warmline.core.outside.console import make_console
from warmline.training import DpoSettings, FpemfSettings
from warmline.training.candidates.rows import Candidate, CandidateSet, Lineage, PromptMessage
from warmline.training.dpo.data import encode_pairs
from warmline.training.dpo.train import read_pairs
from warmline.training.fpemf.contexts import candidate_sets
from warmline.training.preferences.build import PAIRS_NAME
from warmline.training.rows.splits import split_contexts
from warmline.training.rows.spool import IN_MEMORY

WORDS = "I have not slept since the shop closed, and nobody asks. " * 40


def message(role: str, text: str) -> PromptMessage:
    return PromptMessage(role=role, content=text)


def pairs_in(folder: Path, count: int) -> Path:
    folder.mkdir()
    with (folder / PAIRS_NAME).open("w", encoding="utf-8") as file:
        for n in range(count):
            line = {
                "version": 1, "id": f"talk{n}#1", "group": f"talk{n}", "origin": "gold",
                "prompt": [{"role": "user", "content": f"{n} {WORDS}"}],
                "chosen": [{"role": "assistant", "content": "What happened?"}],
                "rejected": [{"role": "assistant", "content": "Never mind."}],
            }  # fmt: skip
            file.write(json.dumps(line) + "\n")
    return folder


def candidates_in(folder: Path, count: int) -> Path:
    folder.mkdir()
    lineage = Lineage(source="sampling", model="tiny")
    with (folder / "candidates.jsonl").open("w", encoding="utf-8") as file:
        for n in reversed(range(count)):
            made = CandidateSet(
                id=f"talk{n:05}#1", group=f"talk{n}", prompt=(message("user", f"{n} {WORDS}"),),
                gold="What happened?", candidates=(Candidate(text="Never mind."),), lineage=lineage,
            )  # fmt: skip
            file.write(made.to_json() + "\n")
    return folder


def preferences(folder: Path) -> Sequence[Any]:
    settings = DpoSettings(model="none", pairs=(str(folder),), out=str(folder / "out"))
    return read_pairs(settings, None, None, None)[0]


def contexts(folder: Path) -> Sequence[Any]:
    settings = FpemfSettings(model="none", candidates=str(folder), feedback=False)
    return candidate_sets(settings, None, make_console(quiet=True)).sets


class Encoder:
    """As many ids as a row has characters; no model is needed to see where they are kept."""

    apart = False

    def encode(self, row: Any) -> Any:
        from warmline.training.rows.encode import Encoded

        *prompt, reply = (list(m.content.encode()) for m in row.messages)
        ids = [i for part in prompt for i in part]
        return Encoded(ids + reply, [-100] * len(ids) + reply)


def held(work: Callable[[], Any]) -> int:
    """Bytes that what the work returns keeps in memory."""
    tracemalloc.start()
    made = work()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del made
    return kept


@pytest.mark.parametrize(
    ("write", "read"), [(pairs_in, preferences), (candidates_in, contexts)], ids=["dpo", "fpemf"]
)
def test_what_is_read_and_divided_is_not_held(
    write: Callable[[Path, int], Path], read: Callable[[Path], Sequence[Any]], tmp_path: Path
) -> None:
    few, many = write(tmp_path / "few", IN_MEMORY), write(tmp_path / "many", 4 * IN_MEMORY)

    def divided(folder: Path) -> Any:
        return split_contexts(read(folder), 0.2, 1)

    assert held(lambda: divided(many)) < 1.5 * held(lambda: divided(few))
    train, validation = divided(many)
    assert len(train) + len(validation) == 4 * IN_MEMORY
    assert len(validation) == pytest.approx(0.2 * 4 * IN_MEMORY, rel=0.05)
    names = [context.id for context in train]
    assert names == sorted(names, key=lambda name: int(name[4:].partition("#")[0]))


def test_encoded_pairs_are_not_held(tmp_path: Path) -> None:
    few = preferences(pairs_in(tmp_path / "few", IN_MEMORY))
    many = preferences(pairs_in(tmp_path / "many", 2 * IN_MEMORY))
    assert held(lambda: encode_pairs(Encoder(), many, 9999)) < 1.5 * held(
        lambda: encode_pairs(Encoder(), few, 9999)
    )
