"""One self-contained HTML page about one or several runs."""

from .data import RunView, read_run
from .page import write_report

__all__ = ["RunView", "read_run", "write_report"]
