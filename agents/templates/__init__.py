"""The prompt templates, in the project's own words, and how they are rendered.

A template is a jinja2 file made of blocks; each role documents which blocks it asks for. A user's
template may stand alone or extend one of ours and replace a single block:

```jinja
{% extends "supporter.jinja" %}
{% block note %}Answer in the style of a text message.{% endblock %}
```

Templates run in jinja2's sandbox and see the observation only. An unknown variable is an error.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ...core.errors import ConfigError, did_you_mean
from ...core.files import read_text
from ..observations import Case, CaseTurn, Turn

MAX_CACHED_BLOCKS = 4096
"""Rendered blocks that one template keeps."""

_FOLDER = Path(__file__).parent
_OWN = frozenset({Turn, CaseTurn, Case})
_MISSING = object()


class _Sandbox(ImmutableSandboxedEnvironment):
    """jinja2's sandbox; a text in one of our frozen records is given without its long inspection.

    It refuses private names, functions, types, frames, and what changes a list or dictionary: a plain
    text is none of these.
    """

    def getattr(self, obj: Any, attribute: str) -> Any:
        if type(obj) in _OWN and not attribute.startswith("_"):
            value = getattr(obj, attribute, _MISSING)
            if value is None or isinstance(value, str):
                return value
        return super().getattr(obj, attribute)


_ENVIRONMENT = _Sandbox(
    loader=jinja2.FileSystemLoader(_FOLDER),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=False,
)

_RAISED_BY_TEMPLATES = (
    jinja2.TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)
"""What a template's own expressions raise; jinja2 passes Python's errors on as they are."""


def known_templates() -> list[str]:
    """Names of the templates that ship."""
    return sorted(path.name for path in _FOLDER.glob("*.jinja"))


def portable(source: str | Path) -> str:
    """A template as it can be recorded for any place: a shipped one's name, of others the text.

    Raises:
        ConfigError: as `PromptTemplate`.
    """
    template = PromptTemplate(source)
    if str(source) in known_templates():
        return str(source)
    # as it is, so that its hash stays; a text without a mark of a template needs one to be taken for it
    return template.text if _is_text(template.text) else template.text + "\n"


def _is_text(source: str) -> bool:
    return any(mark in source for mark in ("{%", "{{", "\n"))


class PromptTemplate:
    """A template whose blocks are rendered one by one.

    Args:
        source: the name of a shipped template (`seeker.jinja`), the path of a file, or the template
            text itself (anything that contains `{%` or `{{` or a line break).

    Attributes:
        text: what was given, or the file's.
        sha256: hash over the template and all it extends; part of a run's identity.

    Raises:
        ConfigError: no such file, or a syntax error (with its line).
    """

    def __init__(self, source: str | Path) -> None:
        self.source = str(source)
        self._prepare(*self._load(source))

    def _prepare(self, template: jinja2.Template, text: str) -> None:
        self.text = text
        chain = self._chain(template, text)
        self.sha256 = hashlib.sha256("\0".join(text for _, text, _ in chain).encode()).hexdigest()
        self._template = chain[0][0]
        self._blocks: dict[str, list[Callable[..., Any]]] = {}
        for template, _, _ in chain:
            for name, block in template.blocks.items():
                self._blocks.setdefault(name, []).append(block)
        self._uses = {
            name: _values_used(name, [text for _, text, _ in chain]) for name in self._blocks
        }
        self._kept: dict[tuple[Any, ...], str] = {}

    # Sent to another process, a template is its text: files need not be there

    def __getstate__(self) -> dict[str, str]:
        return {"source": self.source, "text": self.text}

    def __setstate__(self, state: dict[str, str]) -> None:
        self.source = state["source"]
        self._prepare(_ENVIRONMENT.from_string(state["text"]), state["text"])

    @property
    def blocks(self) -> list[str]:
        """Names of the blocks that can be rendered."""
        return sorted(self._blocks)

    def render(self, block: str, **values: Any) -> str:
        """The text of one block, without surrounding white space; empty for an unknown block.

        Raises:
            ConfigError: the template uses a value that this role may not see or that is unknown.
        """
        if block not in self._blocks:
            return ""
        if (uses := self._uses[block]) is None:
            return self._fresh(block, values)
        key = (block, *[values.get(name) for name in uses])
        if (text := self._kept.get(key)) is None:
            if len(self._kept) >= MAX_CACHED_BLOCKS:
                self._kept.clear()
            text = self._kept[key] = self._fresh(block, values)
        return text

    def _fresh(self, block: str, values: dict[str, Any]) -> str:
        context = self._template.new_context(values)
        context.blocks = self._blocks
        try:
            return "".join(self._blocks[block][0](context)).strip()
        except _RAISED_BY_TEMPLATES as error:
            raise ConfigError(
                f"template {self._label}, block '{block}': {error}",
                hint=f"values at hand: {', '.join(values)}",
            ) from error

    @property
    def _label(self) -> str:
        return self.source if "\n" not in self.source else "given as text"

    def _load(self, source: str | Path) -> tuple[jinja2.Template, str]:
        text = str(source)
        if not (isinstance(source, str) and _is_text(text)):
            path = _FOLDER / text if text in known_templates() else Path(text)
            if not path.is_file():
                stems = [name.removesuffix(".jinja") for name in known_templates()]
                close = did_you_mean(text.removesuffix(".jinja"), stems)
                raise ConfigError(
                    f"no template '{text}': there is no such file, and those that are shipped are"
                    f" {', '.join(known_templates())}",
                    hint=(close and close.replace("'?", ".jinja'?"))
                    or "give the path of a file, from the folder you are in",
                )
            text = read_text(path)
        try:
            return _ENVIRONMENT.from_string(text), text
        except jinja2.TemplateSyntaxError as error:
            raise ConfigError(
                f"template {self._label}, line {error.lineno}: {error.message}"
            ) from error

    def _chain(
        self, template: jinja2.Template, text: str
    ) -> list[tuple[jinja2.Template, str, str | None]]:
        parent = _ENVIRONMENT.parse(text).find(nodes.Extends)
        if parent is None:
            return [(template, text, None)]
        if not isinstance(parent.template, nodes.Const):
            raise ConfigError(f"template {self._label}: 'extends' needs a plain name")
        name = str(parent.template.value)
        if name not in known_templates():
            raise ConfigError(
                f"template {self._label} extends '{name}', which does not ship;"
                f" shipped: {', '.join(known_templates())}",
                hint=did_you_mean(name, known_templates()),
            )
        return [(template, text, name), *self._chain(*self._load(name))]


def _values_used(block: str, chain: list[str]) -> tuple[str, ...] | None:
    """The values that a block is rendered from; None if it may read the dialogue.

    Rendering is pure, so a block with the same values need not be rendered again.
    """
    used: set[str] = set()
    for text in chain:
        for found in _ENVIRONMENT.parse(text).find_all(nodes.Block):
            if found.name != block:
                continue
            if any(found.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Block))):
                return None
            body = nodes.Template(found.body, lineno=1)
            body.set_environment(_ENVIRONMENT)
            used |= meta.find_undeclared_variables(body)
    return None if "history" in used else tuple(sorted(used))
