"""Exporting a corpus as a data set with its card."""
