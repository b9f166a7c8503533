"""The replies of an evaluation in their places: each with the conversation that it answered.

`replies.jsonl` names the place and holds the reply; the history stands in the corpus. So whatever
judges replies reads both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ...agents.conditions import StrategyCondition
from ...agents.roles import Role, Strategy
from ...core.errors import ConfigError, DataError
from ...core.files import episode_logs, read_json
from ...environments.corpus.seen import Overlap
from ...environments.episodes.log import iter_episodes
from ...environments.scenarios.scenario import Scenario
from .reply import (
    REPLIES_NAME,
    SCORES_NAME,
    EvaluatedReply,
    RecordedTurn,
    Setting,
    evaluated_turns,
    iter_replies,
    recorded_turns,
)

GENERATED = Setting.GENERATED.value


@dataclass(frozen=True, slots=True)
class HistoryTurn:
    """A turn before a reply, consecutive utterances of one speaker joined."""

    role: Role
    text: str
    strategies: tuple[Strategy, ...] = ()


@dataclass(frozen=True, slots=True)
class PlacedReply:
    """A reply that has a text, in its place.

    Attributes:
        reply: as recorded.
        scenario: of the conversation.
        history: the turns before it; in generated context with the policy's own replies.
    """

    reply: EvaluatedReply
    scenario: Scenario
    history: tuple[HistoryTurn, ...]

    @property
    def text(self) -> str:
        return self.reply.text or ""

    @property
    def strategies(self) -> tuple[Strategy, ...]:
        """What it was advised or labelled with, where that is known."""
        return () if self.reply.strategy is None else (self.reply.strategy,)

    @property
    def candidate(self) -> str:
        """As in its ratings, see `candidate_of`."""
        return candidate_of(self.reply)


@dataclass(frozen=True, slots=True)
class PlacedReplies:
    """The replies of one evaluation.

    Attributes:
        replies: those with a text, by setting in the order of the file.
        missing: places without one, since the policy failed or said nothing.
    """

    replies: list[PlacedReply] = field(default_factory=list)
    missing: int = 0


def candidate_of(reply: EvaluatedReply) -> str:
    """The reply's name in ratings: empty in reference context, `generated` in the other one. The
    `utterance` of its ratings is its turn."""
    return GENERATED if reply.setting is Setting.GENERATED else ""


def holds_replies(path: str | Path) -> bool:
    """Whether a path is the folder of an evaluation, or its file of replies."""
    path = Path(path)
    if path.is_dir():
        return (path / REPLIES_NAME).is_file() and not episode_logs(path)
    return path.name == REPLIES_NAME


def last_replies(path: str | Path) -> list[EvaluatedReply]:
    """The replies of a file or folder, of each place the last one written.

    Raises:
        DataError: see `iter_replies`.
    """
    return list({reply.key: reply for reply in iter_replies(path)}.values())


def caveats_of(path: str | Path) -> tuple[str, ...]:
    """What an evaluation's `scores.json` says against its replies, a sentence each: dialogues that
    its models had learned from, prompts that named the label of the reply, and prompts that the model
    was not trained with.

    Raises:
        DataError: the file cannot be read.
    """
    file = (Path(path) if Path(path).is_dir() else Path(path).parent) / SCORES_NAME
    results = read_json(file) if file.is_file() else []
    told = []
    for result in results:
        if result.get("condition") == StrategyCondition.ORACLE:
            told.append(f"{file.parent.name}: an upper bound, prompts named the reply's own label")
        for role, each in result.get("seen", {}).items():
            if flag := Overlap(**each).flag(role):
                told.append(f"{file.parent.name}: {flag}")
        if unlike := result.get("unlike"):
            told.append(f"{file.parent.name}: {unlike}")
    return tuple(dict.fromkeys(told))


def place_replies(path: str | Path, corpus: str | Path | None) -> PlacedReplies:
    """Read replies and the corpus that they answer.

    Args:
        path: an evaluation's folder or its `replies.jsonl`.
        corpus: what was evaluated: a run's folder or a log.

    Raises:
        ConfigError: no corpus is named.
        DataError: a file that cannot be read, or replies to conversations that the corpus does not
            hold, or holds with other texts.
    """
    if corpus is None:
        raise ConfigError(
            f"{path} holds replies of `evaluate`, and not what they answer",
            hint="give the corpus that was evaluated: --corpus corpora/NAME",
        )
    found = last_replies(path)
    wanted = {reply.episode for reply in found}
    talks = {e.id: e for e in iter_episodes(corpus) if e.id in wanted}
    turns = {name: recorded_turns(episode) for name, episode in talks.items()}
    for reply in found:
        _check(reply, turns, path, corpus)
    own = {reply.key: reply for reply in found}
    placed = PlacedReplies(missing=sum(not reply.text for reply in found))
    for reply in found:
        if reply.text:
            history = tuple(_history(reply, turns[reply.episode], own))
            placed.replies.append(PlacedReply(reply, talks[reply.episode].scenario, history))
    return placed


def _check(
    reply: EvaluatedReply,
    turns: dict[str, list[RecordedTurn]],
    path: str | Path,
    corpus: str | Path,
) -> None:
    said = turns.get(reply.episode, [])
    if reply.turn < len(said) and said[reply.turn].text == reply.reference:
        return
    what = "is not there" if not said else f"has another turn {reply.turn}"
    raise DataError(
        f"holds a reply to conversation '{reply.episode}', which {what} in {corpus}",
        file=path,
        hint="give the corpus that was evaluated with --corpus",
    )


def _history(
    reply: EvaluatedReply,
    said: list[RecordedTurn],
    own: dict[tuple[Setting, str, int], EvaluatedReply],
) -> Iterator[HistoryTurn]:
    answered = set(evaluated_turns(said)) if reply.setting is Setting.GENERATED else set()
    for number, turn in enumerate(said[: reply.turn]):
        before = own.get((reply.setting, reply.episode, number))
        if number in answered and before is not None and before.text:
            labels = () if before.strategy is None else (before.strategy,)
            yield HistoryTurn(turn.role, before.text, labels)
        else:
            yield HistoryTurn(turn.role, turn.text, turn.labels)


def reply_lengths(path: str | Path) -> dict[tuple[str, int | None, str], float]:
    """Words of each reply, by (episode, turn, candidate) as in ratings."""
    return {
        (r.episode, r.turn, candidate_of(r)): float(len(r.text.split()))
        for r in last_replies(path)
        if r.text
    }
