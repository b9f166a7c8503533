"""Names of hosts, readable and not."""

from __future__ import annotations

import pytest

from warmline.core.outside.hosts import host_name, is_own_origin


@pytest.mark.parametrize(
    ("host", "name"),
    [("LocalHost:8010", "localhost"), ("[::1]:80", "::1"), ("", ""), ("[", None), ("[x]", None)],
)
def test_a_name_is_read_or_is_none(host: str, name: str | None) -> None:
    assert host_name(host) == name


def test_an_origin_is_ours_by_name_and_port() -> None:
    assert is_own_origin("http://localhost:1", "localhost:1")
    for origin in ("http://localhost:2", "null", "http://[", ""):
        assert not is_own_origin(origin, "localhost:1")
