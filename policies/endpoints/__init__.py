"""Several servers of one model: which they are, and which one a request goes to."""
