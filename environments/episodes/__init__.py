"""The records of what happened: episodes, ratings, their logs, and what was used."""
