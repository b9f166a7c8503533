"""What diverse beam search is given: token ids, settings of the model, and whether they fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ...core.errors import ConfigError
from .step import Rules


def ids_of(value: int | Sequence[int] | None) -> tuple[int, ...]:
    """Token ids given as one, as several or not at all."""
    if value is None:
        return ()
    return (value,) if isinstance(value, int) else tuple(value)


def setting_of(model: Any, name: str) -> Any:
    """A token id that the model's own settings name, or None."""
    for settings in (getattr(model, "generation_config", None), model.config):
        if settings is not None and (value := getattr(settings, name, None)) is not None:
            return value
    return None


def check(
    model: Any,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    rules: Rules,
    num_beams: int,
    num_groups: int,
    diversity_penalty: float,
    compat: str | None,
) -> None:
    """Refuse what cannot be searched, all problems at once.

    Raises:
        ConfigError: names them.
    """
    encoder_decoder = bool(model.config.is_encoder_decoder)
    problems = [
        problem
        for problem, holds in {
            f"num_beams is {num_beams}; at least 1": num_beams < 1,
            f"num_groups is {num_groups}; 1 to num_beams": not 1 <= num_groups <= num_beams,
            f"diversity_penalty is {diversity_penalty}; not below 0": diversity_penalty < 0,
            f"max_new_tokens is {rules.max_new_tokens}; at least 1": rules.max_new_tokens < 1,
            f"compat is '{compat}'; None or 'transformers'": compat not in (None, "transformers"),
            f"early_stopping is {rules.early_stopping!r}; True, False or 'never'": (
                rules.early_stopping not in (True, False, "never")
            ),
            f"input_ids are {tuple(input_ids.shape)}, attention_mask is"
            f" {tuple(attention_mask.shape)}; both (batch, time)": (
                input_ids.dim() != 2 or input_ids.shape != attention_mask.shape
            ),
        }.items()
        if holds
    ]
    if not problems and not input_ids.numel():
        problems.append("input_ids are empty; at least one prompt of one token")
    if not problems and not encoder_decoder and not bool(attention_mask[:, -1].all()):
        problems.append("the prompts are padded on the right; a decoder-only model needs the left")
    if problems:
        raise ConfigError("beam search cannot run", problems=problems)
