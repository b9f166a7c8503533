"""Options made from settings: panels, fixed fields, and one text of options."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

import pytest
import typer
from pydantic import Field
from typer.testing import CliRunner

from warmline.core.errors import ConfigError
from warmline.core.fixed import Fixed, FixedFields
from warmline.core.options import nested, options_of, panel_of, read_options
from warmline.core.record import Record
from warmline.core.settings import read_settings


class Rows(Record):
    panel: ClassVar[str] = "Rows"

    length: int = Field(8, description="longest row")


class Loop(Rows):
    epochs: float = 1.0
    length: int = Field(16, description="longer here")


class Trainer(FixedFields, Loop):
    panel: ClassVar[str] = "Trainer"
    fixed: ClassVar[Fixed] = {"merge": (False, "there is no adapter"), "files": ((), "give data")}

    names: tuple[str, ...] = ()


class Refined(Trainer):
    fixed: ClassVar[Fixed] = {"names": ((), "is a field here"), "per": ("turn", "rows are turns")}


def test_an_option_is_in_the_panel_of_the_class_that_declares_it_first() -> None:
    """A class without a panel of its own does not take that of a record it is made of."""
    assert panel_of(Trainer, "length", "Other") == "Rows"
    assert panel_of(Trainer, "epochs", "Other") == "Other"
    assert panel_of(Refined, "names", "Other") == "Trainer"
    command = typer.Typer()

    def run(**given: Any) -> None:
        raise NotImplementedError

    run.__signature__ = inspect.Signature(options_of(Refined, panel="Other"))  # type: ignore[attr-defined]
    command.command()(run)
    shown = CliRunner().invoke(command, ["--help"]).output
    assert [shown.index(name) for name in ("Rows", "--length")] == sorted(
        shown.index(name) for name in ("Rows", "--length")
    )
    for name in ("Rows", "Other", "Trainer", "--epochs", "--names"):
        assert name in shown
    assert "--merge" not in shown


def test_a_fixed_field_is_accepted_at_its_one_value() -> None:
    assert Refined(merge=False, per="turn", files=[]) == Refined()
    assert Refined(names=("a",)).names == ("a",)
    with pytest.raises(ConfigError, match="merge: there is no adapter; per: rows are turns"):
        Refined(merge=True, per="conversation")
    with pytest.raises(ConfigError, match="unknown field 'merg'"):
        Refined(merg=True)


def test_one_text_of_options_is_read_like_a_command_line() -> None:
    words = ["--length", "3", "--names", "a", "--names", "b", "--no-merge", "--per", "turn"]
    given = nested(read_options(words, options_of(Refined)))
    settings = read_settings(Refined, None, given)
    assert (settings.length, settings.names, settings.epochs) == (3, ("a", "b"), 1.0)
    assert nested(read_options([], options_of(Refined))) == {}
    with pytest.raises(ConfigError, match="there is no adapter"):
        read_settings(Refined, None, nested(read_options(["--merge"], options_of(Refined))))
    with pytest.raises(ConfigError, match=r"(?i)no such option"):
        read_options(["--lenght", "3"], options_of(Refined))
    with pytest.raises(ConfigError, match=r"Invalid value.*--length"):
        read_options(["--length", "x"], options_of(Refined))
