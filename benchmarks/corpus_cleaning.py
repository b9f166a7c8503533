"""Cleaning a large corpus: seconds and peak memory, at two sizes, to show that both grow linearly.

Writes synthetic dialogues of 20 utterances with the pool's words, of which some carry a fault that
a filter must find, and cleans them with every default filter. Each size runs in a process of its own,
since peak memory is a process's.

    python benchmarks/corpus_cleaning.py [--dialogues 20000 100000] [--json]
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import warmline
from warmline import Episode, Scenario, StopReason
from warmline.agents.roles import Role
from warmline.environments import EpisodeLog, Utterance
from warmline.environments.corpus.cleaning import clean_run
from warmline.environments.episodes.episode import Speaker

FAULTS = (
    "Supporter: ",
    "As an AI language model, I would say: ",
    "[Question] ",
    "I am 99 years old. ",
)
FAULTY_EVERY = 20


def synthetic(count: int, seed: int = 0) -> Iterator[Episode]:
    """Dialogues of 20 utterances of 6 to 28 words; every twentieth carries a fault."""
    draw = random.Random(seed)
    scenario = warmline.seed_scenarios()[0]
    words = [w for s in warmline.seed_scenarios() for w in s.situation.split()]
    for number in range(count):
        said = []
        for turn in range(20):
            start = draw.randrange(len(words) - 28)
            text = " ".join(words[start : start + draw.randint(6, 28)]) + "."
            if turn == 9 and number % FAULTY_EVERY == 0:
                text = FAULTS[number // FAULTY_EVERY % len(FAULTS)] + text
            role: Speaker = Role.SUPPORTER if turn % 2 else Role.SEEKER
            said.append(Utterance(role, text, text))
        yield _recorded(scenario, f"synthetic-{number}", tuple(said))


def _recorded(scenario: Scenario, name: str, said: tuple[Utterance, ...]) -> Episode:
    own = scenario.model_copy(update={"id": name})
    return Episode(
        id=name, scenario=own, stop=StopReason.RECORDED, utterances=said, source="synthetic"
    )


def clean_part(folder: Path) -> dict[str, Any]:
    """Clean a folder: seconds, dialogues a second, peak memory of this process in megabytes."""
    begun = time.perf_counter()
    report = clean_run(folder)
    seconds = time.perf_counter() - begun
    return {
        "dialogues": report.episodes,
        "seconds": round(seconds, 2),
        "dialogues_per_second": round(report.episodes / seconds) if seconds else None,
        "peak_megabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "dropped_by": report.dropped_by,
        "trimmed": report.trimmed,
    }


def measure(count: int) -> dict[str, Any]:
    """Write a synthetic corpus and clean it in a fresh process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with EpisodeLog(folder / "episodes.jsonl") as log:
            for episode in synthetic(count):
                log.append(episode)
        command = [sys.executable, __file__, "--folder", str(folder)]
        answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        result: dict[str, Any] = json.loads(answer)
        return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--dialogues", type=int, nargs="+", default=[20_000, 100_000])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.folder:
        print(json.dumps(clean_part(arguments.folder)))
        return
    results = [measure(count) for count in arguments.dialogues]
    if arguments.json:
        print(json.dumps(results))
        return
    for result in results:
        print(
            f"{result['dialogues']:>8} dialogues: {result['seconds']} s,"
            f" {result['dialogues_per_second']} a second, peak {result['peak_megabytes']} MB;"
            f" dropped by {result['dropped_by']}, {result['trimmed']} trimmed"
        )


if __name__ == "__main__":
    main()
