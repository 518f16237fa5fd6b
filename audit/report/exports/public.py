"""The public copy of a run: no row of a picture, no small group, nothing to subtract one from.

``write_public`` makes a folder that opens as a run and can be rendered, compared with nothing, and
published. What is left out keeps its row where there is a place for a word, with the status
``withheld`` and the reason; ``manifest.json`` counts the rest.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import yaml

from audit.core.arrays import Flags
from audit.core.errors import InputError
from audit.core.files import digest_of, unwritable, write_json, write_text
from audit.core.integrity import unedited
from audit.core.rows import Fields, Row
from audit.core.rundir import MANIFEST, PRIVATE, TABLES, Run, open_run, with_seal
from audit.core.schema import COUNT, NUMBER, TEXT, Schema
from audit.core.tables import (
    BETWEEN,
    DEPARTURE,
    EVERYONE,
    NOT_JUDGED,
    REST,
    SPREAD,
    UNKNOWN,
    WITHHELD,
    WORST,
    in_key,
    records,
)
from audit.engine import gates
from audit.engine.consent import withdrawn_since
from audit.measure.findings import REMARKED, TOO_FEW_SUBJECTS, Finding, in_columns
from audit.measure.rates_by_truth import RECALL
from audit.probes.alarms.rows import DETECTED, FALSE_ALARMS
from audit.probes.retrieval.names import RECALL_AT_K
from audit.report import narrative
from audit.report.exports.places import names_in, without_paths
from audit.report.exports.withholding import Cell, Fewest, withheld_of
from audit.store.quarantine import UNEVEN

#: of fewer subjects than this no group is published, however many pictures there are of them
FEWEST_SUBJECTS: Final = 10
#: what a row says, whether its group is small itself or protects one that is
REASON: Final = "so that no small group can be worked out"
#: in the place of the names of groups, where they would say something themselves
NAMELESS: Final = "withheld"
_SIDES: Final = ("group", "other", "group_after", "other_after")
#: numbers that were fixed before the run and tell nothing of a group
_KEPT: Final = frozenset({"level", "level_each", "margin", "threshold", "family_size"})
#: about all groups of an attribute at once: with all but one of them known, that one follows
_OF_ALL: Final = (SPREAD, DEPARTURE)
#: numbers that rest on all groups of an attribute, in rows that are about one or two of them
_RESTS_ON_ALL: Final[Mapping[str, Sequence[str]]] = {
    "rates": ("pooled", "pooled_low", "pooled_high"),
    "disparities": (
        "left_out", "null_mean", "null_high", "pooled_value", "pooled_low", "pooled_high",
        "pooled_low_simultaneous", "pooled_high_simultaneous", "pooled_verdict",
    ),
    "thresholds": ("chi_squared", "p", "q"),
    "measures": ("null_mean", "null_low", "null_high", "excess", "p", "smallest_p"),
}  # fmt: skip
#: rates among pictures of one right answer, of which a group may have few though it is large
_BY_TRUTH: Final = (RECALL, FALSE_ALARMS, DETECTED)
_QUESTION: Final = ["task", "condition", "metric", "label"]
#: probes whose measures count places of a ranking, not people
_DEPTHS: Final = frozenset({"retrieval"})
#: curves over wordings, with shares of variance over all groups of an attribute
_CURVES: Final = frozenset({"specifications", "sensitivity"})
#: tables whose rows have no place for a word: a row about a withheld group is left out
_WORDLESS: Final = frozenset({"specifications", "sensitivity", "stability", "controls"})


def write_public(run: Run, to: Path, subjects: int = FEWEST_SUBJECTS) -> Run:
    """Write the public copy of a run into a new folder; its report is still to be rendered.

    Groups of fewer pictures than the suite's ``min_cell``, or of fewer subjects than ``subjects``,
    are withheld everywhere, with others beside them (``withholding.withheld``). So is every row
    about one of them, every number that rests on all groups of an attribute of which one is
    withheld, and the reliability diagram, whose bins hold single pictures.

    It does not hide what may be guessed from a published rate of 0 % or 100 %, from the widest gap
    between two published groups (the others lie between them), from another publication of the
    same data, or from what the author typed by hand.

    Raises:
        InputError: as ``require_publishable``, or ``to`` exists already or can't be written.
    """
    run = unedited(run)
    require_publishable(run)
    if to.exists():
        raise InputError(f"{to} exists already", "Name a new folder")
    fewest = Fewest(_min_cell(run), subjects, _of_one(run))
    hidden = Hidden.of(run, fewest)
    try:
        to.mkdir(parents=True)
        _write(run, to, hidden)
    except OSError as error:
        shutil.rmtree(to, ignore_errors=True)
        raise unwritable(to, "the public copy", error, "--public") from error
    except BaseException:
        shutil.rmtree(to, ignore_errors=True)
        raise
    return open_run(to)


def require_publishable(run: Run) -> None:
    """Refuse what may not be published, before anything is written.

    Raises:
        InputError: the run is a public copy itself; the author's words still hold what stood in
            their place before they were written.
    """
    if run.public:
        raise InputError(f"{run.path} is a public copy already", "Copy it as it is")
    left = narrative.narrative_of(run).placeholder
    if left:
        told = f"{run.path / narrative.FILE}:{left}: '{narrative.PLACEHOLDER}' still stands there"
        raise InputError(told, "Write the words or delete the lines, then publish")


# ---- which ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hidden:
    """The groups withheld: of the data set, and of each task, which may have more."""

    fewest: Fewest
    groups: frozenset[Cell]
    by_task: Mapping[str, frozenset[Cell]]

    @classmethod
    def of(cls, run: Run, fewest: Fewest) -> Hidden:
        """Which groups of a run are small, anywhere, and which protect them."""
        cells = pd.DataFrame(run.dataset["cells"]).rename(columns={"pictures": "n"})
        everywhere = withheld_of(cells, fewest, frozenset())
        known: dict[Hashable, frozenset[Cell]] = {}
        by_task: dict[str, frozenset[Cell]] = {}
        for task, counted in _counted(run):
            same = tuple(counted[["attribute", "group", "n", "subjects"]].itertuples(index=False))
            if same not in known:
                known[same] = withheld_of(counted, fewest, everywhere)
            by_task[task] = by_task.get(task, everywhere) | known[same]
        return cls(fewest, everywhere, by_task)

    def of_task(self, task: str) -> frozenset[Cell]:
        """The groups withheld in a task."""
        return self.by_task.get(task, self.groups)

    def attributes(self, task: str) -> set[str]:
        """The attributes of which some group is withheld in a task."""
        return {attribute for attribute, _ in self.of_task(task)}


def _counted(run: Run) -> Iterator[tuple[str, pd.DataFrame]]:
    """What each task counted of every group: metric by metric, then what measures add."""
    rates = run.rates[run.rates["attribute"] != EVERYONE]
    for (_, task, _), part in rates.groupby(["probe", "task", "metric"], sort=False):
        yield str(task), _sizes(part)
    by_truth = run.measures[run.measures["metric"].isin(_BY_TRUTH)]
    by_truth = by_truth[by_truth["attribute"] != EVERYONE]
    for (task, *_), part in by_truth.groupby(_QUESTION, sort=False):
        yield str(task), _sizes(part)
    cells = {(c["attribute"], c["group"]) for c in run.dataset["cells"]}
    for table in (run.measures, run.calibration, run.stability):
        known = [cell in cells for cell in zip(table["attribute"], table["group"], strict=True)]
        part = table[np.array(known, bool) & ~table["probe"].isin(_DEPTHS)]
        for task, rows in part.groupby("task", sort=False):
            yield str(task), _sizes(rows)


def _sizes(rows: pd.DataFrame) -> pd.DataFrame:
    """How many of every group were looked at; a row may be about some of them only."""
    some = rows[rows["n"] > 0]
    return some.groupby(["attribute", "group"], sort=False, as_index=False)[["n", "subjects"]].max()


# ---- what becomes of tables --------------------------------------------------------------------


@dataclass(frozen=True)
class Cut:
    """A table as it may be published; ``keys`` of the rows withheld, old to new; how many."""

    table: pd.DataFrame
    keys: Mapping[str, str]
    count: int


def cut(name: str, table: pd.DataFrame, hidden: Hidden) -> Cut:
    """A table of a run without what is withheld."""
    if name == "reliability":
        return Cut(table.iloc[:0], {}, len(table))
    schema, rows = TABLES[name], records(table)
    out = np.array([_tells(row, hidden) for row in rows], dtype=bool)
    touched = np.array([r["attribute"] in hidden.attributes(r["task"]) for r in rows], dtype=bool)
    if name == "measures":
        out |= _about_few(table, hidden.fewest)
    if name in _CURVES:
        out = touched
    if name in _WORDLESS:
        return Cut(table[~out].reset_index(drop=True), {}, int(out.sum()))
    kept = table.copy()
    for column in _RESTS_ON_ALL.get(name, ()):
        kept.loc[touched, column] = "" if schema.columns[column] == TEXT else np.nan
    kept = _blank(kept, out, schema)
    if name == "calibration_gaps":  # which of the two is higher would tell, too
        kept.loc[out, ["group", "other"]] = ""
    keys = _rekeyed(kept, table, out)
    return Cut(schema.conform(kept), keys, int(out.sum()))


def _tells(row: Fields, hidden: Hidden) -> bool:
    """Whether a row is about a withheld group, or about all groups where one is withheld."""
    groups, attribute = hidden.of_task(row["task"]), row["attribute"]
    if any((attribute, row.get(side)) in groups for side in _SIDES):
        return True
    if attribute not in {a for a, _ in groups}:
        return False
    if row.get("comparison") in _OF_ALL:
        return True
    if REST in (row.get("other"), row.get("group")) and (attribute, UNKNOWN) in groups:
        return True  # the rest leaves the unknown out, everyone does not: the two would tell
    # a value of the attribute as a whole, such as the skew of a ranking
    return row.get("group") in ("", EVERYONE) and "comparison" not in row


def _about_few(table: pd.DataFrame, fewest: Fewest) -> Flags:
    """Measures of a group that rest on some few of it, such as those whose choice flipped."""
    sizes = zip(table["n"], table["subjects"], strict=True)
    few = np.array([fewest.near(n, subjects) for n, subjects in sizes], dtype=bool)
    of_all = table["group"].isin(["", EVERYONE])
    places = table["probe"].isin(_DEPTHS) & (table["metric"] != RECALL_AT_K)
    return few & ~(of_all | places).to_numpy()


def _blank(table: pd.DataFrame, out: Flags, schema: Schema) -> pd.DataFrame:
    """The rows ``out`` with nothing left but what was asked, the status and the reason."""
    empty: Row = {NUMBER: np.nan, COUNT: 0}
    for column, dtype in schema.columns.items():
        if dtype in empty and column not in (*_KEPT, *schema.key):
            table.loc[out, column] = empty[dtype]
    for column in ("left_out", "basis"):  # names of small groups, and which of two bounds decides
        if column in table:
            table.loc[out, column] = ""
    table.loc[out, "status"] = WITHHELD
    table.loc[out, "reason"] = REASON
    if "statement" in table:
        table.loc[out & (table["statement"] != ""), "statement"] = (
            f"The value is withheld, {REASON}."
        )
    if "verdict" in table:  # one of a single pair would rank its two groups
        pairs = out & (table.get("comparison", pd.Series("", table.index)) != WORST)
        judged = pairs & (table.get("statement", pd.Series("", table.index)) == "")
        table.loc[judged, "verdict"] = NOT_JUDGED
    return table


def _rekeyed(table: pd.DataFrame, before: pd.DataFrame, out: Flags) -> dict[str, str]:
    """The widest gap's row without the names of its two groups, also in its key."""
    if "key" not in table:
        if "comparison" in table:
            widest = out & (table["comparison"] == WORST)
            for side in _SIDES:
                if side in table:
                    table.loc[widest, side] = NAMELESS
        return {}
    if "comparison" in table:
        widest = out & (table["comparison"] == WORST)
        ends = BETWEEN + table["group"].map(in_key) + BETWEEN + table["other"].map(in_key)
        bare = [k.removesuffix(e) for k, e in zip(table["key"], ends, strict=True)]
        table.loc[widest, "key"] = pd.Series(bare, table.index)[widest] + f" | {NAMELESS}"
        table.loc[widest, ["group", "other"]] = NAMELESS
    return dict(zip(before.loc[out, "key"], table.loc[out, "key"], strict=True))


# ---- the folder --------------------------------------------------------------------------------


def _write(run: Run, to: Path, hidden: Hidden) -> None:
    names = names_in(run)
    keys: dict[str, str] = {}
    counts: dict[str, int] = {}
    for name, schema in TABLES.items():
        if not (run.path / f"{name}.parquet").is_file():
            continue
        done = cut(name, getattr(run, name), hidden)
        schema.write(done.table, to / f"{name}.parquet")
        keys |= done.keys
        counts |= {name: done.count} if done.count else {}
    findings = [_finding(f, keys) for f in run.findings]
    write_json(to / "findings.json", findings)
    _write_gates(run, to, findings, keys)
    write_json(to / "dataset.json", _dataset(run.dataset, hidden, names))
    write_json(to / "model.json", without_paths(run.model, names))
    write_json(to / "questions.json", without_paths(run.questions, names))
    suite = without_paths(run.suite, names)
    write_text(to / "suite.yaml", yaml.safe_dump(suite, sort_keys=False, allow_unicode=True))
    words = run.path / narrative.FILE
    if words.is_file():
        write_text(to / narrative.FILE, _unpinned(words.read_text(encoding="utf-8-sig")))
    _write_manifest(run, to, hidden, counts, names)


def _min_cell(run: Run) -> int:
    """Pictures of the smallest group to be published; earlier runs had one setting for all."""
    confidence = run.suite["confidence"]
    return int(confidence.get("min_cell", confidence["min_group"]))


def _of_one(run: Run) -> int:
    """The most pictures of one subject, or what they can be at most where it isn't known."""
    if (run.path / PRIVATE / "groups.parquet").is_file():
        return int(run.groups()["cluster_id"].value_counts().max())
    return int(run.dataset["pictures"] - run.dataset["subjects"] + 1)


_NAMELESS_FEW: Final = (
    f"{TOO_FEW_SUBJECTS}: some that are withheld; 'within margin' is said of no group that "
    "nobody looked at"
)
_WITHHELD_REMARKS: Final = "remarks on the data are withheld, since they count single values"
_NAMELESS_UNEVEN: Final = f"{UNEVEN}; how many of which groups is not said here"


def _finding(finding: Fields, keys: Mapping[str, str]) -> Row:
    """A finding whose evidence is withheld keeps its verdict, and says no more."""
    if not any(key in keys for key in finding["evidence"]):
        # a group left out of a comparison is small: it is withheld, and not named here
        named = f"{TOO_FEW_SUBJECTS}: "
        return dict(finding) | {
            "caveats": [
                _NAMELESS_FEW
                if c.startswith(named)
                else _NAMELESS_UNEVEN
                if c.startswith(UNEVEN)
                else c
                for c in finding["caveats"]
                if not c.startswith(REMARKED)  # it counts and names groups however small
            ]
        }
    what = "value" if finding.get("unit") else "widest gap"
    asked = in_columns(dict(finding) | {"estimate": None})[1]
    return dict(finding) | {
        "statement": (
            f"Asked {asked}, by {finding['attribute']}: the verdict on the {what} is "
            f"'{finding['verdict']}'; between whom and how far is withheld, {REASON}."
        ),
        "groups": [],
        "estimate": None,
        "low": None,
        "high": None,
        "ratio": None,
        "evidence": [keys.get(key, key) for key in finding["evidence"]],
        # the others count subjects, or tell what could be seen of this pair
        "caveats": [c for c in finding["caveats"] if c.startswith("groups of ")],
        "label_errors": None,
    }


def _write_gates(run: Run, to: Path, findings: Sequence[Fields], keys: Mapping[str, str]) -> None:
    if not (run.path / gates.RESULTS).is_file():
        return
    results = [
        r.model_copy(update={"key": keys[r.key], "sentence": _gate_sentence(r)})
        if r.key in keys
        else r.model_copy(update={"sentence": _without_names(r)})
        for r in gates.read(run)
    ]
    results = [r.model_copy(update={"left_out": ""}) for r in results]
    found = [Finding.model_validate(f) for f in findings]
    version = str(run.manifest["versions"].get("clip-audit", ""))
    # the file of the suite is a path of this machine: the copy points to its own
    origin = gates.Origin(str(run.manifest["suite"]), str(run.manifest["model"]), version)
    gates.write(to, found, results, origin)


def _without_names(result: gates.GateResult) -> str:
    """A gate's sentence that doesn't say which groups are too small."""
    if not result.left_out:
        return result.sentence
    return result.sentence.replace(f": {result.left_out})", ": some that are withheld)")


def _gate_sentence(result: gates.GateResult) -> str:
    did = "Passes" if result.passed else "Fails"
    asked = f"{result.task}, ‘{result.label}’, {result.attribute}"
    return f"{did} '{result.gate}': {asked}: {result.outcome}; how far is withheld, {REASON}."


def _dataset(dataset: Fields, hidden: Hidden, names: frozenset[str]) -> Row:
    """Counts of the groups that are published; what of each attribute rests on all is left out."""
    touched = {attribute for attribute, _ in hidden.groups}
    named: Row = without_paths(dataset, names)
    return (
        named
        | {
            name: [r for r in dataset[name] if (r["attribute"], r["group"]) not in hidden.groups]
            for name in ("cells", "quarantined_by_group")
        }
        | {"power": [row for row in dataset["power"] if row["attribute"] not in touched]}
        | {"remarks": [_WITHHELD_REMARKS] if dataset.get("remarks") else []}
    )


def _write_manifest(
    run: Run, to: Path, hidden: Hidden, counts: Mapping[str, int], names: frozenset[str]
) -> None:
    files = {p.name: digest_of(p) for p in sorted(to.iterdir())}
    more = {
        task: sorted(map(list, groups - hidden.groups))
        for task, groups in hidden.by_task.items()
        if groups - hidden.groups
    }
    told = {
        "fewest_pictures": hidden.fewest.pictures,
        "fewest_subjects": hidden.fewest.subjects,
        "groups": sorted(map(list, hidden.groups)),
        "more_in_tasks": more,
        "rows": dict(counts),
    }
    facts = without_paths(dict(run.manifest), names)
    published = facts | {"public": True, "withheld": told, "files": files}
    published |= {"withdrawn": said} if (said := withdrawn_since(run)) else {}
    write_json(to / MANIFEST, with_seal(published))


def _unpinned(words: str) -> str:
    """The author's words without the numbers that quotes are pinned to."""
    return re.sub(r"\{\{\s*([^\s{}=]+)\s*=[^{}]*\}\}", r"{{ \1 }}", words)


def legible(run: Run) -> Run:
    """A public copy without the rows that count nobody because they are withheld.

    Figures and tables would show them as groups of 0 pictures; ``told`` names them instead.
    """
    if not run.public:
        return run
    view = Run(run.path, run.manifest)
    for name in ("rates", "calibration"):
        table: pd.DataFrame = getattr(run, name)
        view.__dict__[name] = table[table["status"] != WITHHELD]
    return view


def told(run: Run) -> list[str]:
    """What a public copy withholds and why, in sentences; nothing of any other run."""
    facts = run.manifest.get("withheld")
    if not facts:
        return []
    said = [
        "This is a public copy: rows about single pictures are left out, and the reliability "
        "diagram, whose bins can hold a single picture.",
        f"Groups of fewer than {facts['fewest_pictures']} pictures or {facts['fewest_subjects']} "
        "subjects are withheld, and others beside them, so that none can be worked out by "
        "subtracting; it is not said which are which.",
    ]
    if not facts["groups"] and not facts["more_in_tasks"]:
        return [*said, "There was none to withhold."]
    if facts["groups"]:
        said.append(f"Withheld: {_named(facts['groups'])}.")
    for task, groups in facts["more_in_tasks"].items():
        said.append(f"Withheld in {task} besides: {_named(groups)}.")
    rows = ", ".join(f"{n:,} of {name}" for name, n in facts["rows"].items())
    return [
        *said,
        "They are in no table and figure of this report.",
        f"Rows withheld: {rows}; and what rests on all groups of these attributes.",
    ]


def _named(groups: Sequence[Sequence[str]]) -> str:
    """Groups by attribute."""
    table = pd.DataFrame(groups, columns=["attribute", "group"])
    parts = table.groupby("attribute", sort=False)["group"].agg(", ".join)
    return "; ".join(f"{attribute} {names}" for attribute, names in parts.items())


__all__ = ["FEWEST_SUBJECTS", "REASON", "cut", "legible", "told", "write_public"]
