"""What the server is asked by who means no good, and how it ends while somebody waits."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra web is not installed")
pytest.importorskip("uvicorn", reason="the extra web is not installed")

from warmline.core.outside.secrets import register_secret
from warmline.environments.serving import server, serving
from warmline.policies.base import Reply, Request
from warmline.policies.scripted import ScriptedPolicy

CHAT = "/v1/chat/completions"
JSON = {"Content-Type": "application/json"}
KEY = "key-of-a-policy-0001"
SLOW = """
import asyncio, sys
from warmline import Reply

class Slow:
    name = "slow"

    async def respond(self, request):
        print("asked", file=sys.stderr, flush=True)
        await asyncio.Event().wait()
        return Reply("never")

    async def aclose(self):
        print("closed", file=sys.stderr, flush=True)
"""


def talk(**fields: Any) -> bytes:
    """The body of a request to the model 'scripted'."""
    said = [{"role": "user", "content": "I cannot sleep."}]
    return json.dumps({"model": "scripted", "messages": said} | fields).encode()


def ask(
    base_url: str,
    body: bytes = b"",
    headers: dict[str, str] = JSON,
    *,
    method: str = "POST",
    path: str = CHAT,
) -> tuple[int, dict[str, Any]]:
    """The status of an answer, and the error in it."""
    connection = http.client.HTTPConnection(base_url.split("/")[2], timeout=60)
    connection.request(method, path, body or None, headers)
    answer = connection.getresponse()
    found = json.loads(answer.read())
    connection.close()
    return answer.status, found.get("error", {})


@pytest.fixture(scope="module")
def counted() -> Iterator[tuple[list[Request], str]]:
    """What a policy was asked, and where it is served."""
    asked: list[Request] = []

    def answer(request: Request) -> str:
        asked.append(request)
        return "I am here."

    with serving(ScriptedPolicy(answer)) as base_url:
        yield asked, base_url


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
        ({}, 415, "unsupported_media_type"),
        (JSON | {"Origin": "https://evil.example"}, 403, "foreign_origin"),
        (JSON | {"Origin": "null"}, 403, "foreign_origin"),
        (JSON | {"Origin": "http://["}, 403, "foreign_origin"),
        (JSON | {"Sec-Fetch-Site": "cross-site"}, 403, "foreign_origin"),
        (JSON | {"Host": "["}, 421, "wrong_host"),
    ],
)
def test_a_web_page_does_not_reach_the_policy(
    counted: Any, headers: dict[str, str], status: int, code: str
) -> None:
    asked, base_url = counted
    before = len(asked)
    told, error = ask(base_url, talk(), headers)
    assert (told, error["code"]) == (status, code)
    assert len(asked) == before
    assert ask(base_url, talk(), {"Content-Type": "application/json; charset=utf-8"})[0] == 200


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (talk(response_format={"type": "json_schema", "json_schema": "x"}), "response_format"),
        (talk(response_format={"type": "json_schema", "json_schema": [1]}), "response_format"),
        (talk().replace(b"{", b'{"temperature": 1e400, ', 1), "temperature"),
        (talk(seed=99999999999999999999999999), "seed"),
        (talk(messages=[{"role": "user", "content": " "}]), "messages.0.content"),
        (talk(messages=[{"role": "user", "content": []}]), "messages.0.content"),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_name(counted: Any, body: bytes, param: str) -> None:
    status, error = ask(counted[1], body)
    assert (status, error["param"]) == (400, param)
    assert error["type"] == "invalid_request_error"


def test_a_token_is_taken_only_with_its_scheme(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    token = "a-token-of-sixteen-or-more"
    monkeypatch.setenv(server.TOKEN_VARIABLE, token)
    with serving(ScriptedPolicy(lambda request: "Yes.")) as base_url:
        assert ask(base_url, talk(), JSON | {"Authorization": token})[0] == 401
        assert ask(base_url, talk(), JSON | {"Authorization": f"bearer {token}"})[0] == 200


def test_a_policys_own_fault_is_told_in_openais_form_and_logged_without_its_key(
    capfd: pytest.CaptureFixture[str],
) -> None:
    register_secret(KEY)
    with serving(ScriptedPolicy(_broken)) as base_url:
        status, error = ask(base_url, talk())
    logged = capfd.readouterr().err
    assert (status, error["type"], error["code"]) == (500, "server_error", "internal_error")
    assert "no answer" not in error["message"]
    assert "RuntimeError: no answer with ***" in logged
    assert KEY not in logged


def _broken(request: Request) -> str:
    raise RuntimeError(f"no answer with {KEY}")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [("GET", "/v1/x", 404, "not_found"), ("GET", CHAT, 405, "method_not_allowed")],
)
def test_other_routes_are_refused_in_openais_form(
    counted: Any, method: str, path: str, status: int, code: str
) -> None:
    told, error = ask(counted[1], method=method, path=path, headers={})
    assert (told, error["code"]) == (status, code)
    assert "POST /v1/chat/completions" in error["message"]


def test_the_end_cancels_the_answers_that_take_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "GRACE_SECONDS", 0)
    asked, cancelled = threading.Event(), threading.Event()

    class Slow:
        name = "scripted"

        async def respond(self, request: Request) -> Reply:
            asked.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.set()
                raise
            return Reply("never")

    with ThreadPoolExecutor(1) as pool:
        with serving(Slow()) as base_url:
            waiting = pool.submit(ask, base_url, talk())
            assert asked.wait(60)
        status, error = waiting.result(60)
    assert cancelled.is_set()
    assert (status, error["code"]) == (503, "unavailable")


def test_ctrl_c_says_what_it_waits_for_and_a_second_ends_at_once(tmp_path: Path) -> None:
    (tmp_path / "slow_policy.py").write_text(SLOW, "utf-8")
    command = [sys.executable, "-m", "warmline.cli", "serve-policy", "--port", "0"]
    started = subprocess.Popen(
        [*command, "--policy", "slow_policy:Slow"], stderr=subprocess.PIPE, text=True,
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path), "COLUMNS": "200"},
    )  # fmt: skip
    assert started.stderr is not None
    try:
        lines = iter(started.stderr.readline, "")
        base_url = next(m[0] for line in lines if (m := re.search(r"http://\S+/v1", line)))
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(ask, base_url, talk(model="slow"))
            assert any("asked" in line for line in lines)
            started.send_signal(signal.SIGINT)
            assert any("requests under way: 1" in line for line in lines)
            started.send_signal(signal.SIGINT)
            left = started.stderr.read()
            assert waiting.result(60)[0] == 503
        started.wait(60)
    finally:
        started.kill()
        started.wait()
        started.stderr.close()
    assert "closed" in left
    assert "Traceback" not in left
    assert "timeout graceful shutdown exceeded" not in left
