"""Results for a tracker of experiments: aggregates of a public copy, and only where one is set up.

Nothing is sent unless a person asks for it by name and has said where to. What is sent is read from
a public copy, in which small groups are suppressed; no row about a picture is in it, and no path.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from audit.core.errors import AuditError, InputError
from audit.core.registry import unknown
from audit.core.rundir import Run
from audit.core.tables import ENSEMBLE, OK, WORST, records
from audit.measure.findings import tally_verdicts
from audit.report.exports.public import write_public

#: what a tracker takes in a name, beside letters and digits
_SIGNS: Final = re.compile(r"[^A-Za-z0-9_\-. /]+")


@dataclass(frozen=True)
class Results:
    """What is sent: text facts, and numbers by name. Rates and gaps are shares."""

    name: str
    facts: Mapping[str, str]
    numbers: Mapping[str, float]


def results_of(run: Run) -> Results:
    """The aggregates of a run with small groups suppressed: rates and largest gaps in the headline.

    Raises:
        InputError: the run can't be published (``audit.report.exports.public``).
    """
    if run.public:
        return _results(run)
    with tempfile.TemporaryDirectory() as folder:
        return _results(write_public(run, Path(folder) / "public"))


def _results(run: Run) -> Results:
    told = ("suite", "model", "dataset", "fingerprint", "suite_digest", "dataset_digest", "plan")
    facts = {name: str(run.manifest[name]) for name in told if name in run.manifest}
    facts |= {"run": run.sealed_name, "small groups": "suppressed"}
    counts = tally_verdicts(run.findings)
    numbers = {f"findings/{verdict}": float(n) for verdict, n in counts.items()}
    for row in records(run.rates[run.rates["condition"] == ENSEMBLE]):
        if row["status"] == OK:
            numbers[_named("rate", row, row["group"])] = float(row["value"])
    gaps = run.disparities
    gaps = gaps[(gaps["condition"] == ENSEMBLE) & (gaps["comparison"] == WORST)]
    for row in records(gaps):
        if row["status"] == OK:
            for column in ("value", "low_simultaneous", "high_simultaneous"):
                numbers[_named("gap", row, column)] = float(row[column])
    return Results(run.sealed_name, facts, numbers)


def _named(kind: str, row: Mapping[str, object], last: object) -> str:
    parts = (kind, row["task"], row["metric"], row["label"], row["attribute"], last)
    return "/".join(_SIGNS.sub("-", str(part)) for part in parts if part)


def send(run: Run, tracker: str) -> str:
    """Send a run's aggregates to a tracker that is set up; where they went.

    Raises:
        InputError: no such tracker, its library isn't there, nothing says where it is, or the run
            can't be published.
        AuditError: the tracker does not take them.
    """
    if tracker not in TRACKERS:
        raise unknown("tracker", tracker, TRACKERS)
    one = TRACKERS[tracker]
    if find_spec(one.library) is None:
        told = f"'{tracker}' needs the extra '{tracker}'"
        raise InputError(told, f"pip install 'clip-audit[{tracker}]'")
    if not os.environ.get(one.setting):
        told = f"{one.setting} is not set, so nothing is sent"
        raise InputError(told, f"Set it to {one.what}")
    results = results_of(run)
    try:
        return one.log(results)
    except Exception as error:  # whatever its library raises
        told = f"'{tracker}' did not take the results ({type(error).__name__}: {str(error)[:300]})"
        raise AuditError(told, f"Look at {one.setting}") from error


@dataclass(frozen=True)
class Tracker:
    """A tracker: its library, the variable that says where to, and how it is told."""

    library: str
    setting: str
    what: str
    log: Callable[[Results], str]


def _to_mlflow(results: Results) -> str:
    import mlflow

    with mlflow.start_run(run_name=results.name) as started:
        # by itself it notes who ran what from where
        mlflow.set_tags({**results.facts, "mlflow.user": "", "mlflow.source.name": "clip-audit"})
        mlflow.log_metrics(dict(results.numbers))
        return f"{mlflow.get_tracking_uri()}, run {started.info.run_id}"


def _to_wandb(results: Results) -> str:
    import wandb

    # by itself it notes the machine, its user, the code and what is printed
    quiet = wandb.Settings(
        console="off", disable_git=True, disable_code=True, host="clip-audit", username="",
        program="clip-audit", x_disable_meta=True, x_disable_stats=True,
        x_disable_machine_info=True,
    )  # fmt: skip
    with wandb.init(name=results.name, config=dict(results.facts), settings=quiet) as started:
        started.summary.update(dict(results.numbers))
        return f"{started.project}, run {started.id}"


TRACKERS: Final[Mapping[str, Tracker]] = {
    "mlflow": Tracker(
        "mlflow", "MLFLOW_TRACKING_URI", "the address of your server or store", _to_mlflow
    ),
    "wandb": Tracker("wandb", "WANDB_PROJECT", "the name of your project", _to_wandb),
}
