"""Near-duplicates among short texts: is a new one too close to one that is there?

Two measures behind one method. TF-IDF cosine (scikit-learn) sees shared words whatever their order;
MinHash (datasketch) estimates the Jaccard index of the sets of word triples, so it sees shared
wording only, and stays quick in pools of any size. Both need the extra `data`.

Weights of TF-IDF are fitted once, on the texts given at the start, so the similarity of two texts
is symmetric and does not depend on what was added in between.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Protocol

from ....core.errors import MissingExtra

Measure = Literal["tfidf", "minhash"]

FEATURES = 2**18
"""Columns that words are hashed to; a new text's words need not be known in advance."""

PERMUTATIONS = 128
"""Of MinHash: its standard error is about 1 / sqrt(128) = 0.09."""

SHINGLE = 3
"""Words in a shingle."""

_WORD = re.compile(r"[^\W_]+")


class NearestText(NamedTuple):
    """The closest text that is there: its id, and how similar it is, in [0, 1]."""

    id: str
    similarity: float


class SimilarTexts(Protocol):
    """A growing set of texts that can be asked for the one closest to a new text."""

    def nearest(self, text: str) -> NearestText | None:
        """The closest text, the earliest among equals; None if there is none (or none alike)."""
        ...

    def add(self, name: str, text: str) -> None:
        """Put a text in under an id."""
        ...


def similar_texts(measure: Measure, texts: Mapping[str, str]) -> SimilarTexts:
    """The texts, by id, as a set that can be asked.

    Raises:
        MissingExtra: the measure's library is not installed.
    """
    return TfidfTexts(texts) if measure == "tfidf" else MinHashTexts(texts)


class TfidfTexts:
    """Cosine similarity of TF-IDF vectors, sublinear in the counts."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        try:
            from scipy import sparse
            from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
        except ImportError as error:
            raise MissingExtra("finding near-duplicates by TF-IDF", extra="data") from error
        self._stack = sparse.vstack
        self._count = HashingVectorizer(n_features=FEATURES, alternate_sign=False, norm=None)
        self._weigh = TfidfTransformer(sublinear_tf=True)
        self._weigh.fit(self._count.transform(list(texts.values()) or [""]))
        self._names = list(texts)
        self._rows: Any = self._vectors(list(texts.values())) if texts else None

    def _vectors(self, texts: list[str]) -> Any:
        return self._weigh.transform(self._count.transform(texts))

    def nearest(self, text: str) -> NearestText | None:
        if self._rows is None:
            return None
        scores = (self._rows @ self._vectors([text]).T).toarray().ravel()
        best = int(scores.argmax())
        return NearestText(self._names[best], float(scores[best]))

    def add(self, name: str, text: str) -> None:
        row = self._vectors([text])
        self._names.append(name)
        self._rows = row if self._rows is None else self._stack([self._rows, row], format="csr")


class MinHashTexts:
    """Estimated Jaccard index of word triples (all words, where there are fewer than three)."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        try:
            from datasketch import MinHash
        except ImportError as error:
            raise MissingExtra("finding near-duplicates by MinHash", extra="data") from error
        self._sketch = MinHash
        self._kept: dict[str, Any] = {}
        for name, text in texts.items():
            self.add(name, text)

    def _of(self, text: str) -> Any:
        sketch = self._sketch(num_perm=PERMUTATIONS, seed=1)
        sketch.update_batch([shingle.encode() for shingle in shingles(text)])
        return sketch

    def nearest(self, text: str) -> NearestText | None:
        sketch = self._of(text)
        best: NearestText | None = None
        for name, other in self._kept.items():
            similarity = float(sketch.jaccard(other))
            if best is None or similarity > best.similarity:
                best = NearestText(name, similarity)
        return best

    def add(self, name: str, text: str) -> None:
        self._kept[name] = self._of(text)


def shingles(text: str) -> list[str]:
    """The distinct runs of `SHINGLE` words, in lower case without punctuation, in order."""
    words = _WORD.findall(text.casefold())
    runs = [words[n : n + SHINGLE] for n in range(max(1, len(words) - SHINGLE + 1))]
    return list(dict.fromkeys(" ".join(run) for run in runs))
