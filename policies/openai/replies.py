"""Reading a chat completion, whole or as a stream of chunks, from servers that differ in details.

The answers are read as plain JSON values: building the library's typed objects costs more time than
reading the five fields needed, and hides what odd servers leave out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, TypeGuard

from ...core.errors import ContentRefused, UnreadableReply
from ...core.outside.secrets import hide_secrets
from ...core.outside.text import clean_text
from ..base import FinishReason, TokenLogprob, Usage
from ..server_errors import ErrorWithin
from ..text.tokens import estimated_tokens


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer of a server. `usage` and `logprobs` are None where it did not send them.

    Attributes:
        thinking: what the server itself told from the text.
        remark: why there is no text, in words, where the server says.
        no_room: the server gave no answer, since its tokens did not suffice for one.
    """

    text: str
    finish_reason: FinishReason
    usage: Usage | None
    logprobs: tuple[TokenLogprob, ...] | None
    thinking: str = ""
    remark: str = ""
    no_room: bool = False

    @property
    def chars(self) -> int:
        """Characters of text and thinking together."""
        return len(self.text) + len(self.thinking)

    def cut_at(self, stops: Sequence[str]) -> Completion:
        """This answer up to the first of some texts, for servers that do not take `stop`."""
        places = [place for stop in stops if (place := self.text.find(stop)) >= 0]
        if not places:
            return self
        kept = None if self.logprobs is None else _up_to(min(places), self.logprobs)
        return replace(
            self, text=self.text[: min(places)], finish_reason=FinishReason.STOP, logprobs=kept
        )


def _up_to(characters: int, logprobs: tuple[TokenLogprob, ...]) -> tuple[TokenLogprob, ...]:
    """The tokens that begin before a place in the text."""
    ends = accumulate(len(entry.token) for entry in logprobs)
    return tuple(
        entry
        for entry, end in zip(logprobs, ends, strict=True)
        if end - len(entry.token) < characters
    )


def unreadable(base_url: str, asked: int, wanted: str, last: Completion) -> UnreadableReply:
    """The error for an answer that was never in the form wanted: what the last one was, and why."""
    why, hint = "", "another choices_mode, a larger max_tokens or a larger model may help"
    if last.remark:
        why = f"; {last.remark}"
    elif last.finish_reason is FinishReason.LENGTH:
        why = ", cut off at the limit of its length"
    elif last.thinking and not last.text.strip():
        why = f", after {len(last.thinking):,} characters of thinking, with which it ended"
        hint = "set thinking to 'off' or 'low' for this role, or take another model"
    return UnreadableReply(
        f"{base_url} was asked {asked} times for {wanted};"
        f" its last answer was {hide_secrets(last.text.strip())[:200]!r}{why}",
        hint=hint,
    )


def read_completion(data: object) -> Completion:
    """The answer in the body of a chat completion.

    Raises:
        UnreadableReply: it is not one.
        ErrorWithin: it is an error that was sent as an answer.
        ContentRefused: a content filter stopped it or its prompt, or the model refused to answer.
    """
    choice = _first_choice(data)
    _raise_error_within(data, choice)
    if choice is None:
        _refuse_filtered_prompt(data)
    message = choice.get("message") if choice is not None else None
    if choice is None or not isinstance(message, Mapping):
        raise UnreadableReply(
            "the server answered something that is not a chat completion:"
            f" {hide_secrets(str(data))[:200]!r}",
            hint="a base_url usually ends in /v1",
        )
    text = _text(message.get("content"))
    refuse_refused(choice, text, message.get("refusal"))
    return Completion(
        text=clean_text(text),
        finish_reason=_finish_reason(choice.get("finish_reason")),
        usage=_usage(data),
        logprobs=_logprobs(choice),
        thinking=clean_text(_thinking(message)),
        remark=_remark(message),
    )


def _raise_error_within(data: object, choice: Mapping[str, Any] | None) -> None:
    """Raise the error that some servers send with HTTP 200: in place of the choices, or in one."""
    of_all = data.get("error") if isinstance(data, Mapping) and choice is None else None
    if error := of_all or (choice or {}).get("error"):
        raise ErrorWithin.of(error)


def _refuse_filtered_prompt(data: object) -> None:
    """Azure may send no choice, and what its filter found in the prompt."""
    results = data.get("prompt_filter_results") if isinstance(data, Mapping) else None
    for result in results if isinstance(results, list) else ():
        found = result.get("content_filter_results") if isinstance(result, Mapping) else None
        if kinds := _filtered_kinds(found):
            raise ContentRefused(
                f"the server's content filter refused the prompt ({', '.join(kinds)})",
                hint=FILTER_HINT,
            )


def _filtered_kinds(results: object) -> list[str]:
    found = results.items() if isinstance(results, Mapping) else ()
    return [str(n) for n, r in found if isinstance(r, Mapping) and r.get("filtered")]


def _text(content: object) -> str:
    """The text of a `content`: a string, or a list of parts, of which those of text count."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = (p.get("text") if isinstance(p, Mapping) else p for p in content if not _thought(p))
    return "".join(text for text in texts if isinstance(text, str))


def _thought(part: object) -> bool:
    return isinstance(part, Mapping) and part.get("type") in ("thinking", "reasoning")


def _thinking(message: Mapping[str, Any]) -> str:
    """What stands under the names that servers have for thinking.

    `reasoning_content` is DeepSeek's, SGLang's, llama.cpp's and older vLLM's; `reasoning` is vLLM's,
    Ollama's and OpenRouter's; Mistral sends parts of type `thinking`, which hold parts of text.
    """
    for name in ("reasoning_content", "reasoning", "thinking"):
        if isinstance(said := message.get(name), str) and said:
            return said
    content, details = message.get("content"), message.get("reasoning_details")
    parts = [part for part in content if _thought(part)] if isinstance(content, list) else []
    if isinstance(details, list):  # OpenRouter's, where it has no `reasoning`
        parts += [part for part in details if isinstance(part, Mapping)]
    names = ("thinking", "text", "reasoning", "summary")
    return "".join(_text(next(filter(None, map(part.get, names)), "")) for part in parts)


def _remark(message: Mapping[str, Any]) -> str:
    """Why a message has no text, where it says so."""
    if isinstance(refusal := message.get("refusal"), str) and refusal.strip():
        return f"the server refused: {hide_secrets(refusal.strip())[:200]!r}"
    calls = message.get("tool_calls") or [message.get("function_call")]
    calls = [call for call in calls if isinstance(call, Mapping)] if isinstance(calls, list) else []
    if calls:
        functions = [call.get("function", call) for call in calls]
        names = [str(f.get("name")) for f in functions if isinstance(f, Mapping) and f.get("name")]
        shown = hide_secrets(", ".join(names))[:100] or "a tool"
        return f"it called a tool ({shown}), though it was given none"
    return ""


class StreamedCompletion:
    """Puts a completion together from the chunks of a stream."""

    def __init__(self) -> None:
        self.text = ""
        self.chars = 0
        """Characters so far, those of the thinking included."""
        self._thinking: list[str] = []
        self._remark = ""
        self._refusal = ""
        self._finish: object = None
        self._ended = False
        self._last: Mapping[str, Any] = {}
        self._usage: Usage | None = None
        self._logprobs: list[TokenLogprob] | None = None

    def add(self, data: object) -> None:
        """Take in one chunk; those without a choice carry the usage, or nothing."""
        self._usage = (told := _usage(data)) or self._usage
        choice = _first_choice(data)
        _raise_error_within(data, choice)
        if choice is None:
            self._ended = self._ended or told is not None
            return
        delta = choice.get("delta")
        if isinstance(delta, Mapping):
            text, thinking = _text(delta.get("content")), _thinking(delta)
            if text:
                self.text += text
            if thinking:
                self._thinking.append(thinking)
            self.chars += len(text) + len(thinking)
            self._refusal += str(delta.get("refusal") or "")
            self._remark = self._remark or _remark({**delta, "refusal": None})
        if (logprobs := _logprobs(choice)) is not None:
            self._logprobs = self._logprobs or []
            self._logprobs.extend(logprobs)
        if choice.get("finish_reason"):
            self._finish, self._last = choice["finish_reason"], choice

    def stopped(self, prompt: str) -> Completion:
        """What came so far, reading having been stopped by us.

        Servers say what a call took at its end. Unless this one counts along (vLLM's
        `continuous_usage_stats`), `usage` is estimated by characters, and marked so.

        Args:
            prompt: all text that was sent.
        """
        if self._usage is None:
            thought = estimated_tokens("".join(self._thinking)) if self._thinking else 0
            written = estimated_tokens(self.text) + thought
            prompt_tokens = estimated_tokens(prompt)
            self._usage = Usage(prompt_tokens, 0, written, estimated=True, thinking_tokens=thought)
        return self._completion(FinishReason.SENTENCES)

    def _completion(self, finish: FinishReason) -> Completion:
        logprobs = None if self._logprobs is None else tuple(self._logprobs)
        remark = _remark({"refusal": self._refusal}) or self._remark
        text, thinking = clean_text(self.text), clean_text("".join(self._thinking))
        return Completion(text, finish, self._usage, logprobs, thinking, remark)

    def complete(self, *, done: bool = False) -> Completion:
        """The whole answer.

        Args:
            done: the server marked the end of the stream. So does a chunk with the usage and no
                choice.

        Raises:
            UnreadableReply: the stream ended without either and without a finish reason: it broke
                off.
            ContentRefused: a content filter stopped it, or the model refused to answer.
        """
        refuse_refused(self._last, self.text, self._refusal)
        if self._finish is None and not (done or self._ended):
            raise UnreadableReply(
                f"the stream broke off after {len(self.text)} characters",
                hint="stream = false asks for whole answers",
            )
        return self._completion(_finish_reason(self._finish))


def _first_choice(data: object) -> Mapping[str, Any] | None:
    choices = data.get("choices") if isinstance(data, Mapping) else None
    if isinstance(choices, list) and choices and isinstance(choices[0], Mapping):
        return choices[0]
    return None


FILTERED = re.compile(
    r"content_filter|sensitive|safety|guardrail_intervened|refusal|prohibited_content|blocklist|spii",
    re.IGNORECASE,
)
"""Finish reasons of answers that a filter stopped; Google's say more behind the word."""
FILTER_HINT = "a model and a filter that allow talk of distress are needed for this subject"


def refuse_refused(choice: Mapping[str, Any], text: str, refusal: object) -> None:
    """Refuse an answer that a content filter stopped, or in which the model refuses to answer.

    Args:
        choice: with the finish reason, and the filter's findings where the server gives them.
        text: what came before the filter stopped it.
        refusal: the model's words in the field of that name.

    Raises:
        ContentRefused: with what the server said.
    """
    if refusal and not text.strip():
        said = hide_secrets(str(refusal).strip())[:300]
        raise ContentRefused(f"the model refused to answer: {said!r}", hint=FILTER_HINT)
    if not FILTERED.search(str(choice.get("finish_reason"))[:100]):
        return
    kinds = _filtered_kinds(choice.get("content_filter_results"))
    about = f" ({', '.join(kinds)})" if kinds else ""
    after = f" after {hide_secrets(text.strip())[:200]!r}" if text.strip() else ""
    raise ContentRefused(
        f"the server's content filter stopped the answer{about}{after}", hint=FILTER_HINT
    )


def _finish_reason(said: object) -> FinishReason:
    if said in ("abort", "error"):
        raise UnreadableReply(f"the server broke off its answer (finish_reason '{said}')")
    return FinishReason.LENGTH if said == "length" else FinishReason.STOP


def _usage(data: object) -> Usage | None:
    said = data.get("usage") if isinstance(data, Mapping) else None
    if not isinstance(said, Mapping) or not _is_count(said.get("completion_tokens")):
        return None
    details = said.get("prompt_tokens_details")
    return Usage(
        prompt_tokens=_count(said, "prompt_tokens"),
        cached_tokens=_count(details, "cached_tokens"),
        completion_tokens=_count(said, "completion_tokens"),
        thinking_tokens=_count(said.get("completion_tokens_details"), "reasoning_tokens"),
    )


def _count(said: object, name: str) -> int:
    value = said.get(name) if isinstance(said, Mapping) else None
    return value if _is_count(value) else 0


def _is_count(value: object) -> TypeGuard[int]:
    """Some servers send -1 or null for what they do not know."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _logprobs(choice: Mapping[str, Any]) -> tuple[TokenLogprob, ...] | None:
    said = choice.get("logprobs")
    content = said.get("content") if isinstance(said, Mapping) else None
    if not isinstance(content, list):
        return None
    return tuple(
        TokenLogprob(str(entry.get("token", "")), _number(entry["logprob"]))
        for entry in content
        if isinstance(entry, Mapping) and isinstance(entry.get("logprob"), (int, float))
    )


def _number(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # a whole number of hundreds of digits; refused with the reply
        return math.inf
