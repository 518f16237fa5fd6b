"""Paths in a suite: relative to its file, and absolute once it is read."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from audit.core.rows import Row
from audit.data.yamlfile import Loc
from audit.models.families import within

#: where a probe's word lists lie, which decides nothing: their digests are counted
LISTS: Final = ("label_set", "templates", "named_by", "contents", "candidates")


@dataclass(frozen=True)
class Written:
    """The file that a suite was read from, and the line of every key and item in it.

    None of a bundled suite, or of one that no file holds. Suites of two files may be equal.
    """

    path: Path | None = field(default=None, compare=False)
    lines: Mapping[Loc, int] = field(default_factory=dict, compare=False)

    def below_here(self, tasks: Sequence[str]) -> tuple[str, dict[str, int]] | None:
        """The path relative to the working directory, with ``/``, and the line of each task.

        Build servers work at a repository's root; None where the file is elsewhere. ``tasks`` are
        the suite's, in the order of its probes.
        """
        here = Path.cwd().resolve()
        if self.path is None or not self.path.is_relative_to(here):
            return None
        found = {task: self.lines.get(("probes", i), 1) for i, task in enumerate(tasks)}
        return self.path.relative_to(here).as_posix(), found


def beside(data: Row, folder: Path) -> Row:
    """Paths in a suite are relative to the suite's file, else to where the command is given.

    They become absolute, so that a run's own ``suite.yaml`` finds the same files from anywhere.
    """

    def resolve(value: object) -> object:
        if not isinstance(value, str):
            return value
        looks_like_a_path = os.sep in value or "/" in value or value.endswith((".yaml", ".yml"))
        return _absolute(value, folder) if looks_like_a_path else value

    def model(value: object) -> object:
        return within(value, lambda name: _absolute(name, folder))

    def dataset(value: object) -> object:
        if isinstance(value, dict) and isinstance(value.get("root"), str):
            return value | {"root": _absolute(value["root"], folder)}
        return resolve(value)

    resolvers = {"model": model, "dataset": dataset}
    probes = data.get("probes")
    if isinstance(probes, list):
        data["probes"] = [_resolved(p, resolve) if isinstance(p, dict) else p for p in probes]
    return {k: resolvers[k](v) if k in resolvers else v for k, v in data.items()}


def _absolute(value: str, folder: Path) -> str:
    """The path of what lies beside the suite or here; the value as it is where nothing does."""
    places = (Path(os.path.abspath(near / Path(value).expanduser())) for near in (folder, Path()))
    return next((str(place) for place in places if place.exists()), value)


def _resolved(probe: Row, resolve: Callable[[object], object]) -> Row:
    """A probe's word lists, wherever they are named in it."""
    found = {k: resolve(v) if k in LISTS else v for k, v in probe.items()}
    wordings = found.get("wordings")
    if isinstance(wordings, dict) and isinstance(wordings.get("templates"), list):
        found["wordings"] = wordings | {"templates": [resolve(v) for v in wordings["templates"]]}
    return found
