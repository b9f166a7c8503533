"""A model on the hub is asked for once before libraries ask for its files again and again."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

from warmline.core.errors import ModelNotFound
from warmline.policies.models.hub import ask_hub
from warmline.policies.models.sources import find_source


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


def use(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take this for the hub, as `HF_ENDPOINT` does where the library is imported."""
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        use(address, monkeypatch)
        yield address


class Hub(BaseHTTPRequestHandler):
    """Says of each model what its name says."""

    def do_HEAD(self) -> None:
        kinds = {"none": (404, "RepoNotFound"), "gated": (403, "GatedRepo"), "busy": (503, "")}
        status, code = kinds.get(self.path.split("/")[2], (404, "EntryNotFound"))
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = HTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    use(f"http://127.0.0.1:{server.server_port}", monkeypatch)
    yield
    server.shutdown()
    server.server_close()


def test_a_hub_that_cannot_be_reached_is_told_at_once(unreachable: str) -> None:
    """32 seconds of retries before."""
    begun = time.monotonic()
    with pytest.raises(ModelNotFound, match=r"no folder 'owner/mistyped' here.*cannot be reached"):
        ask_hub("owner/mistyped")
    with pytest.raises(ModelNotFound, match="cannot be reached"):
        find_source("owner/mistyped", adapter="owner/adapter")
    with pytest.raises(ModelNotFound, match="cannot be reached"):
        find_source("owner/mistyped:model.gguf")
    assert time.monotonic() - begun < 10


def test_what_needs_no_hub_asks_none(
    unreachable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "models--owner--kept"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text("abc")
    (kept / "snapshots" / "abc").mkdir(parents=True)
    (kept / "snapshots" / "abc" / "config.json").write_text("{}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    ask_hub("owner/kept")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    ask_hub("owner/mistyped")


def test_a_model_that_the_hub_does_not_know_is_told(hub: None) -> None:
    with pytest.raises(ModelNotFound, match="has no model of this name"):
        ask_hub("owner/none")
    for left_to_the_library in ("gated", "busy", "other"):
        ask_hub(f"owner/{left_to_the_library}")
