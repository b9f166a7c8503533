"""Rendering: templates that escape everything, and what every page holds."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FunctionLoader, StrictUndefined, select_autoescape

from ....policies.human.help_lines import Country, countries, help_lines, revised
from ....policies.safety import CRISIS_GUIDANCE, DISCLAIMER
from ..participants import Participant
from ..settings import StudySettings

CSRF = "csrf"


def _source(name: str) -> str | None:
    if "/" in name or "\\" in name:
        return None
    return files(__package__).joinpath("templates", name).read_text("utf-8")


@cache
def _templates() -> Environment:
    return Environment(
        loader=FunctionLoader(_source),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


class Pages:
    """Makes the pages of one study."""

    def __init__(self, settings: StudySettings) -> None:
        self.settings = settings

    def lines(self, country: str) -> Country:
        """The help lines of a country, the study's own first."""
        return help_lines(country).with_lines(self.settings.help)

    def html(
        self,
        template: str,
        *,
        who: Participant | None = None,
        path: str = "",
        status: int = 200,
        **values: Any,
    ) -> HTMLResponse:
        """One page.

        Args:
            template: its name without the suffix.
            who: whose page it is; decides the help lines.
            path: of the participant, which links and forms begin with.
        """
        country = (who.country if who else "") or self.settings.country
        text = (
            _templates()
            .get_template(f"{template}.html.jinja")
            .render(
                settings=self.settings,
                who=who,
                path=path,
                help=self.lines(country),
                country=country,
                countries=countries(),
                revised=revised(),
                disclaimer=DISCLAIMER,
                guidance=CRISIS_GUIDANCE,
                **({"csrf": "", "leave": False} | values),
            )
        )
        return HTMLResponse(text, status_code=status)


def go_to(path: str) -> Response:
    """After a form: look at the page anew, so that going back or reloading sends nothing twice."""
    return RedirectResponse(path, status_code=303)
