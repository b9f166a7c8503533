"""The claim of a folder: what decides its content is written there once, and compared ever after."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tomli_w

from .errors import DataError, RunError
from .files import write_whole

CONFIG_NAME = "config.toml"


def claim(
    folder: Path, identity: Mapping[str, Any], settings: Mapping[str, Any] | None = None
) -> None:
    """Start or resume in `folder` any work whose content `identity` decides; see `claim_folder`."""
    identity = _plain(identity)
    path = folder / CONFIG_NAME
    if path.is_file():
        try:
            stored = tomllib.loads(path.read_text("utf-8")).get("identity", {})
        except tomllib.TOMLDecodeError as error:
            raise DataError(f"not TOML: {error}", file=path) from error
        _refuse_change(folder, stored, identity)
    write_whole(path, tomli_w.dumps({**_plain(dict(settings or {})), "identity": identity}))


def _refuse_change(folder: Path, stored: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    before, after = dict(_flat(stored)), dict(_flat(now))
    changed = [
        f"  {key}: {before.get(key, '(not set)')} -> {after.get(key, '(not set)')}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]
    if changed:
        raise RunError(
            f"{folder} holds a run with other settings (there -> here):\n" + "\n".join(changed),
            hint="give the old settings to finish that run, or another folder for the new one",
        )


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _plain(value: Any) -> Any:
    """Only what TOML can hold: no None, no tuples, string keys."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(v) for v in value]
    return value if isinstance(value, bool | int | float | str) else str(value)
