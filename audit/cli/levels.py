"""The option ``--fail-on``: at which findings a run ends with exit code 3; and words of before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from audit.cli.kinds import choice_of
from audit.core.errors import GateError
from audit.core.rows import Fields
from audit.core.terminal import say

if TYPE_CHECKING:
    from audit.core.rundir import Run


class FailOn(StrEnum):
    """When a run ends with exit code 3, beside the suite's own gates."""

    high = "high"
    exceeds = "exceeds-margin"
    inconclusive = "inconclusive"


#: the levels as help prints them
LEVELS: Final = f"{FailOn.high}, {FailOn.exceeds} or {FailOn.inconclusive}"


def level_of(word: str) -> FailOn:
    """The level of this word; of one of earlier versions it is said what to write now.

    Raises:
        typer.BadParameter: there is no such level.
    """
    from audit.core.earlier import OPTIONS

    if word in OPTIONS:
        say(f"--fail-on {word} is now written --fail-on {OPTIONS[word]}", stderr=True)
    return choice_of(FailOn)(OPTIONS.get(word, word))


_REACHED: Final[Mapping[FailOn, Callable[[Fields], bool]]] = {
    FailOn.high: lambda f: bool(f["severity"] == "high"),
    FailOn.exceeds: lambda f: bool(f["verdict"] == "exceeds margin"),
    FailOn.inconclusive: lambda f: f["verdict"] in ("exceeds margin", "inconclusive"),
}


def require_below(finished: Run, level: FailOn | None) -> None:
    """Refuse findings that reach the level.

    Raises:
        GateError: one does; quotes the first.
    """
    if level is None:
        return
    # what is exploratory opens no gate where something is primary
    primary = [f for f in finished.findings if f.get("role") == "primary"]
    hit = [f for f in primary or finished.findings if _REACHED[level](f)]
    if hit:
        raise GateError(
            f"--fail-on {level}: {len(hit)} findings reach it",
            f"The first: {hit[0]['statement']}",
        )


def say_words_of_now(suite: str) -> None:
    """Say once on the error stream what to write for words of earlier versions in a suite."""
    from audit.core.earlier import KEYS
    from audit.data.yamlfile import load_yaml

    path = Path(suite)
    gates = load_yaml(path).get("gates") if path.is_file() else None
    given = [gate for gate in gates or () if isinstance(gate, Mapping)]
    words = [gate.get(rule) for gate in given for rule in ("fail_if", "unless")]
    words += [word for gate in given for word in gate.get("allow") or ()]
    found = [word for word in dict.fromkeys(words) if word in KEYS]
    if found:
        now = ", ".join(f"'{KEYS[word]}' for '{word}'" for word in found)
        say(f"{path}: its gates are read as before; write {now} now", stderr=True)
