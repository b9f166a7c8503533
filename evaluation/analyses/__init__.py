"""Analyses of corpora: similarity, strategies, diversity, lengths, and what distinguishes two
corpora."""
