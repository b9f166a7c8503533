"""The `autogen` policy: any AutoGen `ChatCompletionClient`.

Left out: log-probabilities and stopping early, since AutoGen's interface promises neither, and
prefill. A schema is asked for in words and checked, with the client's JSON mode where the model has
one: AutoGen takes pydantic classes, not JSON schemas.
"""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...core.errors import (
    AuthenticationFailed,
    ConfigError,
    ContentRefused,
    MissingExtra,
    PolicyNotFound,
    UnreadableReply,
    Unsupported,
    did_you_mean,
)
from ...core.outside.secrets import hide_secrets, register_secrets_in, without_secrets
from ...core.outside.text import clean_text
from ...core.plugins import is_import_string
from ..answers import (
    choice_instruction,
    match_choice,
    read_json,
    schema_instruction,
    with_instruction,
)
from ..base import (
    DRAWING,
    BasePolicy,
    Capabilities,
    FinishReason,
    Message,
    Reply,
    Request,
    Sampling,
    Usage,
)
from ..reasking import ask_until_read
from ..text.control_marks import PUBLISHED_MARKS
from ..thinking.reader import part
from .errors import client_error

if TYPE_CHECKING:
    from autogen_core.models import ChatCompletionClient, CreateResult, LLMMessage

_FIELDS = tuple(f.name for f in dataclasses.fields(Sampling))
_STANDARD = {name: name for name in ("temperature", "top_p", "max_tokens")}
_KNOWN: dict[str, dict[str, str]] = {
    "openai": _STANDARD,
    "azure": _STANDARD,
    "anthropic": {**_STANDARD, "top_k": "top_k"},
    "ollama": {
        "temperature": "temperature",
        "top_p": "top_p",
        "top_k": "top_k",
        "repetition_penalty": "repeat_penalty",
        "max_tokens": "num_predict",
    },
    "replay": {name: name for name in DRAWING},  # recorded answers: nothing is drawn
}
"""What AutoGen's own clients call our sampling fields, by the part of their module's name."""


class AutogenClientPolicy(BasePolicy):
    """Asks an AutoGen model client.

    Args:
        client: a `ChatCompletionClient`; or an import string (`my_package.module:make_client`) of
            one or of a function that makes one; or AutoGen's component config (a mapping with
            `provider` and `config`). One client serves all requests; closing the policy closes it.
        sampling: the `Sampling` fields that the client takes as arguments of the same name, or a
            mapping to the names it uses. By default what AutoGen's own clients for OpenAI, Azure,
            Anthropic, Ollama and replay take; none for others. A request that sets another field is
            refused.
        seed: pass the request's seed on as the argument `seed` (or of the name given). Off by
            default, since not every model takes it; the engine is then not reproducible.
        reasks: further questions after an answer that is empty or not in the form asked for.

    Transient failures are retried by the client, as it is set up; here they are only reported.

    Raises:
        ConfigError: `client` neither is nor makes a client, or `sampling` names an unknown field.
        MissingExtra: autogen-ext is not installed.
    """

    name = "autogen"
    capabilities = Capabilities(schema=True, max_sentences=False)
    """At most; the client decides whether it takes a seed."""

    def __init__(
        self,
        client: ChatCompletionClient | Callable[[], ChatCompletionClient] | Mapping[str, Any] | str,
        *,
        sampling: Sequence[str] | Mapping[str, str] | None = None,
        seed: bool | str = False,
        reasks: int = 2,
    ) -> None:
        if reasks < 0:
            raise ConfigError(f"reasks must be at least 0, not {reasks}")
        self.client = load_client(client)
        self._arguments = _arguments(self.client, sampling)
        self._seed_argument = "seed" if seed is True else seed or ""
        self._reasks = reasks
        self._model = _config(self.client).get("model")
        self._title = f"AutoGen client {type(self.client).__name__}"
        self.capabilities = Capabilities(
            schema=True,
            max_sentences=False,
            seed=bool(self._seed_argument),
            sampling=frozenset(self._arguments),
        )

    @property
    def id(self) -> str:
        """The name in records and price tables: `autogen:<model>`, where the client names one."""
        return f"{self.name}:{self._model}" if self._model else self.name

    async def aclose(self) -> None:
        """Close the client."""
        await self.client.close()

    def describe(self) -> dict[str, Any]:
        """The client's class and settings without secrets, and what is passed on to it."""
        kind = type(self.client)
        return {
            "policy": self.name,
            "client": f"{kind.__module__}:{kind.__qualname__}",
            "config": _config(self.client),
            "sampling": dict(sorted(self._arguments.items())),
            "seed": self._seed_argument,
            "reasks": self._reasks,
        }

    async def respond(self, request: Request) -> Reply:
        """Answer one request; see `Policy.respond` and `errors.py`.

        Raises:
            UnreadableReply: the answer was never in the form asked for, or was a tool call.
            BadRequest: a content filter stopped the answer.
        """
        self.check(request)
        if request.choices is not None and request.schema is not None:
            raise Unsupported(f"policy '{self.name}' cannot honour choices and schema together")
        started = time.perf_counter()
        messages, correction, read = _form(request)
        history = list(messages)

        async def ask(again: Request) -> CreateResult:
            return await self._create(again, history)

        def read_or_correct(result: CreateResult) -> str | None:
            answer = part(_text(result, self._title)).text
            if (text := read(answer)) is None and answer.strip() and correction:
                history.extend([Message("assistant", answer), Message("user", correction)])
            return text

        text, results = await ask_until_read(request, ask, read_or_correct, reasks=self._reasks)
        if text is not None:
            return self._reply(request, text, results, time.perf_counter() - started)
        raise UnreadableReply(
            f"{self._title} was asked {self._reasks + 1} times; its last answer was"
            f" {hide_secrets(_text(results[-1], self._title))[:200]!r}",
            hint="a larger max_tokens or a larger model may help",
        )

    async def _create(self, request: Request, messages: Sequence[Message]) -> CreateResult:
        from autogen_core import CancellationToken

        arguments = {
            self._arguments[name]: value for name, value in request.sampling.as_dict().items()
        }
        if self._seed_argument and request.seed is not None:
            arguments[self._seed_argument] = request.seed % 2**31
        as_json = request.schema is not None and self.client.model_info["json_output"]
        token = CancellationToken()
        try:
            return await self.client.create(
                _messages(messages),
                json_output=True if as_json else None,
                extra_create_args=arguments,
                cancellation_token=token,
            )
        except asyncio.CancelledError:
            token.cancel()
            raise
        except Exception as error:
            # A client raises whatever its library raises: one boundary, cause kept.
            failure = client_error(error, self._title)
            if isinstance(failure, AuthenticationFailed):
                raise failure from None  # the library's message may repeat the key
            raise failure from error

    def _reply(
        self, request: Request, text: str, spent: Sequence[CreateResult], seconds: float
    ) -> Reply:
        return Reply(
            text=text,
            finish_reason=_finish_reason(request, spent[-1]),
            usage=_usage(spent),
            latency=seconds,
            policy=self.id,
            attempts=len(spent),
            cached=all(result.cached for result in spent),
            thinking=_thinking(spent[-1], self._title),
        )


def load_client(given: Any) -> ChatCompletionClient:
    """A client from what `AutogenClientPolicy` takes as one.

    Raises:
        ConfigError: it is not one.
        MissingExtra: autogen-ext is not installed.
    """
    from autogen_core.models import ChatCompletionClient
    from pydantic import ValidationError

    found: Any = given
    register_secrets_in(given)
    try:
        if isinstance(given, str):
            found = _imported(given)
        elif isinstance(given, Mapping):
            found = ChatCompletionClient.load_component(dict(given))
        if callable(found) and not isinstance(found, ChatCompletionClient):
            found = found()
    except ModuleNotFoundError as error:
        raise _not_installed(error) from error
    except ValidationError as error:  # its own text would show the values, keys among them
        problems = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise ConfigError(f"{_shown(given)} does not fit", problems=problems) from None
    except (TypeError, ValueError, AttributeError, NotImplementedError, ImportError) as error:
        raise ConfigError(
            f"no AutoGen client can be made from {_shown(given)}: {error}",
            hint="give a client, an import string, or a mapping with provider and config",
        ) from error
    if not isinstance(found, ChatCompletionClient):
        raise ConfigError(f"the autogen policy needs a ChatCompletionClient, not {found!r}")
    return found


def _imported(path: str) -> Any:
    module_name, _, attribute = path.partition(":")
    if not is_import_string(path):
        raise ConfigError(
            f"no AutoGen client named '{path}'",
            hint="give an import string such as 'my_package.module:make_client'",
        )
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        named = error.name is not None and f"{module_name}.".startswith(f"{error.name}.")
        if not named or module_name.startswith("autogen_ext."):
            raise
        raise PolicyNotFound(f"client '{path}': no module named '{error.name}'") from error
    if not hasattr(module, attribute):
        raise PolicyNotFound(
            f"client '{path}': module '{module_name}' has no '{attribute}'",
            hint=did_you_mean(attribute, vars(module)),
        )
    return getattr(module, attribute)


def _not_installed(error: ModuleNotFoundError) -> ConfigError:
    missing = str(error.name)
    if missing.split(".")[0] == "autogen_ext":
        return MissingExtra("an AutoGen model client", extra="autogen")
    return ConfigError(
        f"the AutoGen client needs '{missing}', which is not installed",
        hint="install the client's extra, such as autogen-ext[openai], [anthropic] or [ollama]",
    )


def _shown(given: Any) -> str:
    """What was given, without the keys that it may hold."""
    if isinstance(given, Mapping):
        return f"the component config of {given.get('provider', 'no provider')!r}"
    return repr(given)


def _arguments(
    client: ChatCompletionClient, stated: Sequence[str] | Mapping[str, str] | None
) -> dict[str, str]:
    """The client's names for the sampling fields that it takes."""
    if stated is None:
        kind = type(client).__module__.split(".")
        return dict(_KNOWN.get(kind[2], {})) if kind[:2] == ["autogen_ext", "models"] else {}
    names = dict(stated) if isinstance(stated, Mapping) else {name: name for name in stated}
    if problems := [
        f"'{name}' is not a sampling field" + (f"; {hint}" if hint else "")
        for name in names
        if name not in _FIELDS
        for hint in [did_you_mean(name, _FIELDS)]
    ]:
        raise ConfigError("the autogen policy cannot be set up", problems=problems)
    return names


def _config(client: ChatCompletionClient) -> dict[str, Any]:
    """The client's own settings as plain data, or what it says of its model if it keeps them."""
    from pydantic import BaseModel

    try:
        dumped = client.dump_component().config
    except (TypeError, ValueError, AttributeError, NotImplementedError):
        return {"model_info": dict(client.model_info)}

    def plain(value: Any) -> Any:
        if isinstance(value, BaseModel):
            return plain(value.model_dump())
        if isinstance(value, Mapping):
            return {str(key): plain(part) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [plain(part) for part in value]
        return value if isinstance(value, bool | int | float | str | None) else str(value)

    config: dict[str, Any] = without_secrets(plain(dumped))
    return config


def _form(request: Request) -> tuple[list[Message], str, Callable[[str], str | None]]:
    """What is asked, what is said after an answer in another form, and how an answer is read."""
    if (options := request.choices) is not None:
        if not options:
            raise Unsupported("choices must hold at least one option")
        instruction = choice_instruction(options)
        asked = with_instruction(request.messages, instruction)
        return asked, instruction, lambda text: match_choice(text, options)
    if (schema := request.schema) is not None:
        instruction = schema_instruction(schema)

        def read(text: str) -> str | None:
            fitting = read_json(text, schema)
            return None if fitting is None else fitting[0]

        return with_instruction(request.messages, instruction), instruction, read
    return list(request.messages), "", lambda text: text.strip() or None


def _messages(messages: Sequence[Message]) -> list[LLMMessage]:
    """In AutoGen's types, new for each call: some clients change them."""
    from autogen_core.models import AssistantMessage, SystemMessage, UserMessage

    made: list[LLMMessage] = []
    for message in messages:
        text = PUBLISHED_MARKS.broken(message.content)
        if message.role == "system":
            made.append(SystemMessage(content=text))
        elif message.role == "user":
            made.append(UserMessage(content=text, source="user"))
        else:
            made.append(AssistantMessage(content=text, source="assistant"))
    return made


def _text(result: CreateResult, title: str) -> str:
    if result.finish_reason == "content_filter":
        raise ContentRefused(
            "the server's content filter stopped the answer",
            hint="a filter that allows talk of distress is needed for this subject",
        )
    if not isinstance(result.content, str):
        raise UnreadableReply(f"{title} answered with a tool call, though it was given no tools")
    return clean_text(result.content)


def _thinking(result: CreateResult, title: str) -> str | None:
    """What the model thought: told apart by the client, or in its text."""
    parts = ((result.thought or "").strip(), part(_text(result, title)).thinking)
    return "\n\n".join(filter(None, parts)) or None


def _finish_reason(request: Request, result: CreateResult) -> FinishReason:
    if request.choices is not None:
        return FinishReason.CHOICE
    # Anthropic's "max_tokens" reaches us as "unknown".
    limit = request.sampling.max_tokens
    full = limit is not None and result.usage.completion_tokens >= limit
    cut = result.finish_reason == "length" or (result.finish_reason == "unknown" and full)
    return FinishReason.LENGTH if cut else FinishReason.STOP


def _usage(spent: Sequence[CreateResult]) -> Usage | None:
    """Tokens of all answers. AutoGen says 0 where the server says nothing."""
    if any(r.usage.prompt_tokens + r.usage.completion_tokens == 0 for r in spent):
        return None
    return Usage(
        sum(r.usage.prompt_tokens for r in spent), 0, sum(r.usage.completion_tokens for r in spent)
    )
