"""Poor footage: what cameras do to pictures, in physical quantities, at five severities.

    picture -> one camera (224 pixels across) -> a degradation -> picture

Every picture is first brought to the same camera, by the resizing that a CLIP with 224 pixels does
anyway; so the same severity is the same footage whatever resolution the files have and whoever
looks. Light is added up where light adds up: blur, noise, fog and distance are worked in linear
light, not in the numbers of the file. docs/corruptions.md has the table and the limits.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Final, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import irfft2, next_fast_len, rfft2
from scipy.special import pdtr

from audit.core.errors import InputError, sentence
from audit.core.registry import Registry
from audit.data.alterations import Alteration
from audit.data.images import pixel_digest

Light = NDArray[np.float32]
Random = np.random.Generator

SEVERITIES: Final = (1, 2, 3, 4, 5)
"""From barely visible to a person could just about tell who or what is there."""

CAMERA: Final = 224
"""Pixels of the camera across the shorter side of what it sees."""

FACE_SHARE: Final = 0.4
"""Share of the shorter side that a face is taken to fill where nobody measured it."""

_VERSION = 1  # of the camera and the stream of noise; a recipe has its own
_LONGEST = 8  # shorter sides; beyond that a strip would become a huge picture
_BICUBIC, _BOX = Image.Resampling.BICUBIC, Image.Resampling.BOX


class Degradation(Protocol):
    """What happens to a picture at one severity: its fields are physical quantities."""

    @property
    def says(self) -> str:
        """The quantities with their units, as a person reads them."""

    def __call__(self, picture: Image.Image, rng: Random) -> Image.Image:
        """The degraded RGB picture; all chance comes from ``rng``."""


@dataclass(frozen=True)
class Corruption:
    """A recipe: a named corruption at five severities.

    ``about`` says in one sentence what it shows and what it leaves out; ``version`` rises whenever
    the same quantities would give other pixels, so that no stored embedding is mistaken for new.
    """

    name: str
    about: str
    version: int
    severities: tuple[Degradation, ...]

    def __post_init__(self) -> None:
        if len(self.severities) != len(SEVERITIES):
            given = f"corruption '{self.name}': {len(self.severities)} severities"
            raise InputError(sentence(given, "A corruption has five, from mild to strong"))

    def at(self, severity: int) -> Degradation:
        """What it does at a severity from 1 to 5; raises InputError for any other."""
        if isinstance(severity, bool) or severity not in SEVERITIES:
            raise InputError(_no_severity(self.name, severity))
        return self.severities[int(severity) - 1]


CORRUPTIONS: Final[Registry[Corruption]] = Registry(
    "corruption", "clip_audit.corruptions", "'clip-audit list corruptions' shows all."
)


def corruption(name: str, severity: int, *, seed: int = 0) -> Alteration:
    """A named corruption as something the store applies before it encodes.

    Noise derives from ``seed``, the picture, the corruption and its severity alone, so neither the
    order of pictures nor batches nor processes matter. Raises InputError for a name or a severity
    that doesn't exist.
    """
    recipe = CORRUPTIONS[name]
    degradation = recipe.at(severity)
    stream = f"{name} {int(severity)}, recipe {_VERSION}.{recipe.version}, seed {seed}"
    apply = partial(_through_camera, degradation=degradation, stream=stream)
    return Alteration(f"{stream}, camera {CAMERA}: {degradation.says}", apply)


def camera() -> Alteration:
    """The camera alone, without a corruption: what corrupted pictures are compared with."""
    return Alteration(f"camera {CAMERA}, recipe {_VERSION}", seen)


def face_distance(severity: int, faces: Mapping[str, float]) -> Alteration:
    """Distance by the pixels across each picture's own face instead of across the picture.

    ``faces`` gives, by ``pixel_digest`` of the decoded picture, the width of the face as a share of
    the picture's shorter side. A picture that has fewer pixels across the face already stays as it
    is. Raises InputError for a severity that doesn't exist, a share that isn't above 0, and when
    applied to a picture that isn't in ``faces``.
    """
    wrong = next((share for share in faces.values() if not (0 < share < math.inf)), None)
    if wrong is not None:
        given = f"faces: a width of {wrong!r} of the picture's shorter side"
        raise InputError(sentence(given, "A face's width is a share above 0"))
    recipe = CORRUPTIONS["distance"]
    across = cast(Distance, recipe.at(severity)).face
    known = hashlib.sha256(repr(sorted(faces.items())).encode()).hexdigest()[:16]
    name = (
        f"distance {int(severity)}, recipe {_VERSION}.{recipe.version}, camera {CAMERA}: "
        f"{across:g} pixels across the face, faces {known}"
    )
    return Alteration(name, partial(_at_face, across=across, faces=dict(faces)))


def describe(name: str, severity: int) -> str:
    """A corruption and a severity in words: 'low light: 60 photons at full scale, ...'."""
    return f"{name}: {CORRUPTIONS[name].at(severity).says}"


def _no_severity(name: str, severity: object) -> str:
    near = None
    if isinstance(severity, int | float) and not isinstance(severity, bool | np.bool_):
        near = f"Did you mean {min(SEVERITIES, key=lambda s: abs(s - severity))}?"
    allowed = "Severities are the whole numbers 1 (barely visible) to 5 (one can just about tell)"
    return sentence(f"corruption '{name}': no severity {severity!r}", near, allowed)


# --- the camera -----------------------------------------------------------------------------------


def seen(image: Image.Image) -> Image.Image:
    """What the camera sees: RGB, on white, CAMERA pixels across the shorter side.

    Strips longer than eight times their width get a shorter side below that.
    """
    rgb = _on_white(image)
    shorter, longer = sorted(rgb.size)
    scale = min(CAMERA / shorter, _LONGEST * CAMERA / longer)
    size = (max(1, round(rgb.width * scale)), max(1, round(rgb.height * scale)))
    return rgb if size == rgb.size else rgb.resize(size, _BICUBIC)


def _on_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def _through_camera(image: Image.Image, degradation: Degradation, stream: str) -> Image.Image:
    picture = seen(image)
    content = hashlib.sha256(f"{pixel_digest(picture)}\n{stream}".encode()).digest()
    return degradation(picture, np.random.default_rng(int.from_bytes(content, "big")))


def _at_face(image: Image.Image, across: float, faces: Mapping[str, float]) -> Image.Image:
    share = faces.get(pixel_digest(_on_white(image)))
    if share is None:
        given = "distance by the face: a picture without the width of its face"
        raise InputError(sentence(given, "Give it, or use the corruption 'distance'"))
    return _fewer_pixels(seen(image), across / share)


def light(picture: Image.Image) -> Light:
    """Linear light, (height, width, 3), 0 to 1, of an RGB picture: the sRGB curve undone."""
    values: Light = _LIGHT[np.asarray(picture)]
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
_LIGHT: Light = _srgb_to_light(np.arange(256) / 255).astype(np.float32)
_SHOWN: NDArray[np.uint8] = (_light_to_srgb(np.arange(65536) / 65535) * 255 + 0.5).astype(np.uint8)


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
        return _fewer_pixels(picture, self.pixels)


def _fewer_pixels(picture: Image.Image, across: float) -> Image.Image:
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
    mean = photons * _LIGHT.astype(np.float64)
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


# --- the recipes ----------------------------------------------------------------------------------


for _recipe in (
    Corruption(
        "distance",
        "A person farther from the camera: fewer pixels, nothing else that distance brings.",
        1,
        (Distance(100), Distance(70), Distance(50), Distance(35), Distance(25)),
    ),
    Corruption(
        "motion blur",
        "People who walk across the view of a slow shutter; the backdrop moves with them.",
        1,
        (MotionBlur(4), MotionBlur(8), MotionBlur(14), MotionBlur(22), MotionBlur(30)),
    ),
    Corruption(
        "defocus",
        "A lens out of focus, by the same amount all over the picture.",
        1,
        (Defocus(1.5), Defocus(3), Defocus(5), Defocus(7.5), Defocus(10.5)),
    ),
    Corruption(
        "low light",
        "Few photons and a gain that makes up for them; no denoising, which cameras add.",
        1,
        (LowLight(800), LowLight(200), LowLight(60), LowLight(20), LowLight(8)),
    ),
    Corruption(
        "compression",
        "One still at a low JPEG quality; nothing that video adds between frames.",
        1,
        tuple(Compression(quality) for quality in (45, 25, 15, 9, 5)),
    ),
    Corruption(
        "infrared",
        "Grey like night mode; real infrared also evens out skin tones, which this can't show.",
        1,
        (
            Infrared(0.3, 0.1),
            Infrared(0.65, 0.25),
            Infrared(1.0, 0.4),
            Infrared(1.0, 0.6),
            Infrared(1.0, 0.72),
        ),
    ),
    Corruption(
        "off-centre",
        "A crop that misses its person; what remains is enlarged, so it is closer as well.",
        1,
        tuple(OffCentre(shift) for shift in (0.04, 0.08, 0.13, 0.18, 0.23)),
    ),
    Corruption(
        "fog",
        "A grey veil, even all over the picture; no blur and no glow round lamps.",
        1,
        (Fog(0.1), Fog(0.25), Fog(0.55), Fog(1.0), Fog(1.6)),
    ),
):
    CORRUPTIONS.register(_recipe.name)(_recipe)
