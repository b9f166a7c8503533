"""Crisis lines by country, for whoever types.

The list is `help_lines.toml`, kept with the day of its last revision. A country that it lacks gets the
guidance for everywhere and findahelpline.com, never nothing.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

from pydantic import model_validator

from ...core.errors import ConfigError, did_you_mean
from ...core.record import Record, Text

ELSEWHERE = "https://findahelpline.com"
"""Lists free, confidential lines by country."""


class HelpLine(Record):
    """One line.

    Attributes:
        call: the number to ring.
        text: what to send where, for lines that answer messages.
        hours: when it answers; empty: day and night.
        url: its own page.
        checked: where and when the entry was compared, or that it was not; for who keeps the list.
    """

    name: Text
    call: str = ""
    text: str = ""
    hours: str = ""
    url: str = ""
    checked: str = ""

    @model_validator(mode="after")
    def _reachable(self) -> HelpLine:
        if not (self.call or self.text or self.url):
            raise ValueError(f"the help line '{self.name}' has neither call nor text nor url")
        return self

    def __str__(self) -> str:
        ways = [f"call {self.call}" if self.call else "", f"text {self.text}" if self.text else ""]
        ways += [self.url, self.hours]
        return f"{self.name}: {', '.join(way for way in ways if way)}"


class Country(Record):
    """The lines of one country.

    Attributes:
        code: ISO 3166-1 alpha-2; empty for everywhere.
        emergency: the number for a danger of minutes or hours.
    """

    code: str = ""
    name: str
    emergency: str
    lines: tuple[HelpLine, ...]

    def with_lines(self, more: Iterable[HelpLine]) -> Country:
        """The same with further lines in front."""
        return self.model_copy(update={"lines": (*more, *self.lines)})

    def __str__(self) -> str:
        head = f"{self.name}: in danger, call {self.emergency}."
        return "\n".join([head, *(f"  {line}" for line in self.lines)])


EVERYWHERE = Country(
    name="Elsewhere",
    emergency="your local emergency number",
    lines=(
        HelpLine(name="Find A Helpline, free and confidential lines by country", url=ELSEWHERE),
    ),
)


@cache
def countries() -> dict[str, Country]:
    """All countries of the list, by code, in the order of their names."""
    listed = {c: entry for c, entry in _list().items() if isinstance(entry, dict)}
    found = [Country(code=code, **entry) for code, entry in listed.items()]
    return {each.code: each for each in sorted(found, key=lambda each: each.name)}


def revised() -> str:
    """The day on which the list was last gone through, ISO 8601."""
    return str(_list()["revised"])


@cache
def _list() -> dict[str, object]:
    text = files(__package__).joinpath("help_lines.toml").read_text("utf-8")
    return tomllib.loads(text)


def help_lines(code: str) -> Country:
    """The lines of a country, findahelpline.com last; of an unknown or empty code those for everywhere."""
    known = countries().get(code.strip().upper())
    if known is None:
        return EVERYWHERE
    return known.model_copy(update={"lines": (*known.lines, *EVERYWHERE.lines)})


def refuse_unknown_country(code: str) -> None:
    """Refuse a code that the list lacks, in settings.

    Raises:
        ConfigError: names those that it has.
    """
    if code and code.upper() not in countries():
        raise ConfigError(
            f"no help lines for the country '{code}'; listed: {', '.join(sorted(countries()))}",
            hint=did_you_mean(code.upper(), countries())
            or "leave it empty for the guidance for everywhere, and give the lines of yours",
        )
