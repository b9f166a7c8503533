"""General ability of a checkpoint, through the lm-evaluation-harness (Self-Evolution section 5.1,
Table 4).

The harness brings tasks, prompts and scoring, and fetches its data itself. This module only gives
it the model as our policies load it, with adapters merged, and its numbers to the command, which
shows the published ones beside them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import Any

from ...core.errors import ConfigError, MissingExtra, did_you_mean
from ...core.files import write_whole

HARNESS_NAME = "harness.json"

TASKS = {
    "gsm8k": ("exact_match", "flexible-extract"),
    "ifeval": ("prompt_level_strict_acc", "none"),
    "truthfulqa_mc2": ("acc", "none"),
    "openbookqa": ("acc_norm", "none"),
    "mmlu_pro": ("exact_match", "custom-extract"),
}
"""Tasks of Self-Evolution Table 4, each with the metric and filter that are shown. The paper
names the benchmarks and not the harness's variants: these are our choice."""

PUBLISHED = "Self-Evolution Table 4"
"""The published table of these tasks."""
AVERAGE = "average"
"""Name of its column of averages."""


@dataclass(frozen=True, slots=True)
class AbilityScore:
    """One task's result.

    Attributes:
        task: the harness's name of it.
        metric: metric and filter.
        value: per cent; None if the harness gave none.
        error: standard error in per cent, as the harness estimates it; None where it gives none, or
            the 0 of a task of which every sample, or none, is right, which is no certainty.
        n: samples scored.
    """

    task: str
    metric: str
    value: float | None
    error: float | None
    n: int | None


def general_ability(
    model: str | Path,
    *,
    tasks: Sequence[str] = tuple(TASKS),
    task_folder: str | Path | None = None,
    limit: int | None = None,
    batch_size: int = 8,
    device: str = "auto",
    chat: bool = True,
    seed: int = 0,
    out: str | Path | None = None,
) -> list[AbilityScore]:
    """Score a model or checkpoint on tasks of the harness.

    Args:
        model: whatever the `transformers` policy takes: a folder, an adapter, a GGUF file or a hub
            id.
        tasks: names of tasks or groups.
        task_folder: a folder with task files of your own; their data may be local.
        limit: samples a task at most, for a trial; scores then mean little.
        batch_size: prompts computed together.
        device: a torch device; `auto` uses a GPU if available.
        chat: ask in the model's chat template.
        seed: seed of the harness's own sampling of examples.
        out: folder to write `harness.json` into: scores, task versions, settings.

    Raises:
        MissingExtra: lm-eval is not installed.
        ConfigError: an unknown task.
        ModelNotFound: the model cannot be loaded.
    """
    try:
        from lm_eval import simple_evaluate
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise MissingExtra("the bridge to lm-evaluation-harness", extra="harness") from error
    from ...policies.models.loading import find_device, find_dtype, load
    from ...policies.models.sources import find_source

    manager = None
    if task_folder is not None:  # the harness's own thousands of files take long to index
        manager = TaskManager(include_path=str(task_folder), include_defaults=False)
    if manager is None or not set(tasks) <= set(manager.all_tasks):
        folder = None if task_folder is None else str(task_folder)
        manager = TaskManager(include_path=folder)
    _refuse_unknown(tasks, manager.all_tasks)
    where = find_device(device)
    loaded = load(find_source(model, merge=True), device=where, dtype=find_dtype("auto", where))
    wrapped = HFLM(
        pretrained=loaded.model,
        tokenizer=loaded.tokenizer,
        batch_size=batch_size,
        trust_remote_code=False,
    )
    results = simple_evaluate(
        model=wrapped,
        tasks=list(tasks),
        task_manager=manager,
        limit=limit,
        apply_chat_template=chat,
        log_samples=False,
        random_seed=seed,
        numpy_random_seed=seed,
        torch_random_seed=seed,
        fewshot_random_seed=seed,
    )
    scores = [score for task in tasks for score in _scores(task, results)]
    if out is not None:
        settings = {"tasks": list(tasks), "limit": limit, "chat": chat, "seed": seed}
        kept = {
            "model": loaded.name,
            "settings": settings,
            "lm_eval": version("lm_eval"),
            "versions": results["versions"],
            AVERAGE: average(scores),
            "scores": [
                {"task": s.task, "metric": s.metric, "value": s.value, "error": s.error, "n": s.n}
                for s in scores
            ],
        }
        write_whole(Path(out) / HARNESS_NAME, json.dumps(kept, indent=2, default=str) + "\n")
    return scores


def average(scores: Sequence[AbilityScore]) -> float | None:
    """Mean over the tasks of Self-Evolution Table 4, per cent; None unless each of them has exactly
    one score, since a mean over others does not compare."""
    values = [s.value for s in scores if s.task in TASKS and s.value is not None]
    scored = [s.task for s in scores if s.task in TASKS]
    whole = sorted(scored) == sorted(TASKS) and len(values) == len(TASKS)
    return fmean(values) if whole else None


def _refuse_unknown(tasks: Sequence[str], known: Sequence[str]) -> None:
    unknown = [
        f"'{task}'" + (f"; {hint}" if (hint := did_you_mean(task, known)) else "")
        for task in tasks
        if task not in known
    ]
    if unknown or not tasks:
        raise ConfigError(
            "the harness does not know some of these tasks" if unknown else "no task was named",
            problems=unknown,
            hint="its task list: lm_eval ls tasks; your own task files: --task-folder",
        )


def _scores(task: str, results: dict[str, Any]) -> list[AbilityScore]:
    """The shown metric of a known task; every metric of another."""
    found = results["results"][task]
    n = results.get("n-samples", {}).get(task, {}).get("effective")
    wanted = TASKS.get(task)
    names = [
        key
        for key, value in found.items()
        if isinstance(value, int | float) and "_stderr" not in key and "," in key
    ]
    if wanted is not None and ",".join(wanted) in names:
        names = [",".join(wanted)]
    return [
        AbilityScore(task, key, _percent(found[key]), _percent(_error(found, key)) or None, n)
        for key in names
    ]


def _error(found: dict[str, Any], key: str) -> Any:
    metric, _, kind = key.partition(",")
    return found.get(f"{metric}_stderr,{kind}")


def _percent(value: Any) -> float | None:
    return 100 * float(value) if isinstance(value, int | float) else None
