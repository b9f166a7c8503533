"""What nobody does who means well: wrong methods, odd bytes, races, replays, clocks that jump."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra web is not installed")

from tests.evaluation.studies.sites import Person, Voice, study_settings
from tests.evaluation.studies.test_pages import QUESTION, served, sign_in
from warmline.environments.episodes.log import read_episodes
from warmline.evaluation.studies.participants import Stage
from warmline.evaluation.studies.results import write_results

EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One open study for all that does not end it: client, site, a participant in a talk."""
    settings = study_settings(
        tmp_path_factory.mktemp("hostile"), overlap=999, tasks=2, prolific={"code": "C"},
        survey=[{"question": "How was it?"}], country="GB",
        rates={"joins": 9999, "posts": 9999, "guesses": 9999},
    )  # fmt: skip
    voice = Voice()
    with served(settings, base=voice, tuned=voice) as (client, site):
        yield SimpleNamespace(client=client, site=site, voice=voice)


@pytest.fixture
def person(here: Any) -> Person:
    return Person.joined(here.client, here.site)


def said(here: Any, person: Person) -> list[str]:
    """What stands in the talk of a participant's task."""
    task = person.fields()["task"]
    return [u.text for u in here.site.talks.of(task).episode.utterances]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("what", ["say", "leave", "consent", "rate"])
def test_a_form_is_sent_by_post_alone(here: Any, person: Person, method: str, what: str) -> None:
    answer = here.client.request(method, f"{person.path}/{what}")
    assert answer.status_code == 405
    assert "Nothing was stored" in answer.text
    assert here.site.people.by_token(person.path.split("/")[-1]).stage is Stage.TASKS


def test_forms_of_another_shape_store_nothing(here: Any, person: Person) -> None:
    form, say = person.fields() | {"text": "x"}, f"{person.path}/say"
    post = here.client.post
    many = form | {f"f{n}": "" for n in range(400)}
    assert post(say, data=many).status_code == 400
    assert post(say, data=form, files={"text": ("a.txt", b"x" * 9)}).status_code == 400
    assert post(say, json=form).status_code == 403  # not a form, so not signed
    broken = b'--x\r\nContent-Disposition: form-data; name="text"\r\n\r\nhal'
    headers = {"content-type": "multipart/form-data; boundary=y"}
    assert post(say, content=broken, headers=headers).status_code in (400, 403)
    assert (
        post(say, content=b"text=%zz%", headers={"content-type": "text/plain"}).status_code == 403
    )
    assert said(here, person) == []


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        (b"one%0D%0Atwo", "one\ntwo"),
        (b"one%0Dtwo", "one\ntwo"),
        (b"a%00b", "a\ufffdb"),
        (b"%FF%FEword", "\ufffd\ufffdword"),
        ("\u202eevil\u202c \U0001f9d1\u200d\U0001f9d1 e\u0301".encode(), None),
        (b"word" + b"%CC%81" * 500, None),
    ],
)
def test_odd_bytes_are_text_on_one_page_and_in_the_record(
    here: Any, person: Person, typed: bytes, kept: str | None
) -> None:
    form = "&".join(f"{name}={value}" for name, value in person.fields().items()).encode()
    headers = {"content-type": "application/x-www-form-urlencoded"}
    answer = here.client.post(
        f"{person.path}/say", content=form + b"&text=" + typed, headers=headers
    )
    assert answer.status_code == 200
    assert "I am listening." in person.awaited()
    first = said(here, person)[0]
    assert kept is None or first == kept


@pytest.mark.parametrize("text", ["", " \n\t ", "\u200b\u200d", "\u2060" * 300])
def test_what_nobody_can_see_is_not_said(here: Any, person: Person, text: str) -> None:
    asked = here.voice.asked
    person.post("say", text=text)
    assert "Your message" in person.page()
    assert here.voice.asked == asked


@pytest.mark.parametrize(
    "version", ["9" * 400, "-1", "1e3", "", "٠x", "0x0", "1; DROP TABLE talks"]
)
def test_versions_that_are_none_change_nothing(here: Any, person: Person, version: str) -> None:
    assert person.post("say", text="Hello.", version=version).status_code == 200
    assert said(here, person) == []
    answer = here.client.get(f"{person.path}/talk", params={"version": version})
    assert answer.status_code == 200
    stream = here.client.get(f"{person.path}/stream", params={"version": version})
    assert stream.text.endswith("data: {}\n\n")


def test_what_was_agreed_to_cannot_be_agreed_to_again(here: Any) -> None:
    person = Person.joined(here.client, here.site)
    token = person.path.split("/")[-1]
    person.post("consent", agree="yes", adult="yes", share="yes", country="FR")
    who = here.site.people.by_token(token)
    assert (who.share, who.country) == (False, "")
    person.post("leave")
    for what in ("consent", "instructions", "say", "end", "rate", "survey", "warned", "practice"):
        form = {"csrf": here.site.csrf(token), "agree": "yes", "adult": "yes", "text": "x"}
        here.client.post(f"{person.path}/{what}", data=form)
        assert here.site.people.by_token(token).stage is Stage.LEFT


@pytest.mark.parametrize("country", ["XX", EVIL, "gb", "GB\0", "G" * 5000, "../../etc"])
def test_a_country_that_no_page_offers_is_refused(here: Any, person: Person, country: str) -> None:
    answer = person.post("country", country=country)
    assert answer.status_code == 409
    assert EVIL not in answer.text
    assert here.site.people.by_token(person.path.split("/")[-1]).country == ""


@pytest.mark.parametrize(
    "path",
    ["/p/%00", "/p/" + "x" * 5000, "/p/..%2f..%2fadmin", "/static/..%2fapp.py", "/static/%00",
     "/join/%ff", "/admin/export/%0d%0aset-cookie:x", "/p/ /stream"],
)  # fmt: skip
def test_odd_addresses_are_nowhere(here: Any, path: str) -> None:
    answer = here.client.get(path)
    assert answer.status_code in (401, 404)
    assert "set-cookie" not in answer.headers


def test_one_recruited_id_at_the_same_moment_is_one_participant(here: Any) -> None:
    key, before = here.site.study.value("join"), len(here.site.people.all())
    address = f"/join/{key}?PROLIFIC_PID=same&SESSION_ID=s"
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: here.client.get(address), range(6)))
    assert len(here.site.people.all()) == before + 1
    living = {answer.url.path for answer in found if answer.status_code == 200}
    assert sum(here.client.get(path).status_code == 200 for path in living) == 1


def test_two_windows_opened_at_once_are_one_task(here: Any) -> None:
    person = Person.joined(here.client, here.site)
    with ThreadPoolExecutor(6) as pool:
        pages = list(pool.map(lambda _: person.fields().get("task"), range(6)))
    assert len(set(pages)) == 1
    who = here.site.people.by_token(person.path.split("/")[-1])
    rows = here.site.study.rows("SELECT * FROM tasks WHERE participant = ?", who.id)
    assert len(rows) == 1


def test_ratings_at_the_same_moment_and_leaving_between_them(here: Any) -> None:
    person = Person.joined(here.client, here.site)
    person.say("Hello.")
    person.post("end")
    form = person.fields()
    forms = [
        form | {f"d_{d.name}": str(value) for d in here.site.dimensions} for value in (1, 2, 3, 4)
    ]
    with ThreadPoolExecutor(5) as pool:
        left = pool.submit(person.post, "leave")
        found = list(pool.map(lambda f: here.client.post(f"{person.path}/rate", data=f), forms))
        assert left.result().status_code == 200
    assert {answer.status_code for answer in found} <= {200, 409}
    rows = here.site.study.rows(
        "SELECT t.status, a.value FROM tasks t LEFT JOIN answers a ON a.task = t.id WHERE t.id = ?",
        form["task"],
    )
    assert len({(row["status"], row["value"]) for row in rows}) == 1
    assert (rows[0]["status"] == "done") == (rows[0]["value"] is not None)


def test_ending_while_a_model_is_asked_drops_what_it_says(here: Any) -> None:
    person = Person.joined(here.client, here.site)
    person.say("First.")
    form = person.fields()
    here.voice.line = "Too late."
    try:
        here.client.post(
            f"{person.path}/say", data=form | {"text": "Second."}, follow_redirects=False
        )
        here.client.post(f"{person.path}/end", data=form)
        time.sleep(0.1)
        page = person.page()
    finally:
        here.voice.line = "I am listening."
    assert "How was this conversation?" in page
    texts = said(here, person)
    assert texts in (["First.", "I am listening."],
                     ["First.", "I am listening.", "Second.", "Too late."])  # fmt: skip


def test_long_remarks_are_refused_and_never_cut(here: Any) -> None:
    person = Person.joined(here.client, here.site)
    person.say("Hello.")
    person.post("end")
    assert person.rate(here.site, reason="x" * 2001).status_code == 413
    assert person.rate(here.site, reason="y" * 1990 + "\r\n" * 10).status_code == 200
    kept = here.site.study.rows("SELECT explanation FROM answers WHERE explanation LIKE 'y%'")
    assert len(kept[0]["explanation"]) == 1990
    person.say("Hello.")
    person.post("end")
    person.rate(here.site)
    assert person.post("survey", q0="z" * 2001).status_code == 413
    assert "A few last questions" in person.page()
    assert "Thank you" in person.post("survey", q0="z" * 2000).text


def test_the_owners_forms_are_as_hostile_as_the_others(here: Any) -> None:
    client = here.client
    for what in ("invite", "results", "forget", "sign-out"):
        assert client.post(f"/admin/{what}", data={"csrf": "x"}).status_code == 401
    csrf = sign_in(client)
    try:
        for what in ("invite", "results", "forget"):
            assert client.post(f"/admin/{what}", data={"csrf": csrf[::-1]}).status_code == 403
        made = client.post("/admin/invite", data={"csrf": csrf, "count": "99999999"}).text
        assert len(re.findall("/p/", made)) <= 200
        nobody = client.post("/admin/forget", data={"csrf": csrf, "name": EVIL, "sure": EVIL})
        assert nobody.status_code == 409
        assert EVIL not in nobody.text
    finally:
        client.post("/admin/sign-out", data={"csrf": csrf})
    assert client.get("/admin").status_code == 401


def test_who_is_deleted_while_a_model_writes_is_gone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    voice = Voice()
    with served(study_settings(tmp_path), base=voice, tuned=voice) as (client, site):
        person = Person.joined(client, site)
        name = site.people.all()[0].name
        csrf = sign_in(client)
        original, gone = voice.respond, []

        async def slow(request: Any) -> Any:
            while not gone:
                await asyncio.sleep(0.01)
            return await original(request)

        voice.respond = slow  # type: ignore[method-assign]
        form = person.fields()
        client.post(f"{person.path}/say", data=form | {"text": "Hm."}, follow_redirects=False)
        client.post("/admin/forget", data={"csrf": csrf, "name": name, "sure": name})
        gone.append(True)
        while site.runner._jobs:
            time.sleep(0.01)
        assert client.get(person.path).status_code == 404
        assert site.study.rows("SELECT * FROM talks") == []
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]


def test_a_look_at_a_talk_that_is_not_begun_is_no_error(tmp_path: Path) -> None:
    with served(study_settings(tmp_path)) as (client, site):
        person = Person.joined(client, site)
        who = site.people.all()[0]
        assert site.tasks.hand_out(who) is not None  # another window, a moment earlier
        assert client.get(f"{person.path}/talk?version=0").status_code == 200
        assert client.get(f"{person.path}/stream?version=0").text.endswith("data: {}\n\n")
        assert "Your message" in person.page()


def test_a_stop_right_after_the_last_practice_answer_leads_on(tmp_path: Path) -> None:
    with served(study_settings(tmp_path, practice=[QUESTION])) as (client, site):
        person = Person.joined(client, site)
        site.quality.practised(site.people.all()[0], 0, True)  # and then the server was killed
        assert "Conversation 1" in person.page()


def test_clocks_that_jump_fail_nobody_and_lose_nothing(tmp_path: Path) -> None:
    now = [1_000_000.0]
    settings = study_settings(
        tmp_path, overlap=9, quality={"min_seconds": 5, "block_after": 1}, task_minutes=10
    )
    with served(settings, clock=lambda: now[0]) as (client, site):
        person = Person.joined(client, site)
        person.say("Hello.")
        now[0] -= 86_400  # set back by a day
        person.post("end")
        assert "Thank you" in person.rate(site).text
        assert site.quality.report(site.people)[0].failed == 0
        quick = Person.joined(client, site)
        quick.say("Hello.")
        quick.post("end")
        assert "has ended for you" in quick.rate(site).text
        other = Person.joined(client, site)
        form = other.fields()
        now[0] += 10 * 365 * 86_400  # ten years on: it is somebody else's, and says so
        answer = client.post(f"{other.path}/say", data=form | {"text": "Hello."})
        assert answer.status_code == 409
        assert site.tasks.progress()["expired"] == 1
        assert write_results(site.study, settings).episodes == 1


def test_a_file_that_is_held_by_another_process_is_told_and_nothing_is_half_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = study_settings(tmp_path)
    with served(settings) as (client, site):
        person = Person.joined(client, site)
        form = person.fields()
        monkeypatch.setattr("warmline.evaluation.studies.database.WAIT_SECONDS", 0.1)
        holder = sqlite3.connect(settings.folder / "study.sqlite", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(1) as pool:  # a fresh thread: its connection has the short wait
            answer = pool.submit(client.post, f"{person.path}/say", data=form | {"text": "Held."})
            time.sleep(0.3)
            holder.execute("ROLLBACK")
            status = answer.result().status_code
        holder.close()
        assert status in (200, 409)
        if status == 409:
            client.post(f"{person.path}/say", data=form | {"text": "Held."})
        assert person.awaited().count("Held.") == 1


def test_results_while_people_write_are_whole(tmp_path: Path) -> None:
    settings = study_settings(tmp_path, overlap=99)
    with served(settings) as (client, site):
        people = [Person.joined(client, site) for _ in range(4)]

        def work(person: Person) -> None:
            person.say("Hello.")
            person.post("end")
            person.rate(site)

        with ThreadPoolExecutor(5) as pool:
            done = [pool.submit(work, person) for person in people]
            for _ in range(5):
                write_results(site.study, settings)
                for line in (settings.folder / "ratings.jsonl").read_text().splitlines():
                    json.loads(line)
            for each in done:
                each.result()
        assert write_results(site.study, settings).ratings == 28
    assert len(read_episodes(settings.folder / "episodes.jsonl")) == 4
