"""The seeker-fidelity report, with numbers worked out by hand."""

from __future__ import annotations

import pytest

from warmline import Profile, StopReason
from warmline.agents.roles import Role
from warmline.environments import Utterance
from warmline.environments.corpus.cleaning.fidelity import (
    measure_seeker,
    seeker_fidelity,
    seeker_policy,
)
from warmline.environments.corpus.cleaning.filters.text import content_words

from .talks import CALM, PROFILE, SITUATION, call, episode, said

SUPPORT = ("I see.", "Go on.", "What then?", "And now?", "I hear you.", "Hm.", "So.", "Well.")


def talk(*seeker: str, **changes: object):  # type: ignore[no-untyped-def]
    """A conversation with these lines of the seeker."""
    lines = [text for pair in zip(seeker, SUPPORT, strict=False) for text in pair]
    return episode(*lines, **changes)


def test_content_words_of_the_situation() -> None:
    """Of its 32 words 15 carry the topic: the sister, the flat, …, the clutter."""
    topic = "sister moved flat march two dogs rent last sunday sold grandmother's piano work called clutter"
    assert " ".join(content_words(SITUATION)) == topic
    assert content_words("我很难过") == ["我很", "很难", "难过"]


def test_telling_it_all_at_once() -> None:
    """The first turn holds 7 of the situation's 15 content words, and 14 of the seeker's 20 words."""
    measures = measure_seeker(
        talk(
            "My sister moved in with two dogs, paid no rent, and sold my piano.",
            "I was at work that day.",
        )
    )
    assert measures is not None
    assert measures.situation_in_first_turn == pytest.approx(7 / 15)
    assert measures.first_turn_length == pytest.approx(14 / 20)
    assert measures.told_at_once is False
    more = measure_seeker(talk("On Sunday my sister moved in with two dogs, and sold my piano."))
    assert more is not None
    assert more.situation_in_first_turn == pytest.approx(7 / 15)
    assert more.first_turn_length is None
    all_of_it = measure_seeker(talk(SITUATION, "Yes."))
    assert all_of_it is not None
    assert all_of_it.told_at_once is True


def test_drift_from_the_situation() -> None:
    """Early (two turns): sister, sold, piano, work, cried, sunday, night, alone: 5 of 8 in the
    situation. Late (two turns): cooked, pasta, watched, football, neighbour, painted, fence,
    green: 0 of 8. The thanks between and after count nowhere."""
    lines = (
        *("My sister sold the piano at work.", "I cried on Sunday night, alone."),
        *("Thank you.", "Hm.", "Yes."),
        *("I cooked pasta and watched football.", "My neighbour painted the fence green."),
        "Thanks!",
    )
    measures = measure_seeker(talk(*lines))
    assert measures is not None
    assert measures.overlap_early == pytest.approx(5 / 8)
    assert measures.overlap_late == 0
    assert measures.decay == pytest.approx(5 / 8)
    assert measures.drifted is True
    stays = measure_seeker(talk(*lines[:-2], "My neighbour painted the piano green, and my flat."))
    assert stays is not None
    assert stays.drifted is False
    few_words = measure_seeker(talk("She sold it.", *lines[1:]))
    assert few_words is not None
    assert few_words.drifted is None
    assert few_words.decay is None


def test_role_closing_thanks_and_contradiction() -> None:
    flipped = talk("As a supporter, I am here for you.", "Tell me more.")
    thanks = talk("She sold it.", "Thank you!", "Thanks again.", "Thank you so much!")
    early = talk("She sold it.", "Never mind, bye!", "Hm.")
    older = talk("I'm 62 years old.", "She sold it.", profile=PROFILE)
    fine = episode(*CALM, profile=PROFILE)
    report = seeker_fidelity([flipped, thanks, early, older, fine]).overall
    assert (report.changed_role.count, report.changed_role.of) == (1, 5)
    assert (report.looped_in_thanks.count, report.looped_in_thanks.of) == (1, 5)
    assert (report.closed_early.count, report.closed_early.of) == (1, 5)
    assert (report.contradicted.count, report.contradicted.of) == (1, 2)
    assert (report.changed_role.low, report.changed_role.high) == (0.0362, 0.6245)


def test_the_supporters_change_of_role_is_not_the_seekers() -> None:
    lines = list(CALM)
    lines[1] = lines[3] = "Thanks for listening to me."
    measures = measure_seeker(episode(*lines))
    assert measures is not None
    assert measures.changed_role is False


def test_by_policy_in_any_order() -> None:
    big = tuple(call(policy="big") for _ in range(10))
    tiny = tuple(call(policy="tiny") for _ in range(10))
    episodes = [
        episode(name="a", utterances=said(*CALM, calls=True), calls=big),
        episode(name="b", utterances=said(*CALM, calls=True), calls=tiny),
        episode(
            name="c", utterances=said("As a supporter, I am here.", "Oh.", calls=True), calls=tiny
        ),
        episode(*CALM, name="d"),
    ]
    assert [seeker_policy(e) for e in episodes] == ["big", "tiny", "tiny", "recorded"]
    report = seeker_fidelity(episodes)
    assert report == seeker_fidelity(reversed(episodes))
    assert [(p.policy, p.episodes, p.changed_role.count) for p in report.policies] == [
        ("big", 1, 0),
        ("recorded", 1, 0),
        ("tiny", 2, 1),
    ]


def test_what_cannot_be_measured_is_none_and_failed_episodes_are_left_out() -> None:
    none = seeker_fidelity([]).overall
    assert (none.episodes, none.changed_role.share, none.decay.mean) == (0, None, None)
    failed = episode(*CALM, stop=StopReason.ERROR)
    mute = episode(utterances=(Utterance(Role.SUPPORTER, "Hello?", "Hello?"),))
    assert seeker_fidelity([failed, mute]).overall.episodes == 0
    vague = episode(*CALM, profile=Profile(traits="quiet"))
    assert seeker_fidelity([vague]).overall.contradicted.of == 0


def test_the_mean_and_its_interval() -> None:
    """Shares 0.25 and 0.75: mean 0.5, standard error 0.25, so 0.5 ± 0.49."""
    first = talk("One.", "One two three.")
    second = talk("One two three.", "One.")
    mean = seeker_fidelity([first, second]).overall.first_turn_length
    assert (mean.of, mean.mean, mean.low, mean.high) == (2, 0.5, 0.01, 0.99)
