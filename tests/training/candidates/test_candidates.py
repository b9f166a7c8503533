"""Candidates: made once, stored with lineage, resumed; searched or sampled."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from warmline.core.errors import DataError, RunError
from warmline.environments.corpus.splits import scenario_root
from warmline.policies.base import Reply, Request, Sampling
from warmline.training.candidates.rows import (
    Candidate,
    CandidateLog,
    CandidateSet,
    Lineage,
    iter_candidates,
)
from warmline.training.candidates.sources import (
    beam_candidates,
    known_tokens,
    reply_tokens,
    sampled_candidates,
)
from warmline.training.loop.base_model import Base, load_base
from warmline.training.rows.build import Row, build_rows
from warmline.training.rows.encode import RowEncoder
from warmline.training.rows.settings import RowSettings

from ...policies.tiny_models import save_causal, save_seq2seq
from ..building import CHATML, TEMPLATE, varied

SEARCH: dict[str, Any] = {
    "num_beams": 3,
    "num_groups": 3,
    "diversity_penalty": 1.0,
    "max_new_tokens": 6,
    "min_new_tokens": 1,
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    folder = tmp_path_factory.mktemp("model") / "m"
    return load_base(str(save_causal(folder, chat_template=CHATML)))


def contexts() -> list[Row]:
    return list(build_rows(varied(2), RowSettings(template=TEMPLATE)).rows)


def lineage(source: Any = "beams") -> Lineage:
    return Lineage(source=source, model="tiny", settings=SEARCH, seed=3)


def search(base: Base, folder: Path, rows: list[Row], **options: Any) -> list[CandidateSet]:
    with CandidateLog(folder) as log:
        beam_candidates(base, rows, log, lineage(), batch_size=2, **options)
    return list(iter_candidates(folder))


def test_beams_of_a_model(base: Base, tmp_path: Path) -> None:
    found = search(base, tmp_path, contexts())
    assert {c.id for c in found} == {row.id for row in contexts()}
    for context in found:
        assert len({c.token_ids for c in context.candidates}) == 3
        assert all(1 <= len(c.token_ids) <= 6 for c in context.candidates)
        assert context.lineage == lineage()
        assert (context.episode, context.utterance) == (
            context.id.split("#")[0],
            int(context.id.split("#")[1]),
        )
        assert context.group == scenario_root(context.episode)


def test_a_search_that_was_killed_goes_on(base: Base, tmp_path: Path) -> None:
    """Half a line is cut off, nothing is searched twice, and the result is the same."""
    rows = contexts()
    whole = search(base, tmp_path / "whole", rows)
    path = tmp_path / "torn"
    search(base, path, rows[:3])
    file = path / "candidates.jsonl"
    file.write_text(file.read_text("utf-8")[:-30], "utf-8")
    finished: list[int] = []
    resumed = search(base, path, rows, on_done=finished.append)
    assert sum(finished) == len(rows) - 2
    assert replies(resumed) == replies(whole)


def replies(contexts: list[CandidateSet]) -> dict[str, list[tuple[int, ...]]]:
    return {c.id: [candidate.token_ids for candidate in c.candidates] for c in contexts}


def test_an_encoder_decoder_searches_too(tmp_path: Path) -> None:
    blender = load_base(str(save_seq2seq(tmp_path / "m")))
    found = search(blender, tmp_path, contexts()[:2])
    assert [len(c.candidates) for c in found] == [3, 3]


class Counting:
    """Says its seed modulo four: few different replies. Breaks down at the context `breaks`."""

    def __init__(self, breaks: str = "") -> None:
        self.breaks, self.asked = breaks, 0

    async def respond(self, request: Request) -> Reply:
        self.asked += 1
        if request.session == self.breaks:
            raise RunError("the engine broke down")
        assert request.seed is not None
        return Reply(text=f"number {request.seed % 4}")


def sample(policy: Any, folder: Path, rows: list[Row], number: int) -> list[CandidateSet]:
    with CandidateLog(folder) as log:
        asyncio.run(
            sampled_candidates(
                policy,
                rows,
                log,
                lineage("sampling"),
                number=number,
                sampling=Sampling(),
                concurrency=1,
            )
        )
    return list(iter_candidates(folder))


def test_samples_differ_and_a_poor_policy_gives_fewer(tmp_path: Path) -> None:
    found = sample(Counting(), tmp_path, contexts(), 3)
    for context in found:
        texts = [c.text for c in context.candidates]
        assert len(set(texts)) == len(texts) <= 3
        assert all(not c.token_ids and c.score is None for c in context.candidates)
    many = sample(Counting(), tmp_path / "many", contexts(), 9)
    assert max(len(c.candidates) for c in many) <= 4


def test_a_policy_that_breaks_down_is_resumed(tmp_path: Path) -> None:
    rows = contexts()
    whole = sample(Counting(), tmp_path / "whole", rows, 3)
    with pytest.raises(RunError, match="broke down"):
        sample(Counting(rows[4].id), tmp_path / "part", rows, 3)
    before = [c.id for c in iter_candidates(tmp_path / "part")]
    assert before == [row.id for row in rows[:4]]
    resumed = sample(Counting(), tmp_path / "part", rows, 3)
    assert resumed == whole


def test_stored_tokens_are_kept_and_foreign_ones_are_written_anew(
    base: Base, tmp_path: Path
) -> None:
    encoder = RowEncoder(base.tokenizer, base.model.config, base.model.generation_config)
    context = search(base, tmp_path, contexts()[:1])[0]
    tokens = reply_tokens(encoder, context, "I see.")
    assert tokens[-1] == base.tokenizer.eos_token_id
    assert base.tokenizer.decode(tokens[:-1]) == "I see."
    own = Candidate(text="I see.", token_ids=tuple(tokens[:-1]))  # cut at its greatest length
    assert known_tokens(base.tokenizer, encoder, context, own) == tokens[:-1]
    foreign = Candidate(text="I see.", token_ids=(99, 98))
    assert known_tokens(base.tokenizer, encoder, context, foreign) == tokens


def test_a_line_that_is_no_candidate_set_is_named(tmp_path: Path) -> None:
    (tmp_path / "candidates.jsonl").write_text('{"id": "a#1"}\n', "utf-8")
    with pytest.raises(DataError, match="group") as error:
        list(iter_candidates(tmp_path))
    assert "candidates.jsonl" in str(error.value)
    with pytest.raises(DataError, match="no candidates there"):
        list(iter_candidates(tmp_path / "none"))
