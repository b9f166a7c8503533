"""Rows from episodes, losses, and the trainers that turn them into policies."""
