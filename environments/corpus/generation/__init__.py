"""Generating a corpus: coverage, scenarios and profiles, self-iteration."""
