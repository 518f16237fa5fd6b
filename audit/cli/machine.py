"""What this machine allows, in sentences."""

from __future__ import annotations

from importlib.metadata import version

import typer

from audit.core.errors import InputError, sentence
from audit.core.terminal import say


def of_the_machine(error: OSError | MemoryError) -> str:
    """The sentence for what this machine refuses where nothing more is known of it."""
    if isinstance(error, MemoryError):
        return sentence("there is not enough memory", "Ask fewer pictures or wordings at a time")
    where = f"{error.filename}: " if error.filename else ""
    told = f"{where}this machine refuses it ({error.strerror or error})"
    return sentence(told, "Is there space, and may you read and write there?")


def require_port(port: int) -> None:
    """Refuse a port that the dashboard could not be opened on."""
    import os
    import socket

    if not 1 <= port <= 65535:  # 0 would be any free port, which no page knows the address of
        told = f"--port {port}: no port has this number"
        raise InputError(told, "Name one from 1024 to 65535")
    try:
        socket.create_server(("localhost", port)).close()
    except OSError as error:
        told = (
            f"--port {port}: it can't be opened on this machine ({os.strerror(error.errno or 0)})"
        )
        raise InputError(told, "Name another one from 1024 to 65535") from None


def say_version(wanted: bool) -> None:
    """Print which version is installed, and end."""
    if wanted:
        say(version("clip-audit"))
        raise typer.Exit
