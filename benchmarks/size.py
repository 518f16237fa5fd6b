"""What a run takes as its pictures grow: memory and time, by stage, and the exponent of each.

    python benchmarks/size.py [--pictures 1000 10000 100000] [--keep FOLDER] [--json FILE]

Every size is a run of its own in a process of its own, from stored embeddings (``embeddings:``, see
docs/records.md) of a data set without pictures: random unit rows of 512 numbers, 14 groups of three
attributes and their intersections, every picture a subject of its own, one classification of 21
labels in 7 templates, 2,000 bootstrap replicates. Vectors and manifest are generated into a
temporary folder, 1 KB a picture (half precision), which is removed afterwards.

Printed for each size and stage: seconds by the clock and of the processors, and the most memory
that the process held during the stage (resident, pages of mapped files apart; Linux). Last the
exponents of growth, fitted to sizes from 10,000 on: 0 is flat, 1 is linear.
"""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

DIM = 512
SCALE = 100.0
#: attributes and how many groups each has: 14 together
GROUPS = {"gender": 2, "age": 5, "ancestry": 7}
#: vectors made at a time
BLOCK = 50_000
#: sizes from here on count for the exponents: below, what every run costs hides the growth
FITTED = 10_000
#: between two looks at the memory
SECONDS = 0.02
#: stages of a run, and the function that each is
STAGES = {
    "read the data set": ("audit.engine.suite", "load_dataset"),
    "describe and check": ("audit.engine.suite", "Suite.resolve"),
    "open the vectors": ("audit.engine.run", "ready"),
    "find the pictures": ("audit.engine.run", "pictures_of"),
    "groups": ("audit.measure.metrics", "Groups.of"),
    "ask": ("audit.engine.asking", "Asker.ask"),
    "compare groups": ("audit.engine.run", "_compare"),
    "rates": ("audit.engine.analysis", "rates"),
    "disparities": ("audit.engine.analysis", "disparities"),
    "nulls": ("audit.engine.analysis", "with_nulls"),
    "controls": ("audit.engine.analysis", "controls"),
    "calibration": ("audit.engine.analysis", "calibration"),
    "wordings": ("audit.probes.classification.probe", "in_every_wording"),
    "labels and thresholds": ("audit.probes.classification.probe", "of_labels"),
    "copies": ("audit.engine.run", "of_copies"),
    "describe": ("audit.engine.run", "_describe"),
    "write rows": ("audit.engine.run", "_write_groups"),
}


def suite(folder: Path) -> dict[str, object]:
    """What is asked."""
    names = list(GROUPS)
    return {
        "name": "size",
        "model": f"embeddings:{folder / 'model.yaml'}",
        "dataset": str(folder / "card.yaml"),
        "attributes": names,
        "intersections": [[a, b] for i, a in enumerate(names) for b in names[i + 1 :]],
        "probes": [
            {
                "kind": "classification",
                "label_set": "clip-paper-21",
                "add": ["child"],
                "templates": "clip-7",
            }
        ],
        "acknowledge": ["clip-paper-21"],
        "confidence": {"resamples": 2000},
        "self_check": "skip",
    }


def build(folder: Path, pictures: int) -> None:
    """A data set of nobody: card, manifest, vectors and what every prompt is embedded by."""
    from audit.engine.suite import Suite, load_suite

    rng = np.random.default_rng(pictures)
    ids = np.char.add("p", np.char.zfill(np.arange(pictures).astype(str), 8))
    columns = {"image_id": pa.array(ids)}
    for name, groups in GROUPS.items():
        values = [f"{name} {i}" for i in range(groups)]
        shares = rng.dirichlet(np.full(groups, 8.0))
        codes = rng.choice(groups, pictures, p=shares).astype(np.int8)
        columns[name] = pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(values))
    pq.write_table(pa.table(columns), folder / "manifest.parquet")
    np.save(folder / "ids.npy", ids.astype("S"))
    _write_vectors(folder / "vectors.npy", pictures, rng)
    card = {
        "name": "nobody", "manifest": "manifest.parquet", "pictures": False,
        "id_column": "image_id", "photographs": False, "named_people": False,
        "consent": "nobody is shown: the vectors are random numbers",
        "attributes": {name: {"source": "generator"} for name in GROUPS},
    }  # fmt: skip
    (folder / "card.yaml").write_text(yaml.safe_dump(card), encoding="utf-8")
    said = {"images": "vectors.npy", "ids": "ids.npy", "texts": "texts.npz", "logit_scale": SCALE}
    (folder / "model.yaml").write_text(yaml.safe_dump(said), encoding="utf-8")
    (folder / "suite.yaml").write_text(yaml.safe_dump(suite(folder)), encoding="utf-8")
    asked: Suite = load_suite(str(folder / "suite.yaml"))
    probe = asked.asked[0]
    texts = list(dict.fromkeys(probe.asked_texts(asked.pictures, asked.seed)))
    rows = np.stack([np.random.default_rng(list(t.encode())).normal(size=DIM) for t in texts])
    np.savez(folder / "texts.npz", texts=np.array(texts), text_embeddings=rows.astype(np.float32))


def _write_vectors(path: Path, pictures: int, rng: np.random.Generator) -> None:
    """Random rows in half precision, a block at a time."""
    rows = np.lib.format.open_memmap(path, "w+", np.float16, (pictures, DIM))
    for start in range(0, pictures, BLOCK):
        part = rng.standard_normal((min(BLOCK, pictures - start), DIM), np.float32)
        rows[start : start + len(part)] = part / np.linalg.norm(part, axis=1, keepdims=True)
    rows.flush()


# --- one run, in a process of its own -------------------------------------------------------------


def resident() -> float:
    """Memory of this process that no file backs, in MB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (found,) = (line.split()[1] for line in lines if line.startswith("RssAnon"))
    return int(found) / 1024


class Watch:
    """Time and memory of each stage, while it runs; stages may be inside one another."""

    def __init__(self) -> None:
        """Nothing was watched yet."""
        self.stages: dict[str, dict[str, float]] = {}
        self._peaks: list[float] = [0.0]
        threading.Thread(target=self._look, daemon=True).start()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Watch one stage."""
        self._note()
        self._peaks.append(0.0)
        clock, processors = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self._note()
            peak = self._peaks.pop()
            self._peaks[-1] = max(self._peaks[-1], peak)
            seen = self.stages.setdefault(name, {"clock": 0.0, "processors": 0.0, "peak": 0.0})
            seen["clock"] += time.perf_counter() - clock
            seen["processors"] += time.process_time() - processors
            seen["peak"] = max(seen["peak"], peak)
            seen["after"] = resident()

    def _note(self) -> None:
        self._peaks[-1] = max(self._peaks[-1], resident())

    def _look(self) -> None:
        """Look all the time: what is held for a moment counts."""
        while True:
            self._note()
            time.sleep(SECONDS)


def watch_stages(watch: Watch) -> None:
    """Have every stage watched that this version of the tool has."""
    for stage, (module, name) in STAGES.items():
        holder: object = importlib.import_module(module)
        *outer, last = name.split(".")
        for part in outer:
            holder = getattr(holder, part)
        found = getattr(holder, last, None)
        if found is not None:
            setattr(holder, last, _watched(found, stage, watch))


def _watched(found: Callable[..., object], stage: str, watch: Watch) -> Callable[..., object]:
    def call(*args: object, **kwargs: object) -> object:
        with watch.stage(stage):
            return found(*args, **kwargs)

    return call


def run_one(folder: Path) -> None:
    """Carry out the suite in this folder and print what it took, as JSON."""
    from audit.engine.run import carry_out
    from audit.engine.suite import load_suite
    from audit.models.families import load as load_model
    from audit.store.embeddings import Store

    watch = Watch()
    watch_stages(watch)
    with watch.stage("all"):
        asked = load_suite(str(folder / "suite.yaml"))
        store = Store(folder / "cache")
        done = carry_out(asked, folder / "runs", store, lambda: load_model(asked.model))
    size = sum(path.stat().st_size for path in done.path.rglob("*") if path.is_file())
    print(json.dumps({"stages": watch.stages, "written": size / 1e6}))


# --- all sizes ------------------------------------------------------------------------------------


def measured(pictures: int, keep: Path | None) -> dict[str, dict[str, float]]:
    """A run of so many pictures: what each stage took."""
    folder = keep / str(pictures) if keep else Path(tempfile.mkdtemp(prefix="size-"))
    try:
        if not (folder / "texts.npz").exists():
            folder.mkdir(parents=True, exist_ok=True)
            build(folder, pictures)
        shutil.rmtree(folder / "runs", ignore_errors=True)
        command = [sys.executable, __file__, "--one", str(folder)]
        told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        found = json.loads(told.splitlines()[-1])
        print(f"\n{pictures:,} pictures, {found['written']:,.0f} MB written", flush=True)
        for name, row in found["stages"].items():
            print(
                f"  {name:24}{row['clock']:9.1f} s{row['processors']:9.1f} s of processors"
                f"{row['peak']:9.0f} MB at most{row['after']:9.0f} MB after",
                flush=True,
            )
        return dict(found["stages"])
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def exponent(sizes: list[int], values: list[float]) -> float:
    """The slope of the logarithm of what was measured over that of the size."""
    return float(np.polyfit(np.log(sizes), np.log(np.maximum(values, 1e-3)), 1)[0])


def main() -> None:
    """Measure every size, print the exponents."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--pictures", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--keep", type=Path, help="keep vectors and runs in this folder")
    parser.add_argument("--json", type=Path, help="write what was measured, too")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one is not None:
        run_one(given.one)
        return
    found = {n: measured(n, given.keep) for n in given.pictures}
    if given.json:
        given.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    fitted = [n for n in found if n >= FITTED]
    if len(fitted) > 1:
        print(f"\nexponents from {fitted[0]:,} to {fitted[-1]:,} pictures")
        for name in found[fitted[-1]]:
            rows = [found[n][name] for n in fitted if name in found[n]]
            if len(rows) == len(fitted):
                slopes = (exponent(fitted, [r[key] for r in rows]) for key in ("clock", "peak"))
                print("  {:24} time {:.2f}, memory {:.2f}".format(name, *slopes))


if __name__ == "__main__":
    main()
