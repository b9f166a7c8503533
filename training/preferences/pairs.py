"""Preference pairs of conversations, for `warmline train dpo` or on their own, at once or in parts.

Contexts are independent of one another, so each of several jobs can ask for its own part and write
a file of calls of its own; whoever comes last without a part asks for what is missing and makes the
pairs. Needs no torch where the policies need none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console

from ...core.claim import CONFIG_NAME, FreshFolder
from ...core.errors import DataError
from ...core.files import read_json
from ...core.outside.console import make_console
from ...core.record import problems_of
from ...core.settings import expect_settings
from ...core.shards.parts import InThread
from ...core.tasks import run_sync
from ...environments.shards.parts import Parts
from ...policies.base import Policy
from ..rows.parts import share_of
from ..rows.sources import DataSource, load_episodes, source_of
from .build import (
    SUMMARY_NAME,
    PairSummary,
    PreferencePair,
    ask_chosen,
    ask_rejected,
    claim_calls,
    pairs_file,
    pairs_from,
)
from .contexts import Context, advised, contexts_of
from .policies import engine_names, open_engines
from .settings import PairSettings, PairSourceSettings

STARTED = (f"replies/{CONFIG_NAME}", "replies/calls*.jsonl", "advice*.jsonl")
"""Patterns of what is written before the first answer."""


def preference_pairs(
    settings: PairSourceSettings,
    *,
    supporter: Policy | None = None,
    reviser: Policy | None = None,
    console: Console | None = None,
) -> tuple[Sequence[PreferencePair], tuple[DataSource, ...]]:
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
    part = settings.part if isinstance(settings, PairSettings) else None
    with FreshFolder(out).unless_begun(STARTED):
        claim_calls(out / "replies", contexts, settings, engine_names(settings, settings.model))
        mine = contexts if part is None else share_of(contexts, part)
        of = f"part {part}: {len(mine)} of " if part else "pairs: "
        console.print(f"{of}{len(contexts)} contexts, calls in {out / 'replies'}")
        if part is None and isinstance(settings, PairSettings) and settings.sharded:
            do = InThread(partial(_part, settings, supporter, reviser))
            run_sync(Parts(do, out, settings, console.print).run())
        mine = advised(mine, episodes, settings, out)
        run_sync(_ask(mine, settings, out / "replies", supporter, reviser, part))
    if part is not None:
        return [], sources
    pairs, summary = pairs_from(out / "replies", mine, settings, out / "pairs", counts, episodes)
    rules = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in summary.rules.items())
    console.print(
        f"pairs: {len(pairs)} in {out / 'pairs'}" + (f" (rules: {rules})" if rules else "")
    )
    file = pairs_file(out / "pairs")
    return pairs, (*sources, source_of(file, [file], len(pairs)))


def _part(
    settings: PairSettings, supporter: Policy | None, reviser: Policy | None, part: str
) -> None:
    """What a worker does."""
    own = settings.model_copy(update={"part": part, "workers": None, "on": None})
    preference_pairs(own, supporter=supporter, reviser=reviser)


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
