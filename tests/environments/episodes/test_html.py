"""Conversations as a notebook shows them."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import warmline
from warmline import Episode, StopReason, Strategy
from warmline.agents import Role
from warmline.agents.colours import STRATEGY_COLOURS
from warmline.core.outside.text import clean_text, printable
from warmline.environments import Call, EpisodeError, EpisodeLog, Utterance
from warmline.policies.safety import (
    CRISIS_GUIDANCE,
    DISCLAIMER,
    IMPORTED_DISCLAIMER,
    MIXED_DISCLAIMER,
)

from ...evaluation.recorded import recorded
from ..helpers import scenario, scenarios, talk

HOSTILE = (
    "</div></details><script>alert(1)</script><img src=x onerror=alert(1)>",
    "\"' onmouseover=alert(1) style='x' {} {0} %s",
    "&lt;b&gt; &#60;script&#62; <!-- --> <![CDATA[ ]]>",
    "\x1b[31mred\x00\u202eturned \ud83d half",
    "<style>*{display:none}</style><a href='javascript:alert(1)'>here</a>",
)
hostile = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(st.characters(), max_size=40),
    st.lists(st.sampled_from([*"<>&\"'/=!- ", "script", "div", "style", "{", "}"])).map("".join),
)
ALLOWED = {"div", "b", "bdi", "details", "summary", "span"}


class Page(HTMLParser):
    """What a browser makes of a page: elements with their attributes, and texts by their element."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.visible: list[str] = []
        self.other: list[str] = []
        self._summary = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        folds = self.open.count("details")
        if folds == 0 or (folds == 1 and "summary" in self.open):
            self.visible.append(data)

    def handle_comment(self, data: str) -> None:
        self.other.append(data)

    handle_decl = handle_pi = unknown_decl = handle_comment


@given(words=st.lists(hostile, min_size=11, max_size=11))
def test_any_text_is_shown_as_text(words: list[str]) -> None:
    """Elements and styles are those of the same conversation with plain words."""

    def made(words: list[str]) -> Episode:
        kind, situation, profile, name, text, raw, thought, repair, crisis, error, reply = words
        kind, situation, profile, name, error = map(
            clean_text, (kind, situation, profile, name, error)
        )  # records refuse halves of characters; an utterance made in Python may hold them
        return Episode(
            id=f"i{name}",
            scenario=scenario(
                id="s", problem_type=f"t{kind}", situation=f"s{situation}", profile=f"p{profile}"
            ),
            stop=StopReason.ERROR,
            error=EpisodeError(type="EngineTimeout", message=error, role="seeker"),
            calls=(Call("supporter", "x", (), thinking=f"h{thought}"),),
            utterances=(
                Utterance(Role.SEEKER, f"u{text}", f"r{raw}", repairs=(repair,)),
                Utterance(
                    Role.SUPPORTER,
                    f"u{reply}",
                    f"u{reply}",
                    call=0,
                    strategy=Strategy.OTHERS,
                    crisis=(f"c{crisis}",),
                ),
            ),
        )

    plain = Page(made(["x"] * 11)._repr_html_())
    page = Page(made(words)._repr_html_())
    assert {tag for tag, _ in page.elements} <= ALLOWED
    assert page.elements == plain.elements
    assert page.other == []
    assert page.open == []
    shown = "".join(page.texts)
    for number, (marker, word) in enumerate(zip("tspiurh-c-u", words, strict=True)):
        cleaned = clean_text(word) if number in (0, 1, 2, 3, 9) else word
        assert printable(marker.strip("-") + cleaned) in shown
    assert not re.search("[\x00-\x08\x1b\u202a-\u202e\ud800-\udfff]", shown)


def test_private_text_is_folded_and_what_was_said_is_not() -> None:
    [made] = warmline.simulate(policy=talk(), scenarios=[scenario()], max_turns=4)
    page = Page(made._repr_html_())
    visible, whole = "".join(page.visible), "".join(page.texts)
    assert "ovens were sold" not in visible
    assert "Ada, 44, baker" not in visible
    assert "ovens were sold" in whole
    assert "Ada, 44, baker" in whole
    assert "What happened on Monday?" in visible
    assert "Job Crisis" in visible
    assert all("open" not in fields for tag, fields in page.elements if tag == "details")


def test_raw_text_and_thoughts_are_at_hand_where_there_are_any() -> None:
    said = Utterance(
        Role.SUPPORTER, "Good.", "Good. Then? More?", call=0, repairs=("sentence_cap",)
    )
    made = Episode(
        id="e",
        scenario=scenario(),
        stop=StopReason.TURN_LIMIT,
        utterances=(said,),
        calls=(Call("supporter", "x", (), thinking="They seem well."),),
    )
    page = Page(made._repr_html_())
    assert "sentence_cap" in "".join(page.visible)
    assert not {"Good. Then? More?", "They seem well."} & set(page.visible)
    assert {"Good. Then? More?", "They seem well."} <= set(page.texts)


@pytest.mark.parametrize("strategy", Strategy)
def test_a_strategy_has_its_colour(strategy: Strategy) -> None:
    said = Utterance(Role.SUPPORTER, "Well.", "Well.", strategy=strategy)
    made = Episode(id="e", scenario=scenario(), stop=StopReason.RECORDED, utterances=(said,))
    styles = [fields.get("style") or "" for _, fields in Page(made._repr_html_()).elements]
    colours = {c for style in styles for c in re.findall(r"background:(#\w+)", style)}
    assert colours == {STRATEGY_COLOURS[strategy]}


def test_a_crisis_is_marked_with_help_lines_and_its_absence_is_not() -> None:
    said = Utterance(Role.SEEKER, "I cannot go on.", "I cannot go on.", crisis=("suicide",))
    made = Episode(id="e", scenario=scenario(), stop=StopReason.JUDGER, utterances=(said,))
    visible = "".join(Page(made._repr_html_()).visible)
    assert "crisis language: suicide" in visible
    assert CRISIS_GUIDANCE in visible
    plain = "".join(Page(recorded()._repr_html_()).visible)
    assert "crisis language" not in plain
    assert CRISIS_GUIDANCE not in plain


def test_the_disclaimer_stands_below_and_calls_no_imported_conversation_generated(
    tmp_path: Path,
) -> None:
    [made] = warmline.simulate(policy=talk(), scenarios=[scenario()], max_turns=2)
    assert DISCLAIMER in Page(made._repr_html_()).visible[-1]
    assert IMPORTED_DISCLAIMER in Page(recorded()._repr_html_()).visible[-1]
    with EpisodeLog(tmp_path / "episodes.jsonl") as log:
        log.append(made)
        log.append(recorded())
    both = warmline.read_episodes(tmp_path)
    assert MIXED_DISCLAIMER in Page(both._repr_html_()).visible[-1]
    assert IMPORTED_DISCLAIMER in Page(both[1:]._repr_html_()).visible[-1]


def test_of_a_long_text_the_rest_is_folded_and_none_is_lost() -> None:
    text = "".join(f"{number} " for number in range(3_000))
    said = Utterance(Role.SEEKER, text, text)
    made = Episode(id="e", scenario=scenario(), stop=StopReason.JUDGER, utterances=(said,))
    page = Page(made._repr_html_())
    assert text[:2_000] in page.visible
    assert text[:2_000] + text[2_000:] == "".join(t for t in page.texts if t in text and len(t) > 9)
    assert f"the other {len(text) - 2_000:,} characters" in page.visible


def test_a_run_shows_its_first_conversations_and_says_of_how_many(tmp_path: Path) -> None:
    made = warmline.simulate(policy=talk(), scenarios=scenarios(12), max_turns=4, out=tmp_path)
    lazy = warmline.read_episodes(tmp_path)
    page = Page(lazy._repr_html_())
    visible = "".join(page.visible)
    assert "12 conversations · ended: turn_limit 12" in visible
    assert "the first 10 of 12" in visible
    folds = [tag for tag, _ in page.elements].count("details")
    assert folds == 20  # ten conversations, in each what only the seeker knows
    assert "What happened on Monday?" not in visible
    assert "".join(page.texts).count("What happened on Monday?") == 10
    assert "the first" not in "".join(Page(lazy[:10]._repr_html_()).texts)
    titles = [fields["title"] for _, fields in page.elements if "title" in fields]
    assert titles == ["Question", "Reflection of Feelings"] * 10
    assert made[11].id not in "".join(page.texts)


def test_an_empty_run_shows_that_it_is_empty(tmp_path: Path) -> None:
    (tmp_path / "episodes.jsonl").write_text("")
    shown = warmline.read_episodes(tmp_path)._repr_html_()
    assert type(shown) is str
    page = Page(shown)
    assert "0 conversations" in page.visible
