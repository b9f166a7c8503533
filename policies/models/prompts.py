"""Turns messages into tokens, with the model's own chat template."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2

from ...core.errors import BadRequest, ConfigError
from ..base import Message, Request
from ..text.control_marks import ControlMarks
from ..thinking.reader import MARK_TOKENS, opened_by, pair_in
from ..thinking.switches import Thinking, template_variables
from .system_role import fold_system, takes_system

TURN_SEPARATOR = "\n"
"""Between the messages of an encoder-decoder model without template: ParlAI's delimiter, with which
the BlenderBot family was trained."""

_MARK = "warmline"


@dataclass(frozen=True, slots=True)
class Prompt:
    """A tokenized request.

    Attributes:
        tokens: what the model reads; for an encoder-decoder, what the encoder reads.
        start: what the decoder of an encoder-decoder begins with.
        text: what `tokens` (or `start`) come from, for continuations.
        begun: the template ended within a block of thinking.
    """

    tokens: tuple[int, ...]
    start: tuple[int, ...]
    text: str
    begun: bool = False


class PromptWriter:
    """Renders requests for one model. Not thread-safe.

    What speakers say cannot act as control tokens: in their text, the model's special tokens and
    the marks of its template (such as `<|im_end|>`) are broken up.

    Args:
        tokenizer: of transformers.
        config: the model's configuration.
        generation_config: the model's; names tokens that end an answer.
        chat_template: Jinja text instead of the model's own template.

    Raises:
        ConfigError: a decoder-only model without chat template.
    """

    def __init__(
        self,
        tokenizer: Any,
        config: Any,
        generation_config: Any,
        *,
        chat_template: str | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._template = chat_template or tokenizer.chat_template
        if isinstance(self._template, dict):
            self._template = self._template.get("default")
        self._seq2seq = bool(config.is_encoder_decoder)
        if self._template is None and not self._seq2seq:
            raise ConfigError(
                f"the model '{tokenizer.name_or_path}' has no chat template: it does not say how"
                " messages become a prompt",
                hint="use an instruction-tuned model, or give chat_template=... (Jinja)",
            )
        self._vocabulary = _vocabulary(config)
        self.start = self._decoder_start(config, generation_config) if self._seq2seq else ()
        """What an encoder-decoder's decoder begins with."""
        added = tokenizer.added_tokens_decoder.values()
        self._marks = ControlMarks(
            [*map(str, tokenizer.all_special_tokens), *(str(t) for t in added if t.special)],
            added=[str(token) for token in added],
            template=self._template or "",
        )
        self.folds_system = self._template is not None and not takes_system(self._rendered)
        """Whether a system message is put into the first user message: the template has no place
        for one."""
        self.thinking = None if self._seq2seq else pair_in(self._template)
        """Marks of thinking in the template; None for a model that does not think."""
        self.mark_tokens = {
            number: str(token)
            for number, token in tokenizer.added_tokens_decoder.items()
            if self.thinking is not None and token.special and str(token) in MARK_TOKENS
        }
        """Special tokens that are parts of such marks; they are text, where others are not."""
        self.stop_tokens = self._find_stop_tokens(config, generation_config)
        """Ids that end an answer."""

    def write(self, request: Request, *, after: str = "") -> Prompt:
        """The prompt of a request, its prefill included.

        Args:
            after: what the model thought, with its marks; stands before the prefill.

        Raises:
            BadRequest: there are no messages, or the template refuses them.
            Unsupported: the template cannot be told what `sampling.thinking` says.
        """
        if not request.messages:
            raise BadRequest("the request has no messages", hint="give at least one")
        begun = self.plain(request.prefill).rstrip()  # tokens begin with their space
        if self._seq2seq:
            text = self._encoder_text(request.messages)
            tokens = tuple(self.known(self._tokenizer(text)["input_ids"]))
            return Prompt(tokens, (*self.start, *self.encode(begun)), begun)
        asked = self.render(request.messages, answer=True, thinking=request.sampling.thinking)
        opened = self.thinking is not None and opened_by(asked) is not None
        text = asked + after + begun
        prompt = tuple(self.encode(text))
        if not prompt and self._tokenizer.bos_token_id is not None:
            prompt = (self._tokenizer.bos_token_id,)
        if not prompt:
            raise BadRequest("the chat template makes an empty prompt of these messages")
        return Prompt(prompt, (), text, opened)

    def write_without_thinking(self, request: Request) -> Prompt:
        """The prompt of a request up to where the answer itself begins, nothing being thought."""
        prompt = self.write(request)
        if self.thinking is None or not prompt.begun:
            return prompt
        return self.write(request, after=self.thinking.answer_after("", begun=True, closed=False))

    def continuation(self, prompt: Prompt, text: str) -> tuple[int, ...]:
        """The tokens of `text` as the continuation of a prompt."""
        before = self.encode(prompt.text)
        both = self.encode(prompt.text + text)
        if both[: len(before)] == before:
            return tuple(both[len(before) :])
        return tuple(self.encode(text))  # a token would span the boundary

    def plain(self, text: str) -> str:
        """The text without marks that mean something to the model."""
        return self._marks.broken(text)

    def encode(self, text: str) -> list[int]:
        """Token ids of a text exactly as given: nothing is added before or after.

        Raises:
            BadRequest: see `known`.
        """
        if not text:
            return []
        return self.known(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def known(self, tokens: Sequence[int]) -> list[int]:
        """The same tokens, all of which the model has an embedding for.

        Raises:
            BadRequest: it has not; computing them would end the batch, or the engine.
        """
        highest = max(tokens, default=0)
        if highest >= self._vocabulary:
            mark = self._tokenizer.convert_ids_to_tokens(highest)
            raise BadRequest(
                f"the tokenizer makes token {highest} of '{mark}', but the model knows only"
                f" {self._vocabulary} tokens",
                hint="leave that text out, or use the tokenizer that the model was trained with",
            )
        return list(tokens)

    def _encoder_text(self, messages: Sequence[Message]) -> str:
        if self._template is not None:
            return self.render(messages, answer=True)
        return TURN_SEPARATOR.join(self.plain(message.content) for message in messages)

    def render(
        self, messages: Sequence[Message], *, answer: bool, thinking: Thinking | None = None
    ) -> str:
        """Messages as the template writes them; with `answer` up to where an answer begins.

        Where the template has no system role, its text opens the first user message.

        Args:
            thinking: as `Sampling.thinking`.

        Raises:
            BadRequest: the template refuses the messages.
            Unsupported: it cannot be told what `thinking` says.
        """
        switch: Mapping[str, Any] = {}
        if thinking is not None:
            switch = template_variables(thinking, self._template, self._tokenizer.name_or_path)
        if self.folds_system:
            messages = fold_system(messages)
        try:
            return self._fill(messages, answer=answer, switch=switch)
        except jinja2.TemplateError as error:
            order = ", ".join(message.role for message in messages) or "no messages"
            raise BadRequest(
                f"the chat template refuses these messages ({order}): {error}",
                hint="give a chat_template=... that takes them",
            ) from error

    def _fill(self, messages: Sequence[Message], *, answer: bool, switch: Mapping[str, Any]) -> str:
        plain: list[Mapping[str, str]] = [
            {"role": message.role, "content": self.plain(message.content)} for message in messages
        ]
        return str(
            self._tokenizer.apply_chat_template(
                plain,
                chat_template=self._template,
                tokenize=False,
                add_generation_prompt=answer,
                **switch,
            )
        )

    def _rendered(self, messages: Sequence[Message]) -> str | None:
        """The messages as the template alone writes them, or None if it refuses them."""
        try:
            return self._fill(messages, answer=True, switch={})
        except jinja2.TemplateError:
            return None

    def _decoder_start(self, config: Any, generation_config: Any) -> tuple[int, ...]:
        start = generation_config.decoder_start_token_id
        if start is None:
            start = getattr(config, "decoder_start_token_id", None)
        if start is None:
            start = self._tokenizer.bos_token_id
        if start is None:
            raise ConfigError("the model does not say with which token its decoder begins")
        forced = generation_config.forced_bos_token_id
        return (start,) if forced is None else (start, forced)

    def _find_stop_tokens(self, config: Any, generation_config: Any) -> frozenset[int]:
        found: set[int | None] = set()
        for stated in (
            generation_config.eos_token_id,
            getattr(config, "eos_token_id", None),
            self._tokenizer.eos_token_id,
        ):
            found.update(stated if isinstance(stated, list) else [stated])
        self.end_of_turn = self._end_of_turn()
        """The control token that the template puts after an answer; None where it puts none."""
        found.add(self.end_of_turn)
        stops = frozenset(t for t in found if t is not None and t < self._vocabulary)
        if not stops:
            raise ConfigError("neither the model nor its tokenizer names a token that ends answers")
        return stops

    def _end_of_turn(self) -> int | None:
        """What follows an answer: in its own message, or at the beginning of the next one."""
        if self._template is None or self._seq2seq:
            return None
        talk = (Message("user", "Hello."), Message("assistant", _MARK), Message("user", "Hello."))
        for count in (2, 3):
            try:
                _, found, after = self.render(talk[:count], answer=False).rpartition(_MARK)
                tokens = self.encode(after.lstrip()) if found else []
            except BadRequest:
                continue
            if tokens:
                return tokens[0] if self._is_control(tokens[0]) else None
        return None

    def _is_control(self, token: int) -> bool:
        """Whether a token is a mark; many stand only among the tokens that were added."""
        added = self._tokenizer.added_tokens_decoder
        return token in self._tokenizer.all_special_ids or token in added


def _vocabulary(config: Any) -> int:
    """Tokens that a model has embeddings for."""
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    return int(getattr(text, "vocab_size", None) or sys.maxsize)
