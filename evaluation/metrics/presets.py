"""Named conventions: which metrics, cut how. A number means little without the name beside it.

* `esconv`: the code family of ESConv, to the last digit, its Distinct included.
* `sacrebleu`: what sacrebleu and rouge-score give today; Distinct counted in full.
* `self-evolution`, `fpemf`: as `esconv`, since these papers do not say how they count; the name stands
  for how replies are asked for (`environments/runs/decoding.py`).
* `sweetiechat`: everything on the tokens of a model's tokenizer (SweetieChat §5.3, LLaMA-3 there).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

from ...core.errors import ConfigError, did_you_mean
from ..statistics.uncertainty import RESAMPLES, IntervalMethod, Tally, bootstrap
from .diversity import CorpusDistinct, Length, ReplyDistinct
from .metric import Measurement, Metric, Pairs, Score, make_pairs
from .overlap import Bleu, ChrF, RougeL, RougeN, UnigramF1
from .tokens import ModelTokens, Mteval13aTokens, RougeTokens, TreebankTokens


def esconv() -> list[Metric]:
    """The ESConv family: NLTK words, NLTK's BLEU, ROUGE-L with beta 1.2, its own Distinct."""
    words = TreebankTokens()
    return [
        Length(words),
        CorpusDistinct(words, skip_last=True),
        Bleu(words, floor=True),
        UnigramF1(words),
        RougeL(words, beta=1.2),
    ]


def sacrebleu() -> list[Metric]:
    """The standard of machine translation and summarisation today."""
    words, runs = Mteval13aTokens(), RougeTokens()
    return [
        Length(words),
        CorpusDistinct(words),
        Bleu(words, floor=False),
        UnigramF1(words),
        RougeN(runs),
        RougeL(runs, beta=1.0),
        ChrF(),
    ]


def sweetiechat(tokenizer: str | Path) -> list[Metric]:
    """Model tokens throughout; Distinct by reply (near 99 in SweetieChat Table 3) and over the
    corpus."""
    tokens = ModelTokens(tokenizer)
    return [
        Length(tokens),
        ReplyDistinct(tokens),
        CorpusDistinct(tokens, name="distinct-corpus"),
        Bleu(tokens, floor=True),
        UnigramF1(tokens),
        RougeN(tokens),
        RougeL(tokens, beta=1.0),
    ]


PRESETS: dict[str, Callable[..., list[Metric]]] = {
    "esconv": esconv,
    "sacrebleu": sacrebleu,
    "sweetiechat": sweetiechat,
    "self-evolution": esconv,
    "fpemf": esconv,
}
TAKES_TOKENIZER = frozenset({"sweetiechat"})


def preset_metrics(preset: str, *, tokenizer: str | Path | None = None) -> list[Metric]:
    """The metrics of a preset.

    Raises:
        ConfigError: no such preset, a tokenizer that is missing or not used.
    """
    if preset not in PRESETS:
        raise ConfigError(
            f"no preset named '{preset}'; known: {', '.join(PRESETS)}",
            hint=did_you_mean(preset, PRESETS),
        )
    if preset in TAKES_TOKENIZER:
        if tokenizer is None:
            raise ConfigError(
                f"the preset '{preset}' counts a model's tokens and needs a tokenizer",
                hint="give the folder of a Hugging Face tokenizer (the papers use LLaMA-3's)",
            )
        return PRESETS[preset](tokenizer)
    if tokenizer is not None:
        raise ConfigError(
            f"the preset '{preset}' has its own tokens and does not take a tokenizer",
            hint=f"leave it out, or choose the preset {' or '.join(sorted(TAKES_TOKENIZER))}",
        )
    return PRESETS[preset]()


def score_pairs(
    hypotheses: Sequence[str | None],
    references: Sequence[str],
    preset: str = "esconv",
    *,
    tokenizer: str | Path | None = None,
    metrics: Sequence[Metric] = (),
    groups: Sequence[Hashable] | None = None,
    method: IntervalMethod = "percentile",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Score]:
    """Score replies against references, with conventions and bootstrap intervals.

    Args:
        hypotheses: one a reference; None where it is missing (left out, and counted).
        references: what was said in the corpus.
        preset: the convention.
        tokenizer: of a model, for the presets that take one.
        metrics: measured besides those of the preset.
        groups: the dialogue of each pair: whole dialogues are drawn for the intervals.
        method, resamples, seed: of the intervals; 0 resamples draws none.

    Raises:
        ConfigError: texts that cannot be compared, or an impossible choice.
        MissingExtra: the libraries of the preset are not installed.
    """
    pairs = make_pairs(hypotheses, references, groups)
    figures = measure(pairs, [*preset_metrics(preset, tokenizer=tokenizer), *metrics])
    return scores_of(
        figures,
        count=len(pairs),
        missing=pairs.missing,
        groups=pairs.groups,
        method=method,
        resamples=resamples,
        seed=seed,
    )


def scores_of(
    figures: Sequence[Measurement],
    *,
    count: int,
    missing: int = 0,
    groups: Sequence[Hashable] | None = None,
    method: IntervalMethod = "percentile",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Score]:
    """Figures over the same items as they are reported: with counts and intervals.

    Args:
        count: items that the figures were taken over; a figure's own `n` may be smaller.
        missing: items left out before.
        groups: one label a row of the tallies.
        method, resamples, seed: of the intervals; 0 resamples draws none.
    """
    tallies = {f.metric: f.value for f in figures if isinstance(f.value, Tally)}
    intervals = (
        bootstrap(tallies, groups=groups, method=method, resamples=resamples, seed=seed)
        if resamples
        else {}
    )
    return [
        Score(
            metric=figure.metric,
            value=figure.value.value if isinstance(figure.value, Tally) else figure.value,
            convention=figure.convention,
            unit=figure.unit,
            n=(known := count if figure.n is None else figure.n),
            missing=count + missing - known,
            interval=intervals.get(figure.metric),
        )
        for figure in figures
    ]


def measure(pairs: Pairs, metrics: Sequence[Metric]) -> list[Measurement]:
    """All figures of some metrics.

    Raises:
        ConfigError: two metrics give figures of one name.
    """
    figures = [figure for metric in metrics for figure in metric.measure(pairs)]
    names = [figure.metric for figure in figures]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"two metrics give figures named {', '.join(twice)}")
    return figures


def score_overlap(
    hypotheses: Sequence[str | None],
    references: Sequence[str],
    preset: str = "esconv",
    *,
    tokenizer: str | Path | None = None,
) -> dict[str, float | None]:
    """The scores of `score_pairs` as plain numbers: per cent, but `length` in tokens.

    Example:
        ```python
        score_overlap(["I hear you."], ["I hear how hard it is."])["bleu-1"]
        ```
    """
    scores = score_pairs(hypotheses, references, preset, tokenizer=tokenizer, resamples=0)
    return {score.metric: score.value for score in scores}
