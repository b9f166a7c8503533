"""The whole loop as a list of commands: corpus, counselor, SFT, scorer, FPEMF, evolution, evaluation.

A preset names the stages; each is one `warmline` command with a folder of its own, run in a process
of its own, and marked when it is done. Whatever kills it, the same call goes on: stages that are
marked are left alone, and the one that was cut short resumes by its own journal.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Formatter
from typing import Any

from pydantic import Field, ValidationError, model_validator

from ...core.errors import ConfigError, DataError, RunError, did_you_mean
from ...core.files import read_text, read_toml, write_whole
from ...core.record import Record, Text, problems_of
from ..loop.child import output_of
from .report import PAGE_NAME, write_report

DONE_NAME = "done.json"
HTML_NAME = "report.html"
OUTPUT_NAME = "output.log"
CLOCK_NAME = "clock"
PRESET_SUFFIX = ".toml"
OWN, MODEL = "out", "model"
"""In a command: the stage's own folder, and the base. Folders of earlier stages go by their names."""

Told = Callable[[str], None]


class Stage(Record):
    """One step.

    Attributes:
        name: of its folder, and how later commands refer to it.
        about: what it is for, in a few words.
        command: what stands behind `warmline`; `{name}` is the folder of an earlier stage, `{out}`
            this one's, `{model}` the base model.
        minutes: expected on the hardware that the preset is for.
    """

    name: Text
    about: Text
    command: Text
    minutes: float | None = None


class Preset(Record):
    """A whole reproduction.

    Attributes:
        about: what it is for.
        honest: what its figures can and cannot show; stands in the report.
        environment: variables set for every stage, unless they are set already.
        model: that everything is trained on; None where the caller has to name one.
        corpus: the stage whose conversations the HTML report shows.
    """

    about: Text
    honest: Text
    environment: dict[str, str] = Field(default_factory=dict)
    model: str | None = None
    corpus: Text = "corpus"
    stages: tuple[Stage, ...]

    @model_validator(mode="after")
    def _stages_agree(self) -> Preset:
        names = [stage.name for stage in self.stages]
        problems = [f"stage '{n}' occurs twice" for n in set(names) if names.count(n) > 1]
        for place, stage in enumerate(self.stages):
            known = {OWN, MODEL, *names[:place]}
            used = {name for _, name, _, _ in Formatter().parse(stage.command) if name is not None}
            problems += [
                f"stage '{stage.name}' refers to '{name}', which no stage before it is called"
                for name in sorted(used - known)
            ]
        if self.corpus not in names:
            problems.append(f"corpus: no stage is called '{self.corpus}'")
        if problems:
            raise ValueError("; ".join(problems))
        return self


class Done(Record):
    """The mark of a finished stage; `done.json`."""

    command: str
    seconds: float
    starts: int = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """A stage with its folder and its command as it is run.

    Attributes:
        asked: the command with the model, but without folders, so that all can be moved together.
        command: in words, with folders.
    """

    stage: Stage
    folder: Path
    asked: str
    command: tuple[str, ...]

    @property
    def shown(self) -> str:
        """The command for a shell."""
        return shlex.join(("warmline", *self.command))

    def done(self) -> Done | None:
        """The mark, if the stage is finished.

        Raises:
            RunError: it was finished with another command.
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
            raise RunError(
                f"{self.folder} was made by another command (there -> here):\n"
                f"  {mark.command}\n  {self.asked}",
                hint="choose another folder, or remove this one and those behind it",
            )
        return mark


def reproduce(
    preset: str,
    out: Path,
    *,
    model: str | None = None,
    until: str | None = None,
    told: Told = lambda line: None,
) -> Path:
    """Run, resume or find finished a preset's stages, and write the report; returns its page.

    Args:
        preset: name or path.
        model: the base, in place of the preset's.
        until: the last stage to run; its report says what there is.
        told: called with each line that is printed.

    Raises:
        ConfigError, DataError, RunError: a preset that cannot be used, or a stage that failed.
    """
    chosen = read_preset(preset)
    steps = first_stages(plan(chosen, out, model), until)
    marks = run_plan(steps, chosen.environment, told)
    tables = write_report(out, as_data(chosen, steps, marks))
    corpus = next((step.folder for step in steps if step.stage.name == chosen.corpus), None)
    if corpus is None:
        return out / PAGE_NAME
    page = out / HTML_NAME
    words = ["report", str(corpus), "--out", str(page), "--appendix", str(tables)]
    for line in output_of([*words, "--title", "Reproduction"], chosen.environment):
        told(line.rstrip("\n"))
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


def known_presets() -> list[str]:
    """Names of the shipped presets."""
    folder = files(__package__).joinpath("presets")
    return sorted(
        f.name.removesuffix(PRESET_SUFFIX)
        for f in folder.iterdir()
        if f.name.endswith(PRESET_SUFFIX)
    )


def read_preset(name: str) -> Preset:
    """A preset by its name or as the path of a TOML file.

    Raises:
        ConfigError: no such preset, or stages that do not fit together.
        DataError: not TOML.
    """
    shipped = Path(str(files(__package__).joinpath("presets"))) / f"{name}{PRESET_SUFFIX}"
    path = shipped if shipped.is_file() else Path(name)
    if not path.is_file():
        raise ConfigError(
            f"no preset '{name}'; known: {', '.join(known_presets())}, or the path of a TOML file",
            hint=did_you_mean(name, known_presets()),
        )
    try:
        return Preset.model_validate(read_toml(path))
    except ValidationError as error:
        raise ConfigError(
            f"the preset {path} cannot be used", problems=problems_of(error, Preset)
        ) from None


def plan(preset: Preset, out: Path, model: str | None = None) -> list[Plan]:
    """The stages with their folders, `01-name` and so on, and their commands.

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
    plans = []
    for stage in preset.stages:
        own = folders[stage.name]
        known = folders | {OWN: own, MODEL: base}
        words = tuple(word.format_map(known) for word in shlex.split(stage.command))
        asked = stage.command.replace("{" + MODEL + "}", base)
        plans.append(Plan(stage, Path(own), asked, words))
    return plans


def run_plan(
    plans: Sequence[Plan], environment: Mapping[str, str], told: Told = lambda line: None
) -> list[Done]:
    """Run what is not done yet, in order.

    Args:
        environment: variables for every stage; what is set already takes precedence.
        told: called with each line of a stage's output, and with one before each stage.

    Raises:
        RunError: a stage failed, or its folder holds another one's.
    """
    marks = []
    for number, step in enumerate(plans, 1):
        mark = step.done()
        if mark is None:
            told(f"[{number}/{len(plans)}] {step.stage.about}\n  {step.shown}")
            mark = _run(step, environment, told)
        else:
            told(f"[{number}/{len(plans)}] {step.stage.about}: done before")
        marks.append(mark)
    return marks


def _run(step: Plan, environment: Mapping[str, str], told: Told) -> Done:
    clock = _Clock(step.folder)
    with (step.folder / OUTPUT_NAME).open("a", encoding="utf-8") as log:
        for line in output_of(step.command, environment):
            log.write(line)
            log.flush()
            told(line.rstrip("\n"))
            clock.tick()
    mark = Done(command=step.asked, seconds=clock.seconds, starts=clock.starts)
    write_whole(step.folder / DONE_NAME, mark.model_dump_json(indent=2) + "\n")
    return mark


class _Clock:
    """Seconds that a stage takes over all its starts, as far as it printed."""

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
