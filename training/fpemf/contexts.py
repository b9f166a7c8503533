"""The contexts of FPEMF with their candidates: read, or made in `out/candidates`, whole or in parts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from ...core.claim import CONFIG_NAME, FreshFolder, claim, compare
from ...core.errors import ConfigError
from ...core.shards.division import part_files
from ...core.tasks import run_sync
from ...environments.corpus.seen import Seen, digests_of, seen_in, write_seen
from ...environments.corpus.splits import scenario_groups
from ...environments.episodes.sequence import Episodes
from ...policies.base import Policy, close_policy, open_policy
from ...policies.registry import make_policy
from ..candidates.rows import CANDIDATES_NAME, CandidateLog, CandidateSet, Lineage, iter_candidates
from ..candidates.sources import beam_candidates, sampled_candidates
from ..loop.base_model import Base
from ..loop.distributed import is_first
from ..loop.loop import on_gpu
from ..rows.advice import asks_counselor, counselor_engine, planned_advice
from ..rows.build import BadRow, Row, advised_rows, build_rows, refuse_bad
from ..rows.encode import RowEncoder, encode_rows
from ..rows.left_out import (
    LeftOut,
    left_out_line,
    left_out_of,
    read_left_out,
    write_left_out,
)
from ..rows.parts import share_of
from ..rows.room import Room
from ..rows.sources import DataSource, draw, load_episodes, source_of
from ..rows.spool import Ordered, Spool, digest_of
from .settings import CandidateRunSettings, JudgedCandidateSettings

PROGRESS_SECONDS = 10.0
"""Seconds between two lines about a stage's progress."""

STARTED = (f"candidates/{CONFIG_NAME}", "candidates/candidates*.jsonl", "advice*.jsonl")
"""Patterns of what is written before the first candidate."""


@dataclass(frozen=True, slots=True)
class Contexts:
    """What candidates were made for.

    Attributes:
        sets: the contexts with their candidates, by episode and utterance.
        sources: what they come from.
        left_out: turns that gave none, and candidates that were not found, with the reasons.
    """

    sets: Sequence[CandidateSet]
    sources: tuple[DataSource, ...]
    left_out: tuple[LeftOut, ...]


def candidate_sets(settings: JudgedCandidateSettings, base: Base, console: Console) -> Contexts:
    """The contexts with their candidates: read, or made in `out/candidates`; of one part its own.

    What was left out on the way lies beside the candidates, and is read with them.
    """
    if settings.candidates is not None:
        return _read(Path(settings.candidates), console)
    episodes, sources = load_episodes(settings.data)
    rows, bad = context_rows(settings, base, episodes)
    out, part = Path(settings.out or "."), part_in(settings)
    folder = out / "candidates"
    lineage = _lineage(settings, base)
    identity = {
        "lineage": lineage.model_dump(),
        "rows": digest_of(rows),
    }
    if asks_counselor(settings):
        identity["counselor"] = ":".join(counselor_engine(settings).values())
    compare(folder, identity)  # before anything is written there
    fresh = FreshFolder(out)
    with CandidateLog(folder, part) as log, fresh.unless_begun(STARTED):
        claim(folder, identity)  # under the log's lock
        mine: Sequence[Row] = rows if part is None else share_of(rows, part)
        mine, long = _with_advice(settings, base, mine, episodes)
        bad = (*bad, *long)
        names = {row.id for row in mine}
        done = sum(name in log.finished for name in names)
        of_part = "" if part is None else f" of part {part}"
        at_hand = f"candidates: {done} of {len(mine)} contexts{of_part} at hand in {folder}"
        console.print(f"{at_hand}; {left_out_line(left_out_of(bad))}", soft_wrap=True)
        _make(settings, base, mine, log, lineage, console)
    sets = in_order(s for s in _every_set(folder) if s.id in names)
    found = left_out_of(bad, _not_found(settings, sets))
    if part is None and is_first():
        write_left_out(folder, found)
    return Contexts(sets, sources, found)


def part_in(settings: JudgedCandidateSettings) -> str | None:
    """The part that is asked for; a training makes all."""
    return settings.part if isinstance(settings, CandidateRunSettings) else None


def _read(path: Path, console: Console) -> Contexts:
    """Candidates that were made before, also by another command."""
    sets = in_order(iter_candidates(path))
    file = path / CANDIDATES_NAME if path.is_dir() else path
    left_out = read_left_out(file.parent)
    if left_out is None:
        console.print(f"{path}: what was left out there is not recorded", soft_wrap=True)
    else:
        console.print(f"{path}: {left_out_line(left_out)}", soft_wrap=True)
    return Contexts(sets, (source_of(path, [file], len(sets)),), left_out or ())


def _every_set(folder: Path) -> Iterable[CandidateSet]:
    """The sets of a folder, each once; the whole file first, then those of parts."""
    known: set[str] = set()
    whole = folder / CANDIDATES_NAME
    for file in [whole] * whole.is_file() + part_files(whole):
        for found in iter_candidates(file):
            if found.id not in known:
                known.add(found.id)
                yield found


def _not_found(settings: JudgedCandidateSettings, sets: Sequence[CandidateSet]) -> dict[str, int]:
    """How many candidates are missing of those asked for: samples that repeated themselves."""
    missing = sum(max(0, settings.num_candidates - len(each.candidates)) for each in sets)
    return {"candidate_not_found": missing} if missing else {}


def dialogues_of(settings: JudgedCandidateSettings, contexts: Sequence[CandidateSet]) -> Seen:
    """The dialogues that the contexts are of, as they are recorded beside the candidates."""
    if settings.candidates is not None:
        path = Path(settings.candidates)
        return seen_in(path if path.is_dir() else path.parent)
    return record_seen(settings, contexts)


def record_seen(settings: JudgedCandidateSettings, contexts: Sequence[CandidateSet]) -> Seen:
    """The dialogues that the contexts are of, written beside the candidates."""
    asked = {context.episode for context in contexts}
    seen = Seen(train=digests_of(load_episodes(settings.data)[0], asked))
    if is_first():
        write_seen(Path(settings.out or ".") / "candidates", seen)
    return seen


def in_order(contexts: Iterable[CandidateSet]) -> Sequence[CandidateSet]:
    """By episode and utterance, whatever the order in which they were finished.

    Beyond a thousand they lie in a file, see `Spool`.
    """
    kept, keys = Spool[CandidateSet](), []
    for context in contexts:
        kept.append(context)
        keys.append((context.episode, context.utterance or 0, context.id))
    return Ordered(kept, sorted(range(len(kept)), key=keys.__getitem__))


def context_rows(
    settings: JudgedCandidateSettings, base: Base, episodes: Episodes
) -> tuple[Sequence[Row], tuple[BadRow, ...]]:
    """The rows whose prompts are answered; their group joins scenarios that tell one situation.

    Turns that give none are the second part, those that are too long for the model among them.
    Where a counselor is to be asked, the longest advice stands for its own.
    """
    groups = dict(zip((e.id for e in episodes), scenario_groups(episodes), strict=True))
    built = build_rows(episodes, settings, planned_advice(settings))
    encoder = RowEncoder(base.tokenizer, base.model.config, base.model.generation_config)
    room = Room(settings.max_tokens, base.context, settings.max_new_tokens)
    _, kept, long = encode_rows(encoder, built.rows, room)
    refuse_bad(long, settings.on_bad_row)
    if not kept:
        raise ConfigError(
            f"{len(episodes)} episodes give no context to answer",
            problems=[f"{fault}: {count}" for fault, count in built.faults.items()]
            + [f"too long: {len(long)}, such as {long[0].id}: {long[0].detail}"] * bool(long),
            hint=room.hint(settings),
        )
    rows: Sequence[Row]
    rows = Spool(replace(row, group=groups[row.id.rpartition("#")[0]]) for row in kept)
    if settings.limit is not None and settings.limit < len(rows):
        rows = Ordered(rows, draw(range(len(rows)), settings.limit, settings.seed))
    return rows, (*built.bad, *long)


def _with_advice(
    settings: JudgedCandidateSettings, base: Base, rows: Sequence[Row], episodes: Episodes
) -> tuple[Sequence[Row], list[BadRow]]:
    """The rows with the counselor's advice, and those that are too long with it after all."""
    if not asks_counselor(settings):
        return rows, []
    encoder = RowEncoder(base.tokenizer, base.model.config, base.model.generation_config)
    room = Room(settings.max_tokens, base.context, settings.max_new_tokens)
    made = advised_rows(rows, episodes, settings, settings.out)
    _, kept, long = encode_rows(encoder, made, room)
    refuse_bad(long, settings.on_bad_row)
    return kept, long


def _make(
    settings: JudgedCandidateSettings,
    base: Base,
    rows: Sequence[Row],
    log: CandidateLog,
    lineage: Lineage,
    console: Console,
) -> None:
    done = sum(row.id in log.finished for row in rows)
    on_done = progress_lines(console, "candidates", done, len(rows))
    if settings.source == "beams":
        base.model.to("cuda" if on_gpu(settings) else "cpu")
        beam_candidates(base, rows, log, lineage, batch_size=settings.search_batch, on_done=on_done)
        return
    sampler = settings.sampler
    policy = make_policy(sampler.policy or "", **sampler.policy_options())
    run_sync(_sample(policy, rows, log, lineage, settings, on_done))


async def _sample(
    policy: Policy,
    rows: Sequence[Row],
    log: CandidateLog,
    lineage: Lineage,
    settings: JudgedCandidateSettings,
    on_done: Callable[[int], None],
) -> None:
    try:
        await open_policy(policy)
        await sampled_candidates(
            policy,
            rows,
            log,
            lineage,
            number=settings.num_candidates,
            sampling=settings.sampler.sampling(),
            concurrency=settings.concurrency,
            on_done=on_done,
        )
    finally:
        await close_policy(policy)


def progress_lines(console: Console, what: str, done: int, total: int) -> Callable[[int], None]:
    """A function that counts what is done and says so, at most every `PROGRESS_SECONDS` seconds."""
    last = time.monotonic()

    def on_done(count: int) -> None:
        nonlocal done, last
        done += count
        if time.monotonic() - last > PROGRESS_SECONDS:
            last = time.monotonic()
            console.print(f"{what}: {done} of {total} contexts")

    return on_done


def _lineage(settings: JudgedCandidateSettings, base: Base) -> Lineage:
    if settings.source == "beams":
        return Lineage(
            source="beams", model=settings.model, identity=base.identity, settings=settings.search()
        )
    sampler = settings.sampler
    drawn = {"num_candidates": settings.num_candidates, **sampler.sampling().as_dict()}
    name = ":".join(filter(None, (sampler.policy, sampler.model)))
    return Lineage(source="sampling", model=name, settings=drawn, seed=settings.seed)
