"""The settings of a study with people, as `study.toml` holds them. Closed: all problems at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ...core.errors import ConfigError
from ...core.record import Record, Text
from ...core.settings import read_settings
from ...environments.runs.settings import RoleSettings
from ...policies.human.help_lines import HelpLine, countries

Kind = Literal["chat", "pointwise", "pairwise", "pairs", "dialogues", "review"]
LIVE: tuple[Kind, ...] = ("chat", "pointwise", "pairwise")
"""Kinds in which people talk with models."""
RUBRICS: dict[Kind, str] = {
    "pointwise": "self-evolution",
    "pairwise": "",
    "pairs": "fpemf",
    "dialogues": "dialogue",
}
"""Rubric of a kind where none is named."""
ANY_NUMBER = 1_000_000
OVERALL = "overall"
"""What a comparison without a rubric is about."""
MODEL_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"

Choices = Annotated[tuple[Text, ...], Field(min_length=2)]


class Consent(Record):
    """What people agree to before anything else.

    Attributes:
        text: the study's own words, beside ours, which are always shown.
        share: asks whether talks and choices may also be used to train models and be published with
            a corpus; empty: not asked, and nothing is.
    """

    text: str = ""
    share: str = ""


class Contact(Record):
    """Whom people reach, and what is told when crisis language is found.

    Attributes:
        command: a program and its arguments that is run for each alarm, with JSON on its standard
            input: study, participant's pseudonym, task, kinds, time; never what was written.
    """

    name: str = ""
    email: str = ""
    phone: str = ""
    command: tuple[str, ...] = ()


class Question(Record):
    """A question with one right answer, and what is said after a wrong one.

    Attributes:
        answer: number of the right option, from 1.
    """

    question: Text
    options: Choices
    answer: Annotated[int, Field(ge=1)]
    feedback: str = ""

    @model_validator(mode="after")
    def _answerable(self) -> Self:
        if self.answer > len(self.options):
            raise ValueError(
                f"answer {self.answer} of {len(self.options)} options: '{self.question}'"
            )
        return self


class SurveyQuestion(Record):
    """A question of the exit survey; without options it is answered in words."""

    question: Text
    options: tuple[Text, ...] = ()


class Gold(Record):
    """A silent check: what a careful rater says of an item.

    Attributes:
        item: the item's id, as `warmline study status` lists them.
        low, high: values that pass, ends included; of a comparison 1 is A, -1 is B, 0 a tie.
    """

    item: Text
    dimension: Text
    low: float
    high: float


class Quality(Record):
    """When work is too careless to count.

    Attributes:
        min_seconds: a task done sooner is a failed check.
        attention_every: tasks from one attention check to the next.
        gold_every: tasks from one gold item to the next.
        warn_after, block_after: failed checks after which a participant is warned, and is let go with
            all work discarded; None: never.
    """

    min_seconds: Annotated[float, Field(ge=0)] = 0
    attention_every: Annotated[int, Field(ge=1)] = 3
    gold_every: Annotated[int, Field(ge=2)] = 5
    warn_after: Annotated[int, Field(ge=1)] | None = None
    block_after: Annotated[int, Field(ge=1)] | None = None


class Prolific(Record):
    """A recruiting site: what people bring, and what they are sent back with.

    Attributes:
        url: where a finished participant returns to; `https://app.prolific.com/submissions/complete`
            with the code, for Prolific.
        parameters: names of the URL's parameters that identify a participant there, the participant's
            own first.
    """

    code: Text
    url: str = ""
    parameters: Annotated[tuple[Text, ...], Field(min_length=1)] = (
        "PROLIFIC_PID",
        "STUDY_ID",
        "SESSION_ID",
    )

    @model_validator(mode="after")
    def _link(self) -> Self:
        if self.url and not self.url.startswith("https://"):
            raise ValueError(f"prolific.url must begin with https://, not '{self.url}'")
        return self


class Rates(Record):
    """What one address or one participant may ask for in a minute."""

    joins: Annotated[int, Field(ge=1)] = 60
    posts: Annotated[int, Field(ge=1)] = 60
    guesses: Annotated[int, Field(ge=1)] = 20


class StudySettings(Record):
    """One study.

    Attributes:
        title: what people see; never the models' names.
        kind: `chat` with a model; `pointwise`, a chat that is then rated; `pairwise`, two replies a
            turn; `pairs` of given texts; `dialogues`, given ones rated; `review` of a corpus.
        out: folder of `study.sqlite` and of the results, from where the command runs.
        models: who answers, by name; blind. `pairwise` compares every two of them.
        counselor: advises the supporters' strategy.
        rubric: dimensions with anchors, by name or path; of `pairwise` one choice where it is empty.
        dimensions: only these of it.
        items: of `pairs` two folders of a run or of an evaluation, of `dialogues` one, of `review` the
            corpus.
        corpus: where `items` are evaluations: what was evaluated.
        scenarios: a file of scenarios, one of which a participant plays; empty: their own matter.
        overlap: people an item, live conversations a model (a pair, and scenario); by default 3, of
            a `chat` any number.
        tasks: tasks a participant.
        assignment: the item with the fewest annotations, or any that has too few.
        task_minutes: without any activity for so long a task is handed to somebody else.
        min_exchanges: messages of the person, each answered, before a rating (Self-Evolution: eight
            turns at least, ten where two replies are compared).
        max_exchanges: after which the conversation ends.
        max_sentences: of a reply (FPEMF §3.2).
        max_chars: of what a person types at once.
        early: show the first sentences of a reply while the rest is written, see `docs/studies.md`; else
            nothing of a reply is shown before all of it was looked through.
        show_strategy: in a `chat`, strategies can be looked at.
        reviewers: of `review`: how many must approve.
        country: whose help lines are shown first; a participant may choose another.
        help: further lines, shown before those of the list.
        help_checked: who checked the help lines and when; needed before people elsewhere can come.
        tags: of `pointwise` and `dialogues`: what a rater may tick about a conversation.
        open: whether anybody with the study's link may join; else by invitation alone.
    """

    title: Text
    kind: Kind
    out: Text
    seed: int = 0
    models: dict[Annotated[str, Field(pattern=MODEL_NAME)], RoleSettings] = Field(
        default_factory=dict
    )
    counselor: RoleSettings | None = None
    rubric: str | None = None
    dimensions: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    corpus: str | None = None
    scenarios: str | None = None
    overlap: Annotated[int, Field(ge=1)] | None = None
    tasks: Annotated[int, Field(ge=1)] = 1
    assignment: Literal["least", "random"] = "least"
    task_minutes: Annotated[float, Field(gt=0)] = 60
    min_exchanges: Annotated[int, Field(ge=1)] | None = None
    max_exchanges: Annotated[int, Field(ge=1)] = 30
    max_sentences: Annotated[int, Field(ge=1)] = 3
    max_chars: Annotated[int, Field(ge=10, le=20_000)] = 2_000
    early: bool = False
    show_strategy: bool = False
    reviewers: Annotated[int, Field(ge=1)] = 3
    country: str = ""
    help: tuple[HelpLine, ...] = ()
    help_checked: str = ""
    open: bool = True
    consent: Consent = Consent()
    contact: Contact = Contact()
    instructions: str = ""
    practice: tuple[Question, ...] = ()
    attention: tuple[Question, ...] = ()
    survey: tuple[SurveyQuestion, ...] = ()
    tags: Annotated[tuple[Text, ...], Field(max_length=40)] = ()
    gold: tuple[Gold, ...] = ()
    quality: Quality = Quality()
    prolific: Prolific | None = None
    rates: Rates = Rates()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        kind, problems = self.kind, []
        needed = {"chat": 1, "pointwise": 1, "pairwise": 2}.get(kind, 0)
        if len(self.models) < needed:
            problems.append(f"kind '{kind}' needs at least {needed} of [models.NAME]")
        if self.models and not needed:
            problems.append(f"kind '{kind}' asks no models")
        items = {"pairs": 2, "dialogues": 1, "review": 1}.get(kind, 0)
        if len(self.items) != items:
            problems.append(f"kind '{kind}' takes {items} items, not {len(self.items)}")
        if kind not in LIVE and self.scenarios:
            problems.append(f"kind '{kind}' plays no scenarios")
        if self.show_strategy and kind != "chat":
            problems.append("show_strategy would unblind a study; it is for kind 'chat'")
        if self.early and kind not in ("chat", "pointwise"):
            problems.append("early is for kinds in which one model answers: chat and pointwise")
        if self.exchanges_needed > self.max_exchanges:
            problems.append(
                f"min_exchanges {self.exchanges_needed} is above max_exchanges {self.max_exchanges}"
            )
        if self.country and self.country.upper() not in countries():
            problems.append(
                f"no help lines for country '{self.country}'; listed:"
                f" {', '.join(sorted(countries()))}; leave it out and give your own in [[help]]"
            )
        if self.attention and kind not in ("pointwise", "pairs", "dialogues"):
            problems.append(f"attention checks stand on rating pages; kind '{kind}' has none")
        if self.tags and kind not in ("pointwise", "dialogues"):
            problems.append(f"tags stand on rating pages; kind '{kind}' has none")
        if len(set(self.tags)) < len(self.tags):
            problems.append("two tags are the same")
        if kind in LIVE and self.gold:
            problems.append("gold items are given texts; live kinds have none")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def live(self) -> bool:
        """Whether people talk with models."""
        return self.kind in LIVE

    @property
    def exchanges_needed(self) -> int:
        """Messages of the person before a conversation counts."""
        if self.min_exchanges is not None:
            return self.min_exchanges
        return {"pointwise": 8, "pairwise": 10}.get(self.kind, 1)

    @property
    def places(self) -> int:
        """People an item."""
        if self.overlap is not None:
            return self.overlap
        return ANY_NUMBER if self.kind == "chat" else 3

    @property
    def rubric_name(self) -> str:
        """The rubric's name or path; empty for none."""
        if self.rubric is not None:
            return self.rubric
        if self.kind == "pairs" and self.corpus is None:  # whole conversations, as of a judge
            return RUBRICS["dialogues"]
        return RUBRICS.get(self.kind, "")

    @property
    def folder(self) -> Path:
        """Where everything of the study lies."""
        return Path(self.out)


def load_study(file: str | Path) -> StudySettings:
    """The settings of `study.toml`.

    Raises:
        DataError: no such file, or not TOML.
        ConfigError: all that is wrong with it.
    """
    return read_settings(StudySettings, file)


def study_identity(settings: StudySettings) -> dict[str, object]:
    """What must not change once people have taken part."""
    kept = {"kind", "seed", "models", "counselor", "rubric", "dimensions", "items", "corpus"}
    kept |= {"scenarios", "max_sentences"}
    plain = settings.model_dump(mode="json", include=kept, exclude_none=True)
    return {"study": plain}


def refuse_country(code: str) -> None:
    """Refuse a country that a page did not offer."""
    if code and code not in countries():
        raise ConfigError(f"no country '{code[:8]}'")
