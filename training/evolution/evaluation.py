"""The evaluation of a round: settings of `warmline evaluate`, as a table or as one text."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from ...core.errors import ConfigError
from ...core.options import config_parameter, nested, option_words, options_of, read_options
from ...core.settings import read_settings
from ...evaluation.replies.settings import EvaluationSettings

HIDDEN = frozenset({("counselor.", "openings"), ("counselor.", "strategy")})
ADDED = ("metrics", "published", "wrap")
"""Lists that are added to those of the round; every other setting overrides the round's."""


def evaluation_options(given: str | Mapping[str, Any]) -> dict[str, Any]:
    """The settings that `EvolveSettings.evaluation` names, checked.

    Args:
        given: a table of fields of `EvaluationSettings`; or options of the command as one text, as
            in `--limit 20 --metrics meteor`.

    Raises:
        ConfigError: a text that is not a command line, or settings that cannot be used.
    """
    found = _of_text(given) if isinstance(given, str) else dict(given)
    if "out" in found:
        raise ConfigError("out: a round has its own folder for the evaluation")
    return _checked(found)


def as_text(given: Mapping[str, Any]) -> str | None:
    """A table of settings as options of the command; None where they cannot be written so.

    Raises:
        ConfigError: settings that cannot be used.
    """
    table = evaluation_options(given)
    text = shlex.join(option_words(given))
    try:
        return text if evaluation_options(text) == table else None
    except ConfigError:
        return None


def round_evaluation(own: Mapping[str, Any], given: str | Mapping[str, Any]) -> EvaluationSettings:
    """The settings of one round: its own, overridden by those that are given."""
    found = evaluation_options(given)
    merged = dict(own) | found
    for name in ADDED:
        if both := [*own.get(name, ()), *found.get(name, ())]:
            merged[name] = both
    merged["options"] = {**own.get("options", {}), **found.get("options", {})}
    return read_settings(EvaluationSettings, merged)


def _of_text(text: str) -> dict[str, Any]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"not a command line: {error}") from None
    values = read_options(words, _parameters())
    config, _ = values.pop("config"), values.pop("as_json")
    return read_settings(EvaluationSettings, config, nested(values)).model_dump(exclude_unset=True)


def _parameters() -> list[inspect.Parameter]:
    keyword = inspect.Parameter.KEYWORD_ONLY
    as_json = Annotated[bool, typer.Option("--json")]
    return [
        config_parameter(),
        inspect.Parameter("as_json", keyword, default=False, annotation=as_json),
        *options_of(EvaluationSettings, hidden=HIDDEN),
    ]


def _checked(found: dict[str, Any]) -> dict[str, Any]:
    return read_settings(EvaluationSettings, found).model_dump(exclude_unset=True)
