"""The scorer of the four dimensions."""
