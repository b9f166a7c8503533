"""General ability of a checkpoint, through the lm-evaluation-harness."""
