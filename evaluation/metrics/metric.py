"""What a metric takes and gives: pairs of replies in, figures out; and the record that is
reported."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from ...core.errors import ConfigError
from ...core.plugins import Plugins, Spec
from ..statistics.uncertainty import Interval, Tally
from .tokens import Tokenizer, Tokens


@dataclass(frozen=True)
class Pairs:
    """Replies beside what was said in their place.

    Attributes:
        hypotheses, references: equally many texts, missing hypotheses left out.
        groups: the dialogue of each pair, or None where it is not known.
        missing: pairs left out because they have no hypothesis.
    """

    hypotheses: tuple[str, ...]
    references: tuple[str, ...]
    groups: tuple[Hashable, ...] | None = None
    missing: int = 0
    _cut: dict[str, tuple[list[Tokens], list[Tokens]]] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.hypotheses)

    def tokens(self, tokenizer: Tokenizer) -> tuple[list[Tokens], list[Tokens]]:
        """Tokens of hypotheses and references; cut once a tokenizer, whoever asks."""
        if tokenizer.name not in self._cut:
            self._cut[tokenizer.name] = tokenizer(self.hypotheses), tokenizer(self.references)
        return self._cut[tokenizer.name]


def make_pairs(
    hypotheses: Sequence[str | None],
    references: Sequence[str],
    groups: Sequence[Hashable] | None = None,
) -> Pairs:
    """Check and pair texts.

    Raises:
        ConfigError: lengths that differ, nothing to compare, something that is not a text.
    """
    sides = {"hypotheses": hypotheses, "references": references}
    problems = [
        f"{name} must be a list of texts, not one text"
        for name, texts in sides.items()
        if isinstance(texts, str)
    ]
    if not problems and len(hypotheses) != len(references):
        problems = [f"{len(hypotheses)} hypotheses but {len(references)} references"]
    elif not problems and not hypotheses:
        problems = ["both lists are empty"]
    elif not problems and groups is not None and len(groups) != len(references):
        problems = [f"{len(groups)} groups for {len(references)} pairs"]
    if not problems:
        problems = _no_texts("hypotheses", hypotheses, (str, type(None)))
        problems += _no_texts("references", references, (str,))
    if problems:
        raise ConfigError(
            "these texts cannot be compared", problems=problems,
            hint="give one hypothesis (a text, or None where it is missing) for each reference",
        )  # fmt: skip
    kept = [i for i, text in enumerate(hypotheses) if text is not None]
    if not kept:
        raise ConfigError(f"all {len(references)} hypotheses are missing")
    return Pairs(
        tuple(text for text in hypotheses if text is not None),
        tuple(references[i] for i in kept),
        None if groups is None else tuple(groups[i] for i in kept),
        len(references) - len(kept),
    )


def _no_texts(name: str, texts: Sequence[Any], kinds: tuple[type, ...]) -> list[str]:
    wrong = [i for i, text in enumerate(texts) if not isinstance(text, kinds)]
    if not wrong:
        return []
    return [f"{name}[{wrong[0]}] is {texts[wrong[0]]!r:.40}, not a text ({len(wrong)} such)"]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One number of a metric.

    Attributes:
        metric: its name.
        value: a tally, so that an interval can be drawn; else the number, None if undefined.
        convention: how exactly it was computed.
        unit: per cent by default.
        n: pairs that it rests on; all of them by default.
    """

    metric: str
    value: Tally | float | None
    convention: str
    unit: str = "%"
    n: int | None = None


@runtime_checkable
class Metric(Protocol):
    """Measures replies against references. One method is all that is needed:

    ```python
    class Exclamations:
        def measure(self, pairs: Pairs) -> list[Measurement]:
            marks = mean_tally([text.count("!") for text in pairs.hypotheses])
            return [Measurement("exclamations", marks, "'!' in a reply, mean", unit="")]
    ```
    """

    def measure(self, pairs: Pairs) -> Sequence[Measurement]: ...


@dataclass(frozen=True, slots=True)
class Score:
    """A figure as reported.

    Attributes:
        metric, value, unit, convention: see `Measurement`; `value` is None where it is undefined.
        n: replies counted.
        missing: replies left out for want of text or of a value.
        interval: of the value, whole dialogues drawn; None where resampling says nothing (Distinct
            over a corpus falls with every repeated draw) or there is only one dialogue.
    """

    metric: str
    value: float | None
    convention: str
    unit: str = "%"
    n: int = 0
    missing: int = 0
    interval: Interval | None = None


METRICS: Plugins[Metric] = Plugins(
    "warmline.metrics", "metric", example="my_package.module:MyMetric", extra="eval"
)


def known_metrics() -> list[str]:
    """Names of all installed metrics, in alphabetical order."""
    return METRICS.known()


def make_metric(spec: Spec, /, **options: Any) -> Metric:
    """A metric by its installed name, or by import string (`my_package.module:MyMetric`).

    Args:
        spec: a name; `name:key=value,key=value`; or a mapping with `name` and the options.
        options: further options.

    Raises:
        ConfigError: no such metric, or one that cannot be made with these options.
    """
    metric: object = METRICS.make(spec, **options)
    if not isinstance(metric, Metric):
        name, _ = METRICS.parse(spec)
        raise ConfigError(f"'{name}' is not a metric: it has no method measure(pairs)")
    return metric
