"""`warmline harness`: general ability of a checkpoint, through the lm-evaluation-harness."""

# typer reads these annotations when the module is loaded, so they are not postponed
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def harness(
        model: Annotated[str, typer.Argument(help="A checkpoint, model folder, GGUF file or id.")],
        task: Annotated[
            list[str] | None,
            typer.Option(help="A task of the harness; default: those of Self-Evolution Table 4."),
        ] = None,
        task_folder: Annotated[Path | None, typer.Option(help="Task files of your own.")] = None,
        limit: Annotated[
            int | None, typer.Option(min=1, help="Samples a task, for a trial.")
        ] = None,
        batch_size: Annotated[int, typer.Option(min=1, help="Prompts computed together.")] = 8,
        device: Annotated[
            str, typer.Option(help="A torch device; auto uses a GPU if available.")
        ] = "auto",
        chat: Annotated[bool, typer.Option(help="Ask in the model's chat template.")] = True,
        seed: Annotated[int, typer.Option(help="Seed of the harness's own sampling.")] = 0,
        out: Annotated[Path | None, typer.Option(help="Folder for harness.json.")] = None,
    ) -> None:
        """Score general ability with the lm-evaluation-harness, which fetches its own data."""
        from rich.table import Table

        from ...core.outside.console import make_console
        from ...core.published import published_rows
        from .run import AVERAGE, PUBLISHED, TASKS, average, general_ability

        scores = general_ability(
            model,
            tasks=task or tuple(TASKS),
            task_folder=task_folder,
            limit=limit,
            batch_size=batch_size,
            device=device,
            chat=chat,
            seed=seed,
            out=out,
        )
        published = published_rows(PUBLISHED)
        table = Table(
            "task", "metric", "per cent", "n", *(f"{name} (published)" for name in published)
        )
        for score in scores:
            sure = "" if score.error is None else f" ± {score.error:.2f}"
            table.add_row(
                score.task,
                score.metric,
                "no value" if score.value is None else f"{score.value:.2f}{sure}",
                str(score.n or ""),
                *(
                    f"{row[score.task]:.2f}" if score.task in row else ""
                    for row in published.values()
                ),
            )
        mean = average(scores)
        table.add_row(
            f"{AVERAGE} of the published tasks",
            "",
            "no value" if mean is None else f"{mean:.2f}",
            "",
            *(f"{row[AVERAGE]:.2f}" for row in published.values()),
        )
        make_console().print(table)
