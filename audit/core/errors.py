"""What can go wrong, in sentences a person can act on."""

from __future__ import annotations


class AuditError(Exception):
    """Anything this tool refuses to do; its text is one clear sentence and a next step.

    Several parts become sentences: see ``sentence``.
    """

    exit_code = 1

    def __init__(self, *parts: str | None) -> None:
        super().__init__(parts[0] if len(parts) == 1 else sentence(*parts))


class InputError(AuditError):
    """What a person gave can't be used as it is: a file, a name, a column, a setting."""

    exit_code = 2


class GateError(AuditError):
    """A finding is what a gate of the suite, or ``--fail-on``, does not let pass."""

    exit_code = 3


def sentence(*parts: str | None) -> str:
    """Join the parts of a complaint (where, what was got, what is allowed, what to do).

    >>> sentence("suite.yaml: no label set named 'ocupations'", None, "Did you mean 'occupations'?")
    "suite.yaml: no label set named 'ocupations'. Did you mean 'occupations'?"
    """
    kept = [part.strip() for part in parts if part and part.strip()]
    return " ".join(part if part[-1] in ".?!" else part + "." for part in kept)
