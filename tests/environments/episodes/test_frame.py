"""Episodes as pandas tables."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

import warmline
from warmline.agents.roles import Role, Strategy
from warmline.core.errors import ConfigError, DataError, MissingExtra
from warmline.environments import Episode, Utterance
from warmline.environments.episodes.frame import COLUMNS, Per
from warmline.policies.base import Message

from ...evaluation.recorded import recorded
from ..helpers import scenario, scenarios, talk

pd = pytest.importorskip("pandas")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work") / "runs" / "first"
    warmline.simulate(policy=talk(), scenarios=scenarios(3), max_turns=4, seed=2, out=folder)
    return folder


def test_a_row_is_an_utterance_in_the_order_in_which_it_was_said(run: Path) -> None:
    frame = warmline.to_frame(run)
    episodes = warmline.read_episodes(run)
    assert list(frame.text) == [said.text for e in episodes for said in e.utterances]
    assert list(frame.number) == [0, 1, 2, 3] * 3
    assert list(frame.episode) == [e.id for e in episodes for _ in e.utterances]
    helped = frame[frame.role == "supporter"]
    assert list(helped.strategy) == ["Question", "Reflection of Feelings"] * 3
    assert set(helped.strategy_source) == {"counselor"}
    assert frame[frame.role == "seeker"].strategy.isna().all()
    assert list(frame.words[:2]) == [4, 4]
    assert set(frame.policy) == {"scripted"}


def test_runs_lists_lazy_sequences_iterators_and_one_episode_give_the_same(run: Path) -> None:
    whole = warmline.to_frame(run)
    lazy = warmline.read_episodes(run)
    for given in (str(run), run / "episodes.jsonl", lazy, list(lazy), iter(lazy)):
        pd.testing.assert_frame_equal(warmline.to_frame(given), whole)
    first = warmline.to_frame(lazy[0])
    pd.testing.assert_frame_equal(first, whole.iloc[:4])
    pd.testing.assert_frame_equal(warmline.to_frame(lazy[:1]), first)


def test_an_episode_tried_again_counts_once(run: Path, tmp_path: Path) -> None:
    log = (run / "episodes.jsonl").read_text("utf-8").splitlines(keepends=True)
    (tmp_path / "episodes.jsonl").write_text("".join([*log, log[0]]), "utf-8")
    assert len(warmline.to_frame(tmp_path, per="episode")) == 3


def test_a_row_is_an_episode_or_a_call(run: Path) -> None:
    episodes = warmline.read_episodes(run)
    frame = warmline.to_frame(run, per="episode").set_index("episode")
    calls = warmline.to_frame(run, per="call")
    assert list(frame.utterances) == [4, 4, 4]
    assert list(frame.calls) == [len(e.calls) for e in episodes]
    assert list(frame.prompt_tokens) == [e.usage.prompt_tokens for e in episodes]
    assert list(frame.seconds) == [e.timing.seconds for e in episodes]
    assert not frame.failed.any()
    assert list(calls.text) == [call.text for e in episodes for call in e.calls]
    assert list(calls.seed) == [call.seed for e in episodes for call in e.calls]
    assert list(calls.seconds) == [s for e in episodes for s in e.timing.latencies]
    sums = calls.groupby("episode").completion_tokens.sum()
    assert (sums == frame.completion_tokens).all()


def test_what_a_recorded_conversation_does_not_have_is_missing() -> None:
    frame = warmline.to_frame([recorded()])
    assert frame.call.isna().all()
    assert frame.policy.isna().all()
    assert list(frame.strategy_source.dropna()) == ["person"] * 4
    row = warmline.to_frame([recorded()], per="episode").iloc[0]
    assert row.isna()[["seed", "config_hash", "prompt_tokens", "seconds", "error"]].all()
    assert (row.source, row.calls) == ("hand-written", 0)
    assert len(warmline.to_frame([recorded()], per="call")) == 0


@pytest.mark.parametrize("per", COLUMNS)
def test_columns_and_types_are_the_same_for_any_episodes_and_for_none(run: Path, per: Per) -> None:
    none, some, mixed = (
        warmline.to_frame(given, per=per)
        for given in ([], run, [recorded(), *warmline.read_episodes(run)])
    )
    assert list(none.columns) == list(COLUMNS[per])
    assert list(none.dtypes) == list(some.dtypes) == list(mixed.dtypes)
    assert len(none) == 0


def test_labels_crisis_and_odd_text_are_kept() -> None:
    said = Utterance(
        Role.SUPPORTER,
        "half \ud83d of a character",
        "",
        strategy=Strategy.QUESTION,
        labels=(Strategy.QUESTION, Strategy.OTHERS),
        crisis=("suicide",),
    )
    seed = 2**80
    made = Episode(id="odd", scenario=scenario(), stop="recorded", utterances=(said,), seed=seed)
    row = warmline.to_frame(made).iloc[0]
    assert row.text == "half � of a character"
    assert row.strategies == ("Question", "Others")
    assert row.crisis == ("suicide",)
    calls = warmline.simulate(policy=talk(), scenarios=scenarios(1), max_turns=2, seed=seed)
    assert warmline.to_frame(calls, per="episode").seed[0] == seed


def test_wrong_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be one 'episodes'.*utterance, episode, call"):
        warmline.to_frame([], per="episodes")
    with pytest.raises(ConfigError, match="item 1 is no episode but Message"):
        warmline.to_frame([recorded(), Message("user", "Hello.")])  # type: ignore[list-item]
    with pytest.raises(DataError, match="no episode log there"):
        warmline.to_frame(tmp_path)


def test_without_pandas_it_says_what_to_install(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtra, match="pandas") as caught:
        warmline.to_frame([])
    assert "pip install 'warmline[data]'" in str(caught.value.hint)


@pytest.mark.parametrize("per", COLUMNS)
def test_the_page_names_every_column(per: Per) -> None:
    page = (Path(__file__).parents[3] / "docs" / "notebooks.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| (\S+) \| (.*) \|$", page, re.MULTILINE))
    named = re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)", "", rows["all"] + rows[f"`{per}`"]))
    assert named == list(COLUMNS[per])


def test_the_pages_examples_run(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.parents[1])
    page = (Path(__file__).parents[3] / "docs" / "notebooks.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 2
    found: dict[str, Any] = {}
    for block in blocks:
        exec(block, whole := {})
        found |= whole
    assert list(found["runs"].words) == list(found["frame"].groupby("episode").words.sum())
    assert len(found["frame"].explode("strategies").dropna(subset="strategies")) == 6
    assert len(found["frame"][found["frame"].crisis.astype(bool)]) == 0
