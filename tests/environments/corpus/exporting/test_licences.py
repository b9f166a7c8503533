"""The licence guard: what is known, what mixes, what must be accepted by name, and what results."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmline.core.errors import ConfigError
from warmline.environments.corpus.exporting.licences import (
    KNOWN_LICENCES,
    combined,
    hub_licence,
    terms_of,
)
from warmline.environments.corpus.sources import KNOWN_CORPORA

RESEARCH = "CC-BY-NC-4.0 AND research-only"


@pytest.mark.parametrize(
    ("written", "name", "conditions"),
    [
        ("cc by-nc 4.0", "CC-BY-NC-4.0", ("attribution", "non-commercial")),
        ("CC0-1.0", "CC0-1.0", ()),
        ("CC BY-NC-SA 3.0", "CC-BY-NC-SA-3.0", ("attribution", "non-commercial", "share-alike")),
        (RESEARCH, RESEARCH, ("attribution", "non-commercial", "research only")),
        (
            "CC BY-NC 4.0, academic research use only",
            RESEARCH,
            ("attribution", "non-commercial", "research only"),
        ),
        ("ask the authors", "ask the authors", ("unknown",)),
        ("MIT AND ask the authors", "MIT AND ask the authors", ("unknown",)),
        ("CC-BY-NC-4.0-custom", "CC-BY-NC-4.0-custom", ("unknown",)),
        ("unknown", "unknown", ("unknown",)),
    ],
)
def test_reading_a_licence(written: str, name: str, conditions: tuple[str, ...]) -> None:
    assert (terms_of(written).id, terms_of(written).conditions) == (name, conditions)


def test_every_known_corpus_has_a_licence_that_is_understood_or_is_said_to_be_unknown() -> None:
    for name, corpus in KNOWN_CORPORA.items():
        assert terms_of(corpus.licence).known == (corpus.licence != "unknown"), name


def test_one_known_licence_needs_no_consent() -> None:
    assert combined({"esconv": RESEARCH, "failed_esconv": RESEARCH}).id == RESEARCH


def test_different_licences_are_refused_until_each_is_named() -> None:
    mixed = {"esconv": RESEARCH, "smilechat": "CC0-1.0"}
    with pytest.raises(ConfigError) as refused:
        combined(mixed)
    message = str(refused.value)
    assert "esconv: CC-BY-NC-4.0 AND research-only" in message
    assert "smilechat: CC0-1.0 (no conditions)" in message
    assert '--accept-licences "esconv" --accept-licences "smilechat"' in message
    with pytest.raises(ConfigError, match="smilechat") as still:
        combined(mixed, ["esconv"])
    assert "- esconv" not in str(still.value)
    assert combined(mixed, ["ESConv", "cc0-1.0"]).id == RESEARCH, "by source or licence, any case"


def test_an_unknown_licence_is_refused_even_alone_and_stays_unknown_when_accepted() -> None:
    with pytest.raises(ConfigError, match="extes: unknown"):
        combined({"extes": "unknown"})
    assert not combined({"extes": "unknown"}, ["extes"]).known
    both = combined({"extes": "unknown", "mine": "MIT"}, ["extes", "mine"])
    assert (both.known, hub_licence(both)) == (False, {"license": "unknown"})


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ("CC-BY-SA-4.0", "CC-BY-NC-4.0", "adds the non-commercial condition"),
        ("CC-BY-SA-4.0", "CC-BY-NC-SA-4.0", "demands the same for its own"),
        ("CC-BY-NC-SA-4.0", RESEARCH, "adds the research-only condition"),
        ("CC-BY-ND-4.0", "MIT", "may not be shared in changed form"),
    ],
)
def test_what_cannot_be_combined_is_refused_whatever_is_accepted(
    first: str, second: str, reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason) as refused:
        combined({"a": first, "b": second}, ["a", "b"])
    assert "cannot be combined" in str(refused.value)


def test_the_strictest_terms_are_stamped() -> None:
    accepted = ["a", "b"]
    later = combined({"a": "CC-BY-NC-SA-3.0", "b": "CC-BY-NC-SA-4.0"}, accepted)
    assert later.id == "CC-BY-NC-SA-4.0"
    assert combined({"a": "CC-BY-NC-SA-4.0", "b": "CC-BY-NC-4.0"}, accepted).id == "CC-BY-NC-SA-4.0"
    none_says_it_all = combined({"a": RESEARCH, "b": "ODC-By-1.0"}, accepted)
    assert none_says_it_all.id == RESEARCH
    assert hub_licence(none_says_it_all) == {
        "license": "other",
        "license_name": "cc-by-nc-4.0-and-research-only",
    }
    assert hub_licence(terms_of("CC-BY-NC-4.0")) == {"license": "cc-by-nc-4.0"}


@given(
    st.lists(st.sampled_from([*KNOWN_LICENCES, RESEARCH, "house rules"]), min_size=1, max_size=5)
)
def test_no_condition_is_ever_lost(licences: list[str]) -> None:
    named = {f"s{number}": licence for number, licence in enumerate(licences)}
    try:
        whole = combined(named, named)
    except ConfigError:
        return
    asked = {c for licence in licences for c in terms_of(licence).conditions if c != "unknown"}
    assert asked <= set(whole.conditions) or not whole.known
    assert whole.known == all(terms_of(licence).known for licence in licences)
