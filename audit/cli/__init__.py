"""The command line: its verbs, which hold no logic, and what the terminal shows."""
