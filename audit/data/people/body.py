"""The shape of a person: morph targets on the base mesh, then the parts that follow the body.

All functions take and return numpy arrays; everything that depends only on the pack is made once
per process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.data.people.assets import IDENTITY_FOLDERS, load_pack

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Not drawn as a part of the identity: they say age, weight or an expression, or break symmetry.
NOT_IDENTITY = ("age", "fat-", "angle", "trans", "asym", "double", "base-scale", "bag")
# Distances between body vertices on the reference body: they scale the offsets of a part.
SCALE_VERTICES = ((5399, 11998, 0, 1.6682), (791, 881, 1, 2.8351), (962, 5320, 2, 2.3542))


@dataclass(frozen=True)
class Surface:
    """A triangle mesh ready to render: one row a vertex, triangles index the rows."""

    positions: Floats
    normals: Floats
    coordinates: Floats
    triangles: Ints


def macro_weights(
    gender: float, age: float, race: Mapping[str, float], weight: float
) -> dict[str, float]:
    """Weights of the whole-body targets for a gender slider, years, ancestry mix and weight."""
    total = sum(race.values())
    ages = _age_stages(age)
    low, mean, high = max(0.0, 1 - 2 * weight), 1 - abs(2 * weight - 1), max(0.0, 2 * weight - 1)
    weights = {"minweight": low, "averageweight": mean, "maxweight": high}
    out = {}
    for (sex, g), (stage, a) in product(
        {"male": gender, "female": 1 - gender}.items(), ages.items()
    ):
        for name, share in race.items():
            out[f"macrodetails/{name}-{sex}-{stage}"] = g * a * share / total
        for name, w in weights.items():
            out[f"macrodetails/universal-{sex}-{stage}-averagemuscle-{name}"] = g * a * w
    return {name: value for name, value in out.items() if value > 1e-6}


def _age_stages(age: float) -> dict[str, float]:
    """Mix of two neighbouring age stages; the slider is 0 at one year, 0.5 at 25, 1 at 90."""
    slider = (age - 1) / 24 * 0.5 if age < 25 else 0.5 + (age - 25) / 65 * 0.5
    if slider < 0.1875:
        return {"baby": 1 - slider / 0.1875, "child": slider / 0.1875}
    if slider < 0.5:
        return {"child": 1 - (slider - 0.1875) / 0.3125, "young": (slider - 0.1875) / 0.3125}
    return {"young": 1 - (slider - 0.5) * 2, "old": (slider - 0.5) * 2}


def identity_weights(seed: int, strength: float = 0.42, count: int = 24) -> dict[str, float]:
    """Random, left-right symmetric changes of the face: the same seed is the same person."""
    rng = np.random.default_rng(seed)
    groups = _identity_groups()
    out = {}
    for key in rng.choice(sorted(groups), count, replace=False):
        value = float(rng.uniform(0.1, strength))
        out.update(dict.fromkeys(groups[key], value))
    return out


@lru_cache(1)
def _identity_groups() -> dict[str, list[str]]:
    """Targets that belong to an identity; a left and a right one form one group."""
    groups: dict[str, list[str]] = {}
    for name in load_pack()["target_names"].tolist():
        folder, _, base = name.partition("/")
        if folder not in IDENTITY_FOLDERS or any(word in base for word in NOT_IDENTITY):
            continue
        side_free = base[2:] if base[:2] in ("l-", "r-") else base
        groups.setdefault(f"{folder}/{side_free}", []).append(name)
    return groups


def aging_weights(age: float) -> dict[str, float]:
    """Wrinkles and sagging after 25, on top of the age stage."""
    k = float(np.clip((age - 25) / 40, 0, 1.15))
    if k <= 0:
        return {}
    out = {
        "head/head-age-incr": 0.7,
        "mouth/mouth-laugh-lines-in": 0.5,
        "mouth/mouth-angles-down": 0.25,
        "neck/neck-double-incr": 0.35,
        "mouth/mouth-upperlip-volume-decr": 0.4,
    }
    for side in "lr":
        out[f"eyes/{side}-eye-bag-incr"] = 0.6
        out[f"eyes/{side}-eye-height2-decr"] = 0.3
        out[f"cheek/{side}-cheek-trans-down"] = 0.4
        out[f"cheek/{side}-cheek-volume-decr"] = 0.4
    return {name: value * k for name, value in out.items()}


def smile_weights(race: Mapping[str, float], amount: float) -> dict[str, float]:
    """Corners of the mouth pulled up, with the target of each ancestry."""
    total = sum(race.values())
    return {
        f"expression/units/{name}/mouth-corner-puller": amount * share / total
        for name, share in race.items()
    }


@lru_cache(1)
def _target_places() -> dict[str, slice]:
    pack = load_pack()
    starts = pack["target_starts"].tolist()
    names = pack["target_names"].tolist()
    return {name: slice(starts[i], starts[i + 1]) for i, name in enumerate(names)}


def shape(weights: Mapping[str, float]) -> Floats:
    """Vertices of the base mesh after adding weighted targets (unknown names add nothing)."""
    pack, places = load_pack(), _target_places()
    index, offset = pack["target_index"], pack["target_offset"]
    vertices: Floats = pack["vertices"].copy()
    for name, weight in weights.items():
        where = places.get(name)
        if where is not None and weight:
            vertices[index[where]] += weight * offset[where]
    return vertices


# ------------------------------------------------------------------ parts that follow the body


def fit(vertices: Floats, part: str) -> Surface:
    """Surface of a part (eyes, brows, lashes, a hair style, a garment) on this body."""
    pack = load_pack()
    scale = np.ones(3) if part.startswith("clothes/") else _scale(vertices)
    mixed = np.einsum("nkc,nk->nc", vertices[pack[f"{part}/reference"]], pack[f"{part}/weight"])
    positions = mixed + pack[f"{part}/offset"] * scale
    triangles, unified, welded = _part_topology(part)
    normals = vertex_normals(positions, triangles)
    rows = unified[:, 0]
    coordinates = pack[f"{part}/coordinates"][unified[:, 1]]
    return Surface(positions[rows], normals[rows], coordinates, welded)


def _scale(vertices: Floats) -> Floats:
    return np.array([abs(vertices[a, k] - vertices[b, k]) / d for a, b, k, d in SCALE_VERTICES])


@lru_cache(32)
def _part_topology(part: str) -> tuple[Ints, Ints, Ints]:
    corners = load_pack()[f"{part}/triangles"].astype(np.int64)
    return corners[..., 0], *weld(corners)


def weld(corners: Ints) -> tuple[Ints, Ints]:
    """Unique (vertex, texture coordinate) pairs, and the triangles in terms of them."""
    base = int(corners[..., 1].max()) + 1
    code = corners[..., 0] * base + corners[..., 1]
    unique, inverse = np.unique(code, return_inverse=True)
    return np.stack([unique // base, unique % base], 1), inverse.reshape(code.shape)


def vertex_normals(positions: Floats, triangles: Ints) -> Floats:
    """Area-weighted vertex normals."""
    a, b, c = (positions[triangles[:, k]] for k in range(3))
    face = np.cross(b - a, c - a)
    where = triangles.T.ravel()
    sums = [np.bincount(where, np.tile(face[:, k], 3), len(positions)) for k in range(3)]
    normals: Floats = np.stack(sums, 1)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    return normals


# ------------------------------------------------------------------------------------ the skin


@dataclass(frozen=True)
class SkinTopology:
    """What of the skin does not depend on the person: a garment and a subdivision fix it."""

    smooth: Any  # sparse (fine vertices, base vertices), or None without subdivision
    quads: Ints  # coarse quads that the garment leaves visible
    triangles: Ints  # fine triangles over fine vertices
    owner: Ints  # coarse quad of each triangle
    unified: Ints
    welded: Ints
    coordinates: Floats


@lru_cache(8)
def skin_topology(garment: str, subdivisions: int) -> SkinTopology:
    """The visible body under a garment, after Catmull-Clark steps, as matrices and indices."""
    from scipy import sparse

    pack = load_pack()
    hidden = pack[f"clothes/{garment}/hides"]
    quads = pack["quads"].astype(np.int64)
    quads = quads[~hidden[quads[..., 0]].all(1)]
    faces, uv_faces, coordinates = quads[..., 0], quads[..., 1], pack["coordinates"]
    owner, smooth = np.arange(len(faces)), None
    for _ in range(subdivisions):
        step, faces = catmull_clark(faces, len(pack["vertices"]))
        uv_step, uv_faces = bilinear(uv_faces, len(coordinates))
        coordinates = uv_step @ coordinates
        owner = np.repeat(owner, 4)
        smooth = step if smooth is None else step @ smooth
    corners = np.stack([faces, uv_faces], -1)
    corners = np.concatenate([corners[:, [0, 1, 2]], corners[:, [0, 2, 3]]])
    unified, welded = weld(corners)
    matrix = None if smooth is None else sparse.csr_matrix(smooth)
    return SkinTopology(
        matrix, quads[..., 0], corners[..., 0], np.tile(owner, 2), unified, welded,
        coordinates[unified[:, 1]],
    )  # fmt: skip


def skin(vertices: Floats, garment: str, subdivisions: int, lowest: float) -> Surface:
    """Skin surface of this body under a garment, without the quads that reach below ``lowest``."""
    top = skin_topology(garment, subdivisions)
    fine = vertices if top.smooth is None else top.smooth @ vertices
    kept = (vertices[top.quads].min(1)[:, 1] > lowest)[top.owner]
    normals = vertex_normals(fine, top.triangles[kept])
    rows = top.unified[:, 0]
    return Surface(fine[rows], normals[rows], top.coordinates, top.welded[kept])


def _edges(faces: Ints) -> tuple[Ints, Ints, Ints]:
    """Unique undirected edges, the edge of each quad side, and how many quads share each edge."""
    sides = np.sort(np.stack([faces, np.roll(faces, -1, 1)], -1).reshape(-1, 2), 1)
    base = int(faces.max()) + 1
    unique, inverse, count = np.unique(
        sides[:, 0] * base + sides[:, 1], return_inverse=True, return_counts=True
    )
    return np.stack([unique // base, unique % base], 1), inverse.reshape(-1, 4), count


def _split(faces: Ints, edge_of: Ints, vertices: int, edges: int) -> Ints:
    """Each quad becomes four: corner, next edge, middle, previous edge."""
    middle = np.arange(len(faces)) + vertices + edges
    side = edge_of + vertices
    parts = [np.stack([faces[:, k], side[:, k], middle, side[:, k - 1]], 1) for k in range(4)]
    return np.stack(parts, 1).reshape(-1, 4)


def _average(rows: Ints, columns: Ints, shape: tuple[int, int]) -> Any:
    """Sparse matrix whose row r averages the given columns of r (empty rows stay zero)."""
    from scipy import sparse

    ones = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=shape)
    ones.data[:] = 1.0
    total = np.asarray(ones.sum(1)).ravel()
    return sparse.diags(1 / np.maximum(total, 1)) @ ones


def bilinear(faces: Ints, n: int) -> tuple[Any, Ints]:
    """One linear split of quads: matrix (new points, old points) and the new quads."""
    from scipy import sparse

    edges, edge_of, _ = _edges(faces)
    e, f = len(edges), len(faces)
    edge_points = _average(np.repeat(np.arange(e), 2), edges.ravel(), (e, n))
    face_points = _average(np.repeat(np.arange(f), 4), faces.ravel(), (f, n))
    matrix = sparse.vstack([sparse.identity(n), edge_points, face_points]).tocsr()
    return matrix, _split(faces, edge_of, n, e)


def catmull_clark(faces: Ints, n: int) -> tuple[Any, Ints]:
    """One Catmull-Clark step on quads: matrix (new points, old points) and the new quads."""
    from scipy import sparse

    edges, edge_of, count = _edges(faces)
    e, f = len(edges), len(faces)
    face_points = _average(np.repeat(np.arange(f), 4), faces.ravel(), (f, n))
    middles = _average(np.repeat(np.arange(e), 2), edges.ravel(), (e, n))
    around = _average(edge_of.ravel(), np.repeat(np.arange(f), 4), (e, f)) @ face_points
    inner = sparse.diags((count == 2) * 0.5)
    edge_points = inner @ around + (sparse.identity(e) - inner) @ middles
    corner_points = _corner_points(faces, edges, count, face_points, middles, n)
    matrix = sparse.vstack([corner_points, edge_points, face_points]).tocsr()
    return matrix, _split(faces, edge_of, n, e)


def _corner_points(
    faces: Ints, edges: Ints, count: Ints, face_points: Any, middles: Any, n: int
) -> Any:
    """Old vertices after the step: smooth inside, along the rim on a rim, kept where unused."""
    from scipy import sparse

    f, e = len(faces), len(edges)
    valence = np.bincount(faces.ravel(), minlength=n)
    rim_edges = np.flatnonzero(count == 1)
    on_rim = np.zeros(n, bool)
    on_rim[edges[rim_edges]] = True
    by_face = _average(faces.ravel(), np.repeat(np.arange(f), 4), (n, f)) @ face_points
    by_edge = _average(edges.ravel(), np.repeat(np.arange(e), 2), (n, e)) @ middles
    rim = _average(edges[rim_edges].ravel(), np.repeat(rim_edges, 2), (n, e)) @ middles
    k = np.maximum(valence, 1)
    inside = (valence > 0) & ~on_rim
    smooth = by_face + 2 * by_edge + sparse.diags(k - 3.0)
    rest = sparse.diags(np.where(on_rim, 0.5, 1.0 * (valence == 0)))
    return sparse.diags(inside / k) @ smooth + sparse.diags(on_rim * 0.5) @ rim + rest
