"""The embedded model with its adapter beside its bare weights, on scenarios that neither has learned.

Recorded: the test side of the seed corpus, and ESConv if it is there. What each seat should have said
is scored as it would be asked (nats a token), and counselor and judger are asked at every exchange.
Played: conversations with the same seeds, at each one's own defaults, and the adapter once more with
the first words that the bare model is helped with. `docs/embedded-adapter.md` has the figures.

    python benchmarks/first_run.py [--recorded 90] [--talks 30] [--esconv FILE] [--out FOLDER]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

import warmline
from warmline.agents.base import Agent
from warmline.agents.counselor import StrategyCounselor
from warmline.agents.judger import Judger
from warmline.agents.roles import Role, Strategy
from warmline.core.tables import markdown_table
from warmline.core.tasks import for_each
from warmline.environments.corpus.cleaning.filters.registry import make_filter
from warmline.environments.corpus.cleaning.filters.text import content_words, tokens
from warmline.environments.corpus.importing.folder import opened
from warmline.environments.corpus.importing.reader import Import
from warmline.environments.dialogue.view import counselor_view, judger_view, turns_of
from warmline.environments.episodes.episode import Episode
from warmline.environments.scenarios.seed_pool import seed_scenarios
from warmline.evaluation.metrics.diversity import distinct
from warmline.policies.asking import ask_policy
from warmline.policies.base import FinishReason, Policy
from warmline.policies.llama.policy import EmbeddedPolicy
from warmline.policies.models.loading import find_dtype
from warmline.policies.models.lora import SHIPPED
from warmline.training.loop.base_model import load_base
from warmline.training.loop.row_trainer import token_loss
from warmline.training.loop.tree_attention import use_tree_attention
from warmline.training.rows.collate import Collator
from warmline.training.rows.encode import RowEncoder, encode_rows
from warmline.training.rows.room import Room
from warmline.training.rows.seats import build_seat_rows
from warmline.training.rows.settings import SeatRowSettings
from warmline.training.rows.trees import grow_trees

Figures = dict[str, Any]
FILTERS = {
    "role flips": "role",
    "leaked instructions": "leaks",
    "loops": "repetition",
    "premature closings": "premature_closure",
}
SEEN_BY = {"adapter": {}, "adapter, openings": {"openings": True}, "bare": {}}
FIRST_TURNS = 3
"""Turns within which a seeker should have told of its scenario."""
TOGETHER = 8


def main() -> None:
    given = _arguments()
    out = Path(given.out)
    out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        test = stack.enter_context(opened("seeds:test"))
        recorded = _spread(list(warmline.read_episodes(test)), given.recorded)
    found: dict[str, Figures] = {name: {} for name in SEEN_BY}
    likely = likelihoods(Path(given.adapter), recorded, "seeds")
    if given.esconv:
        strangers = list(Import(given.esconv, recipe="sweetiechat", limit=given.strangers))
        for name, values in likelihoods(Path(given.adapter), strangers, "ESConv").items():
            likely[name] |= values
    for name in ("adapter", "bare"):
        chosen = asyncio.run(choices(EmbeddedPolicy(adapter=_adapter_of(name)), recorded))
        found[name] |= likely[name] | chosen
        print(f"{name}: advisers asked", file=sys.stderr, flush=True)
    played = {name: play(name, given.talks, given.seed, out / name) for name in SEEN_BY}
    for name, values in compared(played).items():
        found[name] |= values
    (out / "first_run.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    print(table(found))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--recorded", type=int, default=90, help="dialogues of the test side")
    parser.add_argument("--talks", type=int, default=30, help="conversations played by each")
    parser.add_argument("--esconv", help="ESConv's file")
    parser.add_argument("--strangers", type=int, default=40, help="dialogues of ESConv")
    parser.add_argument("--adapter", default=str(SHIPPED), help="folder, for the likelihoods")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", default="runs/first-run", help="resumed where it is")
    return parser.parse_args()


def _adapter_of(name: str) -> Any:
    return "none" if name == "bare" else "shipped"


def _spread(episodes: Sequence[Episode], count: int) -> list[Episode]:
    """Some dialogues, each problem type as often as the others."""
    turn: Counter[str] = Counter()
    order: list[Any] = []
    for episode in episodes:
        turn[episode.scenario.problem_type] += 1
        order.append((turn[episode.scenario.problem_type], len(order), episode))
    return [episode for *_, episode in sorted(order, key=lambda one: one[:2])[:count]]


# How likely what was said is


def likelihoods(
    adapter: Path, episodes: Sequence[Episode], source: str
) -> dict[str, dict[str, float]]:
    """Nats a token of what each seat said, with the adapter and without."""
    from peft import PeftModel

    base = load_base("embedded", dtype=find_dtype("auto", "cpu"))
    use_tree_attention(base.model)
    model = PeftModel.from_pretrained(base.model, str(adapter)).eval()
    encoder = RowEncoder(base.tokenizer, base.model.config, base.model.generation_config)
    collate = Collator(base.pad, base.arguments)
    found: dict[str, dict[str, float]] = {"adapter": {}, "bare": {}}
    for seat in Role if source == "seeds" else (Role.SUPPORTER,):
        own = {"strategy": "oracle"} if seat is Role.SUPPORTER else {}
        settings = SeatRowSettings(
            seats=(seat.value,), per="tree", history_window=20, max_tokens=base.context, **own
        )
        rows = build_seat_rows(episodes, settings).rows
        trees, _ = grow_trees(*encode_rows(encoder, rows, Room(base.context, base.context))[:2])
        sums, learned = {"adapter": 0.0, "bare": 0.0}, 0
        for tree in trees:
            batch = collate([tree])
            labels = batch.pop("labels")
            learned += tree.learned
            with torch.inference_mode():
                sums["adapter"] += float(token_loss(model(**batch).logits, labels, shifted=True))
                with model.disable_adapter():
                    sums["bare"] += float(token_loss(model(**batch).logits, labels, shifted=True))
        print(f"{source}, {seat}: {len(trees)} dialogues scored", file=sys.stderr, flush=True)
        for name, summed in sums.items():
            found[name][f"{source}: nats a token, {seat}"] = summed / learned
    return found


# What advisers choose in recorded dialogues


async def choices(policy: Policy, episodes: Sequence[Episode]) -> Figures:
    """Counselor and judger, asked at every exchange of recorded dialogues."""
    advised: list[tuple[Strategy, Strategy | None]] = []
    verdicts: dict[str, list[bool]] = {}
    counselor, judger = StrategyCounselor(policy), Judger(policy)

    async def ask(agent: Agent[Any, Any], view: Any) -> Any:
        return agent.read(await ask_policy(policy, agent.request(view, seed=0)))

    async def one(episode: Episode) -> None:
        said = turns_of(episode.utterances)
        for n, utterance in enumerate(episode.utterances):
            if utterance.role is not Role.SUPPORTER:
                continue
            if utterance.strategy is not None:
                advice = await ask(counselor, counselor_view(said[:n]))
                advised.append((utterance.strategy, advice.strategy))
            verdict = await ask(judger, judger_view(said[: n + 1]))
            verdicts.setdefault(episode.id, []).append(bool(verdict.end))

    await for_each(list(episodes), one, TOGETHER)
    await policy.aclose()  # type: ignore[attr-defined]
    first = Counter(
        "never"
        if True not in each
        else "at the end"
        if each.index(True) == len(each) - 1
        else "early"
        for each in verdicts.values()
    )
    shares = {
        f"judger: first YES {when}": first[when] / len(verdicts)
        for when in ("early", "at the end", "never")
    }
    given = Counter(advice for _, advice in advised)
    return {
        "counselor: right labels": sum(a is b for a, b in advised) / len(advised),
        "counselor: most frequent advice": max(given.values()) / len(advised),
        "counselor: entropy of advice, bits": entropy(given),
        "labels: most frequent": max(Counter(a for a, _ in advised).values()) / len(advised),
        "labels: entropy, bits": entropy(Counter(a for a, _ in advised)),
        **shares,
    }  # fmt: skip


def entropy(counts: Counter[Any]) -> float:
    """Of shares, in bits."""
    total = sum(counts.values())
    return -sum(n / total * math.log2(n / total) for n in counts.values() if n)


# What is played


def play(name: str, count: int, seed: int, out: Path) -> tuple[list[Episode], float]:
    """Conversations on scenarios of the test side, and the seconds that they took."""
    pool = _spread_scenarios(count)
    helped: dict[str, Any] = dict(SEEN_BY[name])
    began = time.perf_counter()
    episodes = warmline.simulate(
        policy="embedded", scenarios=pool, seed=seed, out=out, seeker=helped or None,
        supporter=helped or None, options={"adapter": _adapter_of(name)},
    )  # fmt: skip
    return list(episodes), time.perf_counter() - began


def _spread_scenarios(count: int) -> list[warmline.Scenario]:
    turn: Counter[str] = Counter()
    order: list[Any] = []
    for scenario in seed_scenarios("test"):
        turn[scenario.problem_type] += 1
        order.append((turn[scenario.problem_type], scenario.id, scenario))
    # every problem type once before any comes twice, and types that are far apart first
    order.sort(key=lambda one: (one[0], hash_of(one[1])))
    return [scenario for *_, scenario in order[:count]]


def hash_of(name: str) -> int:
    """A number that follows from a name."""
    from warmline.core.seeds import hashed_rank

    return hashed_rank(0, name)


def compared(played: Mapping[str, tuple[list[Episode], float]]) -> dict[str, Figures]:
    """What is counted in played conversations; diversity over equally many words."""
    words = {n: [tokens(u.text) for e in es for u in e.utterances] for n, (es, _) in played.items()}
    least = min(sum(map(len, each)) for each in words.values())
    found = {}
    for name, (episodes, seconds) in played.items():
        texts = _first_words(words[name], least)
        written = sum(
            call.usage.completion_tokens for e in episodes for call in e.calls if call.usage
        )
        found[name] = measures(episodes) | {
            "distinct-1": distinct(texts, 1), "distinct-2": distinct(texts, 2),
            "seconds a conversation": seconds / len(episodes),
            "tokens a second": written / seconds,
        }  # fmt: skip
    return found


def _first_words(texts: Iterable[Sequence[str]], count: int) -> list[tuple[str, ...]]:
    found = []
    for text in texts:
        if count <= 0:
            break
        found.append(tuple(text[:count]))
        count -= len(text)
    return found


def measures(episodes: Sequence[Episode]) -> Figures:
    """Counts of some conversations, as shares."""
    said = [(e, u) for e in episodes for u in e.utterances]
    given = Counter(u.strategy for _, u in said if u.role is Role.SUPPORTER)
    stops = Counter(e.stop.value for e in episodes)
    found: Figures = {
        "conversations": len(episodes),
        "utterances a conversation": len(said) / len(episodes),
        "words an utterance": sum(len(u.text.split()) for _, u in said) / len(said),
        f"scenario's content words within {FIRST_TURNS} turns": _mean(map(told, episodes)),
        "utterances cut": sum(cut(e, u) for e, u in said) / len(said),
        "strategies: most frequent": max(given.values()) / sum(given.values()),
        "strategies: entropy, bits": entropy(given),
        **{f"ended by {stop}": n / len(episodes) for stop, n in stops.items()},
    }
    for shown, name in FILTERS.items():
        examine: Callable[[Episode], tuple[Any, ...]] = make_filter(name).examine
        found[f"conversations with {shown}"] = sum(bool(examine(e)) for e in episodes) / len(
            episodes
        )
    return found


def told(episode: Episode) -> float | None:
    """Share of a scenario's content words that the seeker used in its first turns."""
    wanted = set(content_words(episode.scenario.situation))
    turns = [u.text for u in episode.utterances if u.role is Role.SEEKER][:FIRST_TURNS]
    return len(wanted & set(content_words(" ".join(turns)))) / len(wanted) if wanted else None


def cut(episode: Episode, utterance: Any) -> bool:
    """Whether a speaker was stopped: by the cap of sentences, or amid one by that of tokens."""
    call = episode.calls[utterance.call]
    stopped = (FinishReason.SENTENCES, FinishReason.LENGTH)
    return "sentence_cap" in utterance.repairs or call.finish_reason in stopped


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def table(found: Mapping[str, Figures]) -> str:
    """The figures side by side."""
    names = list(dict.fromkeys(name for values in found.values() for name in values))
    rows = [(name, *(_shown(values.get(name)) for values in found.values())) for name in names]
    return markdown_table(("", *found), rows)


def _shown(value: Any) -> str:
    return "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
