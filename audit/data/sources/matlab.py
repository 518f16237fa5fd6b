"""MATLAB files, as data sets keep lists in them: cells in cells in cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import io

from audit.core.arrays import Integers
from audit.core.errors import InputError, sentence
from audit.core.rows import Row


def read_matlab(path: Path) -> Row:
    """The variables of a .mat file; structures are objects with their fields as attributes.

    Raises:
        InputError: it isn't there or can't be read.
    """
    try:
        found: Row = io.loadmat(path, squeeze_me=True, struct_as_record=False)
    except Exception as error:  # scipy raises anything here
        said = (str(error).splitlines() or [type(error).__name__])[0]
        told = f"{path}: can't be read as a MATLAB file: {said:.120}"
        raise InputError(told, "Get the file again") from error
    return found


def texts(value: npt.ArrayLike) -> list[str]:
    """The words of a cell array, however deep each lies."""
    return [_word(one) for one in np.atleast_1d(value)]


def _word(value: object) -> str:
    while isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    return str(value).strip()


def numbers(value: npt.ArrayLike, where: str) -> Integers:
    """Whole numbers of an array.

    Raises:
        InputError: it holds something else.
    """
    array = np.atleast_1d(value)
    if array.dtype.kind not in "iuf" or (array != np.floor(array)).any():
        raise InputError(sentence(f"{where}: holds {array.dtype}, and whole numbers are expected"))
    return array.astype(np.int64)
