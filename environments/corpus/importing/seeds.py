"""The dialogues that ship as an ordinary corpus: to train on, to analyse, to export.

```bash
warmline import seeds --out corpora/seeds
warmline train sft corpora/seeds:train --out runs/seeds
```

They become what any recorded dialogue becomes: episodes without calls. Each has its whole scenario
with the profile; its sides are those of `seed_side`, and the folder's `split.json` names them by id.
"""

from __future__ import annotations

from collections.abc import Iterator

from ....agents.roles import Role
from ....policies.safety import crisis_kinds
from ...episodes.episode import Episode, StopReason, Utterance
from ...episodes.sides import Split, digest_of
from ...scenarios.scenario import CaseDialogue, CaseDialogueTurn, Scenario
from ...scenarios.seed_pool import (
    SOURCE,
    SeedSide,
    seed_dialogues,
    seed_digest,
    seed_scenarios,
    seed_side,
)
from ..sources import KNOWN_CORPORA, Source
from .importers.registry import SEEDS
from .reader import ImportReport, count_episode

STAGES = "stages"
"""Annotation of each episode: the stage of help (Hill 2009) of every utterance, in order."""


def seed_episodes(side: SeedSide | None = None) -> Iterator[Episode]:
    """The dialogues that ship as episodes, in the order of the problem types; or one side of them.

    `Episode.id` is the dialogue's (`burnout-case-2`), `Episode.scenario` the whole scenario with the
    seeker's profile. Supporter utterances carry their strategy, and `annotations["stages"]` has the
    stage of each utterance. Every dialogue is complete: it ends with its last exchange and not before.

    Raises:
        ConfigError: no such side.
    """
    scenarios = {scenario.id: scenario for scenario in seed_scenarios()}
    for dialogue in seed_dialogues(side):
        yield _episode(dialogue, scenarios[dialogue.scenario])


def _episode(dialogue: CaseDialogue, scenario: Scenario) -> Episode:
    stages = [turn.stage.value for turn in dialogue.turns if turn.stage]
    return Episode(
        id=dialogue.id,
        scenario=scenario,
        stop=StopReason.RECORDED,
        utterances=tuple(_utterance(turn) for turn in dialogue.turns),
        source=SOURCE,
        annotations={STAGES: stages},
    )


def _utterance(turn: CaseDialogueTurn) -> Utterance:
    return Utterance(
        role=Role.SEEKER if turn.role is Role.SEEKER else Role.SUPPORTER,
        text=turn.text,
        raw=turn.text,
        strategy=turn.strategy,
        crisis=crisis_kinds(turn.text),
    )


class SeedImport:
    """The import of the dialogues that ship, as `Import` is of a file; nothing needs normalising.

    Attributes:
        report: of the last iteration; complete when that has ended.
    """

    def __init__(self) -> None:
        self.report = ImportReport(SEEDS, "raw")

    def __iter__(self) -> Iterator[Episode]:
        report = self.report = ImportReport(SEEDS, "raw")
        for episode in seed_episodes():
            report.records += 1
            for said in episode.utterances:
                report.tally.speakers[said.role.value] += 1
                report.tally.strategies.update(label.value for label in said.strategies)
            count_episode(episode, report)
            yield episode

    def sources(self, licence: str | None = None, url: str | None = None) -> tuple[Source, ...]:
        """Provenance: this package, under its licence.

        Args:
            licence, url: in place of what is known.
        """
        known = KNOWN_CORPORA[SOURCE]
        return (
            Source(
                name=SOURCE,
                licence=licence or known.licence,
                url=url or known.url,
                sha256=seed_digest(),
                format=SEEDS,
                recipe=self.report.recipe,
                records=self.report.records,
                episodes=self.report.episodes,
            ),
        )

    def split(self) -> Split:
        """The sides, named by the ids of their dialogues."""
        sides: dict[str, tuple[str, ...]] = {
            side: tuple(d.id for d in seed_dialogues() if seed_side(d.scenario) == side)
            for side in ("train", "test")
        }
        sides = {side: ids for side, ids in sides.items() if ids}
        lists = {side: f"{SEEDS}:{side}" for side in sides}
        return Split(by="scenario", lists=lists, sides=sides, hash=digest_of(sides))
