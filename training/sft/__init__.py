"""Supervised fine-tuning of the supporter."""
