"""Episodes as a pandas table: a row an utterance, an episode or a call.

Columns and their types are the same for any episodes, also for none. What an episode does not have
is missing (`pandas.NA`), never zero or an empty text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ...core.errors import ConfigError, MissingExtra, did_you_mean
from ...core.outside.text import clean_text
from .episode import Episode
from .log import read_episodes

if TYPE_CHECKING:
    from pandas import DataFrame

Per = Literal["utterance", "episode", "call"]

TEXT, COUNT, NUMBER, TRUTH = "string", "Int64", "Float64", "boolean"
SEVERAL = SEED = "object"
"""Tuples of texts, and whole numbers that may be beyond 64 bits."""
_OF_EPISODE = {"episode": TEXT, "problem_type": TEXT, "category": TEXT, "stop": TEXT}

COLUMNS: dict[Per, dict[str, str]] = {
    "utterance": {
        **_OF_EPISODE,
        "number": COUNT,
        "role": TEXT,
        "text": TEXT,
        "raw": TEXT,
        "words": COUNT,
        "strategy": TEXT,
        "strategy_source": TEXT,
        "strategies": SEVERAL,
        "repairs": SEVERAL,
        "crisis": SEVERAL,
        "call": COUNT,
        "policy": TEXT,
    },
    "episode": {
        **_OF_EPISODE,
        "situation": TEXT,
        "profile": TEXT,
        "seed": SEED,
        "config_hash": TEXT,
        "source": TEXT,
        "truncated": TRUTH,
        "failed": TRUTH,
        "error": TEXT,
        "utterances": COUNT,
        "words": COUNT,
        "crisis": SEVERAL,
        "calls": COUNT,
        "prompt_tokens": COUNT,
        "completion_tokens": COUNT,
        "seconds": NUMBER,
    },
    "call": {
        **_OF_EPISODE,
        "number": COUNT,
        "role": TEXT,
        "policy": TEXT,
        "text": TEXT,
        "thinking": TEXT,
        "error": TEXT,
        "finish_reason": TEXT,
        "seed": SEED,
        "temperature": NUMBER,
        "top_p": NUMBER,
        "max_tokens": COUNT,
        "prompt_tokens": COUNT,
        "cached_tokens": COUNT,
        "completion_tokens": COUNT,
        "thinking_tokens": COUNT,
        "cached": TRUTH,
        "attempts": COUNT,
        "seconds": NUMBER,
    },
}
"""The columns of each table and their pandas types."""


def to_frame(
    episodes: str | Path | Episode | Iterable[Episode], *, per: Per = "utterance"
) -> DataFrame:
    """A pandas table of episodes, in their order.

    Args:
        episodes: a run's folder, a log file, `FOLDER:SIDE`, one episode, or any episodes. Of a log
            each id counts once, by its last attempt, and its records are read one by one.
        per: what a row is; see `COLUMNS`. Words are what white space separates, tokens are as the
            engine reported them, seconds of a call include waiting.

    Raises:
        MissingExtra: pandas is not installed.
        ConfigError: `per` is none of the three, or something in `episodes` is no episode.
        DataError: no log, or a line that is not an episode.
    """
    if per not in COLUMNS:
        raise ConfigError(
            f"a row cannot be one {per!r}; it is one of {', '.join(COLUMNS)}",
            hint=did_you_mean(str(per), COLUMNS) or "warmline.to_frame(run, per='episode')",
        )
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingExtra("warmline.to_frame (pandas)", extra="data") from error
    columns = COLUMNS[per]
    cells: dict[str, list[Any]] = {name: [] for name in columns}
    for row in chain.from_iterable(map(_ROWS[per], _episodes_of(episodes))):
        for name, cell in cells.items():
            cell.append(row[name])
    for name, kind in columns.items():
        if kind == TEXT:  # half of a character, which Arrow's texts cannot hold
            cells[name] = [cell and clean_text(cell) for cell in cells[name]]
    return pd.DataFrame({n: pd.Series(cells[n], dtype=kind) for n, kind in columns.items()})


def _episodes_of(given: str | Path | Episode | Iterable[Episode]) -> Iterator[Episode]:
    if isinstance(given, str | Path):
        given = read_episodes(given)
    elif isinstance(given, Episode):  # a record, which would give its fields
        given = (given,)
    for number, episode in enumerate(given):
        if not isinstance(episode, Episode):
            raise ConfigError(
                f"item {number} is no episode but {type(episode).__name__}",
                hint="give a run's folder, or episodes as `warmline.read_episodes` returns them",
            )
        yield episode


def _shared(episode: Episode) -> dict[str, Any]:
    return {
        "episode": episode.id,
        "problem_type": episode.scenario.problem_type,
        "category": episode.scenario.category or None,
        "stop": episode.stop.value,
    }


def _utterances(episode: Episode) -> Iterator[dict[str, Any]]:
    shared = _shared(episode)
    for number, said in enumerate(episode.utterances):
        yield shared | {
            "number": number,
            "role": said.role.value,
            "text": said.text,
            "raw": said.raw,
            "words": len(said.text.split()),
            "strategy": said.strategy and said.strategy.value,
            "strategy_source": said.strategy_source,
            "strategies": tuple(strategy.value for strategy in said.strategies),
            "repairs": said.repairs,
            "crisis": said.crisis,
            "call": said.call,
            "policy": None if said.call is None else episode.calls[said.call].policy,
        }


def _episode(episode: Episode) -> Iterator[dict[str, Any]]:
    told = any(call.usage for call in episode.calls)
    usage = episode.usage
    yield _shared(episode) | {
        "situation": episode.scenario.situation,
        "profile": str(episode.scenario.profile) or None,
        "seed": episode.seed if episode.calls else None,
        "config_hash": episode.config_hash or None,
        "source": episode.source or None,
        "truncated": episode.truncated,
        "failed": episode.stop.failed,
        "error": f"{episode.error.type}: {episode.error.message}" if episode.error else None,
        "utterances": len(episode.utterances),
        "words": sum(len(said.text.split()) for said in episode.utterances),
        "crisis": tuple(dict.fromkeys(kind for said in episode.utterances for kind in said.crisis)),
        "calls": len(episode.calls),
        "prompt_tokens": usage.prompt_tokens if told else None,
        "completion_tokens": usage.completion_tokens if told else None,
        "seconds": episode.timing and episode.timing.seconds,
    }


def _calls(episode: Episode) -> Iterator[dict[str, Any]]:
    shared = _shared(episode)
    latencies = episode.timing.latencies if episode.timing else ()
    for number, call in enumerate(episode.calls):
        usage = call.usage
        yield shared | {
            "number": number,
            "role": str(call.role),
            "policy": call.policy,
            "text": call.text,
            "thinking": call.thinking,
            "error": call.error,
            "finish_reason": call.finish_reason,
            "seed": call.seed,
            "temperature": call.sampling.temperature,
            "top_p": call.sampling.top_p,
            "max_tokens": call.sampling.max_tokens,
            "prompt_tokens": usage and usage.prompt_tokens,
            "cached_tokens": usage and usage.cached_tokens,
            "completion_tokens": usage and usage.completion_tokens,
            "thinking_tokens": usage and usage.thinking_tokens,
            "cached": call.cached,
            "attempts": call.attempts,
            "seconds": latencies[number] if latencies else None,
        }


_ROWS: dict[Per, Callable[[Episode], Iterator[dict[str, Any]]]] = {
    "utterance": _utterances,
    "episode": _episode,
    "call": _calls,
}
