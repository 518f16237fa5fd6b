"""The kinds of export by name, and where each file goes in a run's folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from audit.core.damage import Damage
from audit.core.errors import AuditError, InputError
from audit.core.files import written_aside
from audit.core.integrity import unedited
from audit.core.registry import unknown
from audit.core.rundir import Run
from audit.report.exports.brief import write_brief
from audit.report.exports.machine import (
    FOLDER,
    eval_rows,
    findings_by_task,
    selection_rows,
    write_croissant,
    write_eval_results,
    write_ll144,
    write_model_index,
)
from audit.report.exports.pdf import write_pdf
from audit.report.exports.sheets import write_csv, write_xlsx
from audit.report.exports.word import require_library, write_docx

#: what a finished run can be written as, beside Markdown and HTML: where, and by whom
KINDS: Final[Mapping[str, tuple[str, Callable[[Run, Path], Path]]]] = {
    "docx": ("report.docx", write_docx),
    "pdf": ("report.pdf", write_pdf),
    "brief": ("brief.pdf", write_brief),
    "model-index": (f"{FOLDER}/model-index.yaml", write_model_index),
    "eval-results": (f"{FOLDER}/.eval_results/clip-audit.yaml", write_eval_results),
    # beside the tables it names
    "croissant": ("croissant.json", write_croissant),
    "ll144": (f"{FOLDER}/ll144.csv", write_ll144),
    "csv": (f"{FOLDER}/rates.csv", write_csv),
    "xlsx": (f"{FOLDER}/tables.xlsx", write_xlsx),
}


#: what else a kind needs of a run, or of this machine
_NEEDS: Final[Mapping[str, Callable[[Run], object]]] = {
    "docx": lambda run: require_library("docx", "a Word document"),
    "pdf": lambda run: require_library("reportlab", "a PDF"),
    "brief": lambda run: require_library("reportlab", "a PDF"),
    "xlsx": lambda run: require_library("openpyxl", "a workbook"),
    "model-index": findings_by_task,
    "eval-results": eval_rows,
    "ll144": selection_rows,
}


def require_exportable(run: Run, kinds: Sequence[str]) -> None:
    """Refuse what can't be written, before anything is rendered or written.

    Raises:
        InputError: no such kind, an edited run, or the run can't be written so: a library is
            missing, nothing was declared.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise unknown("kind of export", kind, KINDS)
    if kinds:
        unedited(run)
    for kind in kinds:
        if kind in _NEEDS:
            _NEEDS[kind](run)


def export(run: Run, kinds: Sequence[str]) -> list[Path]:
    """Write a rendered run as these kinds, into its own folder.

    Raises:
        InputError: no such kind, or the run can't be written so: a library is missing, nothing
            was declared.
        AuditError: a kind failed for another reason. Every other kind is written before.
    """
    made = dict(attempted(run, kinds))
    refused = [result for result in made.values() if isinstance(result, AuditError)]
    if refused:
        raise refused[0]
    return [result for result in made.values() if isinstance(result, Path)]


def attempted(run: Run, kinds: Sequence[str]) -> Iterator[tuple[str, Path | AuditError]]:
    """Write a rendered run as each of these kinds; what can't be written gives its reason.

    Raises:
        InputError: as ``require_exportable``; nothing is written.
    """
    require_exportable(run, kinds)
    return ((kind, _attempted(run, kind)) for kind in kinds)


def _attempted(run: Run, kind: str) -> Path | AuditError:
    name, write = KINDS[kind]
    place = run.path / name
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with written_aside(place) as aside:
            write(run, aside)
        return place
    except AuditError as error:
        return error
    except OSError as error:
        told = f"{place} can't be written ({error.strerror or error})"
        return InputError(told, "Free some space, or export from a copy of the run")
    except Exception as error:
        return failed(run, kind, error)


def failed(run: Run, kind: str, error: Exception) -> AuditError:
    """The sentence for a kind that failed for no reason that was foreseen."""
    quoted = not run.public
    return AuditError(str(Damage.of(f"The export '{kind}'", error, quoted)))
