"""Workers ask for a round's scenarios and profiles; one process decides, from their answers.

What is asked depends on seed, place and attempt alone, and what is kept on all situations in order.
So each worker asks for its places as if every readable situation were kept, and writes the answers to
a file of its own; the process that decides finds each of its questions answered there, and opens no
engine. Its result is that of one process.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ....core.errors import BadRequest, DataError, Interrupted, PolicyError
from ....core.jsonl import LineLog, complete_objects
from ....core.shards.division import file_of, part_of
from ....policies.asking import ask_policy
from ....policies.base import Policy, Reply, Request, close_policy, open_policy, policy_name
from ....policies.concurrency import open_conversations
from ....policies.registry import make_policy
from ....policies.wrappers.base import Wrapper
from ....policies.wrappers.cache import request_key
from ....policies.wrappers.store import from_json, to_json
from ...runs.folder import WRITERS_NAME
from ...shards.parts import Parts
from .coverage import Slot
from .iteration import GenerationRound, Unanswered, first_line
from .journal import Nothing
from .pools import Pools
from .prompts import Prompts
from .settings import BuildSettings

ANSWERS_NAME = "answers.jsonl"


class AnsweredAhead(Wrapper):
    """Answers as files of answers do, and asks the inner policy for what is in none of them.

    The inner policy is opened when it is first asked.

    Args:
        policy: the inner policy.
        folder: of the files.
    """

    kind = "answered_ahead"

    def __init__(self, policy: Policy, folder: Path) -> None:
        super().__init__(policy)
        self._folder = folder
        self._found: dict[str, Reply | PolicyError] = {}
        self._opening: asyncio.Task[None] | None = None
        self.log: LineLog | None = None
        """Where answers of the inner policy are written."""

    @property
    def name(self) -> str:
        """The inner policy's, as records have it."""
        return policy_name(self.inner)

    def read(self) -> None:
        """Take in the answers of all files, the lines that are whole.

        Raises:
            DataError: a line is no answer.
        """
        for file in sorted(self._folder.rglob(f"{Path(ANSWERS_NAME).stem}*.jsonl")):
            for number, line in complete_objects(file):
                try:
                    self._found[line["key"]] = _answer(line)
                except (KeyError, TypeError, ValueError, AttributeError) as error:
                    raise DataError(
                        f"not an answer of a worker ({type(error).__name__}: {error})",
                        file=file,
                        line=number,
                        hint="the file was changed by something else; delete it to ask again",
                    ) from None

    def forget(self) -> None:
        """Drop the answers and their files: the round is decided, and it is in the journals."""
        self._found.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def open(self) -> None:
        """Only read: what is asked for may all be answered."""
        self.read()

    async def open_inner(self) -> None:
        """Open the inner policy, once."""
        self._opening = self._opening or asyncio.create_task(open_policy(self.inner))
        await asyncio.shield(self._opening)

    async def respond(self, request: Request) -> Reply:
        key = request_key(request, self.inner).hex()
        found = self._found.get(key)
        if found is None:
            await self.open_inner()
            found = self._found[key] = await self._asked(request)
            if self.log is not None:
                self.log.write_line(_line(key, found), "an answer")
        if isinstance(found, PolicyError):
            raise found
        return found

    async def _asked(self, request: Request) -> Reply | PolicyError:
        try:
            return await ask_policy(self.inner, request)
        except Unanswered as error:
            return error  # of this question alone: it would be refused again


def _answer(line: Mapping[str, Any]) -> Reply | PolicyError:
    return BadRequest(line["refusal"]) if "refusal" in line else from_json(line["reply"])


def _line(key: str, found: Reply | PolicyError) -> str:
    if isinstance(found, PolicyError):  # whoever decides reads of it no more than its first line
        return json.dumps({"key": key, "refusal": first_line(found)})
    return json.dumps({"key": key, "reply": to_json(found)})


@dataclasses.dataclass(frozen=True)
class AskAhead:
    """Asks for one part of an attempt's places; see `core.shards.parts.DoPart`.

    Attributes:
        folder: where the answers are written.
        number: of the round, from 1.
        slots: the places of all parts.
        attempt: at their situations, from 1.
        pools: the round's.
        policy: a ready one that writes; None makes the settings' own.
    """

    folder: Path
    number: int
    slots: Sequence[Slot]
    attempt: int
    pools: Pools
    prompts: Prompts
    settings: BuildSettings
    policy: Policy | None

    async def __call__(self, part: str, stop: asyncio.Event) -> None:
        """Ask.

        Raises:
            Interrupted: `stop` was set.
            PolicyError: the engine failed.
        """
        number, parts = part_of(part)
        settings = self.settings.model_copy(update={"near_duplicates": "off"})
        policy = self.policy
        if policy is None:
            engine = settings.writer()
            policy = make_policy(engine.policy or "", **engine.policy_options())
        writer = AnsweredAhead(policy, self.folder)
        with ExitStack() as stack:
            writer.log = stack.enter_context(LineLog(file_of(self.folder / ANSWERS_NAME, part)))
            writer.read()
            try:
                await writer.open_inner()
                await GenerationRound(
                    self.number,
                    self.slots[number - 1 :: parts],
                    self.pools,
                    policy=writer,
                    prompts=self.prompts,
                    settings=settings,
                    journal=Nothing(),
                    seed=settings.seed,
                    concurrency=settings.concurrency or open_conversations([policy]),
                    stop=stop,
                    observe=lambda _: None,
                ).attempt(self.attempt)
            finally:
                await close_policy(policy)
        if stop.is_set():
            raise Interrupted(f"part {part} was stopped")


class Ahead:
    """The workers of one build that ask ahead.

    Args:
        out: the build's folder.
        settings: also say who the workers are.
        policy: as in `AskAhead`.
        writer: asked by the process that decides.
        say: told a line for each part that is finished and each worker that is lost.
    """

    def __init__(
        self,
        out: Path,
        settings: BuildSettings,
        policy: Policy | None,
        writer: AnsweredAhead,
        say: Callable[[str], None],
    ) -> None:
        self.folder = out / WRITERS_NAME
        self._settings, self._policy, self._say = settings, policy, say
        self._writer = writer

    async def ask(
        self,
        number: int,
        slots: Sequence[Slot],
        attempt: int,
        pools: Pools,
        prompts: Prompts,
        stop: asyncio.Event,
    ) -> None:
        """Have one attempt of some places answered; see `AskAhead` and `Parts.run`."""
        settings = self._settings
        folder = self.folder / f"round-{number}-attempt-{attempt}"  # whose parts are no other's
        do = AskAhead(
            folder.absolute(), number, slots, attempt, pools, prompts, settings, self._policy
        )
        who = settings
        if settings.workers is not None:  # no more than have something to do
            who = settings.model_copy(update={"workers": min(settings.workers, len(slots))})
        folder.mkdir(parents=True, exist_ok=True)
        await Parts(do, folder, who, self._say).run(stop)
        self._writer.read()
