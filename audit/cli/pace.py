"""How long a run takes: measured while one goes on, kept beside the store, said before the next."""

from __future__ import annotations

import contextlib
import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from audit.core.files import write_json
from audit.core.rows import Row
from audit.core.terminal import duration

if TYPE_CHECKING:
    from audit.engine.suite import Suite

Tell = Callable[[str, int, int], None]
FILE: Final = "paces.json"
_ENCODE: Final = "encode pictures"
#: what takes time after pictures are encoded
_REST: Final = ("ask", "compare groups", "draw the report")
#: seconds, under which a measured speed says little
_LEAST: Final = 0.5


@dataclass
class Watch:
    """Passes on how far each stage is, and notes when it began and how far it came.

    ``clock``: seconds from any moment on.
    """

    tell: Tell
    clock: Callable[[], float] = time.monotonic
    first: dict[str, tuple[float, int]] = field(default_factory=dict)
    last: dict[str, tuple[float, int]] = field(default_factory=dict)

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Note how far a stage is, and pass it on."""
        now = self.clock(), done
        self.first.setdefault(stage, now)
        self.last[stage] = now
        self.tell(stage, done, total)

    @property
    def speed(self) -> float | None:
        """Pictures encoded a second, those that the store had left out; None if too few were."""
        if _ENCODE not in self.first:
            return None
        (began, before), (ended, after) = self.first[_ENCODE], self.last[_ENCODE]
        many = after > before and ended - began >= _LEAST
        return (after - before) / (ended - began) if many else None

    @property
    def rest(self) -> float | None:
        """Seconds that all after encoding took; None if a part of it did not come."""
        if not all(stage in self.last for stage in _REST):
            return None
        return sum(self.last[stage][0] - self.first[stage][0] for stage in _REST)


def keep(watch: Watch, suite: Suite, cache: Path) -> None:
    """Keep what was measured for the next estimate; where that can't be written, nothing is."""
    paces, own = _read(cache), {}
    if watch.speed:
        own["speed"] = _of(paces, "speed") | {suite.model: round(watch.speed, 2)}
    if watch.rest is not None:
        own["rest"] = _of(paces, "rest") | {suite.digest: round(watch.rest, 1)}
    if own:
        with contextlib.suppress(OSError):
            kept = {kind: _of(paces, kind) for kind in ("speed", "rest")}
            write_json(cache / FILE, {**paces, platform.node(): {**kept, **own}})


def estimate(suite: Suite, cache: Path) -> str:
    """How long a run of this suite takes here, as far as earlier ones tell."""
    paces = _read(cache)
    speed, rest = _of(paces, "speed").get(suite.model), _of(paces, "rest").get(suite.digest)
    if not speed:
        return (
            "time: not known; nothing was encoded by this model on this machine so far. "
            "The first run measures it, and says how much is left."
        )
    kinds = {a.name for probe in suite.asked for a in probe.alterations()}
    pictures = len(suite.pictures) * (1 + len(kinds))
    after = f"then about {duration(rest)}, as last time" if rest else "the rest is not known yet"
    return (
        f"time: up to {duration(pictures / speed)} to encode {pictures:,} pictures ({speed:,.0f} a "
        f"second before; what the store holds takes none), {after}."
    )


def _read(cache: Path) -> Row:
    try:
        paces = json.loads((cache / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return paces if isinstance(paces, dict) else {}


def _of(paces: Row, kind: str) -> dict[str, float]:
    """What is known on this machine; nothing of a file that says something else."""
    here = paces.get(platform.node())
    known = here.get(kind) if isinstance(here, dict) else None
    found = known.items() if isinstance(known, dict) else ()
    return {str(k): float(v) for k, v in found if isinstance(v, int | float) and v > 0}
