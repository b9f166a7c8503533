"""How the model behind a server thinks: what is learned of it, and the room that it is given."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from ...core.errors import BadRequest, ConfigError, PolicyError, UnreadableReply, Unsupported
from ..base import FinishReason, Sampling, Usage
from ..text.aloud import Hear
from ..text.sentences import SentenceLimit
from ..text.tokens import estimated_tokens
from ..thinking.reader import Parted, ends_unopened, part
from ..thinking.switches import SwitchForm, server_fields
from ..thinking.watch import THINKING_TOKENS, SpokenSoFar
from .call import Call
from .client import OPENAI_URL
from .replies import Completion

ROOM = THINKING_TOKENS
"""Tokens for thinking where a model thinks and nothing is said about how much."""

MORE = 4
"""By how much the room grows each time that thinking left none for the answer."""

_FIELDS = ("reasoning_effort", "chat_template_kwargs", "enable_thinking", "think")


class Thoughts:
    """What one policy knows of how its model thinks.

    Args:
        base_url: the server.
        form: how the switch is sent.
        begun: whether the prompt ends within a block of thinking, so that answers hold only the
            mark that ends it; None finds out.
    """

    def __init__(self, base_url: str, form: SwitchForm, begun: bool | None) -> None:
        self._base_url, self._form = base_url, form
        self._stated = begun
        # by whether the request carries a switch: templates begin the thinking for one and not the other
        self._begun: dict[bool, bool] = {}
        self._thinks = self._unsure = False

    def is_ollama(self) -> None:
        """Keep in mind what kind of server this is."""
        if self._form == "auto":
            self._form = "ollama"

    def begun(self, sampling: Sampling) -> bool:
        """Whether an answer to such a request begins within a block of thinking."""
        if sampling.thinking == "off":
            return False
        if self._stated is not None:
            return self._stated
        return self._begun.get(sampling.thinking is not None, self._begun.get(False, False))

    def settled(self, sampling: Sampling) -> bool:
        """Whether `begun` is known of such a request: stated, or learned from an answer."""
        if sampling.thinking == "off" or self._stated is not None or self._begun.get(False):
            return True
        return (sampling.thinking is not None) in self._begun

    def reads_whole(self, sampling: Sampling) -> bool:
        """Whether an answer must be read to its end, since only that may show that all before it was
        thinking."""
        return not self.settled(sampling) and (sampling.thinking is not None or self._unsure)

    def enough(
        self,
        sampling: Sampling,
        sentences: int,
        whole: Callable[[str], str],
        hear: Hear | None = None,
    ) -> Callable[[str], bool] | None:
        """Whether a growing answer has said so many sentences; None where it must be read whole.

        Args:
            whole: the text to count in, of what was said so far.
            hear: is given that text.
        """
        if self.reads_whole(sampling):
            return None
        spoken, reached = SpokenSoFar(begun=self.begun(sampling)), SentenceLimit(sentences)

        def until(text: str) -> bool:
            said = spoken(text)
            if said is None:
                return False
            if hear is not None:
                hear(whole(said))
            return reached(whole(said))

        return until

    def tried(self) -> None:
        """The trial question is over: what it did not show is shown by the first whole answer."""
        self._unsure = not self.settled(Sampling())

    def fields(self, sampling: Sampling, *, answer: int, thinking: int) -> dict[str, Any]:
        """`max_tokens` and the switch, as they are sent.

        Args:
            answer: least `max_tokens` of the answer itself.
            thinking: tokens besides those of the answer.

        Raises:
            ConfigError: a limit of thinking without one of the answer, which makes no sum to send.
        """
        sent: dict[str, Any] = {}
        if sampling.max_tokens is not None:
            sent["max_tokens"] = max(sampling.max_tokens, answer) + thinking
        elif sampling.max_thinking_tokens is not None:
            raise ConfigError(
                "max_thinking_tokens is set without max_tokens; servers take the sum of both",
                hint="set max_tokens as well, the tokens of the answer alone",
            )
        if sampling.thinking is not None:
            form: str = self._form
            if form == "auto":
                own = self._base_url == OPENAI_URL
                form = "reasoning_effort" if own else "chat_template"
            sent |= server_fields(sampling.thinking, form)
        return sent

    def room(self, sampling: Sampling, eaten: int | None = None) -> int:
        """Tokens for thinking, besides those of the answer.

        Args:
            eaten: the room that was given before, which left none for the answer; None at first.
        """
        if sampling.thinking == "off":
            return 0
        if eaten is not None:
            return eaten * MORE or ROOM
        expected = self._thinks or sampling.thinking is not None or self.reads_whole(sampling)
        return sampling.max_thinking_tokens or (ROOM if expected else 0)

    def read(
        self, completion: Completion, sampling: Sampling, call: Call, *, free: bool = True
    ) -> Completion:
        """The answer with its thinking told from its text; learns from it.

        Args:
            call: its tokens of thinking are counted there.
            free: no form was laid over the answer and nothing of it was given, so that it could
                begin with thinking.

        Raises:
            Unsupported: it thought though it was told not to.
        """
        begun = self.begun(sampling)
        parted = part(completion.text, begun=begun)
        unknown = free and not self.settled(sampling)
        whole = completion.finish_reason is FinishReason.STOP
        if begun and parted.open and (whole or completion.thinking):
            # this once it did not think, or the server told its thinking apart
            parted = part(completion.text)
        elif ends_unopened(completion.text):
            self._begun[sampling.thinking is not None] = True
        elif unknown and _shows(completion, parted):
            self._begun[sampling.thinking is not None] = False
        elif unknown and sampling.thinking is not None and _is_cut(completion):
            parted = Parted(completion.text.strip(), "", open=True)  # no end of it in sight
        both = (completion.thinking.strip(), parted.thinking)  # some servers send it twice
        thinking = "\n\n".join(dict.fromkeys(filter(None, both)))
        if not thinking and not _hidden(completion):
            return dataclasses.replace(completion, text=parted.text)
        self._thinks = True
        if sampling.thinking == "off":
            raise Unsupported(
                f"{self._base_url} thought though thinking = 'off' was sent",
                hint="this server or model has no such switch, or another: set switch_form, or leave"
                " thinking out and set max_thinking_tokens",
            )
        answer = _counted(dataclasses.replace(completion, text=parted.text, thinking=thinking))
        if answer.usage is not completion.usage and answer.usage and call.usage:
            share = Usage(thinking_tokens=answer.usage.thinking_tokens, estimated=True)
            call.usage += share
        return answer

    def eaten(self, completion: Completion, sampling: Sampling, room: int) -> bool:
        """Whether thinking took the room of the answer, wholly or in part.

        Args:
            room: tokens that it had besides those of the answer.
        """
        if completion.finish_reason is not FinishReason.LENGTH:
            return False
        if completion.no_room:
            return True
        if not completion.text.strip():
            return bool(completion.thinking) or _hidden(completion)
        used = completion.usage.thinking_tokens if completion.usage else 0
        return sampling.max_tokens is not None and used > room

    def nothing_left(self, sampling: Sampling, room: int, asked: int) -> PolicyError:
        """The error where thinking left no room, however much there was."""
        limit = "the server's own limit"
        if sampling.max_tokens is not None:
            limit = f"{sampling.max_tokens + room} tokens ({sampling.max_tokens} for the answer,"
            limit += f" {room} for thinking)"
        return UnreadableReply(
            f"{self._base_url} thought until nothing was left for the answer, {asked} times, the"
            f" last time within {limit}",
            hint="raise max_thinking_tokens, or set thinking to 'off' or 'low'; if the model does not"
            " think, leave thinking out or set thinking_in_prompt = false",
        )

    def takes_other_form(self, error: BadRequest, sampling: Sampling) -> bool:
        """Whether a switch that was refused for its form can be sent in another; it is from then on.

        Services behind other addresses (Azure's) know OpenAI's field and no variables of templates.
        """
        by_guess = self._form == "auto" and self._base_url != OPENAI_URL
        if sampling.thinking is None or not by_guess or "chat_template_kwargs" not in error.message:
            return False
        self._form = "reasoning_effort"
        return True

    def refused_switch(self, error: BadRequest, sampling: Sampling) -> PolicyError | None:
        """The error for a request that the server refused for its switch; None for other reasons."""
        if sampling.thinking is None or not any(name in error.message for name in _FIELDS):
            return None
        hint = "another level, another switch_form (chat_template, reasoning_effort, ollama), or"
        hint += " leave thinking out for this role"
        if sampling.thinking == "off" and "minimal" in error.message:  # GPT-5 cannot but think
            hint = 'set thinking to "low", or leave it out and set extra_body ='
            hint += ' {reasoning_effort = "minimal"}'
        return Unsupported(
            f"thinking = '{sampling.thinking}' cannot be carried to {self._base_url}: {error.message}",
            hint=hint,
        )


def _shows(completion: Completion, parted: Parted) -> bool:
    """Whether an answer without the bare end of a block shows that none began in the prompt."""
    if completion.thinking or parted.thinking or parted.open:
        return True
    return completion.finish_reason is FinishReason.STOP and bool(completion.text.strip())


def _is_cut(completion: Completion) -> bool:
    return completion.finish_reason is FinishReason.LENGTH and bool(completion.text.strip())


def _hidden(completion: Completion) -> bool:
    return completion.usage is not None and completion.usage.thinking_tokens > 0


def _counted(completion: Completion) -> Completion:
    """With its thinking tokens: the server's number, else by the share of characters."""
    usage = completion.usage
    if usage is None or usage.thinking_tokens or not completion.thinking:
        return completion
    thought = estimated_tokens(completion.thinking)
    said = estimated_tokens(completion.text) if completion.text else 0
    share = round(usage.completion_tokens * thought / (thought + said))
    return dataclasses.replace(
        completion, usage=dataclasses.replace(usage, thinking_tokens=share, estimated=True)
    )
