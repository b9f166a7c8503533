"""From recorded dialogues to a data set that `datasets.load_dataset` reads: import, clean, export.

    python examples/corpus_to_dataset.py            # two dialogues written below
    python examples/corpus_to_dataset.py FILE       # dialogues of your own, in any known format

Needs `pip install 'warmline[data]'`.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from warmline.environments.corpus import Import, clean_run, export_corpus, import_corpus

TALK = [
    ("user", "My landlord sold the house, and I have three weeks to find a room."),
    ("assistant", "Three weeks is not long. What have you been able to do so far?"),
    ("user", "I wrote to eleven people, and one of them wrote back to say no."),
    ("assistant", "Eleven letters in a week like that is a lot. How do you sleep?"),
    ("user", "Badly, I lie there and count the boxes I would need."),
    ("assistant", "So the nights go on with the search. Who knows that you are looking?"),
    ("user", "Only my sister, and she lives two hundred miles away."),
    ("assistant", "You could tell two people here tonight, so that more eyes look with you."),
]


def main(path: Path | None) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        corpus, exported = Path(scratch) / "corpus", Path(scratch) / "data-set"
        if path is None:
            path = Path(scratch) / "talks.jsonl"
            messages = [{"role": role, "content": text} for role, text in TALK]
            path.write_text(json.dumps({"messages": messages}) + "\n", "utf-8")
        done = import_corpus(Import(path, recipe="merged"), corpus)
        print(f"imported: {done.statistics.dialogues} dialogues")
        print(f"kept after cleaning: {clean_run(corpus).kept}")
        report = export_corpus(
            corpus,
            exported,
            format="prompt-completion",
            accept_licences=[source.name for source in done.sources],
        )
        print(f"rows: {report.rows}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
