"""Given texts: pairs, dialogues and a corpus's review, and the numbers that come out."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra web is not installed")

import warmline
from tests.evaluation.studies.sites import Person, study_settings
from tests.evaluation.studies.test_pages import served, sign_in
from warmline.core.errors import ConfigError
from warmline.environments.corpus.review.review import Verdict, decision_records
from warmline.environments.corpus.review.store import ReviewStore
from warmline.environments.corpus.tags import Finding, Severity, Tags
from warmline.environments.episodes.rating import iter_ratings
from warmline.evaluation.judging.calibration import calibrate
from warmline.evaluation.judging.human_preferences import compare_preferences
from warmline.evaluation.judging.rubric import load_rubric
from warmline.evaluation.replies.reply import EvaluatedReply, Setting
from warmline.evaluation.report.page import write_report
from warmline.evaluation.studies.items import items_of
from warmline.evaluation.studies.results import write_results
from warmline.evaluation.studies.reviews import changes
from warmline.evaluation.studies.settings import StudySettings
from warmline.evaluation.studies.tables import tables_of


def run(folder: Path, line: str, episodes: int = 4) -> Path:
    warmline.simulate(
        policy=warmline.ScriptedPolicy(seeker=["I lost my job and I am low."], supporter=[line]),
        counselor=False, judger=False, episodes=episodes, max_turns=4, out=folder, progress=False,
    )  # fmt: skip
    return folder


def evaluation(folder: Path, corpus: Path, line: str) -> Path:
    folder.mkdir()
    lines = []
    for number, text in enumerate((corpus / "episodes.jsonl").open()):
        record = json.loads(text)
        reply = EvaluatedReply(
            episode=record["id"], turn=1, setting=Setting.REFERENCE,
            reference=record["utterances"][1]["text"], text=f"{line} {number}",
        )  # fmt: skip
        lines.append(reply.to_json() + "\n")
    (folder / "replies.jsonl").write_text("".join(lines))
    return folder


def judge_all(client: Any, site: Any, choose: Any) -> None:
    """One person who does every task; `choose` gives the fields for a page."""
    person = Person.joined(client, site)
    for _ in range(site.settings.tasks):
        page = person.page()
        fields = choose(page)
        answer = person.post("rate", **{f"d_{d.name}": fields(d.name) for d in site.dimensions})
        assert answer.status_code == 200
    assert "Thank you" in person.page()


def test_pairs_of_replies_to_the_same_history_join_a_judges_table(tmp_path: Path) -> None:
    corpus = run(tmp_path / "corpus", "Tell me more.")
    a = evaluation(tmp_path / "tuned", corpus, "It must hurt. What now,")
    b = evaluation(tmp_path / "base", corpus, "OK")
    settings = study_settings(
        tmp_path, "pairs", items=(str(a), str(b)), corpus=str(corpus), tasks=4, overlap=3
    )

    def prefers_a(page: str) -> Any:
        texts = re.findall(r'<p class="kept">(.*?)</p>', page)
        side = "first" if texts[0].startswith("It must") else "second"
        return lambda name: "tie" if name == "information" else side

    with served(settings) as (client, site):
        for _ in range(3):
            judge_all(client, site, prefers_a)
        written = write_results(site.study, settings)
        tables = {table.title: table for table in tables_of(site.study, settings)}
    assert written.ratings == 4 * 5 * 3
    ratings = list(iter_ratings(settings.folder))
    assert {r.candidate for r in ratings} == {"tuned against base"}
    assert {r.notes["first"] for r in ratings} == {"A", "B"}
    assert {(r.utterance, r.value) for r in ratings if r.dimension == "comforting"} == {(1, 1.0)}
    assert {r.value for r in ratings if r.dimension == "information"} == {0.0}
    assert ratings[0].rubric == load_rubric("fpemf").id_of(ratings[0].dimension)
    row = next(r for r in tables["Choices"].rows if r[1] == "comforting")
    assert row[:5] == ("tuned against base", "comforting", "12", "0", "0")
    strengths = [r for r in tables["Strengths"].rows if r[0] == "comforting"]
    assert [r[1] for r in strengths] == ["tuned", "base"]
    # a judge's comparisons of the same pairs, under the same ids
    judge = [
        r.model_copy(update={"kind": "judge", "rater": "j"})
        for r in ratings
        if r.rater == ratings[0].rater
    ]
    found = {each.dimension: each for each in compare_preferences(judge, ratings)}
    assert found["comforting"].agreement.value == 1.0


def test_dialogues_are_rated_with_gold_and_calibrate_a_judge(tmp_path: Path) -> None:
    corpus = run(tmp_path / "corpus", "Tell me more.", episodes=6)
    plain = study_settings(tmp_path, "dialogues", items=(str(corpus),), tasks=6, overlap=2)
    names = [item.id for item in items_of(plain)]
    more = {
        "gold": [{"item": names[0], "dimension": "safety", "low": 4, "high": 5}],
        "tasks": 5,
        "quality": {"gold_every": 2, "block_after": 1},
    }
    settings = StudySettings.model_validate(plain.model_dump() | more)
    with served(settings) as (client, site):
        judge_all(client, site, lambda page: lambda name: "5")
        careless = Person.joined(client, site)
        for _ in range(2):
            last = careless.rate(site, 1).text
        assert "The study has ended for you" in last
        judge_all(client, site, lambda page: lambda name: "4")
        write_results(site.study, settings)
        tables = {table.title: table for table in tables_of(site.study, settings)}
    ratings = list(iter_ratings(settings.folder))
    gold = [r for r in ratings if (r.notes or {}).get("gold")]
    assert {r.episode for r in gold} == {names[0]}
    assert all(row[4] == "8" for row in tables["Ratings"].rows)  # 4 ordinary items, two people
    judge = [r.model_copy(update={"kind": "judge", "rater": "j"}) for r in ratings if r.value == 5]
    assert {each.n for each in calibrate(judge, ratings)} == {5}
    page = tmp_path / "report.html"
    write_report([corpus], page, ratings=[settings.folder / "ratings.jsonl"])
    assert "safety (human)" in page.read_text()
    with pytest.raises(ConfigError, match="gold item 'nobody'"):
        items_of(
            StudySettings.model_validate(
                settings.model_dump()
                | {"gold": [{"item": "nobody", "dimension": "safety", "low": 1, "high": 2}]}
            )
        )


def test_three_reviewers_an_edit_a_dispute_and_the_unanimous_rule(tmp_path: Path) -> None:
    corpus = run(tmp_path / "corpus", "Tell me more. <b>Now</b>", episodes=3)
    settings = study_settings(tmp_path, "review", items=(str(corpus),))
    with served(settings) as (client, site):
        ada, bob, eve = (Person.joined(client, site) for _ in range(3))
        name = ada.fields()["id"]
        page = ada.post("review", verdict="reject").text
        assert "A rejection needs a reason" in page or "a rejection needs a reason" in page
        page = ada.post(
            "edit", id=name, version="0", utterance="1", text="Tell me more, please.", reason="tone"
        ).text
        assert "<del>more.</del>" in page
        assert "<ins>more,</ins>" in page
        assert "&lt;b&gt;" in page
        assert "version 1" in page
        stale = bob.post("review", id=name, version="0", verdict="approve").text
        assert "version 0 was read" in stale
        assert "version 1" in stale
        for person in (ada, bob):
            person.post("review", id=name, version="1", verdict="approve")
        eve.post("review", id=name, version="1", verdict="reject", reason="too short")
        assert "1 in dispute" in ada.page()
        disputed = client.get(f"{ada.path}/differences").text
        assert "too short" in disputed
        eve.post("review", id=name, version="1", verdict="approve")
        assert "in dispute" not in ada.page()
        for person in (ada, bob, eve):
            for _ in range(2):
                assert person.fields()["id"] != name
                person.post("review", verdict="approve")
            assert "Nothing is left" in person.page()
            assert "Thank you" in person.post("done").text
        sign_in(client)
        assert "<dt>approved</dt><dd>3</dd>" in client.get("/admin").text
    with ReviewStore(corpus) as store:
        progress = store.progress()
        assert progress.states == {"pending": 0, "approved": 3, "rejected": 0}
        assert progress.edited == 1
        assert all(count >= 3 for count in progress.decisions.values())


def test_an_adjudicator_rules_on_what_the_reviewers_differ_about(tmp_path: Path) -> None:
    corpus = run(tmp_path / "corpus", "Tell me more.", episodes=2)
    settings = study_settings(tmp_path, "review", items=(str(corpus),), reviewers=2)
    with served(settings) as (client, site):
        ada, bob = (Person.joined(client, site) for _ in range(2))
        csrf = sign_in(client)
        form = {"csrf": csrf, "count": "1", "adjudicates": "yes"}
        made = client.post("/admin/invite", data=form).text
        eve = Person(client, re.findall(r"http://testserver(/p/[^<]+)<", made)[0])
        eve.post("consent", agree="yes", adult="yes", country="")
        eve.post("instructions")
        assert "Nothing is left for you to rule about" in eve.page()
        disputed = ada.fields()["id"]
        ada.post("review", id=disputed, version="0", verdict="approve")
        bob.post("review", id=disputed, version="0", verdict="reject", reason="it preaches")
        page = eve.page()
        assert "it preaches" in page
        assert "judged" not in page
        assert page.count('name="verdict"') == 2  # Enter in the reason alone decides nothing
        listed = client.get(f"{eve.path}/differences").text
        assert f"dialogue?id={disputed}" in listed
        assert "Your ruling decides" in listed
        other = client.get(f"{eve.path}/dialogue?id=nobody").text
        assert "it preaches" in other  # what is not in dispute is not hers to read
        for path in ("review", "edit"):  # she is no reviewer
            assert eve.post(path, verdict="approve", text="x").status_code == 409
        for other in (ada, bob):  # and they are no adjudicators
            assert other.post("rule", verdict="approve", reason="x", id=disputed).status_code == 409
        assert "a ruling needs a reason" in eve.post("rule", verdict="approve", reason=" ").text
        stale = eve.fields() | {"verdict": "approve", "reason": "it does not"}
        assert "1 ruled by you" in client.post(f"{eve.path}/rule", data=stale).text
        again = client.post(f"{eve.path}/rule", data=stale | {"verdict": "reject"}).text
        assert "do not differ, since it was ruled" in again
        assert "in dispute" not in ada.page()
        assert client.get("/admin").text.count(", adjudicator") == 1
    with ReviewStore(corpus) as store:
        standing = store.standing(disputed)
        assert standing.state == "approved"
        assert standing.ruling is not None
        assert standing.ruling.reason == "it does not"
        assert list(standing.rejected.values()) == ["it preaches"]
        assert store.progress().ruled == 1
        record = next(
            r for r in decision_records(store.standings(), store.decisions()) if r["ruling"]
        )
        assert record["ruling"]["verdict"] == "approve"
        store.edit(disputed, "ada", 0, "Another first line.", version=0)
        assert store.standing(disputed).state == "pending"  # a ruling is about one version
        with pytest.raises(ConfigError, match="do not differ"):
            store.rule(disputed, "eve", Verdict.APPROVE, version=1, reason="x")
        store.decide(disputed, "ada", Verdict.APPROVE, version=1)
        store.decide(disputed, "bob", Verdict.REJECT, version=1, reason="x")
        with pytest.raises(ConfigError, match="has judged"):
            store.rule(disputed, "Ada", Verdict.APPROVE, version=1, reason="x")


def test_tags_are_shown_and_ticked_ones_are_counted(tmp_path: Path) -> None:
    corpus = run(tmp_path / "corpus", "Tell me more.", episodes=1)
    name = json.loads((corpus / "episodes.jsonl").read_text())["id"]
    found = Finding("repetition", Severity.FLAG, "the same reply <twice>", utterance=3)
    tags = Tags(name, "x", "y", (found,))
    (corpus / "tags.jsonl").write_text(tags.to_json() + "\n")
    settings = study_settings(
        tmp_path, "dialogues", items=(str(corpus),), tags=("too much advice", "cold")
    )
    with served(settings) as (client, site):
        person = Person.joined(client, site)
        page = person.page()
        assert "repetition: the same reply &lt;twice&gt; (utterance 3)" in page
        unfinished = person.post("rate", t_1="yes").text
        assert 'name="t_1" value="yes" checked' in unfinished
        person.rate(site, t_1="yes")
        Person.joined(client, site).rate(site)
        write_results(site.study, settings)
        tables = {table.title: table for table in tables_of(site.study, settings)}
    assert [row[1:4] for row in tables["Tags"].rows] == [
        ("too much advice", "0", "2"),
        ("cold", "1", "2"),
    ]
    ticked = [r.notes.get("tags") for r in iter_ratings(settings.folder) if r.dimension == "safety"]
    assert ticked == [["cold"], None]
    with pytest.raises(ConfigError, match="stand on rating pages"):
        study_settings(tmp_path, "pairwise", tags=("a",))


def test_changes_give_both_texts_back() -> None:
    for before, after in (("a b c", "a c d"), ("", "new"), ("same", "same"), ("x  y", "x y")):
        pieces = list(changes(before, after))
        assert "".join(p.text for p in pieces if p.kind != "in") == before
        assert "".join(p.text for p in pieces if p.kind != "out") == after
