"""Preference pairs of conversations, for `warmline train dpo` or on their own, at once or in parts.

Contexts are independent of one another, so each of several jobs can ask for its own part and write
a file of calls of its own; whoever comes last without a part asks for what is missing and makes the
pairs. Needs no torch where the policies need none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError
from rich.console import Console

from ...core.errors import DataError
from ...core.files import read_json
from ...core.outside.console import make_console
from ...core.record import problems_of
from ...core.settings import expect_settings
from ...core.tasks import run_sync
from ...policies.base import Policy
from ..rows.sources import DataSource, load_episodes, source_of
from .build import (
    SUMMARY_NAME,
    Context,
    PairSummary,
    PreferencePair,
    ask_chosen,
    ask_rejected,
    claim_calls,
    contexts_of,
    pairs_file,
    pairs_from,
)
from .policies import engine_names, open_engines
from .settings import PairSettings, PairSourceSettings, part_of

T = TypeVar("T")


def preference_pairs(
    settings: PairSourceSettings,
    *,
    supporter: Policy | None = None,
    reviser: Policy | None = None,
    console: Console | None = None,
) -> tuple[list[PreferencePair], tuple[DataSource, ...]]:
    """Ask for what is not there yet, then make `out/pairs` of `out/replies`.

    Args:
        supporter, reviser: in place of the policies that the settings name; the caller closes them.

    Returns:
        The pairs and where they come from; none where only a part was asked for.

    Raises:
        ConfigError, DataError: nothing to ask about.
        RunError: the folder holds calls for other contexts, policies or settings.
        PolicyError: a policy failed; what is answered is kept.
    """
    expect_settings(settings, PairSourceSettings, "preference_pairs")
    console = console or make_console(quiet=True)
    episodes, sources = load_episodes(settings.data)
    out = Path(settings.out or ".")
    counts: Counter[str] = Counter()
    contexts = contexts_of(episodes, settings, counts)
    claim_calls(out / "replies", contexts, settings, engine_names(settings, settings.model))
    part = settings.part if isinstance(settings, PairSettings) else None
    if part is not None:
        mine = share_of(contexts, part)
        console.print(f"part {part}: {len(mine)} of {len(contexts)} contexts, in {out / 'replies'}")
        run_sync(
            _ask(mine, settings, out / "replies", supporter, reviser, part.replace("/", "-of-"))
        )
        return [], sources
    console.print(f"pairs: {len(contexts)} contexts, calls in {out / 'replies'}")
    run_sync(_ask(contexts, settings, out / "replies", supporter, reviser))
    pairs, summary = pairs_from(
        out / "replies", contexts, settings, out / "pairs", counts, episodes
    )
    rules = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in summary.rules.items())
    console.print(
        f"pairs: {len(pairs)} in {out / 'pairs'}" + (f" (rules: {rules})" if rules else "")
    )
    file = pairs_file(out / "pairs")
    return pairs, (*sources, source_of(file, [file], len(pairs)))


def share_of(items: Sequence[T], part: str) -> Sequence[T]:
    """Every n-th item: the parts `1/n` to `n/n` are disjoint and together are all."""
    number, parts = part_of(part)
    return items[number - 1 :: parts]


async def _ask(
    contexts: Sequence[Context],
    settings: PairSourceSettings,
    folder: Path,
    supporter: Policy | None,
    reviser: Policy | None,
    part: str | None = None,
) -> None:
    async with open_engines(
        settings, settings.model, settings.device, supporter, reviser
    ) as engines:
        await ask_rejected(contexts, settings, folder, engines[0], part)
        await ask_chosen(contexts, settings, folder, engines[1], part)


KEEPING = ("gold_for_", "merged", "speakers_renamed")
"""How the names of rules begin that change a dialogue or a pair and drop none."""


def dropped_in(folder: Path) -> dict[str, int]:
    """By rule what was dropped on the way to the pairs of a folder, as its `summary.json` says.

    Empty where there is no summary. Left out are rules that only change a dialogue or a pair.

    Raises:
        DataError: a summary that cannot be read.
    """
    file = folder / SUMMARY_NAME
    if not file.is_file():
        return {}
    try:
        summary = PairSummary.model_validate(read_json(file))
    except ValidationError as error:
        raise DataError("; ".join(problems_of(error, PairSummary)[:3]), file=file) from None
    return {k: n for k, n in summary.rules.items() if not k.startswith(KEEPING)}
