"""Building a corpus: import, generation, coverage, cleaning, review and export."""
