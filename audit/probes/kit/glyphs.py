"""Text of a figure in signs that its font lacks: another font of this machine, or a number."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final

from matplotlib import font_manager, ft2font
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text

#: fonts that are tried before all others: plain ones with many scripts
_FIRST: Final = re.compile(r"Noto Sans|Source Han|WenQuanYi|Arial Unicode|Hiragino|YaHei|Gothic")
#: fonts of boxes, of formulas, and in colours, which matplotlib can't draw
_NEVER: Final = re.compile(r"Last ?Resort|Color|STIX|^cm[a-z]+\d+$|Math|Symbol|Dingbats")
#: joiners, variation selectors and shades of skin go with the sign before them
_JOINING: Final = "\u200c\u200d\ufe0e\ufe0f\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f"
#: whether matplotlib writes from right to left and joins letters, which older ones do not
_SHAPES: Final = hasattr(ft2font, "__libraqm_version__")


def made_legible(figure: Figure) -> dict[str, str]:
    """Let a figure, drawn once, be drawn again without boxes in the place of signs.

    Signs that its font lacks are drawn in another font of this machine. Where none has them, each
    word of them becomes a number in square brackets.

    Returns:
        The words by their numbers; empty where every sign can be drawn.
    """
    wanting = [text for text in figure.findobj(Text) if _missing(text)]
    missing = {sign for text in wanting for sign in _missing(text)}
    more = _families(missing) if missing else {}
    if more:
        _draw_in(figure, wanting, list(more))
        missing = {sign for sign in missing if not any(_drawn(sign, has) for has in more.values())}
    if not missing:
        return {}
    one = f"[{re.escape(''.join(sorted(missing)))}]"
    word = re.compile(rf"{one}(?:{one}|[{_JOINING}]|\s+(?={one}))*")
    numbers: dict[str, str] = {}

    def number(found: re.Match[str]) -> str:
        words = " ".join(found[0].split())
        return f"[{numbers.setdefault(words, str(len(numbers) + 1))}]"

    for axis in _axes(figure):
        labels = [label.get_text() for label in axis.get_ticklabels()]
        if any(word.search(label) for label in labels):
            axis.set_ticks(axis.get_ticklocs(), labels=[word.sub(number, one) for one in labels])
    for text in wanting:
        text.set_text(word.sub(number, text.get_text()))
    return {number: words for words, number in numbers.items()}


def undrawn(words: Iterable[str]) -> list[str]:
    """Those words that a figure made on this machine can only number: no font has their signs."""
    known = _signs(font_manager.findfont("DejaVu Sans"))
    wanting = {word: {s for s in word if not _drawn(s, known)} for word in words}
    more = _families(set().union(*wanting.values()))
    return [
        word
        for word, signs in wanting.items()
        if any(not any(_drawn(s, has) for has in more.values()) for s in signs)
    ]


def _draw_in(figure: Figure, texts: Iterable[Text], more: list[str]) -> None:
    """Let texts, and labels of axes among them, fall back on more fonts."""
    for text in texts:
        text.set_fontfamily([*text.get_fontfamily(), *more])
    for axis in _axes(figure):
        axis.set_tick_params(labelfontfamily=[*font_manager.FontProperties().get_family(), *more])


def _axes(figure: Figure) -> Iterator[Axis]:
    return (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis))


def _missing(text: Text) -> set[str]:
    """The signs of a text that its font has no picture of."""
    told = unicodedata.normalize("NFC", text.get_text())
    if told.isascii():
        return set()
    known = _signs(font_manager.findfont(text.get_fontproperties()))
    return {sign for sign in told if not _drawn(sign, known)}


def _drawn(sign: str, known: frozenset[int]) -> bool:
    if sign.isspace() or re.match(f"[{_JOINING}]", sign):
        return True
    leftward = unicodedata.bidirectional(sign) in ("R", "AL")
    return ord(sign) in known and (_SHAPES or not leftward)


#: it tells of every weight that a font lacks
logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)


@lru_cache(maxsize=512)
def _signs(file: str) -> frozenset[int]:
    """What a font's file has pictures of; nothing of one that can't be read."""
    try:
        return frozenset(font_manager.get_font(file).get_charmap())
    except (ValueError, RuntimeError, OSError):
        return frozenset()


def _families(missing: set[str]) -> dict[str, frozenset[int]]:
    """Fonts of this machine that have some of these signs, with all that they have."""
    fonts = {f.name: f.fname for f in font_manager.fontManager.ttflist if f.style == "normal"}
    chosen: dict[str, frozenset[int]] = {}
    wanted = {ord(sign) for sign in missing}
    # the same font whatever order this machine lists them in
    for name in sorted(fonts, key=lambda n: (not _FIRST.search(n), n)):
        if wanted and not _NEVER.search(name) and wanted & _signs(fonts[name]):
            chosen[name] = _signs(fonts[name])
            wanted -= chosen[name]
    return chosen
