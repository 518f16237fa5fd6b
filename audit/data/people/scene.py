"""A Mitsuba scene of one person, rendered by path tracing and denoised.

The objects of the scene are built once per process and then only changed: compiled kernels depend
on the objects, and compiling them takes several times as long as rendering a small picture.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from audit.core.rows import Array, Fields
from audit.data.people import body, engine, materials, skins
from audit.data.people.assets import load_pack

Vector = NDArray[np.float64]
FIELD_OF_VIEW = 20


@dataclass(frozen=True)
class Settings:
    """How finely a picture is rendered."""

    pixels: int
    samples: int
    subdivisions: int
    texture: int
    coarse: bool


FINE = Settings(pixels=176, samples=32, subdivisions=1, texture=1024, coarse=False)
QUICK = Settings(pixels=128, samples=24, subdivisions=0, texture=512, coarse=True)
SETTINGS = {"audit": FINE, "counterfactual": FINE, "train": QUICK}


# ---------------------------------------------------------------------------------- geometry


@dataclass(frozen=True)
class Person:
    """The surfaces of one person, and what the camera and lights are placed by."""

    surfaces: dict[str, body.Surface]
    eyes: Vector  # midpoint between the eyes
    head: float  # height of the head


def person(row: Fields, subdivisions: int) -> Person:
    """Shape one person from a row of parameters."""
    race = row["ancestry_weights"]
    weights = {
        **body.macro_weights(row["gender_value"], row["age"], race, row["weight"]),
        **body.identity_weights(row["identity"]),
        **body.smile_weights(race, row["smile"]),
        **body.aging_weights(row["age"]),
    }
    vertices = body.shape(weights)
    pack = load_pack()
    eyes = vertices[pack["eye_joints"]].mean(1).mean(0)
    head = 2 * (vertices[np.unique(pack["quads"][..., 0]), 1].max() - eyes[1])
    surfaces = {
        "skin": body.skin(vertices, row["clothing"], subdivisions, eyes[1] - 2.6 * head),
        "hair": body.fit(vertices, f"hair/{row['hair']}"),
        "clothes": _puffed(body.fit(vertices, f"clothes/{row['clothing']}")),
        **{part: body.fit(vertices, part) for part in ("eyes", "brows", "lashes")},
    }
    return Person(surfaces, eyes, float(head))


def _puffed(surface: body.Surface) -> body.Surface:
    """A garment pushed outward a little, so that no skin shows through."""
    positions = surface.positions + surface.normals * 0.03
    return body.Surface(positions, surface.normals, surface.coordinates, surface.triangles)


def _flat(array: Array, dtype: type) -> Array:
    return np.ascontiguousarray(array, dtype=dtype).ravel()


def meshes(surfaces: Mapping[str, body.Surface]) -> dict[str, Array]:
    """Parameter name in the scene -> flat array, for every part."""
    out: dict[str, Array] = {}
    for part, surface in surfaces.items():
        flipped = surface.coordinates * (1, -1) + (0, 1)  # pictures start at the top
        out[f"{part}.vertex_positions"] = _flat(surface.positions, np.float32)
        out[f"{part}.vertex_normals"] = _flat(surface.normals, np.float32)
        out[f"{part}.vertex_texcoords"] = _flat(flipped, np.float32)
        out[f"{part}.faces"] = _flat(surface.triangles, np.uint32)
    return out


def placements(mi: ModuleType, row: Fields, who: Person) -> Fields:
    """Parameter name in the scene -> camera, lights and backdrop around this person."""
    h = who.head
    centre = np.array([0, who.eyes[1] - 0.2 * h, who.eyes[2] - 0.5 * h])
    distance = 1.95 * h / np.tan(np.radians(FIELD_OF_VIEW / 2)) / 2 / row["zoom"]
    turn = np.radians(row["yaw"])
    camera = centre + distance * np.array([np.sin(turn), 0.05, np.cos(turn)])
    transform, env, full = mi.ScalarTransform4f, row["env"], mi.Transform4f

    def looking(origin: Vector, size: float = 1.0) -> object:
        view = transform().look_at(origin=origin.tolist(), target=centre.tolist(), up=[0, 1, 0])
        return view @ transform().scale([size] * 3)

    def light(direction: Sequence[float], away: float, size: float) -> object:
        towards = np.array(direction, float)
        return looking(centre + towards / np.linalg.norm(towards) * away * h, size * h)

    back = transform().translate((centre + [0, 0, -4 * h]).tolist())
    return {
        "sensor.to_world": full(looking(camera)),
        "key.to_world": full(light(row["keydir"], 9, 2.88)),
        "fill.to_world": full(light((1.5, 0.2, 1.3), 9, 3.6)),
        "rim.to_world": full(light((1.2, 1.3, -1.6), 5, 1.0)),
        "back.to_world": full(back @ transform().scale([6 * h] * 3)),
        "key.emitter.radiance.value": _grey(mi, (1, 0.96, 0.9), 4.5 * row["key"]),
        "fill.emitter.radiance.value": _grey(mi, (0.9, 0.95, 1), 1.6 * row["key"]),
        "rim.emitter.radiance.value": _grey(mi, (1, 1, 1), 6 * row["key"]),
        "env.radiance.value": _grey(mi, (0.9, 0.95, 1), env),
    }


def _grey(mi: ModuleType, tint: tuple[float, ...], strength: float) -> object:
    return mi.Color3f([x * strength for x in tint])


# ----------------------------------------------------------------------------------- rendering


def render(row: Fields, settings: Settings) -> NDArray[np.uint8]:
    """The picture of one row as (pixels, pixels, 3) sRGB bytes."""
    who = person(row, settings.subdivisions)
    counts = {p: (len(s.positions), len(s.triangles)) for p, s in who.surfaces.items()}
    if engine.choose_variant() == engine.FAST:
        if settings not in _STAGES:
            _STAGES[settings] = Stage(settings, counts)
        stage = _STAGES[settings]
    else:  # the plain variant cannot change the size of a mesh, and compiles nothing
        stage = Stage(settings, counts)
    return stage.render(row, who)


class Stage:
    """Everything in front of the camera, made once and changed for every person.

    The scene around it is made anew for each picture: a changed one would keep an order of its
    parts that depends on the pictures before, and with it the last bits.
    """

    def __init__(self, settings: Settings, counts: Mapping[str, tuple[int, int]]) -> None:
        self.settings = settings
        self.mi = engine.load()
        self.objects = self._objects(counts)
        self.parameters = {name: self.mi.traverse(x) for name, x in self.objects.items()}

    def _objects(self, counts: Mapping[str, tuple[int, int]]) -> Fields:
        mi, size = self.mi, self.settings.pixels
        film = {"type": "hdrfilm", "width": size, "height": size, "pixel_format": "rgb"}
        film["rfilter"] = {"type": "box"}  # a wider filter hides noise from the denoiser
        ones = {"type": "rgb", "value": [1.0, 1.0, 1.0]}
        panel = {"type": "rectangle", "emitter": {"type": "area", "radiance": ones}}
        described = {
            "integrator": {"type": "path", "max_depth": 8},
            "sensor": {"type": "perspective", "fov": FIELD_OF_VIEW, "film": film},
            **dict.fromkeys(("key", "fill", "rim"), panel),
            "env": {"type": "constant", "radiance": ones},
            "back": {"type": "rectangle", "bsdf": materials.backdrop(mi)},
        }
        surfaces = materials.materials(mi, self.settings.texture)
        parts = {part: self._mesh(part, bsdf, counts[part]) for part, bsdf in surfaces.items()}
        return {**parts, **{name: mi.load_dict(it) for name, it in described.items()}}

    def _mesh(self, part: str, bsdf: Fields, counts: tuple[int, int]) -> object:
        properties = self.mi.Properties()
        properties["bsdf"] = self.mi.load_dict(bsdf)
        has = {"has_vertex_normals": True, "has_vertex_texcoords": True}
        return self.mi.Mesh(part, *counts, **has, props=properties)

    def render(self, row: Fields, who: Person) -> NDArray[np.uint8]:
        """The picture of one person, placed and dressed as the row says."""
        import drjit as dr

        for name, image in materials.textures(
            row, self.settings.texture, self.settings.coarse
        ).items():
            self._set(name, self.mi.TensorXf(np.ascontiguousarray(image, np.float32)))
        for name, value in {**meshes(who.surfaces), **placements(self.mi, row, who)}.items():
            self._set(name, value)
        for parameters in self.parameters.values():
            parameters.update()
        scene = self.mi.load_dict({"type": "scene", **self.objects})
        seed = dr.opaque(self.mi.UInt32, seed_of(row))
        noisy = self.mi.render(scene, spp=self.settings.samples, seed=seed)
        return tone_map(_denoise(np.nan_to_num(np.array(noisy), posinf=0.0, neginf=0.0)))

    def _set(self, name: str, value: object) -> None:
        """Set a parameter; a plain number would be compiled into the kernel, so hide it."""
        import drjit as dr

        part, _, rest = name.partition(".")
        if not isinstance(value, np.ndarray):
            dr.make_opaque(value)
        self.parameters[part][rest] = value


_STAGES: dict[Settings, Stage] = {}


def seed_of(row: Fields) -> int:
    """The sampler's seed: a picture is the same whoever renders it, in any order."""
    return zlib.crc32(str(row["path"]).encode())


def _denoise(image: NDArray[np.float32]) -> NDArray[np.float32]:
    import mitsuba_oidn

    return np.array(mitsuba_oidn.denoise(np.ascontiguousarray(image), hdr=True))


def tone_map(light: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Linear light to bytes through a soft shoulder."""
    shown = skins.to_srgb(1 - np.exp(-1.25 * np.clip(light, 0, None)))
    return (np.clip(shown, 0, 1) * 255 + 0.5).astype(np.uint8)
