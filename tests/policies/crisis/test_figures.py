"""The labelled sentences are as described, and detection on them stays as good as documented."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from warmline.policies.crisis.languages import FORMS, KINDS, Severity

from .figures import detection, of_kind, report
from .sentences import HARMLESS, half_of, sentences

ROOT = Path(__file__).parents[3]
LANGUAGES = {"ar", "de", "en", "es", "fr", "hi", "ja", "ko", "pt", "zh"}


def test_the_sentences_are_distinct_and_their_labels_known() -> None:
    everything = sentences()
    assert max(Counter(s.text for s in everything).values()) == 1
    assert {s.label for s in everything} == {*FORMS, HARMLESS}
    severities = {severity.name.lower() for severity in Severity}
    assert all(s.severity in severities for s in everything if s.in_crisis)
    assert all(s.severity == HARMLESS for s in everything if not s.in_crisis)


def test_the_held_half_was_chosen_by_hash_before_any_rule() -> None:
    assert all(half_of(s.text) == "held" for s in sentences("held"))
    assert len(sentences("held")) >= 400


def test_every_language_has_harmless_sentences_too() -> None:
    chosen = [*sentences("dev"), *sentences("held")]
    assert {s.language for s in chosen} == LANGUAGES
    assert sum(s.language == "en" for s in chosen) >= 450
    for language in LANGUAGES:
        labels = [s.in_crisis for s in chosen if s.language == language]
        assert len(labels) >= 40
        assert 0.4 <= sum(labels) / len(labels) <= 0.6, language


def test_held_sentences_are_found_and_harmless_ones_left_alone() -> None:
    counts = detection(sentences("held"))
    assert counts.recall >= 0.85
    assert counts.precision >= 0.85
    for kind in KINDS:
        counts = of_kind(sentences("held"), kind)
        assert counts.recall >= 0.85, kind
        assert counts.precision >= 0.85, kind


def test_sentences_that_no_rule_was_written_for_are_mostly_found() -> None:
    counts = detection(sentences("fresh"))
    assert counts.recall >= 0.80
    assert counts.precision >= 0.90


def test_the_document_holds_the_figures_of_today() -> None:
    assert report() in (ROOT / "docs/safety.md").read_text("utf-8")
