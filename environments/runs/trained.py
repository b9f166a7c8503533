"""The form of prompt that a checkpoint was trained with, so that it is asked under what it knows.

Read from `checkpoint.json` of the adapter that answers; a base model has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...agents.base import Agent
from ...agents.conditions import StrategyCondition, read_condition
from ...agents.roles import Role
from ...agents.templates import PromptTemplate
from ...core.errors import ConfigError, DataError
from ...core.files import read_json
from ...policies.base import Policy, model_folders
from ..dialogue.limits import HISTORY_WINDOW, SHORT_WINDOW

CHECKPOINT_NAME = "checkpoint.json"
MERGED = "merged"
"""The folder in a checkpoint that holds it as a whole model."""


@dataclass(frozen=True, slots=True)
class PromptForm:
    """What a supporter's prompt shows.

    Attributes:
        strategy: what it tells of strategies.
        definitions, short: of the shipped templates.
        template: in place of those; None for them.
        window: latest utterances shown; None for whole conversations.
        cases: case dialogues shown.
    """

    strategy: StrategyCondition
    definitions: bool = False
    short: bool = False
    template: str | None = None
    window: int | None = HISTORY_WINDOW
    cases: int = 0

    @property
    def template_name(self) -> str:
        """The template to render."""
        return self.template or self.strategy.template(
            definitions=self.definitions, short=self.short
        )

    @property
    def named(self) -> str:
        """Its template as a message names it."""
        return shown_template(self.template_name)

    def unlike(self, trained: PromptForm | None) -> str:
        """What differs from the form that a model was trained with, a sentence; empty if nothing."""
        if trained is None:
            return ""
        told = []
        if self.strategy is not trained.strategy:
            told.append(f"strategy {trained.strategy} and answers under {self.strategy}")
        elif not _same(self.template_name, trained.template_name):
            before, now = shown_template(trained.template_name), shown_template(self.template_name)
            told.append(f"template {before} and answers to {now}")
        if trained.window is not None and self.window != trained.window:
            told.append(f"{trained.window} utterances in view and answers to {self.window}")
        return f"NOT AS TRAINED: supporter was trained with {', and with '.join(told)}" * bool(told)

    def options(self) -> str:
        """The options of `simulate` that ask so; those of an upper bound, which no conversation can
        have, are of the seat's own default."""
        chosen = []
        if not self.strategy.upper_bound and self.strategy is not StrategyCondition.ADVISED:
            chosen.append(f"--supporter.strategy {self.strategy}")
        if self.template_name != self.strategy.template() and "{" not in self.template_name:
            chosen.append(f"--supporter.template {self.template_name}")
        if self.window not in (None, HISTORY_WINDOW):
            chosen.append(f"--history-window {self.window}")
        return " ".join([*chosen, f"--case-dialogues {self.cases}"])

    def asked_otherwise(self, agent: Agent[Any, Any], cases: int) -> bool:
        """Whether a seated supporter is asked with another template, or with other case dialogues."""
        try:
            template = PromptTemplate(self.template_name).sha256
        except ConfigError:  # it is not there any more
            return True
        return cases != self.cases or agent.template.sha256 != template


def _same(one: str, other: str) -> bool:
    """Whether two templates are one, by name or by what they hold."""
    if one == other:
        return True
    try:
        return PromptTemplate(one).sha256 == PromptTemplate(other).sha256
    except ConfigError:  # the one that it was trained with is not there any more
        return False


def shown_template(template: str) -> str:
    """A template as a message names it, which may have been given as text."""
    return "of its own" if "{" in template else template


def trained_form(policy: Policy) -> PromptForm | None:
    """The form of the checkpoint that answers; None for other models, or where it is not recorded.

    Raises:
        DataError: its record cannot be read.
    """
    for folder in map(Path, reversed(model_folders(policy))):
        for file in (folder / CHECKPOINT_NAME, folder.parent / CHECKPOINT_NAME):
            if not file.is_file() or (file.parent != folder and folder.name != MERGED):
                continue
            settings = read_json(file).get("settings", {})
            if settings.keys() >= {"strategy", "template"}:  # else it is no supporter's
                return form_of(settings, file)
    return None


def form_of(settings: Mapping[str, Any], file: Path) -> PromptForm | None:
    """The form of the supporter's prompts in a training, from its settings.

    Args:
        file: holds them; for errors.

    Returns:
        None for another seat's, and for prompts that were taken as they were logged.

    Raises:
        DataError: an unknown strategy condition.
    """
    if not settings.keys() >= {"strategy", "template"} or not _of_supporter(settings):
        return None
    if settings.get("as_asked"):
        return None
    try:
        strategy = StrategyCondition(str(read_condition(settings["strategy"])))
    except ValueError:
        raise DataError(
            f"has no strategy condition '{settings['strategy']}'", file=file, field="strategy"
        ) from None
    short = bool(settings.get("short"))
    window = settings.get("history_window") or (SHORT_WINDOW if short else HISTORY_WINDOW)
    return PromptForm(
        strategy,
        bool(settings.get("definitions")),
        short,
        settings.get("template"),
        None if settings.get("per") == "conversation" else int(window),
        int(settings.get("case_dialogues") or 0),
    )


def _of_supporter(settings: Mapping[str, Any]) -> bool:
    seats = settings.get("seats") or (Role.SUPPORTER.value,)
    return any(str(seat).partition("=")[0] == Role.SUPPORTER for seat in seats)
