"""The options of the `openai` policy that can be wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, get_args

from ...core.errors import ConfigError, did_you_mean
from ...core.outside.secrets import HIDDEN, register_secrets_in
from ..endpoints.addresses import Addresses, address_problems
from ..thinking.switches import SwitchForm
from .headers import header_problems

KEY_VARIABLE = "OPENAI_API_KEY"
"""Holds the key where no other variable is named; then a server may also want none."""

ChoicesMode = Literal["auto", "json_schema", "structured_outputs", "ask"]
PrefillMode = Literal["off", "continue", "assistant"]


def refuse_bad_options(
    *,
    base_url: Addresses | None,
    api_key_env: str,
    timeout: float,
    max_retries: int,
    max_concurrency: int,
    choices_mode: str,
    reasks: int,
    prefill: str,
    backoff: float,
    max_reply_chars: int,
    extra_body: Mapping[str, Any] | None,
    extra_headers: Mapping[str, str] | None,
    session_header: str,
    switch_form: str,
) -> None:
    """Check the options of `OpenAIPolicy`; secrets in `extra_body` and `extra_headers`, known by
    name or by look, are registered.

    Raises:
        ConfigError: lists every option that is out of range.
    """
    tables = {"extra_body": extra_body, "extra_headers": extra_headers}
    no_tables = [
        f'{name} must be a table, such as {{name = "value"}}, not {type(given).__name__}'
        for name, given in tables.items()
        if given is not None and not isinstance(given, Mapping)
    ]
    if no_tables:
        raise ConfigError("the openai policy cannot be set up", problems=no_tables)
    register_secrets_in(extra_body)
    problems = [
        f"{name} must be {allowed}, not {value!r}"
        for name, value, ok, allowed in (
            ("timeout", timeout, timeout > 0, "above 0 (seconds)"),
            ("max_retries", max_retries, max_retries >= 0, "at least 0"),
            ("max_concurrency", max_concurrency, max_concurrency >= 1, "at least 1"),
            ("reasks", reasks, reasks >= 0, "at least 0"),
            ("backoff", backoff, backoff >= 0, "at least 0 (seconds)"),
            ("max_reply_chars", max_reply_chars, max_reply_chars >= 1, "at least 1"),
        )
        if not ok
    ]
    problems += _mode_problems("choices_mode", choices_mode, get_args(ChoicesMode))
    problems += _mode_problems("prefill", prefill, get_args(PrefillMode))
    problems += _mode_problems("switch_form", switch_form, get_args(SwitchForm))
    problems += address_problems(base_url) if base_url is not None else []
    problems += [
        f"extra_body.{name} is '{HIDDEN}', which stands in a record for a secret; give it again"
        for name, value in (extra_body or {}).items()
        if value == HIDDEN
    ]
    problems += header_problems(extra_headers, session_header)
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", api_key_env):
        problems.append("api_key_env must be the name of a variable, not the key itself")
    if problems:
        raise ConfigError("the openai policy cannot be set up", problems=problems)


def _mode_problems(name: str, value: str, modes: tuple[str, ...]) -> list[str]:
    if value in modes:
        return []
    hint = did_you_mean(str(value), modes)
    known = f"{name} must be one of {', '.join(modes)}, not {value!r}"
    return [known + (f"; {hint}" if hint else "")]
