"""Metrics, analyses, judges, statistics and reports over episodes and ratings."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..environments.episodes.agreement import cohen_kappa, fleiss_kappa, krippendorff_alpha
    from .analyses.analysis import analyse
    from .analyses.corpus import read_corpus
    from .judging.calibration import calibrate
    from .judging.helpful import helpful_rates
    from .judging.human_preferences import compare_preferences
    from .judging.judge import judge
    from .judging.pairwise import compare, win_rates
    from .judging.rubric import load_rubric
    from .metrics.metric import Measurement, Metric, Pairs, Score, make_metric
    from .metrics.presets import score_overlap, score_pairs
    from .replies.evaluate import evaluate
    from .replies.result import Result
    from .selfplay.play import self_play
    from .selfplay.settings import SelfPlaySettings
    from .statistics.planning import across_seeds, dialogues_needed
    from .statistics.uncertainty import bootstrap, estimate_mean, mean_tally, paired_test

_HOMES = {
    "..environments.episodes.agreement": ("cohen_kappa", "fleiss_kappa", "krippendorff_alpha"),
    "metrics.metric": ("Measurement", "Metric", "Pairs", "Score", "make_metric"),
    "replies.evaluate": ("evaluate",),
    "replies.result": ("Result",),
    "analyses.analysis": ("analyse",),
    "analyses.corpus": ("read_corpus",),
    "judging.calibration": ("calibrate",),
    "judging.helpful": ("helpful_rates",),
    "judging.judge": ("judge",),
    "judging.pairwise": ("compare", "win_rates"),
    "judging.rubric": ("load_rubric",),
    "judging.human_preferences": ("compare_preferences",),
    "selfplay.play": ("self_play",),
    "selfplay.settings": ("SelfPlaySettings",),
    "statistics.planning": ("across_seeds", "dialogues_needed"),
    "metrics.presets": ("score_overlap", "score_pairs"),
    "statistics.uncertainty": (
        "bootstrap",
        "estimate_mean",
        "mean_tally",
        "paired_test",
    ),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Measurement",
    "Metric",
    "Pairs",
    "Result",
    "Score",
    "SelfPlaySettings",
    "across_seeds",
    "analyse",
    "bootstrap",
    "calibrate",
    "cohen_kappa",
    "compare",
    "compare_preferences",
    "dialogues_needed",
    "estimate_mean",
    "evaluate",
    "fleiss_kappa",
    "helpful_rates",
    "judge",
    "krippendorff_alpha",
    "load_rubric",
    "make_metric",
    "mean_tally",
    "paired_test",
    "read_corpus",
    "score_overlap",
    "score_pairs",
    "self_play",
    "win_rates",
]


def __getattr__(name: str) -> Any:
    if (module := _HOME_OF.get(name)) is None:
        raise AttributeError(f"module 'warmline.evaluation' has no attribute '{name}'")
    value = getattr(
        import_module(module if module.startswith(".") else f".{module}", __name__), name
    )
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
