"""Analyses of corpora: similarity, strategies, diversity, lengths, and what tells two corpora apart."""
