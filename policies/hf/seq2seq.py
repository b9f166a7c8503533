"""Dynamic batching for encoder-decoder models.

Waiting requests form a batch, up to `max_batch`, which runs to its end; a row leaves as soon as its
answer is complete, but the next batch begins when the last row has left. Joining a running batch,
as decoder-only models can, would have to refill the encoder's side too, and is left out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import DynamicCache, EncoderDecoderCache

from ..models.loading import LoadedModel
from .jobs import Job, Task, take_tokens


class Seq2SeqLoop:
    """The running batch of one encoder-decoder model.

    Args:
        max_batch: maximum number of requests computed together.
    """

    def __init__(
        self, model: LoadedModel, max_batch: int, make_task: Callable[[Job], Task]
    ) -> None:
        self._model, self._max_batch, self._make_task = model, max_batch, make_task
        self._tasks: list[Task] = []
        self._fed = 0  # decoder tokens computed so far, the same for every row
        self._cache: Any = None
        self._encoded: Any = None
        self._mask: Any = None

    @property
    def busy(self) -> bool:
        """Whether rows are under way."""
        return bool(self._tasks)

    def step(self, waiting: deque[Job]) -> None:
        """Compute one token for every row, or begin the next batch."""
        if not self._tasks:
            self._begin(waiting)
        if self._tasks:
            self._keep([n for n, task in enumerate(self._tasks) if not task.job.cancelled])
        if self._tasks:
            self._advance()

    def abandon(self) -> list[Job]:
        """Drop every row; returns the jobs that were under way."""
        jobs = [task.job for task in self._tasks]
        self._tasks = []
        self._cache = self._encoded = self._mask = None
        return jobs

    def forget_adapter(self) -> None:
        """Nothing is stored between batches."""

    def check_batching(self) -> None:
        """Nothing to check: rows are arranged as transformers itself does it."""

    def _begin(self, waiting: deque[Job]) -> None:
        self.abandon()
        while waiting and len(self._tasks) < self._max_batch:
            job = waiting.popleft()
            if job.cancelled:
                continue
            try:
                self._tasks.append(self._make_task(job))
            except Exception as error:  # noqa: BLE001 - raised where the job is waited for
                job.fail(error)
        for task in self._tasks:
            if task.answer is None:
                self._score(task)
        self._tasks = [task for task in self._tasks if task.answer is not None]
        self._fed = 0

    def _advance(self) -> None:
        tasks = self._tasks
        inputs: dict[str, Any] = {
            "decoder_input_ids": self._tensor([[_token(task, self._fed)] for task in tasks]),
            "use_cache": True,
        }
        if self._fed == 0:
            config = self._model.model.config
            self._cache = EncoderDecoderCache(
                DynamicCache(config=config), DynamicCache(config=config)
            )
            inputs["input_ids"], self._mask = self._padded([task.prompt.tokens for task in tasks])
        else:
            inputs["encoder_outputs"] = (self._encoded,)
        out = self._model.forward(
            [task.job.adapter for task in tasks],
            attention_mask=self._mask,
            past_key_values=self._cache,
            **inputs,
        )
        self._encoded = out.encoder_last_hidden_state
        self._fed += 1
        writing = [n for n, task in enumerate(tasks) if self._fed >= len(task.prompt.start)]
        if writing:
            self._take([tasks[n] for n in writing], out.logits[writing, -1].float())
        self._leave()

    def _take(self, tasks: Sequence[Task], logits: torch.Tensor) -> None:
        take_tokens(tasks, logits, self._model.dtype)

    def _leave(self) -> None:
        kept = []
        for number, task in enumerate(self._tasks):
            if task.answer is not None and task.answer.reason is not None:
                task.job.finish(task.written())
            elif not task.job.failed:
                kept.append(number)
        self._keep(kept)

    def _keep(self, rows: list[int]) -> None:
        if len(rows) == len(self._tasks):
            return
        self._tasks = [self._tasks[row] for row in rows]
        if not rows:
            self.abandon()
        elif self._cache is not None:
            index = self._tensor(rows)
            self._cache.batch_select_indices(index)
            self._encoded, self._mask = self._encoded[index], self._mask[index]

    def _score(self, task: Task) -> None:
        """The encoder once, then the decoder over all continuations side by side."""
        given, start = task.continuations, list(task.prompt.start)
        tokens, mask = self._padded([task.prompt.tokens])
        first = self._model.forward(
            [task.job.adapter],
            input_ids=tokens,
            attention_mask=mask,
            decoder_input_ids=self._tensor([start]),
        )
        width = max(map(len, given))
        logits = self._model.forward(
            [task.job.adapter] * len(given),
            encoder_outputs=(first.encoder_last_hidden_state.expand(len(given), -1, -1),),
            attention_mask=mask.expand(len(given), -1),
            decoder_input_ids=self._tensor(
                [[*start, *each, *[0] * (width - len(each))] for each in given]
            ),
        ).logits.float()
        logprobs = logits[:, len(start) - 1 :].log_softmax(dim=-1)
        stops = self._tensor(sorted(task.job.writer.stop_tokens))
        scores = []
        for row, each in zip(logprobs, given, strict=True):
            wanted = torch.tensor(each, dtype=torch.long, device=row.device)
            values = row[: len(each)].gather(1, wanted[:, None])[:, 0].tolist()
            scores.append((values, float(row[len(each), stops].logsumexp(dim=-1))))
        task.answer_scored(self._model, scores)

    def _padded(self, texts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids and attention mask, both `(rows, longest)`, padded on the right."""
        longest = max(map(len, texts))
        fill = self._model.model.config.pad_token_id or 0
        tokens = [[*text, *[fill] * (longest - len(text))] for text in texts]
        mask = [[1] * len(text) + [0] * (longest - len(text)) for text in texts]
        return self._tensor(tokens), self._tensor(mask)

    def _tensor(self, values: Sequence[Any]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.long, device=self._model.device)


def _token(task: Task, place: int) -> int:
    """The decoder's input at a place: what it begins with, then what it wrote."""
    start = task.prompt.start
    if place < len(start):
        return start[place]
    assert task.answer is not None
    return task.answer.tokens[place - len(start)]
