"""Metrics, analyses, judges, statistics and reports over episodes and ratings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.lazy import lazy_names

if TYPE_CHECKING:
    from ..environments.episodes.agreement import cohen_kappa, fleiss_kappa, krippendorff_alpha
    from .analyses.analyse_files import analyse_files
    from .analyses.analysis import analyse
    from .analyses.corpus import read_corpus
    from .harness.run import general_ability
    from .judging.calibration import calibrate
    from .judging.calibration_report import calibration_report
    from .judging.helpful import helpful_changes, helpful_rates
    from .judging.human_preferences import compare_preferences, compare_votes
    from .judging.judge import judge
    from .judging.judge_run import JudgeResult, judge_run
    from .judging.pairwise import compare, win_rates
    from .judging.rubric import load_rubric
    from .judging.settings import JudgeSettings
    from .metrics.metric import Measurement, Metric, Pairs, Score, make_metric
    from .metrics.presets import score_overlap, score_pairs
    from .replies.evaluate import evaluate, evaluate_pairs
    from .replies.result import Result
    from .replies.settings import EvaluationSettings, MetricSettings
    from .report.page import write_report
    from .selfplay.play import self_play
    from .selfplay.result import SelfPlayResult
    from .selfplay.settings import SelfPlaySettings
    from .statistics.length_control import length_controlled
    from .statistics.paired import paired_test
    from .statistics.planning import across_seeds, dialogues_needed
    from .statistics.uncertainty import (
        bootstrap,
        estimate_mean,
        estimate_share,
        mean_tally,
        share_tally,
    )
    from .tables.make import make_tables

_HOMES = {
    "..environments.episodes.agreement": ("cohen_kappa", "fleiss_kappa", "krippendorff_alpha"),
    ".analyses.analysis": ("analyse",),
    ".analyses.analyse_files": ("analyse_files",),
    ".analyses.corpus": ("read_corpus",),
    ".harness.run": ("general_ability",),
    ".judging.calibration": ("calibrate",),
    ".judging.calibration_report": ("calibration_report",),
    ".judging.helpful": ("helpful_changes", "helpful_rates"),
    ".judging.human_preferences": ("compare_preferences", "compare_votes"),
    ".judging.judge": ("judge",),
    ".judging.judge_run": ("JudgeResult", "judge_run"),
    ".judging.pairwise": ("compare", "win_rates"),
    ".judging.rubric": ("load_rubric",),
    ".judging.settings": ("JudgeSettings",),
    ".metrics.metric": ("Measurement", "Metric", "Pairs", "Score", "make_metric"),
    ".metrics.presets": ("score_overlap", "score_pairs"),
    ".replies.evaluate": ("evaluate", "evaluate_pairs"),
    ".replies.result": ("Result",),
    ".replies.settings": ("EvaluationSettings", "MetricSettings"),
    ".report.page": ("write_report",),
    ".selfplay.play": ("self_play",),
    ".selfplay.result": ("SelfPlayResult",),
    ".selfplay.settings": ("SelfPlaySettings",),
    ".statistics.length_control": ("length_controlled",),
    ".statistics.planning": ("across_seeds", "dialogues_needed"),
    ".statistics.paired": ("paired_test",),
    ".statistics.uncertainty": (
        "bootstrap",
        "estimate_mean",
        "estimate_share",
        "mean_tally",
        "share_tally",
    ),
    ".tables.make": ("make_tables",),
}

__all__ = [
    "EvaluationSettings",
    "JudgeResult",
    "JudgeSettings",
    "Measurement",
    "Metric",
    "MetricSettings",
    "Pairs",
    "Result",
    "Score",
    "SelfPlayResult",
    "SelfPlaySettings",
    "across_seeds",
    "analyse",
    "analyse_files",
    "bootstrap",
    "calibrate",
    "calibration_report",
    "cohen_kappa",
    "compare",
    "compare_preferences",
    "compare_votes",
    "dialogues_needed",
    "estimate_mean",
    "estimate_share",
    "evaluate",
    "evaluate_pairs",
    "fleiss_kappa",
    "general_ability",
    "helpful_changes",
    "helpful_rates",
    "judge",
    "judge_run",
    "krippendorff_alpha",
    "length_controlled",
    "load_rubric",
    "make_metric",
    "make_tables",
    "mean_tally",
    "paired_test",
    "read_corpus",
    "score_overlap",
    "score_pairs",
    "self_play",
    "share_tally",
    "win_rates",
    "write_report",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
