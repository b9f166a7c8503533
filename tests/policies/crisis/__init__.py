"""Labelled sentences that measure crisis detection; see `figures.py`."""
