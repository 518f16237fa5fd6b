r"""Characters that are not seen, or that change how what follows them is shown.

Names of columns, groups, labels and files come from people. Wherever they are printed, such a
character is shown as its number, ``\x1b`` or ``\u202e``, and is not carried out.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from typing import Final

#: how an emoji flag of England, Scotland or Wales is written
_FLAGS: Final = "\U0001f3f4[\U000e0020-\U000e007e]{1,12}\U000e007f"
#: control characters, marks of direction, blanks without width, halves of a pair, and what is no
#: character. The joiners U+200C and U+200D are none of them: Persian and emoji are written with
#: them. Nor are tab and new line, which every place treats in its own way.
_UNSEEN: Final = re.compile(
    f"{_FLAGS}|("
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\xad\\u061c\\u180e\\u200b\\u200e\\u200f\\u2028-\\u202e"
    "\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb\\ufdd0-\\ufdef\\ufffe\\uffff\\ud800-\\udfff"
    "\\U000e0000-\\U000e007f"
    + "".join(f"\\U{plane:04x}fffe\\U{plane:04x}ffff" for plane in range(1, 17))
    + "])"
)
#: signs of a text that a sentence shows
LONG: Final = 60


def visible(text: str) -> str:
    r"""Text in which each character that is not seen is shown as its number.

    Tab and new line stay; ``one_line`` shows them too.

    >>> print(visible("a\x1b[31m\u202eb"))
    a\x1b[31m\u202eb
    """
    if text.isprintable():  # none of those, and soon told
        return text
    return _UNSEEN.sub(lambda found: _number(found[1]) if found[1] else found[0], text)


def one_line(text: str) -> str:
    r"""Text on one line: tab and new line are shown as ``\t`` and ``\n``."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def unseen(text: str) -> str | None:
    """The first character that is not seen, as its number; None if there is none."""
    found = next((m[1] for m in _UNSEEN.finditer(text) if m[1]), None)
    return None if found is None else _number(found)


def plain(text: str) -> str:
    """What is left of a text without case, Unicode form, invisible signs and width of blanks."""
    composed = unicodedata.normalize("NFKC", text)
    seen = "".join(
        c for c in composed if c.isspace() or unicodedata.category(c) not in ("Cf", "Cc")
    )
    return " ".join(seen.split()).casefold()


def apart(texts: Collection[str]) -> str:
    """How texts differ that ``plain`` makes one."""
    if len({text.casefold() for text in texts}) == 1:
        return "differ only in case"
    if len({unicodedata.normalize("NFKC", text).casefold() for text in texts}) == 1:
        return "differ only in Unicode form or case"
    return "differ only in blanks, invisible signs, Unicode form or case"


def spelt(text: str) -> str:
    r"""The text with signs that can't be seen written as their code: ``a\u200b``."""
    short = text if len(text) <= LONG else text[:LONG] + "..."
    return "".join(
        c if c == " " or unicodedata.category(c)[0] not in "CZM" else _number(c, "\\u00")
        for c in short
    )


def _number(character: str, small: str = "\\x") -> str:
    at = ord(character)
    return f"{small}{at:02x}" if at < 0x100 else f"\\u{at:04x}" if at < 0x10000 else f"\\U{at:08x}"
