"""A function in a process of its own: its output, its environment, and how it ends."""

from __future__ import annotations

import os
import sys

import pytest

from warmline.core.errors import ConfigError, RunError
from warmline.training.reproduction.processes import output_of


def speak(name: str) -> None:
    """Prints through Python and past it, and says what was loaded before."""
    print(f"{name} = {os.environ.get(name)}")
    os.write(2, b"past Python\n")
    print("torch" in sys.modules)


def refuse(text: str) -> None:
    raise ConfigError(text)


def crash(code: int) -> None:
    print("about to crash")
    os._exit(code)


def test_its_output_comes_line_by_line_and_its_environment_is_set_first() -> None:
    lines = list(output_of(speak, "OMP_FOR_TEST", {"OMP_FOR_TEST": "3"}, shown="speak"))
    assert lines == ["OMP_FOR_TEST = 3\n", "past Python\n", "False\n"]
    assert "OMP_FOR_TEST" not in os.environ


def test_what_is_set_already_takes_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_FOR_TEST", "7")
    lines = list(output_of(speak, "OMP_FOR_TEST", {"OMP_FOR_TEST": "3"}, shown="speak"))
    assert lines[0] == "OMP_FOR_TEST = 7\n"


def test_a_deliberate_error_is_reported_with_its_words() -> None:
    with pytest.raises(RunError, match=r"(?s)`refuse` ended with 2:\nerror: no such thing"):
        list(output_of(refuse, "no such thing", {}, shown="refuse"))


def test_another_error_is_reported_with_its_traceback() -> None:
    with pytest.raises(RunError, match=r"(?s)ended with 1:\n.*TypeError"):
        list(output_of(crash, "not a code", {}, shown="crash"))


def test_a_crash_of_native_code_costs_the_stage_alone() -> None:
    with pytest.raises(RunError, match=r"(?s)ended with 70:\nabout to crash"):
        list(output_of(crash, 70, {}, shown="crash"))


def test_leaving_early_ends_the_process() -> None:
    """Closing the stream, as an error in the caller does, leaves no child behind."""
    lines = output_of(endless, "tick", {}, shown="endless")
    number = int(next(lines))
    lines.close()
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


def endless(word: str) -> None:
    print(os.getpid())
    while True:
        print(word)
