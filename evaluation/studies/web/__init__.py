"""The pages of a study: one small server, no request to any other."""
