"""What works on this machine: libraries, engines, keys, servers. Loads no model."""

from __future__ import annotations

import json
import os
import platform
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ..core.errors import ConfigError, how_to_install
from .base import Capabilities
from .endpoints.addresses import Addresses, address_problems, addresses_of
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

AT_ONCE = 32
"""Servers asked at once."""

MOST_READ = 1_000_000
"""Bytes read of a list of models."""


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


def examine(base_url: Addresses | None = None) -> list[Finding]:
    """Look at Python, libraries, policies, weights, key and (if given) servers.

    Args:
        base_url: an OpenAI-compatible server to try, several, or `@` and a file of them.

    Raises:
        DataError: the file cannot be read; names the line that is no address.
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
        findings += _servers(base_url)
    return findings


def _library(name: str, extra: str = "") -> Finding:
    try:
        return Finding(name, True, version(name))
    except PackageNotFoundError:
        remedy = how_to_install(extra) if extra else f"pip install {name}"
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
    names = ("choices", "schema", "max_sentences", "prefill", "logprobs", "seed", "score", "lora")
    return "can, at most: " + ", ".join(name for name in names if getattr(able, name))


def _servers(base_url: Addresses) -> list[Finding]:
    """A line for each server, and for several one about all: whether they serve one model."""
    if problems := address_problems(base_url):
        what = f"server {base_url}" if isinstance(base_url, str) else "servers"
        return [Finding(what, False, "; ".join(problems), "give http://host:port/v1")]
    addresses = addresses_of(base_url)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        looks = list(threads.map(_server, addresses))
    findings = [finding for finding, _ in looks]
    if len(looks) == 1:
        return findings
    works = sum(finding.works is True for finding in findings)
    lists = [served for _, served in looks if served]
    shared = sorted(set.intersection(*map(set, lists))) if lists else []
    detail = f"{works} of {len(looks)} work"
    detail += f"; all that list their models serve {', '.join(shared)}" if shared else ""
    apart = bool(lists) and not shared
    return [
        *findings,
        Finding(
            "all servers",
            works == len(looks) and not apart,
            detail + ("; they serve no model in common" if apart else ""),
            "name only servers of the same model" if apart else "",
        ),
    ]


def _server(base_url: str) -> tuple[Finding, list[str] | None]:
    """What is found of a server, and the models that it lists."""
    what = f"server {base_url}"
    url = base_url + "/models"
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:  # noqa: S310 - http, checked
            return Finding(what, True, f"answers {answer.status}"), _listed(answer.read(MOST_READ))
    except urllib.error.HTTPError as error:
        reached = f"reached, but /models answers {error.code}"
        works = error.code != 401
        return Finding(what, works, reached, "" if works else "export its key"), None
    except (ValueError, HTTPException) as error:
        return Finding(what, False, f"not an address: {error}", "give http://host:port/v1"), None
    except OSError as error:
        unreached = f"not reachable: {error}"
        return Finding(what, False, unreached, "start it, or check the address"), None


def _listed(answer: bytes) -> list[str] | None:
    """The names in a list of models; None where the answer is none."""
    try:
        return [str(entry["id"]) for entry in json.loads(answer)["data"]]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
