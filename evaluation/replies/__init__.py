"""Replies of a policy to recorded contexts: made, scored and printed."""
