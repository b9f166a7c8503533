"""The view of a run: plain lines anywhere, a live display on a terminal, text shown inert."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from rich.console import Console

import warmline
from warmline.environments.runs.display import LiveView

from ..helpers import scenario, scenarios, talk


def shown(terminal: bool, policy: warmline.ScriptedPolicy, *, conversations: bool = True) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=100, color_system=None)
    chosen = [scenario("hard [bold]id[/]"), *scenarios(2)]
    with LiveView(3, console=console, conversations=conversations) as view:
        warmline.simulate(
            policy=policy, scenarios=chosen, max_turns=4, counselor=True, observe=view
        )
    return out.getvalue()


def test_plain_lines_tell_each_end_and_each_conversation() -> None:
    text = shown(False, talk())
    assert "3/3 s1: turn_limit, 4 utterances" in text
    assert text.count("Seeker: I lost my job.") == 3
    assert "Supporter: [Question] What happened on Monday?" in text
    assert "\x1b" not in text


def test_conversations_can_be_left_out() -> None:
    text = shown(False, talk(), conversations=False)
    assert "Seeker:" not in text
    assert len(text.splitlines()) == 3


def test_a_terminal_gets_progress_rates_and_stop_reasons() -> None:
    text = shown(True, talk())
    assert "3/3" in text
    assert "turn_limit 3" in text
    assert "tokens/s" in text
    assert "time left" in text


def test_markup_in_model_text_is_shown_as_it_is() -> None:
    text = shown(False, talk(seeker=["[red]I[/red] am [/] here."]))
    assert "Seeker: [red]I[/red] am [/] here." in text
    assert "hard [bold]id[/]" in text


def test_crisis_language_and_errors_are_visible() -> None:
    assert "crisis language: suicide" in shown(False, talk(seeker=["I want to die."]))
    failing = shown(False, talk(supporter=[" "]))
    assert "UnreadableReply" in failing


def test_resumed_episodes_count_but_are_not_printed(tmp_path: Path) -> None:
    out = io.StringIO()
    view = LiveView(2, console=Console(file=out), conversations=True)
    run: dict[str, Any] = {"policy": talk(), "scenarios": scenarios(2), "max_turns": 2}
    warmline.simulate(**run, out=tmp_path)
    warmline.simulate(**run, out=tmp_path, observe=view)
    assert out.getvalue() == ""
    assert view.stops == {"turn_limit": 2}
