"""How a model is told whether to think, and how much: the words that each kind of engine knows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, Literal, get_args

from ...core.errors import Unsupported

Thinking = Literal["off", "on", "low", "medium", "high"]
LEVELS: tuple[str, ...] = get_args(Thinking)

SwitchForm = Literal["auto", "chat_template", "reasoning_effort", "ollama"]
"""How a server is told: variables of the chat template (vLLM, SGLang, llama.cpp), OpenAI's
`reasoning_effort`, or Ollama's `think`."""

_SWITCHES = ("enable_thinking", "thinking")
"""Variables of chat templates that are true or false: Qwen3, SmolLM3, GLM-4.5 and Gemma 4 have the
first, DeepSeek-V3.1, Granite 3.2 and Kimi the second."""

_EFFORT = "reasoning_effort"
_EFFORTS = (_EFFORT, "thinking_effort")
"""The variables that say how much: gpt-oss has the first, Kimi K3 the second."""


def server_fields(thinking: str, form: str) -> dict[str, Any]:
    """The fields of a chat completion that carry the switch to a server.

    Args:
        thinking: one of `LEVELS`.
        form: a `SwitchForm`, but not `auto`.
    """
    level = thinking if thinking in ("low", "medium", "high") else None
    on = thinking != "off"
    effort = level or ("medium" if on else "none")
    if form == "reasoning_effort":
        return {_EFFORT: effort}
    if form == "ollama":
        return {"think": level or on, _EFFORT: effort}
    variables: dict[str, Any] = dict.fromkeys(_SWITCHES, on)
    if level is None:
        return {"chat_template_kwargs": variables}
    variables |= dict.fromkeys(_EFFORTS, level)
    return {"chat_template_kwargs": variables, _EFFORT: level}


def template_variables(thinking: str, template: str, model: str) -> Mapping[str, Any]:
    """The variables that carry the switch to a chat template.

    Args:
        thinking: one of `LEVELS`.
        template: Jinja text.
        model: its name, for messages.

    Raises:
        Unsupported: the template has no such variable.
    """
    known = variables_of(template)
    switches = {name: thinking != "off" for name in _SWITCHES if name in known}
    if thinking == "off":
        if not switches and _EFFORT in known and '"none"' in template.replace("'", '"'):
            return {_EFFORT: "none"}
        if switches or not speaks_of_thinking(template):
            return switches
        instead = "low" if _EFFORT in known else None
        raise _cannot("off", model, "its chat template has no switch for it", instead)
    if thinking == "on":
        if switches or speaks_of_thinking(template):
            return switches
        raise _cannot("on", model, "its chat template knows no thinking", None)
    if efforts := [name for name in _EFFORTS if name in known]:
        return {**switches, **dict.fromkeys(efforts, thinking)}
    raise _cannot(
        thinking, model, "its chat template cannot be told how much", "on" if switches else None
    )


def _cannot(thinking: str, model: str, why: str, instead: str | None) -> Unsupported:
    other = f"set thinking = '{instead}', or " if instead else ""
    return Unsupported(
        f"thinking = '{thinking}' cannot be carried to the model '{model}': {why}",
        hint=f"{other}leave thinking out for this role, or give a chat_template=... that has it",
    )


@lru_cache(maxsize=64)
def variables_of(template: str) -> Collection[str]:
    """Names of the variables that a Jinja template reads; none where it cannot be parsed."""
    import jinja2
    from jinja2 import meta

    environment = jinja2.Environment(extensions=["jinja2.ext.loopcontrols"])  # noqa: S701 - parsed only
    try:
        # a tag of transformers' own, around what the assistant says
        plain = template.replace("generation %}", "if true %}").replace("endgeneration", "endif")
        return frozenset(meta.find_undeclared_variables(environment.parse(plain)))
    except jinja2.TemplateSyntaxError:
        return frozenset(name for name in (*_SWITCHES, _EFFORT) if name in template)


@lru_cache(maxsize=64)
def usual_switches(template: str) -> Mapping[str, bool]:
    """The values that a template's switches have for it where nobody sets them.

    llama.cpp always sets them, by a guess of its own. None are given where the template cannot be
    rendered here.
    """
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    names = [name for name in _SWITCHES if name in variables_of(template)]
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    talk = {"messages": [{"role": "user", "content": "Hi"}], "add_generation_prompt": True}
    found: dict[str, bool] = {}
    try:
        parsed = environment.from_string(template)
        usual = parsed.render(**talk)
        for name in names:
            found[name] = parsed.render(**talk, **{name: True}) == usual
    except (jinja2.TemplateError, TypeError):
        return {}
    return found


def speaks_of_thinking(template: str) -> bool:
    """Whether a chat template holds a mark of thinking or a switch for it."""
    from .reader import has_mark

    return has_mark(template) or any(n in variables_of(template) for n in (*_SWITCHES, _EFFORT))
