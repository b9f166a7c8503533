"""Metrics, analyses, judges, statistics and reports over episodes and ratings."""
