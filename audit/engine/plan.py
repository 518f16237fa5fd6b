"""The sealed plan: what was decided, and when, before any number was seen.

A plan is everything in a suite but the model it is put to. ``OUT/plans/`` holds one small file a
sealed plan. A date in a file proves nothing to others; the file's commit in version control does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from audit.core.errors import InputError
from audit.core.files import unwritable, write_json
from audit.core.names import slug
from audit.core.rundir import Run, runs_in
from audit.engine.policy import Gate
from audit.engine.suite import Suite
from audit.measure.claims import Claim
from audit.measure.confidence import Margin

FOLDER = "plans"
_SHORT = 8


class Plan(BaseModel):
    """What a seal says: when, and what was fixed; ``digest`` covers all of it and more."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    date: AwareDatetime
    suite: str
    digest: str
    level: float
    margins: dict[str, Margin]
    gates: tuple[Gate, ...]
    primary: tuple[Claim, ...] = ()
    dataset: str
    dataset_digest: str


@dataclass(frozen=True)
class Seal:
    """A plan and its file; ``first`` where this seal has just been made."""

    path: Path
    plan: Plan
    first: bool


def seal(suite: Suite, out: Path) -> Seal:
    """Write the dated plan of a suite; one that is sealed already keeps its first date.

    Args:
        suite: a suite that resolves.
        out: the folder of all runs.

    Raises:
        InputError: the folder can't be written, or the file there is no seal of this plan.
    """
    path = _path(suite, out)
    if path.exists():
        return Seal(path, _read(path, suite), first=False)
    plan = Plan(
        date=datetime.now(UTC).replace(microsecond=0),
        suite=suite.name,
        digest=suite.plan_digest,
        level=suite.confidence.level,
        margins=dict(suite.confidence.margins),
        gates=suite.gates,
        primary=suite.primary,
        dataset=suite.pictures.name,
        dataset_digest=suite.pictures.digest,
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, plan.model_dump(mode="json"))
    except OSError as error:
        raise unwritable(path.parent, "the plan", error, "--out") from error
    return Seal(path, plan, first=True)


def status(suite: Suite, out: Path, started: datetime) -> str:
    """How a run that began at ``started`` stands to its plan; ends 'The plan is ...'.

    'sealed 2026-11-23 10:15 UTC, digest 3f9a1c22' if this very plan was sealed before the run, else
    'unsealed'. A plan that is younger than a finished run of another plan, of a suite of the same
    name on the same data, is also 'changed after an earlier run on this data'. It is as old as its
    seal, or as the first run that followed it. Only runs in ``out`` are known.

    Args:
        suite: the suite of the run.
        out: the folder of all runs.
        started: when the run began, with its time zone.
    """
    plan = _sealed(suite, out, started)
    earlier = [run for run in runs_in(out) if _alike(run, suite) and _finished(run) <= started]
    followed = [_started(run) for run in earlier if _plan_of(run) == suite.plan_digest]
    known = min([*followed, *([plan.date] if plan else []), started])
    others = [run for run in earlier if _plan_of(run) not in (None, suite.plan_digest)]
    return _words(plan, [run for run in others if _started(run) < known])


def _words(plan: Plan | None, before: Iterable[Run]) -> str:
    last = max(before, key=_started, default=None)
    told = "unsealed"
    if plan:
        told = f"sealed {plan.date:%Y-%m-%d %H:%M} UTC, digest {plan.digest[:_SHORT]}"
    if last is None:
        return told
    link = ", but" if plan else " and"
    return f"{told}{link} changed after an earlier run on this data ({last.name})"


def _sealed(suite: Suite, out: Path, started: datetime) -> Plan | None:
    """This plan's seal, if it is sound and older than the run."""
    try:
        plan = _read(_path(suite, out), suite)
    except InputError:
        return None
    return plan if plan.date <= started else None


def _path(suite: Suite, out: Path) -> Path:
    return out / FOLDER / f"{slug(suite.name)}-{suite.plan_digest[:_SHORT]}.json"


def _read(path: Path, suite: Suite) -> Plan:
    try:
        plan = Plan.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise InputError(
            f"{path} can't be read as a sealed plan", "Restore it from version control"
        ) from error
    if plan.digest != suite.plan_digest:
        raise InputError(
            f"{path} seals another plan ({plan.digest[:_SHORT]}), whatever its name says",
            "Restore it from version control",
        )
    return plan


def _alike(run: Run, suite: Suite) -> bool:
    asked = run.manifest.get("suite"), run.manifest.get("dataset_digest")
    return asked == (suite.name, suite.pictures.digest)


def _plan_of(run: Run) -> object:
    return run.manifest.get("plan_digest")


def _started(run: Run) -> datetime:
    return datetime.fromisoformat(run.manifest["started"])


def _finished(run: Run) -> datetime:
    return datetime.fromisoformat(run.manifest["finished"])
