"""Which run a folder holds: two starts at once, a lost configuration, imported and changed content."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import warmline
from warmline.core.errors import AuthenticationFailed, RunError
from warmline.environments import CasePool
from warmline.environments.corpus import Source, write_sources

from ..helpers import scenarios, talk
from .test_runner import environment


async def test_of_two_starts_at_once_one_is_refused_and_no_seeds_are_mixed(tmp_path: Path) -> None:
    async def slow(request: warmline.Request) -> str:
        await asyncio.sleep(0.01)
        return "Well."

    env = environment(warmline.ScriptedPolicy(slow))
    starts = [warmline.run_batch(env, scenarios(3), out=tmp_path, seed=n) for n in (1, 2)]
    first, second = await asyncio.gather(*starts, return_exceptions=True)
    assert not isinstance(first, BaseException)
    assert isinstance(second, RunError)
    assert {e.seed for e in warmline.read_episodes(tmp_path)} == {1}
    assert "seed = 1" in (tmp_path / "config.toml").read_text()


async def test_a_start_that_was_refused_the_lock_claims_nothing(tmp_path: Path) -> None:
    from warmline.environments.episodes.log import EpisodeLog

    with EpisodeLog(tmp_path / "episodes.jsonl"), pytest.raises(RunError, match="another process"):
        await warmline.run_batch(environment(talk()), scenarios(1), out=tmp_path)
    assert not (tmp_path / "config.toml").exists()


async def test_a_folder_of_other_settings_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    (tmp_path / "config.toml").write_text("[identity]\nbase = 'a model'\n")
    with pytest.raises(RunError, match="base: a model"):
        await warmline.run_batch(environment(talk()), scenarios(1), out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["config.toml"]


async def test_without_its_configuration_a_log_of_another_seed_or_setting_is_refused(
    tmp_path: Path,
) -> None:
    await warmline.run_batch(environment(talk()), scenarios(2), out=tmp_path, seed=3)
    (tmp_path / "config.toml").unlink()
    with pytest.raises(RunError, match="seed: 3 -> 4"):
        await warmline.run_batch(environment(talk()), scenarios(4), out=tmp_path, seed=4)
    with pytest.raises(RunError, match="config_hash: "):
        await warmline.run_batch(
            environment(talk(), max_turns=6), scenarios(4), out=tmp_path, seed=3
        )
    assert not (tmp_path / "config.toml").exists()
    await warmline.run_batch(environment(talk()), scenarios(4), out=tmp_path, seed=3)
    assert len(warmline.read_episodes(tmp_path)) == 4


async def test_a_run_over_another_pool_is_refused_in_words_of_its_own(tmp_path: Path) -> None:
    """As when the seed pool has grown between two versions."""

    def played(dialogues: int, **changes: Any) -> warmline.SupportEnvironment:
        pool = CasePool(warmline.seed_dialogues()[:dialogues])
        return environment(talk(), cases=pool, case_dialogues=1, **changes)

    await warmline.run_batch(played(3), scenarios(2), out=tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(
        RunError, match=r"same settings over another pool.*seed pool has changed"
    ) as e:
        await warmline.run_batch(played(4), scenarios(2), out=tmp_path)
    assert "the version of Warmline that began it" in (e.value.hint or "")
    with pytest.raises(RunError, match=r"limits\.max_turns: 4 -> 6") as e:
        await warmline.run_batch(played(4, max_turns=6), scenarios(2), out=tmp_path)
    assert "  cases: " in e.value.message
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    await warmline.run_batch(played(3), scenarios(3), out=tmp_path)
    assert len(warmline.read_episodes(tmp_path)) == 3


async def test_an_imported_corpus_takes_no_simulated_conversations(tmp_path: Path) -> None:
    await warmline.run_batch(environment(talk()), scenarios(1), out=tmp_path / "run")
    log = tmp_path / "run" / "episodes.jsonl"
    for name, with_sources in (("corpus", True), ("alone", False)):
        folder = tmp_path / name
        folder.mkdir()
        [episode] = warmline.read_episodes(log)
        recorded = episode.model_copy(update={"source": "esconv", "config_hash": ""})
        (folder / "episodes.jsonl").write_text(recorded.to_json() + "\n")
        if with_sources:
            write_sources(folder, [Source(name="esconv")])
        before = (folder / "episodes.jsonl").read_bytes()
        with pytest.raises(RunError, match="holds an imported corpus"):
            await warmline.run_batch(environment(talk()), scenarios(2), out=folder)
        assert (folder / "episodes.jsonl").read_bytes() == before
        assert not (folder / "config.toml").exists()


PLAIN = """
import warmline
class Mine:
    async def respond(self, request):
        return warmline.Reply("{words}")
class Counsel(warmline.Supporter):
    def read(self, reply):
        "{words}"
        return super().read(reply)
class Based(warmline.policies.BasePolicy):
    async def respond(self, request):
        return warmline.Reply("{words}")
class Described(Mine):
    def describe(self):
        return {{"policy": "mine", "version": 2}}
"""


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module of the user's own, which is not there yet."""
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "mine_alone.py"
    sys.modules.pop("mine_alone", None)


def loaded(file: Path, words: str) -> ModuleType:
    file.write_text(PLAIN.format(words=words))
    sys.modules.pop("mine_alone", None)
    importlib.invalidate_caches()
    return importlib.import_module("mine_alone")


@pytest.mark.parametrize("name", ["Mine", "Based"])
async def test_a_users_policy_whose_source_changed_is_refused(name: str, written: Path) -> None:
    out = written.parent / "run"
    for words in ("Yes.", "Yes."):
        policy = getattr(loaded(written, words), name)()
        await warmline.run_batch(environment(policy), scenarios(1), out=out)
    policy = getattr(loaded(written, "Never again."), name)()
    with pytest.raises(RunError, match=r"supporter\.source_hash"):
        await warmline.run_batch(environment(policy), scenarios(2), out=out)


async def test_a_users_agent_whose_source_changed_is_refused(written: Path) -> None:
    out = written.parent / "run"
    agent = loaded(written, "Yes.").Counsel(talk())
    await warmline.run_batch(environment(talk(), supporter=agent), scenarios(1), out=out)
    agent = loaded(written, "Well, no.").Counsel(talk())
    with pytest.raises(RunError, match=r"supporter\.agent_source_hash"):
        await warmline.run_batch(environment(talk(), supporter=agent), scenarios(2), out=out)


async def test_a_policy_that_describes_itself_is_taken_at_its_word(written: Path) -> None:
    out = written.parent / "run"
    for words in ("Yes.", "Perhaps."):
        policy = loaded(written, words).Described()
        await warmline.run_batch(environment(policy), scenarios(1), out=out)
    assert "source_hash" not in (out / "config.toml").read_text()


async def test_a_run_from_before_sources_counted_goes_on(written: Path) -> None:
    out = written.parent / "run"
    policy = loaded(written, "Yes.").Mine()
    await warmline.run_batch(environment(policy), scenarios(1), out=out)
    config = out / "config.toml"
    old = [line for line in config.read_text().splitlines() if "source_hash" not in line]
    config.write_text("\n".join(old))
    await warmline.run_batch(environment(policy), scenarios(2), out=out)
    assert "source_hash" in config.read_text()


async def test_a_start_that_came_to_nothing_leaves_the_folder_free(tmp_path: Path) -> None:
    def failing(request: warmline.Request) -> str:
        raise AuthenticationFailed("no key")

    async def played(policy: warmline.ScriptedPolicy, turns: int) -> int:
        env = environment(policy, max_turns=turns)
        return len(await warmline.run_batch(env, scenarios(2), out=tmp_path, seed=1))

    with pytest.raises(AuthenticationFailed):
        await played(warmline.ScriptedPolicy(failing), 2)
    assert not list(tmp_path.iterdir())
    assert await played(talk(), 4) == 2
    assert "max_turns = 4" in (tmp_path / "config.toml").read_text()
    with pytest.raises(RunError, match="max_turns: 4 -> 6"):
        await played(talk(), 6)


class Unready(warmline.ScriptedPolicy):
    """Cannot be opened."""

    async def open(self) -> None:
        raise AuthenticationFailed("no key")


async def test_a_refused_start_leaves_nothing_behind(tmp_path: Path) -> None:
    out = tmp_path / "runs" / "deep" / "first"
    with pytest.raises(AuthenticationFailed):
        await warmline.run_batch(environment(Unready()), scenarios(1), out=out)
    assert list(tmp_path.iterdir()) == []
    out.mkdir(parents=True)
    (out / "notes.md").write_text("mine")
    with pytest.raises(AuthenticationFailed):
        await warmline.run_batch(environment(Unready()), scenarios(1), out=out)
    assert (out / "notes.md").read_text() == "mine"


async def test_a_refused_start_in_a_run_s_folder_changes_nothing_there(tmp_path: Path) -> None:
    await warmline.run_batch(environment(talk()), scenarios(2), out=tmp_path)
    before = (tmp_path / "episodes.jsonl").read_bytes()

    policy = talk()

    async def refuse() -> None:
        raise AuthenticationFailed("no key")

    policy.open = refuse  # type: ignore[method-assign]
    with pytest.raises(AuthenticationFailed):
        await warmline.run_batch(environment(policy), scenarios(3), out=tmp_path)
    assert (tmp_path / "episodes.jsonl").read_bytes() == before
    assert (tmp_path / "config.toml").is_file()


async def test_of_two_starts_the_later_one_does_not_write_into_a_log_that_the_first_withdrew(
    tmp_path: Path,
) -> None:
    from warmline.core.jsonl import LineLog

    log = LineLog(tmp_path / "a.jsonl")
    opened = log._lock

    def lock_after_removal(file: object) -> None:
        (tmp_path / "a.jsonl").unlink()
        opened(file)  # type: ignore[arg-type]

    log._lock = lock_after_removal  # type: ignore[method-assign]
    with pytest.raises(RunError, match="was removed by another process"):
        log.__enter__()
