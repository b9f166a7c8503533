"""Studies for tests: settings, models that answer at once, and a client that goes where forms lead."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import Any

import warmline
from warmline.core.errors import PolicyError
from warmline.environments.dialogue.environment import SupportEnvironment
from warmline.environments.runs.settings import RoleSettings
from warmline.evaluation.studies.exchange import environments_of
from warmline.evaluation.studies.settings import StudySettings

SECRET = "a-secret-of-the-owner"
HIDDEN = re.compile(r'name="(csrf|task|version|number|id)" value="([^"]*)"')


class Voice:
    """Says one line, or what `lines` gives for what it is asked."""

    def __init__(self, line: str = "I am listening.", lines: dict[str, str] | None = None) -> None:
        self.line, self.lines, self.asked = line, lines or {}, 0
        self.fails = 0
        self.gate: asyncio.Event | None = None

    async def respond(self, request: warmline.Request) -> warmline.Reply:
        self.asked += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.fails:
            self.fails -= 1
            raise PolicyError("the engine is away")
        said = request.messages[-1].content
        return warmline.Reply(self.lines.get(said, self.line))


def study_settings(folder: Path, kind: Any = "pointwise", **fields: Any) -> StudySettings:
    """Settings of a small study of two models."""
    chosen: dict[str, Any] = {"title": "A study", "kind": kind, "out": str(folder / "study")}
    if kind in ("chat", "pointwise", "pairwise"):
        chosen["models"] = {name: RoleSettings(policy="scripted") for name in ("base", "tuned")}
        chosen["min_exchanges"] = 1
    return StudySettings(**(chosen | fields))


def voiced(settings: StudySettings, **voices: Voice) -> dict[str, SupportEnvironment]:
    """The environments of a study with voices in the supporters' seats."""
    made = environments_of(settings)
    for name, voice in voices.items():
        made[name] = SupportEnvironment(
            seeker=made[name].seeker,
            supporter=warmline.Supporter(voice),
            max_turns=100,
            stop_on_farewell=False,
        )
    return made


class Person:
    """A participant behind a client: posts forms as the pages hold them.

    Args:
        client: of the application; follows redirections.
        path: the participant's own.
    """

    def __init__(self, client: Any, path: str) -> None:
        self.client, self.path = client, path

    @classmethod
    def joined(
        cls, client: Any, site: Any, query: str = "", *, ready: bool = True, **consent: str
    ) -> Person:
        """Somebody who came with the study's link, and went through consent and instructions."""
        answer = client.get(f"/join/{site.study.value('join')}{query}")
        assert answer.status_code == 200, answer.text
        person = cls(client, answer.url.path)
        if ready:
            person.post("consent", **({"agree": "yes", "adult": "yes", "country": ""} | consent))
            person.post("instructions")
        return person

    def page(self) -> str:
        return self.client.get(self.path).text

    def fields(self) -> dict[str, str]:
        return dict(HIDDEN.findall(self.page()))

    def post(self, what: str, **fields: str) -> Any:
        return self.client.post(f"{self.path}/{what}", data=self.fields() | fields)

    def say(self, text: str) -> str:
        """Say something and wait for what comes."""
        self.post("say", text=text)
        return self.awaited()

    def awaited(self) -> str:
        """The page once no model is asked any more."""
        for _ in range(400):
            page = self.page()
            if 'id="waiting"' not in page:
                return page
            time.sleep(0.01)
        raise AssertionError("no model answered")

    def rate(self, site: Any, value: int = 4, **fields: str) -> Any:
        return self.post("rate", **{f"d_{d.name}": str(value) for d in site.dimensions}, **fields)
