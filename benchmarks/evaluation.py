"""Overlap metrics over many pairs, beside the obvious loop over the same libraries.

Both sides score the same pairs in the convention `esconv`: NLTK's Punkt and word tokenizer, BLEU-1…4
with smoothing 3, ROUGE-L, F1, Distinct. The loop is what one would write first: each text cut on its
own, `nltk.translate.bleu_score.corpus_bleu` once an order, the textbook table for the longest common
subsequence. Each side runs in a process of its own; the numbers must agree to 1e-9.

Then TF-IDF similarity over 20,000 dialogues, which `analyses.py` measures in the same way.

    python benchmarks/evaluation.py [--pairs 50000] [--file pairs.jsonl] [--json]
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

PAIRS = 50_000
WORDS = 8000
COMMON = [
    "i",
    "you",
    "it",
    "the",
    "to",
    "that",
    "a",
    "and",
    "is",
    "of",
    "my",
    "your",
    "in",
    "me",
    "have",
    "do",
    "not",
    "feel",
    "so",
    "for",
    "be",
    "with",
    "what",
    "this",
    "know",
    "can",
    "but",
    "was",
    "are",
    "on",
    "at",
    "just",
    "about",
    "like",
    "if",
    "how",
    "don't",
    "i'm",
    "it's",
    "that's",
    "you're",
    "can't",
    "i've",
    "really",
]
"""The head of the vocabulary; the tail are made-up words, drawn ever more rarely (Zipf)."""


def made_pairs(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Pairs of made-up replies of one to three sentences, as long as the replies of ESConv."""
    rng = random.Random(seed)
    letters = "bdfgklmnprstvz"
    tail = {
        "".join(rng.choice(letters) + rng.choice("aeiou") for _ in range(rng.randint(1, 4)))
        for _ in range(WORDS)
    }
    words = COMMON + sorted(tail)
    shares = [1 / (rank + 3) for rank in range(len(words))]

    def reply() -> str:
        sentences = []
        for _ in range(rng.choice((1, 1, 2, 2, 3))):
            said = rng.choices(words, shares, k=rng.randint(4, 14))
            if len(said) > 9:
                said[4] += ","
            sentences.append(" ".join(said).capitalize() + rng.choice("..?!"))
        return " ".join(sentences)

    return [(reply(), reply()) for _ in range(count)]


def ours(pairs: list[tuple[str, str]]) -> dict[str, float | None]:
    """The product."""
    from warmline.evaluation import score_overlap

    return score_overlap([h for h, _ in pairs], [r for _, r in pairs])


def loop(pairs: list[tuple[str, str]]) -> dict[str, float | None]:
    """The obvious loop."""
    import punkt
    from nltk.tokenize.destructive import NLTKWordTokenizer
    from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer
    from nltk.translate.bleu_score import SmoothingFunction, corpus_bleu

    model = punkt.load_model("english")
    learned = PunktParameters()
    learned.abbrev_types, learned.collocations = model.abbrev_types, model.collocations
    learned.sent_starters = model.sent_starters
    learned.ortho_context.update(model.ortho_context)
    sentences, words = PunktSentenceTokenizer(learned), NLTKWordTokenizer()

    def cut(text: str) -> list[str]:
        return [w for s in sentences.tokenize(text.lower()) for w in words.tokenize(s)]

    hypotheses = [cut(h) for h, _ in pairs]
    references = [cut(r) for _, r in pairs]
    found: dict[str, float | None] = {
        "length": sum(map(len, hypotheses)) / len(hypotheses),
    }
    for k in (1, 2, 3):
        grams = [
            tuple(text[i : i + k]) for text in hypotheses for i in range(max(0, len(text) - k))
        ]
        found[f"distinct-{k}"] = 100 * len(set(grams)) / len(grams)
    smooth = SmoothingFunction().method3
    for k in (1, 2, 3, 4):
        bleu = corpus_bleu(
            [[r] for r in references], hypotheses, (1 / k,) * k, smoothing_function=smooth
        )
        found[f"bleu-{k}"] = 100 * bleu
    f1 = rouge = 0.0
    for h, r in zip(hypotheses, references, strict=True):
        if shared := sum((Counter(h) & Counter(r)).values()):
            f1 += 2 * shared / (len(h) + len(r))
        if shared := common(h, r):
            p, q = shared / len(h), shared / len(r)
            rouge += 2.44 * p * q / (q + 1.44 * p)
    return found | {"f1": 100 * f1 / len(pairs), "rouge-l": 100 * rouge / len(pairs)}


def common(a: list[str], b: list[str]) -> int:
    """Length of the longest common subsequence, by the textbook's table."""
    row = [0] * (len(b) + 1)
    for x in a:
        above, row = row, [0]
        for j, y in enumerate(b):
            row.append(above[j] + 1 if x == y else max(above[j + 1], row[j]))
    return row[-1]


SIDES = {"warmline": ours, "loop": loop}


def read_pairs(arguments: argparse.Namespace) -> list[tuple[str, str]]:
    if arguments.file is None:
        return made_pairs(arguments.pairs)
    with Path(arguments.file).open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [(row["hypothesis"], row["reference"]) for row in rows][: arguments.pairs]


def measure(side: str, pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """Seconds (libraries loaded within) and the growth of the process's peak memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    scores = SIDES[side](pairs)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "megabytes": (peak - before) / 1024, "scores": scores}


def compare(arguments: argparse.Namespace) -> dict[str, Any]:
    """Both sides, each in a fresh process."""
    found = {}
    for side in SIDES:
        command = [sys.executable, __file__, "--pairs", str(arguments.pairs), "--side", side]
        command += ["--file", arguments.file] if arguments.file else []
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[side] = json.loads(done.stdout)
    first, second = (found[side]["scores"] for side in SIDES)
    apart = max(abs(first[name] - second[name]) for name in second)
    if first.keys() != second.keys() or apart > 1e-9:
        raise SystemExit(f"the two sides differ by {apart}: {first} {second}")
    ratio = found["loop"]["seconds"] / found["warmline"]["seconds"]
    return {"pairs": arguments.pairs, "largest_difference": apart, "times_faster": ratio, **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--file", help="JSONL of hypothesis and reference; made-up text by default")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(measure(arguments.side, read_pairs(arguments))))
        return
    found = compare(arguments)
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    print(f"{found['pairs']} pairs, convention esconv")
    for side in SIDES:
        print(f"{side:>9}: {found[side]['seconds']:7.2f} s  {found[side]['megabytes']:7.1f} MB")
    print(f"{found['times_faster']:.1f} times faster, numbers equal to 1e-9", flush=True)
    subprocess.run([sys.executable, str(Path(__file__).with_name("analyses.py"))], check=True)


if __name__ == "__main__":
    main()
