"""The curves of a training: its loss, and what it was asked on the way."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd


def read_log(path: Path) -> pd.DataFrame:
    """The lines of a log; ``loss`` and ``zero_shot`` by ``step``."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return pd.DataFrame([json.loads(line) for line in lines])


def draw_curves(path: Path) -> None:
    """Draw the log at ``path`` into ``curves.png`` and ``curves.svg`` beside it."""
    from matplotlib.figure import Figure

    log = read_log(path)
    names = {"loss": "loss", "zero_shot": "zero-shot, share right"}
    shown = [name for name in names if name in log and log[name].notna().any()]
    if not shown:
        return
    figure = Figure(figsize=(6.4, 2.6 * len(shown)), layout="constrained")
    axes = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    for axis, name in zip(axes, shown, strict=True):
        known = log.dropna(subset=[name])
        axis.plot(known["step"], known[name], color="#1b4965", marker="o", markersize=2.5, lw=1.2)
        axis.set_ylabel(names[name])
        axis.grid(alpha=0.3)
    axes[-1].set_xlabel("steps")
    for ending in ("png", "svg"):
        figure.savefig(path.with_name(f"curves.{ending}"), dpi=150)
