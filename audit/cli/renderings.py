"""What is made of a sealed run by the command line, and what is said where a part of it fails."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from audit.core.errors import AuditError
from audit.core.terminal import say, some

if TYPE_CHECKING:
    from audit.core.rundir import Run


def rendered(finished: Run) -> Path:
    """Render a run's report."""
    from audit.report.render import render

    with damage_told():
        return render(finished)


@contextlib.contextmanager
def damage_told() -> Iterator[None]:
    """Say on the error stream which parts could not be rendered, as sentences."""
    import warnings

    from audit.core.damage import DamagedWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DamagedWarning)
        yield
    told = [w for w in caught if issubclass(w.category, DamagedWarning)]
    some([str(w.message) for w in told], most=len(told), stderr=True)
    for w in caught:
        if w not in told:
            warnings.warn_explicit(w.message, w.category, w.filename, w.lineno)


def survived(part: str, render: Callable[[], object]) -> None:
    """Render a part of a sealed run; if that fails, it is said on the error stream."""
    from audit.core.damage import Damage

    try:
        render()
    except Exception as error:
        say(str(Damage.of(part, error)), stderr=True)


def export_all(finished: Run, kinds: Sequence[str]) -> None:
    """Write a run as these kinds; what can't be written keeps none of the others from it.

    Raises:
        AuditError: one can't be written.
    """
    from audit.report.exports.kinds import attempted

    refused = []
    for _, result in attempted(finished, kinds):
        if isinstance(result, AuditError):
            refused.append(result)
        else:
            say(f"written: {result}")
    if refused:
        some([str(error) for error in refused[1:]], stderr=True)
        raise refused[0]
