"""Every formula that turns a seed into a stored result, with the values it had in version 0.1.

A run that was begun before must go on with the same draws, and a split must leave each conversation
where it was. A changed number here is a changed result for everybody who has a seed written down.
The numbers were computed by version 0.1; `=` stands for the exact form of the key.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from warmline import Request, Scenario, ScriptedPolicy
from warmline.agents.observations import SeekerBrief, SeekerObservation
from warmline.agents.roles import Role
from warmline.agents.seeker import Seeker
from warmline.core.files import sha256_of
from warmline.core.seeds import call_seed, reask_seed, salted_seed
from warmline.environments.corpus.cleaning.judge import RoleJudge
from warmline.environments.corpus.cleaning.settings import CleanSettings
from warmline.environments.corpus.generation.coverage import Coverage, Slot, plan
from warmline.environments.corpus.generation.pools import draw_examples
from warmline.environments.corpus.generation.prompts import GenerationSettings, Prompts, fit_request
from warmline.environments.corpus.generation.sampled_profiles import draw_profile
from warmline.environments.corpus.review.review import fingerprint, reading_order
from warmline.environments.corpus.splits import Groups, split_of
from warmline.environments.corpus.tags import content_digest
from warmline.environments.scenarios.scenario import CaseDialogue, CaseDialogueTurn
from warmline.environments.scenarios.seed_pool import CasePool, draw_scenarios
from warmline.evaluation.analyses.corpus import corpus_of
from warmline.evaluation.analyses.similarity import similarity, tfidf
from warmline.evaluation.judging.judge import draw_subjects
from warmline.evaluation.judging.questions import Subject, question_seed
from warmline.evaluation.judging.rubric import load_rubric
from warmline.evaluation.statistics.uncertainty import bootstrap, mean_tally
from warmline.policies.base import Message, Sampling
from warmline.policies.choosing import draw as draw_option
from warmline.policies.heads.classifier import draw_option as draw_by_heads
from warmline.policies.wrappers.cache import request_key
from warmline.training.candidates.rows import CandidateLog, Lineage, iter_candidates
from warmline.training.candidates.sources import sampled_candidates
from warmline.training.dpo.data import PairTokens
from warmline.training.preferences.reflection import CallOptions
from warmline.training.rows.build import Row
from warmline.training.rows.collate import StepSampler
from warmline.training.rows.sources import draw, split_episodes
from warmline.training.rows.splits import split_contexts
from warmline.training.scorer.data import Pair, coherence_pairs, real_replies, topic_pairs
from warmline.training.scorer.settings import ScorerSettings
from warmline.training.scorer.train import dialogue_pairs, split_pairs

from .environments.helpers import scenario
from .evaluation.recorded import recorded
from .training.building import TALK, episode, varied

OPTIONS = ("a", "b", "c", "d")
ROW = Row("e1#3", "e1", (Message("user", "u"), Message("assistant", "r")), (1,))


# Seeds of calls


def test_a_call_of_a_conversation() -> None:
    """= blake2b-4 of `run\\0scenario\\0call`, halved."""
    found = [call_seed(0, "a", 0), call_seed(7, "job-crisis-1~2", 13), call_seed(-1, "é", 2)]
    assert found == [600759591, 651956172, 679746040]


def test_a_question_asked_again() -> None:
    """= the seed itself, then sha256 of `seed/nth`, four bytes, halved."""
    assert (reask_seed(5, 0), reask_seed(None, 3)) == (5, None)
    found = [reask_seed(5, 1), reask_seed(5, 2), reask_seed(0, 1)]
    assert found == [1550688215, 55856642, 1419524863]


def test_a_question_of_a_wrapper() -> None:
    """= sha256 of `salt/seed/nth`, four bytes, halved."""
    asked = (("best_of", 1), ("best_of", 2), ("refine", 0), ("scorer", 0))
    found = [salted_seed(7, salt, nth) for salt, nth in asked]
    assert found == [313378180, 63335932, 257367861, 790176847]


def test_a_question_of_a_judge() -> None:
    """= the salted seed of `episode/utterance/candidate/dimension`."""
    found = [
        question_seed(7, Subject("e1", 3, "h", "t"), "empathy", 0),
        question_seed(7, Subject("e1", None, "h", candidate="a against b"), "overall", 1),
        question_seed(0, Subject("e1", 3, ""), "draw", 0),
    ]
    assert found == [614294219, 714641982, 1758591308]


def test_a_question_about_roles() -> None:
    """= the conversation's formula with `role_judge/episode` and 0."""
    judge = RoleJudge(ScriptedPolicy(), 1, 7, Sampling())
    assert judge.request(recorded()).seed == 657904279


def test_a_reply_and_a_reflection_for_a_preference_pair() -> None:
    """= blake2b-4 of `seed\\0row/purpose/0`, halved."""
    asked = [CallOptions(seed=7).request(ROW, purpose, ScriptedPolicy()).seed
             for purpose in ("rejected", "reflection", "stronger")]  # fmt: skip
    assert asked == [633858389, 659783009, 518460423]


async def test_a_sampled_candidate(tmp_path: Any) -> None:
    """= blake2b-4 of `seed\\0row\\0number`, halved; no seed is 0."""
    policy = ScriptedPolicy(lambda request: f"Reply {request.seed}.")
    for seed, folder in ((7, "seven"), (None, "none")):
        lineage = Lineage(source="sampling", model="script", seed=seed)
        with CandidateLog(tmp_path / folder) as log:
            await sampled_candidates(
                policy, [ROW], log, lineage, number=3, sampling=Sampling(), concurrency=1
            )
    (seven,), (none,) = (list(iter_candidates(tmp_path / name)) for name in ("seven", "none"))
    texts = {candidate.text for candidate in seven.candidates}
    assert texts == {"Reply 1979216971.", "Reply 743377710.", "Reply 2124278997."}
    assert "Reply 707357968." in {candidate.text for candidate in none.candidates}


# Draws from a seed


def test_draws_of_an_option() -> None:
    """= `Random(seed).choices` with the softmax of the scores as weights."""
    scores = dict(zip(OPTIONS, (0.0, 1.0, 0.5, -1.0), strict=True))
    by_policy = [draw_option(OPTIONS, list(scores.values()), 1.0, seed) for seed in range(8)]
    by_heads = [draw_by_heads(scores, 1.0, seed) for seed in range(8)]
    assert by_policy == by_heads == list("cadbbbcb")


async def test_a_scripted_choice_without_lines() -> None:
    """= `Random(seed).choice`."""
    asked = [
        Request(messages=(Message("user", "x"),), role="counselor", seed=seed, choices=OPTIONS)
        for seed in range(8)
    ]
    assert [(await ScriptedPolicy().respond(each)).text for each in asked] == list("dbabbcac")


def test_first_words_of_a_seeker() -> None:
    """= `Random(seed).choice`."""
    seeker = Seeker(ScriptedPolicy(), openings=True)
    seen = SeekerObservation(SeekerBrief("Job Crisis", "It closed.", "Ada"), (), 0)
    found = [seeker.request(seen, seed=seed).prefill for seed in range(4)]
    assert found == ["It's", "Lately I", "I", "Lately I"]


@pytest.mark.parametrize(
    ("seed", "ids"), [(7, "s2 s3 s4 s1 s0 s0~2 s4~2"), (0, "s0 s1 s2 s3 s4 s3~2 s1~2")]
)
def test_scenarios_of_a_run(seed: int, ids: str) -> None:
    """= `Random(seed/cycle).shuffle` of the pool, cycles from 1."""
    pool = [scenario(f"s{n}") for n in range(5)]
    assert [s.id for s in draw_scenarios(7, seed=seed, pool=pool)] == ids.split()


def test_cases_of_a_supporter() -> None:
    """= `Random(type/n).shuffle`, n the crc32 of the scenario's root modulo 8."""
    turn = {n: CaseDialogueTurn(role=Role.SEEKER, text=str(n)) for n in range(7)}
    pool = CasePool(
        CaseDialogue(id=f"c{n}", problem_type="Job Crisis" if n < 4 else "Burnout",
                     scenario=f"s{n}", turns=(turn[n],))
        for n in range(7)
    )  # fmt: skip
    found = ["".join(case.turns[0].text for case in pool.draw("Job Crisis", 5, scenario_id=name))
             for name in ("s1", "s9", "s2~3")]  # fmt: skip
    assert found == ["32046", "31024", "30146"]


# A corpus that is built


def slots(seed: int) -> list[Slot]:
    coverage = Coverage(
        attributes={"age": {"18-29": 0.5, "30-49": 0.5}, "gender": {"female": 0.5, "male": 0.5}}
    )
    return plan(6, coverage, seed=seed, types=["Job Crisis", "Burnout", "Sleep Problems"])


@pytest.mark.parametrize(
    ("seed", "types", "ages", "genders"),
    [(7, "SBJSBJ", "311133", "fmfmfm"), (0, "SJBSJB", "313311", "ffmmmf")],
)
def test_the_plan_of_a_corpus(seed: int, types: str, ages: str, genders: str) -> None:
    """= `Random(seed/types).shuffle` of the types, `Random(seed/field).shuffle` of each column."""
    made = slots(seed)
    assert "".join(slot.problem_type[0] for slot in made) == types
    assert "".join(dict(slot.attributes)["age"][0] for slot in made) == ages
    assert "".join(dict(slot.attributes)["gender"][0] for slot in made) == genders
    assert made[0].id == "sleep-problems-g0001"


def test_examples_shown_to_a_generator() -> None:
    """= `Random(key)`: a sample of the type, one of its category, then a shuffle."""
    pool = [scenario(f"s{n}") for n in range(6)]
    pool += [scenario(f"b{n}", problem_type="Burnout") for n in range(3)]

    def ids(kind: str, count: int, key: str) -> list[str]:
        return [s.id for s in draw_examples(pool, kind, count, generated=0, max_depth=2, key=key)]

    assert ids("Job Crisis", 3, "7/slot/1") == ["s5", "s3", "s1"]
    assert ids("Burnout", 5, "0/slot/1") == ["b2", "b0", "s3", "s0", "b1"]


def test_problems_among_which_a_situation_is_placed() -> None:
    """= `Random(slot/seed)`: a choice a category, then a shuffle."""
    prompts = Prompts.of(GenerationSettings(), Sampling())
    assert fit_request(prompts, slots(7)[0], "x", seed=7).choices == (
        "Sleep Problems", "Debt Problems", "Obsessive-Compulsive Disorder (OCD)",
        "Breakups or Divorce", "Health Problems",
    )  # fmt: skip


def test_a_drawn_profile() -> None:
    """= `Random(key)`: age, gender, name, occupation, place, trait, hobby."""
    free, bound = draw_profile("7/s/1"), draw_profile("7/s/1", {"age": "65+", "gender": "female"})
    assert str(free) == (
        "Minh Vo, 19, male, student of law, from Gdansk, Poland,"
        " talks fast when nervous, mends bicycles"
    )
    assert (
        str(bound) == "Sofia Lund, 66, female, welder, from Dayton, Ohio, shy with strangers, knits"
    )


# Splits, orders and samples


@pytest.mark.parametrize(("seed", "sides"), [(0, "tttetvtt"), (7, "eteteetv")])
def test_splits_of_an_export(seed: int, sides: str) -> None:
    """= sha256 of `seed\\0id:root`, eight bytes over 2**64, against the running sum of ratios."""
    ratios = {"train": 0.6, "validation": 0.2, "e": 0.2}
    found = [split_of(f"job-{n}~2", Groups(), ratios, seed)[0] for n in range(8)]
    assert "".join(found) == sides


@pytest.mark.parametrize(
    ("reviewer", "seed", "order"), [("ada", 0, "302145"), ("bo", 0, "052134"), ("ada", 7, "053214")]
)
def test_a_reviewers_order(reviewer: str, seed: int, order: str) -> None:
    """= by sha256 of `seed\\0reviewer\\0episode`."""
    found = reading_order([f"e{n}" for n in range(6)], reviewer, seed)
    assert "".join(name[1] for name in found) == order


@pytest.mark.parametrize(("seed", "held"), [(0, [4, 9, 10]), (7, [3, 4, 8])])
def test_validation_of_a_training(seed: int, held: list[int]) -> None:
    """= the first groups by blake2b-64 of `seed\\0group`."""
    _, validation = split_episodes(varied(12), 0.25, seed)
    assert [e.id for e in validation] == [f"talk{n}" for n in held]


@pytest.mark.parametrize(("seed", "held"), [(0, [5, 6, 9]), (7, [0, 6, 10])])
def test_validation_of_candidates(seed: int, held: list[int]) -> None:
    """= the same formula over the contexts' groups."""
    contexts: list[Any] = [SimpleNamespace(group=f"g{n}") for n in range(12)]
    _, validation = split_contexts(contexts, 0.25, seed)
    assert [context.group for context in validation] == [f"g{n}" for n in held]


def test_rows_drawn_for_a_training() -> None:
    """= `Random(seed).sample`; replay rows, contexts of pairs and of candidates."""
    assert draw(range(100), 5, 0) == [49, 97, 53, 5, 33]
    assert draw(range(100), 5, 7) == [41, 19, 50, 83, 6]


def test_the_order_of_training_rows() -> None:
    """= `Random(seed/epoch)`: a shuffle of the rows, then one of the steps."""
    sampler = StepSampler([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5], 2, 7)
    assert list(sampler) == [5, 7, 8, 4, 0, 9, 6, 3, 10, 2, 1]
    sampler.set_epoch(1)
    assert list(sampler) == [6, 1, 10, 4, 8, 2, 5, 7, 9, 0, 3]


def test_replies_drawn_for_a_judge() -> None:
    """= the least by `question_seed(seed, subject, "draw", 0)`."""
    drawn = draw_subjects(varied(4), load_rubric("response"), 3, 7)
    assert sorted(drawn) == [("talk0", 1), ("talk1", 3), ("talk1", 5)]


def test_the_sample_of_an_analysis() -> None:
    """= the least by sha256 of `seed/episode`, eight bytes."""
    kept = corpus_of(varied(12), name="x", sample=4, seed=7).sample
    assert [dialogue.id for dialogue in kept] == ["talk4", "talk5", "talk7", "talk9"]


def test_resamples_of_an_interval() -> None:
    """= numpy's `default_rng(seed).integers`, blocks of draws by groups."""
    tally = {"m": mean_tally([0.0, 1.0, 1.0, 0.0, 1.0, 2.0, 3.0, 5.0])}

    def interval(seed: int, groups: str | None) -> tuple[float, float]:
        found = bootstrap(tally, groups=groups, resamples=200, seed=seed)["m"]
        assert found is not None
        return (found.low, found.high)

    assert interval(7, None) == pytest.approx((0.625, 2.878125))
    assert interval(0, None) == pytest.approx((0.625, 2.753125))
    assert interval(7, "aabbccdd") == pytest.approx((0.5, 3.375))


def test_pairs_drawn_for_a_similarity() -> None:
    """= numpy's `default_rng(seed)`: the resamples first, then the pairs."""
    (rows,) = tfidf([f"{a} {w}" for a in ("rain", "sun") for w in ("violin", "harbour", "rain")])
    found = similarity(rows, seed=7, pairs=5, resamples=50)
    assert (found.low, found.median) == pytest.approx((0.1693024, 0.4898512))


# Pairs for a scorer


def told(words: str = "lantern violin harbour orchard") -> list[Any]:
    """Four conversations of two problem types."""
    made = []
    for n, word in enumerate(words.split()):
        talk = tuple((f"{a} {word}", f"{b} {word} indeed", c) for a, b, c in TALK)
        about = Scenario(id=f"t{n}", problem_type=("Job Crisis", "Burnout")[n % 2], situation="x")
        made.append(episode(f"t{n}", talk).model_copy(update={"scenario": about}))
    return made


def ids(pairs: Any) -> list[str]:
    return [pair.id for pair in pairs]


def test_coherence_pairs() -> None:
    """= `Random(coherence/seed)`."""
    made = coherence_pairs(real_replies(told()), coherent=3, incoherent=4, altered_share=0.5,
                           altered_words=0.5, seed=7)  # fmt: skip
    assert [(pair.id, pair.reply) for pair in made] == [
        ("t2#3/coherence", "You sound shaken by it. harbour indeed"),
        ("t3#3/coherence", "You sound shaken by it. orchard indeed"),
        ("t1#1/coherence", "What happened there? violin indeed"),
        ("t2#5/altered", "You have come far before. orchard indeed"),
        ("t0#5/altered", "You have come far before. harbour indeed"),
        ("t3#5/swapped", "What happened there? violin indeed"),
        ("t1#3/swapped", "You sound shaken by it. orchard indeed"),
    ]


def test_topic_pairs() -> None:
    """= `Random(topic/seed)`."""
    made = topic_pairs(real_replies(told()), on_topic=3, off_topic=3, seed=7)
    assert [(pair.id, *pair.origin) for pair in made] == [
        ("t1#1/topic",), ("t0#3/topic",), ("t3#5/topic",),
        ("t2#1/off_topic", "t3"), ("t3#5/off_topic", "t0"), ("t0#3/off_topic", "t3"),
    ]  # fmt: skip


def test_sides_of_a_scorers_pairs() -> None:
    """= `Random(pairs/seed)` for tables; seeds of the sides 3 * seed, + 1 and + 2 for made ones."""
    settings = ScorerSettings(
        seed=7, test_share=0.2, validation_share=0.25, on_topic=6, off_topic=6
    )
    table = [Pair(f"p{n}", f"s{n // 2}", (), "r", {"empathy": True}) for n in range(20)]
    sides = [ids(side) for side in split_pairs(table, 12, settings)]
    assert sides == [
        ["p0", "p16", "p18", "p3", "p2", "p12", "p13"], ["p6", "p8", "p9"], ["p15", "p5"],
    ]  # fmt: skip
    train, validation, test = dialogue_pairs("topic", [told(), told()[:2], told()[2:]], settings)
    assert ids(train)[:3] == ["t0#5/topic", "t1#5/topic", "t2#3/topic"]
    assert ids(validation)[:2] == ["t0#1/topic", "t1#3/topic"]
    assert ids(test)[:2] == ["t3#1/topic", "t2#3/topic"]


# What a stored record is known by


def test_keys_of_the_reply_cache() -> None:
    """= sha256 of `1\\nengine\\nasked` in JSON."""
    policy = ScriptedPolicy(["a"])
    hello = (Message("user", "Hello"),)
    plain = Request(messages=hello, role="seeker", sampling=Sampling(temperature=0.5), seed=7)
    bound = Request(messages=hello, role="judge", seed=1, choices=("YES", "NO"),
                    max_sentences=3, prefill="I")  # fmt: skip
    assert request_key(plain, policy).hex()[:24] == "6319b656ab303df9a053d10e"
    assert request_key(bound, policy).hex()[:24] == "dfe7442233ca75efa5b06fed"


def test_digests_of_episodes_tags_reviews_and_pairs() -> None:
    assert content_digest(recorded()) == "214f94b77b2fd54e"
    assert fingerprint(recorded())[:24] == "866757a230f9332a7ec348ee"
    assert CleanSettings().digest() == "3a120a5164ce3a58"
    assert CleanSettings(skip=("role", "crisis")).digest() == "27ebfb4937d34984"
    assert PairTokens([1, 2, 3], [4, 5], [6]).key == "64cb53f42bf6aee744741be2"


def test_the_digest_of_a_folder(tmp_path: Any) -> None:
    """= sha256 of a line `name sha256` a file, by name."""
    (tmp_path / "b").write_text("two")
    (tmp_path / "a").write_text("one")
    assert sha256_of(tmp_path / "a")[:12] == "7692c3ad3540"
    assert sha256_of(tmp_path)[:12] == "9c3dc92a047a"
