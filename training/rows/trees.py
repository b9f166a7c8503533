"""Rows of one conversation as a tree: what their prompts begin with in common is computed once.

The rows of a seat's turns repeat the system prompt and the dialogue, so most of what a training
computes was computed for the row before. In a tree each token follows its parent, sees its ancestors
alone, and has its depth for a position: each row is a path from the root, and its tokens have the
very states, loss and gradients that they have in a row of their own (up to rounding). Known as prefix
sharing or tree training; a mask of attention is all that it needs.

A row's reply follows at least one token of its prompt that is not shared, so that in the order of the
list a learned token still comes right behind the one that predicts it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import torch

from ...core.errors import ConfigError
from .build import Row
from .encode import IGNORED, Encoded
from .spool import Spool


def grow(rows: Iterable[Encoded]) -> Encoded:
    """One tree of rows of turns."""
    ids: list[int] = []
    labels: list[int] = []
    parents: list[int] = []
    following: dict[tuple[int, int], int] = {}
    for row in rows:
        learned = next(n for n, label in enumerate(row.labels) if label != IGNORED)
        place, shared = -1, 0
        while shared < learned - 1:
            found = following.get((place, row.input_ids[shared]))
            if found is None:
                break
            place, shared = found, shared + 1
        for token, label in zip(row.input_ids[shared:], row.labels[shared:], strict=True):
            following.setdefault((place, token), len(ids))
            parents.append(place)
            place = len(ids)
            ids.append(token)
            labels.append(label)
    return Encoded(ids, labels, parents=parents)


def grow_trees(
    encoded: Sequence[Encoded], rows: Sequence[Row]
) -> tuple[Spool[Encoded], Spool[Row]]:
    """The trees of consecutive rows with the same `Row.tree`, and of each the last row.

    A row that names no tree stays as it is.
    """
    trees: Spool[Encoded] = Spool()
    lasts: Spool[Row] = Spool()
    pairs = zip(encoded, rows, strict=True)
    for _, together in groupby(pairs, key=lambda pair: pair[1].tree or pair[1].id):
        found = list(together)
        trees.append(grow(each for each, _ in found) if found[-1][1].tree else found[0][0])
        lasts.append(found[-1][1])
    return trees, lasts


def depths(parents: Sequence[int]) -> list[int]:
    """The position of each token: how many stand before it on its path."""
    found: list[int] = []
    for parent in parents:
        found.append(0 if parent < 0 else found[parent] + 1)
    return found


def visible(parents: Sequence[int], length: int) -> torch.Tensor:
    """What each token sees, `(length, length)`: itself and its ancestors; padding sees itself."""
    seen = torch.eye(length, dtype=torch.bool)
    for place, parent in enumerate(parents):
        if parent >= 0:
            seen[place] |= seen[parent]
    return seen


def refuse_misfits(config: Any, arguments: Iterable[str], model: str) -> None:
    """Raise if a model cannot compute trees.

    Args:
        config: of transformers.
        arguments: what its forward pass takes.

    Raises:
        ConfigError: it takes no mask of attention or no positions, or some layers see a window only
            or keep a state.
    """
    kinds = set(getattr(config.get_text_config(), "layer_types", None) or ["full_attention"])
    able = {"attention_mask", "position_ids"} <= set(arguments) and not config.is_encoder_decoder
    if not able or kinds != {"full_attention"} or getattr(config, "sliding_window", None):
        raise ConfigError(
            f"per = 'tree' needs full attention in every layer, which {model} does not have",
            hint="per = 'turn' learns the same rows one by one",
        )
