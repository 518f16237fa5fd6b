"""The kinds of export by name, and where each file goes in a run's folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from audit.exports.machine import (
    FOLDER,
    write_croissant,
    write_eval_results,
    write_ll144,
    write_model_index,
)
from audit.exports.pdf import write_pdf
from audit.exports.word import write_docx
from audit.registry import unknown
from audit.rundir import Run

#: what a finished run can be written as, beside Markdown and HTML: where, and by whom
KINDS: Final[Mapping[str, tuple[str, Callable[[Run, Path], Path]]]] = {
    "docx": ("report.docx", write_docx),
    "pdf": ("report.pdf", write_pdf),
    "model-index": (f"{FOLDER}/model-index.yaml", write_model_index),
    "eval-results": (f"{FOLDER}/.eval_results/clip-audit.yaml", write_eval_results),
    # beside the tables it names
    "croissant": ("croissant.json", write_croissant),
    "ll144": (f"{FOLDER}/ll144.csv", write_ll144),
}


def export(run: Run, kinds: Sequence[str]) -> list[Path]:
    """Write a rendered run as these kinds, into its own folder.

    Raises:
        InputError: no such kind, or the run can't be written so: a library is missing, nothing
            was declared.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise unknown("kind of export", kind, KINDS)
    return [_written(run, *KINDS[kind]) for kind in kinds]


def _written(run: Run, name: str, write: Callable[[Run, Path], Path]) -> Path:
    place = run.path / name
    place.parent.mkdir(parents=True, exist_ok=True)
    return write(run, place)
