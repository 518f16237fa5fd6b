"""Poor footage: what cameras do to pictures, in physical quantities, at five severities.

    picture -> one camera (224 pixels across) -> a degradation -> picture

Every picture is first brought to the same camera, by the resizing that a CLIP with 224 pixels does
anyway; so the same severity is the same footage whatever resolution the files have and whoever
looks. Light is added up where light adds up: blur, noise, fog and distance are worked in linear
light, not in the numbers of the file. docs/corruptions.md has the table and the limits.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, cast

import numpy as np
from PIL import Image

from audit.core.errors import InputError, sentence
from audit.core.registry import Registry
from audit.data.alterations import Alteration
from audit.data.degradations import (
    Compression,
    Defocus,
    Degradation,
    Distance,
    Fog,
    Infrared,
    LowLight,
    MotionBlur,
    OffCentre,
    fewer_pixels,
)
from audit.data.images import pixel_digest

SEVERITIES: Final = (1, 2, 3, 4, 5)
"""From barely visible to a person could just about tell who or what is there."""

CAMERA: Final = 224
"""Pixels of the camera across the shorter side of what it sees."""

_VERSION = 1  # of the camera and the stream of noise; a recipe has its own
_LONGEST = 8  # shorter sides; beyond that a strip would become a huge picture


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
            raise InputError(given, "A corruption has five, from mild to strong")

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
        raise InputError(given, "A face's width is a share above 0")
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
    return rgb if size == rgb.size else rgb.resize(size, Image.Resampling.BICUBIC)


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
        raise InputError(given, "Give it, or use the corruption 'distance'")
    return fewer_pixels(seen(image), across / share)


# --- the recipes ----------------------------------------------------------------------------------


_RECIPES: Final[Mapping[str, tuple[str, Iterable[Degradation]]]] = {
    "distance": (
        "A person farther from the camera: fewer pixels, nothing else that distance brings.",
        map(Distance, (100, 70, 50, 35, 25)),
    ),
    "motion blur": (
        "People who walk across the view of a slow shutter; the backdrop moves with them.",
        map(MotionBlur, (4, 8, 14, 22, 30)),
    ),
    "defocus": (
        "A lens out of focus, by the same amount all over the picture.",
        map(Defocus, (1.5, 3, 5, 7.5, 10.5)),
    ),
    "low light": (
        "Few photons and a gain that makes up for them; no denoising, which cameras add.",
        map(LowLight, (800, 200, 60, 20, 8)),
    ),
    "compression": (
        "One still at a low JPEG quality; nothing that video adds between frames.",
        map(Compression, (45, 25, 15, 9, 5)),
    ),
    "infrared": (
        "Grey like night mode; real infrared also evens out skin tones, which this can't show.",
        map(Infrared, (0.3, 0.65, 1.0, 1.0, 1.0), (0.1, 0.25, 0.4, 0.6, 0.72)),
    ),
    "off-centre": (
        "A crop that misses its person; what remains is enlarged, so it is closer as well.",
        map(OffCentre, (0.04, 0.08, 0.13, 0.18, 0.23)),
    ),
    "fog": (
        "A grey veil, even all over the picture; no blur and no glow round lamps.",
        map(Fog, (0.1, 0.25, 0.55, 1.0, 1.6)),
    ),
}
for _name, (_about, _severities) in _RECIPES.items():
    CORRUPTIONS.register(_name)(Corruption(_name, _about, 1, tuple(_severities)))
