"""How far two pictures are apart in colour, as an eye sees it."""

from __future__ import annotations

from typing import Final

import numpy as np
from PIL import Image

from audit.core.arrays import Floats
from audit.data.light import light

#: the middle of a picture, as shares of its sides
_MIDDLE: Final = (0.3, 0.7)
#: side in pixels at which colours are compared, which averages out noise and compression
_SIDE: Final = 64
#: linear light of sRGB to XYZ under daylight D65
_TO_XYZ: Final = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
)
_TO_WHITE: Final = (_TO_XYZ / _TO_XYZ.sum(axis=1, keepdims=True)).T


def lab(picture: Image.Image) -> Floats:
    """CIE L*a*b* of an sRGB picture, (height, width, 3).

    Source:
        IEC 61966-2-1 (sRGB); CIE 15:2004, 8.2.1 (L*a*b*).
    """
    xyz = light(picture).astype(np.float64) @ _TO_WHITE
    bent = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(bent, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def colour_difference(one: Image.Image, other: Image.Image) -> tuple[float, float]:
    """Mean colour difference of two pictures: over the whole, and over the middle of both.

    Formula: Euclidean distance in CIE L*a*b* (CIE 1976), point by point at 64 x 64, averaged; the
    middle is from 30 % to 70 % of the width and height, where a portrait's face is.
    Range: from 0; about 2 is just seen side by side, 100 is black against white. Does not show:
    what changed; a face that turned differs point by point though its colours are the same.
    """
    box = Image.Resampling.BOX
    a, b = (lab(picture.resize((_SIDE, _SIDE), box)) for picture in (one, other))
    apart = np.sqrt(((a - b) ** 2).sum(axis=-1))
    middle = slice(*(round(end * _SIDE) for end in _MIDDLE))
    return float(apart.mean()), float(apart[middle, middle].mean())
