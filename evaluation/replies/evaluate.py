"""What `warmline evaluate` does except printing: a corpus and a policy, or given pairs, to
scores."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ...agents.conditions import StrategyCondition
from ...agents.roles import Strategy
from ...core.errors import ConfigError, DataError, RunError
from ...core.files import write_whole
from ...core.jsonl import every_line
from ...core.published import beside, refuse_unknown, systems
from ...core.record import Record, problems_of
from ...core.settings import read_settings
from ...core.tasks import run_sync
from ...environments.corpus.seen import Overlap, overlap, seen_by_policies
from ...environments.episodes.episode import Episode
from ...environments.episodes.log import read_episodes
from ...environments.episodes.sequence import Episodes
from ...policies.base import Policy, close_policy, policy_name
from ..metrics.metric import Metric, Score, make_pairs
from ..metrics.presets import measure, preset_metrics, score_pairs, scores_of
from ..metrics.strategy import confusion, measure_strategies
from .asking import by_workers, corpus_of, make_maker, replies_of
from .generate import ReplyMaker
from .page import page
from .perplexity import measure_perplexity, score_references, scoring
from .rated import rated_scores, read_ratings
from .reply import SCORES_NAME, EvaluatedReply, Setting
from .result import Result
from .settings import EvaluationSettings, MetricSettings

TABLES_NAME = "tables.md"


class PairRow(Record):
    """One line of a file of given pairs; `dialogue` groups the lines of one conversation."""

    hypothesis: str | None = None
    reference: str
    dialogue: str | None = None


def evaluate(
    corpus: str | Path | Iterable[Episode],
    settings: EvaluationSettings | None = None,
    *,
    policy: str | Policy | None = None,
    counselor: Any = None,
    observe: Callable[[EvaluatedReply], None] | None = None,
    say: Callable[[str], None] | None = None,
    **fields: Any,
) -> list[Result]:
    """Let a policy answer a corpus's seekers and score its replies. Works in notebooks.

    Args:
        corpus: a run's folder, an episode log, one side (`FOLDER:SIDE`), or episodes.
        settings: all settings in one record, in place of single fields.
        policy: the supporter's; a name, an import string or an object.
        counselor: a policy object, a policy's name, or a mapping of `RoleSettings` fields; None
            leaves the supporter without advice.
        observe: called with each reply as it is finished.
        say: told what becomes of workers, where there are any.
        fields: any other field of `EvaluationSettings`.

    Returns:
        A result for each setting (reference or generated context); written to `out` if that is set.

    Raises:
        ConfigError: both a record and single fields are given.
        WarmlineError: see `generate_replies` and `score_pairs`.

    Example:
        ```python
        evaluate("corpora/esconv", policy="embedded", setting="both", limit=20, out="evals/first")
        ```
    """
    given = dict(fields)
    ready: dict[str, Any] = {}
    for name, choice in (("policy", policy), ("counselor", counselor)):
        if hasattr(choice, "respond"):
            ready[name] = choice
        elif choice is not None:
            as_table = name == "counselor" and isinstance(choice, str)
            given[name] = {"policy": choice} if as_table else choice
    if settings is not None and given:
        raise ConfigError(
            f"evaluate takes a settings record or single fields, not both: {', '.join(given)}",
            hint="put these fields into the EvaluationSettings",
        )
    chosen = settings or read_settings(EvaluationSettings, given=given)
    named = str(corpus) if isinstance(corpus, str | Path) else None
    episodes = read_episodes(corpus) if isinstance(corpus, str | Path) else corpus
    return run_sync(
        evaluate_settings(chosen, episodes, name=named, observe=observe, say=say, **ready)
    )


async def evaluate_settings(
    settings: EvaluationSettings,
    episodes: Iterable[Episode],
    *,
    policy: Policy | None = None,
    counselor: Policy | None = None,
    observe: Callable[[EvaluatedReply], None] | None = None,
    name: str | None = None,
    say: Callable[[str], None] | None = None,
) -> list[Result]:
    """The same as a coroutine; policies that are given are closed by the caller.

    Args:
        name: of the corpus: its path, for the record and for workers.
    """
    further = settings.further()
    trial = make_pairs(["I hear you."], ["I hear you."])
    # a metric that cannot work is reported before the first reply is paid for
    measure(trial, [*preset_metrics(settings.preset, tokenizer=settings.tokenizer), *further])
    refuse_unknown(settings.published, [setting.value for setting in settings.contexts()])
    compared = {
        setting: beside(settings.preset, setting.value, chosen=settings.published)
        for setting in settings.contexts()
    }
    corpus = corpus_of(episodes, settings)
    ratings = read_ratings(settings.ratings, (e.id for e in corpus)) if settings.ratings else []
    maker, made, unlike = make_maker(settings, policy, counselor)
    try:
        if settings.perplexity:
            scoring(maker.supporter.policy)  # an error comes before the first reply is paid for
        if settings.sharded:
            source = name if name and isinstance(episodes, Episodes) else corpus
            await by_workers(settings, source, maker, policy, counselor, say)
        replies = await replies_of(settings, corpus, maker, observe=observe)
        fluency = await _perplexity(settings, corpus, maker) if settings.perplexity else []
        seen = _seen(maker, corpus)
    finally:
        for opened in made:
            await close_policy(opened)
    by_setting = {s: [r for r in replies if r.setting is s] for s in settings.contexts()}
    results = [
        _result(
            setting,
            answered,
            settings,
            maker.condition,
            further,
            compared[setting],
            [
                *(fluency if setting is Setting.REFERENCE or len(compared) == 1 else []),
                *rated_scores(ratings, answered, settings.drawing()),
            ],
            seen,
            unlike,
            name,
        )
        for setting, answered in by_setting.items()
    ]
    if settings.out is not None:
        write_scores(Path(settings.out), results)
    return results


def evaluate_pairs(
    path: str | Path, settings: MetricSettings | None = None, *, out: str | Path | None = None
) -> Result:
    """Score the pairs of a JSONL file; see `PairRow`.

    Args:
        path: one hypothesis and reference a line.
        settings: what is counted; the preset `esconv` by default.
        out: folder for `scores.json` and `tables.md`.

    Raises:
        DataError: no such file, or a line that is not a pair.
    """
    settings = settings or MetricSettings()
    setting = _setting_of(settings)
    rows = _read_pairs(Path(path))
    known = all(row.dialogue is not None for row in rows)
    groups = [row.dialogue for row in rows] if known else None
    scores = score_pairs(
        [row.hypothesis for row in rows],
        [row.reference for row in rows],
        settings.preset,
        tokenizer=settings.tokenizer,
        metrics=settings.further(),
        groups=groups,
        **settings.drawing(),
    )
    published = beside(settings.preset, setting, chosen=settings.published)
    dialogues = None if groups is None else len(set(groups))
    result = Result("pairs", settings.preset, scores, dialogues, len(rows), published=published)
    if out is not None:
        write_scores(Path(out), [result])
    return result


def _setting_of(settings: MetricSettings) -> str:
    """The setting whose published figures stand beside given pairs: reference, unless only the
    other one has what was chosen."""
    both = [setting.value for setting in Setting]
    refuse_unknown(settings.published, both)
    known = [set(settings.published) <= systems(setting).keys() for setting in both]
    if not any(known):
        raise ConfigError(
            "the published systems chosen are of two settings",
            hint="choose some of one setting, such as reference context alone",
        )
    return both[known.index(True)]


def write_scores(folder: Path, results: Sequence[Result]) -> None:
    """Write `scores.json`, and `tables.md`, which `warmline report --appendix` shows."""
    data = [result.as_dict() for result in results]
    write_whole(folder / SCORES_NAME, json.dumps(data, indent=2, ensure_ascii=False) + "\n")
    write_whole(folder / TABLES_NAME, page(results))


def _result(
    setting: Setting,
    replies: Sequence[EvaluatedReply],
    settings: EvaluationSettings,
    condition: StrategyCondition,
    further: Sequence[Metric],
    published: Mapping[str, dict[str, float]],
    beside_texts: Sequence[Score],
    seen: Mapping[str, Overlap],
    unlike: str,
    corpus: str | None = None,
) -> Result:
    failed = [reply.error for reply in replies if reply.error is not None]
    if all(reply.text is None for reply in replies):
        raise RunError(
            f"none of {len(replies)} replies in {setting.value} context has a text"
            + (f"; the first failed with {failed[0]}" if failed else ""),
            hint="--retry-failed asks again",
        )
    scores = score_pairs(
        [reply.text for reply in replies],
        [reply.reference for reply in replies],
        settings.preset,
        tokenizer=settings.tokenizer,
        metrics=further,
        groups=[reply.episode for reply in replies],
        **settings.drawing(),
    )
    advised = [(r.labels[0], r.strategy, r.episode) for r in replies if r.labels]
    choices: dict[str, dict[str, int]] | None = None
    if (
        not condition.upper_bound
        and advised
        and any(strategy is not None for _, strategy, _ in advised)
    ):
        gold: list[Strategy] = [label for label, _, _ in advised]
        chosen = [strategy for _, strategy, _ in advised]
        choices = confusion(gold, chosen)
        scores += scores_of(
            measure_strategies(gold, chosen),
            count=len(advised),
            groups=[episode for _, _, episode in advised],
            **settings.drawing(),
        )
    return Result(
        setting.value,
        settings.preset,
        [*scores, *beside_texts],
        len({reply.episode for reply in replies}),
        len(replies),
        len(failed),
        choices,
        dict(published),
        condition,
        seen,
        unlike,
        corpus,
    )


def _seen(maker: ReplyMaker, corpus: Sequence[Episode]) -> dict[str, Overlap]:
    """By role, how many of the dialogues its model had learned from."""
    asked = {"supporter": maker.supporter.policy}
    if maker.counselor is not None and maker.counselor.policy is not maker.supporter.policy:
        asked["counselor"] = maker.counselor.policy
    return {role: overlap(corpus, seen_by_policies([p])) for role, p in asked.items()}


async def _perplexity(
    settings: EvaluationSettings, corpus: Sequence[Episode], maker: ReplyMaker
) -> list[Score]:
    found = await score_references(
        corpus, maker, out=settings.out, concurrency=settings.concurrency
    )
    name = policy_name(maker.supporter.policy)
    return scores_of(
        measure_perplexity(found, tokenizer=name, condition=maker.condition),
        count=len(found),
        groups=[x.episode for x in found if x.nats is not None],
        **settings.drawing(),
    )


def _read_pairs(path: Path) -> list[PairRow]:
    if not path.is_file():
        raise DataError("no such file", file=path, hint="one JSON object a line is expected")
    rows = []
    for number, line in every_line(path):
        try:
            rows.append(PairRow.model_validate_json(line))
        except ValidationError as error:
            raise DataError(
                "; ".join(problems_of(error, PairRow)[:3]),
                file=path,
                line=number,
                hint="a pair has the fields hypothesis (or null), reference and, if known,"
                " dialogue",
            ) from None
    if not rows:
        raise DataError("holds no pair", file=path, hint="one JSON object a line is expected")
    return rows
