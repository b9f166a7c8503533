"""Each format's records become the same normal form, and nothing else gets through."""

from __future__ import annotations

import json
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from warmline.agents.roles import Role, Strategy
from warmline.core.errors import ConfigError, DataError
from warmline.environments import Episode, StopReason
from warmline.environments.corpus.importing.importers.base import BrokenRecord, Recorded, Turn
from warmline.environments.corpus.importing.importers.mappings import (
    judgement,
    problem_type_of,
    strategy_of,
)
from warmline.environments.corpus.importing.importers.registry import (
    OURS,
    ImporterNotFound,
    find_importer,
    sniff,
)
from warmline.environments.corpus.importing.reader import Import
from warmline.environments.scenarios.problem_types import problem_types
from warmline.environments.scenarios.scenario import UNSPECIFIED

from ..samples import (
    EMPATHETIC_ROWS,
    EXTES,
    ONE_OF_EACH,
    SMILE,
    esconv,
    esconv_hub,
    failed_esconv,
    write,
)
from .test_records import json_values


def only(path: Path, format: str = "auto", **options: Any) -> Episode:  # noqa: A002
    (episode,) = Import(path, format, **options)
    return episode


def spoken(episode: Episode) -> list[tuple[str, str]]:
    return [(u.role.value, u.text) for u in episode.utterances]


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_every_format_is_found_by_its_records(tmp_path: Path, name: str) -> None:
    assert sniff(write(tmp_path / "x.jsonl", [ONE_OF_EACH[name]] * 2)) == name


def test_esconvs_two_schemas_give_the_same_dialogue(tmp_path: Path) -> None:
    original = only(write(tmp_path / "a.json", [esconv()]))
    hub = only(write(tmp_path / "b.jsonl", [esconv_hub()]))
    assert original == hub
    assert original.stop is StopReason.RECORDED
    assert (original.source, original.id, original.calls) == ("esconv", "esconv-1", ())
    assert original.scenario.problem_type == "Job Crisis"
    assert original.scenario.category == "Life and Work Stress"
    assert original.scenario.situation == "My landlord raised the rent."
    assert original.annotations is not None
    assert original.annotations["problem_type"] == "job crisis"
    assert original.annotations["survey_score"] == {"seeker": {"empathy": "4"}}
    third = original.utterances[2]
    assert (third.text, third.raw, third.repairs) == (
        "My rent went up", "My  rent went up\n", ("whitespace",),
    )  # fmt: skip
    assert original.utterances[3].strategy is Strategy.REFLECTION
    assert Episode.model_validate_json(original.to_json()) == original


def test_rows_with_one_text_column_of_json_are_unpacked(tmp_path: Path) -> None:
    packed = write(tmp_path / "x.jsonl", [{"text": json.dumps(esconv_hub())}])
    assert only(packed).utterances == only(write(tmp_path / "y.jsonl", [esconv_hub()])).utterances


def test_failed_esconv_has_its_own_name_and_words(tmp_path: Path) -> None:
    episode = only(write(tmp_path / "f.json", [failed_esconv()]))
    assert (episode.source, episode.id) == ("failed_esconv", "failed_esconv-1")
    assert spoken(episode) == [
        ("seeker", "Nobody listens"), ("supporter", "Who?"), ("supporter", "Go."),
    ]  # fmt: skip
    assert [u.strategy for u in episode.utterances] == [
        None, Strategy.QUESTION, Strategy.SUGGESTION,
    ]  # fmt: skip
    assert episode.scenario.problem_type == "Breakups or Divorce"
    assert episode.annotations is not None
    assert episode.annotations["utterances"] == {
        "0": {"feedback": ["2"]},
        "1": {"strategy": ["Questions"]},
        "2": {"strategy": ["Direct Guidance"]},
    }


def test_empathetic_dialogues_as_rows_and_as_objects(tmp_path: Path) -> None:
    rows = tmp_path / "train.csv"
    rows.write_text(EMPATHETIC_ROWS)
    first, second = Import(rows)
    assert spoken(first) == [("seeker", 'I ate "alone, again.'), ("supporter", "All week?")]
    assert spoken(second)[0] == ("seeker", "I finished it!")
    assert first.scenario.situation == "I ate alone, all week."
    assert first.annotations == {"id": "hit:1_conv:2", "emotion": "lonely"}
    assert first.scenario.problem_type == UNSPECIFIED
    whole = only(write(tmp_path / "x.jsonl", [ONE_OF_EACH["empathetic_dialogues"]]))
    assert whole.annotations == first.annotations
    assert spoken(whole)[1] == spoken(first)[1]


def test_smilechat_as_a_folder_and_as_lines(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    write(folder / "7.json", SMILE, lines=False)
    episode = only(folder)
    assert spoken(episode) == [("seeker", "我最近睡不着。"), ("supporter", "从什么时候开始的？")]
    assert episode.annotations == {"id": "7"}
    array = write(tmp_path / "all.json", [SMILE, SMILE])
    assert [spoken(e) for e in Import(array)] == [spoken(episode)] * 2


def test_extes_has_one_or_two_turns_an_item_and_its_own_strategies(tmp_path: Path) -> None:
    episode = only(write(tmp_path / "x.json", [EXTES]))
    assert spoken(episode) == [
        ("seeker", "My dog died."), ("supporter", "You miss him."),
        ("seeker", "Every day."), ("supporter", "What was he like?"),
    ]  # fmt: skip
    assert [u.strategy for u in episode.utterances if u.role is Role.SUPPORTER] == [
        Strategy.REFLECTION, Strategy.QUESTION,
    ]  # fmt: skip
    assert episode.scenario.problem_type == "Grief and Loss"
    assert episode.annotations is not None
    assert episode.annotations["problem_type"] == "Dealing with the Loss of a Pet"
    assert episode.annotations["utterances"]["3"] == {"strategy": ["Clarification"]}


def test_augesc_is_a_list_a_line(tmp_path: Path) -> None:
    path = write(tmp_path / "augesc.txt", [ONE_OF_EACH["augesc"]] * 3, lines=True)
    assert [e.id for e in Import(path)] == ["augesc-1", "augesc-2", "augesc-3"]
    assert spoken(next(iter(Import(path))))[0] == ("seeker", "My exam is tomorrow.")


@pytest.mark.parametrize(
    ("name", "first"), [("sharegpt", "I failed."), ("messages", "I am worn out.")]
)
def test_chat_formats_lose_their_instructions(tmp_path: Path, name: str, first: str) -> None:
    importing = Import(write(tmp_path / "x.jsonl", [ONE_OF_EACH[name]]))
    (episode,) = importing
    assert [role for role, _ in spoken(episode)] == ["seeker", "supporter"]
    assert spoken(episode)[0][1] == first
    assert importing.report.tally.steps["instructions"].dropped == 1
    if name == "messages":
        assert episode.utterances[1].strategy is Strategy.QUESTION
        assert episode.utterances[1].labels == (Strategy.QUESTION, Strategy.OTHERS)
        assert episode.scenario.problem_type == "Burnout"


# what is not in the format


@pytest.mark.parametrize("name", OURS)
@given(record=json_values)
def test_any_record_is_read_or_refused(name: str, record: Any) -> None:
    for shape in (
        record, {"dialog": record}, {"dialog": [record]}, {"content": [record]}, [record],
        {"conversations": [record]}, {"messages": [record]}, {"rows": [record]},
        {"emotion": 1, "dialog": [{"speaker": record, "text": record}]},
        {"dialog": [{"speaker": "usr", "text": record, "strategy": record}]},
    ):  # fmt: skip
        try:
            assert isinstance(find_importer(name)(shape), Recorded)
        except BrokenRecord as refused:
            assert refused.message


@pytest.mark.parametrize(
    ("name", "record", "field"),
    [
        ("esconv", {"dialogue": []}, "dialog"),
        ("esconv", {"dialog": [{"speaker": "a", "text": "b"}]}, "dialog[0]"),
        ("esconv", {"dialog": ["hello"]}, "dialog[0]"),
        ("empathetic_dialogues", {"rows": [{"conv_id": "1"}]}, "row 1"),
        ("extes", {"content": [{"Human": "x"}]}, "content[0]"),
        ("augesc", [["usr", "x"], ["bot", "y"]], "[1]"),
        ("smilechat", [{"role": "user", "content": "x"}], "dialog[0].role"),
    ],
)
def test_a_refused_record_says_where(name: str, record: Any, field: str) -> None:
    with pytest.raises(BrokenRecord) as refused:
        find_importer(name)(record)
    assert refused.value.field == field


# the door


def two_lines(record: Any) -> Recorded:
    """A plug-in: two utterances as `q` and `a`."""
    if not isinstance(record, dict) or "q" not in record:
        raise BrokenRecord("no question", field="q")
    return Recorded((Turn("user", record["q"]), Turn("assistant", record.get("a"))), "Burnout")


def test_an_import_string_is_a_format(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", [{"q": "Tired.", "a": "Since when?"}])
    episode = only(path, f"{__name__}:two_lines")
    assert (episode.source, spoken(episode)[0]) == ("two_lines", ("seeker", "Tired."))


def test_an_unknown_format_is_reported_with_the_nearest() -> None:
    with pytest.raises(
        ImporterNotFound, match=r"known: auto, seeds, esconv(?s:.*)did you mean 'esconv'"
    ):
        find_importer("esconvs")
    with pytest.raises(ImporterNotFound, match="no module named 'nowhere'"):
        find_importer("nowhere:x")
    with pytest.raises(ImporterNotFound, match="has no class or function 'three_lines'"):
        find_importer(f"{__name__}:three_lines")


def test_a_file_of_no_known_format_says_what_each_missed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"(?s)no importer reads.*sharegpt: 'conversations'"):
        sniff(write(tmp_path / "x.jsonl", [{"instruction": "x"}]))


def test_one_odd_record_does_not_hide_the_format_and_a_mixture_has_none(tmp_path: Path) -> None:
    chat = ONE_OF_EACH["messages"]
    assert sniff(write(tmp_path / "x.jsonl", [{"odd": 1}, chat])) == "messages"
    assert sniff(write(tmp_path / "y.jsonl", [chat, esconv(), esconv_hub()])) == "esconv"
    with pytest.raises(DataError, match="esconv and messages both fit"):
        sniff(write(tmp_path / "z.jsonl", [chat, esconv()]))


# the tables


def test_the_tables_lead_to_names_that_exist() -> None:
    tables = tomllib.loads(
        files("warmline.environments.corpus.importing.importers")
        .joinpath("mappings.toml")
        .read_text("utf-8")
    )
    assert set(tables) == {"types", "labels"}
    for kind, known in (("types", set(problem_types())), ("labels", set(map(str, Strategy)))):
        for source, table in tables[kind].items():
            for word in table:
                mapped = judgement(kind, source, word)
                assert mapped is not None
                assert mapped.to in known, (source, word)


def test_all_thirteen_types_of_esconv_are_mapped() -> None:
    thirteen = (
        "ongoing depression", "job crisis", "breakup with partner", "problems with friends",
        "academic pressure", "Sleep Problems", "Appearance Anxiety", "Procrastination",
        "Issues with Children", "conflict with parents", "Alcohol Abuse", "Issues with Parents",
        "School Bullying",
    )  # fmt: skip
    mapped = {word: problem_type_of("esconv", word) for word in thirteen}
    assert None not in mapped.values()
    assert mapped["conflict with parents"] == mapped["Issues with Parents"] == "Issues with Parents"
    assert problem_type_of("esconv", "Caregiver Support") is None


def test_all_sixteen_strategies_of_extes_are_mapped() -> None:
    sixteen = (
        "Reflective Statements", "Clarification", "Emotional Validation", "Empathetic Statements",
        "Affirmation", "Offer Hope", "Avoid Judgment and Criticism", "Suggest Options",
        "Collaborative Planning", "Provide Different Perspectives", "Reframe Negative Thoughts",
        "Share Information", "Normalize Experiences", "Promote Self-Care Practices",
        "Stress Management", "Others",
    )  # fmt: skip
    assert all(strategy_of("extes", word) for word in sixteen)
    assert strategy_of("extes", "Small Talk") is None


def test_a_function_that_gives_no_dialogue_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": 1}\n')
    with pytest.raises(ConfigError, match="importer 'json:dumps' gave a str, no Recorded dialogue"):
        list(Import(path, "json:dumps"))


def test_finding_the_format_of_broken_lines_reports_the_first(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text("hello\nthere\n")
    with pytest.raises(DataError, match="line 1: not JSON"):
        Import(path)


def test_annotations_nested_too_deeply_to_be_written_are_broken_records(tmp_path: Path) -> None:
    deep = json.loads("[" * 150 + "]" * 150)
    importing = Import(write(tmp_path / "x.json", [{**esconv(), "survey": deep}, esconv()]))
    assert len(list(importing)) == 1
    assert importing.report.dropped == {"broken_record": 1}
    assert "nested more than 100 levels deep" in importing.report.faults[0]
