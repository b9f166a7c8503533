"""Paired self-play: the same seekers and seeds against two supporters."""
