"""Importers: what a record of each published format means. Reading files and normalising is not here."""
