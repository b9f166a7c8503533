"""Trained classifiers as policies: a language model's network with heads."""
