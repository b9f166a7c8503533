"""Preference pairs from conversations."""
