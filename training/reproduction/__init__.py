"""The whole loop of a preset, from seeds to report."""
