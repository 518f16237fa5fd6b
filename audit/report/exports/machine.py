"""What machines read of a run: model-index, evaluation results, Croissant, selection rates.

Only what is published in a public copy of the run belongs on a hub: export from that. Dates are
the run's, so the same run gives the same bytes.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pandas as pd
import yaml

from audit.core.csvfile import csv_text
from audit.core.dictionary import ROWS, meaning
from audit.core.errors import InputError, sentence
from audit.core.files import digest_of, write_json, write_text
from audit.core.registry import unknown
from audit.core.rows import Fields, Row
from audit.core.rundir import TABLES, Run
from audit.core.schema import COUNT, FLAG, NUMBER, TEXT
from audit.core.tables import (
    ENSEMBLE,
    EVERYONE,
    NOT_ASKED,
    OK,
    UNDEFINED,
    UNKNOWN,
    WITHHELD,
    WITHIN,
    records,
)
from audit.measure.findings import NO_HARM

FOLDER: Final = "exports"
#: categories under this share of all are left out of impact ratios, as Local Law 144 allows; their
#: counts and rates are shown, as it asks
SMALL_SHARE: Final = 0.02
#: the key of a suite that declares labels to be favourable selections, by task
FAVOURABLE: Final = "favourable"

_NOT_STATED: Final = "not stated"
_HUB: Final = "https://huggingface.co/datasets/"
_RAI: Final = "http://mlcommons.org/croissant/RAI/1.0"
_CROISSANT: Final = "http://mlcommons.org/croissant/1.0"
#: the context that the format's specification prints; a reader warns of any other
_CONTEXT: Final = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{
        term: f"cr:{term}"
        for term in (
            "citeAs", "column", "equivalentProperty", "extract", "field", "fileObject",
            "fileProperty", "fileSet", "format", "includes", "isLiveDataset", "jsonPath", "key",
            "md5", "parentField", "path", "recordSet", "references", "regex", "repeated",
            "replace", "samplingRate", "separator", "source", "subField", "transform",
        )
    },
}  # fmt: skip
_TYPES: Final = {TEXT: "sc:Text", NUMBER: "sc:Float", COUNT: "sc:Integer", FLAG: "sc:Boolean"}


# ---- Hugging Face ------------------------------------------------------------------------------


def write_model_index(run: Run, to: Path) -> Path:
    """Write the findings as a ``model-index``, to be put into a model card's YAML head.

    One result a task; ``config`` names it too, since the hub's library takes results of one data
    set and configuration for one. A value is what the finding estimates: a gap in shares (0.12 is
    12 points), or in the unit named; bounds, margin and verdict stand in ``args``.
    """
    dataset = run.dataset
    results = [
        {
            "task": {"type": "zero-shot-image-classification", "name": task},
            "dataset": {
                "name": dataset["name"],
                "type": _hub_id(run) or _slug(dataset["name"]),
                "config": task,
                "split": "audit",
                "revision": dataset["digest"],
            },
            "metrics": [_metric(f, run.sealed_name) for f in findings],
        }
        for task, findings in findings_by_task(run).items()
    ]
    index = {"model-index": [{"name": run.manifest["model"], "results": results}]}
    write_text(to, _yaml(index))
    return to


def _metric(finding: Fields, run_name: str) -> Row:
    asked = " ".join(filter(None, (finding["metric"], finding["label"])))
    return {
        "type": _kind(finding),
        "name": f"{asked} by {finding['attribute']}",
        "value": finding["estimate"],
        "args": {
            "run": run_name,
            "finding": finding["id"],
            "groups": list(finding["groups"]),
            **{key: finding[key] for key in ("low", "high", "margin", "verdict")},
            **({"unit": finding["unit"]} if finding.get("unit") else {}),
        },
    }


def write_eval_results(run: Run, to: Path) -> Path:
    """Write the findings as evaluation results, a file for a hub's folder ``.eval_results``.

    Raises:
        InputError: no finding has a number, or the data set's card names no data set of the hub.
    """
    write_text(to, _yaml(eval_rows(run)))
    return to


def eval_rows(run: Run) -> list[Row]:
    """The rows of ``write_eval_results``.

    Raises:
        InputError: as ``write_eval_results``.
    """
    found, hub_id = findings_by_task(run), _hub_id(run)
    if not hub_id:
        raise InputError(
            f"{run.name}: the card of the data set '{run.dataset['name']}' names no data set "
            "of the Hugging Face hub, and the hub shows results on its own data sets alone",
            f"If it is one, say so in the card before the run: 'url: {_HUB}NAME/NAME'",
        )
    return [
        {
            "dataset": {"id": hub_id, "task_id": finding["id"]},
            "value": finding["estimate"],
            "date": str(run.manifest["finished"])[:10],
            "notes": f"{finding['verdict']}; clip-audit, run {run.sealed_name}",
        }
        for findings in found.values()
        for finding in findings
    ]


def _hub_id(run: Run) -> str:
    """The data set's name on the hub, if its card gives its address there."""
    address = str(run.dataset["card"].get("url") or "")
    named = re.fullmatch(re.escape(_HUB) + r"([\w.-]+/[\w.-]+?)/?", address)
    return named[1] if named else ""


def findings_by_task(run: Run) -> dict[str, list[Row]]:
    """The findings that have a number, by task.

    Raises:
        InputError: there is none.
    """
    found: dict[str, list[Row]] = {}
    for finding in run.findings:
        if finding["estimate"] is not None:
            found.setdefault(finding["task"], []).append(finding)
    if not found:
        told = f"{run.name}: no finding has a number to export"
        raise InputError(told, "Its report says why")
    return found


def _kind(finding: Fields) -> str:
    if finding["verdict"] == "seen":
        return "rate"
    return _slug(finding["metric"]) if finding.get("unit") else "worst_case_gap"


# ---- Croissant ---------------------------------------------------------------------------------


def write_croissant(run: Run, to: Path) -> Path:
    """Write the run's tables as a Croissant data set with what RAI 1.0 asks, as JSON-LD.

    It describes the tables of the run, and by ``isBasedOn`` the pictures they are about.
    """
    asked = f"{run.manifest['model']} on the data set {run.dataset['name']}"
    day = str(run.manifest["finished"])[:10]
    data = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": [_CROISSANT, _RAI],
        "name": _slug(run.sealed_name),
        "description": (
            "Rates of groups and disparities between them, with intervals, from an audit of "
            f"{asked}."
        ),
        "datePublished": day,
        # a run is never changed; the identifier is the digest of its tables
        "version": "1.0.0",
        "identifier": f"sha256:{run.manifest['tables']}",
        "citeAs": f"Audit of {asked}, {day}. clip-audit, run {run.sealed_name}.",
        "creator": {"@type": "sc:Organization", "name": "clip-audit"},
        "isBasedOn": _pictures(run),
        **_rai(run),
        "distribution": [_file(run, name) for name in _present(run)],
        "recordSet": [_record_set(name) for name in _present(run)],
    }
    write_json(to, data)
    return to


def _present(run: Run) -> list[str]:
    return [name for name in TABLES if (run.path / f"{name}.parquet").is_file()]


def _pictures(run: Run) -> Row:
    card = run.dataset["card"]
    facts = {
        "name": run.dataset["name"],
        "version": card.get("version"),
        "url": card.get("url"),
        "description": card.get("provenance"),
    }
    told: Row = {key: _words(value) for key, value in facts.items() if value}
    licence = _words(card.get("licence"))
    if licence:  # an address, or a work that is described
        address = licence.startswith(("https://", "http://"))
        told["license"] = licence if address else {"@type": "CreativeWork", "description": licence}
    return {"@type": "sc:Dataset"} | told


def _rai(run: Run) -> Row:
    """The fields of RAI 1.0; what a card doesn't state is said not to be."""
    card = run.dataset["card"]
    cells = [c for c in run.dataset["cells"] if " x " not in c["attribute"]]
    counts = "; ".join(f"{c['attribute']} {c['group']}: {c['pictures']} pictures" for c in cells)
    sources = "; ".join(
        f"{name}: {attribute['source']}" for name, attribute in run.dataset["attributes"].items()
    )
    forbidden = _words(card.get("forbidden_uses")) or "not stated."
    harms = {f["harm"] for f in run.findings if f["verdict"] != WITHIN} - {NO_HARM}
    return {
        "rai:dataBiases": f"Pictures of each group: {counts}.",
        "rai:dataLimitations": _words(card.get("known_limits")) or _NOT_STATED,
        "rai:personalSensitiveInformation": f"Groups, and whose word they are: {sources}.",
        "rai:dataUseCases": (
            "To assess disparities of the model named. Not for surveillance or recognising faces; "
            f"no certificate. The card of the pictures forbids: {forbidden}"
        ),
        "rai:dataSocialImpact": (
            f"Kinds of harm that findings can be: {', '.join(sorted(harms)) or 'none is named'}."
        ),
        "rai:dataCollection": (
            "The pictures are photographs."
            if card.get("photographs", True)
            else "The pictures are drawn or rendered: no photographs."
        ),
    }


def _file(run: Run, name: str) -> Row:
    path = run.path / f"{name}.parquet"
    return {
        "@type": "cr:FileObject",
        "@id": path.name,
        "name": path.name,
        "contentUrl": path.name,
        "encodingFormat": "application/x-parquet",
        "sha256": digest_of(path),
    }


def _record_set(name: str) -> Row:
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"{name}/{column}",
            "name": column,
            "description": meaning(name, column),
            "dataType": _TYPES[dtype],
            "source": {
                "fileObject": {"@id": f"{name}.parquet"},
                "extract": {"column": column},
            },
        }
        for column, dtype in TABLES[name].columns.items()
    ]
    about = {"@type": "cr:RecordSet", "@id": name, "name": name, "description": ROWS[name]}
    return about | {"field": fields}


# ---- selection rates and impact ratios ---------------------------------------------------------

_COLUMNS: Final = (
    "task", "selection", "attribute", "category", "pictures", "selected", "selection_rate",
    "impact_ratio", "compared_with", "share_of_all", "under_2_percent", "status", "reason",
    "pictures_from", "explanation_of_data", "distribution_date", "date", "run",
)  # fmt: skip


def write_ll144(run: Run, to: Path) -> Path:
    """Write selection rates and impact ratios in the form that New York's Local Law 144 asks for.

    Impact ratio = selection rate / rate of the most selected category (``compared_with``); 0 to 1,
    1 is the most selected, lower is worse. Categories under 2 % of all are left out of that, as
    section 5-301(d) of the rule allows, with their counts and rates shown. What the rule asks for
    and a run lacks is said in its place: the date of distribution, an intersection. It does not
    show whether a difference is more than chance, and these are pictures of a data set, no
    applicants: by itself it is no bias audit under that law.

    Raises:
        InputError: the suite declares no label to be a favourable selection, or one that the run
            has not asked.
    """
    write_text(to, csv_text(pd.DataFrame(selection_rows(run), columns=_COLUMNS)))
    return to


def selection_rows(run: Run) -> list[Row]:
    """The rows of ``write_ll144``.

    Raises:
        InputError: as ``write_ll144``.
    """
    declared = run.suite.get(FAVOURABLE) or {}
    if not declared:
        raise InputError(
            f"{run.name}: its suite declares no label to be a favourable selection, so there "
            "is nothing whose rate would be one of selection",
            f"If being given a label is a benefit, say so in the suite before the run: "
            f"'{FAVOURABLE}: {{task: [label]}}'",
        )
    return [
        row
        for task, labels in declared.items()
        for label in labels
        for row in _selection(run, str(task), str(label))
    ]


def _selection(run: Run, task: str, label: str) -> Iterator[Row]:
    rates = run.rates
    asked = rates[(rates["condition"] == ENSEMBLE) & (rates["metric"] == "selection")]
    where = f"{run.name}: {FAVOURABLE}"
    if task not in set(asked["task"]):
        raise unknown("task of this run", task, set(asked["task"]), where=where)
    here = asked[asked["task"] == task]
    if label not in set(here["label"]):
        raise unknown(f"label of '{task}'", label, set(here["label"]), where=where)
    here = here[here["label"] == label]
    everyone = int(here.loc[here["attribute"] == EVERYONE, "n"].iloc[0])
    same = dict.fromkeys(_COLUMNS, "") | {
        "task": task,
        "selection": label,
        "pictures_from": run.dataset["name"],
        "explanation_of_data": _words(run.dataset["card"].get("provenance")) or _NOT_STATED,
        "distribution_date": "not stated: the day the tool was first used is the employer's to say",
        "date": str(run.manifest["finished"])[:10],
        "run": run.sealed_name,
    }
    for attribute, part in here[here["attribute"] != EVERYONE].groupby("attribute", sort=False):
        for row in _categories(part, everyone):
            yield same | {"attribute": attribute} | row
    if not run.suite.get("intersections"):
        yield same | {
            "attribute": "intersections",
            "status": NOT_ASKED,
            "reason": "the suite declares none, and the rule asks for those of sex and race",
        }


def _categories(part: pd.DataFrame, everyone: int) -> Iterator[Row]:
    """The categories of one attribute, those whose category is not known last, if only as 0."""
    hidden = bool((part["status"] == WITHHELD).any())
    large = part[(part["group"] != UNKNOWN) & (part["n"] >= SMALL_SHARE * everyone)]
    chosen = large[large["value"] > 0].sort_values("value", ascending=False, kind="stable")
    most = None if hidden or chosen.empty else records(chosen)[0]
    for row in records(part):
        gone = row["status"] == WITHHELD
        small = row["n"] < SMALL_SHARE * everyone
        why = _no_ratio(row, hidden, small, most is not None)
        held = most if most is not None and not why else None
        yield {
            "category": row["group"],
            "pictures": "" if gone else row["n"],
            "selected": "" if gone else row["events"],
            "selection_rate": _digits(row["value"]),
            "impact_ratio": _digits(row["value"] / held["value"]) if held else "",
            "compared_with": held["group"] if held else "",
            "share_of_all": "" if gone else _digits(row["n"] / everyone),
            "under_2_percent": "" if gone else "yes" if small else "no",
            "status": row["status"],
            "reason": "; ".join(filter(None, (row["reason"], why))),
        }
    if UNKNOWN not in set(part["group"]) and not hidden:
        nobody = {"pictures": 0, "selected": 0, "share_of_all": _digits(0.0), "status": OK}
        yield {"category": UNKNOWN} | nobody


def _no_ratio(row: Fields, hidden: bool, small: bool, any_chosen: bool) -> str:
    """Why a row has no ratio."""
    if row["group"] == UNKNOWN:
        return "no ratio: of these the category is not known"
    if hidden:
        return "no ratio: the most selected category may be among those withheld"
    if row["status"] == UNDEFINED:
        return "no ratio: there is no rate"
    if small:
        return "no ratio: under 2 % of all, which the rule allows to be left out of it"
    return "" if any_chosen else "no ratio: the label is chosen in no category of 2 % or more"


def _digits(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4f}"


# ---- shared ------------------------------------------------------------------------------------


def _words(value: object) -> str:
    return sentence(*map(str, value)) if isinstance(value, list | tuple) else str(value or "")


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")


def _yaml(data: object) -> str:
    # through JSON, so that numbers of numpy are plain ones
    return yaml.safe_dump(json.loads(json.dumps(data)), sort_keys=False, allow_unicode=True)
