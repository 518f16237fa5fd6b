"""Skin as a texture: one tone scale for everybody, so that tone moves and nothing else does.

The albedo between a light and a dark skin is interpolated in the log domain (as a pigment would
act). Older skins are re-toned to the young one, so that age does not move tone.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from audit.data.people.assets import load_pack

Image = NDArray[np.float32]
FACE = (slice(225, 330), slice(415, 465))  # cheek and nose, in a texture of 512 pixels


def to_linear(x: Image) -> Image:
    """Linear light of sRGB values in [0, 1]."""
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4).astype(np.float32)


def to_srgb(x: Image) -> Image:
    """Linear light to sRGB values."""
    curve = 1.055 * np.maximum(x, 0) ** np.float32(1 / 2.4) - 0.055
    return np.where(x <= 0.0031308, x * 12.92, curve).astype(np.float32)


def age_mix(age: float) -> dict[str, float]:
    """Share of the young, middle-aged and old skin at an age in years."""
    if age < 25:
        return {"young": 1.0}
    if age < 40:
        return {"young": 1 - (age - 25) / 15, "middleage": (age - 25) / 15}
    if age < 65:
        return {"middleage": 1 - (age - 40) / 25, "old": (age - 40) / 25}
    return {"old": 1.0}


def face_of(size: int) -> tuple[slice, slice]:
    """Where the face lies in a skin texture of this size."""
    s = size / 512
    a, b = (slice(int(part.start * s), int(part.stop * s)) for part in FACE)
    return a, b


@lru_cache(32)
def _linear_skin(stage: str, shade: str, sex: str, size: int) -> Image:
    from PIL import Image as Pillow

    picture = Pillow.fromarray(load_pack()[f"texture/skin/{stage}/{shade}/{sex}"])
    if picture.size != (size, size):
        picture = picture.resize((size, size), Pillow.Resampling.LANCZOS)
    skin: Image = to_linear(np.asarray(picture, np.float32) / np.float32(255))
    skin = np.maximum(skin, np.float32(1.5e-3))
    if stage == "young":
        return skin
    here = face_of(size)
    young = np.log(_linear_skin("young", shade, sex, size)[here]).mean((0, 1))
    return np.asarray(skin * np.exp(young - np.log(skin[here]).mean((0, 1))), np.float32)


@lru_cache(8)
def _log_stage(stage: str, shade: str, size: int) -> Image:
    """Log albedo of one stage, halfway between the two sexes' textures."""
    pair = [np.log(_linear_skin(stage, shade, sex, size)) for sex in ("male", "female")]
    return np.clip((pair[0] + pair[1]) / 2, np.log(1e-3), np.log(0.95)).astype(np.float32)


@lru_cache(8)
def _log_ratio(stage: str, shade_stage: str, size: int) -> Image:
    """Log of dark over light, smoothed, so that tone carries no detail of either skin."""
    from scipy.ndimage import gaussian_filter

    sigma = 8 * size / 1024
    log_albedo = _log_stage(shade_stage, "dark", size), _log_stage(stage, "light", size)
    dark, light = (np.log(gaussian_filter(np.exp(x), (sigma, sigma, 0))) for x in log_albedo)
    return np.asarray(dark - light, np.float32)


@lru_cache(1)
def _grain(size: int) -> Image:
    """Fine noise of the skin's relief; the same on everybody."""
    from scipy.ndimage import gaussian_filter

    noise = np.random.default_rng(7).normal(0, 1, (size, size)).astype(np.float32)
    return gaussian_filter(noise, 1.0) * np.float32(0.09)


def albedo(tone: float, age: float, size: int, coarse: bool) -> Image:
    """Linear albedo texture: tone 0 is the light skin, 1 the dark one.

    ``coarse`` uses the young dark skin for every age and the age mix rounded to tenths, as the
    first training pictures did.
    """
    mix: Mapping[str, float] = age_mix(age)
    if coarse:
        mix = {stage: round(share, 1) for stage, share in mix.items()}
    out = np.zeros((size, size, 3), np.float32)
    for stage, share in mix.items():
        if share > 0:
            ratio = _log_ratio(stage, "young" if coarse else stage, size)
            out += np.float32(share) * (_log_stage(stage, "light", size) + np.float32(tone) * ratio)
    return np.clip(np.exp(out, out=out), 0, 1)


def relief(color: Image) -> Image:
    """Height map for the bump: fine detail of the albedo's lightness plus grain."""
    from PIL import Image as Pillow
    from PIL import ImageFilter

    light = np.clip(to_srgb(color.mean(-1)), 0, 1)
    picture = Pillow.fromarray((light * 255).astype(np.uint8))
    blurred = np.asarray(picture.filter(ImageFilter.GaussianBlur(6)), np.float32)
    detail = (np.asarray(picture, np.float32) - blurred) / np.maximum(blurred, 20)
    height = np.clip(0.5 + detail + _grain(len(color)), 0, 1)
    return np.asarray(height[..., None], np.float32)


def typology_angle(linear: NDArray[np.float64]) -> float:
    """Individual typology angle of a linear RGB colour in degrees: high is light, low is dark."""
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    x = to_xyz @ linear / np.array([0.9505, 1, 1.089])
    f = np.where(x > 0.008856, np.cbrt(x), 7.787 * x + 16 / 116)
    return float(np.degrees(np.arctan2(116 * f[1] - 16 - 50, 200 * (f[1] - f[2]))))
