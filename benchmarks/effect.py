"""What a faster way to embed changes of a run: its choices by group, its rates, its verdicts.

Run it with ``python benchmarks/effect.py RUN OTHER``: two runs of one suite about the same pictures
that differ in how they were embedded, as by ``precision``. It prints how many choices changed, by
group for each attribute, the largest change of a rate and of a gap, and how many verdicts changed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

CHOICE = ["task", "condition", "image_id"]
RATE = ["task", "condition", "metric", "label", "attribute", "group"]
GAP = [*RATE, "comparison", "other"]


def choices(run: Path) -> pd.DataFrame:
    """Every choice of a run that all prompts together made."""
    tables = [pd.read_parquet(path) for path in sorted(run.glob("private/outcomes/*.parquet"))]
    made = pd.concat([table for table in tables if "predicted" in table])
    return made[made["condition"] == "ensemble"]


def beside(one: pd.DataFrame, other: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Rows of both with the same keys.

    Raises:
        ValueError: a row has no counterpart, or keys come again.
    """
    both = one.merge(other, on=keys, how="outer", validate="one_to_one", indicator=True)
    if (both["_merge"] != "both").any():
        raise ValueError(f"{int((both['_merge'] != 'both').sum())} rows are in one run only")
    return both


def show_choices(runs: tuple[Path, Path]) -> None:
    """How many choices changed, and of which groups."""
    both = beside(choices(runs[0]), choices(runs[1]), CHOICE)
    both["changed"] = both["predicted_x"] != both["predicted_y"]
    changed = both["changed"]
    print(f"choices: {changed.sum():,} of {len(both):,} changed ({changed.mean():.2%})")
    groups = pd.read_parquet(runs[0] / "private" / "groups.parquet")
    for name in groups.columns.drop(["image_id", "cluster_id"]):
        said = both["image_id"].map(groups.set_index("image_id")[name])
        share = changed.groupby(said, observed=True).mean()
        print(f"  {name}: " + ", ".join(f"{group} {value:.2%}" for group, value in share.items()))


def show_table(runs: tuple[Path, Path], table: str, keys: list[str]) -> None:
    """The largest change of a value, and how many verdicts changed if there are any."""
    one, other = (pd.read_parquet(run / f"{table}.parquet") for run in runs)
    both = beside(one, other, keys)
    change = (both["value_x"] - both["value_y"]).abs()
    largest = both[change == change.max()].head(1)
    where = ", ".join(largest[["n_x", *keys]].astype(str).to_numpy()[0])
    print(
        f"{table}: {int((change > 0).sum()):,} of {len(both):,} changed, at most by "
        f"{change.max():.4f} (n {where})"
    )
    if "verdict_x" in both:
        moved = both["verdict_x"] != both["verdict_y"]
        print(f"verdicts: {int(moved.sum()):,} of {len(both):,} changed")
        print(
            both[moved].groupby(["verdict_x", "verdict_y"]).size().to_string()
            if moved.any()
            else ""
        )


def main() -> None:
    """Read two runs and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs=2)
    one, other = parser.parse_args().runs
    runs = (one, other)
    show_choices(runs)
    show_table(runs, "rates", RATE)
    show_table(runs, "disparities", GAP)


if __name__ == "__main__":
    main()
