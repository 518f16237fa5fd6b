"""Render the pictures of a split that are not there yet.

``python -m audit.data.people.build --split train --out FOLDER`` does it from a shell. The result
does not depend on the number of processes or on what was rendered before.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audit.core.errors import InputError
from audit.core.files import written_aside
from audit.core.registry import unknown
from audit.core.rows import Row
from audit.data.people import assets, engine, parameters

QUALITY = 91
SPLITS = ("audit", "counterfactual", "train")
Progress = Callable[[int, int], None]


@dataclass
class Built:
    """What a build did: pictures made now, pictures that were there, pictures refused and why."""

    rendered: int = 0
    present: int = 0
    quarantined: dict[str, str] = field(default_factory=dict)


def build(
    split: str,
    out: Path,
    rows: slice | None = None,
    processes: int | None = None,
    limit: int | None = None,
    seconds: float | None = None,
    progress: Progress | None = None,
) -> Built:
    """Render missing pictures of a split into ``out``/<path of the row>.

    ``rows`` picks a range of the split, ``limit`` caps how many are rendered, ``seconds`` stops
    handing out work after that time. A picture that comes out black or flat is not written; it is
    listed in the result and in ``out``/quarantine-<split>.csv.
    """
    if split not in SPLITS:
        raise unknown("split", split, SPLITS, where="people")
    chosen = parameters.rows_of(split)[rows or slice(None)]
    missing = [row for row in chosen if not (out / row["path"]).exists()]
    result = Built(present=len(chosen) - len(missing))
    missing = missing[:limit]
    if missing:
        engine.require_extra()
        assets.load_pack()
        engine.choose_variant()
        (out / split).mkdir(parents=True, exist_ok=True)
        _render_all(missing, out, processes or os.cpu_count() or 1, seconds, progress, result)
        _write_quarantine(out / f"quarantine-{split}.csv", result.quarantined)
    return result


def _render_all(
    rows: list[Row], out: Path, processes: int, seconds: float | None,
    progress: Progress | None, result: Built,
) -> None:  # fmt: skip
    """Keep every process busy with a few rows at a time until all are done or time is up."""
    deadline = time.monotonic() + seconds if seconds else float("inf")
    waiting = iter(rows)
    with ProcessPoolExecutor(
        processes, mp_context=get_context("spawn"), initializer=_start
    ) as pool:
        running: set[Future[tuple[str, str | None]]] = set()
        while True:
            if time.monotonic() < deadline:
                free = 3 * processes - len(running)
                running |= {pool.submit(_render, row, out) for row in islice(waiting, free)}
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for path, reason in _results(done):
                _count(result, path, reason)
            if progress:
                progress(result.rendered + len(result.quarantined), len(rows))


def _results(done: set[Future[tuple[str, str | None]]]) -> Iterator[tuple[str, str | None]]:
    try:
        yield from (future.result() for future in done)
    except BrokenProcessPool as problem:
        raise InputError(
            "rendering people: a rendering process died. Its compiler may not fit this machine; "
            f"try again with {engine.VARIANT_VARIABLE}={engine.SLOW}. What is done is kept."
        ) from problem


def _count(result: Built, path: str, reason: str | None) -> None:
    if reason is None:
        result.rendered += 1
    else:
        result.quarantined[path] = reason


def _start() -> None:
    engine.load(threads=1)  # more threads add up light in another order: other last bits


def _render(row: Row, out: Path) -> tuple[str, str | None]:
    """Render one row to its file; the reason why not, if it was refused."""
    from audit.data.people import scene

    image = scene.render(row, scene.SETTINGS[row["split"]])
    reason = flaw(image)
    if reason is None:
        save(image, out / row["path"])
    return row["path"], reason


def flaw(image: NDArray[np.uint8]) -> str | None:
    """Why a rendered picture cannot be used: a light in front of the camera, nothing in view."""
    if image.mean() <= 8:
        return f"black render: mean brightness {image.mean():.1f} of 255, expected above 8"
    if image.std() <= 5:
        return f"flat render: standard deviation {image.std():.1f} of 255, expected above 5"
    return None


def save(image: NDArray[np.uint8], path: Path) -> None:
    """Write a JPEG that is there whole or not at all."""
    from PIL import Image

    with written_aside(path) as aside:
        Image.fromarray(image).save(aside, format="JPEG", quality=QUALITY)


def _write_quarantine(path: Path, refused: dict[str, str]) -> None:
    if refused:
        lines = ["path,reason", *(f'{name},"{reason}"' for name, reason in refused.items())]
        path.write_text("\n".join(lines) + "\n")


def _printer(every: float = 5.0) -> Progress:
    start = last = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > every or done == total:
            last = now
            print(f"{done}/{total} pictures, {done / (now - start):.2f} a second", flush=True)

    return show


def main(arguments: list[str] | None = None) -> int:
    """Command line of this module; 3 when a picture was refused, else 0."""
    parser = argparse.ArgumentParser(description="render missing pictures of a split")
    parser.add_argument("--split", choices=SPLITS, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder that holds the splits")
    parser.add_argument("--start", type=int, help="first row of the split (default: 0)")
    parser.add_argument("--stop", type=int, help="row to stop before (default: the end)")
    parser.add_argument("--processes", type=int, help="default: one a core")
    parser.add_argument("--limit", type=int, help="render at most this many")
    parser.add_argument("--seconds", type=float, help="hand out no more work after this time")
    given = parser.parse_args(arguments)
    try:
        built = build(
            given.split, given.out, slice(given.start, given.stop), given.processes,
            given.limit, given.seconds, _printer(),
        )  # fmt: skip
    except InputError as problem:
        print(problem, file=sys.stderr)
        return problem.exit_code
    print(f"{built.rendered} rendered, {built.present} were there")
    for path, reason in built.quarantined.items():
        print(f"{path}: not written: {reason}")
    return 3 if built.quarantined else 0


if __name__ == "__main__":
    sys.exit(main())
