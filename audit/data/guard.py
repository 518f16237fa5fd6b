"""Does a text accuse somebody, or ask what the law protects? The one guard on free words.

It knows stems (``label_sets/accusing.yaml``) and the labels of the shipped sets that need
acknowledgement. It does not pretend to be complete: 'a man who does not belong here' accuses in
plain words, and 'thief' may be the title of a film. It asks for ``acknowledge:``; whoever writes
the words answers for them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from audit.core.characters import plain
from audit.core.resources import shipped
from audit.data.tags import bundled_tags
from audit.data.yamlfile import load_yaml

#: the file of stems
_STEMS: Final = "accusing"
#: tags of labels that accuse somebody
_ACCUSING: Final = frozenset({"crime", "suspicion"})
#: the tag of stems, which are of no label set
_SUSPICION: Final = ("suspicion",)
#: the tag of a group that the law protects, in a set that asks for care as a whole
_GROUP: Final = ("special",)
_TOKENS: Final = re.compile(r"[^\W_]+|[^\w\s'’-]")
_ING: Final = re.compile(r"(?<=.)([^\W_])\1?ing$")


@dataclass(frozen=True)
class Accusation:
    """What was found in a text: the words, the list that has them, and their tags there."""

    words: str
    source: str
    tags: tuple[str, ...]

    @property
    def where(self) -> str:
        """The list, as a sentence names it."""
        stems = self.source == _STEMS
        return "among the accusing words" if stems else f"in the label set '{self.source}'"


def accusation(text: str) -> Accusation | None:
    """What of a text needs acknowledgement, None if the lists know nothing of it.

    Case, joiners and invisible signs do not count. 'person' in a list is found as man, woman, boy,
    people and the like, and a phrase also where it has one word more between two of its words.
    """
    every, phrases = _known()
    said = _canonical(text)
    match = every.search(said)
    if match is None:
        return None
    pattern = next(p for p in phrases if re.fullmatch(p, match[0]))
    return Accusation(match[0], *phrases[pattern])


@lru_cache(maxsize=1)
def _list() -> Mapping[str, frozenset[str]]:
    """The parts of the file of stems: ``stems``, ``person``, ``left_out`` and ``apart``."""
    of = load_yaml(shipped("label_sets") / f"{_STEMS}.yaml")
    return {part: frozenset(of[part]) for part in ("stems", "person", "left_out", "apart")}


@lru_cache(maxsize=1)
def _known() -> tuple[re.Pattern[str], Mapping[str, tuple[str, tuple[str, ...]]]]:
    """One pattern of all that is known, and each part's list and tags, longest first."""
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for words, source, tags in (*_labels(), *_stems()):
        if words != "person":
            found.setdefault(_pattern(words), (source, tags))
    longest = dict(sorted(found.items(), key=lambda one: -len(one[0])))
    return re.compile(rf"\b(?:{'|'.join(longest)})\b"), longest


def _labels() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Labels that need acknowledgement by a tag, or name a group of people in a set that does.

    Of a group only phrases that name people: 'white' is also the colour of a car, 'white person'
    is not. The key of a label that accuses counts too: 'violent' of 'violent person'.

    Returns:
        canonical words, name of the set, and the tags that ask for care.
    """
    careful = {name for name, tag in bundled_tags().items() if tag.acknowledge}
    for path in sorted((shipped("label_sets") / "labels").glob("*.yaml")):
        of = load_yaml(path)
        for label in (*of["labels"], *of.get("additions", {}).values()):
            tags = () if isinstance(label, str) else tuple(label.get("tags", ()))
            asked = tuple(tag for tag in tags if tag in careful)
            forms = [label[n] for n in ("text", "singular", "person") if tags and n in label]
            if not _ACCUSING.isdisjoint(tags) and "key" in label:
                forms.append(label["key"])
            for words in map(_canonical, forms):
                group = "demographic" in tags and of.get("acknowledge") and " " in words
                if asked or (group and "person" in words.split()):
                    yield words, path.stem, asked or _GROUP


def _stems() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    for stem in _list()["stems"]:
        any_ending = "*" * stem.endswith("-")
        yield _canonical(stem) + any_ending, _STEMS, _SUSPICION


def _canonical(text: str) -> str:
    """A text as words with single blanks: no case, no articles, everybody a 'person'."""
    person, left_out = _list()["person"], _list()["left_out"]
    words = (word for word in _TOKENS.findall(plain(text)) if word not in left_out)
    return " ".join("person" if word in person else word for word in words)


def _pattern(words: str) -> str:
    """Canonical words as a pattern: a word alone may be several, a verb in a phrase be inflected.

    A word that ends with an asterisk may end anyhow.
    """
    parts = words.split()
    if len(parts) == 1 and not words.endswith("*"):
        return rf"{re.escape(words)}(?:e?s)?"
    inflected = (_ING.sub(r"\1\\w{0,4}", re.escape(part)) for part in parts)
    forms = (part.replace(r"\*", r"\w*") for part in inflected)
    one_more = rf"(?: (?!(?:{'|'.join(sorted(_list()['apart']))})\b)\w+)? "
    return one_more.join(forms)


__all__ = ["Accusation", "accusation"]
