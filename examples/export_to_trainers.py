"""A corpus for other trainers: TRL, LLaMA-Factory (`dataset_info.json`) and Axolotl.

usage: python examples/export_to_trainers.py CORPUS OUT

CORPUS          a folder, or seeds:train for the dialogues that ship
TRL             datasets.load_dataset("OUT") has the column `messages` that SFTTrainer reads
LLaMA-Factory   llamafactory-cli train ... --dataset_dir OUT --dataset warmline
Axolotl         axolotl train OUT/axolotl.yaml
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from warmline.environments.corpus import export_corpus

TRAIN = "data/train.jsonl"
TAGS = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "system_tag": "system",
}
AXOLOTL = """\
# the data of this file; base model, adapter and schedule are yours
base_model: HuggingFaceTB/SmolLM2-135M-Instruct
datasets:
  - path: {path}
    ds_type: json
    type: chat_template
    field_messages: messages
    roles_to_train: [assistant]
    train_on_eos: turn
output_dir: {out}/axolotl
"""


def main(corpus: str, out: Path) -> None:
    report = export_corpus(corpus, out, format="messages")
    info = {
        "file_name": TRAIN,
        "formatting": "sharegpt",
        "columns": {"messages": "messages"},
        "tags": TAGS,
    }
    (out / "dataset_info.json").write_text(json.dumps({"warmline": info}, indent=2) + "\n")
    (out / "axolotl.yaml").write_text(AXOLOTL.format(path=out / TRAIN, out=out))
    print(f"{report.rows} rows in {out}")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    if Path(sys.argv[2]).exists():
        sys.exit(f"{sys.argv[2]} is there already; give the name of a new folder")
    main(sys.argv[1], Path(sys.argv[2]).resolve())
