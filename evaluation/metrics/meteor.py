"""METEOR by NLTK (Lavie & Agarwal 2007; α 0.9, β 3, γ 0.5), with or without synonyms.

Without WordNet only the exact and the stem stage match; the figure is then called
`meteor-exact-stem`, so it is not compared with a METEOR that knows synonyms. Neither is the Java
METEOR of older tables, which weights content words and gives about half of it.
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

from ...core.errors import ConfigError, MissingExtra
from ..statistics.uncertainty import mean_tally
from .metric import Measurement, Pairs
from .tokens import Tokenizer, TreebankTokens

WORDNET_FILES = ("lexnames", "index.sense", "data.noun", "index.noun", "noun.exc")
"""Some of what a WordNet folder holds; enough to recognise one."""


class Meteor:
    """METEOR, mean over replies, in per cent.

    Args:
        wordnet: folder in the form of NLTK's `corpora/wordnet` (Princeton WordNet 3.0's `dict` with
            `lexnames`); None leaves the synonym stage out.
        tokenizer: cuts the texts into words.

    Raises:
        ConfigError: the folder holds no WordNet.
        MissingExtra: NLTK is not installed.
    """

    def __init__(
        self, wordnet: str | Path | None = None, tokenizer: Tokenizer | None = None
    ) -> None:
        self.tokenizer = tokenizer or TreebankTokens()
        self.name = "meteor-exact-stem" if wordnet is None else "meteor"
        stages = "exact, stem" if wordnet is None else "exact, stem, WordNet synonyms"
        self.convention = f"NLTK, {stages}; mean over replies; {self.tokenizer.name}"
        self._synonyms = _NoSynonyms() if wordnet is None else _read_wordnet(Path(wordnet))

    def measure(self, pairs: Pairs) -> list[Measurement]:
        try:
            from nltk.stem.porter import PorterStemmer
            from nltk.translate.meteor_score import single_meteor_score
        except ImportError as error:
            raise MissingExtra("METEOR", extra="eval") from error
        stemmer, synonyms = _CachedStemmer(PorterStemmer()), self._synonyms
        values = [
            single_meteor_score(list(r), list(h), stemmer=stemmer, wordnet=synonyms)
            for h, r in zip(*pairs.tokens(self.tokenizer), strict=True)
        ]
        return [Measurement(self.name, mean_tally(values, scale=100), self.convention)]


class _NoSynonyms:
    """A WordNet in which no word has a synonym."""

    def synsets(self, word: str) -> list[Any]:
        return []


class _CachedStemmer:
    """A stemmer that stems each word once; the same words come again and again."""

    def __init__(self, stemmer: Any) -> None:
        self.stem = lru_cache(1 << 17)(stemmer.stem)


class _WordNet:
    """NLTK's reader, each word looked up once."""

    def __init__(self, reader: Any) -> None:
        self.synsets = lru_cache(1 << 17)(reader.synsets)


def _read_wordnet(folder: Path) -> _WordNet:
    if missing := [name for name in WORDNET_FILES if not (folder / name).is_file()]:
        raise ConfigError(
            f"no WordNet in '{folder}': {', '.join(missing)} missing",
            hint="unpack NLTK's corpora/wordnet.zip there, or leave the synonym stage out",
        )
    try:
        from nltk import data
        from nltk.corpus.reader.wordnet import WordNetCorpusReader
    except ImportError as error:
        raise MissingExtra("METEOR", extra="eval") from error

    class English(WordNetCorpusReader):  # type: ignore[misc]
        """The reader without its map to WordNet 3.0, which only other languages need."""

        def map_wn(self, version: str = "wordnet") -> None:
            return None

    folder = folder.resolve()
    if str(folder) not in data.path:
        data.path.append(str(folder))  # NLTK reads only below its data path; the user named this
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The multilingual functions")  # English only
        return _WordNet(English(str(folder), None))
