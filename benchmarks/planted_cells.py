"""What was planted against what is found: python benchmarks/planted_cells.py SKEWED_RUN EVEN_RUN.

Prints a Markdown table with a row a cell of planted.yaml: how often the word is chosen in the group
and in everybody else, by both specimens, with simultaneous bounds.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from audit.core.rundir import Run, open_run
from audit.core.tables import ENSEMBLE, REST
from audit.data.people.planted import load_planted

TASKS = {
    "occupation": "people-occupations",
    "invented": "people-nonce",
    "suspicion": "people-suspicion",
}


def planted_cells() -> Iterator[tuple[str, str, str, str]]:
    """(task, word, attribute, group) for every group to which planted.yaml attaches a word."""
    for slot, words in load_planted().slots.items():
        for word, planted in words.words.items():
            if planted.attribute is None:
                continue
            least = planted.elsewhere
            least = min(planted.rates.values()) if least is None else least
            for group, rate in planted.rates.items():
                if rate > least:
                    yield TASKS[slot], word, planted.attribute, group


def against_the_rest(run: Run, task: str, word: str, attribute: str, group: str) -> pd.Series:
    """The comparison of a group with everybody else in choosing a word."""
    rows = run.disparities
    rows = rows[
        (rows["task"] == task)
        & (rows["label"] == word)
        & (rows["attribute"] == attribute)
        & (rows["comparison"] == "difference")
        & (rows["condition"] == ENSEMBLE)
    ]
    if (rows["other"] == REST).any():
        rows = rows[(rows["other"] == REST) & (rows["group"] == group)]
    (found,) = (row for _, row in rows.iterrows())
    return found if found["group"] == group else _turned(found)


def _turned(row: pd.Series) -> pd.Series:
    """Two groups are compared once; the same comparison the other way round."""
    sides = {"events": "events_other", "n": "n_other", "group": "other"}
    swap = sides | {b: a for a, b in sides.items()}
    low, high = -row["high_simultaneous"], -row["low_simultaneous"]
    turned = {a: row[b] for a, b in swap.items()} | {"value": -row["value"]}
    return pd.Series(row.to_dict() | turned | {"low_simultaneous": low, "high_simultaneous": high})


def _cells(row: pd.Series) -> str:
    bounds = f"{100 * row['low_simultaneous']:.0f} to {100 * row['high_simultaneous']:.0f}"
    inside, outside = row["events"] / row["n"], row["events_other"] / row["n_other"]
    return f"{inside:.0%} | {outside:.0%} | {100 * row['value']:.0f} ({bounds}) | {row['verdict']}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("skewed", metavar="SKEWED_RUN", type=Path)
    parser.add_argument("even", metavar="EVEN_RUN", type=Path)
    given = parser.parse_args()
    skewed, even = open_run(given.skewed), open_run(given.even)
    columns = ["word", "group"]
    columns += [
        f"{name} {c}" for name in ("skewed:", "even:") for c in ("in", "rest", "gap", "verdict")
    ]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for cell in planted_cells():
        found = [_cells(against_the_rest(run, *cell)) for run in (skewed, even)]
        print(f"| {cell[1]} | {cell[2]} {cell[3]} | {' | '.join(found)} |")


if __name__ == "__main__":
    main()
