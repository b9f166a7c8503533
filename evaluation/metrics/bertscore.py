"""BERTScore (Zhang et al. 2020) by the library `bert-score`, over any local or hub encoder.

The number depends on model and layer: both are named, and neither has a default. Not rescaled with
a baseline and without idf weights, as the papers' values between 83 and 88 are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...core.errors import ConfigError, MissingExtra
from ..statistics.uncertainty import mean_tally
from .metric import Measurement, Pairs


class BertScore:
    """BERTScore F1, mean over replies, in per cent.

    Args:
        model: folder or hub name of an encoder (roberta-large in most papers).
        layer: hidden layer compared; may be left out for the models the library has tuned
            (17 for roberta-large).
        batch_size: texts at once.
        device: such as `cuda`; the library's choice by default.

    Raises:
        ConfigError: a model that cannot be loaded, or one whose layer must be given.
        MissingExtra: bert-score is not installed.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        layer: int | None = None,
        batch_size: int = 64,
        device: str | None = None,
    ) -> None:
        self.model, self.layer = str(model), layer
        self.batch_size, self.device = batch_size, device
        self._loaded: tuple[Any, int] | None = None

    def measure(self, pairs: Pairs) -> list[Measurement]:
        if self._loaded is None:
            self._loaded = self._load()
        scorer, layer = self._loaded
        _, _, f1 = scorer.score(list(pairs.hypotheses), list(pairs.references))
        convention = (
            f"F1, mean over replies; {Path(self.model).name} layer {layer}, no idf, no rescaling"
        )
        return [Measurement("bertscore", mean_tally(f1.tolist(), scale=100), convention)]

    def _load(self) -> tuple[Any, int]:
        """The library's scorer, and the layer that it compares."""
        try:
            from bert_score import BERTScorer
            from bert_score.utils import model2layers
        except ImportError as error:
            raise MissingExtra("BERTScore", extra="eval") from error
        layer = model2layers.get(self.model) if self.layer is None else self.layer
        if layer is None:
            raise ConfigError(
                f"BERTScore does not know which layer of '{self.model}' to compare",
                hint="give layer=... (--bertscore-layer), such as 17 for roberta-large",
            )
        try:
            _refuse_code(self.model)
            scorer = BERTScorer(
                model_type=self.model,
                num_layers=layer,
                batch_size=self.batch_size,
                device=self.device,
                use_fast_tokenizer=True,
            )
        except (OSError, ValueError, AssertionError) as error:
            raise ConfigError(
                f"BERTScore cannot use '{self.model}', layer {layer}:"
                f" {str(error).splitlines()[0] if str(error) else type(error).__name__}",
                hint="give the folder of an encoder model, or a layer that it has",
            ) from error
        return scorer, layer


def _refuse_code(model: str) -> None:
    """Refuse a model that needs code of its own, which bert-score would offer to run.

    Raises:
        ValueError: of transformers; it says that the model brings code.
    """
    import torch
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    config = AutoConfig.from_pretrained(model, trust_remote_code=False)
    AutoTokenizer.from_pretrained(model, trust_remote_code=False)
    with torch.device("meta"):  # the class alone, without memory for weights
        AutoModel.from_config(config, trust_remote_code=False)
