"""The `openai` policy: any server that speaks OpenAI's chat completions.

OpenAI itself, vLLM, SGLang, llama.cpp, Ollama and most hosted services. What such servers share is
a small core; where they differ, an option says which way is meant or `auto` finds out, and an
answer that shows that a setting was ignored is never taken for a good one. Tool calls, images,
several answers at once and OpenAI's Responses API are left out: a simulated conversation needs none
of them.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from ...core.errors import BadRequest, ConfigError, ContentRefused, Unsupported
from ...core.outside.secrets import hide_secrets_in, without_secrets
from ...core.tasks import aside
from ..answers import (
    choice_instruction,
    choice_schema,
    match_choice,
    read_choice,
    read_json,
    schema_instruction,
    with_instruction,
)
from ..base import (
    MAX_REPLY_CHARS,
    THINKING,
    BasePolicy,
    Capabilities,
    FinishReason,
    Message,
    Reply,
    Request,
    Sampling,
)
from ..endpoints.addresses import Addresses
from ..text.aloud import listener
from ..thinking.switches import SwitchForm
from .call import Call
from .client import OPENAI_URL
from .dialect import FORMAT, FormatRefused
from .forms import json_room, response_format
from .headers import SESSION_HEADER, recordable
from .opening import learn_thinking, only_model, refuse_any_name, warn_of_unlisted
from .options import KEY_VARIABLE, ChoicesMode, PrefillMode, refuse_bad_options
from .pool import ClientPool
from .questions import Questions
from .replies import Completion
from .thoughts import Thoughts

_STANDARD = frozenset({"temperature", "top_p", "max_tokens"}) | THINKING
_EVERY = frozenset(f.name for f in dataclasses.fields(Sampling))


class OpenAIPolicy(BasePolicy):
    """Asks an OpenAI-compatible server.

    Args:
        model: name of the model; None uses the only one that the server serves.
        base_url: the server, usually ending in `/v1`; None is OpenAI's own. Or several that serve
            the same model, as a list or as `@` and a file, which may change; see `pool.py`.
        api_key_env: environment variable that holds the key, which is sent to `base_url`. One that
            is named must be set; servers without keys need none.
        timeout: seconds for one HTTP request, waiting for a slot not counted.
        max_retries: further requests that transient failures may cost: 429 (`Retry-After` is
            honoured), 5xx, 408, 409, 425, timeouts, lost connections, half a body.
        max_concurrency: maximum number of requests in flight at one server, from all policies of
            this process and event loop together; fewer while the server is overloaded.
        choices_mode: how an answer is bound to `Request.choices`. `json_schema`: OpenAI's
            `response_format` (OpenAI, vLLM, SGLang, llama.cpp, Ollama); `structured_outputs`:
            vLLM's own setting; `ask`: the options are listed in the prompt and the answer is read
            leniently; `auto`: `json_schema` until the server refuses or ignores it, then `ask`.
        reasks: further questions after an answer that is empty or not in the form asked for. Each
            has a seed derived from the request's, so that the same request still gives the same
            reply.
        stream: with `max_sentences`, stream the answer and hang up once it is complete, which saves
            tokens but costs a new connection each time. Switch off for servers that cannot stream;
            the answer then runs to its end.
        prefill: how an answer is begun. `continue`: vLLM's and SGLang's `continue_final_message`;
            `assistant`: a last assistant message, as llama.cpp takes it; `off`: refused.
        extended_sampling: whether the server takes `top_k`, `min_p` and `repetition_penalty`, which
            are not in OpenAI's API (the last is also sent under llama.cpp's name `repeat_penalty`).
            None: yes, unless it is OpenAI's, or `open()` finds Ollama, which ignores them. Where it
            does not, a request that sets them is refused.
        extra_body: further fields of each HTTP request, passed on as they are. Not for secrets.
        extra_headers: further headers of each HTTP request. Records blank out what is named, or
            looks, like a secret.
        session_header: header that carries `Request.session`, by which a router keeps a
            conversation on one cache; empty sends none.
        backoff: seconds before the first retry; doubles up to 30, with jitter.
        max_reply_chars: maximum number of characters in an answer, its thinking included; reading
            a longer one ends with `ReplyTooLong`.
        switch_form: how `thinking` is sent. `chat_template`: variables of the chat template (vLLM,
            SGLang, llama.cpp); `reasoning_effort`: OpenAI's field; `ollama`: its `think`; `auto`:
            by what kind of server it is.
        thinking_in_prompt: whether the model's chat template itself begins the thinking, so that
            answers hold only the mark that ends it. None finds out, in `open()` or by the first
            answers, which are then read to their end.

    A field that the server refuses by name (a reasoning model's `temperature`, say) is left out from
    then on: told once, and noted in each call's record under `notes["openai"]["not_sent"]`.

    Seeds are sent as their lowest 31 bits, which every server can hold. OpenAI's own honours them
    as far as its hardware allows, and does not promise it.

    Raises:
        ConfigError: an option is out of range; all problems at once.
    """

    name = "openai"
    speaks_aloud = True
    capabilities = Capabilities(schema=True, prefill=True, logprobs=True, sampling=_EVERY)
    """At most; options and server decide what each one can."""

    @property
    def id(self) -> str:
        """The name in records and price tables: `openai:<model>`."""
        return f"{self.name}:{self.model}" if self.model else self.name

    def __init__(
        self,
        model: str | None = None,
        *,
        base_url: Addresses | None = None,
        api_key_env: str = KEY_VARIABLE,
        timeout: float = 120.0,
        max_retries: int = 6,
        max_concurrency: int = 64,
        choices_mode: ChoicesMode = "auto",
        reasks: int = 2,
        stream: bool = True,
        prefill: PrefillMode = "off",
        extended_sampling: bool | None = None,
        extra_body: Mapping[str, Any] | None = None,
        extra_headers: Mapping[str, str] | None = None,
        session_header: str = SESSION_HEADER,
        backoff: float = 0.5,
        max_reply_chars: int = MAX_REPLY_CHARS,
        switch_form: SwitchForm = "auto",
        thinking_in_prompt: bool | None = None,
    ) -> None:
        refuse_bad_options(
            base_url=base_url, api_key_env=api_key_env, timeout=timeout, max_retries=max_retries,
            max_concurrency=max_concurrency, choices_mode=choices_mode, reasks=reasks,
            prefill=prefill, backoff=backoff, max_reply_chars=max_reply_chars,
            extra_body=extra_body, extra_headers=extra_headers, session_header=session_header,
            switch_form=switch_form,
        )  # fmt: skip
        self.model = model
        self._client = ClientPool(
            base_url or OPENAI_URL,
            model=model or "", key_env=api_key_env, timeout=timeout, max_retries=max_retries,
            max_concurrency=max_concurrency, backoff=backoff, max_reply_chars=max_reply_chars,
            headers=extra_headers or {}, session_header=session_header,
        )  # fmt: skip
        self.base_url = self._client.base_url
        self.choices_mode = choices_mode
        self._choice_way: ChoicesMode = choices_mode
        self._stream, self._prefill = stream, prefill
        self._extended_asked = extended_sampling
        self._extra_body, self._extra_headers = dict(extra_body or {}), dict(extra_headers or {})
        self._format_refused = False
        self._thinking_options = {
            "switch_form": switch_form if switch_form != "auto" else None,
            "thinking_in_prompt": thinking_in_prompt,
        }
        self._thoughts = Thoughts(self.base_url, switch_form, thinking_in_prompt)
        not_openai = self.base_url != OPENAI_URL
        self._set_capabilities(not_openai if extended_sampling is None else extended_sampling)
        self._questions = Questions(
            self._client, self._thoughts, reasks=reasks, extra_body=self._extra_body
        )

    @property
    def endpoint_count(self) -> int:
        """How many servers it has its answers from, at this moment."""
        return len(self._client.addresses)

    def _set_capabilities(self, extended: bool) -> None:
        self._dropped = self._client.dropped
        self.capabilities = Capabilities(
            schema=True,
            max_sentences=self._stream and "stream" not in self._dropped,
            prefill=self._prefill != "off",
            logprobs="logprobs" not in self._dropped,
            seed="seed" not in self._dropped,
            sampling=_EVERY if extended else _STANDARD,
        )

    async def open(self) -> None:
        """Reach the server, and see by a short answer whether it takes the key and serves the
        model, and how that thinks.

        A server that dislikes the trial question itself does not stop a run: a warning says so.

        Raises:
            EngineUnavailable, EngineTimeout: nobody answers there.
            AuthenticationFailed: the key is missing or refused.
            ModelNotFound: the model is not served.
            ConfigError: no model was named, and the server does not serve exactly one.
        """
        served = await self._client.reach()
        if self.model is None:
            self.model = self._client.model = only_model(served, self.base_url)
        refuse_any_name(served, self.model, self.base_url)
        if served and {entry.owner for entry in served} == {"library"}:  # Ollama
            self._set_capabilities(extended=bool(self._extended_asked))
            self._thoughts.is_ollama()
        await learn_thinking(self._client, self._thoughts, self._extra_body, served)
        warn_of_unlisted(served, self.model, self.base_url)
        self._set_capabilities(self.capabilities.sampling == _EVERY)

    async def aclose(self) -> None:
        """Close the connections of the running event loop. Safe to call twice."""
        await self._client.aclose()

    def describe(self) -> dict[str, Any]:
        """Server (unless there are several), model and all that shapes the answers; no secrets."""
        headers = {"extra_headers": recordable(self._extra_headers)} if self._extra_headers else {}
        return {
            "policy": self.name,
            "base_url": self._client.identity,
            "model": self.model,
            "choices_mode": self.choices_mode,
            "reasks": self._questions.reasks,
            "stream": self._stream,
            "prefill": self._prefill,
            "extended_sampling": self.capabilities.sampling == _EVERY,
            "extra_body": hide_secrets_in(without_secrets(self._extra_body)),
            **headers,
            **{name: said for name, said in self._thinking_options.items() if said is not None},
        }

    async def respond(self, request: Request) -> Reply:
        """Answer one request; see `Policy.respond` and `errors.py`."""
        self.check(request)
        if self.model is None:
            raise ConfigError("no model named", hint="call open() first, or set model")
        started = time.perf_counter()
        call = Call(session=request.session)
        if request.choices is not None:
            text, completion = await self._choose(request, request.choices, call)
        elif request.schema is not None:
            text, completion = await self._fill(request, request.schema, call)
        else:
            text, completion = await self._write(request, call)
        if self._client.dropped != self._dropped:
            self._set_capabilities(self.capabilities.sampling == _EVERY)
        if request.logprobs and completion.logprobs is None:
            raise Unsupported(
                f"{self.base_url} sent no log-probabilities though asked for them",
                hint="use a policy that has them, or start the server so that it sends them",
            )
        return Reply(
            text=text,
            finish_reason=FinishReason.CHOICE if request.choices else completion.finish_reason,
            usage=call.usage,
            latency=time.perf_counter() - started,
            policy=self.id,
            logprobs=completion.logprobs if request.logprobs else None,
            attempts=call.attempts,
            notes={self.name: call.notes} if call.notes else None,
            thinking=completion.thinking or None,
        )

    async def _write(self, request: Request, call: Call) -> tuple[str, Completion]:
        """Free text, begun with the prefill and cut off after `max_sentences`."""
        messages, extra = list(request.messages), {}
        if request.prefill:
            messages.append(Message("assistant", request.prefill))
            if self._prefill == "continue":
                extra = {"continue_final_message": True, "add_generation_prompt": False}

        def whole(text: str) -> str:  # some servers repeat the prefill, most do not
            return text if text.startswith(request.prefill) else request.prefill + text

        until = None
        if request.max_sentences and self._stream:
            until = self._thoughts.enough(
                request.sampling, request.max_sentences, whole, listener()
            )
        return await self._questions.ask(
            request,
            call,
            messages=messages,
            extra=extra,
            read=lambda completion: whole(completion.text).strip() or None,
            correct=lambda _: [],
            wanted="text",
            until=until,
        )

    async def _choose(
        self, request: Request, options: Sequence[str], call: Call
    ) -> tuple[str, Completion]:
        """One of the options, in the way that the server is known to honour."""
        unbound = self.choices_mode == "auto" and self._thoughts.begun(request.sampling)
        if self._choice_way == "auto" and not unbound:
            return await self._choose_and_learn(request, options, call)
        if self._choice_way == "ask" or unbound:  # a form would bind the thinking, not the answer
            return await self._choose_by_asking(request, options, call)
        by_schema = self._choice_way == "json_schema"
        try:
            return await self._questions.ask(
                request,
                call,
                messages=request.messages,
                extra=response_format("choice", choice_schema(options))
                if by_schema
                else {"structured_outputs": {"choice": list(options)}},
                read=(lambda answer: read_choice(answer.text, options))
                if by_schema
                else (lambda reply: reply.text.strip() if reply.text.strip() in options else None),
                correct=lambda _: [],
                wanted=f"one of the options (choices_mode '{self._choice_way}')",
                room=max(map(json_room, options)),
            )
        except FormatRefused:  # one answer that the server could not bind, say
            if self.choices_mode != "auto":
                raise
        return await self._choose_by_asking(request, options, call)

    async def _choose_and_learn(
        self, request: Request, options: Sequence[str], call: Call
    ) -> tuple[str, Completion]:
        """Try `response_format` once; keep to it where it works, and to asking where it does
        not."""
        cut_short = False
        try:
            completion = await self._questions.send(
                request,
                request.messages,
                call,
                extra=response_format("choice", choice_schema(options)),
                room=max(map(json_room, options)),
                thinking=self._thoughts.room(request.sampling),
            )
        except ContentRefused:
            raise
        except BadRequest:
            pass  # if it was not about the format, asking is refused in the same way
        else:
            completion = await aside(
                completion.chars,
                self._thoughts.read, completion, request.sampling, call, free=False,
            )  # fmt: skip
            if (choice := read_choice(completion.text, options)) is not None:
                self._choice_way = "json_schema"
                return choice, completion
            cut_short = completion.finish_reason is FinishReason.LENGTH
        answer = await self._choose_by_asking(request, options, call)
        if not cut_short and self._choice_way == "auto":
            self._choice_way = "ask"
        return answer

    async def _choose_by_asking(
        self, request: Request, options: Sequence[str], call: Call
    ) -> tuple[str, Completion]:
        instruction = choice_instruction(options)
        if self.choices_mode == "auto":
            call.left_out(FORMAT)
        return await self._questions.ask(
            request,
            call,
            messages=with_instruction(request.messages, instruction),
            extra={},
            read=lambda answer: match_choice(answer.text, options),
            correct=lambda text: [Message("assistant", text), Message("user", instruction)],
            wanted=f"one of the options {', '.join(map(repr, options))}",
        )

    async def _fill(
        self, request: Request, schema: Mapping[str, Any], call: Call
    ) -> tuple[str, Completion]:
        """JSON that fits the schema, checked in any case."""

        def read(answer: Completion) -> str | None:
            return fitting[0] if (fitting := read_json(answer.text, schema)) is not None else None

        instruction = schema_instruction(schema)
        ask = partial(
            self._questions.ask,
            request,
            call,
            read=read,
            correct=lambda text: [Message("assistant", text), Message("user", instruction)],
            wanted="JSON that fits the schema",
        )
        if not self._format_refused and not self._thoughts.begun(request.sampling):
            with suppress(FormatRefused):
                return await ask(messages=request.messages, extra=response_format("reply", schema))
            self._format_refused = True
        call.left_out(FORMAT)
        return await ask(messages=with_instruction(request.messages, instruction), extra={})
