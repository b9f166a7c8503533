"""The help lines: every country has some, nobody gets none."""

from __future__ import annotations

import datetime as dt
import re

import pytest

from warmline.core.errors import ConfigError
from warmline.policies.human.help_lines import (
    ELSEWHERE,
    HelpLine,
    countries,
    help_lines,
    refuse_unknown_country,
    revised,
)
from warmline.policies.human.policy import HumanPolicy


def test_every_country_can_be_read_and_has_an_emergency_number() -> None:
    assert len(countries()) > 20
    for code, country in countries().items():
        assert len(code) == 2
        assert code.isupper()
        assert any(c.isdigit() for c in country.emergency)
        assert country.lines
        for line in country.lines:
            assert line.call or line.text
            assert line.url.startswith("https://")
            assert re.search(r"\(20\d\d-\d\d-\d\d\)$", line.checked)  # where and when, or that not
    assert dt.date.fromisoformat(revised()) <= dt.datetime.now(dt.UTC).date() + dt.timedelta(
        days=400
    )


@pytest.mark.parametrize("code", ["", "XX", "zz", "GB", "gb", " us "])
def test_no_code_is_left_without_help(code: str) -> None:
    found = help_lines(code)
    assert found.emergency
    assert found.lines[-1].url == ELSEWHERE
    assert ELSEWHERE in str(found)


def test_the_studys_own_lines_come_first() -> None:
    own = HelpLine(name="Campus", call="55 55")
    assert help_lines("GB").with_lines([own]).lines[0] == own
    assert "116 123" in str(help_lines("gb"))


def test_a_country_that_is_not_listed_is_refused_in_settings() -> None:
    refuse_unknown_country("")
    with pytest.raises(ConfigError, match="no help lines for the country 'UK'"):
        HumanPolicy(country="UK")
    with pytest.raises(ConfigError, match="neither call nor text nor url"):
        HelpLine(name="nothing")
