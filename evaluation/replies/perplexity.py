"""Perplexity of the corpus's replies under a policy that can score text it did not write.

PPL = exp(−Σ log p / N), natural logarithms summed over all replies, N tokens or words. Tokens are
those of the policy's own tokenizer, so perplexities by token compare only between models that share
it; perplexities by word (white space) compare between any two. The end token is not counted.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ...agents.conditions import StrategyCondition
from ...agents.observations import SupporterBrief
from ...agents.roles import Role
from ...core.errors import ConfigError, ContextTooLong, DataError
from ...core.jsonl import LineLog, complete_objects
from ...core.tasks import for_each
from ...environments.dialogue.view import supporter_view, turns_of
from ...environments.episodes.episode import Episode
from ...policies.asking import ask_score
from ...policies.base import Policy, ScoringPolicy, capabilities_of, policy_name
from ..metrics.metric import Measurement
from ..statistics.uncertainty import Floats, Tally
from .generate import ReplyMaker
from .reply import evaluated_turns, recorded_turns

PERPLEXITY_NAME = "perplexity.jsonl"


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How likely a policy finds one recorded reply after the human history.

    Attributes:
        episode, turn: the place in the corpus; see `EvaluatedReply`.
        nats: negative log-likelihood, summed over tokens; None where it did not fit the context.
        tokens: of the policy's tokenizer.
        words: by white space.
    """

    episode: str
    turn: int
    nats: float | None
    tokens: int
    words: int


def scoring(policy: Policy) -> ScoringPolicy:
    """The policy, if it can score text that it did not write.

    Raises:
        ConfigError: it cannot.
    """
    able = capabilities_of(policy)
    if not isinstance(policy, ScoringPolicy) or (able is not None and not able.score):
        raise ConfigError(
            f"policy '{policy_name(policy)}' cannot score given text, so it has no perplexity",
            hint="the policies transformers and vllm can",
        )
    return policy


async def score_references(
    episodes: Sequence[Episode],
    maker: ReplyMaker,
    *,
    out: str | Path | None = None,
    concurrency: int = 8,
) -> list[Likelihood]:
    """Score every recorded supporter turn as the answer to the prompt that the policy would get.

    The prompt is the one under which it would answer, the counselor's advice included; of a
    checkpoint the one that it was trained with, unless another is asked for.

    Args:
        episodes: recorded conversations.
        maker: its supporter's policy is asked; opened here, closed by the caller.
        out: folder for `perplexity.jsonl`; the same call again scores only what is missing.
        concurrency: questions asked at the same time.

    Raises:
        ConfigError: a policy that cannot score.
    """
    policy = scoring(maker.supporter.policy)
    done: dict[tuple[str, int], Likelihood] = {}
    with ExitStack() as stack:
        log: LineLog | None = None
        if out is not None:
            log = stack.enter_context(LineLog(Path(out) / PERPLEXITY_NAME))
            done = _known(log.path)
        await maker.open()
        places = [(e, t) for e in episodes for t in evaluated_turns(recorded_turns(e))]
        missing = [place for place in places if (place[0].id, place[1]) not in done]

        async def work(place: tuple[Episode, int]) -> None:
            episode, turn = place
            found = await _likelihood(policy, maker, episode, turn)
            if log is not None:
                log.write_line(json.dumps(asdict(found)), f"turn {turn} of '{episode.id}'")
            done[episode.id, turn] = found

        await for_each(missing, work, concurrency)
    return [done[episode.id, turn] for episode, turn in places]


def _known(path: Path) -> dict[tuple[str, int], Likelihood]:
    known = {}
    for number, row in complete_objects(path):
        try:
            known[row["episode"], row["turn"]] = Likelihood(**row)
        except (KeyError, TypeError) as error:
            raise DataError(f"not a likelihood: {error!r}", file=path, line=number) from None
    return known


async def _likelihood(
    policy: ScoringPolicy, maker: ReplyMaker, episode: Episode, turn: int
) -> Likelihood:
    turns = recorded_turns(episode)
    brief, history = SupporterBrief(episode.scenario.problem_type), turns_of(turns[:turn])
    strategy = await maker.note(episode, turn, history, turns[turn])
    request = maker.supporter.request(
        supporter_view(brief, history, strategy=strategy, window=maker.history_window),
        session=f"{episode.id}/{Role.SUPPORTER.value}",
        max_sentences=maker.max_sentences,
    )
    text = turns[turn].text
    words = len(text.split())
    try:
        scored = await ask_score(policy, request, text)
    except ContextTooLong:
        return Likelihood(episode.id, turn, None, 0, words)
    return Likelihood(episode.id, turn, -sum(t.logprob for t in scored), len(scored), words)


def measure_perplexity(
    likelihoods: Sequence[Likelihood],
    *,
    tokenizer: str,
    condition: StrategyCondition = StrategyCondition.HIDDEN,
) -> list[Measurement]:
    """Perplexity by token and by word.

    Two replies of 2 nats over 2 tokens and 4 nats over 4 tokens: exp(6 / 6) = e, 2.718.

    Args:
        likelihoods: missing ones are left out and counted.
        tokenizer: whose tokens they are; goes into the convention.
        condition: what the prompts told of strategies; goes there too.
    """
    known = [x for x in likelihoods if x.nats is not None]
    rows = np.array([(x.nats, x.tokens, x.words) for x in known], dtype=np.float64).reshape(-1, 3)
    scored = f"recorded replies after the human history, strategy {condition}, no end token"
    return [
        Measurement("perplexity", Tally(rows[:, [0, 1]], _exp_ratio),
               f"by token of {tokenizer}; {scored}", unit="", n=len(known)),
        Measurement("perplexity-word", Tally(rows[:, [0, 2]], _exp_ratio),
               f"by white-space word; {scored}", unit="", n=len(known)),
    ]  # fmt: skip


def _exp_ratio(sums: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        value: Floats = np.where(sums[..., 1] > 0, np.exp(sums[..., 0] / sums[..., 1]), np.nan)
    return value
