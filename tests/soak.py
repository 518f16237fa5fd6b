"""Long runs by hand: kills at random moments, damaged files, pictures and checkpoints.

    python tests/soak.py kills --count 200 --seed 0     # run, SIGKILL, run again, compare
    python tests/soak.py files --minutes 30             # a fault in one file, then use it
    python tests/soak.py pictures --count 10000         # decode damaged pictures
    python tests/soak.py checkpoints --minutes 30       # a fault in a model, then load it

Every line printed is a failure: a traceback, an exit code other than 0, 2 or 3, a hang, a number
that differs in silence. The last line counts. It ends with 1 if anything failed. ``make soak`` runs
all four; tests/house/test_soak.py runs a few of each.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from mutators_files import damage

from audit.cli.verbs import main as command_line
from audit.core.errors import InputError
from audit.core.resources import bundled
from audit.core.rundir import open_run, runs_in
from audit.data.images import Unreadable, decode

#: exit codes that are an answer: fine, bad input, a gate
ANSWERS = (0, 2, 3)
SLOWEST = 300
SUITE = """
name: small
model: specimen-even
dataset: ./card.yaml
attributes: [gender, age_group]
probes: [{kind: classification, label_set: ./labels.yaml, templates: people-plain, truth: gender}]
confidence: {min_group: 5}
"""
LABELS = """
name: my-labels
version: 1
purpose: a small set
source: made up
attribute: gender
licence: none
labels:
  - {text: woman, key: female, tags: [demographic]}
  - {text: man, key: male, tags: [demographic]}
"""
CARD = """
name: small-people
manifest: MANIFEST
id_column: image_id
cluster_column: subject_id
named_people: false
photographs: false
consent: rendered, nobody is shown
attributes: {gender: {source: generator}, age_group: {source: generator}}
"""


def small_world(folder: Path, pictures: int = 40, suffix: str = "csv") -> Path:
    """A suite with some of the bundled pictures in a folder of its own; gives its path."""
    people = bundled("datasets") / "people"
    table = pd.read_csv(people / "portraits.csv").iloc[:pictures]
    table = table[["image_id", "path", "subject_id", "gender", "age_group"]]
    (folder / "audit").mkdir(parents=True)
    for path in table["path"]:
        shutil.copy(people / path, folder / path)
    if suffix == "csv":
        table.to_csv(folder / "people.csv", index=False)
    else:
        table.to_parquet(folder / "people.parquet", index=False)
    (folder / "card.yaml").write_text(CARD.replace("MANIFEST", f"people.{suffix}"))
    (folder / "labels.yaml").write_text(LABELS)
    suite = folder / "suite.yaml"
    suite.write_text(SUITE)
    return suite


# ---- kills -------------------------------------------------------------------------------------


def kills(given: argparse.Namespace) -> Iterator[str]:
    """Kill a run at a random moment, run it again to the end; what is wrong then, kill by kill."""
    rng = random.Random(given.seed)
    world = given.folder / "kills"
    suite = small_world(world, given.pictures)
    began = time.monotonic()
    clean = _to_the_end(suite, world / "clean", world / "clean-cache")
    whole = time.monotonic() - began
    out, cache = world / "runs", world / "cache"
    for kill in given.turns():
        if rng.random() < 0.5:  # else it goes on with what earlier ones kept
            shutil.rmtree(cache, ignore_errors=True)
        moment = rng.uniform(0.3, 1.1) * whole
        process = _started(suite, out, cache)
        process.join(moment)
        process.kill()
        process.join()
        where = f"kill {kill} after {moment:.2f} s of about {whole:.2f}"
        try:
            finished = _to_the_end(suite, out, cache)
        except AssertionError as error:
            yield f"{where}: {error}"
            continue
        yield from (f"{where}: {told}" for told in _unlike(finished, clean, out))
        shutil.rmtree(out)


#: processes that begin with everything imported, which is most of what a small run takes
STARTED_WITH = (
    "audit.cli.verbs", "audit.models.huggingface", "audit.report.render", "audit.engine.run",
    "transformers.models.clip.modeling_clip",
)  # fmt: skip


def _started(suite: Path, out: Path, cache: Path) -> Any:
    """A process of its own that carries out the command."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(STARTED_WITH))
    options = ["--out", str(out), "--cache", str(cache), "--device", "cpu"]
    process = context.Process(target=_commanded, args=(["run", str(suite), *options], out.parent))
    process.start()
    return process


def _commanded(words: list[str], printed: Path) -> None:
    """What the process does: the command line, its words in files."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(printed / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.argv = ["clip-audit", *words]
    command_line()


def _to_the_end(suite: Path, out: Path, cache: Path) -> Path:
    """The run that a command makes which nobody disturbs."""
    before = {run.path for run in runs_in(out)} if out.exists() else set()
    process = _started(suite, out, cache)
    process.join(SLOWEST)
    assert process.exitcode is not None, f"not through in {SLOWEST} s"
    said = (out.parent / "stderr").read_text(encoding="utf-8")
    assert process.exitcode == 0, f"exit code {process.exitcode}: {said[-500:]}"
    for word in ("damaged", "another run"):  # a killed one is not waited for
        assert word not in said, said[-500:]
    new = [run.path for run in runs_in(out) if run.path not in before]
    assert len(new) == 1, f"{len(new)} new runs"
    return new[0]


def _unlike(finished: Path, clean: Path, out: Path) -> Iterator[str]:
    """What of a finished run is not as in the undisturbed one, and what is left lying about."""
    if left := [p.name for p in out.iterdir() if p.name.startswith(".partial")]:
        yield f"left behind: {left}"
    for run in runs_in(out):
        if run.damaged():
            yield f"{run.name} is damaged: {run.damaged()}"
    before, after = (
        {p.relative_to(run): p for p in run.rglob("*") if p.is_file()} for run in (clean, finished)
    )
    if before.keys() != after.keys():
        yield f"other files: {sorted(map(str, before.keys() ^ after.keys()))}"
    sealed = open_run(finished).manifest["files"]
    for name, digest in open_run(clean).manifest["files"].items():
        if sealed.get(name) != digest:
            yield f"{name} differs"


# ---- files -------------------------------------------------------------------------------------


def files(given: argparse.Namespace) -> Iterator[str]:
    """Damage one file of a suite, a data set, a label set or a run, and use it."""
    for suffix in ("csv", "parquet"):
        small_world(given.folder / suffix, 12, suffix)
    suite = small_world(given.folder / "asked")
    run = _to_the_end(suite, given.folder / "made", given.folder / "cache")
    shutil.move(run, given.folder / "run")
    told = _answers(given.folder / "run", given.folder / "now")
    for turn in given.turns():
        seed, now = given.seed + turn, given.folder / "now"
        if seed % 3:
            yield from asked(given.folder, now, seed)
            continue
        shutil.copytree(given.folder / "run", now)
        path = random.Random(seed).choice(_mutable(now))
        what = f"seed {seed}: run/{path.name}: {damage(path, seed)}"
        # manifest.json holds the digests, and no digest holds it
        expected = told if path.name != "manifest.json" else {}
        yield from (f"{what}: {wrong}" for wrong in _wrong(now, expected))
        shutil.rmtree(now)


def asked(worlds: Path, now: Path, seed: int) -> Iterator[str]:
    """Damage one file of a suite's folder and check the suite."""
    rng = random.Random(seed)
    shutil.copytree(worlds / rng.choice(("csv", "parquet")), now)
    path = rng.choice(_mutable(now))
    what = f"seed {seed}: {path.name}: {damage(path, seed)}"
    yield from (f"{what}: {wrong}" for wrong in _failures(["check", str(now / "suite.yaml")]))
    shutil.rmtree(now)


def _mutable(place: Path) -> list[Path]:
    """The files that a reader uses: not pictures, not what is rendered."""
    known = (".csv", ".parquet", ".yaml", ".json")
    return sorted(p for p in place.rglob("*") if p.suffix in known)


def _answers(run: Path, now: Path) -> dict[str, str]:
    """What commands print of an undamaged run where the damaged ones will be."""
    shutil.copytree(run, now)
    told = {name: _said(words)[1] for name, words in _readers(now).items()}
    shutil.rmtree(now)
    return told


def _readers(run: Path) -> dict[str, list[str]]:
    return {
        "rates": ["evidence", str(run), "rates:0-3"],
        "disparities": ["evidence", str(run), "disparities:0-3"],
        "compare": ["compare", str(run), str(run)],
        "words": ["report", str(run), "--check"],
    }


def _wrong(run: Path, told: dict[str, str]) -> Iterator[str]:
    """Failures of commands on a damaged run, and other numbers than it had, unless refused."""
    for name, words in _readers(run).items():
        yield from _failures(words)
        code, said = _said(words)
        if code == 0 and name in told and said != told[name]:
            yield f"{' '.join(words[:1] + words[2:])}: other words in silence"


def _failures(words: list[str]) -> Iterator[str]:
    code, said = _said(words)
    if code not in ANSWERS:
        yield f"{words[0]}: {code}: {said[-300:]}"


def _said(words: list[str]) -> tuple[object, str]:
    """The exit code of a command, or what it raised, and what it printed; a hang is raised."""
    printed = io.StringIO()
    signal.signal(signal.SIGALRM, _hangs)
    signal.alarm(SLOWEST)
    before, sys.argv = sys.argv, ["clip-audit", *words]
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            command_line()
        return 0, printed.getvalue()
    except SystemExit as end:
        return end.code or 0, printed.getvalue()
    except Exception as error:
        return f"{type(error).__name__}: {error}", printed.getvalue()
    finally:
        signal.alarm(0)
        sys.argv = before


def _hangs(number: int, frame: object) -> None:
    raise TimeoutError(f"it hangs, {SLOWEST} s so far")


# ---- pictures and checkpoints ------------------------------------------------------------------


def pictures(given: argparse.Namespace) -> Iterator[str]:
    """Decode damaged pictures: an image, or a reason; detectable damage is always a reason."""
    mutate: Callable[[int], tuple[str, bool, bytes]] = _mutator("mutators", "pictures")
    path = given.folder / "picture"
    for turn in given.turns():
        what, detectable, content = mutate(given.seed + turn)
        path.write_bytes(content)
        try:
            decode(path)
            if detectable:
                yield f"seed {given.seed + turn}: {what}: decoded in silence"
        except Unreadable:
            continue
        except Exception as error:
            yield f"seed {given.seed + turn}: {what}: {type(error).__name__}: {error}"


def checkpoints(given: argparse.Namespace) -> Iterator[str]:
    """Load models with a fault: a model, or a sentence."""
    from audit.models.huggingface import load

    mutate: Callable[[int, Path], str] = _mutator("mutators_checkpoints", "checkpoints")
    for turn in given.turns():
        model = given.folder / "model"
        shutil.copytree(bundled("models") / "specimen-even", model)
        what = mutate(given.seed + turn, model)
        try:
            load(str(model), "cpu")
        except InputError:
            pass
        except Exception as error:
            yield f"seed {given.seed + turn}: {what}: {type(error).__name__}: {error}"
        finally:
            shutil.rmtree(model)


def _mutator(module: str, name: str) -> Any:
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        sys.exit(f"tests/{module}.py has no {name}(), so there is nothing to damage with.")


# ---- the command -------------------------------------------------------------------------------

KINDS: dict[str, Callable[[argparse.Namespace], Iterator[str]]] = {
    "kills": kills, "files": files, "pictures": pictures, "checkpoints": checkpoints,
}  # fmt: skip


def failures(
    kind: str,
    folder: Path,
    *,
    seed: int = 0,
    count: int = 0,
    minutes: float = 0,
    pictures: int = 40,
) -> tuple[int, list[str]]:
    """How often something was tried, and every failure; ``count`` tries, or ``minutes`` of them."""
    tried = 0

    def turns() -> Iterator[int]:
        nonlocal tried
        end = time.monotonic() + 60 * minutes
        while tried < count or (not count and time.monotonic() < end):
            tried += 1
            yield tried - 1

    given = argparse.Namespace(folder=folder, seed=seed, turns=turns, pictures=pictures)
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for failure in KINDS[kind](given):
            print(failure, flush=True)
            found.append(failure)
    return tried, found


def main() -> None:
    """Try, print failures, count."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=0, help="so many tries")
    parser.add_argument("--minutes", type=float, default=1, help="without --count: for so long")
    given = parser.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        tried, found = failures(
            given.kind, Path(folder), seed=given.seed, count=given.count, minutes=given.minutes
        )
    took = (time.monotonic() - began) / 60
    print(
        f"{given.kind}, seed {given.seed}: {tried} tried in {took:.1f} minutes, {len(found)} failed"
    )
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
