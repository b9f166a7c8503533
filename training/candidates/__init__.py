"""Candidate replies, feedback on them, their losses, and the trainer over batches of them."""
