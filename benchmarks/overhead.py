"""What the environment itself costs a turn, beside AutoGen's team runtime, in one run.

Both sides play the same dialogue: four actors an exchange (seeker, counselor, supporter, judger),
so two actors a turn, twenty turns, each actor answering at once with a line of usual length. What is
left is prompt building, reading, limits and records on our side, and message passing on AutoGen's.

    python benchmarks/overhead.py [--episodes 1 100 10000] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autogen_agentchat.agents import BaseChatAgent
from autogen_agentchat.base import ChatAgent, Response, Team
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.messages import BaseChatMessage, TextMessage
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_core import CancellationToken

import warmline

TURNS = 20
LINES = {
    "seeker": "I keep going over what my manager said on Friday, and I cannot find the point where it turned.",
    "counselor": "Reflection of Feelings",
    "supporter": "You sound worn out by that meeting, and a little ashamed too. What did you do when you got home?",
    "judger": "NO",
}
ROLES = tuple(LINES)
LOGGED = 100
"""Episodes in flight where the log is written."""
GOAL_RATIO = 10
GOAL_KILOBYTES = 50


class Instant:
    """Answers at once, after giving way to the other episodes, as an engine would."""

    async def respond(self, request: warmline.Request) -> warmline.Reply:
        await asyncio.sleep(0)
        text = LINES[request.role]
        if request.choices is None:
            text = f"{text} {request.seed}"  # a text of its own, as an engine would give
        return warmline.Reply(text=text)


class Held(Instant):
    """Stops every episode at its last answer until `release` is set."""

    def __init__(self, episodes: int) -> None:
        self.release = asyncio.Event()
        self.all_arrived = asyncio.Event()
        self.missing = episodes

    async def respond(self, request: warmline.Request) -> warmline.Reply:
        last = getattr(request.observation, "turn", 0) == TURNS // 2 - 1
        if request.role == "judger" and last:
            self.missing -= 1
            if not self.missing:
                self.all_arrived.set()
            await self.release.wait()
        return await super().respond(request)


class Trivial(BaseChatAgent):
    """The least that an AutoGen agent can do."""

    produced_message_types = (TextMessage,)

    async def on_messages(
        self, messages: Sequence[BaseChatMessage], cancellation_token: CancellationToken
    ) -> Response:
        await asyncio.sleep(0)
        return Response(chat_message=TextMessage(content=LINES[self.name], source=self.name))

    async def on_reset(self, cancellation_token: CancellationToken) -> None:
        return None


def environment(policy: Any) -> warmline.SupportEnvironment:
    return warmline.SupportEnvironment(
        seeker=policy, counselor=policy, supporter=policy, judger=policy, max_turns=TURNS
    )


def scenarios(count: int) -> Sequence[warmline.Scenario]:
    return warmline.draw_scenarios(count, seed=0)


async def ours(episodes: int) -> float:
    """Microseconds of CPU a turn with all episodes in flight at once."""
    env, chosen = environment(Instant()), scenarios(episodes)
    await env.run(chosen[0])  # templates are compiled at first use
    started = time.process_time()
    await warmline.run_batch(env, chosen, concurrency=episodes)
    return (time.process_time() - started) / (episodes * TURNS) * 1e6


async def logged(episodes: int) -> float:
    """The same with a scripted policy that counts words as tokens, and with the log written."""
    policy = warmline.ScriptedPolicy({role: [line] for role, line in LINES.items()}, record=False)
    env, chosen = environment(policy), scenarios(episodes)
    await env.run(chosen[0])
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        await warmline.run_batch(env, chosen, out=folder, concurrency=episodes)
        return (time.process_time() - started) / (episodes * TURNS) * 1e6


async def autogens(teams: int) -> float:
    """Microseconds of CPU a turn (two messages) of round-robin teams, all in flight at once."""

    def team() -> RoundRobinGroupChat:
        agents: list[ChatAgent | Team] = [Trivial(role, "trivial") for role in ROLES]
        return RoundRobinGroupChat(
            agents, termination_condition=MaxMessageTermination(2 * TURNS + 1)
        )

    await team().run(task="begin")
    made = [team() for _ in range(teams)]
    started = time.process_time()
    await asyncio.gather(*(one.run(task="begin") for one in made))
    return (time.process_time() - started) / (teams * TURNS) * 1e6


async def kilobytes_open(episodes: int) -> float:
    """Resident kilobytes an episode of twenty turns, all open at their last answer."""
    policy = Held(episodes)
    env, chosen = environment(policy), scenarios(episodes)
    await environment(Instant()).run(chosen[0])  # templates and rules are compiled at first use
    gc.collect()
    before = _resident()
    tasks = [asyncio.create_task(env.run(scenario)) for scenario in chosen]
    await policy.all_arrived.wait()
    used = _resident() - before
    policy.release.set()
    await asyncio.gather(*tasks)
    return used / episodes / 1024


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--episodes", type=int, nargs="+", default=[1, 100, 10_000])
    parser.add_argument("--teams", type=int, nargs="+", default=[1, 100])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    memory = {n: asyncio.run(kilobytes_open(n)) for n in (1000, max(given.episodes))}
    rows: dict[str, dict[int, list[float]]] = {
        "autogen": {count: [] for count in given.teams},
        "warmline": {count: [] for count in given.episodes},
        "logged": {LOGGED: []},
    }
    for again in range(given.repeats):  # in turn, so that a busy minute falls on all of them
        for count in given.teams:
            rows["autogen"][count].append(asyncio.run(autogens(count)))
        for count in given.episodes:
            if count < 1000 or not again:
                rows["warmline"][count].append(asyncio.run(ours(count)))
        rows["logged"][LOGGED].append(asyncio.run(logged(LOGGED)))
    taken = {
        name: {count: statistics.median(runs) for count, runs in counts.items()}
        for name, counts in rows.items()
    }
    best = min(taken["autogen"].values())
    ratio = best / max(taken["warmline"].values())
    result = {
        "microseconds_a_turn": taken,
        "autogen_best_over_warmline_worst": round(ratio, 1),
        "autogen_best_over_warmline_logged": round(best / taken["logged"][LOGGED], 1),
        "kilobytes_an_open_episode": {n: round(kb, 1) for n, kb in memory.items()},
    }
    if given.json:
        print(json.dumps(result))
        return
    for name, values in taken.items():
        for count, value in values.items():
            print(f"{name:9} {count:6} in flight  {value:8.1f} us a turn")
    print(f"AutoGen's best over our worst: {ratio:.1f} (goal: at least {GOAL_RATIO})")
    logs = result["autogen_best_over_warmline_logged"]
    print(f"over ours with log and scripted policy: {logs} (goal: at least {GOAL_RATIO})")
    for count, kb in memory.items():
        print(f"{count:6} open episodes: {kb:.1f} KB each (goal: below {GOAL_KILOBYTES})")


if __name__ == "__main__":
    main()
