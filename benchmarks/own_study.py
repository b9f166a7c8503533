"""The project's own study: the shipped adapter against its base, judged pairwise, from `study.toml` to table.

Two language models stand in for two raters. Each sits in a browser of its own, as a person would: it
consents, writes as the person in the situation that the page shows, reads two blind replies and chooses
one by its text. **It shows the path and claims nothing about people**: stand-ins this small mostly choose
by position, as the column `first` of the table tells.

    python benchmarks/own_study.py [--contexts 2] [--exchanges 2] [--rater SPEC --rater SPEC] [--out FOLDER]

Needs `pip install 'warmline[web]' playwright` and chromium. `--model` and `--rater` given as `scripted`
play the same path in seconds.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import warmline
from warmline.agents.observations import SeekerBrief, SeekerObservation, Turn
from warmline.agents.roles import Role
from warmline.core.tasks import run_sync
from warmline.environments.scenarios.seed_pool import seed_scenarios
from warmline.policies.base import Message, Policy, Request, close_policy, open_policy
from warmline.policies.registry import make_policy

CHOICES = ("first", "second", "equal")
LABELS = {"first": "Reply 1", "second": "Reply 2", "equal": "They are equal"}
STUDY = """
title = "Two listening programs"
kind = "pairwise"
out = "study"
scenarios = "scenarios.jsonl"
overlap = {raters}
tasks = {contexts}
min_exchanges = {exchanges}
max_exchanges = {exchanges}
{models}
[consent]
share = "What I write may also be used to train models like these."
"""
MODELS = {
    "embedded": (
        '[models.base]\npolicy = "embedded"\noptions = { adapter = "none" }\n'
        '[models.adapter]\npolicy = "embedded"\n'
    ),
    "scripted": '[models.base]\npolicy = "scripted"\n[models.adapter]\npolicy = "scripted"\n',
}


class StandIn:
    """A language model in a rater's place, in a page of a browser.

    Args:
        policy: what writes and chooses.
        page: of a browser of its own.
        seed: of its words and choices.
    """

    def __init__(self, policy: Policy, page: Any, seed: int) -> None:
        self.policy, self.page, self.seed = policy, page, seed
        self.seeker = warmline.Seeker(policy)

    def take_part(self, join: str) -> None:
        """From the link to the end."""
        page = self.page
        page.goto(join)
        page.get_by_label("I am at least 18").check()
        page.locator("input[name=share]").check()
        page.get_by_role("button", name="I agree").click()
        page.get_by_role("button", name="Go on").click()
        while not page.get_by_role("heading", name="Thank you").count():
            self.step()

    def step(self) -> None:
        """Do what the page asks for."""
        page = self.page
        if page.locator("#waiting").count():  # the page looks at itself anew
            page.wait_for_timeout(300)
        elif page.get_by_role("button", name="Choose and go on").count():
            label = LABELS[self.choice()]
            page.locator("label.option", has_text=label).first.click()
            page.get_by_role("button", name="Choose and go on").click()
        elif self.pressed("Show the reply and go on", "Send it and go on", "Ask again"):
            pass
        elif page.get_by_label("Your message").count():
            page.get_by_label("Your message").fill(self.words())
            page.get_by_role("button", name="Send", exact=True).click()
        else:
            page.get_by_role("button", name="Finish this conversation").click()

    def pressed(self, *names: str) -> bool:
        """Press the first of these buttons that is there."""
        for name in names:
            if (button := self.page.get_by_role("button", name=name)).count():
                button.click()
                return True
        return False

    def history(self) -> tuple[Turn, ...]:
        """What was said, as the page shows it."""
        roles = {"seeker": Role.SEEKER, "supporter": Role.SUPPORTER}
        items = self.page.locator(".talk > li.seeker, .talk > li.supporter").all()
        return tuple(
            Turn(roles[item.get_attribute("class")], item.locator("p").first.inner_text())
            for item in items
        )

    def words(self) -> str:
        """The next message, in the seeker's seat."""
        situation = self.page.locator("main section.card p").first.inner_text()
        history = self.history()
        brief = SeekerBrief("not stated", situation.removeprefix("Your situation.").strip(), "")
        request = self.seeker.request(
            SeekerObservation(brief, history, turn=len(history) // 2),
            seed=self.seed + len(history),
            session="stand-in",
            max_sentences=3,
        )
        said = self.seeker.read(run_sync(self.policy.respond(request)))
        return said.text.strip() or "I do not know what else to say."

    def choice(self) -> str:
        """Which of the two replies it finds better."""
        first, second = self.page.locator("article p").all_inner_texts()
        *before, last = [turn.text for turn in self.history()] or [""]
        asked = (
            f"A person wrote: {last}\n\nfirst: {first}\n\nsecond: {second}\n\n"
            "Which reply is better, all in all? Answer first, second or equal."
        )
        request = Request(
            (Message("user", asked),), role="judger", choices=CHOICES, seed=self.seed + len(before)
        )
        return run_sync(self.policy.respond(request)).text


def served(folder: Path) -> tuple[subprocess.Popen[str], str]:
    """`warmline serve` in a process of its own, and the participants' link."""
    command = [sys.executable, "-m", "warmline.cli", "serve", "study.toml", "--port", "0"]
    server = subprocess.Popen(
        command, cwd=folder, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"WARMLINE_STUDY_SECRET": "a-secret-of-the-owner", "COLUMNS": "200"},
    )  # fmt: skip
    assert server.stderr is not None
    said = server.stderr.readline()
    found = re.search(r"http://\S+/join/\S+", said)
    if found is None:
        raise SystemExit(said + server.stderr.read())
    return server, found[0]


def play(folder: Path, raters: Sequence[str]) -> None:
    """Let every stand-in take part, one after the other."""
    from playwright.sync_api import sync_playwright

    server, join = served(folder)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=chromium, args=["--no-sandbox"] if os.getuid() == 0 else []
            )
            for number, spec in enumerate(raters):
                policy = make_policy(spec)
                run_sync(open_policy(policy))
                page = browser.new_context().new_page()
                page.set_default_timeout(300_000)
                StandIn(policy, page, seed=1_000 * number).take_part(join)
                run_sync(close_policy(policy))
                print(f"rater {number + 1} of {len(raters)} ({spec}) is done", flush=True)
            browser.close()
    finally:
        server.terminate()
        server.wait(60)


def main() -> None:
    """Write the study, serve it, let the stand-ins take part, print what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contexts", type=int, default=2, help="situations each rater plays")
    parser.add_argument("--exchanges", type=int, default=2, help="choices in each")
    parser.add_argument("--model", choices=MODELS, default="embedded", help="what is compared")
    parser.add_argument("--rater", action="append", help="a policy; given once for each")
    parser.add_argument("--out", type=Path, help="a folder that is kept")
    options = parser.parse_args()
    raters = options.rater or ["embedded", "embedded:adapter=none"]
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.out or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        chosen = seed_scenarios("test")[: options.contexts]
        lines = "".join(scenario.model_dump_json() + "\n" for scenario in chosen)
        (folder / "scenarios.jsonl").write_text(lines)
        (folder / "study.toml").write_text(
            STUDY.format(
                raters=len(raters),
                contexts=len(chosen),
                exchanges=options.exchanges,
                models=MODELS[options.model],
            )
        )
        play(folder, raters)
        command = [sys.executable, "-m", "warmline.cli", "study", "results", "study.toml"]
        subprocess.run(command, cwd=folder, check=True)


if __name__ == "__main__":
    main()
