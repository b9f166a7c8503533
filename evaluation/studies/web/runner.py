"""Asking the models, beside the pages: one job a talk, begun again after a restart."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from ....environments.dialogue.environment import SupportEnvironment
from ....policies.base import Policy, close_policy, open_policy
from ..aloud import Aloud
from ..exchange import Exchanged, Unanswered, exchange
from ..talks import State, Talks

LOGGER = logging.getLogger("warmline.studies")


class Runner:
    """Asks the models of a study.

    Args:
        talks: of the study.
        environments: one a model, by name.
    """

    def __init__(self, talks: Talks, environments: Mapping[str, SupportEnvironment]) -> None:
        self.talks, self.environments = talks, dict(environments)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._jobs: dict[str, asyncio.Task[None]] = {}
        self._aloud: dict[str, Aloud] = {}

    def _policies(self) -> list[Policy]:
        found: dict[int, Policy] = {}
        for each in self.environments.values():
            seats = (each.supporter, each.counselor)
            found |= {id(seat.policy): seat.policy for seat in seats if seat is not None}
        return list(found.values())

    async def open(self) -> None:
        """Open the policies, and ask what was left open.

        Raises:
            PolicyError, ConfigError: an engine cannot be opened.
        """
        self._loop = asyncio.get_running_loop()
        for policy in self._policies():
            await open_policy(policy)
        for task in self.talks.waiting():
            self._start(task)

    async def aclose(self) -> None:
        """Drop what is under way (it is asked again at the next start) and close the policies."""
        for job in self._jobs.values():
            job.cancel()
        await asyncio.gather(*self._jobs.values(), return_exceptions=True)
        for policy in self._policies():
            await close_policy(policy)

    def ensure(self, task: str) -> None:
        """See that a talk which waits for a model is being answered. From any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._start, task)

    def aloud(self, task: str) -> Aloud | None:
        """The reply that is being written in a talk in which one model answers."""
        return self._aloud.get(task)

    def _start(self, task: str) -> None:
        if task not in self._jobs:
            job = asyncio.create_task(self._answer(task))
            self._jobs[task] = job
            job.add_done_callback(lambda _: self._jobs.pop(task, None))

    async def _answer(self, name: str) -> None:
        task = await asyncio.to_thread(self.talks.tasks.by_id, name)
        talk = await asyncio.to_thread(self.talks.find, name)
        if task is None or talk is None or talk.state is not State.ASKED:
            return
        models: list[str] = task.item.payload["models"]
        aloud = Aloud() if len(models) == 1 else None  # two are shown together, when both are whole
        if aloud is not None:
            self._aloud[name] = aloud
        early = aloud if self.talks.settings.early else None
        asked = [
            exchange(self.environments[m], talk.episode, talk.pending, aloud=early) for m in models
        ]
        try:
            found: list[Exchanged] = await asyncio.gather(*asked)
        except Exception as error:
            if not isinstance(error, Unanswered):
                LOGGER.error("a talk could not be answered", exc_info=error)
            with_calls = error.episode if isinstance(error, Unanswered) else None
            await asyncio.to_thread(self.talks.failed, task, talk.version, str(error), with_calls)
        else:
            replies = list(zip(models, found, strict=True))
            await asyncio.to_thread(self.talks.answered, task, talk.version, replies)
        finally:
            if aloud is not None:
                del self._aloud[name]
                aloud.end()
