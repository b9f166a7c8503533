"""Who answers, and the replies: asked here, or by workers, each for a part of the dialogues."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from ...agents.counselor import StrategyCounselor
from ...agents.supporter import Supporter
from ...core.claim import compare
from ...environments.dialogue.limits import HISTORY_WINDOW
from ...environments.episodes.episode import Episode
from ...environments.episodes.log import read_episodes
from ...environments.episodes.sequence import Episodes
from ...environments.runs.trained import trained_form
from ...environments.shards.parts import Parts
from ...policies.base import Policy, close_policy
from ...policies.registry import make_policy
from .generate import ReplyMaker, generate_replies
from .reply import EvaluatedReply
from .settings import EvaluationSettings
from .trained import prompt_form


def make_maker(
    settings: EvaluationSettings, policy: Policy | None, counselor: Policy | None
) -> tuple[ReplyMaker, list[Policy], str]:
    """Who answers, the policies that were made for it here, and what is not as it was trained."""
    made: list[Policy] = []
    supporter = policy
    if supporter is None:
        supporter = make_policy(settings.policy, **settings.policy_options())
        made.append(supporter)
    advisor = counselor
    if advisor is None and settings.counselor.seated:
        advisor = supporter
        if settings.counselor.policy is not None:
            options = settings.counselor.policy_options()
            advisor = make_policy(settings.counselor.policy, **options)
            made.append(advisor)
    trained = trained_form(supporter)
    form = prompt_form(settings, trained, advised=advisor is not None)
    maker = ReplyMaker(
        supporter=Supporter(
            supporter,
            template=form.template_name,
            sampling=settings.sampling(),
            openings=settings.openings,
        ),
        counselor=None
        if advisor is None
        else StrategyCounselor(
            advisor,
            template=settings.counselor.template,
            sampling=settings.counselor.sampling(),
        ),
        history_window=form.window or HISTORY_WINDOW,
        max_sentences=settings.max_sentences,
        seed=settings.seed,
        condition=form.strategy,
    )
    return maker, made, form.unlike(trained)


def corpus_of(episodes: Iterable[Episode], settings: EvaluationSettings) -> Sequence[Episode]:
    """The dialogues to be answered, each id once."""
    if isinstance(episodes, Episodes):  # in a log, where they stay
        return episodes[: settings.limit]
    return list({e.id: e for e in islice(episodes, settings.limit)}.values())


async def by_workers(
    settings: EvaluationSettings,
    source: str | Sequence[Episode],
    maker: ReplyMaker,
    policy: Policy | None,
    counselor: Policy | None,
    say: Callable[[str], None] | None,
) -> None:
    """Have workers ask for the replies, each for a part of the dialogues."""
    out = Path(settings.out or "")
    compare(out, maker.describe())
    do = partial(_part, settings, source, policy, counselor)
    await Parts(do, out, settings, say or (lambda line: None)).run()


async def _part(
    settings: EvaluationSettings,
    source: str | Sequence[Episode],
    policy: Policy | None,
    counselor: Policy | None,
    part: str,
    stop: asyncio.Event,
) -> None:
    """What a worker does."""
    episodes = read_episodes(source) if isinstance(source, str) else source
    maker, made, _ = make_maker(settings, policy, counselor)
    try:
        await replies_of(settings, corpus_of(episodes, settings), maker, part=part, stop=stop)
    finally:
        for opened in made:
            await close_policy(opened)


async def replies_of(
    settings: EvaluationSettings, corpus: Sequence[Episode], maker: ReplyMaker, **more: Any
) -> list[EvaluatedReply]:
    """Ask for what is missing, or for what is missing of a part."""
    return await generate_replies(
        corpus,
        maker,
        settings=settings.contexts(),
        out=settings.out,
        concurrency=settings.concurrency,
        retry_failed=settings.retry_failed,
        config=settings.model_dump(exclude_defaults=True),
        **more,
    )
