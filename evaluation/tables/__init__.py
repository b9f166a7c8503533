"""The papers' tables, filled from what other commands left, with the published figures beside."""
