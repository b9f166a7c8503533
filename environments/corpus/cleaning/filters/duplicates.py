"""Near-duplicate dialogues across a corpus: MinHash sketches in bands, the first one stays.

Dialogues are sets of 5-word shingles (Lee et al. 2022, "Deduplicating Training Data Makes Language
Models Better"). Bands find candidates, whole sketches confirm them, so a false drop needs an
estimate that is off, not a chance meeting in one band. The sketches are datasketch's; its own index
takes 5.4 kB a dialogue without them, `sketches.py` 0.7 kB with them.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, ClassVar

from .....core.errors import ConfigError, MissingExtra
from ....episodes.episode import Episode
from ...tags import Finding, Severity
from .text import shingles, tokens

if TYPE_CHECKING:
    import numpy as np

SHINGLE = 5
"""Words."""
PERMUTATIONS = 128
"""Standard error of the estimated similarity: 1/sqrt(128), 0.09 at most."""
ROWS = 8
"""Values a band: 16 bands find a pair of similarity 0.8 with probability 0.95, of 0.5 with 0.06."""


class NearDuplicates:
    """Drops dialogues that are nearly one that came before; remembers every one it examines.

    The order of the stream decides which stays. An id that comes again (an episode that was played
    again after an error) is not a duplicate of itself.

    Args:
        threshold: Jaccard similarity of shingles from which two dialogues are near-duplicates.
        min_shingles: shorter dialogues are not compared.

    Raises:
        MissingExtra: datasketch is not installed.
    """

    name: ClassVar[str] = "near_duplicates"
    remembers: ClassVar[bool] = True

    def __init__(self, threshold: float = 0.8, min_shingles: int = 20) -> None:
        if not 0 < threshold <= 1:
            raise ConfigError(f"near_duplicates: threshold must be in (0, 1], not {threshold}")
        try:
            from datasketch import MinHash
        except ImportError as error:
            raise MissingExtra("finding near-duplicate dialogues", extra="data") from error
        from .sketches import Sketches

        self.threshold, self.min_shingles = threshold, min_shingles
        self._empty = MinHash(num_perm=PERMUTATIONS, seed=1, hashfunc=zlib.crc32)
        self._ids: list[str] = []
        self._sketches = Sketches(PERMUTATIONS // ROWS, ROWS)

    def examine(self, episode: Episode) -> tuple[Finding, ...]:
        words = [word for u in episode.utterances for word in tokens(u.text)]
        runs = set(shingles(words, SHINGLE))
        if len(runs) < self.min_shingles:
            return ()
        sketch = self._sketch(runs)
        best, similarity = self._closest(sketch, episode.id)
        if best is not None and similarity >= self.threshold:
            reason = "nearly the same as an earlier dialogue"
            value = f"{self._ids[best]} ({similarity:.2f})"
            return (Finding(self.name, Severity.DROP, reason, value=value),)
        self._sketches.add(sketch)
        self._ids.append(episode.id)
        return ()

    def _sketch(self, runs: set[str]) -> np.ndarray:
        minhash = self._empty.copy()
        minhash.update_batch([run.encode("utf-8", "surrogatepass") for run in runs])
        digest: np.ndarray = minhash.digest().astype("uint32")
        return digest

    def _closest(self, sketch: np.ndarray, own: str) -> tuple[int | None, float]:
        """The earliest of the most similar ones that share a band."""
        best, highest = None, 0.0
        for place in sorted(self._sketches.sharing(sketch)):
            similarity = float((self._sketches[place] == sketch).mean())
            if self._ids[place] != own and similarity > highest:
                best, highest = place, similarity
        return best, highest
