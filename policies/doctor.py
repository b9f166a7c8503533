"""What works on this machine: libraries, engines, keys, servers. Loads no model."""

from __future__ import annotations

import os
import platform
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ..core.errors import ConfigError
from .base import Capabilities
from .models.weights import MODEL_FILE, WEIGHTS_VARIABLE, cache_dir
from .registry import find_policy, known_policies

CORE = ("autogen-agentchat", "openai", "sentencex", "jinja2", "pydantic", "xllamacpp", "gguf")
OPTIONAL = {
    "transformers": "transformers",
    "peft": "transformers",
    "torch": "transformers",
    "vllm": "vllm",
    "autogen-ext": "autogen",
}
"""Libraries that an extra installs, and its name."""
NEEDS = {
    "transformers": "transformers",
    "classifier": "peft",
    "scorer": "peft",
    "vllm": "vllm",
    "autogen": "autogen-ext",
}
"""Policies whose library comes with an extra, and that library."""

TIMEOUT = 5.0
"""Seconds to wait for a server."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Attributes:
        what: what was looked at.
        works: whether it is usable; None for plain information.
        detail: version, capabilities or the fault.
        remedy: what to do, where something is missing.
    """

    what: str
    works: bool | None
    detail: str
    remedy: str = ""


def examine(base_url: str | None = None) -> list[Finding]:
    """Look at Python, libraries, policies, weights, key and (if given) a server.

    Args:
        base_url: an OpenAI-compatible server to try.
    """
    findings = [Finding("python", None, f"{platform.python_version()} on {platform.platform()}")]
    findings += [_library(name) for name in CORE]
    findings += [_library(name, extra) for name, extra in OPTIONAL.items()]
    findings += [_policy(name) for name in known_policies()]
    findings.append(_weights())
    has_key = bool(os.environ.get("OPENAI_API_KEY"))
    findings.append(
        Finding(
            "OPENAI_API_KEY",
            has_key,
            "set" if has_key else "not set",
            "" if has_key else "export it for servers that ask for a key",
        )
    )
    if base_url:
        findings.append(_server(base_url))
    return findings


def _library(name: str, extra: str = "") -> Finding:
    try:
        return Finding(name, True, version(name))
    except PackageNotFoundError:
        remedy = f"pip install 'warmline[{extra}]'" if extra else f"pip install {name}"
        return Finding(name, False, "not installed", remedy)


def _policy(name: str) -> Finding:
    try:
        policy = find_policy(name)
    except ConfigError as error:  # its libraries are missing, or two packages bring it
        return Finding(f"policy {name}", False, error.message, error.hint or "")
    needed = NEEDS.get(name)
    if needed and not (library := _library(needed, OPTIONAL[needed])).works:
        return Finding(f"policy {name}", False, f"{needed} is not installed", library.remedy)
    able = getattr(policy, "capabilities", None)
    return Finding(f"policy {name}", True, _capabilities(able))


def _weights() -> Finding:
    kept = cache_dir() / "weights" / MODEL_FILE
    named = os.environ.get(WEIGHTS_VARIABLE)
    if named:
        return Finding("embedded weights", Path(named).is_file(), f"{WEIGHTS_VARIABLE}={named}")
    if kept.is_file():
        return Finding("embedded weights", True, f"{MODEL_FILE}, {kept.stat().st_size >> 20} MB")
    return Finding("embedded weights", None, f"{MODEL_FILE} is fetched at first use (93 MB)")


def _capabilities(able: object) -> str:
    if not isinstance(able, Capabilities):
        return "reports its capabilities once it is open"
    names = ("choices", "schema", "max_sentences", "prefill", "logprobs", "seed")
    return "can: " + ", ".join(name for name in names if getattr(able, name))


def _server(base_url: str) -> Finding:
    url = base_url.rstrip("/") + "/models"
    what = f"server {base_url}"
    if not url.startswith(("http://", "https://")):
        return Finding(what, False, "not an http address", "give http://host:port/v1")
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:  # noqa: S310 - checked above
            return Finding(what, True, f"answers {answer.status}")
    except urllib.error.HTTPError as error:
        reached = f"reached, but /models answers {error.code}"
        return Finding(
            what, error.code != 401, reached, "export its key" if error.code == 401 else ""
        )
    except (ValueError, HTTPException) as error:
        return Finding(what, False, f"not an address: {error}", "give http://host:port/v1")
    except OSError as error:
        return Finding(what, False, f"not reachable: {error}", "start it, or check the address")
