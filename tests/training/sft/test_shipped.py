"""The adapter that ships: its card, what it learned, what it has not seen, and that it is asked the same."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import warmline
from warmline.agents.roles import Role
from warmline.environments.corpus.importing.folder import opened
from warmline.environments.corpus.seen import digests_of, read_seen
from warmline.environments.episodes.episode import Episode
from warmline.environments.runs.settings import load_settings
from warmline.environments.runs.simulate import build_environment
from warmline.policies.base import Capabilities
from warmline.policies.models.lora import SHIPPED, LoraDeltas
from warmline.policies.models.sources import weight_names
from warmline.policies.safety import DISCLAIMER
from warmline.training.loop.checkpoint import read_checkpoint
from warmline.training.rows.seats import build_seat_rows
from warmline.training.rows.sources import load_episodes
from warmline.training.sft.settings import SftSettings

ROOT = Path(__file__).parents[3]
LARGEST = 12_000_000
LAYERS, HEADS = 30, (9, 3)


def seeds(side: str) -> list[Episode]:
    with opened(f"seeds:{side}") as place:
        return list(load_episodes([place])[0])


def test_it_is_small_and_fits_the_embedded_model() -> None:
    file = SHIPPED / "adapter_model.safetensors"
    assert file.stat().st_size <= LARGEST
    assert b'"BF16"' in file.read_bytes()[:400]
    deltas = LoraDeltas(SHIPPED, LAYERS, HEADS)
    assert len(deltas.names) * 2 == len(weight_names(file))
    assert deltas["blk.0.attn_k.weight"].shape == (192, 576)
    assert abs(deltas["blk.29.ffn_down.weight"]).max() > 0


def test_its_card_says_what_it_is() -> None:
    card = (SHIPPED / "README.md").read_text("utf-8")
    assert DISCLAIMER in card
    assert "seeker, supporter, counselor or judger of simulated conversations" in card
    record = read_checkpoint(SHIPPED)
    assert record.base == "embedded"
    assert record.metrics["validation_loss"] < record.metrics["validation_loss_before"]


def test_its_settings_are_todays_preset() -> None:
    today = SftSettings(preset="embedded").model_dump(mode="json")
    stored = read_checkpoint(SHIPPED).settings
    assert {k: v for k, v in stored.items() if today[k] != v} == {}


def test_it_learned_todays_train_side_or_the_page_says_how_many_differ() -> None:
    with opened("seeds:train") as place:
        episodes, sources = load_episodes([place])
        learned = read_seen(SHIPPED)
        assert learned is not None
        changed = digests_of(episodes) - learned.train - learned.validation
    (stored,) = read_checkpoint(SHIPPED).data
    if not changed:  # the log's own bytes may differ: it holds crisis marks, whose rules grow
        return
    assert stored.sha256 != sources[0].sha256
    page = (ROOT / "docs" / "embedded-adapter.md").read_text("utf-8")
    told = re.search(r"(\d+) of the (\d+) dialogues of the train side were changed since", page)
    assert told is not None, (
        f"{len(changed)} of {len(episodes)} dialogues differ from what the adapter learned: train it"
        " again, or say so in docs/embedded-adapter.md"
    )
    assert (int(told[1]), int(told[2])) == (len(changed), len(episodes))


def test_it_has_seen_nothing_of_the_test_side() -> None:
    seen = read_seen(SHIPPED)
    assert seen is not None
    assert len(seen.train) > 200
    assert not digests_of(seeds("test")) & (seen.train | seen.validation)


def test_no_path_of_a_machine_is_in_it() -> None:
    for file in SHIPPED.iterdir():
        if file.suffix != ".safetensors":
            assert not re.search(r"/(home|work|root|tmp|Users)/", file.read_text("utf-8")), (
                file.name
            )
    config = json.loads((SHIPPED / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "HuggingFaceTB/SmolLM2-135M-Instruct"


class Spoken(warmline.ScriptedPolicy):
    """Says the lines of a dialogue, and says of itself what the embedded model does."""

    capabilities = Capabilities(prefill=True, small_model=True, knows_seats=True)


def without_repairs() -> list[Episode]:
    """Dialogues of the train side of which a run changes no word."""
    return [e for e in seeds("train") if len(e.utterances) >= 12][::40]


@pytest.mark.parametrize("number", range(4))
async def test_it_learned_exactly_what_a_run_asks(number: int) -> None:
    """The lines of a dialogue, played again at the defaults of a run with the embedded model."""
    recorded = without_repairs()[number]
    said = recorded.utterances[:12]
    policy = Spoken(
        seeker=[u.text for u in said if u.role is Role.SEEKER],
        supporter=[u.text for u in said if u.role is Role.SUPPORTER],
        counselor=[u.strategy.value for u in said if u.strategy],
        judger=["NO"],
    )
    environment = build_environment(load_settings(), dict.fromkeys(Role, policy))
    played = await environment.run(recorded.scenario, seed=1)
    unchanged = next(
        (
            n
            for n, (a, b) in enumerate(zip(said, played.utterances, strict=False))
            if a.text != b.text
        ),
        len(said),
    )  # a greeting that is trimmed, say: what follows was asked about other words
    assert unchanged >= 6
    settings = SftSettings(preset="embedded", seats=tuple(Role))
    rows = {row.id: row for row in build_seat_rows([recorded], settings).rows}
    compared = dict.fromkeys(Role, 0)
    for n, utterance in enumerate(played.utterances[:unchanged]):
        calls = {utterance.role: utterance.call}
        if utterance.role is Role.SUPPORTER:
            calls[Role.COUNSELOR] = utterance.call - 1
            judged = [v.call for v in played.verdicts if v.after == n + 1]
            if judged:
                calls[Role.JUDGER] = judged[0]
        for role, call in calls.items():
            suffix = "" if role is Role.SUPPORTER else f"/{role}"
            row = rows[f"{recorded.id}#{n}{suffix}"]
            assert played.calls[call].role == role
            assert row.prompt == played.call_messages(played.calls[call])
            compared[role] += 1
    assert compared[Role.SEEKER] == compared[Role.COUNSELOR] == compared[Role.SUPPORTER] >= 3
