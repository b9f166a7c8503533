"""Crisis language by rule: data files for each language, and the small engine that reads them.

`languages.py` loads the rules, `rules.py` applies them, `needed.py` is a quick look before a pattern
is tried, `folding.py` brings a text into the form they are written for. `docs/safety.md` says what is
detected, how well, and how to add a rule or a language.
"""
