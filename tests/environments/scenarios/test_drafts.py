"""The dialogues that await a second reading: they can be read, and keep the rules of the seed pool."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import warmline
from warmline.agents import Strategy
from warmline.policies.text.sentences import count_sentences

DRAFTS = Path(warmline.__file__).parent / "environments" / "scenarios" / "drafts"
SHORT = {
    "Q": Strategy.QUESTION,
    "RP": Strategy.RESTATEMENT,
    "RF": Strategy.REFLECTION,
    "SD": Strategy.SELF_DISCLOSURE,
    "AR": Strategy.AFFIRMATION,
    "PS": Strategy.SUGGESTION,
    "I": Strategy.INFORMATION,
    "O": Strategy.OTHERS,
}
SEEKER = re.compile(r"([ECA]) (.+)")
SUPPORTER = re.compile(rf"({'|'.join(SHORT)}): (.+)")
KINDS = {kind.slug: name for name, kind in warmline.problem_types().items()}


def dialogues(slug: str) -> Iterator[tuple[list[str], list[tuple[str, str, str, str]]]]:
    """Each dialogue of a file: its heading lines, and (stage, seeker, strategy, supporter)."""
    text = (DRAFTS / f"{slug}.txt").read_text("utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("//")]
    for part in "\n".join(lines).split("=== ")[1:]:
        first, *rest = part.strip().split("\n")
        heading = [first, *(rest[:2] if first == "new" else [])]
        said = rest[len(heading) - 1 :]
        pairs = []
        for seeker, supporter in zip(said[::2], said[1::2], strict=True):
            asked, answered = SEEKER.fullmatch(seeker), SUPPORTER.fullmatch(supporter)
            assert asked, f"{slug}: {seeker}"
            assert answered, f"{slug}: {supporter}"
            pairs.append((asked[1], asked[2], answered[1], answered[2]))
        yield heading, pairs


@pytest.mark.parametrize("slug", KINDS)
def test_every_type_has_nine_drafts_of_the_right_form(slug: str) -> None:
    known = {s.id for s in warmline.seed_scenarios() if s.problem_type == KINDS[slug]}
    found = list(dialogues(slug))
    assert len(found) == 9
    for heading, pairs in found:
        if heading[0] == "new":
            name, age, *others = (part.strip() for part in heading[1].split("|"))
            assert name
            assert 10 <= int(age) <= 95
            assert len(others) == 4
            assert all(others)
            assert 35 <= len(heading[2].split()) <= 90
        else:
            assert heading[0].split()[-1] in known
        assert 5 <= len(pairs) <= 10
        stages = ["ECA".index(stage) for stage, *_ in pairs]
        assert stages == sorted(stages)
        assert set(stages) == {0, 1, 2}
        assert len({strategy for _, _, strategy, _ in pairs}) >= 4
        texts = [text for _, seeker, _, supporter in pairs for text in (seeker, supporter)]
        assert all(count_sentences(text) <= 3 for text in texts)
        assert 8 <= sum(len(text.split()) for text in texts) / len(texts) <= 25


def test_no_two_drafts_tell_the_same_person() -> None:
    names = Counter(
        heading[1].partition("|")[0].strip()
        for slug in KINDS
        for heading, _ in dialogues(slug)
        if heading[0] == "new"
    )
    assert names.total() == 7 * len(KINDS)
    assert names.most_common(1)[0][1] == 1
