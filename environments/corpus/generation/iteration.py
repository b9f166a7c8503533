"""One round of generation: every open place of the plan gets a scenario with a profile, or none.

The examples of a round are frozen, and situations are decided in the order of the plan, attempt by
attempt, whatever the order of the answers: so on an engine that honours seeds the outcome depends
neither on how many are asked at once nor on where a build was killed and taken up again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ....core.errors import BadRequest, ContextTooLong, PolicyError, UnreadableReply
from ....core.seeds import call_seed
from ....policies.asking import ask_policy
from ....policies.base import Policy, Reply, Request, policy_name
from ...scenarios.scenario import Origin, Profile, Scenario
from .checks import profile_fault, situation_fault, type_fault
from .coverage import Slot
from .journal import Journal, Reject
from .pools import Pools, depth_of, draw_examples, generated_among
from .prompts import (
    GenerationSettings,
    Prompts,
    fit_request,
    profile_request,
    read_profile,
    read_situation,
    scenario_request,
)
from .sampled_profiles import draw_profile
from .similarity import SimilarTexts, similar_texts

DRAWN = "drawn"

Unanswered = (UnreadableReply, BadRequest, ContextTooLong)
"""Errors that leave one question without an answer; others are the engine's."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A situation that was written, before it is compared with the others.

    Attributes:
        text: the situation.
        raw: the answer as written.
        fault: what already speaks against it.
        depth: of the examples.
    """

    text: str
    raw: str
    fault: str | None
    examples: tuple[str, ...]
    depth: int
    policy: str


class GenerationRound:
    """Fills the slots of one round.

    Args:
        number: of the round, from 1.
        slots: the round's part of the plan.
        pools: the examples; frozen.
        policy: writes situations and profiles.
        journal: open; what it holds of this round is not asked again.
        seed: the build's seed.
        concurrency: requests in flight.
        stop: once set, nothing more is asked.
        observe: called with each scenario and each reject.
        before: awaited before each attempt with the places that wait and the attempt's number.

    Raises:
        MissingExtra: (from `run`) the library that finds near-duplicates is not installed.
        PolicyError: (from `run`) the engine failed, other than by one unusable answer.
    """

    def __init__(
        self,
        number: int,
        slots: Sequence[Slot],
        pools: Pools,
        *,
        policy: Policy,
        prompts: Prompts,
        settings: GenerationSettings,
        journal: Journal,
        seed: int,
        concurrency: int,
        stop: asyncio.Event,
        observe: Callable[[Scenario | Reject], None],
        before: Callable[[Sequence[Slot], int], Awaitable[None]] | None = None,
    ) -> None:
        self.number, self.slots, self.pools = number, slots, pools
        self.policy, self.prompts, self.settings = policy, prompts, settings
        self.journal, self.seed = journal, seed
        self._concurrency, self._stop, self._observe = concurrency, stop, observe
        self._before = before
        self._gate = asyncio.Semaphore(concurrency)

    async def run(self) -> list[Scenario]:
        """Ask until every slot is filled or given up; returns the scenarios in plan order."""
        known = self._known_texts()
        for attempt in range(1, self.settings.attempts + 1):
            waiting = [
                slot
                for slot in self.slots
                if not self.journal.is_decided(slot.id, attempt, self._max_profiles)
            ]
            if waiting and self._before is not None:
                await self._before(waiting, attempt)
            if waiting:
                await self._wave(waiting, attempt, known)
        accepted = self.journal.scenarios
        return [accepted[slot.id] for slot in self.slots if slot.id in accepted]

    async def attempt(self, number: int) -> None:
        """Ask once for each slot, without comparing situations."""
        await self._wave(list(self.slots), number, None)

    @property
    def _max_profiles(self) -> int:
        return 1 if self.settings.profile == DRAWN else self.settings.profile_attempts

    def _known_texts(self) -> SimilarTexts | None:
        """All situations there are. Weights are fitted on those of before this round."""
        if self.settings.near_duplicates == "off":
            return None
        mine = {slot.id for slot in self.slots}
        texts = {scenario.id: scenario.situation for scenario in self.pools.scenarios}
        there = {s.id: s.situation for s in self.journal.scenarios.values()}
        there |= self.journal.spent(self._max_profiles)
        before = {name: text for name, text in there.items() if name.split("/")[0] not in mine}
        known = similar_texts(self.settings.near_duplicates, texts | dict(sorted(before.items())))
        for name, text in there.items():
            if name not in before:
                known.add(name, text)
        return known

    async def _wave(self, slots: list[Slot], attempt: int, known: SimilarTexts | None) -> None:
        """One attempt for each slot. Drafts are written ahead, and decided in order."""
        tasks: list[asyncio.Task[Any]] = []

        def begin(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
            tasks.append(asyncio.create_task(work))
            return tasks[-1]

        def drafts(queue: Iterator[Slot]) -> Iterator[tuple[Slot, asyncio.Task[Draft]]]:
            for slot in queue:
                if self._stop.is_set():
                    return
                yield slot, begin(self._draft(slot, attempt))

        coming = drafts(iter(slots))
        ahead: deque[tuple[Slot, asyncio.Task[Draft]]] = deque()
        finishing = []
        try:
            for entry in coming:
                ahead.append(entry)
                if len(ahead) >= self._concurrency:
                    break
            while ahead:
                slot, writing = ahead.popleft()
                draft = await writing
                ahead.extend(entry for _, entry in zip(range(1), coming, strict=False))
                if self._decide(slot, attempt, draft, known):
                    finishing.append(begin(self._finish(slot, attempt, draft)))
            await asyncio.gather(*finishing)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # A situation

    async def _draft(self, slot: Slot, attempt: int) -> Draft:
        examples = self._examples(slot, attempt)
        seed = call_seed(self.seed, f"{slot.id}/scenario", attempt)
        request = scenario_request(
            self.prompts,
            slot,
            examples,
            policy=self.policy,
            settings=self.settings,
            seed=seed,
        )
        reply, fault = await self._ask(request)
        text = read_situation(reply) if reply else ""
        fault = (
            fault
            or situation_fault(text, min_words=self.settings.min_words)
            or await self._misfit(slot, text, seed)
        )
        return Draft(
            text=text,
            raw=reply.text if reply else "",
            fault=fault,
            examples=tuple(example.id for example in examples),
            depth=max(map(depth_of, examples), default=0),
            policy=self._name(reply),
        )

    def _examples(self, slot: Slot, attempt: int) -> list[Scenario]:
        count = self.settings.examples
        return draw_examples(
            self.pools.scenarios,
            slot.problem_type,
            count,
            generated=generated_among(slot.number, count, self.settings.generated_share),
            max_depth=self.settings.max_depth,
            key=f"{self.seed}/{slot.id}/{attempt}",
        )

    async def _misfit(self, slot: Slot, text: str, seed: int) -> str | None:
        if self.settings.fit == "keywords":
            fault = type_fault(text, slot.problem_type, margin=self.settings.fit_margin)
            return f"does not fit: {fault}" if fault else None
        if self.settings.fit == "ask":
            reply, fault = await self._ask(fit_request(self.prompts, slot, text, seed=seed))
            if reply is None or reply.text.strip() == slot.problem_type:
                return fault
            return f"does not fit: taken for {reply.text.strip()}"
        return None

    def _decide(self, slot: Slot, attempt: int, draft: Draft, known: SimilarTexts | None) -> bool:
        """Whether a draft is kept; if so it counts as known from now on."""
        fault = draft.fault
        if fault is None and known is not None:
            near = known.nearest(draft.text)
            if near is not None and near.similarity >= self.settings.threshold:
                fault = f"near-duplicate: {near.similarity:.2f} to {near.id}"
        if fault is None:
            if known is not None:
                known.add(slot.id, draft.text)
            return True
        self._refuse(slot, attempt, fault, text=draft.raw)
        return False

    # A profile

    async def _finish(self, slot: Slot, attempt: int, draft: Draft) -> None:
        """Find the person for an accepted situation, and let both join the pools."""
        if self.settings.profile == DRAWN:
            key = f"{self.seed}/{slot.id}/{attempt}"
            drawn = draw_profile(key, dict(slot.attributes))
            self._accept(slot, attempt, draft, drawn, DRAWN, None)
            return
        for tried in range(
            self.journal.refused_profiles(slot.id, attempt) + 1, self._max_profiles + 1
        ):
            if self._stop.is_set():
                return
            example = self._profile_example(slot, attempt, tried)
            seed = call_seed(self.seed, f"{slot.id}/profile/{attempt}", tried)
            reply, fault = await self._ask(
                profile_request(
                    self.prompts, slot, draft.text, example, policy=self.policy, seed=seed
                )
            )
            profile, fault = self._read_profile(slot, draft, example, reply, fault)
            if profile is not None:
                self._accept(slot, attempt, draft, profile, self._name(reply), example)
                return
            self._refuse(
                slot,
                attempt,
                fault or "not readable",
                text=reply.text if reply else "",
                tried=tried,
                situation=draft.text,
            )

    def _profile_example(self, slot: Slot, attempt: int, tried: int) -> Scenario | None:
        found = draw_examples(
            self.pools.profiles,
            slot.problem_type,
            1,
            generated=generated_among(slot.number, 1, self.settings.generated_share),
            max_depth=self.settings.max_depth,
            key=f"{self.seed}/{slot.id}/profile/{attempt}/{tried}",
        )
        return found[0] if found else None

    def _read_profile(
        self,
        slot: Slot,
        draft: Draft,
        example: Scenario | None,
        reply: Reply | None,
        fault: str | None,
    ) -> tuple[Profile | None, str | None]:
        profile = read_profile(reply.text) if reply else None
        if profile is None:
            return None, fault
        shown = example.profile if example and isinstance(example.profile, Profile) else None
        fault = profile_fault(
            profile, situation=draft.text, example=shown, required=slot.attributes
        )
        return (None, fault) if fault else (profile, None)

    # Asking and writing down

    async def _ask(self, request: Request) -> tuple[Reply | None, str | None]:
        """The reply; or why this one question got none. A failed engine is not a reject."""
        async with self._gate:
            try:
                return await ask_policy(self.policy, request), None
            except Unanswered as error:
                return None, f"no answer: {first_line(error)}"

    def _name(self, reply: Reply | None) -> str:
        return (reply.policy if reply else "") or policy_name(self.policy)

    def _accept(
        self,
        slot: Slot,
        attempt: int,
        draft: Draft,
        profile: Profile,
        profile_by: str,
        example: Scenario | None,
    ) -> None:
        drawn = "; profile drawn" if profile_by == DRAWN else ""
        deepest = max(draft.depth, depth_of(example) if example else 0)
        scenario = Scenario(
            id=slot.id,
            problem_type=slot.problem_type,
            situation=draft.text,
            profile=profile,
            source=f"generated: {draft.policy}{drawn}",
            origin=Origin(
                depth=1 + deepest,
                round=self.number,
                attempt=attempt,
                examples=draft.examples,
                written_by=draft.policy,
                profile_by=profile_by,
                profile_example=example.id if example else "",
            ),
        )
        self.journal.accept(scenario)
        self._observe(scenario)

    def _refuse(
        self,
        slot: Slot,
        attempt: int,
        fault: str,
        *,
        text: str,
        tried: int = 0,
        situation: str = "",
    ) -> None:
        reason, _, detail = fault.partition(": ")
        reject = Reject(
            slot=slot.id,
            problem_type=slot.problem_type,
            stage="profile" if tried else "scenario",
            round=self.number,
            attempt=attempt,
            tried=tried,
            reason=reason,
            detail=detail,
            text=text,
            situation=situation,
        )
        self.journal.refuse(reject)
        self._observe(reject)


def first_line(error: PolicyError) -> str:
    """What an error says, in short."""
    return "".join(str(error).splitlines()[:1])[:200]
