"""Opening the `openai` policy: which model is meant, and a trial question to it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ...core.errors import (
    BadRequest,
    ConfigError,
    ContextTooLong,
    PolicyError,
    RateLimited,
    ReplyTooLong,
    UnreadableReply,
    did_you_mean,
)
from ..base import FinishReason, Sampling
from ..endpoints.served import ServedModel, not_served, shown_names
from .call import Call
from .pool import ClientPool
from .replies import Completion
from .thoughts import ROOM, Thoughts

PROBE_TOKENS = 256
"""Tokens of the trial answer: enough for most models to end what they think about two words; some
servers refuse very few."""


def only_model(served: list[ServedModel] | None, base_url: str) -> str:
    """The name of the only model served.

    Raises:
        ConfigError: there is not exactly one.
    """
    if served is not None and len(served) == 1:
        return served[0].name
    if not served:
        raise ConfigError(
            f"no model named, and {base_url} does not list what it serves",
            hint="set model to the name under which the server serves it",
        )
    names = ", ".join(sorted(entry.name for entry in served))
    raise ConfigError(
        f"no model named, and {base_url} serves {len(served)}: {names}",
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


def warn_of_unlisted(served: list[ServedModel] | None, model: str, base_url: str) -> None:
    """Warn of a name that a server answers to and does not list: it may be mistyped, and the record
    would name a model that never answered. A list may leave out adapters and what a proxy reaches.
    """
    if served and not _is_served(served, model):
        meant = did_you_mean(model, [entry.name for entry in served])
        warnings.warn(
            f"{base_url} answers to '{model}', but lists only {shown_names(served)}: another model"
            f" may be answering under this name{'; ' + meant if meant else ''}",
            stacklevel=3,
        )


async def learn_thinking(
    client: ClientPool,
    thoughts: Thoughts,
    extra_body: Mapping[str, Any],
    served: list[ServedModel] | None,
) -> None:
    """Ask the trial question and learn from the answer how the model thinks; see `try_out`.

    An answer that its limit cut off may be thinking that began in the prompt, of which only the end
    is marked. It is asked for once more with room for that end, and a warning says if none came.
    """
    call, plain = Call(), Sampling()
    answer = await try_out(client, extra_body, served, call)
    if answer is not None:
        thoughts.read(answer, plain, call)
    if answer and answer.finish_reason is FinishReason.LENGTH and not thoughts.settled(plain):
        longer = None
        # a server may not take so many tokens, or not write them in time; the first answer stands
        with suppress(PolicyError):
            longer = await client.chat(
                {**_probe(extra_body), "max_tokens": ROOM}, call, retry=False
            )
        if longer is not None:
            thoughts.read(longer, plain, call)
        if not thoughts.settled(plain):
            warnings.warn(
                f"'{client.model}' at {client.base_url} did not end its answer to the trial question"
                f" within {ROOM if longer else PROBE_TOKENS} tokens. If it thinks and its chat"
                " template begins the thinking, set thinking_in_prompt = true; if not, set it to"
                " false. Until an answer shows which, answers are read to their end",
                stacklevel=2,
            )
    thoughts.tried()


async def try_out(
    client: ClientPool,
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
    try:
        return await client.chat({**_probe(extra_body), "max_tokens": PROBE_TOKENS}, call)
    except (BadRequest, ContextTooLong, RateLimited, UnreadableReply, ReplyTooLong) as error:
        if served and not _is_served(served, client.model):
            raise not_served(client.base_url, client.model, served) from error
        warnings.warn(
            f"{client.base_url} did not answer the trial question ({error.message}); the run"
            " begins all the same",
            stacklevel=2,
        )
        return None


def _probe(extra_body: Mapping[str, Any]) -> dict[str, Any]:
    # with a seed, as all calls of a run: whether the server takes one is among our capabilities
    return {**extra_body, "messages": [{"role": "user", "content": "Just say OK."}], "seed": 0}


def _is_served(served: list[ServedModel] | None, model: str) -> bool:
    return any(entry.name in (model, f"{model}:latest") for entry in served or ())
