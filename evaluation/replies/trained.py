"""The form of prompt that a checkpoint was trained with, so that it is measured under what it knows.

Read from `checkpoint.json` of the adapter that answers; a base model has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...agents.conditions import StrategyCondition, read_condition
from ...agents.templates import PromptTemplate
from ...core.errors import ConfigError, DataError
from ...core.files import read_json
from ...environments.corpus.seen import CHECKPOINT_NAME
from ...environments.dialogue.limits import HISTORY_WINDOW, SHORT_WINDOW
from ...policies.base import Policy, model_folders
from .settings import EvaluationSettings

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
    """

    strategy: StrategyCondition
    definitions: bool = False
    short: bool = False
    template: str | None = None
    window: int | None = HISTORY_WINDOW

    @property
    def template_name(self) -> str:
        """The template to render."""
        return self.template or self.strategy.template(
            definitions=self.definitions, short=self.short
        )

    def unlike(self, trained: PromptForm | None) -> str:
        """What differs from the form that a model was trained with, a sentence; empty if nothing."""
        if trained is None:
            return ""
        told = []
        if self.strategy is not trained.strategy:
            told.append(f"strategy {trained.strategy} and answers under {self.strategy}")
        elif not _same(self.template_name, trained.template_name):
            before, now = _shown(trained.template_name), _shown(self.template_name)
            told.append(f"template {before} and answers to {now}")
        if trained.window is not None and self.window != trained.window:
            told.append(f"{trained.window} utterances in view and answers to {self.window}")
        return f"NOT AS TRAINED: supporter was trained with {', and with '.join(told)}" * bool(told)


def _same(one: str, other: str) -> bool:
    """Whether two templates are one, by name or by what they hold."""
    if one == other:
        return True
    try:
        return PromptTemplate(one).sha256 == PromptTemplate(other).sha256
    except ConfigError:  # the one that it was trained with is not there any more
        return False


def _shown(template: str) -> str:
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
                return _form_of(settings, file)
    return None


def _form_of(settings: Mapping[str, Any], file: Path) -> PromptForm | None:
    """None for prompts that were taken as they were logged."""
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
    )


def prompt_form(
    settings: EvaluationSettings, trained: PromptForm | None, *, advised: bool
) -> PromptForm:
    """The form to ask with: what the settings leave open is as the model was trained.

    Args:
        advised: a counselor is there.

    Raises:
        ConfigError: a counselor that is not to be asked, or none where one is needed; or a form in
            which what is to be measured has no meaning.
    """
    strategy = settings.strategy or _default_condition(trained, advised=advised)
    if advised is not (strategy is StrategyCondition.ADVISED):
        raise ConfigError(
            f"strategy '{strategy}' "
            + ("leaves the counselor unasked" if advised else "needs a counselor")
            + ("" if settings.strategy else ", and the model was trained under it"),
            hint="`--no-counselor.seated` leaves it out"
            if advised
            else "`--counselor.seated`, with a policy of its own or the supporter's; or"
            " `--strategy hidden`",
        )
    if strategy is StrategyCondition.SELF and settings.perplexity:
        raise ConfigError(
            "perplexity under strategy self: recorded replies do not begin with a choice of the"
            " model",
            hint="measure it under listed (--strategy listed)",
        )
    known = trained if trained is not None and strategy is trained.strategy else None
    short = settings.short
    if short is None:
        short = trained is not None and trained.short and not settings.template
    definitions = settings.definitions
    if definitions is None:
        definitions = known is not None and known.definitions and not short
    template = settings.template
    given = settings.short is not None or settings.definitions is not None
    if template is None and known is not None and not given:
        template = known.template
    window = settings.history_window or (trained.window if trained else None)
    return PromptForm(
        strategy,
        definitions,
        short,
        template,
        window or (SHORT_WINDOW if short else HISTORY_WINDOW),
    )


def _default_condition(trained: PromptForm | None, *, advised: bool) -> StrategyCondition:
    if advised:
        return StrategyCondition.ADVISED
    if trained is None or trained.strategy.upper_bound:  # never by itself
        return StrategyCondition.HIDDEN
    return trained.strategy
