"""The form of prompt that replies are measured under: as the model was trained, where nothing else is
said.
"""

from __future__ import annotations

from ...agents.conditions import StrategyCondition
from ...core.errors import ConfigError
from ...environments.dialogue.limits import HISTORY_WINDOW, SHORT_WINDOW
from ...environments.runs.trained import PromptForm
from .settings import EvaluationSettings


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
