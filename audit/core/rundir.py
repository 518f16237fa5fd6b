"""The run directory: its layout, sealing, reading back, and a copy without its private part.

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
renderings.json    digests of these three
private/outcomes/  private/groups.parquet    one row a picture: stays on this machine
private/quarantined.csv    pictures set aside, with path and reason, if there are any
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

import pandas as pd
import yaml

from audit.core.earlier import in_words_of_now
from audit.core.errors import InputError
from audit.core.files import digest_of, unwritable, write_json, write_text
from audit.core.names import file_names, slug
from audit.core.rows import Fields, Row
from audit.core.schema import Schema
from audit.core.tables import (
    CALIBRATION,
    CALIBRATION_GAPS,
    CONTROLS,
    DISPARITIES,
    EFFECTS,
    ENSEMBLE,
    MEASURES,
    OUTCOMES,
    RATES,
    RELIABILITY,
    SENSITIVITY,
    SPECIFICATIONS,
    STABILITY,
    THRESHOLDS,
    UNKNOWN,
)

SCHEMA: Final = 6
#: the layouts since which a run has every table, a seal, and verdicts in the words of now
COMPLETE, SEALED, REWORDED = 4, 5, 6
MANIFEST: Final = "manifest.json"
PRIVATE: Final = "private"
#: the key of a manifest under which the digest of all its other keys stands
SEAL: Final = "seal"
#: follows the name of a run that was edited after it was sealed, wherever its name stands
EDITED: Final = " (edited)"
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
    facts: Row = field(default_factory=dict)
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
            write_text(ignore, "# rows about people stay on this machine\n*\n")
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


def _seal(build: Build, out: Path, name: str, started: datetime) -> Path:
    partial = build.folder
    files = {str(p.relative_to(partial)): digest_of(p) for p in sorted(_sealed(partial))}
    for path in (partial / PRIVATE).rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    tables = {f: d for f, d in files.items() if f.endswith(".parquet")}
    identity = hashlib.sha256(json.dumps(tables, sort_keys=True).encode()).hexdigest()
    run_name = f"{started:%Y-%m-%dT%H%M%SZ}-{slug(name)}-{_asked(build.facts, identity)[:6]}"
    manifest = {
        "schema": SCHEMA,
        "run": run_name,
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "tables": identity,
        **build.facts,
        "files": files,
    }
    write_json(partial / MANIFEST, with_seal(manifest))
    for again in itertools.count(1):
        final = out / (run_name if again == 1 else f"{run_name}-{again}")
        if not final.exists():
            break
    partial.rename(final)
    return final


def _asked(facts: Fields, tables: str) -> str:
    """The digest that a run's name ends in: of the plan, the pictures and the model.

    Not of its tables: their last bits may differ with the number of threads, and the same plan put
    to the same model about the same pictures has the same name ending. ``tables``, their digest, is
    for a build that tells none of these.
    """
    asked = [facts.get(name) for name in ("plan_digest", "dataset_digest", "fingerprint")]
    if None in asked:
        return tables
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def with_seal(manifest: Fields) -> Row:
    """A manifest with the digest of all else in it, so that a change of it is seen too."""
    facts = {name: value for name, value in manifest.items() if name != SEAL}
    # as it is read again: what JSON has no word for is text there
    text = json.dumps(json.loads(json.dumps(facts, default=str)), sort_keys=True)
    return facts | {SEAL: hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()}


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


def _held(name: str) -> cached_property[pd.DataFrame]:
    """A table of a run as a property of it."""

    def read(run: Run) -> pd.DataFrame:
        return run.table(name)

    return cached_property(read)


class Frames(NamedTuple):
    """What ``fairlearn.metrics`` compares: right answers, answers, and groups by picture."""

    y_true: pd.Series[str]
    y_pred: pd.Series[str]
    sensitive_features: pd.DataFrame


@dataclass(frozen=True)
class Run:
    """A finished run, read only: what the report, the dashboard and notebooks read."""

    path: Path
    manifest: Fields

    @property
    def name(self) -> str:
        """The folder's name: when, which suite, and what was asked of whom; marked if edited."""
        return self._marked(self.path.name)

    @property
    def sealed_name(self) -> str:
        """The name under which it was sealed, whatever its folder is called; marked if edited."""
        return self._marked(str(self.manifest["run"]))

    def _marked(self, name: str) -> str:
        return name + EDITED if self.manifest.get("edited") else name

    #: its tables, each read when it is first asked for
    rates = _held("rates")
    disparities = _held("disparities")
    controls = _held("controls")
    calibration = _held("calibration")
    reliability = _held("reliability")
    calibration_gaps = _held("calibration_gaps")
    specifications = _held("specifications")
    sensitivity = _held("sensitivity")
    stability = _held("stability")
    effects = _held("effects")
    thresholds = _held("thresholds")
    measures = _held("measures")

    @cached_property
    def findings(self) -> list[Row]:
        """The findings, most important first."""
        return list(self.in_words_of_now(self._json("findings.json")))

    @cached_property
    def suite(self) -> Row:
        """The resolved suite."""
        text = (self.path / "suite.yaml").read_text(encoding="utf-8")
        return dict(self.in_words_of_now(yaml.safe_load(text)))

    @cached_property
    def dataset(self) -> Row:
        """Card, attributes, cell counts and quarantined pictures of the data set."""
        return dict(self._json("dataset.json"))

    @cached_property
    def model(self) -> Row:
        """The encoder's card."""
        return dict(self._json("model.json"))

    @cached_property
    def questions(self) -> list[Row]:
        """What each probe asked: its sentence, label sets and templates."""
        return list(self._json("questions.json"))

    def outcomes(self, task: str) -> pd.DataFrame:
        """One row a picture and condition of one task; private.

        Raises:
            InputError: no such task, or a copy without the private part.
        """
        return OUTCOMES[self._emits(task)].read(self._rows_of(task))

    def ties(self, task: str) -> tuple[int, int]:
        """In how many of a task's choices two labels are equally near, and of how many; private.

        0 of 0 where no label is chosen. Rows are read a part at a time, for there may be many.

        Raises:
            InputError: as ``outcomes``.
        """
        import pyarrow.parquet as pq

        file = pq.ParquetFile(self._rows_of(task))
        if self._emits(task) != "choices":
            return 0, 0
        kept = ["tie"] if "tie" in file.schema_arrow.names else []
        parts = file.iter_batches(columns=kept) if kept else ()
        tied = sum(int(part.column(0).to_numpy(zero_copy_only=False).sum()) for part in parts)
        return tied, file.metadata.num_rows

    def _emits(self, task: str) -> str:
        emits: dict[str, str] = {q["task"]: q.get("emits", "choices") for q in self.questions}
        return emits.get(task, "choices")

    def _rows_of(self, task: str) -> Path:
        path = self.path / self.outcomes_file(task)
        if not path.is_file():
            raise InputError(
                f"{self.name}: no outcomes of task '{task}' here",
                f"A copy without '{PRIVATE}/' or a public copy has none; ask the original run",
            )
        return path

    def to_fairlearn(self, task: str, condition: str = ENSEMBLE) -> Frames:
        """Right answers, answers and groups of each picture, as ``fairlearn.metrics`` takes them.

        ``MetricFrame(metrics=accuracy_score, **run.to_fairlearn("people-gender")._asdict())``.
        Where a right answer is known for some pictures only, the others are left out; where for
        none, ``y_true`` is empty values, and only metrics of ``y_pred`` alone can be asked. Its
        bootstrap draws pictures, not subjects: where subjects repeat its intervals are too narrow.

        Args:
            task: a task that chose a label for each picture.
            condition: the wording.

        Returns:
            Texts, by ``image_id``, and a column a grouping; 'unknown' where a group isn't known.

        Raises:
            InputError: as ``outcomes``; no such condition, or a task that chose no labels.
        """
        table = self.outcomes(task)
        if not {"predicted", "truth"} <= {*table.columns}:
            told = f"{self.name}: task '{task}' chose no label for a picture"
            raise InputError(told, "Name a task of a classification")
        rows = table[table["condition"] == condition].set_index("image_id")
        if rows.empty:
            known = ", ".join(f"'{c}'" for c in dict.fromkeys(table["condition"]))
            told = f"{self.name}: task '{task}' was not asked in the condition '{condition}'"
            raise InputError(told, f"It has {known}")
        if rows["truth"].notna().any():
            rows = rows[rows["truth"].notna()]
        groups = self.groups().set_index("image_id").drop(columns="cluster_id").loc[rows.index]
        known_groups = groups.astype(object).where(groups.notna(), UNKNOWN)
        return Frames(rows["truth"], rows["predicted"], known_groups)

    def outcomes_file(self, task: str) -> str:
        """Where the rows of a task are, within the run."""
        names = file_names([q["task"] for q in self.questions])
        return f"{PRIVATE}/outcomes/{names.get(task, slug(task))}.parquet"

    def groups(self) -> pd.DataFrame:
        """Cluster and groups of every picture that was asked; private.

        Raises:
            InputError: a copy without the private part, or a run of an earlier version.
        """
        path = self.path / PRIVATE / "groups.parquet"
        if not path.is_file():
            raise InputError(
                f"{self.name}: the groups of its pictures are not here",
                f"Copies without '{PRIVATE}/', public copies and runs of earlier versions lack "
                "them; run its suite again",
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

    @property
    def public(self) -> bool:
        """Whether it is a public copy, which ``audit.report.exports.public`` alone writes."""
        return bool(self.manifest.get("public"))

    def copy_without_private(self, to: Path) -> Path:
        """Copy the run without its private part; small groups stay, so it is not for publishing.

        Raises:
            InputError: ``to`` exists already.
        """
        if to.exists():
            raise InputError(f"{to} exists already", "Name a new folder")
        shutil.copytree(self.path, to, ignore=shutil.ignore_patterns(PRIVATE, ".*"))
        return to

    def in_words_of_now(self, found: Any) -> Any:
        """What a file of this run holds, its verdicts in the words of now; the file stays."""
        return in_words_of_now(found) if self.manifest.get("schema", SCHEMA) < REWORDED else found

    def table(self, name: str) -> pd.DataFrame:
        """A table of the run; without rows if it was written before there was such a table.

        Its index is named after it, so that rows know where they stand (``audit.core.evidence``).
        """
        path, schema = self.path / f"{name}.parquet", TABLES[name]
        old = self.manifest.get("schema", SCHEMA) < COMPLETE and not path.exists()
        try:
            table = schema.empty() if old else schema.read(path, self.in_words_of_now)
        except Exception as error:  # whatever a reader of Parquet raises
            raise self._unreadable(path.name, error) from error
        return table.rename_axis(index=name)

    def _json(self, name: str) -> Any:
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise self._unreadable(name, error) from error

    def _unreadable(self, name: str, error: Exception) -> InputError:
        told = f"{self.path / name} can't be read ({type(error).__name__})"
        return InputError(told, "Restore it from a copy, or run the suite again")


def open_run(path: Path) -> Run:
    """Open a finished run.

    Raises:
        InputError: there is no run, it isn't finished, or a later version wrote it.
    """
    manifest = path / MANIFEST
    if not manifest.is_file():
        found = runs_in(path)
        raise InputError(
            f"{path} is not a finished run: it has no {MANIFEST}",
            f"It holds {len(found)} runs; name one, for example {found[-1].path}"
            if found
            else "'clip-audit run quick' makes one",
        )
    try:
        facts = _facts(json.loads(manifest.read_text(encoding="utf-8")))
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{manifest} is damaged ({error})", "Run its suite again; nothing is lost"
        ) from error
    if facts.get("schema", 0) > SCHEMA:
        told = f"{path}: written in layout {facts['schema']}, this version reads up to {SCHEMA}"
        raise InputError(told, "Upgrade clip-audit")
    return Run(path, facts)


def _facts(found: object) -> Row:
    """What a manifest holds, if it has the form of one; else ValueError."""
    files = found.get("files") if isinstance(found, dict) else None
    if not (isinstance(found, dict) and isinstance(files, dict)) or not isinstance(
        found.get("schema", 0), int
    ):
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
