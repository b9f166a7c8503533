"""Crisis language: marked for reviewers and exports, never a reason to drop an episode."""

from __future__ import annotations

from typing import ClassVar

from .....policies.safety import crisis_kinds
from ....episodes.episode import Episode
from ...tags import Finding
from .base import RecordFilter


class CrisisContent(RecordFilter):
    """Flags each kind of crisis language of each utterance, by the rules of `policies/crisis/`.

    Marks that the record already holds count too. The words are not repeated in the tags.
    """

    name: ClassVar[str] = "crisis"

    def examine(self, episode: Episode) -> tuple[Finding, ...]:
        return tuple(
            self.flag(f"{kind.replace('_', ' ')} is mentioned", index)
            for index, utterance in enumerate(episode.utterances)
            for kind in dict.fromkeys((*utterance.crisis, *crisis_kinds(utterance.text)))
        )
