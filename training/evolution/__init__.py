"""Self-evolution in rounds."""
