"""Whether a finished run used pictures of people who have withdrawn their consent since."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from audit.core.errors import InputError, sentence
from audit.core.rundir import Run
from audit.data.dataset import Dataset, load, withdrawn_of
from audit.data.withdrawn import named_by, read

#: what is to be done about such a run
ADVICE: Final = (
    "Run its suite again, which leaves them out, delete what is stored of them with 'clip-audit "
    "purge --withdrawn SUITE', and delete this run and what was made of it"
)


def withdrawn_since(run: Run) -> str | None:
    """One sentence if a run used such pictures, and what to do; None if it did not.

    The list is the data set's as it is now. None too where that can't be known: the data set is
    elsewhere by now, or this is a public copy, which has no rows of pictures and says what its
    original knew.
    """
    if run.public:
        known: str | None = run.manifest.get("withdrawn")
        return known
    try:
        listed = withdrawn_of(run.suite["dataset"])
        used = _used(run, read(listed)) if listed else ""
    except (InputError, OSError, KeyError, TypeError, ValueError):
        return None
    told = f"{run.name} {used} pictures of people who have withdrawn their consent since"
    return sentence(told, ADVICE) if used else None


def require_same_pictures(run: Run, dataset: Dataset) -> None:
    """The pictures and their groups must be those of the run.

    Raises:
        InputError: somebody has withdrawn consent since, or the data set was changed otherwise.
    """
    if told := withdrawn_since(run):
        raise InputError(told)
    if dataset.digest != run.manifest.get("dataset_digest"):
        told = f"{run.name}: the data set '{dataset.name}' has changed since this run"
        advice = "Run the suite again; what was encoded is kept, so that is quick"
        raise InputError(told, advice)


def _used(run: Run, entries: Sequence[str]) -> str:
    """Whether a run used, or may have used, pictures that a list names; blank if it did not.

    Raises:
        InputError: the data set can't be read.
    """
    try:
        table = run.groups()
    except InputError:  # a copy without rows of pictures, or a run of an earlier version
        data = load(run.suite["dataset"])
        left_out = data.withdrawn is not None and data.withdrawn.image_ids
        other = data.digest != run.manifest.get("dataset_digest")
        return "may have used" if left_out and other else ""
    pictures, subjects = table["image_id"].astype(str), table["cluster_id"].astype(str)
    if named_by(entries, pictures) or named_by(entries, subjects):
        return "used"
    gone = load(run.suite["dataset"]).withdrawn
    return "used" if pictures.isin(gone.image_ids if gone else ()).any() else ""
