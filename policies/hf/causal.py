"""Continuous batching for decoder-only models.

Requests join and leave the running batch between any two tokens. A new one is computed alone up to
its first token (on a GPU together with other new ones), beginning behind the longest prefix that was
computed before; from then on it is one row of the batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ..errors import ConfigError, ContextTooLong
from .cache import COLUMNS, RowCache, rounded_up
from .jobs import Job, Task
from .loading import BASE, LoadedModel
from .prefixes import PrefixStore
from .sampling import logprobs_of, next_tokens

ROW_MULTIPLE = 4
"""Rows are filled up to multiples of this. Below it, matrix products of a CPU take other ways and
round otherwise, and a seed would give another text alone than among others."""

CPU_BLOCK, GPU_BLOCK = 64, 256
"""Prompt tokens in one pass: of few, a pass costs more a token; prefixes are found in such steps."""

GPU_PROMPT_TOKENS = 4096
"""Prompt tokens in one pass over several prompts."""

OPTION_BYTES = 256 * 1024 * 1024
"""Memory for the logits of options that are scored in one pass."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a loop may use.

    Attributes:
        max_batch: most requests computed together.
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
        logits: behind the prompt, `(vocabulary,)`, once that is computed.
    """

    task: Task
    length: int = 0
    cached: int = 0
    logits: torch.Tensor | None = field(default=None, repr=False)

    @property
    def tokens(self) -> Sequence[int]:
        return self.task.prompt.tokens

    @property
    def most(self) -> int:
        """Columns that the row may come to need."""
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
        self._cache = RowCache(model.layers)

    @property
    def busy(self) -> bool:
        """Whether rows are under way."""
        return bool(self._rows) or self._next is not None

    def step(self, waiting: deque[Job]) -> None:
        """Let in what fits, and compute one token for every row."""
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
        self._cache = RowCache(self._model.layers)
        return jobs

    def forget_adapter(self) -> None:
        """Drop stored prefixes: the name of an adapter may come to mean another one."""
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
            except Exception as error:  # noqa: BLE001 - it is the asker's, and raised there
                job.fail(error)
        return None

    def _fits(self, rows: Sequence[_Row]) -> bool:
        columns = rounded_up(max(row.most for row in rows), COLUMNS)
        return len(rows) * columns <= self._limits.token_budget

    def _padded(self, rows: int) -> int:
        if self._limits.max_batch == 1:
            return rows
        most = rounded_up(self._limits.max_batch, ROW_MULTIPLE)
        return most if self._limits.deterministic else rounded_up(rows, ROW_MULTIPLE)

    def _make_room(self) -> None:
        slots = self._padded(len(self._rows))
        columns = max(row.most for row in self._rows)
        wide, high = max(slots, self._cache.slots), max(columns, self._cache.columns)
        if wide * high > self._limits.token_budget:
            self._cache.resize(slots, columns)
        else:
            self._cache.resize(wide, high)

    def _begin(self, rows: list[_Row]) -> None:
        """Compute prompts, draw the first tokens, and answer what only asks for scores."""
        first = len(self._rows)
        self._rows += rows
        del self._joining[: len(rows)]
        self._make_room()
        for slot, row in enumerate(rows, first):
            owner = row.task.job.adapter
            row.length = row.cached = self._prefixes.load(self._cache, slot, row.tokens, owner)
        while run := _run(rows):
            self._compute_chunk(first + run.start, rows[run])
        for slot, row in enumerate(rows, first):
            self._prefixes.save(self._cache, slot, row.tokens, row.task.job.adapter)
        written = [row for row in rows if row.task.answer is not None]
        if written:
            self._take(written, torch.stack([_known(row.logits) for row in written]))
        for slot, row in enumerate(rows, first):
            if row.task.answer is None:
                self._score(slot, row)
            row.logits = None
        self._leave()

    def _compute_chunk(self, first: int, rows: Sequence[_Row]) -> None:
        """The next piece of prompts that are equally far; shorter ones are filled up behind."""
        past = rows[0].length
        width = min(self._block, max(len(row.tokens) for row in rows) - past)
        pieces = [list(row.tokens[past : past + width]) for row in rows]
        ends = {
            len(piece) - 1
            for row, piece in zip(rows, pieces, strict=True)
            if past + len(piece) == len(row.tokens)
        }
        kept = sorted(ends) or [width - 1]
        self._cache.chunk(first, len(rows), past)
        logits = self._forward(
            [piece + [0] * (width - len(piece)) for piece in pieces],
            torch.arange(past, past + width).expand(len(rows), -1),
            [row.task.job.adapter for row in rows],
            kept=kept,
        )
        for number, (row, piece) in enumerate(zip(rows, pieces, strict=True)):
            row.length = past + len(piece)
            if row.length == len(row.tokens):
                row.logits = logits[number, kept.index(len(piece) - 1)].float()

    # one token for every row

    def _decode(self) -> None:
        rows, count = self._rows, self._padded(len(self._rows))
        filling = count - len(rows)
        adapters = [row.task.job.adapter for row in rows]
        same = len(set(adapters)) == 1
        adapters += [adapters[0] if same else BASE] * filling
        positions = torch.tensor([row.length for row in rows] + [0] * filling)
        longest = int(positions.max()) + 1
        alone = self._limits.max_batch == 1
        width = longest if alone else rounded_up(longest, COLUMNS)
        self._cache.step(*self._placed(torch.arange(count), positions), width)
        logits = self._forward(
            [[_last(row)] for row in rows] + [[0]] * filling,
            positions[:, None],
            adapters,
            mask=None if alone else self._mask(positions, width),
        )
        for row in rows:
            row.length += 1
        self._take(rows, logits[: len(rows), -1].float())
        self._leave()

    def _placed(self, *tensors: torch.Tensor) -> list[torch.Tensor]:
        return [tensor.to(self._model.device) for tensor in tensors]

    def _mask(self, positions: torch.Tensor, width: int) -> Any:
        """Which columns each row sees: those up to its own, within the layer's window."""
        columns = torch.arange(width)
        masks: dict[str, torch.Tensor] = {}
        for kind, window in self._model.windows.items():
            seen = columns <= positions[:, None]
            if window is not None:
                seen &= columns > positions[:, None] - window
            mask = seen[:, None, None, :].to(self._model.device)
            if self._model.model.config._attn_implementation != "sdpa":
                dtype = self._model.model.dtype
                lowest = torch.finfo(dtype).min
                mask = torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, lowest)
            masks[kind] = mask
        return masks if len(masks) > 1 else next(iter(masks.values()))

    def _forward(
        self,
        tokens: list[list[int]],
        positions: torch.Tensor,
        adapters: Sequence[str],
        *,
        mask: Any = None,
        kept: list[int] | None = None,
    ) -> torch.Tensor:
        """Logits `(rows, kept or all, vocabulary)` of one pass through the chosen view."""
        inputs, positions = self._placed(torch.tensor(tokens), positions)
        extra: dict[str, Any] = {"past_key_values": self._cache, "use_cache": True}
        if mask is not None:
            extra["attention_mask"] = mask
        if self._model.takes("position_ids"):
            extra["position_ids"] = positions
        few = kept is not None and self._model.takes("logits_to_keep")
        if few:
            (extra["logits_to_keep"],) = self._placed(torch.tensor(kept))
        logits: torch.Tensor = self._model.forward(adapters, input_ids=inputs, **extra).logits
        return logits[:, kept] if kept is not None and not few else logits

    # ending

    def _take(self, rows: Sequence[_Row], logits: torch.Tensor) -> None:
        answers = [row.task.answer for row in rows if row.task.answer is not None]
        tokens = next_tokens(logits, answers)
        logprobs = logprobs_of(logits, tokens, answers)
        for answer, token, logprob in zip(answers, tokens, logprobs, strict=True):
            answer.take(token, logprob)

    def _score(self, slot: int, row: _Row) -> None:
        """Compute all continuations of a prompt side by side, the prompt once."""
        given = row.task.continuations
        vocabulary = self._model.vocabulary
        at_once = max(1, OPTION_BYTES // (4 * vocabulary * max(1, *map(len, given))))
        stops = torch.tensor(sorted(row.task.job.writer.stop_tokens), device=self._model.device)
        scores = []
        for start in range(0, len(given), at_once):
            part = given[start : start + at_once]
            for tokens, logits in zip(part, self._branch(slot, row, part), strict=True):
                logprobs = torch.cat([_known(row.logits)[None], logits]).log_softmax(dim=-1)
                wanted = torch.tensor(tokens, dtype=torch.long, device=self._model.device)
                each = logprobs[:-1].gather(1, wanted[:, None])[:, 0].tolist()
                scores.append((each, float(logprobs[-1, stops].logsumexp(dim=-1))))
        row.task.job.finish(row.task.scored(self._model.tokenizer, scores, row.cached))

    def _branch(self, slot: int, row: _Row, given: Sequence[tuple[int, ...]]) -> list[torch.Tensor]:
        """Logits `(length, vocabulary)` at the tokens of each continuation."""
        width = max(map(len, given))
        if width == 0:
            return [torch.empty(0, self._model.vocabulary, device=self._model.device)] * len(given)
        self._cache.branch(slot, row.length)
        logits = self._forward(
            [[*tokens, *[0] * (width - len(tokens))] for tokens in given],
            torch.arange(row.length, row.length + width).expand(len(given), -1),
            [row.task.job.adapter] * len(given),
        )
        return [logits[n, : len(tokens)].float() for n, tokens in enumerate(given)]

    def _leave(self) -> None:
        gone = []
        for slot, row in enumerate(self._rows):
            answer = row.task.answer
            if answer is None or answer.reason is not None:
                gone.append(slot)
                if answer is not None:
                    row.task.job.finish(row.task.written(row.cached))
        self._remove(gone)

    def _remove(self, slots: Sequence[int]) -> None:
        """Free slots; the last row moves into each gap, so that rows stay together."""
        for slot in sorted(slots, reverse=True):
            last = self._rows.pop()
            if slot < len(self._rows):
                self._cache.move(len(self._rows), slot, last.length)
                self._rows[slot] = last

    # trust

    def prove(self) -> None:
        """See that two rows of different lengths get the same logits as each by itself.

        Raises:
            ConfigError: they do not, so the model needs something that this loop does not give it.
        """
        if self._limits.max_batch == 1:
            return
        vocabulary = self._model.vocabulary
        texts = [[(7 * n + 3) % vocabulary for n in range(length)] for length in (5, 9)]
        self._cache.resize(self._padded(2), max(map(len, texts)))
        for slot, text in enumerate(texts):
            self._cache.chunk(slot, 1, 0)
            self._forward([text[:-1]], torch.arange(len(text) - 1)[None], [BASE])
        count = self._padded(2)
        positions = torch.tensor([len(text) - 1 for text in texts] + [0] * (count - 2))
        self._cache.step(*self._placed(torch.arange(count), positions), COLUMNS)
        batched = self._forward(
            [[text[-1]] for text in texts] + [[0]] * (count - 2),
            positions[:, None],
            [BASE] * count,
            mask=self._mask(positions, COLUMNS),
        )[:, -1].float()
        exact = self._model.model.dtype == torch.float32
        for slot, text in enumerate(texts):
            (tokens,) = self._placed(torch.tensor([text]))
            plain = self._model.forward([BASE], input_ids=tokens).logits[0, -1].float()
            off = float((batched[slot] - plain).norm() / plain.norm())
            if not off < (1e-3 if exact else 5e-2):
                raise ConfigError(
                    f"'{self._model.name}' cannot be batched: beside another request its logits are"
                    f" off by {off:.1%}",
                    hint="set max_batch = 1",
                )


def _run(rows: Sequence[_Row]) -> slice | None:
    """The first neighbours that are equally far, and farthest behind, in computing their prompts."""
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
