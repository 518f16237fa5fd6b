"""What poor footage does to a picture: fewer pixels, blur, and light that is lacking or astray.

Each is a few physical quantities. All chance comes from the generator that is handed in.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from functools import cache
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import irfft2, next_fast_len, rfft2
from scipy.special import pdtr

from audit.data.light import LIGHT, Light, displayed, light

Random = np.random.Generator

FACE_SHARE: Final = 0.4
"""Share of the shorter side that a face is taken to fill where nobody measured it."""

_BICUBIC, _BOX = Image.Resampling.BICUBIC, Image.Resampling.BOX


class Degradation(Protocol):
    """What happens to a picture at one severity: its fields are physical quantities."""

    @property
    def says(self) -> str:
        """The quantities with their units, as a person reads them."""

    def __call__(self, picture: Image.Image, rng: Random) -> Image.Image:
        """The degraded RGB picture; all chance comes from ``rng``."""


# --- fewer pixels ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Distance:
    """A person farther away: ``pixels`` across the shorter side of the picture, and up again."""

    pixels: float

    @property
    def face(self) -> float:
        """Pixels across a face that fills FACE_SHARE of the shorter side."""
        return self.pixels * FACE_SHARE

    @property
    def says(self) -> str:
        """Pixels across the picture, and across a face of the usual size."""
        return (
            f"{self.pixels:g} pixels across the shorter side of the picture "
            f"({self.face:g} across a face that fills {FACE_SHARE:.0%} of it)"
        )

    def __call__(self, picture: Image.Image, rng: Random) -> Image.Image:
        """The picture with these pixels only."""
        return fewer_pixels(picture, self.pixels)


def fewer_pixels(picture: Image.Image, across: float) -> Image.Image:
    """Light summed over ``across`` pixels of the shorter side; the file then enlarged smoothly."""
    scale = across / min(picture.size)
    if scale >= 1:
        return picture
    small = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    planes = [Image.fromarray(plane) for plane in np.moveaxis(light(picture), 2, 0)]
    summed = [np.asarray(plane.resize(small, _BOX)) for plane in planes]
    return displayed(np.stack(summed, axis=2)).resize(picture.size, _BICUBIC)


@dataclass(frozen=True)
class Compression:
    """JPEG at ``quality``, colour at half resolution, as cameras and recorders store it."""

    quality: int

    @property
    def says(self) -> str:
        """The quality, and what it does to the standard's quantiser (libjpeg's scale)."""
        factor = 50 / self.quality if self.quality < 50 else 2 - self.quality / 50
        return f"JPEG quality {self.quality} (quantiser {factor:.3g} times the standard's)"

    def __call__(self, picture: Image.Image, rng: Random) -> Image.Image:
        """The picture as it comes out of the file."""
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=self.quality, subsampling="4:2:0")
        return Image.open(file).convert("RGB")


@dataclass(frozen=True)
class OffCentre:
    """A crop beside the person: its centre lies ``shift`` of the width to the right.

    Nothing is invented at the rim: the crop is the largest one of that centre that fits, so it
    also shows less.
    """

    shift: float

    @property
    def says(self) -> str:
        """How far off, and how much is left."""
        return (
            f"centre {self.shift:.0%} of the side off, {1 - 2 * self.shift:.0%} of each side left"
        )

    def __call__(self, picture: Image.Image, rng: Random) -> Image.Image:
        """The crop, enlarged to the camera's pixels."""
        width, height = picture.size
        margin = self.shift * height
        box = (2 * self.shift * width, margin, width, height - margin)
        return picture.resize(picture.size, _BICUBIC, box=box)


# --- blur -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MotionBlur:
    """Movement while the shutter is open: ``length`` in pixels, ``angle`` in degrees from level."""

    length: float
    angle: float = 0.0

    @property
    def says(self) -> str:
        """Length and angle."""
        return f"{self.length:g} pixels at {self.angle:g} degrees"

    def __call__(self, picture: Image.Image, rng: Random) -> Image.Image:
        """The mean of the picture along that path."""
        return _spread(picture, _line(self.length, self.angle))


@dataclass(frozen=True)
class Defocus:
    """A lens out of focus: every point becomes an even disc of ``radius`` pixels."""

    radius: float

    @property
    def says(self) -> str:
        """The radius."""
        return f"disc of {self.radius:g} pixels radius"

    def __call__(self, picture: Image.Image, rng: Random) -> Image.Image:
        """The picture with every point spread."""
        return _spread(picture, _disc(self.radius))


def _spread(picture: Image.Image, kernel: Light) -> Image.Image:
    """Linear light convolved with an odd-sided kernel; the scene goes on mirrored at the rim."""
    rows, columns = kernel.shape[0] // 2, kernel.shape[1] // 2
    padded = np.pad(light(picture), ((rows, rows), (columns, columns), (0, 0)), "symmetric")
    size = [next_fast_len(n, real=True) for n in padded.shape[:2]]
    product = rfft2(padded, size, axes=(0, 1)) * rfft2(kernel, size)[:, :, None]
    whole = irfft2(product, size, axes=(0, 1))
    return displayed(whole[2 * rows : padded.shape[0], 2 * columns : padded.shape[1]])


@cache
def _line(length: float, angle: float) -> Light:
    """Even weight along a line through the middle, shared out between neighbouring pixels."""
    half = math.ceil(length / 2) + 1
    steps = (np.arange(16 * half) + 0.5) / (16 * half) - 0.5
    # sharing points out between pixels blurs, too: by a sixth of a pixel squared where points fall
    # evenly; the line is shortened by that, so that the spread along it is that of ``length``
    along = steps * math.sqrt(max(0.0, length**2 - 2))
    turn = math.radians(angle)
    x, y = half + along * math.cos(turn), half - along * math.sin(turn)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    kernel = np.zeros((2 * half + 1, 2 * half + 1))
    for right, below in ((0, 0), (0, 1), (1, 0), (1, 1)):
        weight = np.abs(1 - right - (x - left)) * np.abs(1 - below - (y - top))
        np.add.at(kernel, (top + below, left + right), weight)
    return _even(kernel)


def _even(kernel: NDArray[np.float64]) -> Light:
    """Weights that sum to one, so that no light is lost."""
    weights: Light = (kernel / kernel.sum()).astype(np.float32)
    return weights


@cache
def _disc(radius: float) -> Light:
    """Even weight inside a circle; pixels on its rim by the part of them that lies inside."""
    half, fine = math.ceil(radius), 16
    place = (np.arange((2 * half + 1) * fine) + 0.5) / fine - half - 0.5
    inside = (place[:, None] ** 2 + place**2 <= radius**2).astype(float)
    kernel = inside.reshape(2 * half + 1, fine, 2 * half + 1, fine).sum(axis=(1, 3))
    return _even(kernel)


# --- light ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LowLight:
    """Too little light for the sensor, amplified to the brightness it had.

    ``photons`` detected in a pixel and colour that is white, ``read_noise`` of the electronics in
    electrons. In linear light, signal s has variance s / photons + (read_noise / photons) squared.
    """

    photons: float
    read_noise: float = 3.0

    @property
    def says(self) -> str:
        """Photons and read noise."""
        return f"{self.photons:g} photons at full scale, read noise {self.read_noise:g} electrons"

    def __call__(self, picture: Image.Image, rng: Random) -> Image.Image:
        """The picture as counted, noise of the electronics added, divided by the photons."""
        levels = np.asarray(picture)
        table = _counts(self.photons)
        drawn = rng.integers(0, table.shape[1], levels.shape, dtype=np.uint16)
        read = rng.standard_normal(levels.shape, dtype=np.float32) * np.float32(self.read_noise)
        return displayed((table[levels, drawn] + read) / np.float32(self.photons))


@cache
def _counts(photons: float, draws: int = 4096) -> NDArray[np.uint16]:
    """Photon counts of each of the 256 levels as quantiles of their Poisson law, (256, draws).

    A picture has 256 levels only, so looking counts up is a draw at a fifth of the price.
    """
    mean = photons * LIGHT.astype(np.float64)
    counts = np.arange(photons + 8 * math.sqrt(photons) + 16)
    below = pdtr(counts[None, :], mean[:, None])
    quantiles = (np.arange(draws) + 0.5) / draws
    return np.stack([np.searchsorted(row, quantiles) for row in below]).astype(np.uint16)


@dataclass(frozen=True)
class Infrared:
    """Night mode without its filter: ``share`` of the light is infrared, ``glare`` is stray light.

    Infrared counts alike in all three colours; it is guessed from the picture mostly by its red.
    Stray light is spread evenly, so that the mean stays.
    """

    share: float
    glare: float

    @property
    def says(self) -> str:
        """What of the light is infrared, and the contrast that stray light leaves."""
        return f"{self.share:.0%} of the light infrared, contrast {1 - self.glare:.0%}"

    def __call__(self, picture: Image.Image, rng: Random) -> Image.Image:
        """The greyed picture with its contrast reduced."""
        colours = light(picture)
        infrared = (colours @ _INFRARED)[:, :, None]
        mixed = colours + np.float32(self.share) * (infrared - colours)
        mean = mixed.mean(axis=(0, 1), dtype=np.float64).astype(np.float32)
        return displayed(mixed + np.float32(self.glare) * (mean - mixed))


# red is nearest to infrared; the numbers are ours, since three colours don't determine a fourth
_INFRARED: Light = np.array([0.8, 0.15, 0.05], np.float32)


@dataclass(frozen=True)
class Fog:
    """Fog before the person: exp(-``depth``) of the light arrives, the rest is ``airlight``.

    ``depth`` is the optical depth, extinction times distance, the same all over the picture;
    ``airlight`` is the brightness of the fog as a share of white, in linear light.
    """

    depth: float
    airlight: float = 0.5

    @property
    def says(self) -> str:
        """Optical depth, and the visibility that makes it at twenty metres."""
        # meteorological optical range: 5 % of the light are left
        visibility = 20 * math.log(20) / self.depth
        return (
            f"optical depth {self.depth:g}, {math.exp(-self.depth):.0%} of the light gets through "
            f"(as at 20 metres with {visibility:.0f} metres of visibility), "
            f"airlight {self.airlight:.0%} of white"
        )

    def __call__(self, picture: Image.Image, rng: Random) -> Image.Image:
        """The picture behind the fog."""
        through = np.float32(math.exp(-self.depth))
        return displayed(light(picture) * through + np.float32(self.airlight) * (1 - through))
