"""The report: its numbers, and the page as a person would use it, in headless Chromium."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from markupsafe import escape
from typer.testing import CliRunner

import warmline
from warmline.agents.roles import Role, Strategy
from warmline.cli import app
from warmline.core.errors import ConfigError, DataError
from warmline.environments.episodes.episode import Call, Episode, StopReason, Utterance, Verdict
from warmline.environments.episodes.rating import Rating, append_ratings
from warmline.environments.scenarios.scenario import Scenario
from warmline.evaluation.report import read_run, write_report
from warmline.evaluation.report.charts import bars, histogram, stacked
from warmline.evaluation.report.data import as_script, episode_view
from warmline.policies.safety import DISCLAIMER, IMPORTED_DISCLAIMER, MIXED_DISCLAIMER

HOSTILE = '</script><script>document.title="taken"</script><img src=x onerror="document.title=1">'
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def said(role: Role, text: str, **fields: Any) -> Utterance:
    return Utterance(role, text, **{"raw": text, **fields})


def episode(name: str, *turns: Utterance, **fields: Any) -> Episode:
    scenario = Scenario(
        id=name,
        problem_type=fields.pop("problem_type", "Burnout"),
        situation="The ward lost two nurses in a week and Ines took their nights as well.",
        profile="Ines, 41, nurse",
    )
    return Episode(
        id=name,
        scenario=scenario,
        utterances=turns,
        **{"stop": StopReason.JUDGER, **fields},
    )


def save(folder: Path, *episodes: Episode) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(each.to_json() + "\n" for each in episodes)
    (folder / "episodes.jsonl").write_text(lines, "utf-8")
    return folder


PLAIN = episode(
    "plain",
    said(Role.SEEKER, "I cannot sleep after the night shifts."),
    said(
        Role.SUPPORTER,
        "What keeps you awake?",
        raw="What keeps you awake? Is it worry? Is it noise? Is it the light?",
        strategy=Strategy.QUESTION,
        repairs=("sentence_cap",),
    ),
    calls=(Call("judger", "scripted", (), text="YES"),),
    verdicts=(Verdict(2, 0, True), Verdict(1, 0, None)),
)
NASTY = episode(
    f"nasty {HOSTILE}",
    said(Role.SEEKER, HOSTILE),
    said(Role.SUPPORTER, "אני שומע אותך 😢 שקט", strategy=Strategy.REFLECTION),
    said(Role.SEEKER, "word " * 40_000),
    said(Role.SUPPORTER, "a" * 5_000, strategy=Strategy.OTHERS),
    problem_type=f"Own type {HOSTILE}",
)
CRISIS = episode(
    "crisis",
    said(Role.SEEKER, "Some nights I do not want to be here.", crisis=("suicide",)),
    said(Role.SUPPORTER, "Are you safe tonight?", strategy=Strategy.QUESTION),
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = save(tmp_path / "first", PLAIN, NASTY, CRISIS)
    rated = {"episode": "plain", "rater": "judge:a", "kind": "judge"}
    append_ratings(
        folder / "ratings.jsonl",
        [
            Rating(**rated, dimension="empathy", value=4, utterance=1, explanation="It asks."),
            Rating(**rated, dimension="empathy", value=None),
            Rating(**rated, dimension="overall", value=3),
            Rating(**{**rated, "episode": "elsewhere"}, dimension="overall", value=1),
        ],
    )
    return folder


def test_a_view_holds_what_the_page_shows_and_no_empty_field() -> None:
    view = episode_view(PLAIN)
    assert view["turns"][0] == {"who": "s", "text": "I cannot sleep after the night shifts."}
    assert view["turns"][1]["raw"].endswith("Is it the light?")
    assert view["turns"][1]["strategies"] == ["Question"]
    assert view["verdicts"] == [{"after": 2, "end": True}, {"after": 1, "unread": True}]
    assert "error" not in view
    assert "seconds" not in view


def test_no_text_ends_the_script_that_holds_it() -> None:
    script = as_script({"text": HOSTILE + "\u2028&"})
    assert not set("<>&\u2028") & set(script)
    assert json.loads(script) == {"text": HOSTILE + "\u2028&"}


def test_numbers_of_a_run(run: Path) -> None:
    view = read_run(run)
    assert (view.counts.dialogues, view.counts.crisis, view.unmatched) == (3, 1, 1)
    page = write_report([run]).read_text("utf-8")
    assert re.search(r'<th scope="row">Conversations</th><td>3</td>', page)
    assert "empathy (judge)</th><td>4.00, n=1, 1 missing</td>" in page
    assert "14,639" in page  # ESConv's seeker utterances, FPEMF Table 2
    assert page.count(DISCLAIMER) == 2
    assert "findahelpline.com" in page
    assert "<script>document" not in page


def test_imported_conversations_are_not_called_generated(tmp_path: Path) -> None:
    people = save(tmp_path / "people", PLAIN.model_copy(update={"stop": StopReason.RECORDED}))
    models = save(tmp_path / "models", PLAIN)
    for runs, disclaimer in (
        ([people], IMPORTED_DISCLAIMER),
        ([models], DISCLAIMER),
        ([people, models], MIXED_DISCLAIMER),
    ):
        page = write_report(runs, tmp_path / "r.html").read_text("utf-8")
        assert page.count(str(escape(disclaimer))) == 2
    for run, disclaimer in ((people, IMPORTED_DISCLAIMER), (models, DISCLAIMER)):
        for command in ("show", "analyze"):
            told = CliRunner().invoke(app, [command, str(run)])
            assert told.exit_code == 0, told.output
            assert disclaimer in " ".join(told.stdout.split())


def test_ratings_of_two_rubrics_are_not_mixed_and_shares_are_not_certain(tmp_path: Path) -> None:
    """A dimension that shows more than before is another rubric's; 3 of 3 helpful is [0.44, 1]."""
    folder = save(tmp_path / "first", *(PLAIN.model_copy(update={"id": f"p{n}"}) for n in range(3)))
    rows = [
        {"kind": "judge", "dimension": "rationality", "value": 2, "rubric": "dialogue 1 (ab)"},
        {
            "kind": "judge",
            "dimension": "rationality",
            "value": 4,
            "rubric": "dialogue 1 (ab) with x",
        },
        {"kind": "scorer", "dimension": "helpful", "value": 1},
    ]
    rated = [Rating(episode=f"p{n}", rater="r", **row) for row in rows for n in range(3)]
    append_ratings(folder / "ratings.jsonl", rated)
    page = write_report([folder]).read_text("utf-8")
    assert "rationality (judge), dialogue 1 (ab)</th><td>2.00, n=3" in page
    assert "rationality (judge), dialogue 1 (ab) with x</th><td>4.00, n=3" in page
    assert "helpful (scorer)</th><td>1.00 [0.44, 1.00], n=3" in page


def test_an_episode_tried_again_counts_as_what_it_became(tmp_path: Path) -> None:
    failed = episode("plain", stop=StopReason.ERROR)
    view = read_run(save(tmp_path / "again", failed, PLAIN))
    assert len(view.episodes) == 1
    assert (view.counts.dialogues, view.counts.failed) == (1, 0)


def test_several_runs_stand_side_by_side(run: Path, tmp_path: Path) -> None:
    other = save(tmp_path / "second" / "first", PLAIN)
    out = tmp_path / "both.html"
    page = write_report([run, other], out).read_text("utf-8")
    assert re.search(r'<th scope="row">Conversations</th><td>3</td><td>1</td>', page)
    assert '<th scope="col">second/first</th>' in page  # two folders of one name


def test_a_simulated_run_makes_a_report(tmp_path: Path) -> None:
    warmline.simulate(episodes=3, policy="scripted", max_turns=4, out=tmp_path / "run", seed=1)
    page = write_report([tmp_path / "run"]).read_text("utf-8")
    assert "supporter: calls" in page
    assert "ended: turn_limit" in page


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no episode log there"):
        write_report([tmp_path])
    with pytest.raises(ConfigError, match="at least one run"):
        write_report([])
    with pytest.raises(DataError, match="holds no conversation"):
        write_report([save(tmp_path / "empty")])


def test_tables_and_figures_of_other_commands_are_taken_over(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "analysis"
    (folder / "figures").mkdir(parents=True)
    (folder / "tables.md").write_text(f"# Sizes\n\n| a | b |\n|---|--:|\n| {HOSTILE} | 7 |\n")
    (folder / "figures" / "lengths.svg").write_text("<svg><script>1</script></svg>")
    page = write_report([run], tmp_path / "r.html", appendices=[folder]).read_text("utf-8")
    assert "<h3>Sizes</h3>" in page
    assert re.search(r"<td[^>]*>7</td>", page)
    assert "<script>document" not in page
    assert "<script>1" not in page
    assert page.index('id="conversations"') < page.index('id="appendix-1"')
    assert '<a href="#appendix-1">analysis</a>' in page
    assert re.search(r'<div class="scroll"[^>]*tabindex="0"><table>', page)
    assert 'alt="lengths"' in page
    with pytest.raises(DataError, match="no tables"):
        write_report([run], appendices=[tmp_path / "first"])


def test_figures_draw_their_numbers() -> None:
    figure = bars("t", ["a", "b"], {"x": [10.0, None], "y": [5.0, 0.0]})
    widths = [float(w) for w in re.findall(r'<rect [^>]*width="([\d.]+)"', figure)]
    assert widths[0] == 2 * widths[1]
    assert figure.count("no value") == 1
    assert 'aria-label="t"' in figure
    columns = stacked("t", ["1", "2"], {"x": [25.0, None], "y": [75.0, None]}, ["s-0", "s-1"])
    assert [float(h) for h in re.findall(r'height="([\d.]+)" class="s-', columns)] == [
        50, 150, 0, 0,
    ]  # fmt: skip
    assert histogram("t", {1: 2, 100: 4}).count("<rect") <= 40
    assert "no values" in histogram("t", {})
    assert "<b>" not in bars("<b>", ["<b>"], {"<b>": [1.0]})


# The page in a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine (apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser: Any, run: Path, tmp_path: Path) -> Iterator[Any]:
    """The report of two runs, on a page that collects complaints and requests."""
    other = save(tmp_path / "second", PLAIN)
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.complaints, page.asked = [], []
    page.on("console", lambda m: page.complaints.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(write_report([run, other], tmp_path / "r.html").as_uri())
    yield page
    page.close()


def counts(page: Any, words: str) -> None:
    """Wait until that many are said to be found."""
    from playwright.sync_api import expect

    expect(page.locator("#count")).to_have_text(f"{words} conversations")


def test_the_page_opens_without_complaint_and_asks_nobody(opened: Any) -> None:
    opened.wait_for_selector("#list [role=option]")
    assert opened.complaints == []
    assert all(url.startswith(("file:", "data:")) for url in opened.asked)
    assert opened.inner_text("#count") == "4 of 4 conversations"


def test_search_and_filters_find(opened: Any) -> None:
    opened.fill("#search", "KEEPS YOU awake")
    counts(opened, "2 of 4")
    opened.locator("#list [role=option]").first.click()
    assert "What keeps you awake?" in opened.inner_text("#detail")
    assert opened.locator("#detail section").count() == 2  # the same scenario in both runs
    assert opened.locator("#detail mark").count() == 4  # said and raw, in two runs
    opened.fill("#search", "")
    opened.select_option("#shows", "crisis")
    counts(opened, "1 of 4")
    opened.select_option("#shows", "")
    opened.select_option("#run", "1")
    counts(opened, "1 of 4")


def test_private_text_is_folded_and_raw_text_at_hand(opened: Any) -> None:
    opened.locator("#list [role=option]").first.click()
    assert not opened.get_by_text("Ines took their nights").first.is_visible()
    opened.get_by_text("What only the seeker knows").first.click()
    assert opened.get_by_text("Ines took their nights").first.is_visible()
    opened.get_by_text("As the model wrote it").first.click()
    assert opened.get_by_text("Is it the light?").first.is_visible()
    assert opened.get_by_text("judger: it is over").first.is_visible()


def test_a_hostile_conversation_is_shown_inert(opened: Any) -> None:
    opened.locator("#list [role=option]").nth(1).click()
    assert opened.locator("#detail img, #detail script").count() == 0
    assert HOSTILE in opened.inner_text("#detail")
    assert opened.title().endswith("Warmline report")
    assert "Show all 200,000 characters" in opened.inner_text("#detail")
    assert opened.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    turn = opened.locator("#detail .turn.p p").first
    assert turn.evaluate("e => getComputedStyle(e).direction") == "rtl"
    assert opened.complaints == []


@pytest.mark.parametrize("width", [1280, 390])
def test_labels_of_figures_stand_whole_and_readable(opened: Any, width: int) -> None:
    opened.set_viewport_size({"width": width, "height": 900})
    cut, sizes = opened.evaluate("""() => {
      const cut = [], sizes = [];
      for (const text of document.querySelectorAll("svg text")) {
        const box = text.getBoundingClientRect();
        const figure = text.ownerSVGElement.getBoundingClientRect();
        const out = Math.max(figure.left - box.left, box.right - figure.right, figure.top - box.top);
        if (out > 1) cut.push(text.textContent);
        sizes.push(box.height);
      }
      return [cut, sizes];
    }""")
    assert cut == []
    assert len(sizes) > 20
    assert min(sizes) > 9


@pytest.mark.parametrize("width", [1280, 390])
def test_conversations_are_one_click_away_from_anywhere(opened: Any, width: int) -> None:
    opened.set_viewport_size({"width": width, "height": 800})
    opened.evaluate("""() => {
      document.querySelector("nav a").insertAdjacentHTML("afterend", "<a>the name of an appendix</a>");
    }""")  # so that the links need two lines on a phone
    opened.evaluate("window.scrollTo(0, 1000)")
    link = opened.get_by_role("navigation").get_by_text("Conversations")
    assert 0 <= link.bounding_box()["y"] < 80
    link.click()
    title = opened.locator("#conversations-title").bounding_box()
    nav = opened.get_by_role("navigation").bounding_box()
    assert nav["y"] + nav["height"] <= title["y"] < 300


def test_a_wide_table_scrolls_by_itself_and_keeps_its_row_names(
    browser: Any, run: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "analysis"
    folder.mkdir()
    cells = " | ".join(f"column {n}" for n in range(20))
    (folder / "tables.md").write_text(f"| a | {cells} |\n|{'---|' * 21}\n| name | {cells} |\n")
    page = browser.new_page(viewport={"width": 390, "height": 800})
    page.goto(write_report([run], tmp_path / "r.html", appendices=[folder]).as_uri())
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    tables = page.locator(".appendix .scroll, article:has-text('Sizes and lengths') .scroll")
    assert tables.count() == 2
    for number in range(2):
        table = tables.nth(number)
        table.scroll_into_view_if_needed()
        table.evaluate("e => { e.scrollLeft = 150; }")
        assert table.evaluate("e => e.scrollLeft") == 150
        name = table.locator("tbody tr").first.locator("th, td").first.bounding_box()
        assert abs(name["x"] - table.bounding_box()["x"]) < 2
        for row in table.locator("tbody tr").all():  # of two lines, not of single letters
            assert row.bounding_box()["height"] < 80
    page.close()


def test_a_phone_shows_one_part_at_a_time(opened: Any) -> None:
    opened.set_viewport_size({"width": 360, "height": 740})
    assert opened.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    opened.locator("#list [role=option]").first.click()
    assert not opened.locator("#list").is_visible()
    opened.get_by_role("button", name="Back to the list").click()
    assert opened.locator("#list").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(opened: Any, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    opened.emulate_media(color_scheme=scheme)
    opened.locator("#list [role=option]").first.click()
    # the page's policy lets no script but its own run, so the tool goes in as the browser's own
    found = Axe().run(opened).response["violations"]
    serious = [v for v in found if v["impact"] in ("serious", "critical")]
    assert [(v["id"], v["nodes"][0]["html"]) for v in serious] == []


def test_five_thousand_conversations_stay_quick(browser: Any, tmp_path: Path) -> None:
    talk = PLAIN.utterances * 8
    many = [episode(f"e{n}", *talk) for n in range(4_999)]
    many.append(episode("last", *talk, said(Role.SEEKER, "The needle in all of this.")))
    report = write_report([save(tmp_path / "many", *many)])
    page = browser.new_page()
    page.goto(report.as_uri())
    page.wait_for_selector("#list [role=option]")
    assert page.locator("#list [role=option]").count() <= 200  # not all are drawn
    page.fill("#search", "needle in all")
    counts(page, "1 of 5000")
    page.close()


def test_of_a_large_run_a_named_sample_is_shown_and_the_numbers_are_over_all(
    tmp_path: Path,
) -> None:
    """5,003 conversations, of which some are rated; the sample depends on ids alone."""
    line = PLAIN.to_json()
    names = [f"talk-{number}" for number in range(5_003)]
    lines = [line.replace('"id":"plain"', f'"id":"{name}"') for name in names]
    for folder, order in (("a", lines), ("b", lines[::-1])):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "episodes.jsonl").write_text("\n".join(order) + "\n", "utf-8")
    append_ratings(
        tmp_path / "a/ratings.jsonl",
        [
            Rating(episode=name, rater="r", kind="judge", dimension="empathy", value=4)
            for name in names[:100]
        ],
    )
    view, other = read_run(tmp_path / "a"), read_run(tmp_path / "b")
    shown = {each["id"]: each for each in view.episodes}
    assert (len(shown), view.conversations, view.counts.dialogues) == (5_000, 5_003, 5_003)
    assert {each["id"] for each in other.episodes} == set(shown)
    assert len(view.rated["judge", "empathy", ""].values) == 100
    assert sum("ratings" in each for each in view.episodes) == len(set(names[:100]) & set(shown))
    page = write_report([tmp_path / "a"]).read_text("utf-8")
    assert "Shown of a: a sample of 5,000 of 5,003 conversations" in page
    assert "a sample of" not in write_report([save(tmp_path / "c", PLAIN)]).read_text("utf-8")
