"""The claim of a folder: what decides its content is written there once, and compared ever after.

A folder is claimed by an identity: plain data that decides the content. Started again with the same
identity, the work resumes; with another one it is refused, and every difference is shown. Settings
that decide no content are marked once, on the field of the settings record:

```python
class LoopSettings(Record):
    device: Annotated[str, MAY_CHANGE] = "auto"
    seed: int = 0
```

Where a class is part of an identity it counts by its name alone (`package.module:Name` as `Name`), so
moving a module refuses nothing; the name of a model (`llama3:8b`) counts whole. Of a user's own class
the text of its source counts too, unless the class says itself what decides its answers, by a method
`describe`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import tomli_w
from pydantic import BaseModel

from .errors import DataError, Interrupted, RunError
from .files import read_json, read_toml, write_whole
from .outside.secrets import hide_secrets_in, without_secrets
from .outside.text import clean_data
from .source_text import AGENT_SOURCE_KEY, SOURCE_KEY

CONFIG_NAME = "config.toml"
NOT_SET = "(not set)"
CLASS_KEYS = frozenset({"agent", "agent_class", "client", "function", "policy"})
"""Keys of an identity whose values may name a class by its import string."""
_CLASS = re.compile(r"[^\W\d][\w.]*:((?:[\w<>]+\.)*_*[A-Z]\w*)")
_FUNCTION = re.compile(r"[^\W\d][\w.]*:([\w.<>]+)")


LATER_KEYS = frozenset({SOURCE_KEY, AGENT_SOURCE_KEY})
"""Keys that earlier versions did not store: not compared with a record that lacks them."""


EARLIER_VALUES: Final = {("strategy", "shown"): "oracle", ("strategy", "first"): "self"}
"""Values, by key, that earlier versions stored under another name."""


EARLIER_NAMES: Final = {"contexts": "limit"}
"""Settings, by name, that earlier versions stored under another name."""


LATER_FIELDS: Final[Mapping[str, Any]] = {
    "fsdp": False, "nll": "token_mean", "seats": ["supporter"],
}  # fmt: skip
"""By key what earlier versions did, which had no such setting: a record that lacks it had that."""


POOLED: Final = "@endpoints"
"""The address in the identity of a policy that several servers of one model answer for. Which these are
decides nothing, so an address also matches a list, a file of addresses (`@path`) or this."""


class MayChange:
    """Marks a settings field that may differ between two starts of the same work."""


MAY_CHANGE: Final = MayChange()


class OtherSettings(RunError):
    """A folder holds work that other settings decide.

    Attributes:
        changed: by dotted name, the value there and the value here.
    """

    def __init__(
        self, message: str, changed: Mapping[str, tuple[Any, Any]], *, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.changed = dict(changed)


def may_change(model: type[BaseModel]) -> frozenset[str]:
    """The fields of a settings record that are marked with `MAY_CHANGE`."""
    return frozenset(
        name
        for name, field in model.model_fields.items()
        if any(isinstance(mark, MayChange) for mark in field.metadata)
    )


def identity_of(settings: BaseModel, *, fixed: Collection[str] = ()) -> dict[str, Any]:
    """The fields of a settings record that decide the content, as plain data.

    Args:
        fixed: marked fields that this work does not allow to change.
    """
    free = may_change(type(settings)) - set(fixed)
    return {k: v for k, v in settings.model_dump(mode="json").items() if k not in free}


def claim(
    folder: Path,
    identity: Mapping[str, Any],
    settings: Mapping[str, Any] | None = None,
    *,
    free: Collection[str] = (),
    what: str = "run",
) -> None:
    """Start or resume in `folder` any work whose content `identity` decides.

    Secrets are written and compared as `***`, see `core.outside.secrets`.

    Args:
        folder: made if it is not there.
        identity: written under `[identity]` of `config.toml`.
        settings: written above it, so that the file repeats the command.
        free: dotted names that are ignored if an earlier version stored them; what `identity`
            itself holds is always compared.
        what: names the work in the error.

    Raises:
        OtherSettings: the folder holds work of another identity; the differences are shown.
        DataError: its `config.toml` cannot be read.
    """
    compare(folder, identity, free=free, what=what)
    written = {**_storable(settings or {}), "identity": _storable(identity)}
    write_whole(folder / CONFIG_NAME, tomli_w.dumps(written))


def compare(
    folder: Path, identity: Mapping[str, Any], *, free: Collection[str] = (), what: str = "run"
) -> bool:
    """The check of `claim` alone; nothing is written.

    Where two processes may start in one folder, compare, take the lock of the file that is written
    there, and then claim.

    Returns:
        Whether the folder was claimed before.
    """
    path = folder / CONFIG_NAME
    if not path.is_file():
        return False
    stored = read_toml(path).get("identity", {})
    refuse_change(folder, stored, _storable(identity), free=free, what=what)
    return True


class FreshFolder:
    """A folder as a start finds it: work that is refused before it has begun leaves it so.

    ```python
    fresh = FreshFolder(folder)
    with LineLog(folder / NAME) as log:
        claim(folder, identity)
        with fresh.unless_begun({NAME, CONFIG_NAME}):
            ...
    ```
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made = [path for path in (folder, *folder.parents) if not path.exists()]
        self._was_empty = not folder.exists() or not any(folder.iterdir())

    @contextmanager
    def unless_begun(
        self, names: Collection[str], *, prepared: Collection[str] = ()
    ) -> Iterator[None]:
        """Around the work. Where it fails, in a folder that was empty and holds no more than these
        files, of which no log has a line, they are removed, and the folders made.

        An interrupt is no failure, and an error that names a file of the folder leaves it there. To
        be used while the log is locked.

        Args:
            names: patterns (`fnmatch`) of paths below the folder: `calls*.jsonl`, `shards/*.log`.
            prepared: likewise, of what a start writes before the work: a log of these may have lines.
        """
        try:
            yield
        except Interrupted:
            raise
        except Exception as error:
            if self._was_empty:
                with suppress(OSError):  # what the system does not let go of stays
                    self._leave(names, prepared, str(error))
            raise

    def _leave(self, names: Collection[str], prepared: Collection[str], said: str) -> None:
        inside = sorted(self._folder.rglob("*"), reverse=True)  # what is in a folder before it
        files = {f.relative_to(self._folder).as_posix(): f for f in inside if not f.is_dir()}
        for name, file in files.items():
            if str(file) in said:
                return
            if _matches(name, prepared):
                continue
            if not _matches(name, names) or (file.suffix == ".jsonl" and file.stat().st_size):
                return
        for path in inside:
            path.rmdir() if path.is_dir() else path.unlink()
        for path in self._made:
            path.rmdir()


def _matches(name: str, patterns: Collection[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def claim_json(
    file: Path, identity: Mapping[str, Any], *, free: Collection[str] = (), what: str = "run"
) -> None:
    """The same with the identity alone, in a JSON file of its own."""
    identity = hide_secrets_in(without_secrets(identity))
    if file.is_file():
        stored = read_json(file)
        if not isinstance(stored, dict):
            raise DataError("not a JSON object", file=file, hint=f"it says what the {what} is")
        refuse_change(file.parent, stored, identity, free=free, what=what)
    write_whole(file, json.dumps(identity, indent=2, ensure_ascii=False) + "\n")


def refuse_change(
    folder: Path,
    stored: Mapping[str, Any],
    now: Mapping[str, Any],
    *,
    free: Collection[str] = (),
    what: str = "run",
    hint: str | None = None,
) -> None:
    """Raise if two identities differ.

    Args:
        hint: what to do, where it is neither to go back to the old settings nor another folder.

    Raises:
        OtherSettings: every difference, on a line of its own.
    """
    after = dict(_flat(now))
    before = {_present_name(key, after): value for key, value in _flat(stored)}
    later = {key: key.rpartition(".")[2] for key in after}
    before = {k: LATER_FIELDS[name] for k, name in later.items() if name in LATER_FIELDS} | before
    changed = {
        key: (before.get(key, NOT_SET), after.get(key, NOT_SET))
        for key in sorted(before.keys() | after.keys())
        if _counted(key, before.get(key)) != _counted(key, after.get(key))
        and not _ignored(key, before, after, free)
        and not _of_a_pool(key, before.get(key), after.get(key))
    }
    if changed:
        lines = [f"  {key}: {there} -> {here}" for key, (there, here) in changed.items()]
        raise OtherSettings(
            f"{folder} holds a {what} with other settings (there -> here):\n" + "\n".join(lines),
            changed,
            hint=hint
            or f"give the old settings to finish that {what}, or another folder for the new one",
        )


def _present_name(key: str, now: Mapping[str, Any]) -> str:
    """A stored key, or what it is called today."""
    place, dot, name = key.rpartition(".")
    renamed = f"{place}{dot}{EARLIER_NAMES.get(name, name)}"
    return renamed if key not in now and renamed in now else key


def _ignored(
    key: str, before: Mapping[str, Any], now: Mapping[str, Any], free: Collection[str]
) -> bool:
    """Whether a key is free to differ: it (or a table that it stands in), or it came later."""
    if key in now:
        return key not in before and key.rpartition(".")[2] in LATER_KEYS
    parts = key.split(".")
    return any(".".join(parts[:n]) in free for n in range(1, len(parts) + 1))


def _of_a_pool(key: str, there: Any, here: Any) -> bool:
    """Whether both name servers, and one of them names servers that stand for one another."""
    if key.rpartition(".")[2] != "base_url" or not there or not here:
        return False
    return any(isinstance(v, list) or str(v).startswith(POOLED[0]) for v in (there, here))


def without_modules(identity: Mapping[str, Any]) -> dict[str, Any]:
    """An identity in which classes count by their names, without the modules that define them."""
    return {key: _counted(key, value) for key, value in identity.items()}


def _counted(key: str, value: Any) -> Any:
    """A value as it counts in a comparison: a class without the module it is defined in.

    A class begins with a capital letter: `llama3:latest` and `qwen3:latest` are two models.
    """
    if isinstance(value, Mapping):
        return without_modules(value)
    if isinstance(value, list | tuple):
        return [_counted("", each) for each in value]
    name = key.rpartition(".")[2]
    if not isinstance(value, str) or name not in CLASS_KEYS:
        return EARLIER_VALUES.get((name, value), value) if isinstance(value, str) else value
    found = (_FUNCTION if name == "function" else _CLASS).fullmatch(value)
    return found.group(1) if found else value


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _storable(values: Mapping[str, Any]) -> dict[str, Any]:
    """What is written and compared: plain data without secrets."""
    plain: dict[str, Any] = hide_secrets_in(clean_data(_plain(without_secrets(values))))
    return plain


def _plain(value: Any) -> Any:
    """Only what TOML can hold: no None, no tuples, string keys."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(v) for v in value]
    return value if isinstance(value, bool | int | float | str) else str(value)


# The source of a user's own class
