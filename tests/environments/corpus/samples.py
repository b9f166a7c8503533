"""Small dialogues in each published schema, in our own words, and how to write them to files."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

DATA = Path(os.environ.get("WARMLINE_DATA", Path(__file__).parents[4] / "shared" / "data"))

SAID = [
    ("supporter", "Hello there.", "Others"),
    ("seeker", "Hi.", None),
    ("seeker", "My  rent went up\n", None),
    ("supporter", "That is a lot to carry.", "Reflection of feelings"),
    ("supporter", "When did you hear?", "Question"),
    ("seeker", "On Monday.", None),
    ("supporter", "Did you ask why?", "Question"),
    ("supporter", "It may be worth it.", "Question"),
    ("seeker", "Not yet.", None),
    ("supporter", "Would you like to write it down together?", "Providing Suggestions"),
    ("seeker", "Yes.", None),
    ("supporter", "Good.", "Affirmation and Reassurance"),
    ("seeker", "Thanks, bye!", None),
]
"""Thirteen utterances, 6 of the seeker and 7 of the supporter; merged ten turns; without the first
and the last, as the published recipe has it, eight, which is just enough to be kept."""

ABOUT = {
    "experience_type": "Current Experience",
    "emotion_type": "fear",
    "problem_type": "job crisis",
    "situation": "My landlord  raised the rent.",
    "survey_score": {"seeker": {"empathy": "4"}},
}


def esconv(said: list[Any] = SAID, **about: Any) -> dict[str, Any]:
    """As the authors publish it."""
    dialog = [
        {"speaker": who, "annotation": {"strategy": label} if label else {}, "content": text}
        for who, text, label in said
    ]
    return {**ABOUT, "dialog": dialog, **about}


def esconv_hub(said: list[Any] = SAID, **about: Any) -> dict[str, Any]:
    """As on Hugging Face."""
    words = {"seeker": "usr", "supporter": "sys"}
    dialog = [
        {"text": text, "speaker": words[who]} | ({"strategy": label} if label else {})
        for who, text, label in said
    ]
    return {**ABOUT, "dialog": dialog, **about}


def failed_esconv() -> dict[str, Any]:
    """FailedESConv's dialect."""
    return {
        **ABOUT,
        "problem_type": "breakup with partner",
        "dialog": [
            {"speaker": "speaker", "annotation": {"feedback": "2"}, "content": "Nobody listens\n"},
            {"speaker": "listener", "annotation": {"strategy": "Questions"}, "content": "Who?\n"},
            {
                "speaker": "listener",
                "annotation": {"strategy": "Direct Guidance"},
                "content": "Go.",
            },
        ],
    }


EMPATHETIC = {
    "id": "hit:1_conv:2",
    "emotion": "lonely",
    "situation": "I ate alone all week.",
    "dialog": [
        {"speaker": "speaker", "text": "I ate alone again."},
        {"speaker": "listener", "text": "All week?"},
    ],
}
EMPATHETIC_ROWS = """\
conv_id,utterance_idx,context,prompt,speaker_idx,utterance,selfeval,tags
hit:1_conv:2,1,lonely,I ate alone_comma_ all week.,7,I ate "alone_comma_ again.,5|5|5_2|2|5,
hit:1_conv:2,2,lonely,I ate alone_comma_ all week.,3,All week?,5|5|5_2|2|5,
hit:2_conv:4,1,proud,I finished.,3,I finished it!,5|5|5_2|2|5,
hit:2_conv:4,2,proud,I finished.,9,Well done.,5|5|5_2|2|5,
"""
SMILE = [
    {"role": "client", "content": "我最近睡不着。"},
    {"role": "counselor", "content": "从什么时候开始的？"},
]
EXTES = {
    "scene": "Dealing with the Loss of a Pet",
    "description": "The user's old dog died in spring.",
    "content": [
        {"User": "My dog died."},
        {"AI": "You miss him.", "AI Strategy": "Emotional Validation"},
        {"User": "Every day.", "AI": "What was he like?", "AI Strategy": "Clarification"},
    ],
}
AUGESC = [["usr", "My exam is tomorrow."], ["sys", "What worries you most?"]]
SHAREGPT = {
    "id": "a1",
    "system": "Be kind.",
    "conversations": [
        {"from": "system", "value": "Be kind."},
        {"from": "human", "value": "I failed."},
        {"from": "gpt", "value": "That hurts."},
    ],
}
MESSAGES = {
    "problem_type": "burnout",
    "messages": [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "I am worn out."}]},
        {"role": "assistant", "content": "Since when?", "strategy": ["Question", "Other"]},
    ],
}
SDIALOG: dict[str, Any] = {
    "version": "0.4.9",
    "model": {"name": "some:model"},
    "seed": 3,
    "id": 71,
    "complete": True,
    "personas": {
        "Dr. Hale": {"name": "Ida Hale", "role": "family doctor"},
        "Tomas": {
            "name": "Tomas",
            "age": 41,
            "role": "patient",
            "background": "Drives a night bus.",
            "circumstances": "He has not slept for a week.",
        },
    },
    "scenario": None,
    "turns": [
        {"speaker": "Dr. Hale", "text": "What brings you here?"},
        {"speaker": "Tomas", "text": "I lie awake and count the stops."},
        {"speaker": "Dr. Hale", "text": "Since when?"},
        {"speaker": "Tomas", "text": "Since they changed the line."},
    ],
    "events": [{"agent": "Tomas", "action": "instruct", "content": "Be tired.", "timestamp": 1}],
}
PATIENTHUB: dict[str, Any] = {
    "profile": {
        "name": "Ines",
        "type": ["plain", "guarded"],
        "situation": "Her sister asked her to the wedding.",
        "auto_thought": "Nobody wants me there.",
        "core": {"helpless_belief": ["I am trapped."]},
        "empty": [],
    },
    "messages": [
        {"role": "Therapist", "content": "What is on your mind?"},
        {"role": "Client", "content": "I did not answer the invitation."},
    ],
    "num_turns": 1,
}
ONE_OF_EACH = {
    "esconv": esconv(),
    "empathetic_dialogues": EMPATHETIC,
    "smilechat": {"id": "5", "dialog": SMILE},
    "extes": EXTES,
    "augesc": AUGESC,
    "sdialog": SDIALOG,
    "patienthub": PATIENTHUB,
    "sharegpt": SHAREGPT,
    "messages": MESSAGES,
}


def write(path: Path, records: list[Any], *, lines: bool | None = None) -> Path:
    """Records as JSON lines (by the name `.jsonl`, or as told) or one array; `.gz` packs them."""
    lines = ".jsonl" in path.name if lines is None else lines
    dumped = [json.dumps(record, ensure_ascii=False) for record in records]
    text = "".join(line + "\n" for line in dumped) if lines else f"[{', '.join(dumped)}]"
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def real(name: str) -> Path:
    """A file of the real data, which never is in the repository."""
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"real data is not here: {path.name} (set WARMLINE_DATA to its folder)")
    return path
