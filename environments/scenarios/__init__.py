"""Scenarios, profiles, case dialogues, the 45 problem types, and the seed pool that ships."""
