"""Importing recorded dialogues: formats, normalisation, and the corpus folder that results."""
