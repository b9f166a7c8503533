"""Preference pairs from conversations (Self-Evolution §2.2.1, appendix A).

Rejected is the model's own reply.

Chosen is what reflection made of it, a stronger policy's reply, or the one that was said. First
`ask_rejected` and `ask_chosen` fill `calls.jsonl` (see `reflection.py`), then `make_pairs`, which
is pure, makes `pairs.jsonl` of the calls: TRL's preference rows with lineage. Knows no tokenizer
and no model.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from ...agents.conditions import StrategyCondition
from ...agents.speech import written_strategy
from ...core.claim import claim
from ...core.errors import DataError
from ...core.files import write_whole
from ...core.jsonl import complete_lines
from ...core.record import Record, Text, problems_of
from ...environments.corpus.seen import Seen, digests_of, write_seen
from ...environments.episodes.episode import Episode
from ...policies.base import Policy
from ..candidates.rows import PromptMessage
from ..rows.build import Row, labelled, unlabelled
from ..rows.spool import Spool, SpooledMap, digest_of
from .contexts import Context
from .hygiene import Origin, Replaced, choose, identical
from .reflection import (
    CallLog,
    CallOptions,
    CallRecord,
    ask_reflections,
    ask_replies,
    call_id,
    iter_calls,
    text_of,
)
from .relevance import relevance
from .settings import PreferenceSettings
from .sides import chosen_strategy, read_reply, written_reply

PAIRS_NAME = "pairs.jsonl"
SUMMARY_NAME = "summary.json"


class PreferencePair(Record):
    """One line of `pairs.jsonl`; `prompt`, `chosen` and `rejected` are TRL's.

    Attributes:
        id: of the context, `episode#turn`; turns count the utterances of the strict form.
        group: pairs of one group must not be split.
        origin: who wrote the chosen reply; `person`: a participant of a study chose it.
        replaced: why that is the gold reply although another was asked for.
        score: the model's own score of the rejected reply, 1 to 5; None where it gave none.
        calls: ids of the calls that the pair was made of.
    """

    version: Literal[1] = 1
    id: Text
    group: str
    prompt: tuple[PromptMessage, ...]
    chosen: tuple[PromptMessage, ...]
    rejected: tuple[PromptMessage, ...]
    origin: Origin | Literal["person"]
    replaced: Replaced = ""
    score: int | None = None
    calls: tuple[str, ...] = ()

    def row(self, side: Literal["chosen", "rejected"]) -> Row:
        """A training row that ends in one of the replies."""
        said = (*self.prompt, *getattr(self, side))
        messages = tuple(message.message() for message in said)
        return Row(self.id, self.group, messages, (len(messages) - 1,))

    def as_trl(self) -> dict[str, Any]:
        """TRL's conversational preference row, and nothing else."""
        return {
            name: [{"role": m.role, "content": m.content} for m in getattr(self, name)]
            for name in ("prompt", "chosen", "rejected")
        }

    def to_json(self) -> str:
        """One line of the file."""
        plain = self.model_dump(mode="json", exclude_none=True)
        return json.dumps(plain, ensure_ascii=False, separators=(",", ":"))


class PairSummary(Record):
    """What became of the contexts; `summary.json`.

    Attributes:
        contexts, pairs: how many.
        rules: by the name of a rule, how often it applied.
        origins: chosen replies by who wrote them.
        scores: the model's scores of its own replies.
        relevance: see `relevance.Relevance`.
    """

    contexts: int
    pairs: int
    rules: dict[str, int] = Field(default_factory=dict)
    origins: dict[str, int] = Field(default_factory=dict)
    scores: dict[str, int] = Field(default_factory=dict)
    relevance: dict[str, Any] = Field(default_factory=dict)


# Asking


def call_options(
    settings: PreferenceSettings, engine: Literal["supporter", "reviser"]
) -> CallOptions:
    """How the settings want a policy to be asked; a reviser that is the supporter draws as that."""
    sampling = getattr(settings, engine).sampling()
    if engine == "reviser" and not settings.own_reviser:
        sampling = sampling.over(settings.supporter.sampling())
    return CallOptions(
        sampling=sampling,
        seed=settings.seed,
        max_sentences=settings.max_sentences,
        concurrency=settings.concurrency,
        tries=settings.tries,
        reflection_tokens=settings.reflection_tokens,
    )


def claim_calls(
    folder: Path,
    contexts: Sequence[Context],
    settings: PreferenceSettings,
    asked: Mapping[str, Any],
) -> None:
    """Start or resume the calls of one round in a folder.

    Args:
        contexts: as `contexts_of` gives them, without a counselor's advice.
        asked: what identifies the policies.

    Raises:
        RunError: the folder holds calls for other contexts, policies or settings.
    """
    rows = digest_of(context.row for context in contexts)
    own = settings.asked() | {"seed": settings.seed}
    claim(folder, {"contexts": rows, "settings": own, "policies": dict(asked)})


async def ask_rejected(
    contexts: Sequence[Context],
    settings: PreferenceSettings,
    folder: Path,
    policy: Policy,
    part: str | None = None,
) -> None:
    """The model's own replies (Self-Evolution eq. 3); a `part` (3/8) has a file of calls of its own."""
    rows = (context.row for context in contexts)
    with CallLog(folder, part) as log:
        await ask_replies(rows, policy, log, call_options(settings, "supporter"), "rejected")


async def ask_chosen(
    contexts: Sequence[Context],
    settings: PreferenceSettings,
    folder: Path,
    policy: Policy,
    part: str | None = None,
) -> None:
    """What the variant needs besides: reflections (Self-Evolution eq. 4, 5), replies or nothing."""
    rows = (context.row for context in contexts)
    asking = call_options(settings, "reviser")
    with CallLog(folder, part) as log:
        if settings.variant == "stronger":
            await ask_replies(rows, policy, log, asking, "stronger")
        if settings.variant == "refined":

            def said(context: str) -> str:
                return read_reply(text_of(log.found, context, "rejected") or "", settings)

            await ask_reflections(rows, policy, log, asking, said)


# Pairs


def make_pairs(
    contexts: Sequence[Context],
    calls: Mapping[str, CallRecord],
    settings: PreferenceSettings,
    counts: Counter[str] | None = None,
) -> tuple[Spool[PreferencePair], PairSummary]:
    """Pairs of the contexts, in their order, and what became of the others. Pure.

    Args:
        calls: by id; a context whose first call is missing counts as `not_asked`.
        counts: what was counted while the contexts were made.
    """
    rules = Counter(counts or {})
    pairs: Spool[PreferencePair] = Spool()
    heard: Spool[str] = Spool()
    for context in contexts:
        made = _pair(context, calls, settings)
        if isinstance(made, str):
            rules[made] += 1
            continue
        rules.update([f"gold_for_{made.replaced}"] if made.replaced else [])
        pairs.append(made)
        heard.append(context.heard)
    related = relevance(
        lambda: (
            (said, pair.chosen[0].content, pair.rejected[0].content)
            for said, pair in zip(heard, pairs, strict=True)
        )
    )
    return pairs, PairSummary(
        contexts=len(contexts),
        pairs=len(pairs),
        rules={name: number for name, number in sorted(rules.items()) if number},
        origins=dict(sorted(Counter(p.origin for p in pairs).items())),
        scores=dict(sorted(Counter(str(p.score) for p in pairs if p.score is not None).items())),
        relevance=asdict(related),
    )


def _pair(
    context: Context, calls: Mapping[str, CallRecord], settings: PreferenceSettings
) -> PreferencePair | str:
    """The pair of one context, or the name of the rule that drops it."""
    row = context.row
    first = calls.get(call_id(row.id, "rejected"))
    if first is None:
        return "not_asked"
    rejected = read_reply(first.text or "", settings)
    if not rejected:
        return "empty_reply"
    written, score, used = written_reply(row.id, calls, settings)
    gold, label = unlabelled(row)
    chosen = choose(
        settings.variant, written, rejected=rejected, gold=gold, longest=settings.longest
    )
    if identical(chosen.text, rejected):
        return "identical"
    own = written_strategy(first.text or "")
    better = label if chosen.origin == "gold" else chosen_strategy(row.id, calls, settings) or own
    said = {"chosen": chosen.text, "rejected": rejected}
    if settings.strategy is StrategyCondition.SELF and own and better:  # both sides, or neither
        said = {"chosen": labelled(chosen.text, better), "rejected": labelled(rejected, own)}
    return PreferencePair(
        id=row.id,
        group=row.group,
        prompt=tuple(PromptMessage(role=m.role, content=m.content) for m in row.prompt),
        chosen=(PromptMessage(role="assistant", content=said["chosen"]),),
        rejected=(PromptMessage(role="assistant", content=said["rejected"]),),
        origin=chosen.origin,
        replaced=chosen.replaced,
        score=score,
        calls=(first.id, *used),
    )


def dialogue_of(pair: PreferencePair) -> str:
    """The id of the dialogue that a pair answers."""
    return pair.id.rpartition("#")[0]


# Files


def write_pairs(folder: Path, pairs: Sequence[PreferencePair], summary: PairSummary) -> None:
    """Write `pairs.jsonl` and `summary.json`, each in one step.

    Raises:
        RunError: the disk refuses.
    """
    write_whole(folder / PAIRS_NAME, (pair.to_json() + "\n" for pair in pairs))
    text = json.dumps(summary.model_dump(mode="json"), indent=2, ensure_ascii=False)
    write_whole(folder / SUMMARY_NAME, text + "\n")


def pairs_from(
    calls: Path,
    contexts: Sequence[Context],
    settings: PreferenceSettings,
    out: Path,
    counts: Counter[str],
    episodes: Iterable[Episode],
) -> tuple[Spool[PreferencePair], PairSummary]:
    """Pairs of the calls in one folder, written to another, and what became of the others.

    Args:
        episodes: that the contexts are of; `seen.json` says which of them the pairs answer.
    """
    found = SpooledMap((call.id, call) for call in iter_calls(calls))
    pairs, summary = make_pairs(contexts, found, settings, counts)
    write_pairs(out, pairs, summary)
    write_seen(out, Seen(train=digests_of(episodes, {dialogue_of(pair) for pair in pairs})))
    return pairs, summary


def pairs_file(path: str | Path) -> Path:
    """The file of pairs that a folder or a file names."""
    file = Path(path)
    return file / PAIRS_NAME if file.is_dir() else file


def iter_pairs(path: str | Path) -> Iterator[PreferencePair]:
    """Stream the pairs of a folder or a file.

    Raises:
        DataError: no such file, or a line that is not a pair; names file, line and problem.
    """
    file = pairs_file(path)
    if not file.is_file():
        raise DataError("no pairs there", file=file, hint="`warmline train dpo DATA` makes them")
    for number, line in complete_lines(file):
        try:
            yield PreferencePair.model_validate_json(line)
        except ValidationError as error:
            problems = "; ".join(problems_of(error, PreferencePair)[:3])
            raise DataError(problems, file=file, line=number) from None
