"""Rows into token ids and labels: loss lies on the learned replies and the token that ends each.

Prompts are written by the `transformers` policy's own `PromptWriter`, so a model is trained on
exactly the prompts that it gets when it is seated. What a template writes after the end-of-turn
token (a line break, mostly) is context for later turns and never learned.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ...core.errors import ConfigError
from ...policies.base import Message, Request
from ...policies.models.prompts import PromptWriter
from ...policies.thinking.reader import opened_by
from .build import BadRow, Row
from .room import Room
from .settings import TurnRowSettings
from .spool import Spool

TAIL = 8
"""Characters by which the end of a question is recognised in another text."""

IGNORED = -100
"""The label of a token without loss."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A row in tokens.

    Attributes:
        input_ids: prompt and replies; for an encoder-decoder what the encoder reads.
        labels: the token itself where it carries loss, else -100; the token that ends a reply where
            the template lets the next message follow at once. As long as `input_ids`; for an
            encoder-decoder as long as `decoder_input_ids`, and already what each place predicts.
        decoder_input_ids: of an encoder-decoder; else None.
        parents: of a tree of rows, see `trees.py`: for each token the place of the one before it,
            -1 for the first; None where that is simply the place before.
    """

    input_ids: list[int]
    labels: list[int]
    decoder_input_ids: list[int] | None = None
    parents: list[int] | None = None

    @property
    def tokens(self) -> int:
        """Length, of both sides together."""
        return len(self.input_ids) + len(self.decoder_input_ids or ())

    @property
    def learned(self) -> int:
        """Tokens that carry loss."""
        return sum(label != IGNORED for label in self.labels)


class RowEncoder:
    """Encodes rows for one model.

    Args:
        tokenizer, config, generation_config: the model's.
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
        self.writer = PromptWriter(
            tokenizer, config, generation_config, chat_template=chat_template
        )
        self._tokenizer = tokenizer
        self.apart = self._seq2seq = bool(config.is_encoder_decoder)
        """Whether an encoder reads the prompt and a decoder writes the reply."""
        ends = (self.writer.end_of_turn, tokenizer.eos_token_id, min(self.writer.stop_tokens))
        self._end: int = next(end for end in ends if end in self.writer.stop_tokens)

    def encode(self, row: Row) -> Encoded:
        """Token ids and labels of one row.

        Raises:
            ConfigError: several replies are learned from an encoder-decoder's row; or a template
                that writes replies in a way in which they cannot be found again.
            BadRequest: the template refuses the messages.
        """
        if self._seq2seq:
            return self._encode_pair(row)
        if row.trained == (len(row.messages) - 1,):
            return self._encode_turn(row)
        return self._encode_chat(row)

    def _encode_pair(self, row: Row) -> Encoded:
        if len(row.trained) != 1:
            raise ConfigError(
                f"row '{row.id}' has {len(row.trained)} replies, and an encoder-decoder learns one",
                hint="per = 'turn' makes a row of each reply",
            )
        self._refuse_thinking(row)
        prompt = self.writer.write(Request(messages=row.prompt))
        reply = [*self.writer.encode(self.writer.plain(row.reply)), self._end]
        start = list(prompt.start)
        unlearned = [IGNORED] * (len(start) - 1)
        return Encoded(list(prompt.tokens), unlearned + reply, start + reply[:-1])

    def _encode_turn(self, row: Row) -> Encoded:
        """The prompt's own ids come first, as when the model is asked, whatever the joint is."""
        self._refuse_thinking(row)
        before, whole = self._texts(row.messages, row.trained[0], row.thinking)
        prompt = self.writer.encode(before)
        joined = self.writer.encode(whole)
        if joined[: len(prompt)] == prompt:
            reply = joined[len(prompt) :]
        else:  # a token would reach over the joint
            reply = self.writer.encode(whole[len(before) :])
        reply = self._ended(reply)
        return Encoded(prompt + reply, [IGNORED] * len(prompt) + reply)

    def _encode_chat(self, row: Row) -> Encoded:
        """One pass over the whole text; the offsets of its tokens tell which belong to replies."""
        whole = self.writer.render(row.messages, answer=False)
        spans = [self._span(row.messages, index, whole) for index in row.trained]
        encoded = self._tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
        ids = self.writer.known(encoded["input_ids"])
        labels = [IGNORED] * len(ids)
        places = list(enumerate(encoded["offset_mapping"]))
        for start, end in spans:
            inside = [
                n for n, (left, right) in places if left >= start and left < end and right > left
            ]
            after = next((n for n, (left, _) in places if left >= end), len(places))
            for n, token in zip(
                [*inside, after], self._ended([ids[n] for n in inside]), strict=False
            ):
                if n == len(ids):  # nothing ends the last reply
                    ids.append(token)
                    labels.append(IGNORED)
                labels[n] = token
        last = max(n for n, label in enumerate(labels) if label != IGNORED) + 1
        return Encoded(ids[:last], labels[:last])

    def _ended(self, reply: list[int]) -> list[int]:
        """Up to and with the first token that ends an answer; closed by one if there is none."""
        for n, token in enumerate(reply):
            if token in self.writer.stop_tokens:
                return reply[: n + 1]
        return [*reply, self._end]

    def _refuse_thinking(self, row: Row) -> None:
        if row.thinking and self.writer.thinking is None:
            raise ConfigError(
                f"row '{row.id}' has thinking to learn, and the chat template knows no marks for it",
                hint="thinking = false, or a base model (or chat_template) that thinks",
            )

    def _texts(
        self, messages: Sequence[Message], index: int, thinking: str = ""
    ) -> tuple[str, str]:
        """The text up to where reply `index` begins, and with it; the first begins the second.

        Where the template begins the thinking when it asks, the reply begins by ending it, thought
        or not: so it must when the model is asked.
        """
        whole = self.writer.render(messages[: index + 1], answer=False)
        asked = self.writer.render(messages[:index], answer=True)
        begun = opened_by(asked) is not None
        if self.writer.thinking is not None and (thinking or begun):
            reply = self.writer.plain(messages[index].content).strip()
            _, found, after = whole.rpartition(reply)
            if found:
                block = self.writer.thinking.answer_after(
                    self.writer.plain(thinking), begun=begun, closed=False
                )
                return asked, f"{asked}{block}{reply}{after}"
        if whole.startswith(asked):
            return asked, whole
        reply = self.writer.plain(messages[index].content).strip()
        start = whole.rfind(reply) if reply else -1
        if start < 0:
            raise ConfigError(
                "the chat template does not write the assistant's replies as they are",
                hint="give a chat_template that does",
            )
        # the template writes a finished chat otherwise than it asks: what follows the end of the
        # question belongs to the reply (a space, mostly)
        tail = asked[-TAIL:]
        end = whole.rfind(tail, 0, start) + len(tail)
        near = end >= len(tail) and start - end < TAIL
        return asked, asked + whole[end if near else start :]

    def _span(self, messages: Sequence[Message], index: int, whole: str) -> tuple[int, int]:
        """Where in the text of all messages reply `index` stands, with what follows it."""
        begun, through = self._texts(messages, index)
        if whole.startswith(through):
            return len(begun), len(through)
        raise ConfigError(
            "the chat template writes earlier messages differently once others follow, so several"
            " replies of one conversation cannot be learned from one row",
            hint="per = 'turn' makes a row of each reply",
        )


def encode_rows(
    encoder: RowEncoder, rows: Iterable[Row], room: Room | int
) -> tuple[Spool[Encoded], Spool[Row], list[BadRow]]:
    """The encoded rows with their rows, and those for which there is no room.

    Args:
        room: as a number, of tokens for prompt and reply together.
    """
    room = Room(room, room) if isinstance(room, int) else room
    encoded: Spool[Encoded] = Spool()
    kept: Spool[Row] = Spool()
    bad: list[BadRow] = []
    for row in rows:
        made = encoder.encode(row)
        reply = len(made.decoder_input_ids or ())
        if fault := room.fault(len(made.input_ids), reply, apart=encoder.apart):
            bad.append(BadRow(row.id, "too_long", fault))
            continue
        encoded.append(made)
        kept.append(row)
    return encoded, kept, bad


LOOKED_AT = 200
"""Rows of which an error names the shortest."""


def too_long_error(
    encoder: RowEncoder, rows: Sequence[Row], room: Room, settings: TurnRowSettings
) -> ConfigError:
    """The refusal where no row fits, with the numbers that say what would."""
    some = rows[:LOOKED_AT]
    shortest = min(encoder.encode(row).tokens for row in some)
    told = [f"the shortest of {len(some)} has {shortest} tokens"]
    if some[0].messages[0].role == "system":
        system = encoder.writer.encode(encoder.writer.plain(some[0].messages[0].content))
        told.append(f"the system message alone has {len(system)}")
    return ConfigError(
        f"all {len(rows)} rows are longer than the {room.longest} tokens that there are for them"
        f" (max_tokens {room.tokens}, positions of the model {room.positions})",
        problems=told,
        hint=room.hint(settings),
    )
