"""Linear light of a picture, in which light adds up; the numbers of a file do not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Light = NDArray[np.float32]


def light(picture: Image.Image) -> Light:
    """Linear light, (height, width, 3), 0 to 1, of an RGB picture: the sRGB curve undone."""
    values: Light = LIGHT[np.asarray(picture)]
    return values


def displayed(values: NDArray[np.floating]) -> Image.Image:
    """The RGB picture of linear light; what lies outside 0 to 1 is clipped, as a sensor does."""
    steps = np.clip(values, 0, 1) * np.float32(len(_SHOWN) - 1) + np.float32(0.5)
    return Image.fromarray(_SHOWN[steps.astype(np.uint16)])


def _srgb_to_light(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The transfer curve of IEC 61966-2-1."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _light_to_srgb(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(values <= 0.0031308, values * 12.92, 1.055 * values ** (1 / 2.4) - 0.055)


# 16 bits of light are finer than 8 bits of sRGB even in the dark, where the curve is steepest
LIGHT: Light = _srgb_to_light(np.arange(256) / 255).astype(np.float32)
_SHOWN: NDArray[np.uint8] = (_light_to_srgb(np.arange(65536) / 65535) * 255 + 0.5).astype(np.uint8)
