"""The two settings of SweetieChat §5.4: a policy answers recorded seekers, turn by turn.

* *reference context*: each supporter turn is answered after the human history before it.
* *generated context*: the model's own earlier replies stay in the history, while the human seeker's
  turns are replayed as they were recorded.

Every reply is written to `replies.jsonl` as soon as it is finished; the same call again asks only
for what is missing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...agents.conditions import StrategyCondition
from ...agents.counselor import StrategyCounselor
from ...agents.observations import SupporterBrief, Turn
from ...agents.roles import Role, Strategy
from ...agents.speech import written_strategy
from ...agents.supporter import Supporter
from ...core.claim import CONFIG_NAME, FreshFolder, claim, compare
from ...core.errors import ConfigError, ContentRefused, PolicyError, RunError
from ...core.jsonl import LineLog
from ...core.seeds import call_seed
from ...core.shards.division import file_of, part_files, streamed, take_parts
from ...core.tasks import for_each
from ...environments.dialogue.limits import HISTORY_WINDOW
from ...environments.dialogue.view import counselor_view, supporter_view, turns_of
from ...environments.episodes.episode import Episode
from ...policies.asking import ask_policy
from ...policies.base import open_policy, policy_name
from ...policies.text.sentences import cap_sentences
from .reply import (
    REPLIES_NAME,
    REPLY_VERSION,
    EvaluatedReply,
    RecordedTurn,
    Setting,
    StrategySource,
    evaluated_turns,
    iter_replies,
    recorded_turns,
)

EARLIER_FAILED = "an earlier reply of this dialogue is missing"


@dataclass(frozen=True)
class ReplyMaker:
    """Who answers, and how.

    Attributes:
        supporter: writes the replies.
        counselor: advises a strategy before each reply; None leaves the supporter alone.
        history_window: latest turns that the supporter sees.
        max_sentences: cap of a reply.
        seed: of the run.
        condition: what the prompt tells of strategies; the supporter's template says the rest.
    """

    supporter: Supporter
    counselor: StrategyCounselor | None = None
    history_window: int = HISTORY_WINDOW
    max_sentences: int = 3
    seed: int = 0
    condition: StrategyCondition = StrategyCondition.HIDDEN

    def describe(self) -> dict[str, Any]:
        """What decides the replies, as plain data."""
        oracle = {"strategy": self.condition.value} if self._shows_labels else {}
        return oracle | {
            "replies_version": REPLY_VERSION,
            "seed": self.seed,
            "history_window": self.history_window,
            "max_sentences": self.max_sentences,
            "supporter": self.supporter.describe(),
            "counselor": self.counselor.describe() if self.counselor else "none",
        }

    @property
    def _shows_labels(self) -> bool:
        return self.condition is StrategyCondition.ORACLE

    async def open(self) -> None:
        """Open the policies."""
        await open_policy(self.supporter.policy)
        if self.counselor is not None:
            await open_policy(self.counselor.policy)

    async def reply(
        self, episode: Episode, turn: int, history: Sequence[Turn], place: RecordedTurn, at: Setting
    ) -> EvaluatedReply:
        """One reply. A known failure is kept in the record.

        Raises:
            PolicyError: one that every other reply would meet too.
        """
        record = EvaluatedReply(
            episode=episode.id, turn=turn, setting=at, reference=place.text, labels=place.labels,
            policy=policy_name(self.supporter.policy),
            seed=call_seed(self.seed, episode.id, 2 * turn + 1),
            sampling=self.supporter.sampling.as_dict(),
        )  # fmt: skip
        strategy = None
        try:
            strategy = await self.note(episode, turn, history, place)
            return await self._answer(record, episode, history, strategy)
        except PolicyError as error:
            if error.fatal:
                raise
            said = f"{type(error).__name__}: {error.message}"
            return record.model_copy(
                update={"error": said, "strategy": strategy, "strategy_by": self._source(strategy)}
            )

    async def note(
        self, episode: Episode, turn: int, history: Sequence[Turn], place: RecordedTurn
    ) -> Strategy | None:
        """The strategy that the prompt names: the counselor's advice, or the label of the oracle."""
        if self._shows_labels:
            return place.labels[0] if place.labels else None
        counselor = self.counselor
        if counselor is None:
            return None
        request = counselor.request(
            counselor_view(history),
            seed=call_seed(self.seed, episode.id, 2 * turn),
            session=f"{episode.id}/{Role.COUNSELOR.value}",
        )
        with suppress(ContentRefused):  # a refusal is no advice, as in a simulation
            return counselor.read(await ask_policy(counselor.policy, request)).strategy
        return None

    def _source(self, strategy: Strategy | None) -> StrategySource | None:
        if strategy is None:
            return None
        return "label" if self._shows_labels else "counselor"

    async def _answer(
        self,
        record: EvaluatedReply,
        episode: Episode,
        history: Sequence[Turn],
        strategy: Strategy | None,
    ) -> EvaluatedReply:
        brief = SupporterBrief(episode.scenario.problem_type)
        request = self.supporter.request(
            supporter_view(brief, history, strategy=strategy, window=self.history_window),
            seed=record.seed,
            session=f"{episode.id}/{Role.SUPPORTER.value}",
            max_sentences=self.max_sentences,
        )
        reply = await ask_policy(self.supporter.policy, request)
        said = self.supporter.read(reply)
        text, _ = cap_sentences(said.text, self.max_sentences)
        source = self._source(strategy)
        if strategy is None and (strategy := written_strategy(reply.text)) is not None:
            source = "model"
        return record.model_copy(
            update={
                "text": text or None,
                "raw": reply.text,
                "strategy": strategy,
                "strategy_by": source,
                "closes": said.closes,
                "usage": reply.usage,
                "cached": reply.cached,
                "thinking": reply.thinking,
                "notes": dict(reply.notes) if reply.notes else None,
            }
        )


async def generate_replies(
    episodes: Iterable[Episode],
    maker: ReplyMaker,
    *,
    settings: Sequence[Setting] = (Setting.REFERENCE,),
    out: str | Path | None = None,
    concurrency: int = 8,
    retry_failed: bool = False,
    observe: Callable[[EvaluatedReply], None] | None = None,
    config: Mapping[str, Any] | None = None,
    part: str | None = None,
    stop: asyncio.Event | None = None,
) -> list[EvaluatedReply]:
    """Answer every supporter turn of a corpus.

    Replies under reference context are asked for independently of each other; under generated
    context one after the other within a dialogue. After a reply that failed, the rest of that
    dialogue has no complete history and is missing too.

    Args:
        episodes: recorded or simulated conversations.
        maker: opened here; its policies are closed by the caller.
        settings: one or both contexts.
        out: folder for `config.toml` and `replies.jsonl`; the same call again resumes it.
        concurrency: questions asked at the same time.
        retry_failed: ask again for the recorded replies that failed.
        observe: called with each reply as it is finished.
        config: saved in `config.toml` beside what decides the replies.
        part: answer one part of the dialogues only, as 3/8, into a file of its own in `out`; without
            it, what the files of parts hold is taken in, and they are removed.
        stop: once set, nothing more is asked and what is open is finished.

    Returns:
        The replies, by setting, episode and turn in the order of the corpus; of one part its own.

    Raises:
        Interrupted: `stop` was set.
        ConfigError: an impossible concurrency, a repeated episode id, nothing to answer.
        RunError: `out` holds replies of other settings or of another corpus.
        PolicyError: one that every other reply would meet too.
    """
    corpus = list(streamed(_corpus(episodes, concurrency), part))
    with ExitStack() as stack:
        done: dict[tuple[Setting, str, int], EvaluatedReply] = {}
        log: LineLog | None = None
        if out is not None:
            compare(Path(out), maker.describe())  # before anything is written there
            fresh = FreshFolder(Path(out))
            whole = Path(out) / REPLIES_NAME
            log = stack.enter_context(LineLog(file_of(whole, part)))
            claim(Path(out), maker.describe(), config)  # under the log's lock
            if part is None:  # the folder is not a part's to remove
                stack.enter_context(fresh.unless_begun({REPLIES_NAME, CONFIG_NAME}))
            done = {
                r.key: r
                for file in _files(whole, part)
                for r in iter_replies(file)
                if not (retry_failed and r.error)
            }

        def keep(reply: EvaluatedReply) -> None:
            if log is not None:
                log.write_line(reply.to_json(), f"reply {reply.turn} of '{reply.episode}'")
            done[reply.key] = reply
            if observe is not None:
                observe(reply)

        if log is not None and part is None:
            take_parts(log.path, lambda file: _take_in(file, done, keep))
        _check_same(corpus, done)

        jobs = [job for setting in settings for job in _jobs(corpus, setting, done)]
        if jobs:
            await maker.open()

        async def work(job: _Job) -> None:
            await _answer(job, maker, done, keep)

        await for_each(jobs, work, min(concurrency, len(jobs)), stop)
    return [
        done[setting, episode.id, turn]
        for setting in settings
        for episode, turns in corpus
        for turn in evaluated_turns(turns)
    ]


Dialogue = tuple[Episode, list[RecordedTurn]]


def _files(whole: Path, part: str | None) -> list[Path]:
    """The files whose replies are there already; a part looks into those of others."""
    files = [whole, *(part_files(whole) if part else [])]
    return [file for file in files if file.is_file()]


def _take_in(
    file: Path,
    done: Mapping[tuple[Setting, str, int], EvaluatedReply],
    keep: Callable[[EvaluatedReply], None],
) -> None:
    """Keep what a part has: the last reply to each turn, and one without an error before others."""
    made: dict[tuple[Setting, str, int], EvaluatedReply] = {}
    for reply in iter_replies(file):
        if reply.key not in made or not reply.error or made[reply.key].error:
            made[reply.key] = reply
    for key, reply in made.items():
        if key not in done or (done[key].error and not reply.error):
            keep(reply)


@dataclass(frozen=True, slots=True)
class _Job:
    """Turns that have to be answered one after the other."""

    setting: Setting
    episode: Episode
    turns: list[RecordedTurn]
    wanted: tuple[int, ...]


def _corpus(episodes: Iterable[Episode], concurrency: int) -> list[Dialogue]:
    if concurrency < 1:
        raise ConfigError(f"concurrency must be at least 1, not {concurrency}")
    corpus = [(_said(episode), recorded_turns(episode)) for episode in episodes]
    counts = Counter(episode.id for episode, _ in corpus)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise ConfigError(f"episode ids occur more than once: {', '.join(twice[:5])}")
    if not any(evaluated_turns(turns) for _, turns in corpus):
        raise ConfigError(
            f"none of {len(corpus)} conversations has a supporter turn that answers the seeker",
            hint="`warmline show PATH` prints what the corpus holds",
        )
    return corpus


def _said(episode: Episode) -> Episode:
    """The episode without its calls, which are most of a record and are not needed here."""
    return episode.model_copy(update={"calls": (), "messages": (), "verdicts": (), "timing": None})


def _check_same(
    corpus: Sequence[Dialogue], done: Mapping[tuple[Setting, str, int], EvaluatedReply]
) -> None:
    """Refuse to resume from replies to other conversations of the same ids."""
    said = {
        (episode.id, turn): turns[turn].text
        for episode, turns in corpus
        for turn in evaluated_turns(turns)
    }
    for reply in done.values():
        if said.get((reply.episode, reply.turn), reply.reference) != reply.reference:
            raise RunError(
                f"turn {reply.turn} of '{reply.episode}' has another text than when its reply was"
                " recorded",
                hint="give the corpus that these replies were made for, or another folder",
            )


def _jobs(
    corpus: Sequence[Dialogue],
    setting: Setting,
    done: Mapping[tuple[Setting, str, int], EvaluatedReply],
) -> Iterator[_Job]:
    for episode, turns in corpus:
        wanted = evaluated_turns(turns)
        missing = [turn for turn in wanted if (setting, episode.id, turn) not in done]
        if setting is Setting.REFERENCE:
            yield from (_Job(setting, episode, turns, (turn,)) for turn in missing)
        elif missing:
            yield _Job(setting, episode, turns, tuple(t for t in wanted if t >= missing[0]))


async def _answer(
    job: _Job,
    maker: ReplyMaker,
    done: Mapping[tuple[Setting, str, int], EvaluatedReply],
    keep: Callable[[EvaluatedReply], None],
) -> None:
    for turn in job.wanted:
        history = _history(job, turn, done)
        if history is None:
            place = job.turns[turn]
            keep(
                EvaluatedReply(
                    episode=job.episode.id, turn=turn, setting=job.setting, reference=place.text,
                    labels=place.labels, error=EARLIER_FAILED,
                    policy=policy_name(maker.supporter.policy),
                )
            )  # fmt: skip
        else:
            keep(await maker.reply(job.episode, turn, history, job.turns[turn], job.setting))


def _history(
    job: _Job, turn: int, done: Mapping[tuple[Setting, str, int], EvaluatedReply]
) -> list[Turn] | None:
    """What stands before a turn; None where a reply that belongs there is missing."""
    before = turns_of(job.turns[:turn])
    if job.setting is Setting.REFERENCE:
        return before
    for earlier in evaluated_turns(job.turns[:turn]):
        own = done[job.setting, job.episode.id, earlier].text
        if own is None:
            return None
        before[earlier] = Turn(Role.SUPPORTER, own)
    return before
