"""Rows from logs: built, encoded, collated, split, shown."""
