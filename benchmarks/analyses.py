"""TF-IDF similarity of many dialogues, beside the obvious loop over the same library.

The obvious way is `cosine_similarity` on all dialogues (a dense square matrix) and numpy's quantiles
of its upper half. Ours takes the exact mean from the sum of the rows and quantiles from a seeded
sample of pairs, with a bootstrap interval on top. Each side runs in a process of its own, which
reports seconds and the growth of its peak memory; both means must agree.

    python benchmarks/analyses.py [--dialogues 20000] [--words 200] [--json]
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import time
from pathlib import Path

WORDS = 8_000
AGREE = 1e-6


def corpus(count: int, words: int) -> list[str]:
    """Dialogues whose words are as unequally frequent as those of a language (Zipf)."""
    draw = random.Random(7)
    vocabulary = [f"w{number}" for number in range(WORDS)]
    weights = [1 / (rank + 2.7) for rank in range(WORDS)]
    cumulative = []
    total = 0.0
    for weight in weights:
        total += weight
        cumulative.append(total)
    return [
        " ".join(draw.choices(vocabulary, cum_weights=cumulative, k=words)) for _ in range(count)
    ]


def ours(texts: list[str]) -> dict[str, float | None]:
    """Exact mean, interval and quantiles."""
    from warmline.evaluation.analyses.similarity import similarity, tfidf

    [rows] = tfidf(texts)
    found = similarity(rows)
    return {"mean": found.mean, "median": found.median, "low": found.low, "high": found.high}


def obvious(texts: list[str]) -> dict[str, float | None]:
    """All pairs at once; no interval."""
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.metrics.pairwise import cosine_similarity

    cosines = cosine_similarity(TfidfVectorizer().fit_transform(texts))
    values = cosines[np.triu_indices(len(texts), 1)]
    return {"mean": float(values.mean()), "median": float(np.median(values))}


def measure(side: str, count: int, words: int) -> dict[str, float | None]:
    """Run one side in this process."""
    import numpy as np  # noqa: F401 - the libraries' own memory is not what is compared
    import scipy.sparse  # noqa: F401
    import sklearn.feature_extraction.text  # noqa: F401

    texts = corpus(count, words)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    found = ours(texts) if side == "ours" else obvious(texts)
    seconds = time.perf_counter() - started
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {**found, "seconds": round(seconds, 2), "megabytes": round(grown / 1024, 1)}


def apart(side: str, count: int, words: int) -> dict[str, float | None]:
    """Run one side in a fresh process."""
    command = [sys.executable, str(Path(__file__)), "--side", side]
    command += ["--dialogues", str(count), "--words", str(words)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float | None] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--dialogues", type=int, default=20_000)
    parser.add_argument("--words", type=int, default=200)
    parser.add_argument("--side", choices=("ours", "obvious"))
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.side:
        print(json.dumps(measure(given.side, given.dialogues, given.words)))
        return
    results = {side: apart(side, given.dialogues, given.words) for side in ("ours", "obvious")}
    means = [found["mean"] or 0.0 for found in results.values()]
    if abs(means[0] - means[1]) > AGREE:
        raise SystemExit(f"the means differ: {means}")
    if given.json:
        print(json.dumps({"dialogues": given.dialogues, "words": given.words, **results}))
        return
    print(f"{given.dialogues:,} dialogues of {given.words} words")
    for side, found in results.items():
        print(
            f"{side:8} {found['seconds']:8.2f} s {found['megabytes']:10.1f} MB   mean"
            f" {found['mean']:.6f}, median {found['median']:.4f}"
        )


if __name__ == "__main__":
    main()
