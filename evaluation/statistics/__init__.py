"""Uncertainty and planning: intervals, paired tests, several seeds."""
