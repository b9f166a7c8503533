"""Metrics of replies, and the named conventions they are computed by."""
