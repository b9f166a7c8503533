"""Write the stored records of this version: `python -m tests.stored.make FOLDER`, from the root.

Run once for each version whose forms are to be kept, into a new folder `tests/stored/v…`; the
records of earlier versions are never made again. `forms.py` has the commands. Text is that of the
seed pool, of `script.py` and of the conversations below; the model has random weights.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from typer.testing import CliRunner

from warmline.cli import app
from warmline.core.errors import AuthenticationFailed

from .forms import ARCHIVE, CORPORA, EXPORTS, REPRODUCTION, RUNS, STOPPED, TRAININGS, Form
from .script import DESK

ROOT = Path(__file__).parents[2]
KINDS = ("Job Crisis", "Sleep Problems", "Burnout")
THINGS = ("orchard", "violin", "harbour", "lantern", "meadow", "engine")
LABELS = ("Question", "Reflection of Feelings", "Providing Suggestions")
TEMPLATE = (
    "{% block system %}Help with {{ problem_type }}.{% endblock %}"
    "{% block note %}{% if strategy %}({{ strategy }}){% endif %}{% endblock %}\n"
)
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TWO = """\
about = "Two runs."
honest = "It shows nothing."
model = "none"
corpus = "first"

[[stages]]
name = "first"
about = "The first run"
command = "simulate --policy scripted --episodes 1 --max-turns 2 --case-dialogues 0 --quiet --out {out}"

[[stages]]
name = "second"
about = "The same scenarios again"
command = "simulate --policy scripted --episodes 1 --max-turns 2 --case-dialogues 0 --seed 1 --quiet --out {out}"
"""


def main(target: Path) -> None:
    """Make all records in a temporary folder, check them, and put them into the target."""
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        _inputs()
        for form in (*CORPORA[:1], *RUNS):
            _make(form)
        _review()
        for form in CORPORA[1:]:
            _make(form)
        for command in EXPORTS.values():
            _run(command)
        for form in TRAININGS:
            _make(form)
        for form in STOPPED:
            _interrupt(form)
        _run((*REPRODUCTION.command, "--until", "first"))
        _tidy(Path(place))
        _refuse_traces(Path(place))
        _pack(Path(place))
        shutil.copytree(place, target)
    print(f"{sum(f.stat().st_size for f in target.rglob('*') if f.is_file())} bytes in {target}")


def _inputs() -> None:
    """Conversations, a prompt, a preset and a tiny model."""
    from ..policies.tiny_models import save_causal

    lines = []
    for n in range(6):
        messages: list[dict[str, str]] = []
        for k in range(5):
            thing = THINGS[(n + k) % 6]
            said = f"The {thing} keeps me awake, night {k} of {n}."
            reply = f"What is it about the {thing}, {k + n} days on?"
            messages.append({"role": "user", "content": said})
            messages.append(
                {"role": "assistant", "content": reply, "strategy": LABELS[(n + k) % 3]}
            )
        lines.append(json.dumps({"problem_type": KINDS[n % 3], "messages": messages}) + "\n")
    Path("talks.jsonl").write_text("".join(lines), "utf-8")
    Path("short.jinja").write_text(TEMPLATE, "utf-8")
    Path("two.toml").write_text(TWO, "utf-8")
    save_causal(Path("base"), chat_template=CHAT, layers=1)


def _make(form: Form) -> None:
    """Run a command to its end, or until the script is used up."""
    DESK.reset(form.left, form.failing)
    result = CliRunner().invoke(app, list(form.command))
    stopped = isinstance(result.exception, AuthenticationFailed)
    if stopped != (form.left is not None) or (not stopped and result.exit_code):
        raise SystemExit(f"{form.name}: {result.exception!r}\n{result.output}")
    print(f"{form.name}: {len(DESK.asked)} asked")
    DESK.reset()


def _run(command: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, list(command))
    if result.exit_code:
        raise SystemExit(f"{command[0]}: {result.exception!r}\n{result.output}")


def _review() -> None:
    """Two reviewers: one edit, two approvals of it, one rejection, one skip."""
    _run(("review", "start", "run", "--required", "2", "--seed", "7"))
    first, second, third = (
        json.loads(line)["id"] for line in Path("run/episodes.jsonl").read_text().splitlines()
    )
    ada, bo = ("--reviewer", "ada"), ("--reviewer", "bo")
    _run(("review", "edit", "run", first, "1", "What would help tonight?", *ada))
    _run(("review", "next", "run", *ada, "--approve", first))
    _run(("review", "next", "run", *bo, "--approve", first))
    _run(("review", "next", "run", *ada, "--reject", second, "--reason", "the seeker advises"))
    _run(("review", "next", "run", *bo, "--skip", third))


def _interrupt(form: Form) -> None:
    """Run a training and press Ctrl-C once its first save is there."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "warmline.cli", *form.command], env=environment,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not list(Path(form.out).rglob("trainer_state.json")):
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"{form.name}: no save was seen")
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    process.wait(60)
    saves = sorted(Path(form.out).rglob("checkpoint-*"))
    if not saves or (Path(form.out) / "checkpoint.json").exists():
        raise SystemExit(f"{form.name}: finished before it could be stopped")
    print(f"{form.name}: {', '.join(save.name for save in saves)}")


def _tidy(place: Path) -> None:
    """Name the base by its path from the adapter; leave out what only this machine could use."""
    for file in place.rglob("adapter_config.json"):
        config = json.loads(file.read_text())
        named = Path(config["base_model_name_or_path"])
        if named.is_absolute():
            config["base_model_name_or_path"] = os.path.relpath(named, file.parent.resolve())
            file.write_text(json.dumps(config, indent=2) + "\n")
    for name in (
        "training_args.bin",
        "*.sqlite-wal",
        "*.sqlite-shm",
        "checkpoint-*/README.md",
        "report.html",
    ):
        for file in place.rglob(name):
            file.unlink()


def _pack(place: Path) -> None:
    """Put the model and all that was trained on it into one archive."""
    folders = ["base", *(form.out for form in (*TRAININGS, *STOPPED))]
    with tarfile.open(place / ARCHIVE, "w:xz") as archive:
        for folder in folders:
            archive.add(folder, filter=_anonymous)
            shutil.rmtree(folder)


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


def _refuse_traces(place: Path) -> None:
    """No path and no name of this machine may be in a record."""
    traces = [str(place), str(ROOT), str(Path.home()), tempfile.gettempdir(), socket.gethostname()]
    found = [
        f"{file.relative_to(place)}: {trace}"
        for file in place.rglob("*")
        if file.is_file()
        for trace in traces
        if len(trace) > 3 and trace.encode() in file.read_bytes()
    ]
    if found:
        raise SystemExit("traces of this machine:\n" + "\n".join(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
