"""Continuous batching for decoder-only models.

Requests join and leave the running batch between any two tokens. A new one is computed alone up to
its first token (on a GPU together with other new ones), starting after the longest prefix that was
computed before; from then on it is one row of the batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from ...core.errors import ContextTooLong
from ..models.loading import BASE, LoadedModel
from .cache import COLUMNS, rounded_up
from .jobs import Job, Task, take_tokens
from .passes import Passes
from .prefixes import PrefixStore

ROW_MULTIPLE = 4
"""Rows are padded to multiples of this. Below it, a CPU computes matrix products in another way and
rounds differently, so that a seed would give another text alone than in a batch."""

CPU_BLOCK, GPU_BLOCK = 64, 256
"""Prompt tokens in one pass: small passes cost more per token; prefixes are found in such steps."""

GPU_PROMPT_TOKENS = 4096
"""Prompt tokens in one pass over several prompts."""

OPTION_BYTES = 256 * 1024 * 1024
"""Memory for the logits of options that are scored in one pass."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a loop may use.

    Attributes:
        max_batch: maximum number of requests computed together.
        token_budget: tokens whose keys and values may be held, counted as rows times the longest.
        prefix_bytes: memory for prefixes of earlier prompts.
        deterministic: every pass has the same number of rows.
    """

    max_batch: int
    token_budget: int
    prefix_bytes: int
    deterministic: bool


@dataclass(slots=True, eq=False)
class _Row:
    """A task in the batch; its slot in the cache is its place in the list.

    Attributes:
        length: tokens whose keys and values are in the cache.
        cached: those of them that were found there.
        logits: after the prompt, `(vocabulary,)`, once that is computed.
    """

    task: Task
    length: int = 0
    cached: int = 0
    logits: torch.Tensor | None = field(default=None, repr=False)

    @property
    def tokens(self) -> Sequence[int]:
        return self.task.prompt.tokens

    @property
    def max_columns(self) -> int:
        """Maximum number of columns that the row may need."""
        return len(self.tokens) + (self.task.room if self.task.answer is not None else 0)


class CausalLoop:
    """The running batch of one decoder-only model."""

    def __init__(
        self, model: LoadedModel, limits: Limits, make_task: Callable[[Job], Task]
    ) -> None:
        self._model, self._limits, self._make_task = model, limits, make_task
        on_gpu = model.device.type == "cuda"
        self._block = GPU_BLOCK if on_gpu else CPU_BLOCK
        together = on_gpu and not limits.deterministic and limits.max_batch > 1
        self._prompts_together = GPU_PROMPT_TOKENS // self._block if together else 1
        self._prefixes = PrefixStore(block=self._block, max_bytes=limits.prefix_bytes)
        self._rows: list[_Row] = []
        self._joining: list[_Row] = []
        self._next: Task | None = None
        self._passes = Passes(model, alone=limits.max_batch == 1)

    @property
    def busy(self) -> bool:
        """Whether rows are under way."""
        return bool(self._rows) or self._next is not None

    def step(self, waiting: deque[Job]) -> None:
        """Admit the jobs that fit, and compute one token for every row."""
        self._remove([slot for slot, row in enumerate(self._rows) if row.task.job.cancelled])
        self._joining = self._admitted(waiting)
        while self._joining:
            self._begin(self._joining[: self._prompts_together])
        if self._rows:
            self._decode()

    def abandon(self) -> list[Job]:
        """Drop every row and all that is stored; returns the jobs that were under way."""
        jobs = [row.task.job for row in (*self._rows, *self._joining)]
        if self._next is not None:
            jobs.append(self._next.job)
        self._rows, self._joining, self._next = [], [], None
        self._prefixes.clear()
        self._passes = Passes(self._model, alone=self._passes.alone)
        return jobs

    def check_batching(self) -> None:
        """Check that the model can be batched at all.

        Raises:
            ConfigError: it cannot.
        """
        if self._limits.max_batch > 1:
            self._passes.check_batching(self._padded(2))

    def forget_adapter(self) -> None:
        """Drop stored prefixes: the name of an adapter may be used for another one later."""
        self._prefixes.clear()

    # joining

    def _admitted(self, waiting: deque[Job]) -> list[_Row]:
        new: list[_Row] = []
        while len(self._rows) + len(new) < self._limits.max_batch:
            task, self._next = self._next or self._next_task(waiting), None
            if task is None:
                break
            if task.job.cancelled:
                continue
            row = _Row(task)
            if self._fits([*self._rows, *new, row]):
                new.append(row)
            elif self._rows or new:
                self._next = task
                break
            else:
                task.job.fail(
                    ContextTooLong(
                        prompt_tokens=len(row.tokens), context_tokens=self._limits.token_budget
                    )
                )
        return new

    def _next_task(self, waiting: deque[Job]) -> Task | None:
        while waiting:
            job = waiting.popleft()
            if job.cancelled:
                continue
            try:
                return self._make_task(job)
            except Exception as error:  # noqa: BLE001 - raised where the job is waited for
                job.fail(error)
        return None

    def _fits(self, rows: Sequence[_Row]) -> bool:
        columns = rounded_up(max(row.max_columns for row in rows), COLUMNS)
        return len(rows) * columns <= self._limits.token_budget

    def _padded(self, rows: int) -> int:
        if self._limits.max_batch == 1:
            return rows
        full = rounded_up(self._limits.max_batch, ROW_MULTIPLE)
        return full if self._limits.deterministic else rounded_up(rows, ROW_MULTIPLE)

    def _make_room(self) -> None:
        slots = self._padded(len(self._rows))
        columns = max(row.max_columns for row in self._rows)
        wide, high = max(slots, self._passes.cache.slots), max(columns, self._passes.cache.columns)
        if wide * high > self._limits.token_budget:
            self._passes.cache.resize(slots, columns)
        else:
            self._passes.cache.resize(wide, high)

    def _begin(self, rows: list[_Row]) -> None:
        """Compute prompts, draw the first tokens, and answer jobs that only ask for scores."""
        first = len(self._rows)
        self._rows += rows
        del self._joining[: len(rows)]
        self._make_room()
        for slot, row in enumerate(rows, first):
            owner = row.task.job.adapter
            row.length = row.cached = self._prefixes.load(
                self._passes.cache, slot, row.tokens, owner
            )
        while run := _run(rows):
            self._compute_chunk(first + run.start, rows[run])
        for slot, row in enumerate(rows, first):
            self._prefixes.save(self._passes.cache, slot, row.tokens, row.task.job.adapter)
        written = [row for row in rows if row.task.answer is not None]
        if written:
            self._take(written, torch.stack([_known(row.logits) for row in written]))
        for slot, row in enumerate(rows, first):
            if row.task.answer is None:
                self._score(slot, row)
            row.logits = None
        self._leave()

    def _compute_chunk(self, first: int, rows: Sequence[_Row]) -> None:
        """The next piece of prompts that are computed equally far."""
        past = rows[0].length
        pieces = [row.tokens[past : past + self._block] for row in rows]
        adapters = [row.task.job.adapter for row in rows]
        logits = self._passes.chunk(first, past, pieces, adapters)
        for row, piece, after in zip(rows, pieces, logits, strict=True):
            row.length += len(piece)
            row.logits = after

    def _decode(self) -> None:
        """One token for every row."""
        rows = self._rows
        filling = self._padded(len(rows)) - len(rows)
        adapters = [row.task.job.adapter for row in rows]
        filler = adapters[0] if len(set(adapters)) == 1 else BASE
        logits = self._passes.step(
            [_last(row) for row in rows] + [0] * filling,
            [row.length for row in rows] + [0] * filling,
            adapters + [filler] * filling,
        )
        for row in rows:
            row.length += 1
        self._take(rows, logits[: len(rows)])
        self._leave()

    # ending

    def _take(self, rows: Sequence[_Row], logits: torch.Tensor) -> None:
        for place in take_tokens([row.task for row in rows], logits, self._model.dtype):
            # what is undefined in its slot would reach whoever gets that next
            self._passes.cache.clear(self._rows.index(rows[place]))

    def _score(self, slot: int, row: _Row) -> None:
        """Compute all continuations of a prompt side by side, the prompt once."""
        given = row.task.continuations
        vocabulary = self._model.vocabulary
        at_once = max(1, OPTION_BYTES // (4 * vocabulary * max(1, *map(len, given))))
        stops = torch.tensor(sorted(row.task.job.writer.stop_tokens), device=self._model.device)
        scores = []
        for start in range(0, len(given), at_once):
            part = given[start : start + at_once]
            branches = self._passes.branch(slot, row.length, part, row.task.job.adapter)
            for tokens, logits in zip(part, branches, strict=True):
                logprobs = torch.cat([_known(row.logits)[None], logits]).log_softmax(dim=-1)
                wanted = torch.tensor(tokens, dtype=torch.long, device=self._model.device)
                each = logprobs[:-1].gather(1, wanted[:, None])[:, 0].tolist()
                scores.append((each, float(logprobs[-1, stops].logsumexp(dim=-1))))
        row.task.answer_scored(self._model, scores, row.cached)
        if row.task.job.failed:
            self._passes.cache.clear(slot)

    def _leave(self) -> None:
        gone = []
        for slot, row in enumerate(self._rows):
            answer = row.task.answer
            if answer is None or answer.reason is not None or row.task.job.failed:
                gone.append(slot)
                if answer is not None and answer.reason is not None:
                    row.task.job.finish(row.task.written(row.cached))
        self._remove(gone)

    def _remove(self, slots: Sequence[int]) -> None:
        """Free slots; the last row moves into each gap, so that rows stay together."""
        for slot in sorted(slots, reverse=True):
            last = self._rows.pop()
            if slot < len(self._rows):
                self._passes.cache.move(len(self._rows), slot, last.length)
                self._rows[slot] = last


def _run(rows: Sequence[_Row]) -> slice | None:
    """The first neighbouring rows whose prompts are computed equally far, and least far of all."""
    open_rows = [n for n, row in enumerate(rows) if row.length < len(row.tokens)]
    if not open_rows:
        return None
    least = min(rows[n].length for n in open_rows)
    start = next(n for n in open_rows if rows[n].length == least)
    end = start + 1
    while end in open_rows and rows[end].length == least:
        end += 1
    return slice(start, end)


def _last(row: _Row) -> int:
    answer = row.task.answer
    assert answer is not None
    return answer.tokens[-1]


def _known(logits: torch.Tensor | None) -> torch.Tensor:
    assert logits is not None
    return logits
