"""What the parts of a person are made of: textures, and Mitsuba materials that take them.

Materials are built with plain placeholders of the right size; the textures of one person are then
set by name.
"""

from __future__ import annotations

from functools import lru_cache
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from audit.core.rows import Array, Fields
from audit.data.people import skins
from audit.data.people.assets import load_pack
from audit.data.people.vocabulary import BACKGROUNDS, EYE_COLOURS, HAIR_COLOURS, PALETTE

Description = Fields
SIZE = 512  # of every texture but the skin and the backdrop
BACKDROP = 64


def texture(mi: ModuleType, image: Array) -> Description:
    """Description of a bitmap texture that holds this image as it is."""
    bitmap = mi.Bitmap(np.ascontiguousarray(image, dtype=np.float32))
    kind = {"type": "bitmap", "filter_type": "bilinear", "wrap_mode": "clamp"}
    return {**kind, "bitmap": bitmap, "raw": True}


def _surface(
    mi: ModuleType, roughness: float, specular: float, size: int = SIZE, **more: float
) -> Description:
    colour = texture(mi, np.full((size, size, 3), 0.5))
    look = {"roughness": roughness, "specular": specular, **more}
    return {"type": "principled", "base_color": colour, **look}


def _masked(mi: ModuleType, nested: Description) -> Description:
    opacity = texture(mi, np.full((SIZE, SIZE, 1), 0.5))
    return {"type": "mask", "opacity": opacity, "bsdf": nested}


def _two_sided(nested: Description) -> Description:
    return {"type": "twosided", "bsdf": nested}


def materials(mi: ModuleType, skin_size: int) -> dict[str, Description]:
    """Part of a person -> material with placeholder textures."""
    relief = texture(mi, np.full((skin_size, skin_size, 1), 0.5))
    skin = _surface(mi, 0.5, 0.33, skin_size, sheen=0.15)
    cards = {"brows": 0.45, "lashes": 0.45, "hair": 0.55}
    return {
        "skin": {"type": "bumpmap", "arbitrary": relief, "scale": 0.012, "bsdf": skin},
        "eyes": _masked(mi, _surface(mi, 0.12, 0.22)),
        "clothes": _two_sided(_surface(mi, 0.8, 0.2)),
        **{part: _masked(mi, _two_sided(_surface(mi, r, 0.18))) for part, r in cards.items()},
    }


def backdrop(mi: ModuleType) -> Description:
    """Material of the wall behind the person."""
    image = np.full((BACKDROP, BACKDROP, 3), 0.5)
    return {"type": "diffuse", "reflectance": texture(mi, image)}


@lru_cache(16)
def _picture(name: str) -> NDArray[np.float32]:
    return np.asarray(load_pack()[f"texture/{name}"], np.float32) / np.float32(255)


@lru_cache(16)
def _opacity(name: str) -> NDArray[np.float32]:
    """Alpha of a card, steepened; specks are taken out of hair."""
    alpha = np.clip((_picture(name)[..., 3:] - 0.12) / 0.75, 0, 1)
    if name.startswith("hair/"):
        from scipy.ndimage import label

        labels, _ = label(alpha[..., 0] > 0.05)
        large = np.bincount(labels.ravel()) > 60
        alpha = alpha * (large[labels] & (labels > 0))[..., None]
    return np.asarray(alpha, np.float32)


@lru_cache(16)
def _strands(name: str) -> NDArray[np.float32]:
    """Lightness of a hair or brow texture relative to its median, softened."""
    lightness = skins.to_linear(_picture(name)[..., :3]).mean(-1, keepdims=True)
    lit = lightness[lightness > 0.002]
    return np.asarray((lightness / (np.median(lit) if lit.size else 1)) ** 0.8, np.float32)


@lru_cache(128)
def _coloured(name: str, colour: tuple[float, ...]) -> NDArray[np.float32]:
    return np.clip(_strands(name) * np.array(colour, np.float32), 0, 1)


@lru_cache(16)
def _cloth(colour: tuple[float, ...]) -> NDArray[np.float32]:
    noise = np.random.default_rng(3).normal(0, 1, (SIZE, SIZE, 1))
    weave = 1 + 0.06 * noise.astype(np.float32)
    return np.clip(np.array(colour, np.float32) * weave, 0, 1)


@lru_cache(16)
def _eye(iris: str) -> NDArray[np.float32]:
    return skins.to_linear(_picture(f"eyes/{iris}")[..., :3]) * np.float32(0.62)


def _backdrop(colour: tuple[float, ...]) -> NDArray[np.float32]:
    y, x = np.mgrid[0:BACKDROP, 0:BACKDROP] / (BACKDROP - 1) - 0.5
    shade = (1.15 - 0.9 * np.hypot(x, y))[..., None]
    return np.asarray(np.array(colour) ** 2.2 * shade, np.float32)


def _brow_colour(row: Fields) -> tuple[float, ...]:
    if row["hair_colour"] in ("white", "grey"):
        return (0.25, 0.24, 0.23)
    return tuple(0.8 * x for x in HAIR_COLOURS[row["hair_colour"]])


def textures(row: Fields, size: int, coarse: bool) -> dict[str, NDArray[np.float32]]:
    """Parameter name in the scene -> texture, for one person."""
    hair, clothes = f"hair/{row['hair']}", PALETTE[row["clothing_colour"]]
    iris = EYE_COLOURS[row["eye_colour"]]
    colour = skins.albedo(row["tone"], row["age"], size, coarse)
    card = "bsdf.nested_bsdf.brdf_0.base_color.data"
    return {
        "skin.bsdf.nested_bsdf.base_color.data": colour,
        "skin.bsdf.nested_texture.data": skins.relief(colour),
        "eyes.bsdf.nested_bsdf.base_color.data": _eye(iris),
        "eyes.bsdf.opacity.data": _picture(f"eyes/{iris}")[..., 3:],
        f"brows.{card}": _coloured("brows", _brow_colour(row)),
        "brows.bsdf.opacity.data": _opacity("brows"),
        f"lashes.{card}": np.clip(skins.to_linear(_picture("lashes")[..., :3]), 0, 1),
        "lashes.bsdf.opacity.data": _opacity("lashes"),
        f"hair.{card}": _coloured(hair, HAIR_COLOURS[row["hair_colour"]]),
        "hair.bsdf.opacity.data": _opacity(hair),
        "clothes.bsdf.brdf_0.base_color.data": _cloth(clothes),
        "back.bsdf.reflectance.data": _backdrop(BACKGROUNDS[row["background"]]),
    }
