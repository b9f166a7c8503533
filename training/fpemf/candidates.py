"""Candidates of any model outside training, judged: helpful rates of FPEMF Table 4.

The same contexts, search and judge for the model before and after FPEMF make the two comparable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from ...core.errors import ConfigError
from ...core.outside.console import make_console
from ...core.settings import expect_settings
from ...core.shards.parts import InThread
from ...core.tasks import run_sync
from ...environments.shards.parts import Parts
from ...policies.models.loading import find_dtype
from ..candidates.feedback import Labeller, Share, find_rule, helpful_rates
from ..candidates.rows import CandidateSet
from ..loop.base_model import load_base
from ..loop.loop import on_gpu
from .contexts import candidate_sets, dialogues_of
from .judging import feedback_on, rate
from .settings import CandidateRunSettings

Rates = Mapping[str, Mapping[str, Share]]
"""By form (single, beams, gold) and dimension; see `helpful_rates`."""


def make_candidates(
    settings: CandidateRunSettings,
    *,
    labeller: Labeller | None = None,
    console: Console | None = None,
) -> tuple[Sequence[CandidateSet], Rates]:
    """Search candidates in `out/candidates`, have them judged there, write `out/helpful.json`.

    The same call resumes; what is searched and judged is not repeated.

    Args:
        labeller: judges candidates in place of the policy that the settings name.

    Returns:
        The contexts with their candidates (of one part its own), and the helpful rates; none with
        `feedback` off, and none of a part.

    Raises:
        ConfigError: no folder is named, or no context is left.
        RunError: the folder holds candidates of another model, search or data.
    """
    expect_settings(settings, CandidateRunSettings, "make_candidates")
    console = console or make_console(quiet=True)
    if settings.out is None:
        raise ConfigError("no folder for the candidates", hint="--out runs/candidates")
    if settings.sharded:
        do = InThread(partial(_part, settings, labeller))
        run_sync(Parts(do, Path(settings.out), settings, console.print).run())
    device = "cuda" if on_gpu(settings) else "cpu"
    base = load_base(settings.model, dtype=find_dtype(settings.dtype, device))
    contexts = candidate_sets(settings, base, console).sets
    judged = labeller is not None or settings.judge.policy is not None
    if settings.part is not None:
        if settings.feedback and judged:
            rate(settings, contexts, labeller, console)
        console.print(f"part {settings.part} is done; the same command without it joins all parts")
        return contexts, {}
    seen = dialogues_of(settings, contexts)
    if not settings.feedback:
        return contexts, {}
    marks, _ = feedback_on(settings, contexts, labeller, console, seen)
    return contexts, helpful_rates(contexts, marks, find_rule(settings.rule))


def _part(settings: CandidateRunSettings, labeller: Labeller | None, part: str) -> None:
    """What a worker does."""
    own = settings.model_copy(update={"part": part, "workers": None, "on": None})
    make_candidates(own, labeller=labeller)
