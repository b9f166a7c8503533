"""What a model has learned from, and whether it is measured on that."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from warmline.core.errors import DataError
from warmline.environments.corpus.seen import (
    Overlap,
    Seen,
    dialogue_digest,
    overlap,
    read_seen,
    seen_by,
    seen_of,
    write_seen,
)
from warmline.environments.episodes.episode import Episode, Utterance

from .reviewed import episode


def other(talk: Episode, text: str) -> Episode:
    first, *rest = talk.utterances
    changed = Utterance(first.role, text, text)
    return talk.model_copy(update={"utterances": (changed, *rest)})


def test_a_dialogue_is_known_again_by_what_was_said() -> None:
    talk = episode("a")
    renamed = talk.model_copy(update={"id": "z", "source": "elsewhere"})
    assert dialogue_digest(renamed) == dialogue_digest(talk)
    spaced = other(talk, f"  {talk.utterances[0].text.upper()} ")
    assert dialogue_digest(spaced) == dialogue_digest(talk)
    assert dialogue_digest(other(talk, "Another beginning.")) != dialogue_digest(talk)


def test_the_overlap_is_counted_and_told() -> None:
    talks = [other(episode(f"t{n}"), f"Number {n}.") for n in range(6)]
    seen = seen_of(talks[:2], talks[1:3])
    found = overlap(talks, seen)
    assert (found.dialogues, found.train, found.validation) == (6, 2, 1)
    assert str(found) == ("3 of 6 dialogues were seen before (2 in training, 1 in validation)")
    assert str(overlap(talks[3:], seen)) == ""
    assert found.flag("supporter") == f"NOT HELD OUT: supporter: {found}"
    assert overlap(talks[3:], seen).flag("supporter") == ""
    assert Overlap(3, unknown=("m0",)).flag("x").startswith("not known to be held out: x: what m0")
    assert str(Overlap(3, unknown=("m0",))) == "what m0 learned from is not recorded"


def test_a_record_is_written_and_read(tmp_path: Path) -> None:
    seen = Seen(train=frozenset("ab"), validation=frozenset("bc"), unknown=frozenset({"old"}))
    write_seen(tmp_path, seen)
    assert read_seen(tmp_path) == seen
    assert json.loads((tmp_path / "seen.json").read_text("utf-8")) == {
        "version": 1, "train": ["a", "b"], "validation": ["b", "c"], "unknown": ["old"],
    }  # fmt: skip
    assert seen.counts() == {"train": 2, "validation": 1}
    (tmp_path / "seen.json").write_text('{"version": 1, "trained": []}', "utf-8")
    with pytest.raises(DataError, match="unknown field 'trained'; did you mean 'train'"):
        read_seen(tmp_path)


def test_a_checkpoint_without_a_record_is_unknown_and_a_base_model_is_not(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old/checkpoint.json").write_text("{}", "utf-8")
    (tmp_path / "base").mkdir()
    assert seen_by([tmp_path / "base"]) == Seen()
    assert seen_by([tmp_path / "base", tmp_path / "old"]) == Seen(unknown=frozenset({"old"}))
