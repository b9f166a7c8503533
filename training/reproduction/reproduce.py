"""The whole loop as stages: corpus, counselor, SFT, scorer, FPEMF, evolution, evaluation, report.

A preset names the stages; each calls one function with a settings record, in a folder and a process
of its own (`processes.py` says why), and is marked when it is done. Whatever kills it, the same
call resumes: marked stages are left alone, and the one that was cut short resumes by its own
journal.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ...core.claim import CONFIG_NAME, FreshFolder, refuse_change
from ...core.errors import ConfigError, DataError, RunError, did_you_mean
from ...core.files import read_text, write_whole
from ...core.record import Record, problems_of
from ...environments.runs.summary import SUMMARY_NAME
from ..loop.resume import IDENTITY_NAME
from .presets import MODEL, OUT, Preset, Stage, filled, read_preset
from .processes import output_of
from .report import PAGE_NAME, write_report
from .stages import KINDS, command_words, need_extras, read_command, run_stage

DONE_NAME = "done.json"
HTML_NAME = "report.html"
OUTPUT_NAME = "output.log"
CLOCK_NAME = "clock"
STARTED = (
    *(f"*/{name}" for name in (OUTPUT_NAME, CLOCK_NAME, CONFIG_NAME, IDENTITY_NAME, SUMMARY_NAME)),
    "*.jsonl",
)
"""Patterns of what a first stage that comes to nothing may leave."""

Say = Callable[[str], None]


class Done(Record):
    """The mark of a finished stage; `done.json`.

    Attributes:
        command: the stage as a command line, with the model, but without folders.
        run, settings: what it did and its settings, likewise; None in marks of earlier versions.
    """

    command: str
    seconds: float
    starts: int = 1
    run: str | None = None
    settings: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A stage with its folder and its settings.

    Attributes:
        settings: with folders, as they are run.
        shown: the command line that does the same, for a shell.
        asked: the same with the model, but without folders, so that all can be moved together.
        identity: the whole settings, likewise.
    """

    stage: Stage
    folder: Path
    settings: Record
    shown: str
    asked: str
    identity: dict[str, Any]

    def done(self) -> Done | None:
        """The mark, if the stage is finished.

        Raises:
            RunError: it was finished with other settings.
        """
        file = self.folder / DONE_NAME
        if not file.is_file():
            return None
        try:
            mark = Done.model_validate_json(read_text(file))
        except ValidationError as error:
            raise DataError(
                "; ".join(problems_of(error, Done)[:3]),
                file=file,
                hint="remove the stage's folder to run it again",
            ) from None
        if mark.command != self.asked:
            self._refuse_change(mark)
        return mark

    def _refuse_change(self, mark: Done) -> None:
        """Raise where the whole settings differ too: one that is written otherwise is no change."""
        hint = "choose another folder, or remove this one and the ones after it"
        before = _identity_of(mark)
        if before is None:
            raise RunError(
                f"{self.folder} holds a stage with other settings (there -> here):\n"
                f"  {mark.command}\n  {self.asked}",
                hint=hint,
            )
        stored, now = (
            {"run": name, **settings}
            for name, settings in (before, (self.stage.run, self.identity))
        )
        refuse_change(self.folder, stored, now, what="stage", hint=hint)


def _identity_of(mark: Done) -> tuple[str, dict[str, Any]] | None:
    """Kind and whole settings of a finished stage; None where this version does not know them."""
    name, given = mark.run, mark.settings
    try:
        if name is None or given is None:
            name, given = read_command(mark.command)
        return name, KINDS[name].settings(**given).model_dump(mode="json")
    except (ConfigError, KeyError):
        return None


def reproduce(
    preset: str,
    out: str | Path,
    *,
    model: str | None = None,
    until: str | None = None,
    say: Say = lambda line: None,
) -> Path:
    """Run, resume or find finished a preset's stages, and write the report; returns its page.

    Args:
        preset: name or path.
        model: the base, in place of the preset's.
        until: the last stage to run; the report covers what there is.
        say: called with each line that is printed.

    Raises:
        ConfigError, DataError, RunError: a preset that cannot be used, or a stage that failed.
        MissingExtra: a stage's libraries are not installed; nothing is begun.
    """
    from ...evaluation.report.page import write_report as write_html

    out, chosen = Path(out), read_preset(preset)
    steps = first_stages(plan(chosen, out, model), until)
    need_extras(step.stage.run for step in steps if not (step.folder / DONE_NAME).is_file())
    with FreshFolder(out).unless_begun(STARTED):  # the error shows the end of the output
        marks = run_plan(steps, chosen.environment, say)
    tables = write_report(out, as_data(chosen, steps, marks))
    shown = chosen.corpus or "corpus"
    corpus = next((step.folder for step in steps if step.stage.name == shown), None)
    if corpus is None:
        return out / PAGE_NAME
    page = write_html([corpus], out / HTML_NAME, appendices=[tables], title="Reproduction")
    say(f"wrote {page}")
    return page


def first_stages(steps: Sequence[Plan], until: str | None) -> list[Plan]:
    """The steps up to the stage of this name, all by default.

    Raises:
        ConfigError: no such stage.
    """
    names = [step.stage.name for step in steps]
    if until is None:
        return list(steps)
    if until not in names:
        raise ConfigError(
            f"no stage '{until}'; known: {', '.join(names)}", hint=did_you_mean(until, names)
        )
    return list(steps[: names.index(until) + 1])


def plan(preset: Preset, out: Path, model: str | None = None) -> list[Plan]:
    """The stages with their folders, `01-name` and so on, and their settings.

    Args:
        model: in place of the preset's.

    Raises:
        ConfigError: neither names a model.
    """
    base = model or preset.model
    if base is None:
        raise ConfigError("the preset names no model", hint="--model FOLDER, or a hub id")
    folders = {
        stage.name: str(out / f"{number:02d}-{stage.name}")
        for number, stage in enumerate(preset.stages, 1)
    }
    return [_plan(stage, folders, base) for stage in preset.stages]


def _plan(stage: Stage, folders: Mapping[str, str], base: str) -> Plan:
    own = folders[stage.name]
    asked = {MODEL: base}
    known = {**folders, OUT: own, MODEL: base}
    return Plan(
        stage,
        Path(own),
        stage.record(known),
        shown=shlex.join(("warmline", *_words(stage, known))),
        asked=shlex.join(_words(stage, asked)),
        identity=stage.record(asked).model_dump(mode="json"),
    )


def _words(stage: Stage, known: Mapping[str, str]) -> list[str]:
    return command_words(stage.run, filled(stage.given(), known))


def run_plan(
    plans: Sequence[Plan], environment: Mapping[str, str], say: Say = lambda line: None
) -> list[Done]:
    """Run what is not done yet, in order.

    Args:
        environment: variables for every stage; what is set already takes precedence.
        say: called with each line of a stage's output, and with one before each stage.

    Raises:
        RunError: a stage failed, or its folder holds another one's.
    """
    marks = []
    for number, step in enumerate(plans, 1):
        mark = step.done()
        if mark is None:
            say(f"[{number}/{len(plans)}] {step.stage.about}\n  {step.shown}")
            mark = _run(step, environment, say)
        else:
            say(f"[{number}/{len(plans)}] {step.stage.about}: done before")
        marks.append(mark)
    return marks


def _run(step: Plan, environment: Mapping[str, str], say: Say) -> Done:
    clock = _Clock(step.folder)
    work = (step.stage.run, step.settings)
    with (step.folder / OUTPUT_NAME).open("a", encoding="utf-8") as log:
        for line in output_of(run_stage, work, environment, shown=step.shown):
            log.write(line)
            log.flush()
            say(line.rstrip("\n"))
            clock.tick()
    mark = Done(
        command=step.asked,
        seconds=clock.seconds,
        starts=clock.starts,
        run=step.stage.run,
        settings=step.identity,
    )
    write_whole(step.folder / DONE_NAME, mark.model_dump_json(indent=2) + "\n")
    return mark


class _Clock:
    """Seconds that a stage takes over all its starts, until its last printed line."""

    def __init__(self, folder: Path) -> None:
        self._file, self._began, self._written = folder / CLOCK_NAME, time.monotonic(), 0.0
        self.starts, self._before = 1, 0.0
        if self._file.is_file():
            number, seconds = self._file.read_text("utf-8").split()
            self.starts, self._before = int(number) + 1, float(seconds)
        self._write()

    @property
    def seconds(self) -> float:
        """So far."""
        return round(self._before + time.monotonic() - self._began, 1)

    def tick(self) -> None:
        """Write it down, at most once a second."""
        if time.monotonic() - self._written > 1:
            self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        write_whole(self._file, f"{self.starts} {self.seconds}\n")


def as_data(preset: Preset, plans: Sequence[Plan], marks: Sequence[Done]) -> dict[str, Any]:
    """What was run, as plain data."""
    return {
        "about": preset.about,
        "honest": preset.honest,
        "stages": [
            {
                "name": step.stage.name,
                "about": step.stage.about,
                "command": step.shown,
                "folder": str(step.folder),
                "seconds": mark.seconds,
                "starts": mark.starts,
                "expected_minutes": step.stage.minutes,
            }
            for step, mark in zip(plans, marks, strict=True)
        ],
    }
