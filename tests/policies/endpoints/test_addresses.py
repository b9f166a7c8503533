"""Addresses of servers: what is refused, and a file of them that changes."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from warmline.core.errors import ConfigError, DataError
from warmline.policies.endpoints.addresses import (
    CHECK_EVERY,
    AddressList,
    address_problems,
    addresses_of,
    read_addresses,
)

A, B, C = (f"http://{name}:8000/v1" for name in "abc")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ([], "empty list"),
        ([A, "b:8000"], "must look like"),
        ([A, A + "/"], f"names {A} more than once"),
        ([A, "@more.txt"], "stands alone"),
        ("@", "needs the path"),
        (3, "an address or a list of them, not int"),
        ([A, 3], "an address or a list of them"),
        (["http://u:secret@h/v1"], "must not carry a user"),
    ],
)
def test_what_is_no_address_is_refused(given: object, problem: str) -> None:
    (found,) = address_problems(given)
    assert problem in found
    assert "secret" not in found


def test_one_and_several() -> None:
    assert addresses_of(A + "/") == (A,)
    assert addresses_of([A, B]) == (A, B)
    assert not AddressList(A).is_pool
    assert AddressList([A, B]).is_pool
    with pytest.raises(ConfigError, match="must look like"):
        addresses_of("nowhere")


def test_a_file_holds_one_a_line(tmp_path: Path) -> None:
    file = tmp_path / "endpoints.txt"
    file.write_text(f"# the first rack\n\n {A}/ # its head\n{B}\n")
    assert addresses_of(f"@{file}") == (A, B)
    assert AddressList(f"@{file}").is_pool, "it may grow"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{A}\nb\n", "line 2: base_url must look like"),
        (f"{A}\n\n{A}\n", f"line 3: {A} stands in line 1 too"),
        ("# none\n", "holds no address"),
    ],
)
def test_a_file_that_cannot_be_used_names_its_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "endpoints.txt"
    file.write_text(text)
    with pytest.raises(DataError, match=message):
        read_addresses(file)


def test_a_changed_file_is_read_again_and_a_bad_one_changes_nothing(tmp_path: Path) -> None:
    file, clock = tmp_path / "endpoints.txt", Clock()
    file.write_text(f"{A}\n")
    addresses = AddressList(f"@{file}", clock=clock)
    file.write_text(f"{A}\n{B}\n")
    assert addresses.now() == (A,), "not looked at yet"
    clock.now += CHECK_EVERY
    assert addresses.now() == (A, B)
    for broken, message in (("nonsense\n", "line 1"), ("", "holds no address")):
        file.write_text(broken)
        clock.now += CHECK_EVERY
        with pytest.warns(UserWarning, match=rf"{message}.*the 2 addresses .* are used until"):
            assert addresses.now() == (A, B)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clock.now += CHECK_EVERY
        assert addresses.now() == (A, B), "told once"
    file.unlink()
    clock.now += CHECK_EVERY
    with pytest.warns(UserWarning, match=r"endpoints\.txt"):
        assert addresses.now() == (A, B)
    file.write_text(f"{C}\n")
    clock.now += CHECK_EVERY
    assert addresses.now() == (C,)


def test_a_file_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.txt"):
        AddressList(f"@{tmp_path / 'none.txt'}")
