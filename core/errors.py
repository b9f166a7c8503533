"""The deliberate errors of Warmline, and what each means for the work under way.

The whole error policy:

* A `PolicyError` ends the one episode in which it was raised; the episode is kept as data, with the
  error in its record. If `fatal` is set, every other episode would fail the same way (a wrong key,
  an unknown model), so the run stops too; what is finished stays finished.
* A `ConfigError`, `DataError` or `RunError` stops the command before or between episodes.
* Anything else that a policy or an agent raises is a bug of it (`PolicyCrashed`). Before a run has an
  episode to show, it stops the run with its traceback; later it ends that one episode, whose record
  keeps the traceback.
* Anything that is not a `WarmlineError` elsewhere is a bug of ours, and stops the run.

Every message says what was asked, what exists, and (the hint) what to try next.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path

from .outside.secrets import hide_secrets
from .outside.text import clean_text

NOTHING_CAME = 3
"""Exit code of a command that ran to its end, and of which nothing can be used."""


class WarmlineError(Exception):
    """Base of all deliberate errors.

    Messages may quote what a server or a file said, so known secrets are hidden in them, and what no
    text can hold is replaced.

    Args:
        message: what was asked and what is wrong with it.
        hint: the next thing to try.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        message = hide_secrets(clean_text(message))
        super().__init__(message)
        self.message = message
        self.hint = hint and hide_secrets(clean_text(hint))

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class ConfigError(WarmlineError):
    """Settings that cannot be run. Holds every problem found, not just the first.

    Args:
        message: the summary, or the one problem.
        problems: one line a problem; printed below the summary.
    """

    def __init__(
        self, message: str, *, problems: Sequence[str] = (), hint: str | None = None
    ) -> None:
        super().__init__("\n".join([message, *(f"  - {p}" for p in problems)]), hint=hint)
        self.problems = tuple(problems)


class PolicyNotFound(ConfigError):
    """No policy goes by that name."""


class WrapperNotFound(ConfigError):
    """No wrapper goes by that name."""


class MissingExtra(ConfigError):
    """A part of Warmline whose libraries are not installed."""

    def __init__(self, what: str, *, extra: str) -> None:
        super().__init__(
            f"{what} needs libraries that are not installed", hint=how_to_install(extra)
        )


def how_to_install(extra: str) -> str:
    """The command that brings an extra's libraries, from an index and in a clone."""
    return f"pip install 'warmline[{extra}]'; in a clone pip install -e '.[{extra}]'"


class DataError(WarmlineError):
    """A file whose content cannot be used; names the file, and the line and field where known.

    Attributes:
        reason: the message without the place.
    """

    def __init__(
        self,
        message: str,
        *,
        file: str | Path,
        line: int | None = None,
        field: str | None = None,
        hint: str | None = None,
    ) -> None:
        place = str(file) if line is None else f"{file}, line {line}"
        if field:
            place += f", field '{field}'"
        super().__init__(f"{place}: {message}", hint=hint)
        self.file, self.line, self.field = Path(file), line, field
        self.reason = message


class RunError(WarmlineError):
    """The run cannot start or go on (changed settings, locked log, full disk)."""


class InUse(RunError):
    """Another process is writing the file."""


class Interrupted(RunError):
    """The run was asked to stop; what is finished is in the log.

    Attributes:
        exit_code: of the command: 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP.
    """

    exit_code = 130


class PolicyError(WarmlineError):
    """A policy could not answer a request.

    Attributes:
        retryable: asking again may help. A policy retries on its own first; what reaches the
            environment has already been retried.
        fatal: every other request would fail the same way, so the run stops.
    """

    retryable = False
    fatal = False


class Unsupported(PolicyError):
    """The request sets an option that this engine cannot honour; it is never ignored."""

    fatal = True


class AuthenticationFailed(PolicyError):
    """The server refused the key."""

    fatal = True


class ModelNotFound(PolicyError):
    """The engine does not hold the model that was asked for."""

    fatal = True


class EngineUnavailable(PolicyError):
    """The engine cannot be reached, or went away."""

    retryable = True


class EngineTimeout(PolicyError):
    """The engine did not answer within the time allowed."""

    retryable = True


class RateLimited(PolicyError):
    """The server asked us to slow down more often than it said to wait."""

    retryable = True


class BadRequest(PolicyError):
    """The engine refused the request itself; the same request will be refused again."""


class ContentRefused(BadRequest):
    """A content filter stopped the question or the answer, or the model itself refused to answer.

    In the seat of an adviser the answer is then missing; in that of a speaker the conversation ends.
    """


class ContextTooLong(PolicyError):
    """Prompt and answer do not fit into the model's context.

    Args:
        prompt_tokens: tokens in the prompt.
        context_tokens: tokens the engine can hold.
    """

    def __init__(self, *, prompt_tokens: int | None, context_tokens: int | None) -> None:
        asked = "the prompt" if prompt_tokens is None else f"a prompt of {prompt_tokens} tokens"
        room = "the context" if context_tokens is None else f"a context of {context_tokens} tokens"
        super().__init__(
            f"{asked} does not fit into {room}",
            hint="lower history_window or the number of case dialogues, or give the engine a larger"
            " context",
        )
        self.prompt_tokens, self.context_tokens = prompt_tokens, context_tokens


class InvalidReply(PolicyError):
    """A policy's reply has a field that a record cannot hold."""


class NotAReply(InvalidReply):
    """A policy's `respond` is not asynchronous, or gives something that is not a `Reply`."""

    fatal = True


class NotAnAction(PolicyError):
    """An agent's `request` or `read` gives something that its role does not do."""

    fatal = True


class RedirectRefused(PolicyError):
    """A server redirects to another server, which would be sent the whole prompt."""

    fatal = True


class ReplyTooLong(PolicyError):
    """The engine answered with more text than is taken; reading stopped there.

    Args:
        chars: characters read so far, or None if the body was refused before it was decoded.
        most: characters allowed.
    """

    def __init__(self, *, chars: int | None, most: int) -> None:
        read = "more than fits" if chars is None else f"{chars:,} characters so far"
        super().__init__(
            f"the reply is longer than the {most:,} characters allowed ({read})",
            hint="set max_tokens, or raise max_reply_chars if such replies are meant",
        )
        self.chars, self.most = chars, most


class UnreadableReply(PolicyError):
    """The engine answered, but not in the form that was asked for, after the bounded re-asks."""

    retryable = True


class BudgetExceeded(PolicyError):
    """What may be spent is spent. The run stops; the same command with a larger budget resumes it."""

    fatal = True


class PolicyCrashed(PolicyError):
    """A policy or an agent raised something that is not a deliberate error: a bug in it.

    Attributes:
        original: what it raised.
    """

    def __init__(self, original: Exception) -> None:
        try:
            said = str(original) or "no message"
        except Exception as error:  # noqa: BLE001 - whatever a user's class does
            said = f"its message cannot be read ({type(error).__name__})"
        super().__init__(said, hint="the episode's error holds the traceback")
        self.original = original


class AllFailed(PolicyError):
    """Every policy of a fallback failed; the message says how each did."""


class ParticipantLeft(PolicyError):
    """A person in a seat ended the conversation; the episode closes normally."""


def did_you_mean(asked: str, known: Iterable[str]) -> str | None:
    """The hint `did you mean 'x'?` for the known name closest to `asked`, or None."""
    close = difflib.get_close_matches(asked, list(known), n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else None
