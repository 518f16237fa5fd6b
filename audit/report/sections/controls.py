"""Analyses whose answer is known, and self-checks of the run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import pandas as pd

from audit.core.digits import percent
from audit.core.evidence import each
from audit.core.page import Markdown
from audit.core.rows import Fields, Record, having
from audit.core.rundir import PRIVATE, Run
from audit.core.tables import ENSEMBLE, EVERYONE
from audit.measure.controls import failed
from audit.probes.kit.cells import at, measured, table


def controls_in_words(run: Run) -> str:
    """What became of the controls, in a few sentences."""
    injected = run.controls["control"] == "injected"
    done = run.controls["comparisons"] > 0
    null, planted = run.controls[done & ~injected], run.controls[done & injected]
    found = int((planted["exceeds_margin"] > 0).sum())
    told = (
        f"{_shuffles_in_words(null, run.suite['confidence']['level'])} An injected gap is "
        f"found to exceed the margin in {found} of {len(planted)} analyses, and the bounds hold "
        f"its true size in {int(planted['covered'].sum())}."
    )
    without = int((injected & ~done).sum())
    return told + (f" In {without} no gap could be injected that would be seen." if without else "")


def controls_in_short(run: Run) -> str:
    """What became of the controls, in a sentence; blank where there are none."""
    done = run.controls[run.controls["comparisons"] > 0]
    planted = having(done, control="injected")
    shuffles = having(done, control="shuffled")[["shuffles", "exceeds_margin"]]
    number, large = int(shuffles["shuffles"].sum()), int(shuffles["exceeds_margin"].sum())
    found = int((planted["exceeds_margin"] > 0).sum())
    told = []
    if number:
        told.append(
            f"with people dealt to groups by lot, a gap exceeded its margin in {large:,} of "
            f"{number:,} trials"
        )
    if len(planted):
        told.append(
            f"gaps of {_range(planted['planted'])} points put into shuffled data were found in "
            f"{found} of {len(planted)}"
        )
        told += _missed(run)
    return f"The analysis was tried out: {'; '.join(told)}." if told else ""


def _missed(run: Run) -> Iterator[str]:
    """How large a gap can be and mostly be missed, from the best attribute to the worst."""
    rows = [
        [v for k, v in row.items() if k.startswith("base ") and v] for row in run.dataset["power"]
    ]
    worst = pd.Series([max(seen) for seen in rows if seen], dtype=float)
    if len(worst):
        yield f"those under {_range(worst)} points, by the attribute, can be missed (section 10)"


def _range(shares: pd.Series[float]) -> str:
    """The least and the largest of some shares, in points."""
    sizes = (f"{100 * end:.0f}" for end in (shares.abs().min(), shares.abs().max()))
    return " to ".join(dict.fromkeys(sizes))


def _shuffles_in_words(null: pd.DataFrame, level: float) -> str:
    """In what share of all shuffles something exceeds the margin, and bounds leave out 0."""
    each_ = null["shuffles"].clip(lower=1)  # runs of earlier versions have one and say 0
    number, missed = int(each_.sum()), int(null["missed"].sum())
    large = int(null["exceeds_margin"].clip(upper=each_).sum())
    chance = f"{100 * (1 - level):g} %"
    if not number:
        return "No analysis could be repeated with shuffled group labels."
    return (
        f"With shuffled group labels something exceeds the margin in {large:,} of {number:,} "
        f"shuffles ({100 * large / number:.1f} %), and some simultaneous bounds leave out 0 in "
        f"{missed:,} "
        f"({100 * missed / number:.1f} %; by chance up to {chance} of either)."
    )


def failed_controls(run: Run) -> list[str]:
    """Controls that did not come out as they should, a sentence each."""
    return [f"{row['task']} by {row['attribute']}: {_failure(row)}" for row in failed(run.controls)]


def _failure(row: Fields) -> str:
    asked_of = f"{row['comparisons']} comparison{'s' if row['comparisons'] != 1 else ''}"
    if row["control"] == "shuffled":
        number = row["shuffles"] or 1
        return (
            f"with shuffled labels something of {asked_of} exceeds the margin in "
            f"{row['exceeds_margin']} of {number} shuffles, and bounds leave out 0 in "
            f"{row['missed']}: chance explains up to {row['allowed']}"
        )
    return f"an injected gap was not found to exceed the margin ({asked_of})"


def controls_table(run: Run) -> Markdown:
    """Shuffled labels and an injected gap, by task and attribute."""
    null, planted = (having(run.controls, control=c) for c in ("shuffled", "injected"))
    shuffled = {(row.task, row.attribute): _shuffled_cells(row) for row in each(null)}
    return table(
        {
            "Task": row.task,
            "By": row.attribute,
            **shuffled.get((row.task, row.attribute), dict.fromkeys(_SHUFFLED, "–")),
        }
        | _injected_cells(row)
        for row in each(planted)
    )


def _shuffled_cells(row: Record) -> dict[str, str]:
    """Of how many shuffles something exceeds the margin, and bounds leave out 0."""
    if not row.comparisons:
        return dict(zip(_SHUFFLED, (f"– {row.reason}", "–"), strict=True))
    if not row.shuffles:  # a run of an earlier version: one shuffle, of which comparisons count
        told = f"{row.exceeds_margin:,} of {row.comparisons:,} comparisons, once"
        return dict(zip(_SHUFFLED, (at(row, told), "–"), strict=True))
    counts = (f"{n:,} of {row.shuffles:,}" for n in (row.exceeds_margin, row.missed))
    return dict(zip(_SHUFFLED, (at(row, next(counts)), next(counts)), strict=True))


_SHUFFLED: Final = ("Shuffled: exceeds margin", "Shuffled: bounds leave out 0")


def _injected_cells(row: Record) -> dict[str, str]:
    names = ("Injected, points", "Found, points [bounds]", "Exceeds margin", "Covered")
    if not row.comparisons:
        return dict(zip(names, (f"none: {row.reason}", "–", "–", "–"), strict=True))
    ends = row.low_simultaneous, row.high_simultaneous
    told = (
        f"{percent(row.planted, *ends)}: ‘{row.label}’ in {row.group}",
        at(row, measured(row.value, *ends)),
        f"{row.exceeds_margin:,} of {row.comparisons:,}",
        "yes" if row.covered else Markdown("**no**"),
    )
    return dict(zip(names, told, strict=True))


def checks(run: Run) -> list[tuple[str, str]]:
    """Self-checks of the run: what was checked and what came of it."""
    damaged, off = run.damaged(), _sums_off(run)
    return [
        (
            "Files are as they were sealed",
            "yes" if not damaged else f"NO, changed or missing: {', '.join(damaged)}",
        ),
        (
            "Groups of every attribute, unknown included, add up to everyone",
            "yes" if not off else f"NO, in {off} places",
        ),
        (
            "Choices between labels that are equally near (the one listed first is taken)",
            _ties(run),
        ),
    ]


def _sums_off(run: Run) -> int:
    """In how many places groups of an attribute don't add up to everyone."""
    question = ["task", "metric", "label"]
    headline = having(run.rates, condition=ENSEMBLE)
    everyone = headline["attribute"] == EVERYONE
    parts = headline[~everyone].groupby([*question, "attribute"])[["n", "events"]].sum()
    whole = headline[everyone].set_index(question)[["n", "events"]]
    joined = parts.join(whole.rename(columns={"n": "n_all", "events": "events_all"}))
    right = (joined["n"] == joined["n_all"]) & (joined["events"] == joined["events_all"])
    return int((~right).sum())


def _ties(run: Run) -> str:
    if not (run.path / PRIVATE).is_dir():
        return "not known: this copy has no rows about single pictures"
    close, asked = np.sum([run.ties(q["task"]) for q in run.questions], axis=0)
    return f"{close:,} of {asked:,} choices"


#: what a template may call; the run is filled in
OFFERS: Final = (
    controls_in_words,
    failed_controls,
    controls_table,
    checks,
)
