"""Opening the `openai` policy: which model is meant, and a trial question to it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from ...core.errors import (
    BadRequest,
    ConfigError,
    ContextTooLong,
    RateLimited,
    ReplyTooLong,
    UnreadableReply,
)
from .call import Call
from .client import ChatClient
from .replies import Completion
from .served import ServedModel, not_served

PROBE_TOKENS = 256
"""Tokens of the trial answer: enough for a model to end what it thinks about two words; some servers
refuse very few."""


def only_model(served: list[ServedModel] | None, base_url: str) -> str:
    """The name of the only model served.

    Raises:
        ConfigError: there is not exactly one.
    """
    if served is not None and len(served) == 1:
        return served[0].name
    names = ", ".join(sorted(entry.name for entry in served or ())) or "does not say which"
    raise ConfigError(
        f"no model named, and {base_url} serves {len(served or ()) or 'some'}: {names}",
        hint="set model to one of them",
    )


def refuse_any_name(served: list[ServedModel] | None, model: str, base_url: str) -> None:
    """Refuse a name that llama.cpp does not serve: it would answer under any, and the record would
    name a model that never answered.

    Raises:
        ModelNotFound: names what it serves.
    """
    owners = {entry.owner for entry in served or ()}
    if owners == {"llamacpp"} and not _is_served(served, model):
        raise not_served(base_url, model, served or [])


async def try_out(
    client: ChatClient,
    extra_body: Mapping[str, Any],
    served: list[ServedModel] | None,
    call: Call,
) -> Completion | None:
    """Ask a trial question. A list of models is public on many servers, so that it shows nothing
    about the key, and incomplete on some (adapters, proxies).

    Returns:
        The answer; None where there is none.

    A server that dislikes the question itself, or is busy with others, does not stop a run: a
    warning says so.

    Raises:
        AuthenticationFailed: the key is refused.
        ModelNotFound: the model is not served.
        EngineUnavailable, EngineTimeout: nobody answers.
    """
    probe = {**extra_body, "messages": [{"role": "user", "content": "Just say OK."}]}
    try:
        # with a seed, as all calls of a run: whether the server takes one is among our capabilities
        return await client.chat({**probe, "max_tokens": PROBE_TOKENS, "seed": 0}, call)
    except (BadRequest, ContextTooLong, RateLimited, UnreadableReply, ReplyTooLong) as error:
        if served and not _is_served(served, client.model):
            raise not_served(client.base_url, client.model, served) from error
        warnings.warn(
            f"{client.base_url} did not answer the trial question ({error.message}); the run"
            " begins all the same",
            stacklevel=2,
        )
        return None


def _is_served(served: list[ServedModel] | None, model: str) -> bool:
    return any(entry.name == model for entry in served or ())
