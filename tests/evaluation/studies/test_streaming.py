"""A reply as it is written: nothing is shown that would not stand in the record, or that is held back."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra web is not installed")

import warmline
from tests.evaluation.studies.sites import Person, Voice, study_settings, voiced
from tests.evaluation.studies.test_pages import served
from warmline.environments.dialogue.seating import Seats
from warmline.environments.dialogue.state import Dialogue
from warmline.evaluation.studies import aloud
from warmline.evaluation.studies.exchange import PersonTalk, begun, exchange
from warmline.evaluation.studies.talks import State
from warmline.policies.safety import crisis_kinds
from warmline.policies.text.aloud import heard, listener, speaks_aloud
from warmline.policies.wrappers.best_of import BestOf
from warmline.policies.wrappers.limit import Limit

REPLIES = (
    "That sounds hard. How long has it been so? I am here.",
    "Supporter: [Question] Hello there! What happened? Tell me. And more. And still more.",
    '"I hear you. It is a lot."',
    "One. Two. Three. Four. Five.",
    "Take care of yourself. N/A",
    "Dr. Smith may know. Ask e.g. Mr. Jones. 3.5 hours are long.",
    "我在听。你今天怎么样？慢慢说。我不走。",
    "First line\nSeeker: something else. And more.",
)
CRISIS = (
    "I hear you. You could kill yourself. Then it is over.",
    "Some people think of killing themselves. Do you want to die?",
    "It is late. Sleep well. Now. I want to die.",
)


class Aloud(Voice):
    """Speaks word by word, and before the last ones waits for what `wait` gives."""

    speaks_aloud = True

    def __init__(self, line: str, wait: Any = None) -> None:
        super().__init__(line)
        self.wait = wait

    async def respond(self, request: warmline.Request) -> warmline.Reply:
        hear = listener()
        words = re.findall(r"\s*\S+", self.line)
        for count in range(1, len(words)):
            if hear is not None:
                hear("".join(words[:count]))
            await asyncio.sleep(0)
        if self.wait is not None:
            await self.wait()
        return await super().respond(request)


def talk_of(tmp_path: Path, voice: Voice) -> tuple[Any, PersonTalk]:
    environment = voiced(study_settings(tmp_path), base=voice)["base"]
    about = warmline.Scenario(id="t", problem_type="x", situation="y")
    dialogue = Dialogue.reopened(begun(environment, about, 0))
    seats = Seats(environment.seeker, environment.supporter, None)
    return environment, PersonTalk(seats, environment.limits, dialogue, lambda _: None)


@pytest.mark.parametrize("line", REPLIES)
async def test_what_is_shown_early_stands_in_the_record(tmp_path: Path, line: str) -> None:
    environment, talk = talk_of(tmp_path, Voice(line))
    final = (await exchange(environment, talk.dialogue.close("left", seconds=0), "Hi.")).reply.text
    for length in range(len(line)):
        shown = talk.showable(line[:length])
        assert shown is not None
        assert final.startswith(shown)


@pytest.mark.parametrize("line", CRISIS)
def test_nothing_of_a_sentence_in_crisis_is_shown_early(tmp_path: Path, line: str) -> None:
    _, talk = talk_of(tmp_path, Voice(line))
    assert crisis_kinds(line)
    shown = [talk.showable(line[:length]) for length in range(len(line) + 1)]
    assert shown[-1] is None
    assert not any(crisis_kinds(text) for text in shown if text)
    held = shown.index(None)  # there the following ends
    early = max((text for text in shown[:held] if text), key=len, default="")
    assert not re.search("kill|die", early)


def test_wrappers_that_throw_answers_away_are_not_heard() -> None:
    voice = Aloud("Hello.")
    assert speaks_aloud(Limit(voice, concurrency=1))
    assert not speaks_aloud(BestOf(voice, n=2))
    assert not speaks_aloud(Voice())
    with heard(BestOf(voice, n=2), print):
        assert listener() is None


def events(text: str) -> list[str]:
    return [json.loads(data) for data in re.findall(r"event: text\ndata: (.*)\n", text)]


def streamed(client: Any, site: Any, person: Person, said: str) -> tuple[list[str], str]:
    """What the page was sent while the reply was written, and the page after it."""
    form = person.fields()
    client.post(f"{person.path}/say", data=form | {"text": said}, follow_redirects=False)
    version = site.talks.of(form["task"]).version
    answer = client.get(f"{person.path}/stream?version={version}")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.endswith("event: done\ndata: {}\n\n")
    return events(answer.text), person.awaited()


def test_sentences_come_while_the_rest_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent_so_far, after = [], aloud.Aloud.after

    async def noted(self: aloud.Aloud, seen: str, seconds: float) -> str:
        sent_so_far.append(seen)
        return await after(self, seen, seconds)

    monkeypatch.setattr(aloud.Aloud, "after", noted)
    voice = Aloud("That is <b>hard</b>. Tell me more. What else is there now?")
    with served(study_settings(tmp_path, early=True), base=voice, tuned=voice) as (client, site):

        async def until_sent() -> None:
            """The last words are written once the page has got the first."""
            while not any(sent_so_far):
                await asyncio.sleep(0.01)

        voice.wait = until_sent
        person = Person.joined(client, site)
        sent, page = streamed(client, site, person, "I am low.")
        assert sent == ["That is <b>hard</b>.", voice.line]  # early, and the whole
        assert "What else is there now?" in page
        assert "&lt;b&gt;" in page
        stale = client.get(f"{person.path}/stream?version=0").text
        assert events(stale) == []
        assert stale.endswith("event: done\ndata: {}\n\n")
        assert client.get("/p/guessed/stream?version=1").status_code == 404


def test_unless_asked_for_nothing_is_sent_before_all_of_it_was_looked_through(
    tmp_path: Path,
) -> None:
    calm = Aloud("That is hard. Tell me more. What else is there now?")
    # only the first and the third sentence together are found
    grave = Aloud("I look over the balcony. Okay then. I wonder what it would be like to let go.")
    assert crisis_kinds(grave.line)
    assert not crisis_kinds("I look over the balcony. Okay then.")
    for name, voice in (("calm", calm), ("grave", grave)):
        settings = study_settings(tmp_path / name)
        with served(settings, base=voice, tuned=voice) as (client, site):

            async def a_while() -> None:
                await asyncio.sleep(0.3)

            voice.wait = a_while
            sent, page = streamed(client, site, Person.joined(client, site), "I am low.")
        assert sent == ([voice.line] if voice is calm else [])
        assert ("Show the reply" in page) == (voice is grave)


def test_a_held_back_reply_is_not_shown_first(tmp_path: Path) -> None:
    voice = Aloud("I hear you. You could kill yourself. It is over then, my friend.")
    with served(study_settings(tmp_path, early=True), base=voice, tuned=voice) as (client, site):

        async def until_held() -> None:
            while not any(each.held for each in site.runner._aloud.values()):
                await asyncio.sleep(0.01)

        voice.wait = until_held
        person = Person.joined(client, site)
        sent, page = streamed(client, site, person, "I am low.")
        assert sent == []  # not even the harmless sentence before
        assert "Show the reply" in page
        assert "kill" not in page


def test_a_small_models_talk_in_crisis_streams_nothing_of_it(tmp_path: Path) -> None:
    voice = Aloud("Some words. And more of them. And more.")
    voice.capabilities = warmline.policies.base.Capabilities(small_model=True)  # type: ignore[attr-defined]
    with served(study_settings(tmp_path), base=voice, tuned=voice) as (client, site):
        person = Person.joined(client, site)
        person.say("I want to die.")
        person.post("send")
        assert voice.asked == 0
        assert "Some words" not in person.awaited()


def test_two_replies_are_shown_when_both_are_whole(tmp_path: Path) -> None:
    voice = Aloud("That is hard. Tell me more. What else is there?")
    with served(study_settings(tmp_path, "pairwise"), base=voice, tuned=voice) as (client, site):
        person = Person.joined(client, site)
        sent, page = streamed(client, site, person, "I am low.")
        assert sent == []
        assert "data-stream" not in page
        assert site.talks.of(person.fields()["task"]).state is State.CHOOSE
