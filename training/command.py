"""The command `warmline train` and its sub-commands, one for each trainer.

A trainer's options are made from the fields of its settings.
"""

from __future__ import annotations

import typer

from ..core.outside.commands import Entry, Listing, lazy_group

TRAINERS: Listing = {
    "Trainers": {
        "sft": Entry(
            "sft.command",
            "Fine-tune a supporter, or any seat, on conversations; resumes automatically.",
        ),
        "fpemf": Entry(
            "fpemf.command",
            "Fine-tune a supporter to prefer its helpful candidates (FPEMF §4.2); resumes"
            " automatically.",
        ),
        "dpo": Entry(
            "dpo.command",
            "Fine-tune a supporter to prefer replies refined by reflection (Self-Evolution §2.2);"
            " resumes automatically.",
        ),
        "counselor": Entry(
            "counselor.command",
            "Train a strategy counselor on labelled conversations; resumes automatically.",
        ),
        "scorer": Entry(
            "scorer.command",
            "Train a scorer of empathy, strategy, coherence and topic (FPEMF §4.1); resumes"
            " automatically.",
        ),
    }
}
"""Every trainer. The module has `register(train)`, and imports nothing heavy when it is loaded."""

train = typer.Typer(
    help="Train supporters, counselors and scorers.",
    cls=lazy_group(__package__, TRAINERS),
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Add `train` with all its sub-commands to the command line."""
    app.add_typer(train, name="train")
