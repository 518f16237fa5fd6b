"""Pictures that are drawn here, with a right answer each: no file, no licence, nobody shown.

``easy`` asks what any CLIP tells, before an audit (``audit.models.self_check``). ``capabilities``
asks what CLIP is known to be good and bad at: colours, shapes, digits, words and counting, in
several drawings each, so that a share of right answers has an interval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_SIDE: Final = 224
_COLOURS: Final = {
    "red": "#e02020", "green": "#20a030", "blue": "#2040e0", "yellow": "#f0e020",
    "black": "#000000", "white": "#ffffff", "orange": "#f08010", "purple": "#8020a0",
}  # fmt: skip
_SHAPES: Final = ("circle", "square", "triangle", "cross")
_DIGITS: Final = tuple(str(digit) for digit in range(10))
_WORDS: Final = (
    "apple", "bridge", "candle", "forest", "garden",
    "hammer", "island", "letter", "river", "window",
)  # fmt: skip
_COUNTS: Final = ("one circle", *(f"{n} circles" for n in ("two", "three", "four", "five", "six")))
#: drawings of each answer
_DRAWINGS: Final = 6
_GREY: Final = "#b0b0b0"


@dataclass(frozen=True)
class Battery:
    """Pictures, a text for each answer, and the place of each picture's right one."""

    name: str
    texts: tuple[str, ...]
    pictures: tuple[Image.Image, ...]
    right: tuple[int, ...]


def easy() -> Iterator[Battery]:
    """Plain colours, shapes and digits, a picture of each."""
    plain = np.random.default_rng(0)  # nothing is drawn from it
    corner, size = (_SIDE // 5, _SIDE // 5), _SIDE - 2 * (_SIDE // 5)
    yield _battery(
        "colours", tuple(_COLOURS), "a picture of the plain colour {}.",
        lambda name, _: Image.new("RGB", (_SIDE, _SIDE), _COLOURS[name]), plain, 1,
    )  # fmt: skip
    yield _battery(
        "shapes", _SHAPES, "a black {} on a white background.",
        lambda name, _: _shape(name, corner, size), plain, 1,
    )  # fmt: skip
    yield _battery(
        "digits", _DIGITS, 'the number "{}".',
        lambda name, _: _text(name, (_SIDE // 2, _SIDE // 2), _SIDE * 3 // 4), plain, 1,
    )  # fmt: skip


def capabilities(seed: int = 0) -> Iterator[Battery]:
    """Colours, shapes, digits, words and counts, each answer in several places and sizes."""
    rng = np.random.default_rng(seed)
    kinds: tuple[tuple[str, Sequence[str], str, _Draw], ...] = (
        ("colours", tuple(_COLOURS), "a {} circle on a grey background.", _coloured),
        ("shapes", _SHAPES, "a black {} on a white background.", _placed_shape),
        ("digits", _DIGITS, 'the number "{}".', _placed_text),
        ("text in pictures", _WORDS, 'the word "{}".', _placed_text),
        ("counting", _COUNTS, "a picture of {}.", _counted),
    )
    for name, answers, text, draw in kinds:
        yield _battery(name, answers, text, draw, rng, _DRAWINGS)


_Draw = Callable[[str, np.random.Generator], Image.Image]


def _battery(
    name: str, answers: Sequence[str], text: str, draw: _Draw, rng: np.random.Generator, each: int
) -> Battery:
    texts = tuple(text.format(answer) for answer in answers)
    places = tuple(place for place in range(len(answers)) for _ in range(each))
    return Battery(name, texts, tuple(draw(answers[place], rng) for place in places), places)


def _blank(colour: str = "white") -> Image.Image:
    return Image.new("RGB", (_SIDE, _SIDE), colour)


def _shape(name: str, corner: tuple[int, int], size: int) -> Image.Image:
    image = _blank()
    pen = ImageDraw.Draw(image)
    (left, top), right, low = corner, corner[0] + size, corner[1] + size
    across, down, thick = left + size // 2, top + size // 2, 5 * size // 42
    if name == "circle":
        pen.ellipse((left, top, right, low), fill="black")
    elif name == "square":
        pen.rectangle((left, top, right, low), fill="black")
    elif name == "triangle":
        pen.polygon([(across, top), (left, low), (right, low)], fill="black")
    else:
        pen.rectangle((left, down - thick, right, down + thick), fill="black")
        pen.rectangle((across - thick, top, across + thick, low), fill="black")
    return image


def _placed_shape(name: str, rng: np.random.Generator) -> Image.Image:
    size = int(rng.integers(_SIDE // 4, _SIDE // 2))
    left, top = rng.integers(4, _SIDE - size - 4, 2)
    return _shape(name, (int(left), int(top)), size)


def _coloured(name: str, rng: np.random.Generator) -> Image.Image:
    image, size = _blank(_GREY), int(rng.integers(_SIDE // 4, _SIDE // 2))
    left, top = map(int, rng.integers(4, _SIDE - size - 4, 2))
    ImageDraw.Draw(image).ellipse((left, top, left + size, top + size), fill=_COLOURS[name])
    return image


def _text(words: str, middle: tuple[int, int], size: int) -> Image.Image:
    image = _blank()
    font = ImageFont.load_default(size=size)
    ImageDraw.Draw(image).text(middle, words, fill="black", font=font, anchor="mm")
    return image


def _placed_text(words: str, rng: np.random.Generator) -> Image.Image:
    """A digit or a word, always whole: six letters are about four times as wide as high."""
    size = int(rng.integers(28, 44)) if len(words) > 1 else int(rng.integers(60, 120))
    reach = _SIDE // 6
    across, down = map(int, _SIDE // 2 + rng.integers(-reach // 2, reach // 2, 2))
    return _text(words, (across, down), size)


def _counted(words: str, rng: np.random.Generator) -> Image.Image:
    """So many circles that do not touch: each in a cell of its own of a grid of three by three."""
    image = _blank()
    pen, cell = ImageDraw.Draw(image), _SIDE // 3
    for place in rng.permutation(9)[: _COUNTS.index(words) + 1]:
        size = int(rng.integers(cell // 2, cell - 8))
        left, top = map(int, rng.integers(2, cell - size - 2, 2))
        left, top = left + cell * int(place % 3), top + cell * int(place // 3)
        pen.ellipse((left, top, left + size, top + size), fill="black")
    return image
