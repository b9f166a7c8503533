"""Presets: the stages of a reproduction, in a TOML file."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from string import Formatter
from typing import Any

from pydantic import Field, ValidationError, model_validator

from ...core.errors import ConfigError, DataError, did_you_mean
from ...core.files import read_text, read_toml
from ...core.record import Record, Text, problems_of
from ...core.settings import read_settings
from .stages import KINDS, read_command

PRESET_SUFFIX = ".toml"
FOR_TESTS = frozenset({"tiny"})
"""Presets that are not offered: a model of random weights has to be made for them first."""
FOLDERS = {"cpu": Path("runs/reproduce")}
"""Folders of presets that are not `runs/NAME`."""
HEAD = {"# Run it: ": "", "# See it: ": " --dry-run"}
"""Lines in a preset's comment that say how it is run, and the option that makes the difference."""
OUT, MODEL = "out", "model"
"""In settings: the stage's own folder and the base; folders of earlier stages by their names."""


class Stage(Record):
    """One step.

    Attributes:
        name: of its folder, and how later stages refer to it.
        about: what it is for, in a few words.
        run: what it does, a name of `stages.KINDS`.
        settings: of that; in texts `{name}` is the folder of an earlier stage, `{out}` this one's
            and `{model}` the base model. `out` is `{out}` unless it is given.
        minutes: expected on the hardware that the preset is for.

    A stage may also have `command`, as earlier versions wrote it: the command line after
    `warmline`, in place of `run` and `settings`.
    """

    name: Text
    about: Text
    run: str
    settings: dict[str, Any] = Field(default_factory=dict)
    minutes: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_command(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or "command" not in data:
            return data
        given = dict(data)
        named = f"stage '{given.get('name', '')}'"
        if both := sorted(given.keys() & {"run", "settings"}):
            raise ValueError(f"{named} has a command, and {' and '.join(both)}; give one of them")
        try:
            given["run"], given["settings"] = read_command(str(given.pop("command")))
        except ConfigError as error:
            raise ValueError(f"{named}: {error}") from None
        return given

    @model_validator(mode="after")
    def _settings_agree(self) -> Stage:
        if self.run not in KINDS:
            hint = did_you_mean(self.run, KINDS) or f"known: {', '.join(KINDS)}"
            raise ValueError(f"stage '{self.name}': nothing is called '{self.run}'; {hint}")
        try:
            self.given()
        except ConfigError as error:
            raise ValueError(f"stage '{self.name}': {error}") from None
        return self

    def given(self) -> dict[str, Any]:
        """The settings with `out`, checked.

        Raises:
            ConfigError: settings that cannot be used.
        """
        model = KINDS[self.run].settings
        own = {OUT: "{" + OUT + "}"} if OUT in model.model_fields else {}
        return read_settings(model, own | self.settings).model_dump(exclude_unset=True)

    def record(self, known: Mapping[str, str]) -> Record:
        """The settings record with these names filled in; others stay as they are.

        Raises:
            ConfigError: settings that cannot be used.
        """
        return read_settings(KINDS[self.run].settings, filled(self.given(), known))

    def names(self) -> set[str]:
        """The names that the settings refer to."""
        return {
            name
            for text in _texts(self.given())
            for _, name, _, _ in Formatter().parse(text)
            if name is not None
        }


class Preset(Record):
    """A whole reproduction.

    Attributes:
        about: what it is for.
        honest: what its figures can and cannot show; stands in the report.
        environment: variables set for every stage, unless they are set already.
        model: that everything is trained on; None where the caller has to name one.
        corpus: the stage whose conversations the HTML report shows; by default that of this name,
            if there is one.
    """

    about: Text
    honest: Text
    environment: dict[str, str] = Field(default_factory=dict)
    model: str | None = None
    corpus: Text | None = None
    stages: tuple[Stage, ...]

    @model_validator(mode="after")
    def _stages_agree(self) -> Preset:
        names = [stage.name for stage in self.stages]
        problems = [f"stage '{n}' occurs twice" for n in set(names) if names.count(n) > 1]
        for place, stage in enumerate(self.stages):
            known = {OUT, MODEL, *names[:place]}
            problems += [
                f"stage '{stage.name}' refers to '{name}', which no stage before it is called"
                for name in sorted(stage.names() - known)
            ]
        if self.corpus is not None and self.corpus not in names:
            problems.append(f"corpus: no stage is called '{self.corpus}'")
        if problems:
            raise ValueError("; ".join(problems))
        return self


class _Known(dict[str, str]):
    """Leaves a name that is not known as it is."""

    def __missing__(self, name: str) -> str:
        return "{" + name + "}"


def filled(value: Any, known: Mapping[str, str]) -> Any:
    """Settings with `{name}` in every text replaced by what is known under that name."""
    if isinstance(value, str):
        return value.format_map(_Known(known))
    if isinstance(value, Mapping):
        return {key: filled(each, known) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [filled(each, known) for each in value]
    return value


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)


def known_presets() -> list[str]:
    """Names of the shipped presets, without those for tests."""
    folder = files(__package__).joinpath("presets")
    found = {
        f.name.removesuffix(PRESET_SUFFIX)
        for f in folder.iterdir()
        if f.name.endswith(PRESET_SUFFIX)
    }
    return sorted(found - FOR_TESTS)


def folder_of(name: str) -> Path:
    """Where a preset is run unless another folder is given, by its name or as a path."""
    return FOLDERS.get(name, Path("runs") / Path(name).stem)


def preset_text(name: str) -> str:
    """The TOML of a preset, by its name or as a path.

    Raises:
        ConfigError: no such preset.
    """
    return read_text(_file_of(name))


def run_words(file: Path, preset: Preset) -> str:
    """The command that runs a preset in a file, with what has to be given beside it."""
    return f"warmline reproduce --preset {shlex.quote(str(file))}" + (
        "" if preset.model else " --model FOLDER"
    )


def preset_copy(name: str, file: Path) -> str:
    """The TOML of a preset as it is written to a file: its comment says how to run that file.

    Raises:
        ConfigError: no such preset, or stages that do not fit together.
        DataError: not TOML.
    """
    command = run_words(file, read_preset(name))
    text = preset_text(name)
    for start, option in HEAD.items():
        line = f"{start:<14}{command}{option}"
        text = re.sub(f"(?m)^{start}.*$", line.replace("\\", r"\\"), text)
    return re.sub(r"(?m)^# Change it: .*\n", "", text)


def _file_of(name: str) -> Path:
    shipped = Path(str(files(__package__).joinpath("presets"))) / f"{name}{PRESET_SUFFIX}"
    path = shipped if shipped.is_file() else Path(name)
    if not path.is_file() and path.suffix == PRESET_SUFFIX:
        raise DataError(
            "no such file", file=path, hint="`warmline presets list` has those that ship"
        )
    if not path.is_file():
        raise ConfigError(
            f"no preset '{name}'; known: {', '.join(known_presets())}, or the path of a TOML file",
            hint=did_you_mean(name, known_presets()),
        )
    return path


def read_preset(name: str) -> Preset:
    """A preset by its name or as the path of a TOML file.

    Raises:
        ConfigError: no such preset, or stages that do not fit together.
        DataError: not TOML.
    """
    path = _file_of(name)
    try:
        return Preset.model_validate(read_toml(path))
    except ValidationError as error:
        raise ConfigError(
            f"the preset {path} cannot be used", problems=problems_of(error, Preset)
        ) from None
