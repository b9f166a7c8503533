"""The result of an evaluation: the scores of one setting, with the published figures beside
them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ...agents.conditions import StrategyCondition
from ...core.published import published_tables
from ...environments.corpus.seen import Overlap
from ..metrics.metric import Score


@dataclass(frozen=True, slots=True)
class Result:
    """The scores of one setting.

    Attributes:
        setting: reference, generated, or `pairs` for given texts.
        preset: the convention.
        scores: with conventions, counts and intervals.
        dialogues: conversations, where they are known.
        replies: places to fill.
        failed: how many of them an error left empty.
        strategies: confusion matrix, gold label by advised one; None without a counselor.
        published: figures of the papers for this setting, by system and metric.
        condition: what the prompts told of strategies; None for given texts.
        seen: by role, how many of the dialogues its model had learned from; empty for given texts.
        unlike: how the prompts differ from those that the model was trained with, a sentence.
        corpus: what was evaluated, as it was named (`corpora/x:test`); None where only episodes were
            given.
    """

    setting: str
    preset: str
    scores: list[Score]
    dialogues: int | None
    replies: int
    failed: int = 0
    strategies: dict[str, dict[str, int]] | None = None
    published: dict[str, dict[str, float]] = field(default_factory=dict)
    condition: StrategyCondition | None = None
    seen: Mapping[str, Overlap] = field(default_factory=dict)
    unlike: str = ""
    corpus: str | None = None

    def warnings(self) -> list[str]:
        """What speaks against the scores, a sentence each: dialogues that are not held out, prompts
        that the model was not trained with."""
        told = [flag for role, overlap in self.seen.items() if (flag := overlap.flag(role))]
        return [*told, *([self.unlike] if self.unlike else [])]

    def published_conventions(self) -> dict[str, str]:
        """How the papers' tables shown beside were counted, as far as it is known, and on what."""
        shown = {name.partition(":")[0] for name in self.published}
        return {
            table.name: f"{table.convention}, on {table.test}"
            for table in published_tables()
            if table.name in shown
        }

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as in `scores.json`."""
        return asdict(self)
