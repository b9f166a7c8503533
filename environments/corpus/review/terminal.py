"""The review on a terminal: how a dialogue is shown, and the questions asked of the reviewer."""

from __future__ import annotations

import typer
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from ....core.errors import ConfigError, RunError
from ....policies.safety import CRISIS_GUIDANCE
from .review import REVIEWER_GUIDANCE, ReviewItem, Verdict
from .store import ReviewStore

KEYS = "(a)pprove, (r)eject, (e)dit, (s)kip, (q)uit"
_STYLES = {"seeker": "cyan", "supporter": "green"}


def shown(item: ReviewItem) -> RenderableType:
    """What the reviewer sees: type, scenario, profile, dialogue; crisis language marked first."""
    parts: list[RenderableType] = []
    if item.crisis:
        parts.append(
            Panel(
                Text(f"{REVIEWER_GUIDANCE}\n\n{CRISIS_GUIDANCE}"),
                title=Text(f"crisis language: {', '.join(item.crisis).replace('_', '-')}"),
                border_style="red",
            )
        )
    kind = f"{item.problem_type} ({item.category})" if item.category else item.problem_type
    heading = [("dialogue", f"{item.id}, version {item.version}"), ("type", kind)]
    heading += [("scenario", item.situation), ("profile", item.profile or "none given")]
    parts += [Text.assemble((f"{name}: ", "bold"), value) for name, value in heading]
    parts.append(Text())
    for number, turn in enumerate(item.turns):
        strategy = f" [{turn.strategy}]" if turn.strategy else ""
        parts.append(
            Text.assemble(
                (f"{number:>3} {turn.role.capitalize()}{strategy}: ", _STYLES[turn.role]), turn.text
            )
        )
    return Group(*parts)


def review_one(store: ReviewStore, reviewer: str, item: ReviewItem, console: Console) -> bool:
    """Show one dialogue and ask until it is decided or skipped; False to stop reviewing."""
    while True:
        console.print(shown(item))
        answer = typer.prompt(KEYS).strip().lower()[:1]
        try:
            match answer:
                case "a":
                    store.decide(item.id, reviewer, Verdict.APPROVE, version=item.version)
                    return True
                case "r":
                    reason = typer.prompt("reason")
                    store.decide(
                        item.id, reviewer, Verdict.REJECT, version=item.version, reason=reason
                    )
                    return True
                case "e":
                    item = _ask_edit(store, reviewer, item)
                case "s":
                    store.skip(item.id, reviewer)
                    return True
                case "q":
                    return False
                case _:
                    console.print(Text(f"'{answer}' is none of {KEYS}", style="yellow"))
        except (
            ConfigError,
            RunError,
        ) as error:  # an answer refused, or edited meanwhile: read again
            console.print(Text(str(error), style="yellow"))
            item = store.item(item.id)


def _ask_edit(store: ReviewStore, reviewer: str, item: ReviewItem) -> ReviewItem:
    number = typer.prompt(f"utterance, 0 to {len(item.turns) - 1}", type=int)
    while not 0 <= number < len(item.turns):
        number = typer.prompt(f"utterance, 0 to {len(item.turns) - 1}", type=int)
    old = item.turns[number].text
    text = typer.prompt("new text (empty: no change)", default=old, show_default=False)
    if text.strip() == old:
        return item
    return store.edit(item.id, reviewer, number, text, version=item.version)
