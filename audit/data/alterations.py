"""Something done to a picture before it is encoded, under a name that says all of it.

Here: how much of a picture is shown, as a share of its side. What cameras do to pictures is in
``audit.data.corruptions``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import numpy as np
from PIL import Image as PillowImage
from PIL.Image import Image

from audit.core.errors import InputError
from audit.core.registry import unknown

#: the name of doing nothing
AS_IT_IS: Final = "as it is"


@dataclass(frozen=True)
class Alteration:
    """What is done to a picture: ``apply`` maps it to the altered one.

    ``name`` states every setting and the version of the recipe: embeddings are kept under it, so
    the same name must always mean the same pixels.
    """

    name: str
    apply: Callable[[Image], Image] = field(compare=False, repr=False)

    def __call__(self, image: Image) -> Image:
        """The altered picture."""
        return self.apply(image)


def centre_crop(image: Image, share: float) -> Image:
    """The middle of a picture: ``share`` of its width and of its height, at least one pixel.

    FairFace's narrow pictures (a quarter of the face's side on each side of it) show of its wide
    ones (five quarters) 1.5 / 3.5 of the side: ``centre crop 0.43``.
    """
    width, height = (max(1, round(share * side)) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def padding(image: Image, share: float) -> Image:
    """A picture in a plain border, in the mean colour of its outermost pixels.

    The border is ``share`` of the width on the left and on the right, of the height above and
    below. The person becomes smaller, as in a wider view, but what that would show is not there.
    """
    rgb = image.convert("RGB")
    pixels = np.asarray(rgb, dtype=np.float64)
    edge = np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])
    red, green, blue = (round(float(value)) for value in edge.mean(axis=0))
    right, down = (round(share * side) for side in rgb.size)
    size = (rgb.width + 2 * right, rgb.height + 2 * down)
    canvas = PillowImage.new("RGB", size, (red, green, blue))
    canvas.paste(rgb, (right, down))
    return canvas


@dataclass(frozen=True)
class _Kind:
    """A recipe with one share to set, which lies above 0 and below (or at) ``most``."""

    apply: Callable[..., Image]  # of a picture and its share
    says: str
    most: float
    example: str


_KINDS: Final[Mapping[str, _Kind]] = {
    "centre crop": _Kind(centre_crop, "the share of the side that is kept", 0.99, "0.8"),
    "padding": _Kind(padding, "the border on each side as a share of the side", 2.0, "0.25"),
}


def alteration(name: str) -> Alteration:
    """What a name such as 'centre crop 0.8' or 'padding 0.25' says is done to a picture.

    Raises:
        InputError: no such alteration, no share, or one out of range.
    """
    kind, given = _parts(name)
    if kind not in _KINDS:
        forms = ", ".join(f"'{k} {recipe.example}'" for k, recipe in _KINDS.items())
        see = f"Such as {forms}; '{AS_IT_IS}' alters nothing."
        raise unknown("alteration of a picture", name, (AS_IT_IS, *_KINDS), see=see)
    recipe = _KINDS[kind]
    share = _number(given)
    if share is None or not 0.01 <= share <= recipe.most:
        told = f"'{name}': '{kind}' needs {recipe.says}, from 0.01 to {recipe.most:g}"
        raise InputError(told, f"Write it as '{kind} {recipe.example}'")
    return Alteration(f"{kind} {share!r}", partial(recipe.apply, share=share))


def _parts(name: str) -> tuple[str, str]:
    """The words of a name, and the number after them if there is one."""
    words = name.split()
    number = words.pop() if words and _number(words[-1]) is not None else ""
    return " ".join(words), number


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
