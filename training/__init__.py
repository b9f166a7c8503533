"""Rows from episodes, losses, and the trainers that turn them into policies.

Each trainer is a function of its settings that returns a `TrainingResult`; the commands of
`warmline train` call the same functions. Names are imported on first use, since they bring torch.

Example:
    ```python
    from warmline.training import SftSettings, train_sft

    result = train_sft(SftSettings(data=("runs/first",), out="runs/m0"))
    print(result.folder, result.metrics["validation_loss"])
    ```
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.lazy import lazy_names

if TYPE_CHECKING:
    from .beam_search.search import BeamOutput, diverse_beam_search
    from .counselor.settings import CounselorSettings
    from .counselor.train import train_counselor
    from .dpo.settings import DpoSettings
    from .dpo.train import train_dpo
    from .evolution.evolve import EvolutionResult, evolve
    from .evolution.settings import EvolveSettings
    from .fpemf.candidates import make_candidates
    from .fpemf.settings import CandidateRunSettings, FpemfSettings
    from .fpemf.train import train_fpemf
    from .loop.checkpoint import Checkpoint, find_checkpoints, read_checkpoint
    from .loop.merge import merge_checkpoint
    from .loop.results import TrainingResult
    from .preferences.pairs import preference_pairs
    from .preferences.settings import PairSettings
    from .reproduction.reproduce import reproduce
    from .scorer.settings import ScorerSettings
    from .scorer.train import train_scorer
    from .sft.settings import SftSettings
    from .sft.train import train_sft

_HOMES = {
    ".beam_search.search": ("BeamOutput", "diverse_beam_search"),
    ".counselor.settings": ("CounselorSettings",),
    ".counselor.train": ("train_counselor",),
    ".dpo.settings": ("DpoSettings",),
    ".dpo.train": ("train_dpo",),
    ".evolution.evolve": ("EvolutionResult", "evolve"),
    ".evolution.settings": ("EvolveSettings",),
    ".fpemf.settings": ("CandidateRunSettings", "FpemfSettings"),
    ".fpemf.train": ("train_fpemf",),
    ".loop.checkpoint": ("Checkpoint", "find_checkpoints", "read_checkpoint"),
    ".loop.merge": ("merge_checkpoint",),
    ".loop.results": ("TrainingResult",),
    ".fpemf.candidates": ("make_candidates",),
    ".preferences.pairs": ("preference_pairs",),
    ".preferences.settings": ("PairSettings",),
    ".reproduction.reproduce": ("reproduce",),
    ".scorer.settings": ("ScorerSettings",),
    ".scorer.train": ("train_scorer",),
    ".sft.settings": ("SftSettings",),
    ".sft.train": ("train_sft",),
}

__all__ = [
    "BeamOutput",
    "CandidateRunSettings",
    "Checkpoint",
    "CounselorSettings",
    "DpoSettings",
    "EvolutionResult",
    "EvolveSettings",
    "FpemfSettings",
    "PairSettings",
    "ScorerSettings",
    "SftSettings",
    "TrainingResult",
    "diverse_beam_search",
    "evolve",
    "find_checkpoints",
    "make_candidates",
    "merge_checkpoint",
    "preference_pairs",
    "read_checkpoint",
    "reproduce",
    "train_counselor",
    "train_dpo",
    "train_fpemf",
    "train_scorer",
    "train_sft",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES, extra="train")
