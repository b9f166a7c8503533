"""Answers bound to a JSON schema, by the optional library llguidance."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from ...core.errors import BadRequest, MissingExtra


def available() -> bool:
    """Whether the library is installed."""
    return find_spec("llguidance") is not None


class JsonConstraints:
    """Makes constraints for one tokenizer, which takes about a second to prepare.

    Args:
        tokenizer: a fast tokenizer of transformers.
        vocabulary: number of ids in the model's output.
        stop_tokens: ids that end an answer.

    Raises:
        MissingExtra: llguidance is not installed.
    """

    def __init__(self, tokenizer: Any, vocabulary: int, stop_tokens: frozenset[int]) -> None:
        try:
            from llguidance.hf import from_tokenizer
        except ImportError as error:
            raise MissingExtra("an answer of a given schema", extra="transformers") from error
        self._tokenizer = from_tokenizer(
            tokenizer, n_vocab=max(vocabulary, len(tokenizer)), eos_token=sorted(stop_tokens)
        )

    def make(self, schema: Mapping[str, Any]) -> JsonConstraint:
        """A constraint to JSON of this schema, without white space between its parts.

        Raises:
            BadRequest: the schema is invalid, or uses a feature that the library does not support.
        """
        from llguidance import LLMatcher

        grammar = LLMatcher.grammar_from_json_schema(
            json.dumps(schema), overrides={"whitespace_flexible": False}
        )
        matcher = LLMatcher(self._tokenizer, grammar, log_level=0)
        if matcher.is_error():
            raise BadRequest(f"the schema cannot be used: {matcher.get_error()}")
        return JsonConstraint(matcher)


class JsonConstraint:
    """The state of one answer."""

    def __init__(self, matcher: Any) -> None:
        self._matcher = matcher

    def allowed(self) -> bytes:
        return bytes(self._matcher.compute_bitmask())

    def take(self, token: int) -> None:
        if not self._matcher.consume_token(token):
            raise RuntimeError(f"token {token} broke the schema: {self._matcher.get_error()}")

    @property
    def finished(self) -> bool:
        return bool(self._matcher.is_stopped())
