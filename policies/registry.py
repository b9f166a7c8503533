"""The plug-in door: policies, and wrappers around policies, by name.

A name is looked up among the installed entry points of the groups `warmline.policies` and
`warmline.wrappers`; our own come through the same door. A package adds one in its `pyproject.toml`:

```toml
[project.entry-points."warmline.policies"]
mine = "my_package.policies:MyPolicy"

[project.entry-points."warmline.wrappers"]
slow = "my_package.policies:Slow"
```

Without packaging, the import string itself is a name: `my_package.policies:MyPolicy`. A wrapper
takes the policy it wraps as its first argument.
"""

from __future__ import annotations

import importlib
import inspect
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from ..core.errors import ConfigError, PolicyNotFound, WrapperNotFound, did_you_mean
from .base import Policy

GROUP = "warmline.policies"
WRAPPER_GROUP = "warmline.wrappers"

WrapperSpec = str | Mapping[str, Any]
"""A wrapper by name: `"cache"`, `"budget:tokens=100000"` or `{"name": "budget", "tokens": 100000}`."""

_SPEC = re.compile(r"([^:=]+)(?::([A-Za-z_][\w.]*))?(?::(.*))?", re.DOTALL)
_OPTION = re.compile(r"\s*([A-Za-z_]\w*)\s*=(.*)", re.DOTALL)


@cache
def _doors(group: str = GROUP) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=group)}


def known_policies() -> list[str]:
    """Names of all installed policies, in alphabetical order."""
    return sorted(_doors())


def find_policy(name: str) -> Callable[..., Policy]:
    """The class or factory behind a name or an import string.

    Raises:
        PolicyNotFound: no such name, module or attribute.
        MissingExtra: the policy's libraries are not installed.
    """
    if ":" in name:
        return _import(name, "policy", PolicyNotFound)
    if (door := _doors().get(name)) is None:
        raise PolicyNotFound(
            f"no policy named '{name}'; known: {', '.join(known_policies())}",
            hint=did_you_mean(name, known_policies())
            or "an import string such as 'my_package.module:MyPolicy' also works",
        )
    loaded: Callable[..., Policy] = door.load()
    return loaded


def known_wrappers() -> list[str]:
    """Names of all installed wrappers, in alphabetical order."""
    return sorted(_doors(WRAPPER_GROUP))


def find_wrapper(name: str) -> Callable[..., Policy]:
    """The class or factory behind a wrapper's name or import string.

    Raises:
        WrapperNotFound: no such name, module or attribute.
    """
    if ":" in name:
        return _import(name, "wrapper", WrapperNotFound)
    if (door := _doors(WRAPPER_GROUP).get(name)) is None:
        raise WrapperNotFound(
            f"no wrapper named '{name}'; known: {', '.join(known_wrappers())}",
            hint=did_you_mean(name, known_wrappers())
            or "an import string such as 'my_package.module:MyWrapper' also works",
        )
    loaded: Callable[..., Policy] = door.load()
    return loaded


def _import(path: str, noun: str, not_found: type[ConfigError]) -> Callable[..., Policy]:
    module_name, _, attribute = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise not_found(
            f"{noun} '{path}': no module named '{error.name}'",
            hint="run from the folder that holds the module, or install it",
        ) from error
    found = getattr(module, attribute, None)
    if not callable(found):
        public = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise not_found(
            f"{noun} '{path}': module '{module_name}' has no class or function '{attribute}'",
            hint=did_you_mean(attribute, public),
        )
    factory: Callable[..., Policy] = found
    return factory


def make_policy(
    name: str, /, *, wrap: WrapperSpec | Sequence[WrapperSpec] = (), **options: Any
) -> Policy:
    """Build a policy by name.

    Args:
        name: an installed name (`known_policies()`) or an import string.
        wrap: wrappers laid around it, the innermost first; see `wrap_policy`.
        options: arguments of its class.

    Raises:
        PolicyNotFound, WrapperNotFound: no such policy or wrapper.
        ConfigError: an option that the policy does not have, or a missing one.
    """
    specs = [wrap] if isinstance(wrap, str | Mapping) else list(wrap)
    parsed = [_parse(spec) for spec in specs]  # a misspelt wrapper shows before weights are loaded
    policy = _build(find_policy(name), f"policy '{name}'", options)
    for wrapper, settings in parsed:
        policy = _build(find_wrapper(wrapper), f"wrapper '{wrapper}'", settings, policy)
    return policy


def wrap_policy(policy: Policy, spec: WrapperSpec) -> Policy:
    """Lay a wrapper around a policy.

    Args:
        policy: what is wrapped.
        spec: a name; or `name:key=value,key=value`, each value read as TOML (numbers, booleans,
            lists, quoted text) and else taken as text; or a mapping with `name` and the options. A
            name may be an import string: `my_package.module:MyWrapper:key=value`.

    Raises:
        WrapperNotFound: no such wrapper.
        ConfigError: a spec that cannot be read, an option that the wrapper does not have, or a
            missing one.
    """
    name, options = _parse(spec)
    return _build(find_wrapper(name), f"wrapper '{name}'", options, policy)


def _parse(spec: WrapperSpec) -> tuple[str, dict[str, Any]]:
    """Name and options of a wrapper spec; the name is known to exist."""
    if isinstance(spec, Mapping):
        options = {str(key): value for key, value in spec.items()}
        name = options.pop("name", None)
        if not isinstance(name, str):
            raise ConfigError(
                f"a wrapper needs a name: {dict(spec)!r}", hint="such as {name = 'cache'}"
            )
    else:
        if (found := _SPEC.fullmatch(spec.strip())) is None:
            raise ConfigError(
                f"no wrapper spec: {spec!r}", hint="such as 'cache' or 'budget:tokens=100000'"
            )
        name, attribute, rest = found.groups()
        if attribute and name in _doors(WRAPPER_GROUP):  # "cache:path": the value was forgotten
            attribute, rest = None, spec.strip()[len(name) + 1 :]
        name = f"{name}:{attribute}" if attribute else name
        options = _parse_options(rest, spec) if rest else {}
    find_wrapper(name)
    return name, options


def _parse_options(text: str, spec: str) -> dict[str, Any]:
    """The options in `key=value,key=value`. Commas inside lists, tables and quotes do not separate."""
    options: dict[str, Any] = {}
    pieces = text.split(",")
    while pieces:
        piece = pieces.pop(0)
        if (found := _OPTION.fullmatch(piece)) is None:
            raise ConfigError(
                f"'{piece.strip()}' in the wrapper spec {spec!r} is no key=value",
                hint="put quotation marks around a text that holds commas",
            )
        key, value = found.groups()
        value = value.strip()
        for more in range(len(pieces) + 1 if value[:1] in ('"', "'", "[", "{") else 1):
            whole = ",".join([value, *pieces[:more]])
            try:
                options[key] = tomllib.loads(f"value = {whole}")["value"]
            except tomllib.TOMLDecodeError:
                continue
            del pieces[:more]
            break
        else:
            options[key] = value
    return options


def _build(
    factory: Callable[..., Policy], what: str, options: Mapping[str, Any], *inner: Policy
) -> Policy:
    """Call `factory`, after telling all that is wrong with the options at once."""
    parameters = dict(inspect.signature(factory).parameters)
    for taken in list(parameters)[: len(inner)]:
        del parameters[taken]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    problems = []
    for option in options:
        if option not in parameters and not takes_any:
            hint = did_you_mean(option, parameters)
            problems.append(f"unknown option '{option}'" + (f"; {hint}" if hint else ""))
    problems += [
        f"missing option '{p.name}'"
        for p in parameters.values()
        if p.default is p.empty
        and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
        and p.name not in options
    ]
    if problems:
        raise ConfigError(
            f"{what} cannot be set up", problems=problems,
            hint=f"its options are: {', '.join(parameters) or 'none'}",
        )  # fmt: skip
    return factory(*inner, **options)
