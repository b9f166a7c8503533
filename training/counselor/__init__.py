"""The strategy counselor."""
