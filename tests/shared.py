"""What several tests need and takes long to make: by whichever worker needs it first."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

_FOLDERS: list[Path] = []


def share_in(factory: pytest.TempPathFactory) -> None:
    """Keep what is made in a folder that all workers have."""
    base = factory.getbasetemp()
    _FOLDERS[:] = [base.parent if "PYTEST_XDIST_WORKER" in os.environ else base]


def made_once(name: str, make: Callable[[Path], object]) -> Path:
    """A folder that the first worker to need it fills; all others wait for it and share it."""
    (shared,) = _FOLDERS
    folder = shared / name
    finished = shared / f"{name}.finished"
    with FileLock(f"{folder}.lock"):
        if not finished.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            finished.touch()
    return folder
