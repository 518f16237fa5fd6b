"""What a faster way to embed changes of a run: its choices by group, its rates, its verdicts.

    python benchmarks/effect.py bfloat16     # 'quick' in float32, and in bfloat16
    python benchmarks/effect.py reduced      # enlarged pictures decoded in full, and reduced
    python benchmarks/effect.py RUN OTHER    # any two runs of one suite about the same pictures

It prints how many choices changed, by group for each attribute, the largest change of a rate and of
a gap, and how many verdicts changed. The bundled people are hardly larger than what the model
takes, so that nothing can be reduced: for that they are enlarged four times to 704 x 704, and noise
as of a camera is added, which gives a smaller scale something to lose.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

import audit
from audit.core.resources import bundled

CHOICE = ["task", "condition", "image_id"]
RATE = ["task", "condition", "metric", "label", "attribute", "group"]
GAP = [*RATE, "comparison", "other"]


def choices(run: Path) -> pd.DataFrame:
    """Every choice of a run that all prompts together made."""
    tables = [pd.read_parquet(path) for path in sorted(run.glob("private/outcomes/*.parquet"))]
    made = pd.concat([table for table in tables if "predicted" in table])
    return made[made["condition"] == "ensemble"]


def beside(one: pd.DataFrame, other: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Rows of both with the same keys; those of one only are counted aloud."""
    both = one.merge(other, on=keys, how="outer", validate="one_to_one", indicator=True)
    alone = both["_merge"] != "both"
    if alone.any():  # a largest gap may be that of another pair of groups
        print(f"{int(alone.sum()):,} rows are in one run only")
    return both[~alone]


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
    """The largest change of a value, of all prompts together and of any, and changed verdicts."""
    one, other = (pd.read_parquet(run / f"{table}.parquet") for run in runs)
    both = beside(one, other, keys)
    if "comparison" in both:  # a ratio of small rates moves by any amount
        both = both[~both["comparison"].str.contains("ratio")].copy()
    both["change"] = (both["value_x"] - both["value_y"]).abs()
    for name, rows in {"ensemble": both[both["condition"] == "ensemble"], "all": both}.items():
        largest = rows[rows["change"] == rows["change"].max()].head(1)
        where = ", ".join(largest[["n_x", *keys]].astype(str).to_numpy()[0])
        print(
            f"{table}, {name}: {int((rows['change'] > 0).sum()):,} of {len(rows):,} changed, "
            f"at most by {rows['change'].max():.4f} (n {where})"
        )
        if "verdict_x" in rows:
            moved = rows["verdict_x"] != rows["verdict_y"]
            print(f"verdicts, {name}: {int(moved.sum()):,} of {len(rows):,} changed")


def enlarged(folder: Path) -> Path:
    """The card of the bundled people, four times as large and noisy."""
    shutil.copytree(bundled("datasets") / "people", folder)
    rng = np.random.default_rng(0)
    for path in sorted(folder.glob("audit/*.jpg")):
        with Image.open(path) as image:
            large = np.asarray(image.resize((4 * image.width, 4 * image.height)), dtype=float)
        noisy = np.clip(large + rng.normal(0, 8, large.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(path, quality=90)
    return folder / "card.yaml"


def two_runs(how: str, folder: Path) -> tuple[Path, Path]:
    """Runs of 'quick' embedded as ever, and as ``how`` says."""
    changed = {"bfloat16": {"precision": how}, "reduced": {"decoding": how}}[how]
    suite = audit.load_suite("quick")
    if how == "reduced":
        suite = suite.model_copy(update={"dataset": str(enlarged(folder / "people"))})
    done = [
        audit.run(each, out=folder / "runs", cache=folder / "cache", device="cpu").path
        for each in (suite, suite.model_copy(update=changed))
    ]
    return done[0], done[1]


def main() -> None:
    """Have two runs and print what differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", help="bfloat16, reduced, or two runs")
    given = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as place:
        if len(given) == 1:
            show(two_runs(given[0], Path(place)))
        else:
            show((Path(given[0]), Path(given[1])))


def show(runs: tuple[Path, Path]) -> None:
    """All that differs."""
    show_choices(runs)
    show_table(runs, "rates", RATE)
    show_table(runs, "disparities", GAP)


if __name__ == "__main__":
    main()
