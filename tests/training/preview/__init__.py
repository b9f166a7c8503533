"""Training rows as a reader sees them."""
