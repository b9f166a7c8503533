"""What a counselor advises in recorded dialogues, so that a supporter is trained as it will answer.

Under the condition `advised` the prompt names the counselor's choice. Simulated dialogues have it in
their log. For recorded ones the counselor is asked once about what was said before each supporter
turn, as it is asked before an answer; its answers are kept in `advice.jsonl` beside what is made of
the rows, under a digest of counselor and dialogue, and what is there is never asked again.

Where only some turns are used (contexts of pairs and candidates, or one part of them), they are
chosen first, with the longest advice in the place of the counselor's, and it is asked about these
alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ...agents.conditions import StrategyCondition
from ...agents.counselor import StrategyCounselor
from ...agents.observations import Turn
from ...agents.roles import Role, Strategy, parse_strategy
from ...core.errors import ContentRefused, DataError
from ...core.files import read_json
from ...core.jsonl import LineLog, complete_objects
from ...core.shards.division import file_of, part_files
from ...core.tasks import for_each, run_sync
from ...environments.dialogue.view import counselor_view, turns_of
from ...environments.episodes.episode import Episode
from ...environments.runs.trained import CHECKPOINT_NAME
from ...policies.asking import ask_policy
from ...policies.base import Policy, close_policy, describe_policy, open_policy
from ...policies.registry import make_policy
from .settings import TurnRowSettings
from .turns import turn_id

ADVICE_NAME = "advice.jsonl"
CONCURRENCY = 16
"""Questions asked at once."""


@dataclass(frozen=True, slots=True)
class Advice:
    """The advice of one counselor.

    Attributes:
        by: digest of what decides its answers.
        given: strategy by digest of the dialogue before; None where it gave none that can be read.
    """

    by: str = ""
    given: Mapping[str, Strategy | None] = field(default_factory=dict, repr=False)

    def __contains__(self, history: Sequence[Turn]) -> bool:
        return context_digest(self.by, history) in self.given

    def after(self, history: Sequence[Turn]) -> Strategy | None:
        """What it advises after this dialogue."""
        return self.given.get(context_digest(self.by, history))


NO_ADVICE: Final = Advice()
"""No counselor was asked."""

LONGEST: Final = max(Strategy, key=lambda strategy: len(strategy.value + strategy.definition))


@dataclass(frozen=True, slots=True)
class Unasked(Advice):
    """A counselor that is not asked yet: every turn has the longest advice there is."""

    def __contains__(self, history: Sequence[Turn]) -> bool:
        return True

    def after(self, history: Sequence[Turn]) -> Strategy | None:
        """What stands for its answer."""
        return LONGEST


def asks_counselor(settings: TurnRowSettings) -> bool:
    """Whether a counselor is asked about recorded dialogues."""
    return settings.strategy is StrategyCondition.ADVISED and settings.counselor is not None


def planned_advice(settings: TurnRowSettings) -> Advice:
    """What stands for the advice while turns are chosen, see `Unasked`."""
    return Unasked() if asks_counselor(settings) else NO_ADVICE


def context_digest(by: str, history: Sequence[Turn]) -> str:
    """Of a counselor and a dialogue; 24 hexadecimal digits."""
    said = json.dumps([by, [(turn.role.value, turn.text) for turn in history]])
    return hashlib.blake2b(said.encode(), digest_size=12).hexdigest()


def advice_for(
    episodes: Iterable[Episode],
    settings: TurnRowSettings,
    folder: str | Path | None = None,
    *,
    among: Collection[str] | None = None,
    policy: Policy | None = None,
) -> Advice:
    """What the settings' counselor advises in the recorded dialogues; nothing where none is named.

    Args:
        folder: of `advice.jsonl`; None keeps nothing.
        among: turns by id that it is asked about; None for all.
        policy: in place of the one that the settings name; closed by the caller.

    Raises:
        ConfigError: a counselor that cannot be made.
        PolicyError: it failed; what it answered is kept.
    """
    if settings.strategy is not StrategyCondition.ADVISED:
        return NO_ADVICE
    if policy is None and settings.counselor is None:
        return NO_ADVICE
    used = policy or make_counselor(settings)
    asked = recorded_histories(episodes, among)
    return run_sync(_advise(asked, used, folder, settings, own=policy is None))


def make_counselor(settings: TurnRowSettings) -> Policy:
    """The counselor that the settings name: a trained one by its folder, or a policy by its name."""
    engine = counselor_engine(settings)
    return make_policy(engine.pop("policy"), **engine)


def counselor_engine(settings: TurnRowSettings) -> dict[str, str]:
    """Its policy and model, as `EngineSettings` has them."""
    name = settings.counselor or ""
    file = Path(name) / CHECKPOINT_NAME
    if file.is_file():
        kind = "classifier" if read_json(file).get("heads") else "transformers"
        return {"policy": kind, "model": name}
    return {"policy": name} | ({"model": m} if (m := settings.counselor_model) else {})


async def _advise(
    histories: Iterable[tuple[Turn, ...]],
    policy: Policy,
    folder: str | Path | None,
    settings: TurnRowSettings,
    *,
    own: bool,
) -> Advice:
    counselor = StrategyCounselor(policy)
    described = json.dumps(
        [describe_policy(policy), counselor.describe()], sort_keys=True, default=str
    )
    by = hashlib.blake2b(described.encode(), digest_size=8).hexdigest()
    try:
        with ExitStack() as stack:
            log: LineLog | None = None
            found: dict[str, Strategy | None] = {}
            if folder is not None:
                whole = Path(folder) / ADVICE_NAME
                file = file_of(whole, getattr(settings, "part", None))
                log = stack.enter_context(LineLog(file))
                found = dict(_known(whole))
            waiting = {
                digest: history
                for history in histories
                if (digest := context_digest(by, history)) not in found
            }
            if waiting:
                await open_policy(policy)

            async def ask(one: tuple[str, tuple[Turn, ...]]) -> None:
                digest, history = one
                advice = None
                with suppress(ContentRefused):  # a refusal is no advice, as in a simulation
                    reply = await ask_policy(policy, counselor.request(counselor_view(history)))
                    advice = counselor.read(reply).strategy
                if log is not None:
                    line = {"context": digest, "advice": advice and advice.value}
                    log.write_line(json.dumps(line), f"advice '{digest}'")
                found[digest] = advice

            await for_each(list(waiting.items()), ask, CONCURRENCY)
    finally:
        if own:
            await close_policy(policy)
    return Advice(by, found)


def recorded_histories(
    episodes: Iterable[Episode], among: Collection[str] | None = None
) -> Iterator[tuple[Turn, ...]]:
    """What was said before each supporter turn that no policy wrote.

    Args:
        among: ids of turns; the others are left out.
    """
    for episode in episodes:
        turns = turns_of(episode.utterances)
        for n, utterance in enumerate(episode.utterances):
            wanted = among is None or turn_id(episode, n) in among
            if wanted and utterance.role is Role.SUPPORTER and utterance.call is None:
                yield tuple(turns[:n])


def _known(whole: Path) -> Iterator[tuple[str, Strategy | None]]:
    for file in [whole] * whole.is_file() + part_files(whole):
        for number, line in complete_objects(file):
            try:
                advice = line["advice"]
                yield line["context"], None if advice is None else parse_strategy(advice)
            except KeyError as error:
                raise DataError(f"not advice: {error} is missing", file=file, line=number) from None
