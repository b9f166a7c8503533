"""The scorer on tiny models and small tables of our own: pairs, leaks, masks, training, ratings."""

from __future__ import annotations

import asyncio
import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from typer.testing import CliRunner

from warmline import ScriptedPolicy
from warmline.agents.observations import Turn
from warmline.agents.roles import Role, Strategy
from warmline.cli import app
from warmline.core.errors import ConfigError, DataError
from warmline.environments.corpus.seen import dialogue_digest, read_seen
from warmline.environments.episodes.episode import Utterance
from warmline.environments.episodes.rating import iter_ratings
from warmline.environments.scenarios.scenario import Scenario
from warmline.evaluation import evaluate
from warmline.policies.heads.scorer import ScorerPolicy
from warmline.training.candidates.feedback import Labeller
from warmline.training.heads.data import encode_heads
from warmline.training.heads.metrics import measure
from warmline.training.heads.train import make_trainer, reader_of
from warmline.training.loop.base_model import load_base
from warmline.training.loop.checkpoint import read_checkpoint
from warmline.training.scorer.data import (
    MECHANISMS,
    Pair,
    coherence_pairs,
    empathy_pairs,
    mi_labels,
    real_replies,
    strategy_pairs,
    topic_pairs,
)
from warmline.training.scorer.ratings import rate_episodes, rates_of
from warmline.training.scorer.settings import ScorerSettings
from warmline.training.scorer.train import f1_helpful, head_rows, helpful, read_data, train_scorer

from ...policies.tiny_models import save_causal
from ..building import CHATML, episode, write_log

KINDS = ("Job Crisis", "Sleep Problems", "Grief and Loss")
WORDS = ("orchard", "violin", "harbour", "lantern", "meadow", "kitchen", "engine", "garden")


def talks(count: int) -> list[Any]:
    """Conversations of several problem types, each with words of its own."""
    made = []
    for n in range(count):
        word, other = WORDS[n % 8] + "ab"[n // 8 % 2] * (n // 8), WORDS[(n + 3) % 8]
        talk = tuple(
            (
                f"About the {word} {k}.",
                f"The {word} and {other}{n} matter, day {k}?",
                Strategy.QUESTION,
            )
            for k in range(3)
        )
        kind = KINDS[n % 3]
        scenario = Scenario(id=f"t{n}", problem_type=kind, situation="not told")
        made.append(episode(f"t{n}", talk).model_copy(update={"scenario": scenario}))
    return made


def write_epitome(folder: Path, rows: dict[str, list[tuple[str, str, str, str, str]]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for mechanism, found in rows.items():
        with (folder / f"{mechanism}-reddit.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(
                ["sp_id", "rp_id", "seeker_post", "response_post", "level", "rationales"]
            )
            writer.writerows([*row, ""] for row in found)
    return folder


def epitome(folder: Path, count: int = 40) -> Path:
    """Warm replies say `feel`, cold ones do not."""
    rows: dict[str, list[tuple[str, str, str, str, str]]] = {m: [] for m in MECHANISMS}
    for n in range(count):
        warm = n % 2 == 0
        reply = "zzz zzz zzz" if warm else "Why? Why? Why?"
        for k, mechanism in enumerate(MECHANISMS):
            level = "0" if not warm or k else "2"
            rows[mechanism].append((f"s{n // 2}", f"r{n}", "I am low.", reply, level))
    return write_epitome(folder, rows)


def write_mi(file: Path, rows: list[tuple[str, str]]) -> Path:
    text = "Text,Ground truth (index),Ground truth\n"
    text += "".join(f'"{sentence}",0,{label}\n' for sentence, label in rows)
    file.write_bytes(gzip.compress(text.encode()))
    return file


def mi(file: Path, count: int = 30) -> Path:
    return write_mi(
        file,
        [
            (f"zzz zzz {n}", "Affirm") if n % 2 else (f"Why? Why? {n}", "Confront")
            for n in range(count)
        ],
    )


def settings(model: Path, out: Path, **changed: Any) -> ScorerSettings:
    chosen: dict[str, Any] = {
        "model": str(model), "out": str(out), "dtype": "float32", "device": "cpu",
        "learning_rate": 1e-2, "head_learning_rate": 1e-2, "batch_size": 8, "epochs": 12.0,
        "max_tokens": 400, "evaluate_every": 100, "test_share": 0.25,
    }  # fmt: skip
    return ScorerSettings(**(chosen | changed))


@pytest.fixture(scope="module")
def causal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_causal(tmp_path_factory.mktemp("causal") / "model", chat_template=CHATML)


@pytest.fixture(scope="module")
def trained(causal: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scorer")
    given = {"empathy": str(epitome(folder / "epitome")), "strategy": str(mi(folder / "mi.csv.gz"))}
    train_scorer(settings(causal, folder / "out", **given))
    return folder / "out"


# Published tables


def test_none_on_every_mechanism_is_unhelpful(tmp_path: Path) -> None:
    rows = {
        m: [
            ("s1", "r1", "I am low.", "Ok.", "0"),
            ("s1", "r2", "I am low.", "I feel for you.", "1" if k == 0 else "0"),
            ("s2", "r3", "Help.", "", "2"),
            ("s3", "r4", "Help.", "Hm.", "3" if k == 1 else "0"),
        ]
        for k, m in enumerate(MECHANISMS)
    }
    pairs, bad = empathy_pairs(write_epitome(tmp_path, rows))
    assert [(p.id, p.labels, p.history[0].text) for p in pairs] == [
        ("s1/r1", {"empathy": False}, "I am low."),
        ("s1/r2", {"empathy": True}, "I am low."),
    ]
    assert [(b.id, b.fault, b.detail) for b in bad] == [
        ("interpretations-reddit.csv:5", "unknown_label", "level '3'"),
        ("s2/r3", "empty_reply", ""),
        ("s3/r4", "unknown_label", "no level of interpretations"),
    ]


def test_tables_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds 0 tables of emotional-reactions"):
        empathy_pairs(tmp_path)
    (tmp_path / "x.csv").write_text("Words,Ground truth\na,Affirm\n")
    with pytest.raises(DataError, match="has no column Text; its columns: Words, Ground truth"):
        strategy_pairs(tmp_path / "x.csv")
    (tmp_path / "y.csv").write_text("Text,Class\na,Affirm\n")
    with pytest.raises(DataError, match="has no label column; its columns: Text, Class"):
        strategy_pairs(tmp_path / "y.csv")


def test_non_adherent_sentences_are_unhelpful(tmp_path: Path) -> None:
    file = write_mi(
        tmp_path / "mi.csv.gz",
        [
            ("Just stop it.", "Direct"), ("You did well.", "Affirm"), ("You did  WELL.", "Affirm"),
            ("You did well.", "Warn"), ("Why not?", "Open Qestion"), ("", "Other"),
        ],
    )  # fmt: skip
    pairs, bad = strategy_pairs(file)
    assert [(p.reply, p.labels["strategy"]) for p in pairs] == [
        ("Just stop it.", False),
        ("You did well.", True),
    ]
    assert [(b.id, b.fault) for b in bad] == [
        ("mi.csv.gz:5", "unknown_label"),
        ("mi.csv.gz:6", "unknown_label"),
        ("mi.csv.gz:7", "empty_reply"),
    ]
    assert "did you mean 'open question'?" in bad[1].detail


def test_the_fifteen_labels() -> None:
    known = mi_labels()
    failing = {label for label, holds in known.items() if not holds}
    assert failing == {"advise without permission", "confront", "direct", "warn"}
    assert {"self-disclose", "give information", "complex reflection"} <= known.keys() - failing
    assert len(known) >= 15


# Made pairs


def made(count: int = 12, **changed: Any) -> list[Pair]:
    chosen: dict[str, Any] = {
        "coherent": 20, "incoherent": 40, "altered_share": 0.5, "altered_words": 0.5, "seed": 0,
    }  # fmt: skip
    return coherence_pairs(real_replies(talks(count)), **(chosen | changed))


def test_incoherent_replies_are_swapped_or_altered() -> None:
    real = {r.id: r for r in real_replies(talks(12))}
    pairs = made()
    kinds = [pair.made for pair in pairs]
    assert [kinds.count(kind) for kind in ("", "swapped", "altered")] == [20, 20, 20]
    for pair in pairs:
        own = real[pair.id.rpartition("/")[0]]
        assert pair.history == own.history
        assert (pair.reply == own.reply) == pair.labels["coherence"]
        if pair.made == "swapped":
            assert pair.reply in {r.reply for r in real.values() if r.episode == pair.origin[0]}
        if pair.made == "altered":
            kept = set(pair.reply.split()) & set(own.reply.split())
            assert {"The", "and"} <= kept
            assert len(pair.reply.split()) == len(own.reply.split())


def test_sizes_keep_their_ratio_where_replies_are_few() -> None:
    """36 replies for 4,000 and 8,000: 36 and 72."""
    labels = [p.labels["coherence"] for p in made(coherent=4000, incoherent=8000)]
    assert (labels.count(True), labels.count(False)) == (36, 72)
    assert made(seed=1) != made(seed=0) == made(seed=0)


def test_off_topic_replies_are_from_another_problem_type() -> None:
    kinds = {e.id: e.scenario.problem_type for e in talks(12)}
    pairs = topic_pairs(real_replies(talks(12)), on_topic=10, off_topic=20, seed=0)
    wrong = [p for p in pairs if p.made == "off_topic"]
    assert len(wrong) == 20
    for pair in wrong:
        assert kinds[pair.source] != kinds[pair.origin[0]]
    one = [e.model_copy(update={"scenario": talks(1)[0].scenario}) for e in talks(3)]
    assert all(
        p.labels["topic"] for p in topic_pairs(real_replies(one), on_topic=3, off_topic=6, seed=0)
    )


@examples(max_examples=10, deadline=None)
@given(st.integers(0, 1000))
def test_nothing_leaks_between_sides(seed: int) -> None:
    """Neither a pair's dialogue nor one that gave words to its negative is on another side."""
    with_data = _with_data(seed)
    for name in ("coherence", "topic"):
        sides = with_data.pairs[name]
        used = [
            {p.source for p in side} | {origin for p in side for origin in p.origin}
            for side in sides
        ]
        assert all(used)
        assert sum(map(len, used)) == len(set().union(*used))


def _with_data(seed: int) -> Any:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        run = write_log(Path(folder) / "run", talks(24))
        chosen = settings(Path("m"), Path("o"), data=(str(run),), seed=seed, validation_share=0.25)
        return read_data(chosen)


def test_tables_do_not_leak_either(causal: Path, tmp_path: Path) -> None:
    """All replies to one post are on one side."""
    found = read_data(
        settings(causal, tmp_path / "o", empathy=str(epitome(tmp_path / "e")), validation_share=0.2)
    )
    sides = [{p.source for p in side} for side in found.pairs["empathy"]]
    assert [len(side) for side in sides] == [12, 3, 5]
    assert sum(map(len, sides)) == len(set().union(*sides))


def test_pairs_of_tables_are_recorded_as_seen(causal: Path, tmp_path: Path) -> None:
    """A post with its reply, and a sentence: imported as dialogues, they are known again."""
    given = settings(
        causal, tmp_path / "o", empathy=str(epitome(tmp_path / "e")),
        strategy=str(mi(tmp_path / "mi.csv.gz")), validation_share=0.2,
    )  # fmt: skip
    found = read_data(given)
    digests = []
    for n in range(3):
        digests.append(set())
        for pair in (pair for pairs in found.pairs.values() for pair in pairs[n]):
            said = [Utterance(t.role, t.text, t.text) for t in pair.history]
            said.append(Utterance(Role.SUPPORTER, pair.reply, pair.reply))
            told = episode().model_copy(update={"utterances": tuple(said)})
            digests[n].add(dialogue_digest(told))
    assert (found.seen.train, found.seen.validation) == (digests[0], digests[1])
    assert digests[2] - digests[0] - digests[1]
    train_scorer(given.model_copy(update={"epochs": 1.0}))
    assert read_seen(tmp_path / "o") == found.seen


def test_dimensions_without_data_are_refused(causal: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no data for any dimension"):
        read_data(settings(causal, tmp_path))
    with pytest.raises(ConfigError, match="no data for topic"):
        read_data(settings(causal, tmp_path, empathy="x", dimensions=("topic",)))
    with pytest.raises(ConfigError, match="did you mean 'topic'"):
        read_data(settings(causal, tmp_path, dimensions=("topics",)))
    one = [
        e.model_copy(
            update={"scenario": e.scenario.model_copy(update={"problem_type": "Job Crisis"})}
        )
        for e in talks(9)
    ]
    run = write_log(tmp_path / "run", one)
    with pytest.raises(ConfigError, match=r"topic: \d+ helpful and 0 unhelpful pairs"):
        read_data(settings(causal, tmp_path, data=(str(run),)))


# Training


def test_a_dimension_that_is_not_known_moves_no_weight(causal: Path, tmp_path: Path) -> None:
    """Pairs of strategy alone: the weights of the empathy head have no gradient at all."""
    base = load_base(str(causal))
    chosen = settings(causal, tmp_path / "o")
    pairs, _ = strategy_pairs(mi(tmp_path / "mi.csv.gz", 6))
    heads = {"empathy": ("unhelpful", "helpful"), "strategy": ("unhelpful", "helpful")}
    rows = head_rows({"empathy": ([], [], []), "strategy": (pairs, [], [])}, tuple(heads), 0)
    assert {row.labels[0] for row in rows} == {-100}
    packed, _ = encode_heads(reader_of(base, chosen), rows)
    trainer = make_trainer(base, packed, [], tmp_path / "o", chosen, heads, seed=0)
    batch = trainer.data_collator(packed)
    trainer.compute_loss(trainer.model, batch, num_items_in_batch=torch.tensor(6)).backward()
    gradient = next(
        p.grad for n, p in trainer.model.named_parameters() if "score" in n and p.grad is not None
        and p.dim() == 2
    )  # fmt: skip
    assert gradient[:2].abs().max() == 0
    assert gradient[2:].abs().max() > 0


def test_one_real_reply_teaches_several_dimensions() -> None:
    pair = Pair("a", "s", (Turn(Role.SEEKER, "x"),), "y", {"coherence": True})
    other = Pair("b", "s", (Turn(Role.SEEKER, "x"),), "y", {"topic": True})
    rows = head_rows(
        {"coherence": ([pair], [], []), "topic": ([other], [], [])}, ("coherence", "topic"), 0
    )
    assert [row.labels for row in rows] == [(1, 1)]


def test_it_learns_what_can_be_learned(trained: Path) -> None:
    checkpoint = read_checkpoint(trained)
    assert checkpoint.kind == "scorer"
    assert list(checkpoint.heads) == ["empathy", "strategy"]
    for name in checkpoint.heads:
        assert checkpoint.metrics[f"{name}_accuracy"] > 0.95
        assert checkpoint.metrics[f"{name}_accuracy"] > checkpoint.metrics[f"{name}_majority"]
    record = json.loads((trained / "report.json").read_text("utf-8"))
    assert len(record["dimensions"]["empathy"]["reliability"]) == 10


def test_f1_by_hand() -> None:
    """3 of 4 helpful found, 1 unhelpful called helpful: 2·3 / (2·3 + 1 + 1) = 0.75."""
    right, chosen = [1, 1, 1, 1, 0, 0], [1, 1, 1, 0, 1, 0]
    quality = measure([(label,) for label in right], chosen, 2)
    assert f1_helpful(quality) == pytest.approx(0.75)


def test_helpful_needs_all_and_missing_stays_missing() -> None:
    assert helpful({"a": 0.5, "b": 0.9}) is True
    assert helpful({"a": 0.49, "b": None}) is False
    assert helpful({"a": 0.9, "b": None}) is None


def test_adapters_of_their_own(causal: Path, tmp_path: Path) -> None:
    given = {
        "empathy": str(epitome(tmp_path / "e", 16)), "strategy": str(mi(tmp_path / "m.csv.gz", 16)),
        "adapters": "each", "max_steps": 2, "evaluate_every": 2,
    }  # fmt: skip
    found = train_scorer(settings(causal, tmp_path / "out", **given))
    assert [list(c.heads) for c in found.checkpoints] == [["empathy"], ["strategy"]]
    assert {"empathy_accuracy", "strategy_accuracy", "empathy_steps"} <= found.metrics.keys()
    policy = ScorerPolicy(tmp_path / "out", device="cpu", dtype="float32")
    assert policy.dimensions == ("empathy", "strategy")


# As a rater


def test_ratings_of_a_log_are_written_once(trained: Path, tmp_path: Path) -> None:
    file = tmp_path / "ratings.jsonl"
    cold = episode("cold", (("I am low.", "Why? Why? Why?", None), ("No.", "zzz zzz zzz", None)))

    async def rate() -> None:
        async with ScorerPolicy(trained, device="cpu", dtype="float32") as scorer:
            assert isinstance(scorer, Labeller)
            await rate_episodes(scorer, [cold], file)

    asyncio.run(rate())
    ratings = list(iter_ratings(file))
    assert {(r.utterance, r.dimension) for r in ratings} == {
        (n, name) for n in (1, 3) for name in ("empathy", "strategy", "helpful")
    }
    by_place = {(r.utterance, r.dimension): r.value for r in ratings}
    assert by_place[1, "empathy"] < 0.5 < by_place[3, "empathy"]
    for place in (1, 3):
        every = all(by_place[place, name] >= 0.5 for name in ("empathy", "strategy"))
        assert by_place[place, "helpful"] == float(every)
    assert {r.kind for r in ratings} == {"scorer"}
    asyncio.run(rate())
    assert list(iter_ratings(file)) == ratings
    assert rates_of(file, "scorer:out")["empathy"] == (0.5, 2, 0)


def test_the_command_scores_a_run(trained: Path, tmp_path: Path) -> None:
    run = write_log(tmp_path / "run", [episode("a")])
    result = CliRunner().invoke(app, ["score", str(run), "--model", str(trained)])
    assert result.exit_code == 0, result.output
    assert "of 3 replies" in result.output
    assert (run / "ratings.jsonl").is_file()


def test_the_command_scores_replies_of_an_evaluation(trained: Path, tmp_path: Path) -> None:
    """Place and history are those of the corpus, the text is the model's."""
    corpus = write_log(tmp_path / "corpus", [episode("a")])
    out = tmp_path / "eval"
    evaluate(corpus, policy=ScriptedPolicy(["zzz zzz zzz"]), out=str(out), resamples=0)
    command = ["score", str(out), "--model", str(trained)]
    alone = CliRunner().invoke(app, command)
    assert "--corpus" in alone.exception.hint
    result = CliRunner().invoke(app, [*command, "--corpus", str(corpus)])
    assert result.exit_code == 0, result.output
    assert "of 3 replies" in result.output
    ratings = list(iter_ratings(out))
    assert {r.utterance for r in ratings} == {1, 3, 5}
    assert CliRunner().invoke(app, [*command, "--corpus", str(corpus)]).exit_code == 0
    assert list(iter_ratings(out)) == ratings
    idle = CliRunner().invoke(
        app, ["score", str(corpus), "--model", str(trained), "--corpus", str(corpus)]
    )
    assert "would change nothing" in str(idle.exception)
