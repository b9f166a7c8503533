"""Sentences: the one splitter that environment, metrics and generation-time stopping use."""
