"""The data card: what a data set holds, how it was made, under which terms, and what it is not for.

A card is plain data (`Facts` and what the export adds) rendered by `templates/card.md.jinja`. It
carries no clock and no path of a machine, so equal exports have equal cards.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ....agents.roles import Role
from ....agents.templates import PromptTemplate, known_templates
from ....core.claim import CONFIG_NAME
from ....core.files import read_toml
from ....policies.safety import DISCLAIMER
from ...episodes.episode import Episode, StopReason
from ..statistics import StatisticsCounter, comparison_markdown, strategy_shares
from ..tags import Severity, Tags

CARD_NAME = "README.md"
MARK = "<!-- made by warmline export -->"
"""Stands in every card; only a folder whose card has it may be replaced."""

OWN_TEMPLATE = "own template"
HUMAN = "human"
"""The policy of a person in a seat."""

_TEMPLATE = Path(__file__).parent / "templates" / "card.md.jinja"
_GENERATION = Path(__file__).parents[1] / "generation" / "templates"


@dataclass(slots=True)
class Facts:
    """The facts about the conversations on a card; collected in one pass, whatever their number."""

    statistics: StatisticsCounter = field(default_factory=StatisticsCounter)
    types: Counter[str] = field(default_factory=Counter)
    calls: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    system: dict[str, set[str]] = field(default_factory=dict)
    stops: Counter[str] = field(default_factory=Counter)
    crisis: Counter[str] = field(default_factory=Counter)
    in_crisis: int = 0
    with_people: int = 0
    repairs: Counter[str] = field(default_factory=Counter)
    generated: Counter[int] = field(default_factory=Counter)
    writers: Counter[str] = field(default_factory=Counter)

    def add(self, episode: Episode) -> None:
        """Take one conversation in."""
        self.statistics.add(episode)
        self.types[episode.scenario.problem_type] += 1
        self.stops[episode.stop.value] += 1
        kinds = {kind for utterance in episode.utterances for kind in utterance.crisis}
        self.in_crisis += bool(kinds)
        self.crisis.update(kinds)
        for utterance in episode.utterances:
            self.repairs.update(utterance.repairs)
        for call in episode.calls:
            sampling = call.sampling.as_dict()
            shown = ", ".join(f"{name} {value:g}" for name, value in sorted(sampling.items()))
            self.calls[(call.role, call.policy, shown)] += 1
        self.with_people += any(call.policy == HUMAN for call in episode.calls)
        self._add_origin(episode)

    def _add_origin(self, episode: Episode) -> None:
        origin = episode.scenario.origin
        if origin is not None:
            self.generated[origin.depth] += 1
            self.writers[f"situations by {origin.written_by or 'an unnamed policy'}"] += 1
            self.writers[f"profiles by {origin.profile_by or 'an unnamed policy'}"] += 1
        elif episode.stop is not StopReason.RECORDED:
            self.generated[0] += 1


def cleaning_counts(tags: Iterable[Tags]) -> list[tuple[str, str, str, int]]:
    """(filter, asked for, reason, episodes) over all tagged episodes of the corpus."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for one in tags:
        counts.update({(f.filter, f.severity.value, f.reason) for f in one.findings})
    return [(*key, count) for key, count in sorted(counts.items())]


def flag_counts(tags: Iterable[Tags]) -> list[tuple[str, int]]:
    """(filter, episodes) of those that were only flagged."""
    counts: Counter[str] = Counter()
    for one in tags:
        counts.update({f.filter for f in one.of(Severity.FLAG)})
    return sorted(counts.items())


def prompts_of(folder: Path) -> list[tuple[str, str, str]]:
    """(role, template's name, start of its hash) from the run's configuration; empty without one.

    Raises:
        DataError: the configuration cannot be read.
    """
    identity = _identity(folder)
    return [*_seat_prompts(identity), *_generation_prompts(identity.get("generator"))]


def models_of(folder: Path) -> list[tuple[str, str, str, str]]:
    """(role, model, start of its weights' hash, engine) from the run's configuration.

    Names and hashes only: where a server stands or a file lies is nobody's business.

    Raises:
        DataError: the configuration cannot be read.
    """
    identity = _identity(folder)
    seats = [(role, identity.get(role)) for role in (*(r.value for r in Role), "generator")]
    return [
        (role, *_model(seat)) for role, seat in seats if isinstance(seat, dict) and "model" in seat
    ]


def _model(seat: dict[str, Any]) -> tuple[str, str, str]:
    name = str(seat["model"])
    name = Path(name).name if name.startswith(("/", "~", ".")) else name
    adapters = [str(adapter["name"]) for adapter in seat.get("adapters", ())]
    named = " with ".join([name, *adapters])
    revision = f", revision {seat['revision']}" if seat.get("revision") else ""
    sha = str(seat.get("sha256") or seat.get("source_sha256") or "")
    return named + revision, sha[:16], str(seat.get("engine", seat.get("policy", "")))


def _identity(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG_NAME
    if not path.is_file():
        return {}
    return dict(read_toml(path).get("identity", {}))


def _seat_prompts(identity: dict[str, Any]) -> list[tuple[str, str, str]]:
    shipped = {PromptTemplate(name).sha256: name for name in known_templates()}
    seats = [(role.value, identity.get(role.value)) for role in Role]
    return [
        (role, shipped.get(seat["template"], OWN_TEMPLATE), seat["template"][:16])
        for role, seat in seats
        if isinstance(seat, dict) and "template" in seat
    ]


def _generation_prompts(generator: Any) -> list[tuple[str, str, str]]:
    """Of a build: what wrote the scenarios and the profiles."""
    if not isinstance(generator, dict):
        return []
    found = []
    for what in ("scenario", "profile"):
        if (sha := generator.get(f"{what}_template")) is not None:
            name = f"{what}.jinja"
            ours = PromptTemplate(_GENERATION / name).sha256 == sha
            found.append((f"{what} writer", name if ours else OWN_TEMPLATE, sha[:16]))
    return found


def size_category(rows: int) -> str:
    """The Hugging Face hub's size category."""
    for limit, name in (
        (1_000, "n<1K"),
        (10_000, "1K<n<10K"),
        (100_000, "10K<n<100K"),
        (1_000_000, "100K<n<1M"),
    ):
        if rows < limit:
            return name
    return "n>1M"


def front_matter(fields: dict[str, Any]) -> str:
    """YAML of a card's fields; every scalar is written as JSON, which YAML reads as is."""
    return "---\n" + "\n".join(_yaml(fields, "")) + "\n---\n"


def _yaml(value: Any, indent: str) -> list[str]:
    if isinstance(value, dict):
        lines = []
        for key, inner in value.items():
            if isinstance(inner, dict | list):
                lines += [f"{indent}{key}:", *_yaml(inner, indent + "  ")]
            else:
                lines.append(f"{indent}{key}: {json.dumps(inner, ensure_ascii=False)}")
        return lines
    lines = []
    for item in value:
        if isinstance(item, dict):
            first, *rest = _yaml(item, indent + "  ")
            lines += [f"{indent}- {first.strip()}", *rest]
        else:
            lines.append(f"{indent}- {json.dumps(item, ensure_ascii=False)}")
    return lines


def render_card(facts: Facts, values: dict[str, Any]) -> str:
    """The card's text.

    Args:
        facts: about the conversations exported.
        values: what else the template asks for; see `export.py`.
    """
    environment = ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["cell"] = _cell
    template = environment.from_string(_TEMPLATE.read_text("utf-8"))
    statistics = facts.statistics.result()
    body = template.render(
        **values,
        mark=MARK,
        disclaimer=DISCLAIMER,
        facts=facts,
        statistics=statistics,
        table=comparison_markdown(statistics, values["name"]),
        strategies=list(strategy_shares(statistics.strategies).items()),
        share=lambda part: f"{100 * part / statistics.dialogues:.1f} %",
    )
    return front_matter(values["front"]) + _spaced(body) + "\n"


def _spaced(text: str) -> str:
    """One empty line between paragraphs, and one before each heading."""
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"\n(?=## )", "\n\n", text)).strip()


def _cell(value: object) -> str:
    """Text for a cell of a Markdown table: one line, its bars escaped."""
    return " ".join(str(value).split()).replace("|", "\\|")


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
