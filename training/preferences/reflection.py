"""Asks for both sides of preference pairs: a reply, and its revision (Self-Evolution §2.2.1).

Each call is written to `calls.jsonl` with its exact messages the moment it is answered, under an id
that only context and purpose decide. The file is the journal too: what it holds is never asked
again. The reflection's prompt, schema and reading are those of the wrapper `refine`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from pydantic import Field, ValidationError

from ...core.errors import DataError, PolicyError, UnreadableReply
from ...core.jsonl import LineLog, complete_lines
from ...core.outside.console import make_console
from ...core.outside.progress import Counting
from ...core.record import Record, Text, problems_of
from ...core.seeds import named_seed
from ...core.shards.division import file_of
from ...core.tasks import for_each
from ...environments.runs.decoding import DECODINGS
from ...policies.asking import ask_policy
from ...policies.base import Policy, Reply, Request, Sampling, policy_name
from ...policies.wrappers.base import honoured
from ...policies.wrappers.refine import Refine, read_analysis
from ..candidates.rows import PromptMessage
from ..rows.build import Row
from ..rows.spool import SpooledMap

CALLS_NAME = "calls.jsonl"

DECODING = Sampling(**DECODINGS["self-evolution"], max_tokens=120)
"""Self-Evolution appendix B, for replies and reflections; the number of tokens is ours."""

Purpose = Literal["rejected", "reflection", "stronger"]


class CallRecord(Record):
    """One question to a policy, and its answer.

    Attributes:
        id: `context/purpose/attempt`.
        context: the row that it was asked for, `episode#turn`.
        policy: name of the policy that answered.
        text: as it was answered; None where there is no readable answer.
        error: why there is none.
    """

    version: Literal[1] = 1
    id: Text
    context: Text
    purpose: Purpose
    policy: str
    messages: tuple[PromptMessage, ...]
    sampling: dict[str, float | int] = Field(default_factory=dict)
    seed: int | None = None
    max_sentences: int | None = None
    schema_asked: bool = False
    text: str | None = None
    finish_reason: str | None = None
    usage: dict[str, int] | None = None
    error: str | None = None

    def to_json(self) -> str:
        """One line of `calls.jsonl`."""
        plain = self.model_dump(mode="json", exclude_none=True)
        return json.dumps(plain, ensure_ascii=False, separators=(",", ":"))


CALLS = "calls answered"


class CallLog:
    """The calls of a folder, open for appending; safe against being killed. A context manager, which
    counts what is appended on standard error.

    Args:
        part: one part, as 3/8, which writes a file of its own so that several may run at once.

    Attributes:
        found: the calls of all files, by id.

    Raises:
        RunError: another process is writing it, or the disk refuses.
        DataError: a line is not a call.
    """

    def __init__(self, folder: str | Path, part: str | None = None) -> None:
        self.folder = Path(folder)
        self.found: SpooledMap[CallRecord] = SpooledMap()
        self._part = part
        self._log = LineLog(file_of(self.folder / CALLS_NAME, part))
        self._held = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._log)
            if self._part is None:  # a part that is still being written would be asked for twice
                for file in set(call_files(self.folder)) - {self._log.path}:
                    stack.enter_context(LineLog(file))
            self.found = SpooledMap((call.id, call) for call in iter_calls(self.folder))
            self._told = stack.enter_context(Counting(make_console(stderr=True), CALLS))
            self._held = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._held.__exit__(kind, error, trace)

    def append(self, call: CallRecord) -> None:
        """Write one call.

        Raises:
            RunError: the disk is full or fails.
        """
        self._log.write_line(call.to_json(), f"call '{call.id}'")
        self._told.add(CALLS)
        self.found[call.id] = call


def iter_calls(path: str | Path) -> Iterator[CallRecord]:
    """Stream the calls of a folder, of all its parts, or of a file; torn last lines are left out.

    Raises:
        DataError: no such file, or a line that is not a call; names file, line and problem.
    """
    files = call_files(Path(path)) if Path(path).is_dir() else [Path(path)]
    if not files or not files[0].is_file():
        raise DataError("no calls there", file=path)
    for file in files:
        for number, line in complete_lines(file):
            try:
                yield CallRecord.model_validate_json(line)
            except ValidationError as error:
                problems = "; ".join(problems_of(error, CallRecord)[:3])
                raise DataError(problems, file=file, line=number) from None


def call_files(folder: Path) -> list[Path]:
    """The files of calls in a folder: of one process, or of several parts."""
    return sorted(folder.glob("calls*.jsonl"))


def call_id(context: str, purpose: Purpose, attempt: int = 0) -> str:
    """The id of a call."""
    return f"{context}/{purpose}/{attempt}"


@dataclass(frozen=True, slots=True)
class CallOptions:
    """How policies are asked.

    Attributes:
        sampling: what the settings say; what they leave open is `DECODING`, as far as the policy
            honours it.
        seed: of the round; with a call's id it gives the call's seed.
        max_sentences: sentence limit of a reply.
        concurrency: contexts in flight.
        tries: of a reflection that cannot be read (Self-Evolution appendix A: it is
            generated again up to three times).
        reflection_tokens: room for one.
    """

    sampling: Sampling = field(default_factory=Sampling)
    seed: int = 0
    max_sentences: int = 3
    concurrency: int = 8
    tries: int = 4
    reflection_tokens: int = 512

    def request(self, row: Row, purpose: Purpose, policy: Policy) -> Request:
        """What a policy is asked to answer as the supporter."""
        return Request(
            messages=row.prompt,
            role="supporter",
            sampling=self.sampling.over(honoured(DECODING, policy)),
            seed=named_seed(self.seed, call_id(row.id, purpose)),
            max_sentences=self.max_sentences,
            session=row.id,
        )


async def ask_replies(
    rows: Iterable[Row], policy: Policy, log: CallLog, asking: CallOptions, purpose: Purpose
) -> None:
    """A reply to every row's prompt that is not in the log yet.

    Raises:
        PolicyError: the policy failed, and may not fail again; what is answered is in the log.
    """

    async def ask(row: Row) -> None:
        request = asking.request(row, purpose, policy)
        log.append(await _answered(call_id(row.id, purpose), row.id, purpose, policy, request))

    waiting = (row for row in rows if call_id(row.id, purpose) not in log.found)
    await for_each(waiting, ask, asking.concurrency)


async def ask_reflections(
    rows: Iterable[Row],
    policy: Policy,
    log: CallLog,
    asking: CallOptions,
    said: Callable[[str], str],
) -> None:
    """For every row an analysis of the reply that was given, asked until one can be read.

    Args:
        said: the reply of a row to reflect on, by the row's id; rows without one are left alone.

    Raises:
        PolicyError: the policy failed; what is answered is in the log.
    """
    refine = Refine(
        policy,
        max_attempts=asking.tries,
        max_length=None,
        max_tokens=asking.reflection_tokens,
    )

    async def reflect(row: Row) -> None:
        if not (reply := said(row.id)):
            return
        first = asking.request(row, "reflection", policy)
        for attempt in range(asking.tries):
            name = call_id(row.id, "reflection", attempt)
            if (known := log.found.get(name)) is None:
                request = refine.question(first, reply, attempt)
                known = await _answered(name, row.id, "reflection", policy, request)
                log.append(known)
            if known.text is not None and read_analysis(known.text) is not None:
                return

    await for_each(rows, reflect, asking.concurrency)


def read_reflection(
    context: str, calls: Mapping[str, CallRecord], tries: int
) -> tuple[dict[str, Any] | None, list[str]]:
    """The first analysis of a context that can be read, and the ids of the calls up to it."""
    asked: list[str] = []
    for attempt in range(tries):
        call = calls.get(call_id(context, "reflection", attempt))
        if call is None:
            break
        asked.append(call.id)
        if call.text is not None and (analysis := read_analysis(call.text)) is not None:
            return analysis, asked
    return None, asked


async def _answered(
    name: str, context: str, purpose: Purpose, policy: Policy, request: Request
) -> CallRecord:
    """The call's record. What would fail the same way again is part of it; the rest is raised."""
    try:
        reply = await ask_policy(policy, request)
    except PolicyError as error:
        lasting = isinstance(error, UnreadableReply) or not error.retryable
        if error.fatal or not lasting:
            raise
        return _record(name, context, purpose, policy, request, error=str(error))
    return _record(name, context, purpose, policy, request, reply)


def _record(
    name: str,
    context: str,
    purpose: Purpose,
    policy: Policy,
    request: Request,
    reply: Reply | None = None,
    error: str | None = None,
) -> CallRecord:
    usage = reply.usage if reply else None
    return CallRecord(
        id=name,
        context=context,
        purpose=purpose,
        policy=(reply.policy if reply else "") or policy_name(policy),
        messages=prompt_of(request),
        sampling=request.sampling.as_dict(),
        seed=request.seed,
        max_sentences=request.max_sentences,
        schema_asked=request.schema is not None,
        text=reply.text if reply else None,
        finish_reason=reply.finish_reason.value if reply else None,
        usage={"prompt": usage.prompt_tokens, "completion": usage.completion_tokens}
        if usage
        else None,
        error=error,
    )


def prompt_of(request: Request) -> tuple[PromptMessage, ...]:
    """The messages of a request as they are stored."""
    return tuple(PromptMessage(role=m.role, content=m.content) for m in request.messages)


def text_of(calls: Mapping[str, CallRecord], context: str, purpose: Purpose) -> str | None:
    """The raw text of a context's reply, or None if there is none."""
    call = calls.get(call_id(context, purpose))
    return call.text if call else None
