"""Models that think: what they thought is told from what they say, and how they are told to."""
