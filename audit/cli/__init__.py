"""The command line: its verbs, which hold no logic, and what the terminal shows."""

from audit.cli.verbs import main

__all__ = ["main"]
