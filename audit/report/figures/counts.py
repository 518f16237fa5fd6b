"""How many pictures there are of each group."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from audit.core.errors import InputError, sentence
from audit.core.evidence import each
from audit.core.rundir import Run
from audit.core.tables import UNKNOWN
from audit.probes.kit.looks import BLUE, ORANGE, blank, drawn_from, legend, styled, title
from audit.report.figures.chosen import rows_where, shortened


def group_counts(run: Run, attributes: Sequence[str] | None = None) -> Figure:
    """Pictures in every group of each attribute; by default all that are no intersection.

    Raises:
        InputError: no such attribute, or the run shows the size of no group.
    """
    cells = cells_in_order(run)
    names = list(dict.fromkeys(cells["attribute"]))
    chosen = list(attributes or [a for a in names if " x " not in a])
    if not chosen:
        raise InputError(sentence(f"{run.name}: the size of no group is shown"))
    for name in chosen:
        rows_where(cells, "attribute", name)
    smallest = int(run.suite["confidence"]["min_group"])
    parts = [cells[cells["attribute"] == name] for name in chosen]
    with styled():
        figure = blank(0.9 + sum(0.45 + 0.25 * len(part) for part in parts))
        ratios = [len(part) + 1 for part in parts]
        axes = figure.subplots(
            len(parts), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": ratios}
        )[:, 0]
        for axis, name, part in zip(axes, chosen, parts, strict=True):
            _draw_counts(axis, part, smallest)
            axis.set_title(shortened(name), loc="left", weight="bold")
        axes[-1].set_xlabel("pictures")
        name = run.dataset["name"]
        title(figure, f"How many pictures of each group the data set ‘{name}’ holds")
        line = Patch(
            facecolor="white",
            edgecolor=ORANGE,
            label=f"fewer than {smallest} subjects: not compared",
        )
        legend(figure, [line])
    drawn_from(figure, *parts)
    return figure


def cells_in_order(run: Run) -> pd.DataFrame:
    """Pictures and subjects of every group, groups in the order of the rates, unknown last."""
    counted = ["attribute", "group", "pictures", "subjects"]
    cells = pd.DataFrame(run.dataset["cells"], columns=counted)  # a public copy may show none
    asked = run.rates[["attribute", "group"]].drop_duplicates().reset_index(drop=True)
    place = {(r.attribute, r.group): i for i, r in enumerate(each(asked))}
    order = [place.get((r.attribute, r.group), len(place)) for r in each(cells)]
    return cells.iloc[np.argsort(order, kind="stable")].reset_index(drop=True)


def _draw_counts(axis: Axes, part: pd.DataFrame, smallest: int) -> None:
    unknown = (part["group"] == UNKNOWN).to_numpy()
    bars = axis.barh(range(len(part)), part["pictures"], color=BLUE, height=0.72)
    few = (part["subjects"] < smallest).to_numpy()
    for bar, is_unknown, is_few in zip(bars, unknown, few, strict=True):
        hollow = is_unknown or is_few
        bar.set(facecolor="white" if hollow else BLUE, edgecolor=ORANGE if is_few else BLUE)
        bar.set_hatch("////" if is_unknown else "")
    axis.bar_label(bars, [f" {n:,}" for n in part["pictures"]], size=9)
    axis.set_yticks(range(len(part)), [shortened(g) for g in part["group"]])
    axis.set_ylim(len(part) - 0.4, -0.6)
    axis.margins(x=0.08)
