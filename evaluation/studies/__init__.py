"""Studies with people: settings, one SQLite file a study, who gets which task, talks, results.

`settings.py` is `study.toml`; `database.py` the file; `participants.py`, `assignment.py`, `tasks.py`
who is there, who gets what and what was answered; `talks.py` and `exchange.py` conversations with
models; `results.py` what comes out. The pages are in `web/`.
"""
