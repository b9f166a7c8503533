"""The formats that Warmline reads, each by its published schema: one function a format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .base import (
    BrokenRecord,
    Recorded,
    Turn,
    as_object,
    items,
    objects,
    require,
    rest_of,
    text_of,
    unpacked,
)

ABOUT = ("problem_type", "situation")


def esconv(record: Any) -> Recorded:
    """ESConv (Liu et al. 2021) in its three dialects.

    * the authors' file: `{"speaker": "seeker", "annotation": {"strategy": …}, "content": …}`
    * on Hugging Face: `{"speaker": "usr", "strategy": …, "text": …}`
    * FailedESConv: as the first, but `speaker` and `listener`; becomes the source `failed_esconv`
    """
    record = as_object(record)
    dialog = items(record, "dialog")
    turns = tuple(_esconv_turn(turn, f"dialog[{n}]") for n, turn in enumerate(dialog))
    failed = any(turn.speaker in ("speaker", "listener") for turn in turns)
    return Recorded(
        turns,
        text_of(record, "problem_type"),
        text_of(record, "situation"),
        rest_of(record, "dialog", "situation"),
        source="failed_esconv" if failed else "",
    )


def _esconv_turn(turn: Mapping[str, Any], place: str) -> Turn:
    speaker = text_of(turn, "speaker").strip()
    if "text" in turn:
        require(
            speaker in ("usr", "sys"), f"'usr' or 'sys' is expected, not {speaker!r}", field=place
        )
        return Turn(speaker, _maybe_text(turn["text"]), _labels(turn.get("strategy")))
    require("content" in turn, "neither 'content' nor 'text'", field=place)
    require("speaker" in turn, "nobody speaks: 'speaker' is missing", field=place)
    annotation = turn.get("annotation")
    about = annotation if isinstance(annotation, Mapping) else {}
    notes = tuple((str(k), str(v)) for k, v in about.items() if k != "strategy")
    return Turn(speaker, _maybe_text(turn["content"]), _labels(about.get("strategy")), notes)


def empathetic_dialogues(record: Any) -> Recorded:
    """EmpatheticDialogues (Rashkin et al. 2019): the authors' rows, or one object a dialogue.

    Who speaks first in the rows is the speaker and has the feeling (`context`); `prompt` is the
    situation. The feeling is not a problem type, so the type stays open.
    """
    record = as_object(record)
    if "rows" in record:
        return _empathetic_rows(objects(record["rows"], "rows"))
    require("emotion" in record, "missing", field="emotion")
    turns = []
    for number, turn in enumerate(items(record, "dialog")):
        speaker = text_of(turn, "speaker")
        require(
            speaker in ("speaker", "listener"),
            f"'speaker' or 'listener' is expected, not {speaker!r}",
            field=f"dialog[{number}].speaker",
        )
        turns.append(Turn(speaker, _maybe_text(turn.get("text"))))
    situation = text_of(record, "situation")
    return Recorded(tuple(turns), "", situation, rest_of(record, "dialog", "situation"))


def _empathetic_rows(rows: list[Mapping[str, Any]]) -> Recorded:
    require(bool(rows), "no row", field="rows")
    wanted = ("conv_id", "context", "prompt", "speaker_idx", "utterance")
    for number, row in enumerate(rows):
        missing = [name for name in wanted if not isinstance(row.get(name), str)]
        require(not missing, f"missing: {', '.join(missing)}", field=f"row {number + 1}")
    first = rows[0]
    turns = tuple(
        Turn(
            "speaker" if row["speaker_idx"] == first["speaker_idx"] else "listener",
            row["utterance"].replace("_comma_", ","),
        )
        for row in rows
    )
    about = {"id": first["conv_id"], "emotion": first["context"]}
    return Recorded(turns, "", first["prompt"].replace("_comma_", ","), about)


def smilechat(record: Any) -> Recorded:
    """SMILECHAT (Qiu et al. 2024): `{"role": "client", "content": …}`, a list or as `dialog`."""
    record = unpacked(record)
    bare = isinstance(record, list)
    dialog = objects(record, "dialog") if bare else items(as_object(record), "dialog")
    turns = []
    for number, turn in enumerate(dialog):
        role = text_of(turn, "role")
        require(
            role in ("client", "counselor"),
            f"'client' or 'counselor' is expected, not {role!r}",
            field=f"dialog[{number}].role",
        )
        turns.append(Turn(role, _maybe_text(turn.get("content"))))
    return Recorded(tuple(turns), annotations={} if bare else rest_of(record, "dialog"))


def extes(record: Any) -> Recorded:
    """ExTES (Zheng et al. 2024): `scene`, `description`, and `content` of `User` and `AI` turns.

    An item may hold one turn or both of an exchange; `AI Strategy` belongs to the `AI` turn.
    """
    record = as_object(record)
    turns = []
    for number, item in enumerate(items(record, "content")):
        spoken = [name for name in item if name in ("User", "AI")]
        require(bool(spoken), "neither 'User' nor 'AI'", field=f"content[{number}]")
        for name in spoken:
            labels = _labels(item.get("AI Strategy")) if name == "AI" else ()
            turns.append(Turn(name, _maybe_text(item[name]), labels))
    return Recorded(
        tuple(turns),
        text_of(record, "scene"),
        text_of(record, "description"),
        rest_of(record, "content", "description", "scene"),
    )


def augesc(record: Any) -> Recorded:
    """AugESC (Zheng et al. 2023): a line is a list of `["usr", text]` and `["sys", text]`."""
    record = unpacked(record)
    require(isinstance(record, list), "a list of [speaker, text] is expected")
    turns = []
    for number, pair in enumerate(record):
        match pair:
            case ["usr" | "sys" as speaker, text]:
                turns.append(Turn(speaker, _maybe_text(text)))
            case _:
                raise BrokenRecord("['usr' or 'sys', text] is expected", field=f"[{number}]")
    return Recorded(tuple(turns))


def sharegpt(record: Any) -> Recorded:
    """ShareGPT: `conversations` of `{"from": "human", "value": …}`."""
    record = as_object(record)
    turns = tuple(
        Turn(text_of(turn, "from"), _maybe_text(turn.get("value")), _labels(turn.get("strategy")))
        for turn in items(record, "conversations")
    )
    return Recorded(turns, *_about(record), rest_of(record, "conversations", "system", *ABOUT))


def messages(record: Any) -> Recorded:
    """Chat messages: `{"messages": [{"role": "user", "content": …}]}`, the seeker as `user`."""
    record = as_object(record)
    turns = tuple(
        Turn(
            text_of(turn, "role"),
            _content(turn.get("content")),
            _labels(turn.get("strategies") or turn.get("strategy")),
        )
        for turn in items(record, "messages")
    )
    return Recorded(turns, *_about(record), rest_of(record, "messages", *ABOUT))


def _about(record: Mapping[str, Any]) -> tuple[str, str]:
    return text_of(record, "problem_type"), text_of(record, "situation")


def _maybe_text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _labels(value: Any) -> tuple[str, ...]:
    """One label or several; anything but text is none."""
    found = value if isinstance(value, list) else [value]
    return tuple(label for label in found if isinstance(label, str) and label.strip())


def _content(value: Any) -> str | None:
    """The text of a message, also where it is given in parts."""
    if not isinstance(value, list):
        return _maybe_text(value)
    parts = [part for part in value if isinstance(part, Mapping) and part.get("type") == "text"]
    return " ".join(text_of(part, "text") for part in parts) or None
