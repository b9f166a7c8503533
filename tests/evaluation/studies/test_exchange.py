"""One exchange at a time is the same conversation as one that was never interrupted."""

from __future__ import annotations

import asyncio
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import warmline
from tests.evaluation.studies.sites import Voice, study_settings, voiced
from warmline.core.errors import ParticipantLeft, PolicyError
from warmline.core.outside.text import clean_text
from warmline.environments.dialogue.environment import SupportEnvironment
from warmline.environments.dialogue.state import Dialogue
from warmline.environments.episodes.episode import Episode, StopReason
from warmline.environments.scenarios.scenario import UNSPECIFIED, Scenario
from warmline.evaluation.studies.exchange import (
    PersonAsSeeker,
    Unanswered,
    begun,
    environments_of,
    exchange,
)
from warmline.policies.base import BasePolicy, Capabilities

ABOUT = Scenario(id="t", problem_type=UNSPECIFIED, situation=UNSPECIFIED)


class Types(BasePolicy):
    """A person who types these lines and leaves."""

    name = "human"
    is_person = True

    def __init__(self, lines: list[str]) -> None:
        self.lines = list(lines)

    async def respond(self, request: warmline.Request) -> warmline.Reply:
        if not self.lines:
            raise ParticipantLeft("left")
        return warmline.Reply(self.lines.pop(0), policy="human", latency=None)


class Small(Voice):
    capabilities = Capabilities(small_model=True)


def one(tmp_path: Path, voice: Voice) -> SupportEnvironment:
    return voiced(study_settings(tmp_path), base=voice)["base"]


@cache
def scripted() -> SupportEnvironment:
    return environments_of(study_settings(Path("unused")))["base"]


async def through(environment: SupportEnvironment, lines: list[str]) -> Episode:
    episode = begun(environment, ABOUT, 7)
    for line in lines:
        episode = (await exchange(environment, episode, line)).episode
        episode = Episode.model_validate_json(episode.to_json())  # as after a restart
    return episode


async def test_it_is_the_conversation_that_was_never_interrupted(tmp_path: Path) -> None:
    lines = ["My dog died.", "He was old.", "I miss him."]
    settings = study_settings(tmp_path, models={"base": {"policy": "scripted"}})
    environment = environments_of(settings)["base"]
    apart = await through(environment, lines)
    whole = await SupportEnvironment(
        seeker=PersonAsSeeker(Types(lines)),
        supporter=environment.supporter,
        max_turns=environment.limits.max_turns,
        stop_on_farewell=False,
    ).run(ABOUT, seed=7)
    kept = {"utterances", "calls", "messages", "seed", "scenario"}
    assert apart.model_dump(include=kept) == whole.model_dump(include=kept)
    assert [call.seed for call in apart.calls[1::2]] == [call.seed for call in whole.calls[1::2]]
    assert len({call.seed for call in apart.calls[1::2]}) == 3


@given(st.text(min_size=1).filter(lambda t: any(map(str.isalnum, t))))
def test_what_a_person_types_is_never_cut_or_read_as_a_command(text: str) -> None:
    episode = asyncio.run(through(scripted(), [text]))
    said = episode.utterances[0]
    assert said.text == said.raw.strip()
    assert said.repairs == ()
    assert said.text == clean_text(text).strip()


async def test_replies_keep_the_sentence_cap(tmp_path: Path) -> None:
    voice = Voice("One is here. Two is here. Three is here. Four is here.")
    episode = await through(one(tmp_path, voice), ["A. B. C. D. E."])
    assert episode.utterances[0].text == "A. B. C. D. E."
    assert episode.utterances[1].text == "One is here. Two is here. Three is here."
    assert episode.utterances[1].repairs == ("sentence_cap",)


async def test_a_small_model_never_answers_a_person_in_crisis(tmp_path: Path) -> None:
    voice = Small()
    environment = one(tmp_path, voice)
    calm = await exchange(environment, begun(environment, ABOUT, 0), "I am tired.")
    found = await exchange(environment, calm.episode, "I want to kill myself.")
    assert voice.asked == 1
    assert found.guidance
    assert "988" in found.reply.text
    assert found.episode.calls[-1].notes == {"crisis_guidance": {"held_back": "Small"}}


async def test_a_failure_leaves_the_dialogue_as_it_was(tmp_path: Path) -> None:
    voice = Voice()
    environment = one(tmp_path, voice)
    before = (await exchange(environment, begun(environment, ABOUT, 0), "Hello.")).episode
    stored = before.to_json()
    voice.fails = 1
    with pytest.raises(Unanswered, match="away") as failure:
        await exchange(environment, before, "Are you there?")
    assert before.to_json() == stored
    kept = Episode.model_validate_json(failure.value.episode.to_json())
    assert kept.utterances == before.utterances
    assert kept.calls[-1].error == "PolicyError: the engine is away"
    after = (await exchange(environment, kept, "Are you there?")).episode
    assert len(after.utterances) == 4
    assert after.calls[-1].seed not in {
        call.seed for call in kept.calls
    }  # another try, other seeds


async def test_a_crash_of_a_users_policy_is_an_error_and_an_empty_reply_too(tmp_path: Path) -> None:
    class Broken(Voice):
        async def respond(self, request: Any) -> Any:
            raise ZeroDivisionError("oh")

    for voice, words in ((Broken(), "oh"), (Voice(""), "said nothing")):
        environment = one(tmp_path, voice)
        with pytest.raises(PolicyError, match=words):
            await exchange(environment, begun(environment, ABOUT, 0), "Hello.")


def test_a_reopened_dialogue_closes_to_the_same_record() -> None:
    episode = warmline.simulate(policy="scripted", episodes=1, max_turns=6, progress=False)[0]
    dialogue = Dialogue.reopened(episode)
    again = dialogue.close(episode.stop, seconds=episode.timing.seconds)
    assert again.to_json() == episode.to_json()
    assert again.stop is not StopReason.ERROR
