"""``python -m audit.cli``: the command where no script is installed."""

from audit.cli import main

main()
