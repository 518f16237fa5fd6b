"""'A' or 'an': which of the two goes before a text."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from audit.core.resources import shipped
from audit.data.yamlfile import load_yaml

_FIRST_WORD = re.compile(r"\W*(\d+|[^\W\d_]+)")
_VOWELS = "aeiou"
#: letters whose names begin with a vowel: 'an F'
_NAMED_WITH_A_VOWEL = "aefhilmnorsx"


def vowel_sound(text: str) -> bool:
    """Whether 'an' goes before ``text``: by its first letter or digit, with a list of exceptions.

    The exceptions are in ``label_sets/articles.yaml``. A word without vowels is read letter by
    letter (NHS).
    """
    letters = (c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    first = _FIRST_WORD.match("".join(letters))
    if first is None:
        return False
    word = first[1]
    if word.isdigit():
        return word.startswith("8") or word in ("11", "18")
    if article := _listed(word):
        return article == "an"
    word = word.casefold()
    spelt = {*"aeiouy"}.isdisjoint(word)
    return word[0] in (_NAMED_WITH_A_VOWEL if spelt else _VOWELS)


def _listed(word: str) -> str:
    """The article that the list gives a word, or the longest beginning of it; '' if none."""
    listed, lower = _exceptions(), word.casefold()
    beginnings = (f"{lower[:n]}*" for n in range(len(lower), 0, -1))
    return next((listed[one] for one in (word, lower, *beginnings) if one in listed), "")


@lru_cache(maxsize=1)
def _exceptions() -> dict[str, str]:
    listed = load_yaml(shipped("label_sets") / "articles.yaml")
    return {word: article for article, words in listed.items() for word in words}
