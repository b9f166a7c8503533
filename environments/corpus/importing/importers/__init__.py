"""Importers: reading records from files, and what a record of each published format means."""
