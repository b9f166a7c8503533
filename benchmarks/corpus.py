"""A large corpus: seconds and memory for 100,000 synthetic dialogues, and that both stay in step.

Each part runs in a process of its own at two sizes, a tenth and the whole, so that its peak memory
is its own and growth shows: seconds should grow tenfold, memory hardly at all.

    python benchmarks/corpus.py [--dialogues 100000] [--part import clean analyse] [--json]

Parts are in `PARTS`: a function of a folder with `raw.jsonl.gz` that says what it made of it.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RAW = "raw.jsonl.gz"
WORDS = [f"{first}{rest}" for first in "bdfhklmnprst" for rest in ("ay", "en", "ig", "oth", "ull")]
LABELS = (
    "Question", "Others", "Providing Suggestions", "Affirmation and Reassurance", "Information",
    "Self-disclosure", "Reflection of feelings", "Restatement or Paraphrasing",
)  # fmt: skip
TYPES = ("ongoing depression", "job crisis", "breakup with partner", "academic pressure")
GROWTH = 10


def dialogue(number: int) -> dict[str, Any]:
    """A made-up dialogue of ESConv's shape and size: about 29 utterances of about 16 words."""
    draw = random.Random(number)

    def text() -> str:
        return " ".join(draw.choices(WORDS, k=draw.randint(4, 28))).capitalize() + "."

    turns: list[dict[str, Any]] = []
    for _ in range(draw.randint(22, 36)):
        if draw.random() < 0.5:
            turns.append({"speaker": "seeker", "annotation": {}, "content": text()})
        else:
            label = {"strategy": draw.choice(LABELS)}
            turns.append({"speaker": "supporter", "annotation": label, "content": text()})
    return {"problem_type": draw.choice(TYPES), "situation": text(), "dialog": turns}


def make(folder: Path, dialogues: int) -> None:
    """Write the synthetic corpus."""
    with gzip.open(folder / RAW, "wt", encoding="utf-8", compresslevel=1) as file:
        for number in range(dialogues):
            file.write(json.dumps(dialogue(number)) + "\n")


def read_corpus(folder: Path) -> dict[str, Any]:
    """Import by the published recipe and write the corpus folder."""
    from warmline.environments.corpus import Import, import_corpus

    done = import_corpus(Import(folder / RAW, "esconv", recipe="sweetiechat"), folder / "corpus")
    return {"episodes": done.statistics.dialogues, "utterances": done.statistics.utterances}


def clean_corpus(folder: Path) -> dict[str, Any]:
    """Examine the imported corpus with the default filters."""
    from warmline.environments.corpus.cleaning import clean_run

    clean_run(folder / "corpus")
    return {}


def analyse_corpus(folder: Path) -> dict[str, Any]:
    """The analyses of SweetieChat §4 over the imported corpus."""
    from warmline.evaluation.analyses.analysis import analyse
    from warmline.evaluation.analyses.corpus import read_corpus

    corpus = read_corpus(folder / "corpus")
    analyse([corpus])
    return {"sampled": len(corpus.sample)}


PARTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "import": read_corpus,
    "clean": clean_corpus,
    "analyse": analyse_corpus,
}
"""By name, in the order in which they build on one another in the same folder."""


def measure(part: str, folder: Path) -> dict[str, Any]:
    """Seconds and peak resident megabytes of a part, in this process."""
    started = time.perf_counter()
    made = PARTS[part](folder)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": round(seconds, 2), "peak_megabytes": round(peak, 1), **made}


def measured_apart(part: str, folder: Path) -> dict[str, Any]:
    """The same in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--measure", part, str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--dialogues", type=int, default=100_000)
    parser.add_argument("--part", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--measure", nargs=2, metavar=("PART", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(given.measure[0], Path(given.measure[1]))))
        return
    rows: dict[str, dict[int, dict[str, Any]]] = {}
    for count in (max(given.dialogues // GROWTH, 1), given.dialogues):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            make(folder, count)
            for part in PARTS:
                if part in given.part or part == "import":  # the others read what it writes
                    rows.setdefault(part, {})[count] = measured_apart(part, folder)
    if given.json:
        print(json.dumps(rows))
        return
    for part, sizes in rows.items():
        few, many = sizes.values()
        for count, row in sizes.items():
            print(
                f"{part:8} {count:8,} dialogues  {row['seconds']:8.2f} s  {row['peak_megabytes']:7.1f} MB"
            )
        longer = many["seconds"] / few["seconds"]
        print(
            f"{part:8} {GROWTH} times the dialogues: {longer:.1f} times the seconds (linear: {GROWTH});"
            f" {many['peak_megabytes'] - few['peak_megabytes']:+.1f} MB"
        )


if __name__ == "__main__":
    main()
