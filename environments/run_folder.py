"""What lies in a run's folder beside the log: the resolved configuration and the summary.

`config.toml` holds the settings of the command, so that `warmline simulate config.toml` repeats it,
and under `[identity]` what decides the content of the episodes. Only the identity must not change
between two starts of one run; how many episodes, how many at once and how they are shown may.
"""

from __future__ import annotations

import json
import secrets
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import tomli_w

from ..policies.errors import DataError, RunError
from .episode import EPISODE_VERSION, Episode
from .support import SupportEnvironment
from .usage import Price, account

CONFIG_NAME = "config.toml"
SUMMARY_NAME = "summary.json"


def claim_folder(
    folder: Path,
    environment: SupportEnvironment,
    seed: int,
    settings: Mapping[str, Any] | None = None,
    identity: Mapping[str, Any] | None = None,
) -> None:
    """Start or resume a run in `folder`.

    Args:
        identity: what decides the content, in place of the environment's own description; for runs
            whose environment grows as they go (a corpus whose dialogues become cases).

    Raises:
        RunError: the folder holds a run with another identity; the difference is shown.
        DataError: its `config.toml` cannot be read.
    """
    described = environment.describe() if identity is None else identity
    claim(folder, {"seed": seed, "episode_version": EPISODE_VERSION, **described}, settings)


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


def write_whole(path: Path, text: str) -> None:
    """Replace a small file in one step, so that a kill leaves the old one or the new one.

    Raises:
        RunError: the disk refuses.
    """
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, "utf-8")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise RunError(
            f"cannot write {path}: {error.strerror}",
            hint="check the path and the space left on the disk",
        ) from error


def summarize(
    episodes: Iterable[Episode], prices: Mapping[str, Price] | None = None
) -> dict[str, Any]:
    """Counts over episodes: ends, lengths, strategies, caps, and usage by role.

    Args:
        episodes: read once, so a stream will do.
        prices: see `account`.
    """
    stops: Counter[str] = Counter()
    strategies: Counter[str] = Counter()
    repairs: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    count = utterances = crisis = unread = 0
    seconds = 0.0

    def counted() -> Iterator[Episode]:
        nonlocal count, utterances, crisis, unread, seconds
        for episode in episodes:
            count += 1
            stops[episode.stop.value] += 1
            utterances += len(episode.utterances)
            crisis += any(u.crisis for u in episode.utterances)
            repairs.update(repair for u in episode.utterances for repair in u.repairs)
            strategies.update(u.strategy.value for u in episode.utterances if u.strategy)
            unread += sum(verdict.end is None for verdict in episode.verdicts)
            seconds += episode.timing.seconds if episode.timing else 0.0
            if episode.error:
                errors[episode.error.type] += 1
            yield episode

    usage = account(counted(), prices)
    return {
        "episodes": count,
        "utterances": utterances,
        "utterances_per_episode": round(utterances / count, 2) if count else None,
        "stop": dict(stops.most_common()),
        "errors": dict(errors.most_common()),
        "strategies": dict(strategies.most_common()),
        "repairs": dict(repairs.most_common()),
        "episodes_with_crisis_language": crisis,
        "unreadable_verdicts": unread,
        "episode_seconds": round(seconds, 2),
        "usage": usage,
    }


def write_summary(
    folder: Path, episodes: Iterable[Episode], prices: Mapping[str, Price] | None = None
) -> None:
    """Write `summary.json`."""
    write_whole(
        folder / SUMMARY_NAME,
        json.dumps(summarize(episodes, prices), indent=2, ensure_ascii=False) + "\n",
    )
