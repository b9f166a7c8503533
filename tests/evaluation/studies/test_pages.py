"""The pages: the way through, what is kept, and what is refused."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra web is not installed")
from starlette.testclient import TestClient

from tests.evaluation.studies.sites import SECRET, Person, Voice, study_settings, voiced
from warmline.core.errors import ConfigError, RunError
from warmline.environments.episodes.log import read_episodes
from warmline.environments.episodes.rating import iter_ratings
from warmline.evaluation.replies.evaluate import evaluate
from warmline.evaluation.replies.settings import EvaluationSettings
from warmline.evaluation.report.page import write_report
from warmline.evaluation.studies.results import write_results
from warmline.evaluation.studies.settings import StudySettings
from warmline.evaluation.studies.web.app import make_app
from warmline.evaluation.studies.web.security import Rate, check_bind
from warmline.evaluation.studies.web.site import Site
from warmline.training.preferences.build import iter_pairs

QUESTION = {
    "question": "Choose two.",
    "options": ["one", "two"],
    "answer": 2,
    "feedback": "Two it is.",
}


@contextmanager
def served(
    settings: StudySettings, *, clock: Any = None, **voices: Voice
) -> Iterator[tuple[Any, Site]]:
    """A client and the site; every line told is in `site.told`."""
    told: list[str] = []
    made = voiced(settings, **voices) if settings.live else {}
    site = Site(settings, SECRET, tell=told.append, environments=made or None, clock=clock)
    site.told = told  # type: ignore[attr-defined]
    with TestClient(make_app(site), follow_redirects=True) as client:
        yield client, site


def sign_in(client: Any) -> str:
    page = client.post("/admin/sign-in", data={"secret": SECRET})
    assert page.status_code == 200
    return re.findall(r'name="csrf" value="([^"]*)"', page.text)[0]


def test_a_pointwise_study_from_the_link_to_the_ratings(tmp_path: Path) -> None:
    settings = study_settings(
        tmp_path, tasks=2, practice=[QUESTION], survey=[{"question": "How was it?"}],
        prolific={"code": "DONE-1", "url": "https://example.org/back"},
        consent={"share": "Use it?"}, attention=[QUESTION], quality={"attention_every": 2},
    )  # fmt: skip
    with served(settings, base=Voice("I am base."), tuned=Voice("I am tuned.")) as (client, site):
        person = Person.joined(client, site, "?PROLIFIC_PID=x1&SESSION_ID=s1", share="yes")
        assert "Two it is." in person.post("practice", answer="1").text
        assert "<h1>Conversation 1</h1>" in person.post("practice", answer="2").text
        heard = set()
        for number in (1, 2):
            page = person.say("I am worn out.")
            heard |= set(re.findall(r"I am (base|tuned)\.", page))
            assert "How was this conversation?" in person.post("end").text
            checks = {} if number == 1 else {"attention": "2"}
            last = person.rate(site, 5 - number, **checks)
        assert heard == {"base", "tuned"}
        assert "A few last questions" in last.text
        done = person.post("survey", q0="It was fine.").text
        assert "DONE-1" in done
        assert "https://example.org/back" in done
        written = write_results(site.study, settings)
    assert (written.ratings, written.episodes) == (14, 2)
    ratings = list(iter_ratings(settings.folder))
    assert {r.value for r in ratings} == {4.0, 3.0}
    assert {r.kind for r in ratings} == {"human"}
    assert ratings[0].rubric.startswith("self-evolution 1 (")
    episodes = read_episodes(settings.folder / "episodes.jsonl")
    assert {e.id for e in episodes} == {r.episode for r in ratings}
    assert [e.annotations["study"]["share"] for e in episodes] == [True, True]
    assert {"/".join(e.annotations["study"]["models"]) for e in episodes} == {"base", "tuned"}
    assert all("x1" not in e.to_json() for e in episodes)
    # the folder is a run: its talks are answered by other models, and its page has people's words
    found = evaluate(settings.folder, EvaluationSettings(policy="scripted", resamples=0))
    assert [result.replies for result in found] == [2]
    (rater,) = map(json.loads, (settings.folder / "raters.jsonl").open())
    assert rater["survey"] == {"How was it?": "It was fine."}
    assert (rater["tasks"], rater["checks"]["attention"]) == ({"done": 2}, [1, 1])
    page = write_report([settings.folder]).read_text()
    assert "empathy (human)" in page


def test_nobody_sees_the_models_names(tmp_path: Path) -> None:
    settings = study_settings(tmp_path, models={"secret-a": {"policy": "scripted"}, "secret-b": {"policy": "scripted"}})  # fmt: skip
    with served(settings) as (client, site):
        person = Person.joined(client, site)
        pages = [
            person.page(),
            person.say("Hello."),
            person.post("end").text,
            person.rate(site).text,
        ]
    assert not any("secret-" in page for page in pages)


def test_crisis_language_is_held_marked_told_and_never_keeps_anybody(tmp_path: Path) -> None:
    voice = Voice()
    told = tmp_path / "told"
    tell = ["sh", "-c", f"cat >> {told}"]
    settings = study_settings(tmp_path, country="DE", contact={"name": "Dr A", "command": tell})
    with served(settings, base=voice, tuned=voice) as (client, site):
        person = Person.joined(client, site, country="FR")
        page = person.say("I want to kill myself tonight.")
        assert voice.asked == 0
        assert "3114" in page
        assert "not yet sent" in page
        assert "Leave the study" in page
        page = person.post("back").text
        assert "Your message" in page
        assert "tonight" not in page
        person.say("I want to kill myself tonight.")
        person.post("send")
        assert "I am listening." in person.awaited()
        assert voice.asked == 1
        assert len(site.told) == 2  # type: ignore[attr-defined]
        assert not any("kill" in line for line in site.told)  # type: ignore[attr-defined]
        rows = site.study.rows("SELECT * FROM alarms")
        assert [(r["source"], r["kinds"]) for r in rows] == [("person", "suicide")] * 2
        person.post("end")
        page = person.rate(site, reason="Now I want to die even more.").text
        assert "<h1>Help from people</h1>" in page
        assert "3114" in page
        write_results(site.study, settings)
        sign_in(client)
        assert "Crisis language: 3 times" in client.get("/admin").text
    episode = read_episodes(settings.folder / "episodes.jsonl")[0]
    assert episode.utterances[0].crisis == ("suicide",)
    for _ in range(500):  # the contact's command runs beside the pages
        if told.is_file() and told.read_text().count("}") == 3:
            break
        time.sleep(0.02)
    lines = [json.loads(line) for line in told.read_text().replace("}{", "}\n{").splitlines()]
    assert [line["kinds"] for line in lines] == [["suicide"]] * 3
    assert "tonight" not in told.read_text()


def test_leaving_works_from_the_notice_and_what_was_typed_goes_nowhere(tmp_path: Path) -> None:
    voice = Voice()
    with served(study_settings(tmp_path), base=voice, tuned=voice) as (client, site):
        person = Person.joined(client, site)
        person.say("I will hang myself.")
        page = person.post("leave").text
        assert "You have left the study" in page
        assert "findahelpline" in page
        assert voice.asked == 0
        assert site.tasks.progress()["left"] == 1
        assert site.study.rows("SELECT pending FROM talks")[0]["pending"] is None
        form = {"csrf": site.csrf(person.path.split("/")[-1]), "text": "again", "task": "x"}
        assert client.post(f"{person.path}/say", data=form).status_code == 409
        assert write_results(site.study, site.settings).episodes == 0


def test_a_reply_with_crisis_language_stands_behind_the_help_lines(tmp_path: Path) -> None:
    voice = Voice("Are you thinking of killing yourself?")
    settings = study_settings(tmp_path, country="GB")
    with served(settings, base=voice, tuned=voice) as (client, site):
        person = Person.joined(client, site, country="GB")
        page = person.say("I am low.")
        assert "116 123" in page
        assert "killing yourself" not in page
        page = person.post("seen").text
        assert "killing yourself" in page
        assert "killing yourself" in person.say("No.")  # once in a talk; the lines stay open below
        assert [r["source"] for r in site.study.rows("SELECT source FROM alarms")] == ["model"] * 2


def test_a_model_that_fails_is_asked_again_and_nothing_is_lost(tmp_path: Path) -> None:
    voice = Voice()
    voice.fails = 1
    with served(study_settings(tmp_path), base=voice, tuned=voice) as (client, site):
        person = Person.joined(client, site)
        page = person.say("Is anybody there?")
        assert "could not answer" in page
        assert "engine is away" not in page
        assert "Is anybody there?" in page
        person.post("send")
        assert "I am listening." in person.awaited()
        row = site.study.rows("SELECT failures, episode FROM talks")[0]
        assert row["failures"] == 1
        assert json.loads(row["episode"])["calls"][1]["error"].endswith("the engine is away")


def test_double_submits_old_pages_and_two_windows_change_nothing_twice(tmp_path: Path) -> None:
    voice = Voice()
    with served(study_settings(tmp_path), base=voice, tuned=voice) as (client, site):
        person = Person.joined(client, site)
        old = person.fields()
        for text in ("First.", "Second.", "Third."):  # one page, submitted thrice
            client.post(f"{person.path}/say", data=old | {"text": text})
            person.awaited()
        assert voice.asked == 1
        assert person.page().count("First.") == 1
        assert "Second." not in person.page()
        person.post("end")
        form = person.fields() | {f"d_{d.name}": "2" for d in site.dimensions}
        client.post(f"{person.path}/rate", data=form)
        again = client.post(f"{person.path}/rate", data=form | {"d_overall": "5"})
        assert again.status_code == 409
        values = [r["value"] for r in site.study.rows("SELECT value FROM answers")]
        assert values == [2.0] * 7


def test_two_votes_at_the_same_moment_count_once(tmp_path: Path) -> None:
    settings = study_settings(tmp_path, "pairwise", min_exchanges=2)
    with served(settings, base=Voice("Base here."), tuned=Voice("Tuned here.")) as (client, site):
        person = Person.joined(client, site)
        person.say("Hello.")
        form = person.fields()
        with ThreadPoolExecutor(8) as pool:
            choices = [
                form | {"d_overall": choice} for choice in ("first", "second", "tie", "first") * 2
            ]
            found = list(pool.map(lambda f: client.post(f"{person.path}/choose", data=f), choices))
        assert {answer.status_code for answer in found} == {200}
        assert len(site.study.rows("SELECT * FROM answers")) == 1
        assert site.talks.of(form["task"]).exchanges == 1


def test_a_pairwise_study_goes_on_with_the_winner_and_makes_pairs_with_consent(
    tmp_path: Path,
) -> None:
    settings = study_settings(tmp_path, "pairwise", min_exchanges=3, consent={"share": "Use it?"}, overlap=9)  # fmt: skip
    with served(settings, base=Voice("Base here."), tuned=Voice("Tuned here now.")) as (
        client,
        site,
    ):
        for share in ("yes", "no"):
            person = Person.joined(client, site, share=share)
            shown = []
            for text in ("One.", "Two.", "Three."):
                page = person.say(text)
                first = re.findall(r"<h3>Reply 1</h3><p>(.*?)</p>", page)[0]
                shown.append(first)
                choice = {"Tuned here now.": "first", "Base here.": "second"}[first]
                page = person.post("choose", d_overall="tie" if text == "Three." else choice).text
                if text != "Three.":
                    assert "Tuned here now." in page
                    assert "Base here." not in page
            person.post("end")
        written = write_results(site.study, settings)
    assert written.preferences == 2
    assert written.not_shared == {"tie": 1, "not agreed to": 3}
    ratings = list(iter_ratings(settings.folder))
    assert [r.value for r in ratings] == [-1.0, -1.0, 0.0] * 2
    assert {r.candidate for r in ratings} == {"base against tuned"}
    assert [r.utterance for r in ratings[:3]] == [1, 3, 5]
    assert {r.notes["first"] for r in ratings} <= {"A", "B"}
    rows = [json.loads(line) for line in (settings.folder / "preferences.jsonl").open()]
    assert rows[0]["chosen"][0]["content"] == "Tuned here now."
    assert rows[0]["rejected"][0]["content"] == "Base here."
    assert rows[1]["prompt"][-1] == {"role": "user", "content": "Two."}
    pairs = list(iter_pairs(settings.folder / "preferences.jsonl"))
    assert {pair.origin for pair in pairs} == {"person"}
    assert [pair.as_trl()["chosen"] for pair in pairs] == [row["chosen"] for row in rows]
    episode = read_episodes(settings.folder / "episodes.jsonl")[0]
    assert [u.text for u in episode.utterances[1::2][:2]] == ["Tuned here now."] * 2
    assert [c["chosen"] for c in episode.annotations["study"]["comparisons"]][:2] == ["B", "B"]


def test_an_expired_task_is_somebody_elses_and_its_page_says_so(tmp_path: Path) -> None:
    now = [1_000.0]
    settings = study_settings(
        tmp_path, overlap=1, task_minutes=5, models={"a": {"policy": "scripted"}}
    )
    with served(settings, clock=lambda: now[0]) as (client, site):
        late = Person.joined(client, site)
        form = late.fields()
        now[0] += 301
        other = Person.joined(client, site)
        assert "Conversation 1" in other.page()
        answer = client.post(f"{late.path}/say", data=form | {"text": "Sorry, I was away."})
        assert answer.status_code == 409
        assert "lay still too long" in answer.text
        assert site.tasks.progress() == {"expired": 1, "active": 1, "free": 0}
        late_page = late.page()
        assert "Nothing is free at the moment" in late_page  # and no thanks for nothing


def test_what_is_typed_is_text_and_never_markup(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}"
    with served(study_settings(tmp_path), base=Voice(evil), tuned=Voice(evil)) as (client, site):
        person = Person.joined(client, site)
        page = person.say(evil)
        assert "<script>alert" not in page
        assert "<img" not in page
        assert page.count("&lt;script&gt;alert(1)") == 2
        assert "{{ 7*7 }}" in page
        answer = client.get(person.path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "<style" not in answer.text
        assert " style=" not in answer.text
        assert not re.search(r"<script(?! src=)", answer.text)
        assert set(re.findall(r'(?:src|href)="(https?://[^"/]+)', answer.text)) <= {
            "https://findahelpline.com"
        }


def test_a_megabyte_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with served(study_settings(tmp_path)) as (client, site):
        person = Person.joined(client, site)
        answer = person.post("say", text="x" * 1_000_000)
        assert answer.status_code == 413
        assert "shorten" in answer.text

        def parts() -> Iterator[bytes]:
            yield b"text="
            for _ in range(100):
                yield b"y" * 10_000

        headers = {"content-type": "application/x-www-form-urlencoded"}
        assert (
            client.post(f"{person.path}/say", content=parts(), headers=headers).status_code == 413
        )
        longer = person.post("say", text="word " * 1000)
        assert "Nothing was sent" in longer.text
        assert "word word" in longer.text  # it is still there to be shortened
        assert site.study.rows("SELECT pending FROM talks")[0]["pending"] is None


def test_guessed_links_tasks_and_signatures_open_nothing(tmp_path: Path) -> None:
    settings = study_settings(tmp_path, rates={"guesses": 5}, tasks=2, overlap=9)
    with served(settings) as (client, site):
        one, other = Person.joined(client, site), Person.joined(client, site)
        one.say("This is mine alone.")
        assert "mine alone" not in other.page()
        mine = one.fields()
        theirs = other.fields() | {"task": mine["task"], "text": "Into the other's talk."}
        assert client.post(f"{other.path}/say", data=theirs).status_code == 409
        assert client.post(f"{other.path}/say", data=mine | {"text": "x"}).status_code == 403
        assert (
            client.post(f"{one.path}/say", data=mine | {"text": "x", "csrf": ""}).status_code == 403
        )
        evil = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
        assert (
            client.post(f"{one.path}/say", data=mine | {"text": "x"}, headers=evil).status_code
            == 403
        )
        assert one.page().count("This is mine alone.") == 1
        found = [client.get(f"/p/{n:032d}").status_code for n in range(8)]
        assert found[0] == 404
        assert found[-1] == 429
        assert client.get("/join/guess").status_code in (404, 429)
        assert client.get("/static/../app.py").status_code == 404
        assert client.get("/static/study.toml").status_code == 404
        assert client.get("/docs").status_code == 404
        assert client.get("/openapi.json").status_code == 404


def test_the_owners_pages_need_the_secret_and_forms_of_their_own(tmp_path: Path) -> None:
    with served(study_settings(tmp_path, rates={"guesses": 4})) as (client, site):
        person = Person.joined(client, site)
        name = site.people.all()[0].name
        for path in ("/admin", f"/admin/export/{name}"):
            assert client.get(path).status_code == 401
        for path in ("/admin/invite", "/admin/results", "/admin/forget", "/admin/sign-out"):
            assert client.post(path, data={"csrf": person.fields()["csrf"]}).status_code == 401
        assert client.post("/admin/sign-in", data={"secret": "wrong"}).status_code == 401
        csrf = sign_in(client)
        assert client.post("/admin/results", data={"csrf": "0" * 40}).status_code == 403
        page = client.post("/admin/invite", data={"csrf": csrf, "count": "2"}).text
        links = re.findall(r"<li><code>http://testserver(/p/[\w-]+)</code>", page)
        assert len(set(links)) == 2
        assert "Before you begin" in client.get(links[0]).text
        assert client.get(f"/admin/export/{name}").json()["participant"]["name"] == name
        client.post("/admin/sign-out", data={"csrf": csrf})
        assert client.get("/admin").status_code == 401
        for _ in range(4):
            last = client.post("/admin/sign-in", data={"secret": "wrong"}).status_code
        assert last == 429


def test_one_participants_data_can_be_had_and_deleted(tmp_path: Path) -> None:
    settings = study_settings(tmp_path, overlap=9)
    with served(settings) as (client, site):
        gone, stays = Person.joined(client, site), Person.joined(client, site)
        for person, words in ((gone, "Zebras in my kitchen."), (stays, "I stay.")):
            person.say(words)
            person.post("end")
            person.rate(site, reason="because")
        name = site.people.all()[0].name
        csrf = sign_in(client)
        write_results(site.study, settings)
        everything = client.get(f"/admin/export/{name}").text
        assert "Zebras in my kitchen." in everything
        assert "I stay." not in everything
        page = client.post("/admin/forget", data={"csrf": csrf, "name": name, "sure": "no"}).text
        assert "Type the pseudonym again" in page
        client.post("/admin/forget", data={"csrf": csrf, "name": name, "sure": name})
        assert client.get(gone.path).status_code == 404
        assert "Thank you" in stays.page()
        assert len(list(iter_ratings(settings.folder))) == 7
    for file in settings.folder.iterdir():
        assert b"Zebras" not in file.read_bytes(), file.name


def test_a_prolific_id_starts_once_and_goes_on_only_in_its_own_session(tmp_path: Path) -> None:
    settings = study_settings(tmp_path, prolific={"code": "C"})
    with served(settings) as (client, site):
        key = site.study.value("join")
        first = client.get(f"/join/{key}?PROLIFIC_PID=p&STUDY_ID=s&SESSION_ID=1")
        assert client.get(f"/join/{key}?PROLIFIC_PID=p&STUDY_ID=s&SESSION_ID=2").status_code == 409
        assert client.get(f"/join/{key}?PROLIFIC_PID=p").status_code == 409
        again = client.get(f"/join/{key}?PROLIFIC_PID=p&STUDY_ID=s&SESSION_ID=1")
        assert again.status_code == 200
        assert again.url != first.url
        assert client.get(first.url.path).status_code == 404
        assert len(site.people.all()) == 1


def test_careless_work_is_warned_about_then_discarded_and_done_by_others(tmp_path: Path) -> None:
    settings = study_settings(
        tmp_path, overlap=1, tasks=3, min_exchanges=1, attention=[QUESTION],
        models={n: {"policy": "scripted"} for n in "abc"},
        quality={"attention_every": 1, "warn_after": 1, "block_after": 2},
    )  # fmt: skip
    with served(settings) as (client, site):
        person = Person.joined(client, site)
        person.say("a")
        person.post("end")
        assert "Please answer every question" in person.rate(site).text
        page = person.rate(site, attention="1").text
        assert "Please take your time" in page
        person.post("warned")
        person.say("a")
        person.post("end")
        assert "The study has ended for you" in person.rate(site, attention="1").text
        assert site.tasks.progress() == {"blocked": 2, "free": 3}
        assert write_results(site.study, settings).ratings == 0
        report = site.quality.report(site.people)[0]
        assert (report.failed, report.checks["attention"]) == (2, (0, 2))


def test_no_consent_no_study(tmp_path: Path) -> None:
    with served(study_settings(tmp_path)) as (client, site):
        person = Person.joined(client, site, ready=False)
        assert person.post("say", text="x").status_code == 409
        person.post("instructions")
        assert "Before you begin" in person.page()
        assert "of age" in person.post("consent", agree="yes").text
        assert "You do not take part" in person.post("consent", agree="no").text
        form = {"csrf": site.csrf(person.path.split("/")[-1]), "agree": "yes", "adult": "yes"}
        assert "You do not take part" in client.post(f"{person.path}/consent", data=form).text


def test_a_study_goes_on_where_it_was_stopped_and_not_under_other_settings(tmp_path: Path) -> None:
    voice = Voice()
    settings = study_settings(tmp_path)
    with served(settings, base=voice, tuned=voice) as (client, site):
        person = Person.joined(client, site)
        person.say("Remember me.")
        # a kill while a model was asked: the message is on disk, the answer is not
        task = person.fields()["task"]
        site.talks.say(site.tasks.by_id(task), "And this.", site.talks.of(task).version)
    with served(settings, base=voice, tuned=voice) as (client, site):
        page = Person(client, person.path).awaited()
        assert page.count("I am listening.") == 2
        assert "And this." in page
    with pytest.raises(RunError, match="holds a study with other settings"):
        Site(settings.model_copy(update={"seed": 1}), SECRET, tell=print)


def test_other_machines_are_let_in_only_with_a_secret_and_checked_help_lines() -> None:
    check_bind("127.0.0.1", None, "")
    check_bind("localhost", None, "")
    for host in ("0.0.0.0", "::", "192.168.0.5", "study.example.org"):
        with pytest.raises(ConfigError, match="lets other machines in") as error:
            check_bind(host, "short", "")
        assert len(error.value.problems) == 2
        assert "TLS" in str(error.value.hint)
        check_bind(host, "long enough to hold", "rung by A. on 2026-11-01")


def test_only_this_machines_names_are_answered_on_loopback(tmp_path: Path) -> None:
    site = Site(study_settings(tmp_path), SECRET, tell=print)
    app = make_app(site, ("localhost", "127.0.0.1"))
    with TestClient(app, base_url="http://evil.example") as client:
        assert client.get("/").status_code == 421
        unread = client.get("/", headers={"host": "["})
        assert unread.status_code == 421
        assert unread.headers["content-security-policy"]
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        assert client.get("/").status_code == 200


def test_rates_are_per_key_and_recover() -> None:
    now = [0.0]
    rate = Rate(2, clock=lambda: now[0])
    assert [rate.take("a") for _ in range(3)] == [True, True, False]
    assert rate.take("b")
    now[0] += 30
    assert [rate.take("a") for _ in range(2)] == [True, False]


def test_too_many_posts_are_refused_but_leaving_is_not(tmp_path: Path) -> None:
    with served(study_settings(tmp_path, rates={"posts": 3})) as (client, site):
        person = Person.joined(client, site)
        person.say("One.")
        assert person.post("say", text="Two.").status_code == 429
        assert "You have left the study" in person.post("leave").text


def test_logs_hold_nothing_personal(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with served(study_settings(tmp_path, prolific={"code": "C"})) as (client, site):
        person = Person.joined(client, site, "?PROLIFIC_PID=findme1&SESSION_ID=findme2")
        person.say("findme3, I want to die.")
        person.post("send")
        person.awaited()
        told = " ".join(site.told)  # type: ignore[attr-defined]
    ours = [r.getMessage() for r in caplog.records if not r.name.startswith("http")]
    assert "findme" not in told + " ".join(ours)
    assert person.path.split("/")[-1] not in told + " ".join(ours)
