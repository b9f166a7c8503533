"""Which split of the data set a conversation goes to: the stored side, or one drawn by shares."""

from __future__ import annotations

from collections.abc import Sequence

from ....core.errors import ConfigError
from ...episodes.log import read_episodes
from ...episodes.sides import Place, Split, ids_on, read_split, refuse_misfit
from ..splits import Groups, split_of
from .settings import ExportSettings

OTHER_SIDE = "on another side of the split"
NO_SIDE = "on no side of the split"
DRAWN = ("train", "validation", "test", "seed")
"""Settings of splits that are drawn."""


class Sides:
    """The sides of `split.json` where the corpus has one, else shares.

    Args:
        place: the corpus, or one side of it.
        settings: the shares.

    Attributes:
        names: of the splits, in order.

    Raises:
        ConfigError: shares are given for a corpus that is divided already.
        DataError: no such side, or a split that does not fit the log.
    """

    def __init__(self, place: Place, settings: ExportSettings) -> None:
        self._settings = settings
        self._side = place.side
        self._split: Split | None = None
        self._side_of: dict[str, str] = {}
        self.names: Sequence[str] = list(settings.ratios)
        if not place.split_file.is_file() and place.side is None:
            return
        ids = read_episodes(place.path).ids
        if place.side is not None:
            ids_on(place, ids)
        self._split = read_split(place.split_file)
        refuse_misfit(self._split, ids, place)
        if given := [name for name in DRAWN if name in settings.model_fields_set]:
            raise ConfigError(
                f"{place.split_file} divides this corpus already, so {', '.join(given)} would change"
                " nothing",
                hint="leave them out, or move split.json away",
            )
        self._side_of = {n: side for side, there in self._split.sides.items() for n in there}
        self.names = list(self._split.sides) if place.side is None else [place.side]

    @property
    def stored(self) -> bool:
        """Whether the sides are those of `split.json`."""
        return self._split is not None

    @property
    def about(self) -> str:
        """How stored sides were made, for the card; empty for drawn ones."""
        split = self._split
        if split is None:
            return ""
        listed = [f"`{side}` by a list of ids" for side in split.lists]
        kept = "scenarios whole" if split.by == "scenario" else "dialogue by dialogue"
        drawn = [
            f"{', '.join(f'`{s}`' for s in split.shares)} drawn with seed {split.seed}, {kept}"
        ]
        return "; ".join(listed + (drawn if split.shares else []))

    def left_out(self, name: str) -> str:
        """Why the export has no place for a dialogue; empty if it has one."""
        if self._split is None:
            return ""
        side = self._side_of.get(name)
        if side is None:
            return NO_SIDE
        return OTHER_SIDE if self._side not in (None, side) else ""

    def of(self, name: str, groups: Groups) -> str:
        """The split of a dialogue that has one."""
        if self._split is not None:
            return self._side_of[name]
        return split_of(name, groups, self._settings.ratios, self._settings.seed)
