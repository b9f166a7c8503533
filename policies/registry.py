"""Policies, and wrappers around policies, by name; see `core/plugins.py`.

The entry-point groups are `warmline.policies` and `warmline.wrappers`. A wrapper takes the policy
it wraps as its first argument.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..core.errors import PolicyNotFound, WrapperNotFound
from ..core.plugins import Plugins, Spec
from .base import Policy

POLICIES: Plugins[Policy] = Plugins(
    "warmline.policies",
    "policy",
    not_found=PolicyNotFound,
    example="my_package.module:MyPolicy",
    extra="transformers",
    method="respond",
)
WRAPPERS: Plugins[Policy] = Plugins(
    "warmline.wrappers",
    "wrapper",
    not_found=WrapperNotFound,
    example="my_package.module:MyWrapper",
    method="respond",
)

WrapperSpec = Spec
"""A wrapper by name: `"cache"`, `"budget:tokens=100000"` or `{"name": "budget", "tokens":
100000}`."""


def known_policies() -> list[str]:
    """Names of all installed policies, in alphabetical order."""
    return POLICIES.known()


def find_policy(name: str) -> Callable[..., Policy]:
    """The class or factory behind a name or an import string.

    Raises:
        PolicyNotFound: no such name, module or attribute.
        MissingExtra: the policy's libraries are not installed.
    """
    return POLICIES.find(name)


def known_wrappers() -> list[str]:
    """Names of all installed wrappers, in alphabetical order."""
    return WRAPPERS.known()


def find_wrapper(name: str) -> Callable[..., Policy]:
    """The class or factory behind a wrapper's name or import string.

    Raises:
        WrapperNotFound: no such name, module or attribute.
    """
    return WRAPPERS.find(name)


def make_policy(
    name: Spec, /, *, wrap: WrapperSpec | Sequence[WrapperSpec] = (), **options: Any
) -> Policy:
    """Build a policy by name.

    Args:
        name: an installed name (`known_policies()`) or an import string. It may carry options, as a
            wrapper spec does.
        wrap: wrappers around it, the innermost first; see `wrap_policy`.
        options: arguments of its class.

    Raises:
        PolicyNotFound, WrapperNotFound: no such policy or wrapper.
        ConfigError: an option that the policy does not have, or a missing one; a class or function
            that gives no policy.
    """
    specs = [wrap] if isinstance(wrap, str | Mapping) else list(wrap)
    wrappers = [WRAPPERS.parse(spec) for spec in specs]
    for wrapper, _ in wrappers:
        WRAPPERS.find(wrapper)  # a misspelt wrapper is reported before weights are loaded
    policy = POLICIES.make(name, **options)
    for wrapper, settings in wrappers:
        policy = WRAPPERS.build(wrapper, settings, policy)
    return policy


def wrap_policy(policy: Policy, spec: WrapperSpec) -> Policy:
    """Put a wrapper around a policy.

    Args:
        policy: what is wrapped.
        spec: a name; or `name:key=value,key=value`, each value read as TOML (numbers, booleans,
            lists, quoted text) and otherwise taken as text; or a mapping with `name` and the
            options. A name may be an import string: `my_package.module:MyWrapper:key=value`.

    Raises:
        WrapperNotFound: no such wrapper.
        ConfigError: a spec that cannot be read, an option that the wrapper does not have, or a
            missing one.
    """
    return WRAPPERS.make(spec, policy)
