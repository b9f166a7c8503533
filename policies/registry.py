"""The plug-in door: policies by name.

A name is looked up among the installed entry points of the group `warmline.policies`; our own
policies come through the same door. A package adds one in its `pyproject.toml`:

```toml
[project.entry-points."warmline.policies"]
mine = "my_package.policies:MyPolicy"
```

Without packaging, the import string itself is a name: `my_package.policies:MyPolicy`.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from .base import Policy
from .errors import ConfigError, PolicyNotFound, did_you_mean

GROUP = "warmline.policies"


@cache
def _doors() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


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
        return _import(name)
    if (door := _doors().get(name)) is None:
        raise PolicyNotFound(
            f"no policy named '{name}'; known: {', '.join(known_policies())}",
            hint=did_you_mean(name, known_policies())
            or "an import string such as 'my_package.module:MyPolicy' also works",
        )
    loaded: Callable[..., Policy] = door.load()
    return loaded


def _import(path: str) -> Callable[..., Policy]:
    module_name, _, attribute = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise PolicyNotFound(
            f"policy '{path}': no module named '{error.name}'",
            hint="run from the folder that holds the module, or install it",
        ) from error
    found = getattr(module, attribute, None)
    if not callable(found):
        public = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise PolicyNotFound(
            f"policy '{path}': module '{module_name}' has no class or function '{attribute}'",
            hint=did_you_mean(attribute, public),
        )
    factory: Callable[..., Policy] = found
    return factory


def make_policy(name: str, /, **options: Any) -> Policy:
    """Build a policy by name.

    Args:
        name: an installed name (`known_policies()`) or an import string.
        options: arguments of its class.

    Raises:
        PolicyNotFound: no such policy.
        ConfigError: an option that the policy does not have, or a missing one.
    """
    factory = find_policy(name)
    parameters = inspect.signature(factory).parameters
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
            f"policy '{name}' cannot be set up", problems=problems,
            hint=f"its options are: {', '.join(parameters) or 'none'}",
        )  # fmt: skip
    return factory(**options)
