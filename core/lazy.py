"""Public names of a package that are imported on first use, so that importing it stays light."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(
    package: str, homes: Mapping[str, tuple[str, ...]], *, extra: str | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package.

    ```python
    _HOMES = {".base": ("Wrapper",), ".best_of": ("BestOf",)}
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)
    ```

    Type checkers and `__all__` need the names as text: a package also imports them under
    `TYPE_CHECKING` and lists them in `__all__`. `tests/test_package.py` compares the three.

    Args:
        package: `__name__` of the package.
        homes: names by the module that defines them, relative to the package. The home `.` is for
            its own submodules.
        extra: the extra of Warmline that brings the libraries these modules need. If one is not
            installed, using a name raises `MissingExtra`.
    """
    home_of = {name: home for home, names in homes.items() for name in names}

    def getter(name: str) -> Any:
        if (home := home_of.get(name)) is None:
            raise AttributeError(_unknown(package, name, home_of))
        if home == ".":
            return import_module(f".{name}", package)
        try:
            module = import_module(home, package)
        except ModuleNotFoundError as error:
            if extra is None or (error.name or "").partition(".")[0] == package.partition(".")[0]:
                raise
            from .errors import MissingExtra

            raise MissingExtra(f"{package}.{name}", extra=extra) from error
        value = getattr(module, name)
        setattr(sys.modules[package], name, value)
        return value

    def lister() -> list[str]:
        return sorted({*vars(sys.modules[package]), *home_of})

    return getter, lister


def _unknown(package: str, name: str, known: Mapping[str, str]) -> str:
    from .errors import did_you_mean

    hint = None if name.startswith("_") else did_you_mean(name, known)
    return f"module '{package}' has no attribute '{name}'" + (f"; {hint}" if hint else "")
