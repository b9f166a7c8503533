"""A study in a browser: whole studies at once, a kill, keyboards, no JavaScript, and what axe finds."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra web is not installed")

import warmline
from warmline.environments.corpus.review.store import ReviewStore
from warmline.environments.episodes.log import read_episodes
from warmline.environments.episodes.rating import iter_ratings

pytestmark = pytest.mark.timeout(900)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SECRET = "a-secret-of-the-owner"
VOICES = '''
import asyncio
from pathlib import Path
import warmline
from warmline.policies.text.aloud import listener

class Voice:
    """Repeats what was said, in its own words, aloud; slow where a file says so."""
    speaks_aloud = True
    def __init__(self, name="base"):
        self.name = name
    async def respond(self, request):
        text = f"Yes. That is a lot. The {self.name} one hears: {request.messages[-1].content}"
        if hear := listener():
            hear(text[:25])
        while Path("hold").exists():
            await asyncio.sleep(0.05)
        return warmline.Reply(text)
    def describe(self):
        return {"policy": self.name}
'''
MODELS = """
[models.base]
policy = "voices:Voice"
options = { name = "first" }
[models.tuned]
policy = "voices:Voice"
options = { name = "other" }
"""


class Server:
    """`warmline serve` in a process of its own."""

    def __init__(self, folder: Path, study: str) -> None:
        self.folder, self.port = folder, 0
        (folder / "voices.py").write_text(VOICES)
        (folder / "study.toml").write_text(study)
        self.start()

    def start(self) -> None:
        command = [
            sys.executable,
            "-m",
            "warmline.cli",
            "serve",
            "study.toml",
            "--port",
            str(self.port),
        ]
        self.process = subprocess.Popen(
            command, cwd=self.folder, stderr=subprocess.PIPE, text=True,
            env=os.environ | {"WARMLINE_STUDY_SECRET": SECRET, "COLUMNS": "200"},
        )  # fmt: skip
        assert self.process.stderr is not None
        said = self.process.stderr.readline()
        found = re.search(r"(http://127\.0\.0\.1:(\d+))(/join/\S+)", said)
        assert found, said + self.process.stderr.read()
        self.base, self.port, self.join = found[1], int(found[2]), found[1] + found[3]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def results(self) -> str:
        command = [sys.executable, "-m", "warmline.cli", "study", "results", "study.toml"]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=True)
        return done.stdout


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
def serve(tmp_path: Path) -> Iterator[Any]:
    servers: list[Server] = []

    def start(study: str) -> Server:
        servers.append(Server(tmp_path, study))
        return servers[-1]

    yield start
    for server in servers:
        server.process.terminate()
        server.process.wait(20)


def opened(browser: Any, url: str, **options: Any) -> Any:
    """A page of a browser of its own, which collects complaints and requests."""
    page = browser.new_context(**options).new_page()
    page.set_default_timeout(60_000)
    page.complaints, page.asked = [], []
    page.on("console", lambda m: page.complaints.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(url)
    return page


def begin(page: Any) -> None:
    page.get_by_label("I am at least 18").check()
    page.get_by_role("button", name="I agree").click()
    page.get_by_role("button", name="Go on").click()


def say(page: Any, text: str) -> None:
    page.get_by_label("Your message").fill(text)
    page.get_by_role("button", name="Send").click()


def serious(page: Any) -> list[str]:
    """What axe-core finds that is serious or critical."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {each['nodes'][0]['html'][:200]}"
        for each in found
        if each["impact"] in ("serious", "critical")
    ]


def test_a_pointwise_study_with_three_participants_at_once(browser: Any, serve: Any) -> None:
    server = serve(
        'title = "Three"\nkind = "pointwise"\nout = "study"\nmin_exchanges = 2\ncountry = "IE"\n'
        + MODELS
    )
    people = [
        opened(browser, server.join, viewport={"width": 1280, "height": 800}),
        opened(browser, server.join, viewport={"width": 390, "height": 800}),
        opened(browser, server.join, java_script_enabled=False),
    ]
    for page in people:
        begin(page)
    for number in (1, 2):
        for name, page in zip("xyz", people, strict=True):
            say(page, f"Matter {name} of message {number}.")
        for name, page in zip("xyz", people, strict=True):
            if name == "z":
                page.wait_for_timeout(500)
                page.goto(page.url)  # without JavaScript one looks again, or waits for the refresh
            page.get_by_text(f"one hears: Matter {name} of message {number}.").wait_for()
    for name, page in zip("xyz", people, strict=True):
        text = page.locator("main").inner_text()
        assert [c for c in "xyz" if f"Matter {c}" in text] == [name]
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth") is True
        page.get_by_role("button", name="Finish this conversation").click()
        radios = page.locator("input[type=radio][value='4']")
        for index in range(radios.count()):
            radios.nth(index).check()
        page.get_by_role("button", name="Store and go on").click()
        page.get_by_role("heading", name="Thank you").wait_for()
        assert page.complaints == []
        assert all(url.startswith(server.base) for url in page.asked)
    out = server.results()
    assert "21 ratings, 3 episodes" in out
    ratings = list(iter_ratings(server.folder / "study"))
    assert len({r.rater for r in ratings}) == 3
    models = [tuple(r.notes["models"]) for r in ratings if r.dimension == "overall"]
    assert set(models) == {("base",), ("tuned",)}
    for episode in read_episodes(server.folder / "study" / "episodes.jsonl"):
        assert len({re.findall("Matter (.)", u.text)[0] for u in episode.utterances}) == 1


def test_a_kill_in_the_middle_of_a_turn_loses_nothing(browser: Any, serve: Any) -> None:
    server = serve(
        'title = "Kill"\nkind = "pointwise"\nout = "study"\nmin_exchanges = 2\n' + MODELS
    )
    one, other = opened(browser, server.join), opened(browser, server.join)
    begin(one)
    begin(other)
    say(one, "Before the kill.")
    one.get_by_text("hears: Before the kill.").wait_for()
    (server.folder / "hold").touch()
    say(one, "In the middle.")
    say(other, "Somebody else's.")
    one.get_by_text("The supporter is writing").wait_for()
    other.get_by_text("The supporter is writing").wait_for()
    places = one.url, other.url  # a page that looks again meanwhile is at an error's address
    server.kill()
    (server.folder / "hold").unlink()
    server.start()
    one.goto(places[0])
    other.goto(places[1])
    one.get_by_text("hears: In the middle.").wait_for()
    other.get_by_text("hears: Somebody else's.").wait_for()
    text = one.locator("main").inner_text()
    assert text.count("hears: Before the kill.") == 1
    assert text.count("In the middle.") == 2  # said once, answered once
    assert "Somebody else" not in text
    say(one, "Afterwards.")
    one.get_by_text("hears: Afterwards.").wait_for()


def test_a_pairwise_study_with_the_back_button(browser: Any, serve: Any) -> None:
    server = serve(
        'title = "Pairs"\nkind = "pairwise"\nout = "study"\nmin_exchanges = 3\n' + MODELS
    )
    page = opened(browser, server.join)
    begin(page)
    for number in (1, 2, 3):
        say(page, f"Message {number}.")
        page.get_by_role("heading", name="Two replies").wait_for()
        chosen = page.locator("article p").first.inner_text()
        page.get_by_label("Reply 1").check()
        page.get_by_role("button", name="Choose and go on").click()
        page.get_by_label("Your message").wait_for()
        assert page.locator("li.supporter p").last.inner_text() == chosen
        if number == 2:  # go back and choose the other one: the first choice stands
            page.go_back()
            if page.get_by_label("Reply 2").count():
                page.get_by_label("Reply 2").check()
                page.get_by_role("button", name="Choose and go on").click()
            page.goto(page.url)
            page.get_by_label("Your message").wait_for()
            assert page.locator("li.supporter p").last.inner_text() == chosen
    page.get_by_role("button", name="Finish this conversation").click()
    page.get_by_role("heading", name="Thank you").wait_for()
    assert page.complaints == []
    assert "3 ratings, 1 episodes" in server.results()


def test_a_review_of_twenty_dialogues_by_three_reviewers(
    browser: Any, serve: Any, tmp_path: Path
) -> None:
    warmline.simulate(
        policy="scripted", counselor=False, judger=False, episodes=20, max_turns=4,
        out=tmp_path / "corpus", progress=False,
    )  # fmt: skip
    server = serve('title = "Review"\nkind = "review"\nout = "study"\nitems = ["corpus"]\n')
    pages = [opened(browser, server.join, bypass_csp=page == 0) for page in range(3)]
    for page in pages:
        begin(page)
    assert serious(pages[0]) == []
    pages[0].locator("summary", has_text="Edit").first.click()
    pages[0].get_by_label("New text of utterance 0").fill("A better first line.")
    pages[0].get_by_role("button", name="Store the edit").first.click()
    pages[0].locator("ins").first.wait_for()
    assert "better" in " ".join(pages[0].locator("ins").all_inner_texts())
    for page in pages[1:]:  # one of them may have been reading the edited one, in its old version
        page.reload()
    for page in pages:
        for number in range(20):
            page.get_by_role("heading", name="Review").wait_for()
            page.wait_for_load_state()  # before it, keys are nobody's
            if page is pages[2] and number == 0:
                page.keyboard.press("r")
                page.keyboard.type("the seeker gives advice")
                page.keyboard.press("Enter")
            else:
                page.keyboard.press("a")
            page.get_by_text(f"{number + 1} judged by you").wait_for()
        page.get_by_text("Nothing is left for you").wait_for()
        assert page.complaints == []
    with ReviewStore(tmp_path / "corpus") as store:
        progress = store.progress()
    assert progress.states == {"pending": 0, "approved": 19, "rejected": 1}
    assert progress.edited == 1


def test_the_keyboard_is_enough_and_axe_finds_nothing_serious(browser: Any, serve: Any) -> None:
    server = serve(
        'title = "Keys"\nkind = "pointwise"\nout = "study"\nmin_exchanges = 1\ncountry = "GB"\n'
        'practice = [{ question = "One?", options = ["no", "yes"], answer = 2 }]\n'
        'survey = [{ question = "How was it?" }]\ntags = ["too much advice", "cold"]\n'
        '[contact]\nname = "Dr A"\nemail = "a@example.org"\n[consent]\nshare = "Use it?"\n' + MODELS
    )
    for scheme in ("light", "dark"):
        page = opened(browser, server.join, color_scheme=scheme, bypass_csp=True)
        faults = serious(page)

        def press(*keys: str, on: Any = page) -> None:
            for key in keys:
                on.keyboard.press(key)

        page.get_by_label("I am at least 18").focus()
        press("Space", "Tab", "Space", "Tab", "Enter")  # of age, share, agree
        page.get_by_role("heading", name="What you will do").wait_for()
        faults += serious(page)
        page.get_by_role("button", name="Go on").focus()
        press("Enter")
        page.get_by_label("no", exact=True).focus()
        press("ArrowDown", "Enter")
        page.get_by_label("Your message").wait_for()
        faults += serious(page)
        page.keyboard.type("I want to die.")  # the field has the focus
        press("Control+Enter")
        page.get_by_role("heading", name="Help from people, now").wait_for()
        assert "116 123" in page.locator("section.guidance").inner_text()
        faults += serious(page)
        page.get_by_role("button", name="Send it and go on").focus()
        press("Enter")
        page.get_by_text("one hears").wait_for()
        faults += serious(page)
        page.get_by_role("button", name="Finish this conversation").focus()
        press("Enter")
        page.get_by_role("heading", name="How was").wait_for()
        faults += serious(page)
        for name in ("coherence", "understanding", "empathy", "informativeness", "helpfulness",
                     "engagement", "overall"):  # fmt: skip
            page.locator(f"input[name=d_{name}]").first.focus()
            press("Space", "ArrowDown")
        page.get_by_role("button", name="Store and go on").focus()
        press("Enter")
        page.get_by_label("How was it?").wait_for()
        faults += serious(page)
        page.goto(page.url + "/help")
        faults += serious(page)
        page.goto(server.base + "/admin")
        faults += serious(page)
        page.get_by_label("Secret").fill(SECRET)
        press("Enter")
        page.get_by_role("heading", name="Raters").wait_for()
        faults += serious(page)
        assert faults == []


def test_a_waiting_page_without_javascript_looks_again_by_itself(browser: Any, serve: Any) -> None:
    server = serve('title = "Plain"\nkind = "chat"\nout = "study"\n' + MODELS)
    page = opened(browser, server.join, java_script_enabled=False)
    begin(page)
    (server.folder / "hold").touch()
    say(page, "Are you there?")
    page.get_by_text("The supporter is writing").wait_for()
    (server.folder / "hold").unlink()
    page.get_by_text("hears: Are you there?").wait_for()


def test_the_server_ends_with_what_waits_kept(browser: Any, serve: Any) -> None:
    server = serve('title = "End"\nkind = "chat"\nout = "study"\nearly = true\n' + MODELS)
    page = opened(browser, server.join)
    begin(page)
    (server.folder / "hold").touch()
    say(page, "Wait for me.")
    page.locator("#written", has_text="Yes.").wait_for()  # while the rest is written
    assert "hears" not in page.locator("main").inner_text()
    begun = time.monotonic()
    server.process.send_signal(signal.SIGINT)
    server.process.wait(30)
    assert time.monotonic() - begun < 30
    (server.folder / "hold").unlink()
    server.start()
    page.goto(page.url)
    page.get_by_text("hears: Wait for me.").wait_for()
    out = subprocess.run(
        [sys.executable, "-m", "warmline.cli", "study", "status", "study.toml", "--json"],
        cwd=server.folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(out.stdout)["tasks"]["active"] == 1


def test_the_projects_own_study_from_file_to_table(tmp_path: Path) -> None:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine (apt-get install chromium)")
    script = Path(__file__).parents[3] / "benchmarks" / "own_study.py"
    scripted = ["--model", "scripted", "--rater", "scripted", "--rater", "scripted"]
    command = [sys.executable, str(script), *scripted, "--contexts", "1", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "adapter against base" in done.stdout
    assert "4 ratings, 2 episodes" in done.stdout
    ratings = list(iter_ratings(tmp_path / "study"))
    assert {r.candidate for r in ratings} == {"adapter against base"}
    assert sorted(r.utterance or 0 for r in ratings) == [1, 1, 3, 3]
