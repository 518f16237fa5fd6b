"""Whether a run is as it was sealed and rendered; one that was edited is refused, or marked.

The manifest holds a digest of every sealed file and of itself. Renderings are made after it, and
again after every change of the author's words: ``renderings.json`` holds their digests. The words
themselves, ``narrative.yaml``, are for editing, and so are documents and other exports.

Digests find what was changed by mistake, or by hand. They prove nothing against somebody who makes
all of them again: for that, keep the manifest's digest elsewhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from audit.core.errors import InputError
from audit.core.files import digest_of, write_bytes, write_json
from audit.core.rows import Row
from audit.core.rundir import MANIFEST, SEAL, SEALED, Run, with_seal

RENDERINGS: Final = "renderings.json"
#: the folder of figures, and the report: rendered from a sealed run
FIGURES: Final = "figures"
_REPORT: Final = ("report.md", "report.html")
#: what lies beside sealed files and renderings by right: the author's words, and exports
_BESIDE: Final = frozenset(
    {MANIFEST, RENDERINGS, "narrative.yaml", "exports", "report.docx", "report.pdf", "brief.pdf"}
    | {"croissant.json"}
)
#: most files that a sentence names
_MOST: Final = 5


def unedited(run: Run, allowed: bool = False) -> Run:
    """The run, if no file of it was changed, added or removed since it was sealed and rendered.

    Args:
        run: a finished run.
        allowed: give an edited run nevertheless, marked: its manifest names the files under
            ``edited``, its name says so, and with it every page made of it.

    Raises:
        InputError: it was edited and that is not allowed; names the files.
    """
    if isinstance(run.manifest.get("edited"), list):
        return run
    found = list(edits(run))
    if not found:
        return run
    if allowed:
        return Run(run.path, {**run.manifest, "edited": found})
    rendered = all(one.startswith((RENDERINGS, FIGURES, *_REPORT)) for one in found)
    more = f" and {len(found) - _MOST} more" if len(found) > _MOST else ""
    raise InputError(
        f"{run.path} was edited after it was sealed: {', '.join(found[:_MOST])}{more}",
        "Its numbers may not be those that were measured" if not rendered else None,
        f"Delete {FIGURES}/ and {' and '.join(_REPORT)} to have them rendered again"
        if rendered
        else "Restore the files from a copy or run its suite again",
        "'--allow-edited' goes on and marks every page",
    )


def edits(run: Run) -> Iterator[str]:
    """Every file of a run that was changed, added or removed since, and which of these."""
    sealed = run.manifest.get("files")
    if not isinstance(sealed, dict):
        yield f"{MANIFEST} changed"
        return
    if _unsealed(run):
        yield f"{MANIFEST} changed"
    for name in run.damaged():
        yield f"{name} {'changed' if (run.path / name).is_file() else 'removed'}"
    yield from _edited_renderings(run)
    for name in _files(run.path):
        top = name.partition("/")[0]
        if name not in sealed and top not in (*_BESIDE, *_REPORT, FIGURES):
            yield f"{name} added"


def _unsealed(run: Run) -> bool:
    """Whether the manifest's seal is broken, or was taken away.

    ``dataset.json`` names the layout too: a manifest that says it is older than seals is not
    believed alone.
    """
    if SEAL in run.manifest:
        return bool(with_seal(run.manifest)[SEAL] != run.manifest[SEAL])
    layouts: list[int] = [run.manifest.get("schema", 0)]
    with contextlib.suppress(InputError, TypeError, ValueError):  # its digest tells of damage
        layouts.append(int(run.dataset.get("layout", 0)))
    return max(layouts) >= SEALED


def _edited_renderings(run: Run) -> Iterator[str]:
    """Renderings that are not as they were made; in runs of before, none has a digest."""
    there = [name for name in _files(run.path) if _is_rendering(name)]
    if SEAL not in run.manifest or not there:
        return
    try:
        known: dict[str, list[str]] = _known(run.path)["files"]
        writing: bool = _known(run.path)["writing"]
        digests = {name: [*known[name]] for name in known}
    except (ValueError, TypeError, KeyError, RecursionError):
        yield f"{RENDERINGS} changed"
        return
    for name in there:
        if digest_of(run.path / name) not in digests.get(name, []):
            yield f"{name} {'changed' if name in digests else 'added'}"
    if not writing:
        yield from (f"{name} removed" for name in digests if name not in there)


def _is_rendering(name: str) -> bool:
    return name in _REPORT or name.startswith(f"{FIGURES}/")


def _files(folder: Path) -> list[str]:
    """Every file below a folder, by its place in it; hidden ones are read by nothing."""
    places = (p.relative_to(folder) for p in folder.rglob("*") if not p.is_dir())
    return sorted(p.as_posix() for p in places if not any(q.startswith(".") for q in p.parts))


def write_renderings(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a run's renderings and their digests; drop what an earlier rendering left.

    While they are written both the old and the new are known, so that a rendering that is killed
    does not look edited.

    Raises:
        OSError: the folder can't be written.
    """
    (folder / FIGURES).mkdir(exist_ok=True)
    made = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    old = {name: digest_of(folder / name) for name in _files(folder) if _is_rendering(name)}
    both = {n: [d[n] for d in (old, made) if n in d] for n in sorted({*old, *made})}
    write_json(folder / RENDERINGS, {"writing": True, "files": both})
    for name, content in files.items():
        write_bytes(folder / name, content)
    for name in old:
        if name not in made:
            (folder / name).unlink(missing_ok=True)
    known = {name: [digest] for name, digest in sorted(made.items())}
    write_json(folder / RENDERINGS, {"writing": False, "files": known})


def _known(folder: Path) -> Row:
    path = folder / RENDERINGS
    empty: Row = {"writing": False, "files": {}}
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else empty
