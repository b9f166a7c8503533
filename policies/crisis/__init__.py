"""Crisis language by rule: data files for each language, and the small engine that reads them.

`rules.py` loads and applies the rules, `folding.py` brings a text into the form they are written
for. `docs/safety.md` says what is detected, how well, and how to add a rule or a language.
"""
