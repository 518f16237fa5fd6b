"""The run directory: its layout, sealing, reading back, and the copy that may be shared.

2026-11-23T101500Z-quick-3f9a1c/
manifest.json    written last; no manifest, no run
suite.yaml       resolved, every default filled in
dataset.json     card, attributes, cell counts, quarantined pictures with reasons
model.json       the encoder's card
questions.json   label sets and templates as they were asked
rates.parquet  disparities.parquet  controls.parquet
calibration.parquet  reliability.parquet  calibration_gaps.parquet
specifications.parquet  sensitivity.parquet  stability.parquet
effects.parquet  thresholds.parquet  measures.parquet
findings.json  findings.sarif  gates.json  junit.xml
figures/  report.md  report.html    rendered from the above, can be made again
private/outcomes/  private/groups.parquet    one row a picture: stays on this machine
private/quarantined.csv    pictures set aside, with path and reason, if there are any
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import pandas as pd
import yaml

from audit.errors import InputError, sentence
from audit.tables import (
    CALIBRATION,
    CALIBRATION_GAPS,
    CONTROLS,
    DISPARITIES,
    EFFECTS,
    MEASURES,
    OUTCOMES,
    RATES,
    RELIABILITY,
    SENSITIVITY,
    SPECIFICATIONS,
    STABILITY,
    THRESHOLDS,
    Schema,
)

SCHEMA: Final = 4
MANIFEST: Final = "manifest.json"
PRIVATE: Final = "private"
#: the tables of a run, each in a Parquet file of its name
TABLES: Final[Mapping[str, Schema]] = {
    "rates": RATES,
    "disparities": DISPARITIES,
    "controls": CONTROLS,
    "calibration": CALIBRATION,
    "reliability": RELIABILITY,
    "calibration_gaps": CALIBRATION_GAPS,
    "specifications": SPECIFICATIONS,
    "sensitivity": SENSITIVITY,
    "stability": STABILITY,
    "effects": EFFECTS,
    "thresholds": THRESHOLDS,
    "measures": MEASURES,
}
#: what a seal covers; the report and figures are renderings and can be made again
_RENDERED: Final = ("figures", "report.md", "report.html")


@dataclass
class Build:
    """A run being built: the folder to write into, facts for its manifest, the sealed place."""

    folder: Path
    facts: dict[str, Any] = field(default_factory=dict)
    sealed: Path | None = None


@contextlib.contextmanager
def building(out: Path, name: str) -> Iterator[Build]:
    """Build a run in a hidden folder; seal and rename it when the block ends well.

    Args:
        out: the folder of all runs; made if needed.
        name: the suite's name, part of the run's.

    Yields:
        The build. If the block raises, its folder is removed; if the process is killed, the next
        run removes it. After the block ``sealed`` is the run.

    Raises:
        InputError: ``out`` can't be written.
    """
    started = datetime.now(UTC)
    try:
        out.mkdir(parents=True, exist_ok=True)
        _sweep(out)
        ignore = out / ".gitignore"
        if not ignore.exists():
            ignore.write_text("# rows about people stay on this machine\n*\n")
        partial = out / f".partial-{os.getpid()}-{started:%H%M%S%f}"
        (partial / PRIVATE / "outcomes").mkdir(parents=True)
        (partial / PRIVATE).chmod(0o700)
    except OSError as error:
        raise unwritable(out, "runs", error, "--out") from error
    try:
        build = Build(partial)
        yield build
        build.sealed = _seal(build, out, name, started)
    except OSError as error:
        raise unwritable(out, "this run", error, "--out") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def unwritable(folder: Path, what: str, error: OSError, option: str) -> InputError:
    """The sentence for a full disk or a folder that can't be written."""
    return InputError(
        sentence(
            f"{folder}: can't write {what} there ({error.strerror or error})",
            f"Free some space or name another folder with {option}",
        )
    )


def _seal(build: Build, out: Path, name: str, started: datetime) -> Path:
    partial = build.folder
    files = {str(p.relative_to(partial)): digest_of(p) for p in sorted(_sealed(partial))}
    for path in (partial / PRIVATE).rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    # the same tables give the same name ending, so that equal runs are seen to be equal
    tables = {f: d for f, d in files.items() if f.endswith(".parquet")}
    identity = hashlib.sha256(json.dumps(tables, sort_keys=True).encode()).hexdigest()
    label = re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:_LONGEST]
    run_name = f"{started:%Y-%m-%dT%H%M%SZ}-{label}-{identity[:6]}"
    manifest = {
        "schema": SCHEMA,
        "run": run_name,
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "tables": identity,
        **build.facts,
        "files": files,
    }
    write_json(partial / MANIFEST, manifest)
    final = out / run_name
    for again in range(2, 1000):
        if not final.exists():
            break
        final = out / f"{run_name}-{again}"
    partial.rename(final)
    return final


def _sealed(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        top = path.relative_to(folder).parts[0]
        if path.is_file() and top not in _RENDERED and path.name != MANIFEST:
            yield path


def _sweep(out: Path) -> None:
    """Remove what killed processes left behind; a living process keeps its folder."""
    for partial in out.glob(".partial-*"):
        pid = partial.name.split("-")[1]
        if not (pid.isdigit() and _alive(int(pid))):
            shutil.rmtree(partial, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def digest_of(path: Path) -> str:
    """The sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, data: object) -> None:
    """Write JSON a person can read, by way of a temporary name."""
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False, default=str) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file by way of a temporary name, so that it is never half there."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)


@dataclass(frozen=True)
class Run:
    """A finished run, read only: what the report, the dashboard and notebooks read."""

    path: Path
    manifest: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The folder's name: when, which suite, which tables."""
        return self.path.name

    @cached_property
    def rates(self) -> pd.DataFrame:
        """The table RATES."""
        return self._table("rates")

    @cached_property
    def disparities(self) -> pd.DataFrame:
        """The table DISPARITIES."""
        return self._table("disparities")

    @cached_property
    def controls(self) -> pd.DataFrame:
        """The table CONTROLS."""
        return self._table("controls")

    @cached_property
    def calibration(self) -> pd.DataFrame:
        """The table CALIBRATION."""
        return self._table("calibration")

    @cached_property
    def reliability(self) -> pd.DataFrame:
        """The table RELIABILITY."""
        return self._table("reliability")

    @cached_property
    def calibration_gaps(self) -> pd.DataFrame:
        """The table CALIBRATION_GAPS."""
        return self._table("calibration_gaps")

    @cached_property
    def specifications(self) -> pd.DataFrame:
        """The table SPECIFICATIONS."""
        return self._table("specifications")

    @cached_property
    def sensitivity(self) -> pd.DataFrame:
        """The table SENSITIVITY."""
        return self._table("sensitivity")

    @cached_property
    def stability(self) -> pd.DataFrame:
        """The table STABILITY."""
        return self._table("stability")

    @cached_property
    def effects(self) -> pd.DataFrame:
        """The table EFFECTS."""
        return self._table("effects")

    @cached_property
    def thresholds(self) -> pd.DataFrame:
        """The table THRESHOLDS."""
        return self._table("thresholds")

    @cached_property
    def measures(self) -> pd.DataFrame:
        """The table MEASURES."""
        return self._table("measures")

    @cached_property
    def findings(self) -> list[dict[str, Any]]:
        """The findings, most important first."""
        return list(self._json("findings.json"))

    @cached_property
    def suite(self) -> dict[str, Any]:
        """The resolved suite."""
        return dict(yaml.safe_load((self.path / "suite.yaml").read_text(encoding="utf-8")))

    @cached_property
    def dataset(self) -> dict[str, Any]:
        """Card, attributes, cell counts and quarantined pictures of the data set."""
        return dict(self._json("dataset.json"))

    @cached_property
    def model(self) -> dict[str, Any]:
        """The encoder's card."""
        return dict(self._json("model.json"))

    @cached_property
    def questions(self) -> list[dict[str, Any]]:
        """What each probe asked: its sentence, label sets and templates."""
        return list(self._json("questions.json"))

    def outcomes(self, task: str) -> pd.DataFrame:
        """One row a picture and condition of one task; private.

        Raises:
            InputError: no such task, or this is a public copy.
        """
        path = self.path / self.outcomes_file(task)
        if not path.is_file():
            raise InputError(
                sentence(
                    f"{self.name}: no outcomes of task '{task}' here",
                    "A public copy leaves row-level data out; ask the original run",
                )
            )
        emits = {q["task"]: q.get("emits", "choices") for q in self.questions}
        return OUTCOMES[emits.get(task, "choices")].read(path)

    def outcomes_file(self, task: str) -> str:
        """Where the rows of a task are, within the run."""
        names = file_names([q["task"] for q in self.questions])
        return f"{PRIVATE}/outcomes/{names.get(task, slug(task))}.parquet"

    def groups(self) -> pd.DataFrame:
        """Cluster and groups of every picture that was asked; private.

        Raises:
            InputError: this is a public copy, or a run of an earlier version.
        """
        path = self.path / PRIVATE / "groups.parquet"
        if not path.is_file():
            raise InputError(
                sentence(
                    f"{self.name}: the groups of its pictures are not here",
                    "A public copy and runs of earlier versions lack them; run its suite again",
                )
            )
        return pd.read_parquet(path)

    def damaged(self) -> list[str]:
        """Sealed files that are missing or changed since the run was sealed."""
        sealed: Mapping[str, str] = self.manifest["files"]
        return [
            name
            for name, digest in sealed.items()
            if not (name.startswith(PRIVATE) and not (self.path / PRIVATE).exists())
            and not ((self.path / name).is_file() and digest_of(self.path / name) == digest)
        ]

    def public_copy(self, to: Path) -> Path:
        """Copy the run without its private part.

        Not for publishing: small groups stay; ``audit.exports.public.write_public`` withholds them.

        Raises:
            InputError: ``to`` exists already.
        """
        if to.exists():
            raise InputError(sentence(f"{to} exists already", "Name a new folder"))
        shutil.copytree(self.path, to, ignore=shutil.ignore_patterns(PRIVATE, ".*"))
        return to

    def _table(self, name: str) -> pd.DataFrame:
        """A table of the run; without rows if it was written before there was such a table.

        Its index is named after it, so that rows know where they stand (``audit.evidence``).
        """
        path, schema = self.path / f"{name}.parquet", TABLES[name]
        old = self.manifest.get("schema", SCHEMA) < SCHEMA and not path.exists()
        table = schema.empty() if old else schema.read(path)
        return table.rename_axis(index=name)

    def _json(self, name: str) -> Any:
        return json.loads((self.path / name).read_text(encoding="utf-8"))


def slug(task: str) -> str:
    """A task's name as a file name; two may have the same (``file_names``)."""
    name = re.sub(r"[^A-Za-z0-9_+-]+", "-", task)
    # file systems take 255 bytes, suffixes and temporary names included
    return name if len(name) <= _LONGEST else f"{name[:_LONGEST]}-{_short(task)}"


def file_names(tasks: Sequence[str]) -> dict[str, str]:
    """A file name for each of these tasks, in their order; no two are the same.

    The first has its slug, a later one with the same slug its digest too. Letters that differ in
    case only are one name on some file systems.
    """
    names: dict[str, str] = {}
    for task in tasks:
        name = slug(task)
        taken = {other.casefold() for other in names.values()}
        names[task] = f"{name}-{_short(task)}" if name.casefold() in taken else name
    return names


_LONGEST: Final = 160


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def open_run(path: Path) -> Run:
    """Open a finished run.

    Raises:
        InputError: there is no run, it isn't finished, or a later version wrote it.
    """
    manifest = path / MANIFEST
    if not manifest.is_file():
        found = runs_in(path)
        raise InputError(
            sentence(
                f"{path} is not a finished run: it has no {MANIFEST}",
                f"It holds {len(found)} runs; name one, for example {found[-1].path}"
                if found
                else "'clip-audit run quick' makes one",
            )
        )
    try:
        facts = _facts(json.loads(manifest.read_text(encoding="utf-8")))
    except (ValueError, RecursionError) as error:
        raise InputError(
            sentence(f"{manifest} is damaged ({error})", "Run its suite again; nothing is lost")
        ) from error
    if facts.get("schema", 0) > SCHEMA:
        raise InputError(
            sentence(
                f"{path}: written in layout {facts['schema']}, this version reads up to {SCHEMA}",
                "Upgrade clip-audit",
            )
        )
    return Run(path, facts)


def _facts(found: Any) -> dict[str, Any]:
    """What a manifest holds, if it has the form of one; else ValueError."""
    files = found.get("files") if isinstance(found, dict) else None
    if not isinstance(files, dict) or not isinstance(found.get("schema", 0), int):
        raise ValueError("its 'files' or 'schema' is missing or of another type")
    for name, digest in files.items():
        within = len(name) < 256 and not Path(name).is_absolute() and ".." not in Path(name).parts
        if not (within and isinstance(digest, str)):
            raise ValueError(f"'{name[:40]}' in 'files' is no file of a run, or has no digest")
    return dict(found)


def runs_in(folder: Path) -> list[Run]:
    """All finished runs in a folder, oldest first; one that can't be opened hides no other."""
    runs = []
    for manifest in sorted(folder.glob(f"*/{MANIFEST}")):
        with contextlib.suppress(InputError):
            runs.append(open_run(manifest.parent))
    return runs
