"""Rubric files: those that ship, and what a user's may not be."""

from __future__ import annotations

from pathlib import Path

import pytest

from warmline.core.errors import DataError
from warmline.evaluation import load_rubric
from warmline.evaluation.judging import rubric
from warmline.evaluation.judging.rubric import known_rubrics, rubric_id

GOOD = """
name = "mine"
version = "1"
subject = "utterance"
scale = [1, 3]
task = "Grade it."
[[dimensions]]
name = "warmth"
question = "Is it warm?"
levels = ["cold", "lukewarm", "warm"]
faults = [{ name = "cliche", at_most = 2, when = "it is worn" }]
"""


def test_the_shipped_rubrics_have_the_dimensions_of_the_papers() -> None:
    assert known_rubrics() == [
        "dialogue",
        "fpemf",
        "response",
        "self-evolution",
        "sweetiechat",
    ]
    response, dialogue = load_rubric("response"), load_rubric("dialogue")
    assert [d.name for d in response.dimensions] == [
        "coherence", "understanding", "empathy", "informativeness", "helpfulness", "engagement",
        "overall",
    ]  # fmt: skip
    assert {d.name for d in dialogue.dimensions} == {
        "informativeness", "rationality", "understanding", "helpfulness", "consistency",
        "coherence", "safety",
    }  # fmt: skip
    assert (response.subject, dialogue.subject) == ("utterance", "episode")
    assert all(dimension.faults for dimension in response.dimensions)
    assert response.scale == dialogue.scale == (1, 5)


def test_the_ids_in_stored_ratings_stay() -> None:
    """An id hashes the file, comments included; another one would have every subject judged again."""
    assert load_rubric("response").id == "response 1 (63c3675f)"
    assert load_rubric("dialogue").id == "dialogue 1 (52acddbe)"


def test_a_changed_file_is_another_rubric(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    first = load_rubric(path)
    path.write_text(GOOD.replace("Grade it.", "Grade it well."))
    assert load_rubric(path).id != first.id
    assert first.id.startswith("mine 1 (")


def test_the_lowest_cap_counts(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    [warmth] = load_rubric(path).dimensions
    assert (warmth.cap(("cliche",)), warmth.cap(())) == (2, None)


@pytest.mark.parametrize(("change", "to", "message"), [
    ('"lukewarm", ', "", "2 levels for a scale of 3"),
    ("at_most = 2", "at_most = 4", "outside the scale"),
    ("scale = [1, 3]", "scale = [3, 1]", "runs from 3 to 1"),
    ("question", "querstion", "querstion"),
    ("version = ", "version ", "not TOML"),
])  # fmt: skip
def test_what_cannot_be_used_is_refused(tmp_path: Path, change: str, to: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace(change, to, 1))
    with pytest.raises(DataError, match=message):
        load_rubric(path)


def test_unknown_names_come_with_a_suggestion() -> None:
    with pytest.raises(DataError, match="did you mean 'response'"):
        load_rubric("responce")
    with pytest.raises(DataError, match="did you mean 'empathy'"):
        load_rubric("response").only(("empaty",))


def test_what_a_dimension_shows_is_part_of_its_own_identity_alone(tmp_path: Path) -> None:
    """Ratings of dimensions that show nothing keep the identity that they had before."""
    dialogue = load_rubric("dialogue")
    assert dialogue.id == "dialogue 1 (52acddbe)"
    ids = {d.name: dialogue.id_of(d.name) for d in dialogue.dimensions}
    assert ids.pop("rationality") == f"{dialogue.id} with strategies"
    assert ids.pop("consistency") == f"{dialogue.id} with profile"
    assert set(ids.values()) == {dialogue.id}
    assert rubric_id(dialogue.id_of("rationality")) == dialogue.id
    text = (Path(rubric.__file__).parent / "rubrics" / "response.toml").read_text("utf-8")
    mine = tmp_path / "mine.toml"
    mine.write_text(text.replace("faults = [", 'shows = ["profile"]\nfaults = [', 1), "utf-8")
    assert load_rubric(mine).id == load_rubric("response").id
    assert load_rubric(mine).id_of("coherence").endswith("with profile")
    mine.write_text(text.replace("faults = [", 'shows = ["secrets"]\nfaults = [', 1), "utf-8")
    with pytest.raises(DataError, match="shows"):
        load_rubric(mine)
