"""Which runs there are, which one is shown, and what is said where one can't be read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, TypeVar

import pandas as pd
import streamlit as st

from audit import InputError, Run, narrative, open_run, pages
from parts.address import choose, told_apart
from parts.words import csv, plain

T = TypeVar("T")
#: what the pages read; if one of these is damaged, nothing of the run is shown
READ: Final = (
    "suite.yaml", "dataset.json", "model.json", "questions.json", "rates.parquet",
    "disparities.parquet", "findings.json",
)  # fmt: skip
#: pages that read one of these say so themselves where it can't be read
ALSO: Final = tuple(f"{name}.parquet" for name in pages.TABLES if f"{name}.parquet" not in READ)
CHOSEN: Final = "run that is shown"
OTHERS: Final = "all runs that can be opened"


def manifests(folder: Path) -> tuple[dict[Path, Mapping[str, Any]], list[Path]]:
    """Finished runs by path, newest first, with their manifests; and manifests that are damaged."""
    one = folder / pages.MANIFEST
    paths = [one] if one.is_file() else sorted(folder.glob(f"[!.]*/{pages.MANIFEST}"), reverse=True)
    good: dict[Path, Mapping[str, Any]] = {}
    broken = []
    for path in paths:
        try:
            manifest = open_run(path.parent, warn=False).manifest
            _ = manifest["files"].keys()
            good[path.parent] = manifest
        except (InputError, ValueError, AttributeError, OSError, KeyError, TypeError):
            broken.append(path)
    return good, broken


def nothing_yet(folder: Path) -> None:
    """What to do where there is no run."""
    st.title("No run yet")
    st.text(f"There is no finished run in {folder}.")
    st.markdown("`clip-audit run quick` makes one in under a minute; then reload this page.")


def choose_run(found: Mapping[Path, Mapping[str, Any]]) -> Path:
    """The run chosen at the top of every page; typing in the box searches."""
    paths = {path.name: path for path in found}
    called = {path.name: name for path, name in names(found).items()}
    path = choose(
        st, "Run", paths, "run", called.__getitem__, label_visibility="collapsed",
        icon=":material/search:",
    )  # fmt: skip
    with st.sidebar:
        st.text(path.name)
        st.caption(
            "The address of a page is what it shows: copy it to share the view. Pages show "
            "aggregates of a finished run; only Pictures and a fact on Overview, where they are "
            "on, show pictures and what was said of each."
        )
    return path


def names(found: Mapping[Path, Mapping[str, Any]]) -> dict[Path, str]:
    """A name a run: those alike, as of a run and its public copy, tell their folder too."""
    told = told_apart({path.name: readable(path, m) for path, m in found.items()})
    return {path: told[path.name] for path in found}


def readable(path: Path, manifest: Mapping[str, Any]) -> str:
    """A run's name for people: suite, model, data, day and time."""
    try:
        when = f"{datetime.fromisoformat(str(manifest['started'])):%-d %b %Y, %H:%M}"
        return " · ".join(str(manifest[k]) for k in ("suite", "model", "dataset")) + f" · {when}"
    except (KeyError, ValueError):
        return path.name


def stamp(path: Path) -> str:
    """Changes when the manifest or any file does, so that later damage is seen too."""
    known = []
    for file in sorted(path.rglob("[!.]*")):
        if file.name == narrative.FILE:  # the author's words, which are for editing
            continue
        with contextlib.suppress(OSError):  # gone since, as a file that is just being written
            stat = file.stat()
            known.append((str(file), stat.st_mtime_ns, stat.st_size))
    told = sha256(repr(known).encode("utf-8", "surrogatepass")).hexdigest()
    return f"{pages.digest_of(path / pages.MANIFEST)} {told}"


@st.cache_resource(max_entries=8, show_spinner="Reading the run")
def opened(path: str, stamp: str) -> tuple[Run | None, list[str]]:
    """The run with its tables read, and damaged files; no run if the pages need one of those."""
    run = open_run(path, warn=False)
    try:
        damaged = run.damaged()
    except (KeyError, AttributeError):
        return None, [pages.MANIFEST]
    bad = [name for name in damaged if name in READ]
    return (None, bad) if bad else _reading(run, damaged)


def _reading(run: Run, damaged: list[str]) -> tuple[Run | None, list[str]]:
    """Read every table once, to know that it can be read."""
    for name in READ:
        try:
            getattr(run, name.split(".")[0])
        except Exception:  # whatever a reader raises, the page names the file
            return None, [name]
    return run, damaged


def refuse(path: Path, damaged: Sequence[str]) -> None:
    """A damaged run: which files, and what to do."""
    st.title("This run is damaged")
    st.error(
        plain(f"Missing, changed since the run was sealed, or unreadable: {', '.join(damaged)}"),
        icon=":material/warning:",
    )
    st.text(f"in {path}")
    st.markdown(
        "Nothing of it is shown, since its numbers may not be those that were measured. "
        "Restore the files from a copy, or run the suite again: what was encoded is kept, so that "
        "is quick."
    )


@st.cache_data(max_entries=8, ttl=60, show_spinner=False)
def withdrawn(path: str, stamp: str) -> str | None:
    """What is said of a run whose people have withdrawn their consent since; None if nothing."""
    return pages.withdrawn_since(open_run(path, warn=False))


def whole_or_stop(run: Run) -> None:
    """End the page with a sentence if a file of the run was changed, added or removed since."""
    if why := edited(str(run.path), stamp(run.path)):
        st.error(plain(why), icon=":material/warning:")
        st.stop()


@st.cache_data(max_entries=8, show_spinner=False)
def edited(path: str, stamp: str) -> str | None:
    """Why nothing is made of a run that was edited after it was sealed; None if it was not."""
    try:
        pages.unedited(open_run(path, warn=False))
    except InputError as error:
        return str(error)
    return None


def same_for_all(run: Run, make: Callable[..., T], *given: Any) -> T:
    """What a part without choices draws or returns, made once for all readers of the run.

    ``given``: rows of the run's own tables, which are known by their places, and texts. The run is
    known by its manifest, since what is shown agrees with its digests.
    """
    known = tuple(
        (one.index.name, one.index.to_numpy().tobytes()) if isinstance(one, pd.DataFrame) else one
        for one in given
    )
    return _kept(repr(run.manifest), make.__qualname__, known, lambda: make(*given))


@st.cache_data(max_entries=500, show_spinner=False)
def _kept(manifest: str, name: str, given: tuple[object, ...], _make: Callable[[], T]) -> T:
    return _make()


def offer_csv(place: Any, label: str, table: pd.DataFrame, name: str, run: Run) -> None:
    """A button that makes a file of a table when pressed; a sentence if the run was edited."""
    if why := edited(str(run.path), stamp(run.path)):
        place.caption(plain(why))
        return
    name = f"edited-{name}" if run.manifest.get("edited") else name
    place.download_button(label, lambda: csv(table), name, "text/csv", on_click="ignore")


def current() -> Run:
    """The run that is shown, once ``app.py`` has chosen it."""
    if CHOSEN not in st.session_state:
        st.info("Open this page with ‘clip-audit dashboard’.")
        st.stop()
    run: Run = st.session_state[CHOSEN]
    return run


def readable_or_stop(run: Run, *names: str) -> None:
    """End the page with a sentence if one of these tables of the run is damaged."""
    if not readable_or_told(run, *names):
        st.stop()


def readable_or_told(run: Run, *names: str) -> bool:
    """Whether these tables of the run are whole; a sentence stands there if one is not."""
    for name in names:
        if not is_readable(run, name):
            st.error(
                plain(f"{name}.parquet of this run is missing, changed or unreadable."),
                icon=":material/warning:",
            )
            st.markdown("Restore it from a copy, or run the suite again.")
            return False
    return True


def is_readable(run: Run, name: str) -> bool:
    """Whether a table of the run is as it was sealed."""
    file = f"{name}.parquet"
    try:
        sealed = run.manifest["files"].get(file)
        if sealed and pages.digest_of(run.path / file) != sealed:
            return False
        getattr(run, name)
    except Exception:  # whatever a reader raises, the page names the file
        return False
    return True
