"""Seeded faults in a checkpoint folder, for tests and for long runs by hand.

``python tests/mutators_checkpoints.py FOLDER 300 0`` tries three hundred, from seed 0 on, on copies
of FOLDER, and prints what becomes of each: refused in a sentence or loaded, never a traceback.
"""

from __future__ import annotations

import json
import random
import shutil
import struct
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

NAMES = (
    "config.json", "preprocessor_config.json", "processor_config.json", "tokenizer.json",
    "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "added_tokens.json",
    "model.safetensors.index.json", "generation_config.json", "merges.txt",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, [], {}, "", "x", -1, 0, 1.5, 10**9, 10**30, float("nan"), float("inf"), 1e300,
    [1, 2, 3], {"a": 1}, ["x", None], "../../x", "\ud800", 2, [[]], -0.0,
)  # fmt: skip


def checkpoints(seed: int, folder: Path) -> str:
    """Put one fault into the checkpoint in ``folder``; says which. One seed, one fault."""
    rng = random.Random(seed)
    files = sorted(path for path in folder.iterdir() if path.name in NAMES)
    if rng.random() < 0.15:
        return _weights(rng, rng.choice(sorted(folder.glob("*.safetensors"))))
    path = rng.choice(files)
    fault: Callable[[random.Random, Path], str] = rng.choice(
        (_field,) * 6 + (_bytes, _bytes, _gone)
    )
    return f"{path.name}: {fault(rng, path)}"


def _field(rng: random.Random, path: Path) -> str:
    """One field, however deep, gets another value, or goes; a list or mapping may grow."""
    if path.suffix != ".json":
        return _bytes(rng, path)
    found = json.loads(path.read_text(encoding="utf-8"))
    places = list(_places(found))
    if not places:
        return _bytes(rng, path)
    depth = rng.choice(sorted({len(place) for place in places}))
    place = rng.choice([place for place in places if len(place) == depth])
    parent = found
    for key in place[:-1]:
        parent = parent[key]
    if rng.random() < 0.15:
        del parent[place[-1]]
        told = "gone"
    else:
        parent[place[-1]] = value = rng.choice(VALUES)
        told = repr(value)
    path.write_text(json.dumps(found), encoding="utf-8")
    return f"{'.'.join(map(str, place))} = {told}"


def _places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, inner in items:
        yield (*at, key)
        yield from _places(inner, (*at, key))


def _bytes(rng: random.Random, path: Path) -> str:
    raw = path.read_bytes()
    at = rng.randrange(len(raw) + 1)
    kinds: dict[str, bytes] = {
        "cut": raw[:at],
        "empty": b"",
        "not UTF-8": raw[:at] + b"\xff\xfe" + raw[at:],
        "zeros": raw[:at] + b"\0" * 20 + raw[at:],
        "nested": b'{"a":' * 100_000,
        "no mapping": b"[1, 2]",
        "a key twice": raw.replace(b"{", b'{"model_type": "x", "model_type": "clip",', 1),
        "UTF-16": raw.decode("utf-8", "replace").encode("utf-16"),
    }
    name = rng.choice(sorted(kinds))
    path.write_bytes(kinds[name])
    return name


def _gone(rng: random.Random, path: Path) -> str:
    path.unlink()
    return "gone"


def _weights(rng: random.Random, path: Path) -> str:
    """The header of a safetensors file, or where it ends, is changed."""
    raw = path.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + size])
    name = rng.choice(sorted(header.keys() - {"__metadata__"}))
    kind = rng.choice(("cut", "length", "shape", "dtype", "offsets", "renamed", "more", "noise"))
    if kind == "cut":
        path.write_bytes(raw[: rng.randrange(len(raw))])
        return "weights cut"
    if kind == "length":
        path.write_bytes(struct.pack("<Q", rng.choice((0, 1, size - 1, 2**40, 2**63))) + raw[8:])
        return "weights: another length of the header"
    if kind == "noise":
        at = 8 + rng.randrange(size)
        path.write_bytes(raw[:at] + rng.randbytes(3) + raw[at + 3 :])
        return "weights: noise in the header"
    changes: dict[str, Callable[[], Any]] = {
        "shape": lambda: header[name].update(shape=rng.choice(([], [10**9], [-1, 2], "x", None))),
        "dtype": lambda: header[name].update(dtype=rng.choice(("I8", "F8_E4M3", "X", 5, "BF16"))),
        "offsets": lambda: header[name].update(data_offsets=rng.choice(([0, 4], [5, 1], [0], "x"))),
        "renamed": lambda: header.update({"x." + name: header.pop(name)}),
        "more": lambda: header.update({f"{name}.more": header[name]}),
    }
    changes[kind]()
    new = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(new)) + new + raw[8 + size :])
    return f"weights: {name}: {kind}"


def _by_hand(base: Path, count: int, start: int) -> None:
    from audit.core.errors import InputError
    from audit.models.huggingface import load, locate

    def checked(folder: str) -> None:
        read = locate(folder).read
        assert read is not None
        read(["a"])

    ends: Counter[str] = Counter()
    for seed in range(start, start + count):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(shutil.copytree(base, Path(scratch) / "m"))
            fault, told = checkpoints(seed, folder), []
            for look in (checked, lambda ref: load(ref, "cpu")):
                try:
                    look(str(folder))
                    told.append("accepted")
                except InputError as error:
                    told.append("refused: " + str(error).replace(str(folder), "M"))
                except Exception:
                    told.append("TRACEBACK")
                    traceback.print_exc()
            ends[" by check, ".join(one.split(":")[0] for one in told) + " by load"] += 1
            print(seed, fault, *dict.fromkeys(told), sep=" | ", flush=True)
    print(dict(ends))


if __name__ == "__main__":
    _by_hand(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
