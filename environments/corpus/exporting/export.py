"""Export: a corpus as a data set that the Hugging Face tools load as it is, with its card.

`export_corpus` writes a folder (`data/train.jsonl` or `.parquet`, …, and the card as `README.md`);
`load_dataset(folder)` reads it. `dataset_of` gives the same rows as a `datasets.DatasetDict`. Both
ask the licence guard first. Rows are made by `rows.py`, splits by `splits.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ....core.errors import ConfigError, DataError, MissingExtra, RunError, did_you_mean
from ....core.outside.progress import observed
from ....core.record import Record
from ....core.settings import read_settings
from ...episodes.episode import Episode
from ...episodes.sides import place_of
from ...scenarios.seed_pool import SOURCE as SEEDS
from ..folder import new_folder, tags_of
from ..importing.folder import opened
from ..review.agreement import agreement
from ..review.database import review_started
from ..review.review import agreement_items
from ..review.store import ReviewStore
from ..splits import Groups, add
from ..tags import Tags
from .card import (
    CARD_NAME,
    MARK,
    Facts,
    cleaning_counts,
    digest,
    flag_counts,
    models_of,
    prompts_of,
    render_card,
    size_category,
)
from .files import SplitFiles, arrow_schema
from .licences import Terms, combined, hub_licence, terms_of
from .rows import Row, rows_of
from .selection import Origins, Selection, origins_of
from .settings import ExportSettings
from .sides import Sides

NEAR_DUPLICATES = "near_duplicates"
"""The filter whose findings name the earlier dialogue: `ID (similarity)`."""
NO_ANSWER = "no supporter utterance after the seeker's first"
SEEDS_MADE = {
    "annotations_creators": ["machine-generated"],
    "language_creators": ["machine-generated"],
    "source_datasets": ["original"],
}
"""Front matter of the dialogues that ship."""


class ExportReport(Record):
    """What an export wrote.

    Attributes:
        dialogues: by split.
        rows: by split.
        left_out: dialogues left out, by reason.
        licence: the terms of the whole.
    """

    out: str
    dialogues: dict[str, int]
    rows: dict[str, int]
    left_out: dict[str, int]
    licence: Terms


class _Plan:
    """One pass over the corpus: what is in it, which belong together, under which terms."""

    def __init__(
        self,
        named: str | Path,
        settings: ExportSettings,
        observe: Callable[[Episode], None] | None = None,
    ) -> None:
        place = place_of(named)
        folder = self.folder = place.path
        self.settings = settings
        self.sides = Sides(place, settings)
        self.selection = Selection(folder, settings)
        self.tags: Mapping[str, Tags] | None = tags_of(folder) if settings.clean else None
        self.facts = Facts()
        self.groups = Groups()
        self.origins: Origins = origins_of(folder, settings)
        self.answered: set[str] = set()
        duplicates = _duplicates(self.tags or {})
        self.grouped_duplicates = bool(duplicates) and not self.sides.stored
        for episode in observed(self.selection.episodes(), observe):
            if self.sides.left_out(episode.id) or not rows_of(
                episode, settings.shape, **settings.row_options()
            ):
                continue
            self.answered.add(episode.id)
            self.facts.add(episode)
            self.origins.add(episode)
            add(self.groups, episode, duplicates)
        if not self.answered:
            raise DataError(
                "nothing is left to export" + _reasons(self.selection.left_out),
                file=folder,
                hint="`warmline clean` and, after a review, `warmline review status` show why; --no-clean"
                " takes all, --ignore FILTER what one filter dropped",
            )
        self.licences = self.origins.licences()
        self._check_accepted()
        self.terms = combined(self.licences, settings.accept_licences)

    def _check_accepted(self) -> None:
        """What is accepted is there: a source of the corpus, or a licence of one."""
        there = {**self.origins.licences_recorded(), **self.licences}
        known = [*there, *dict.fromkeys(terms_of(licence).id for licence in there.values())]
        for name in self.settings.accept_licences:
            if name.lower() not in (one.lower() for one in known):
                raise ConfigError(
                    f"nothing here is named '{name}', so it cannot be accepted; sources and"
                    f" licences: {', '.join(known)}",
                    hint=did_you_mean(name, known),
                )

    def rows(self) -> Iterator[tuple[str, str, list[Row]]]:
        """(episode, split, its rows) for every conversation, in the order of the log."""
        settings = self.settings
        for episode in self.selection.episodes():
            if reason := self.sides.left_out(episode.id):
                self.selection.left_out[reason] += 1
            elif episode.id in self.answered:
                split = self.sides.of(episode.id, self.groups)
                yield episode.id, split, rows_of(episode, settings.shape, **settings.row_options())
            else:
                self.selection.left_out[NO_ANSWER] += 1

    @property
    def name(self) -> str:
        return self.settings.name or self.folder.resolve().name

    @property
    def splits(self) -> Sequence[str]:
        """Names of the splits, in order."""
        return self.sides.names


def export_corpus(
    folder: str | Path,
    out: str | Path,
    settings: ExportSettings | None = None,
    *,
    force: bool = False,
    observe: Callable[[Episode], None] | None = None,
    **given: Any,
) -> ExportReport:
    """Write a corpus as a data set; equal corpora and settings give equal bytes.

    Args:
        folder: of the corpus: `episodes.jsonl`, and, if present, `tags.jsonl`, `review.sqlite`,
            `sources.json`, the run's `config.toml` and `split.json`, whose sides are the splits;
            or `FOLDER:SIDE`, for one side of it; or `seeds`, the dialogues that ship.
        out: folder to make, in one step at the end.
        settings: how; or as keywords, the fields of `ExportSettings`.
        force: replace an earlier export there.
        observe: called with each dialogue that is looked at.
        **given: fields of `ExportSettings`, overriding `settings`.

    Raises:
        ConfigError: settings that do not fit together; licences that cannot be mixed, or that were
            not accepted.
        DataError: no corpus there, nothing left to export, or a review of another text.
        RunError: `out` exists and is not to be replaced, or the disk refuses.
        MissingExtra: Parquet without the extra `data`.
    """
    settings = _with_overrides(settings, given)
    out = Path(out)
    _refuse_overwriting(out, force)
    with opened(folder) as there:
        plan = _Plan(there, settings, observe)
        with new_folder(out, replace=force) as made:
            return _write(plan, made, str(out))


def dataset_of(folder: str | Path, settings: ExportSettings | None = None, **given: Any) -> Any:
    """The rows of an export as a `datasets.DatasetDict`, one `Dataset` a split that has rows.

    Raises:
        MissingExtra: the extra `data` is not installed. Else as `export_corpus`.
    """
    try:
        import datasets
    except ImportError:
        raise MissingExtra("a datasets.Dataset", extra="data") from None
    settings = _with_overrides(settings, given)
    schema = arrow_schema(settings.shape, ids=settings.ids, scenario=settings.private)
    features = datasets.Features.from_arrow_schema(schema)
    rows: dict[str, list[Row]] = {}
    with opened(folder) as there:
        plan = _Plan(there, settings)
        for _, split, made in plan.rows():
            rows.setdefault(split, []).extend(made)
    ordered = [name for name in plan.splits if name in rows]
    return datasets.DatasetDict(
        {name: datasets.Dataset.from_list(rows[name], features=features) for name in ordered}
    )


def _with_overrides(settings: ExportSettings | None, given: dict[str, Any]) -> ExportSettings:
    under = settings.model_dump(exclude_unset=True) if settings is not None else {}
    return read_settings(ExportSettings, None, under | given)


def _duplicates(tags: Mapping[str, Tags]) -> dict[str, str]:
    """The earlier dialogue by the id of its near-duplicate, as far as cleaning found any."""
    return {
        one.id: finding.value.rpartition(" (")[0] or finding.value
        for one in tags.values()
        for finding in one.findings
        if finding.filter == NEAR_DUPLICATES and isinstance(finding.value, str)
    }


def _reasons(left_out: Counter[str]) -> str:
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()))
    return f": {reasons}" if reasons else ": the log holds no episode"


# Files


def _refuse_overwriting(out: Path, force: bool) -> None:
    if not out.exists():
        return
    if not force:
        raise RunError(f"{out} exists", hint="give another folder, or --force to replace an export")
    card = out / CARD_NAME
    if not card.is_file() or MARK not in card.read_text("utf-8", errors="replace"):
        raise RunError(
            f"{out} is not an earlier export, so it is not replaced",
            hint="give another folder, or remove it yourself",
        )


def _write(plan: _Plan, folder: Path, out: str) -> ExportReport:
    settings = plan.settings
    schema = None
    if settings.file_type == "parquet":
        schema = arrow_schema(settings.shape, ids=settings.ids, scenario=settings.private)
    dialogues: Counter[str] = Counter()
    columns: list[str] = []
    with SplitFiles(folder / "data", settings.file_type, schema) as files:
        for _, split, rows in plan.rows():
            dialogues[split] += 1
            columns = columns or list(rows[0])
            for row in rows:
                files.write(split, row)
    splits = [name for name in plan.splits if name in files.rows]
    report = ExportReport(
        out=out,
        dialogues={name: dialogues[name] for name in splits},
        rows={name: files.rows[name] for name in splits},
        left_out=dict(sorted(plan.selection.left_out.items())),
        licence=plan.terms,
    )
    values = _card_values(plan, report, folder / "data", columns)
    (folder / CARD_NAME).write_text(render_card(plan.facts, values), "utf-8", newline="\n")
    return report


# The card


def _card_values(
    plan: _Plan, report: ExportReport, data: Path, columns: list[str]
) -> dict[str, Any]:
    settings, kind = plan.settings, plan.settings.file_type
    splits = [
        {
            "name": name,
            "dialogues": report.dialogues[name],
            "rows": report.rows[name],
            "sha256": digest(data / f"{name}.{kind}"),
        }
        for name in report.rows
    ]
    return {
        "name": plan.name,
        "front": _front(plan, report),
        "splits": splits,
        "columns": ", ".join(f"`{column}`" for column in columns),
        "settings": settings,
        "stored": plan.sides.about,
        "window": settings.row_options()["history"],
        "duplicates": plan.grouped_duplicates,
        "simulated": plan.origins.simulated,
        "written": plan.origins.imported[SEEDS],
        "origin": _origin(plan.origins),
        "seeded": plan.origins.scenarios[SEEDS],
        "prompts": prompts_of(plan.folder) if plan.origins.simulated else [],
        "models": models_of(plan.folder) if plan.origins.simulated else [],
        "cleaning": None if plan.tags is None else cleaning_counts(plan.tags.values()),
        "flags": flag_counts(t for k, t in (plan.tags or {}).items() if k in plan.answered),
        "left_out": report.left_out,
        **_review_values(plan.folder),
        "terms": plan.terms,
        "licences": [(name, terms_of(licence)) for name, licence in plan.licences.items()],
        "sources": list(plan.origins.used().values()),
    }


def _origin(origins: Origins) -> str:
    """How the conversations came about, as a sentence."""
    written = origins.imported[SEEDS]
    counts = {
        "simulated with Warmline": origins.simulated,
        "imported from the sources below": origins.imported.total() - written,
        "written for Warmline by a language model; none holds a real person's words": written,
    }
    there = {how: count for how, count in counts.items() if count}
    if len(there) == 1:
        return f"All were {next(iter(there))}."
    return ", ".join(f"{count} were {how}" for how, count in there.items()) + "."


def _review_values(folder: Path) -> dict[str, Any]:
    if not review_started(folder):
        return {"review": None, "agreement": None}
    with ReviewStore(folder) as store:
        return {
            "review": store.progress(),
            "agreement": agreement(agreement_items(store.decisions())),
        }


def _front(plan: _Plan, report: ExportReport) -> dict[str, Any]:
    settings, kind = plan.settings, plan.settings.file_type
    tags = ["emotional-support", "dialogue", "warmline"]
    if plan.origins.simulated or plan.origins.imported[SEEDS]:
        tags.append("synthetic")
    files = [{"split": name, "path": f"data/{name}.{kind}"} for name in report.rows]
    ours = set(plan.origins.imported) == {SEEDS} and not plan.origins.simulated
    languages = settings.languages or (("en",) if ours else ())
    return {
        **hub_licence(plan.terms),
        "pretty_name": plan.name,
        **({"language": list(languages)} if languages else {}),
        **(SEEDS_MADE if ours else {}),
        "task_categories": ["text-generation"],
        "size_categories": [size_category(sum(report.rows.values()))],
        "tags": tags,
        "configs": [{"config_name": "default", "data_files": files}],
    }
