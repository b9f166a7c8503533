"""Answers that must have a form: one of given options, or JSON that fits a schema.

For engines that cannot be bound to the form, the form is asked for in words and the answer is read
leniently; for those that can, it is still checked, since some servers accept the setting and ignore
it.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..core.jsonl import parse_json
from .base import Message

_NUMBERING = re.compile(
    r"^\s*(?:(?:option|answer|choice)\s*:?\s*)?(?:\(?\d{1,2}[.):]|[-*•])\s+", re.I
)
_BARE_NUMBER = re.compile(
    r"^\W*+(?:option|number|no\.?|answer|choice)?\s*+(?::\s*+)?#?(\d{1,2})\W*+$", re.I
)
_WRAPPING = " \t\r\n\"'`*_.,;:!()[]“”‘’«»「」。"
_AND = re.compile(r"[&+/]")
"""Signs for "and" or "or" in a label: "Affirmation & Reassurance"."""
_ANSWER = r"\b(?:answer|verdict|decision|choice|conclusion)\b(?:\s+is)?\s*[:=]?[\s*_\"'`]*+"
_NEGATED = (
    r"(?:\bnot|n['’]t|\bnever|\brather than|\binstead of|\bavoid)\s+"
    r"(?:(?:be|say|a|an|the|use|using|choose|choosing|ask|asking)\s+)*+[\"'`*]*"
)
_FENCE = re.compile(r"```[a-zA-Z]*+[^\S\n]*+\n")


def numbered(options: Sequence[str]) -> bool:
    """Whether options are listed with numbers: not where a number might be read as an option."""
    return not any(char.isdigit() for option in options for char in option)


def with_instruction(messages: Sequence[Message], instruction: str) -> list[Message]:
    """`messages` with the instruction at the end of the last user message, or as one of its own."""
    if messages and messages[-1].role == "user":
        last = messages[-1]
        return [
            *messages[:-1],
            dataclasses.replace(last, content=f"{last.content}\n\n{instruction}"),
        ]
    return [*messages, Message("user", instruction)]


def choice_instruction(options: Sequence[str]) -> str:
    """The sentence that asks for one of `options`, and their list."""
    marks = (
        [f"{n}." for n in range(1, len(options) + 1)] if numbered(options) else ["-"] * len(options)
    )
    listed = "\n".join(f"{mark} {option}" for mark, option in zip(marks, options, strict=True))
    return f"Answer with exactly one of these options, word for word, and nothing else:\n{listed}"


def schema_instruction(schema: Mapping[str, Any]) -> str:
    """The sentence that asks for JSON of the given schema."""
    return f"Answer with JSON that fits this JSON schema, and nothing else:\n{json.dumps(schema)}"


def match_choice(text: str, options: Sequence[str]) -> str | None:
    """The one option that `text` names, or None if it names no option or several.

    Tried in this order: the very words; the words in other case, in quotes, with a number or a full
    stop, with `&`, `+` or `/` for "and"; the number alone, where options were listed with numbers;
    the last one that is called the answer ("Final answer: ..."); the one that is a sentence of its
    own at the beginning ("Yes. No further help is needed."); the only one in bold type; the only
    one that occurs in the text. One that follows a "not" is not named.
    """
    stripped = text.strip()
    if stripped in options:
        return stripped
    if (unquoted := stripped.strip(_WRAPPING)) in options:
        return unquoted
    bare = _bare(stripped)
    same = [option for option in options if bare and _bare(option) == bare]
    if same:
        return same[0] if len(same) == 1 else None
    if numbered(options) and (number := _BARE_NUMBER.match(stripped)):
        index = int(number.group(1)) - 1
        return options[index] if 0 <= index < len(options) else None
    folded = _folded(stripped)
    if (stated := _stated(folded, options)) is not None:
        return stated
    named = _named(folded, options)
    return named.pop() if len(named) == 1 else None


def _bare(text: str) -> str:
    unquoted = text.strip(_WRAPPING)
    return _folded(_NUMBERING.sub("", unquoted).strip(_WRAPPING))


def _folded(text: str) -> str:
    """In one case, with single spaces, and "and" for the signs of it."""
    return " ".join(_AND.sub(" and ", text).casefold().split())


def _stated(text: str, options: Sequence[str]) -> str | None:
    """The option that a longer text gives as its answer, or None."""
    phrases = {folded: option for option in options if (folded := _folded(option))}
    if len(phrases) < len(options):
        return None  # options that differ in case alone need the very words
    forms = "|".join(map(re.escape, sorted(phrases, key=len, reverse=True)))
    alone = rf"(?<![a-z0-9])({forms})(?![a-z0-9])"
    if called := re.findall(_ANSWER + alone + r"(?!\s*(?:or|and)\b)", text):
        return phrases[called[-1]]
    lead = re.match(rf"[\W_]*+{alone}[\s*_\"'`)]*([.:;!—–]|,|-(?=\s))", text)
    if lead and (lead[2] != "," or lead[1] in ("yes", "no")):
        rest = re.sub(alone, " ", text[lead.end() :])
        if re.sub(r"\b(?:or|and)\b|[\W_]", "", rest) or not _named(text[lead.end() :], options):
            return phrases[lead[1]]
    bold = set(re.findall(rf"\*\*[\s\"']*{alone}[\s\"'.:]*\*\*", text))
    return phrases[bold.pop()] if len(bold) == 1 else None


def _named(text: str, options: Sequence[str]) -> set[str]:
    # Longest first, each hit blanked out, so that "Feelings" is not found inside "Reflection of
    # Feelings". Only Latin letters and digits need a word's edge: Chinese is written without
    # spaces.
    rest = _folded(text)
    phrases: dict[str, set[str]] = {}
    for option in options:
        phrases.setdefault(_folded(option), set()).add(option)
    named: set[str] = set()
    for phrase in sorted(filter(None, phrases), key=len, reverse=True):
        words = rf"(?<![a-z0-9]){re.escape(phrase)}(?![a-z0-9])"
        rest = re.sub(_NEGATED + words, "\0", rest)
        rest, hits = re.subn(words, "\0", rest)
        if hits:
            named |= phrases[phrase]
    return named


def choice_schema(options: Sequence[str]) -> dict[str, Any]:
    """A JSON schema whose only values are `{"choice": <one of options>}`.

    An object, since OpenAI's strict mode takes nothing else at the root.
    """
    return {
        "type": "object",
        "properties": {"choice": {"type": "string", "enum": list(options)}},
        "required": ["choice"],
        "additionalProperties": False,
    }


def read_choice(text: str, options: Sequence[str]) -> str | None:
    """The option in an answer of `choice_schema`, or None if the answer does not fit it."""
    value = read_json(text, choice_schema(options))
    return None if value is None else str(value[1]["choice"])


def read_json(text: str, schema: Mapping[str, Any]) -> tuple[str, Any] | None:
    """The JSON in an answer as text and as value, or None if it is not JSON or does not fit.

    A surrounding code fence is removed.
    """
    stripped = text.strip()
    if (
        stripped.endswith("```")
        and (fence := _FENCE.match(stripped))
        and fence.end() < len(stripped)
    ):
        stripped = stripped[fence.end() : -3].strip()
    try:
        value = parse_json(stripped)
    except ValueError:
        return None
    return None if misfit(value, schema) else (stripped, value)


_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}


def misfit(value: Any, schema: Mapping[str, Any], at: str = "$") -> str | None:
    """Where and how `value` does not fit `schema`, or None.

    Checks type, enum, const, required, properties, additionalProperties = false and items, which is
    what our own schemas use; other keywords are left to the engine's grammar.
    """
    if (kinds := schema.get("type")) is not None:
        kinds = [kinds] if isinstance(kinds, str) else kinds
        if not any(_is_a(value, kind) for kind in kinds):
            return f"{at} is not of type {' or '.join(kinds)}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{at} is not one of {schema['enum']}"
    if "const" in schema and value != schema["const"]:
        return f"{at} is not {schema['const']!r}"
    if isinstance(value, dict):
        return _misfit_object(value, schema, at)
    if isinstance(value, list) and isinstance(items := schema.get("items"), Mapping):
        problems = (misfit(item, items, f"{at}[{n}]") for n, item in enumerate(value))
        return next((problem for problem in problems if problem), None)
    return None


def _misfit_object(value: dict[str, Any], schema: Mapping[str, Any], at: str) -> str | None:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            return f"{at} lacks '{name}'"
    for name, item in value.items():
        if name in properties:
            if problem := misfit(item, properties[name], f"{at}.{name}"):
                return problem
        elif schema.get("additionalProperties") is False:
            return f"{at} has an unknown '{name}'"
    return None


def _is_a(value: Any, kind: str) -> bool:
    if isinstance(value, bool):  # Python counts True as an integer, JSON does not
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES.get(kind, (object,)))


def is_strict(schema: Any) -> bool:
    """Whether OpenAI's strict mode takes the schema: objects closed and all properties required."""
    if isinstance(schema, Mapping):
        if schema.get("type") == "object" and (
            schema.get("additionalProperties") is not False
            or set(schema.get("required", ())) != set(schema.get("properties", {}))
        ):
            return False
        return all(is_strict(part) for part in schema.values())
    if isinstance(schema, list):
        return all(is_strict(part) for part in schema)
    return True
