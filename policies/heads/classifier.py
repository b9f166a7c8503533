"""The `classifier` policy: a trained checkpoint with heads answers by choosing, in one short pass.

`warmline train counselor` makes such checkpoints. A request must carry choices that are options of
one of the heads; everything else is refused, since heads write no text.
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
import random
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from ...core.errors import (
    ConfigError,
    DataError,
    EngineUnavailable,
    MissingExtra,
    ModelNotFound,
    PolicyError,
    Unsupported,
)
from ...core.files import read_json
from ..base import BasePolicy, Capabilities, FinishReason, Message, Reply, Request, Usage
from ..models.sources import find_source, identity
from .batching import Batcher
from .reading import Reading

if TYPE_CHECKING:
    from .network import LoadedClassifier

CHECKPOINT_NAME = "checkpoint.json"
DType = Literal["auto", "float32", "bfloat16", "float16"]

Logprobs = dict[str, dict[str, float]]
"""By head and option the log-probability, in nats."""


@dataclasses.dataclass(frozen=True, slots=True)
class Prediction:
    """The heads' output for one prompt, and the number of its tokens."""

    logprobs: Logprobs
    tokens: int


class ClassifierPolicy(BasePolicy):
    """Chooses among the options of a checkpoint's heads, such as the eight strategies.

    Temperature 0 takes the most probable of the choices; another one draws from their probabilities
    to the power of 1 / temperature; None means 1. Nothing else is drawn, so `max_tokens` is always
    met and further sampling settings are refused. `Reply.notes["classifier"]` holds the
    log-probabilities of the choices (nats, summing to one over what was asked for).

    Requests that wait are computed together. Seeds hold up to the last bits of the arithmetic,
    which may depend on what is computed together.

    Args:
        model: a checkpoint folder; its base is found through it.
        device: `auto` uses a GPU if available.
        dtype: of the network; `auto` is bfloat16 on a GPU and on CPUs with AMX or AVX-512 BF16,
            otherwise float32.
        max_batch: maximum number of prompts computed together.
        threads: of the computation on a CPU, for all that torch begins in this process; None takes
            the cores that are idle when it is opened but one, or `OMP_NUM_THREADS`.

    Raises:
        ModelNotFound, DataError: no checkpoint there, or one without heads.
        ConfigError: an option out of range.
        MissingExtra: torch, transformers or peft is not installed.
    """

    name = "classifier"
    capabilities = Capabilities(
        max_sentences=False, sampling=frozenset({"temperature", "max_tokens"})
    )

    def __init__(
        self,
        model: str | Path,
        *,
        device: str = "auto",
        dtype: DType = "auto",
        max_batch: int = 32,
        threads: int | None = None,
    ) -> None:
        problems = [
            f"{option} must be at least 1, not {value}"
            for option, value in (("max_batch", max_batch), ("threads", threads))
            if value is not None and value < 1
        ]
        if dtype not in get_args(DType):
            problems.append(f"dtype must be one of {', '.join(get_args(DType))}, not {dtype!r}")
        if problems:
            raise ConfigError(f"the {self.name} policy cannot be set up", problems=problems)
        for library in ("torch", "transformers", "peft"):
            if find_spec(library) is None:
                raise MissingExtra(f"the `{self.name}` policy", extra="transformers")
        self.folder = Path(model).expanduser()
        record = read_record(self.folder)
        self.heads = heads_of(record, self.folder)
        """Options of each head, in the order of the logits."""
        self.reading = reading_of(record)
        self.id = f"{self.name}:{self.folder.name}"
        self.capabilities = dataclasses.replace(type(self).capabilities, only=self.offered)
        self._device, self._dtype, self._threads = device, dtype, threads
        self._max_batch = max_batch
        self._batcher: Batcher[Sequence[Message], Prediction] | None = None
        self._loaded: LoadedClassifier | None = None

    @property
    def offered(self) -> tuple[str, ...]:
        """The options that a request may choose among: those of the first head."""
        return next(iter(self.heads.values()))

    async def open(self) -> None:
        """Load the model, in a thread.

        Raises:
            ModelNotFound, ConfigError, DataError: the base is not there, or does not fit.
        """
        if self._batcher is not None:
            return
        self._batcher = batcher = Batcher(self._compute, self._max_batch)
        try:
            self._loaded = await asyncio.wrap_future(batcher.call(self._load))
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Free the model. Safe to call twice."""
        batcher, self._batcher = self._batcher, None
        if batcher is not None:
            await asyncio.to_thread(batcher.close)
        self._loaded = None

    @property
    def requests_at_once(self) -> int:
        """Requests computed together."""
        return self._max_batch

    @property
    def model_folders(self) -> tuple[str, ...]:
        """See `policies.base.model_folders`."""
        return find_source(self.folder).folders

    def describe(self) -> dict[str, Any]:
        """Weights, heads and what shapes the numbers."""
        from ..models.loading import find_device, find_dtype

        device = find_device(self._device)
        return {
            "policy": self.name,
            **identity(find_source(self.folder)),
            "heads": {name: list(options) for name, options in self.heads.items()},
            "reading": dataclasses.asdict(self.reading),
            "dtype": find_dtype(self._dtype, device),
            "device": device.partition(":")[0],
            "engine": f"transformers {version('transformers')}, torch {version('torch')}",
        }

    async def respond(self, request: Request) -> Reply:
        """Choose; see `Policy.respond`.

        Raises:
            Unsupported: no choices, or others than the options of one head.
            ContextTooLong: the latest message alone is longer than the model reads.
        """
        started = time.perf_counter()
        choices = self._choices(request)
        prediction = await self.predict(request.messages)
        found = self._among(prediction.logprobs, choices)
        return Reply(
            text=draw_option(found, request.sampling.temperature, request.seed),
            finish_reason=FinishReason.CHOICE,
            usage=Usage(prediction.tokens, 0, 0),
            latency=time.perf_counter() - started,
            policy=self.id,
            notes={"classifier": {"logprobs": found}},
        )

    async def predict(self, messages: Sequence[Message]) -> Prediction:
        """The output of all heads for a prompt.

        Raises:
            EngineUnavailable: the policy is not open, or the computation failed.
            ContextTooLong: see `respond`.
        """
        if self._batcher is None:
            raise EngineUnavailable(
                f"'{self.id}' is not open", hint="await policy.open(), or `async with policy`"
            )
        return await asyncio.wrap_future(self._batcher.ask(messages))

    def _choices(self, request: Request) -> tuple[str, ...]:
        self.check(request)
        if request.choices is None:
            raise Unsupported(
                f"'{self.id}' writes no text; it chooses among {', '.join(self.offered)}",
                hint="use it where a choice is asked for: as the counselor",
            )
        if any(set(request.choices) <= set(options) for options in self.heads.values()):
            return request.choices
        strange = [choice for choice in request.choices if choice not in self.offered]
        raise Unsupported(
            f"'{self.id}' was not trained to choose {', '.join(map(repr, strange))};"
            f" it knows {', '.join(self.offered)}",
            hint="ask for these, or use a language model's policy",
        )

    def _among(self, logprobs: Logprobs, choices: tuple[str, ...]) -> dict[str, float]:
        """Log-probabilities of the choices among themselves."""
        head = next(name for name, options in self.heads.items() if set(choices) <= set(options))
        found = {choice: logprobs[head][choice] for choice in choices}
        total = logsumexp(list(found.values()))
        return {choice: value - total for choice, value in found.items()}

    # in the thread

    def _load(self) -> LoadedClassifier:
        from ..models.cores import set_torch_threads
        from ..models.loading import find_device, find_dtype
        from .network import load_classifier

        device = find_device(self._device)
        set_torch_threads(self._threads, device)
        return load_classifier(
            self.folder,
            outputs=sum(map(len, self.heads.values())),
            reading=self.reading,
            device=device,
            dtype=find_dtype(self._dtype, device),
        )

    def _compute(self, prompts: Sequence[Sequence[Message]]) -> list[Prediction | PolicyError]:
        loaded = self._loaded
        if loaded is None:
            raise EngineUnavailable("the policy was closed")
        rows: dict[int, list[int]] = {}
        results: dict[int, Prediction | PolicyError] = {}
        for n, messages in enumerate(prompts):
            try:
                rows[n] = loaded.reader.fit(messages)
            except PolicyError as error:
                results[n] = error
        logits = loaded.logits(list(rows.values())) if rows else []
        for (n, ids), values in zip(rows.items(), logits, strict=True):
            results[n] = Prediction(split(values, self.heads), len(ids))
        return [results[n] for n in range(len(prompts))]


def split(logits: Sequence[float], heads: Mapping[str, Sequence[str]]) -> Logprobs:
    """Logits of all heads side by side, as log-probabilities by head and option."""
    found: Logprobs = {}
    start = 0
    for name, options in heads.items():
        own = logits[start : start + len(options)]
        total = logsumexp(own)
        found[name] = {o: value - total for o, value in zip(options, own, strict=True)}
        start += len(options)
    return found


def logsumexp(values: Sequence[float]) -> float:
    """log(Σ exp(v)), without overflow."""
    highest = max(values)
    return highest + math.log(sum(math.exp(value - highest) for value in values))


def draw_option(logprobs: Mapping[str, float], temperature: float | None, seed: int | None) -> str:
    """The most probable option at temperature 0, else one drawn by the seed; None means 1."""
    if temperature == 0:
        return max(logprobs, key=lambda option: logprobs[option])
    highest = max(logprobs.values())
    divisor = 1.0 if temperature is None else temperature
    weights = [math.exp((value - highest) / divisor) for value in logprobs.values()]
    draw = random.Random(seed)  # noqa: S311 - a draw of text, not of keys
    return draw.choices(list(logprobs), weights)[0]


def read_record(folder: Path) -> dict[str, Any]:
    """A checkpoint's record, as plain data.

    Raises:
        ModelNotFound: no checkpoint there.
        DataError: it cannot be read.
    """
    file = folder / CHECKPOINT_NAME
    if not file.is_file():
        raise ModelNotFound(
            f"no trained classifier in '{folder}'",
            hint="give the folder that `warmline train counselor` or `train scorer` wrote",
        )
    record = read_json(file)
    if not isinstance(record, dict):
        raise DataError("not a JSON object", file=file)
    return record


def heads_of(record: Mapping[str, Any], folder: Path) -> dict[str, tuple[str, ...]]:
    """The heads that a record names.

    Raises:
        ModelNotFound: it names none: a checkpoint of another kind.
    """
    heads = record.get("heads")
    if not isinstance(heads, Mapping) or not heads:
        raise ModelNotFound(
            f"the checkpoint '{folder}' ({record.get('kind')}) has no heads to choose with",
            hint="use it with the `transformers` policy",
        )
    return {str(name): tuple(map(str, options)) for name, options in heads.items()}


def reading_of(record: Mapping[str, Any]) -> Reading:
    """How a checkpoint was trained to read prompts."""
    settings = record.get("settings") or {}
    names = {field.name for field in dataclasses.fields(Reading)}
    return Reading(**{name: value for name, value in settings.items() if name in names})
