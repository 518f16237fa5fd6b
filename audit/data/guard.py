"""Does a text accuse somebody, or ask what the law protects? The one guard on free words.

It knows stems (``label_sets/accusing.yaml``) and the labels of the shipped sets that need
acknowledgement; all of them are English. It does not pretend to be complete: 'a customer who did
not pay' accuses in plain words, and 'thief' may be the title of a film. It asks for
``acknowledge:``; whoever writes the words answers for them. How much passes: docs/scenes.md.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
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
#: the tag of a group that the law protects, in a set that asks for care as a whole
_GROUP: Final = ("special",)
_TOKENS: Final = re.compile(r"[^\W\d_]+|\d+|[^\w\s'’-]")
_ING: Final = re.compile(r"(?<=.)([^\W_])\1?ing$")
#: four letters or more that stand apart, as in 'l o i t e r'; 'a' before them is an article
_SPACED: Final = re.compile(r"(?<!\w)(?!a )(?:[^\W\d_][\s._*-]){3,}[^\W\d_](?!\w)")
#: signs before a letter that are read as letters, as in 'th1ef'; numbers end otherwise
_DISGUISED: Final = re.compile(r"(?<!\d)[0134578@$]{1,2}(?=[a-z])")
_LETTERS: Final = str.maketrans("0134578@$", "oieastbas")


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


@dataclass(frozen=True)
class Known:
    """Patterns of all that is known, and each part's list and tags, longest first."""

    harmless: re.Pattern[str]
    things: re.Pattern[str]
    every: re.Pattern[str]
    parts: Mapping[str, tuple[str, tuple[str, ...]]]


def accusation(text: str) -> Accusation | None:
    """What of a text needs acknowledgement, None if the lists know nothing of it.

    Case, accents, joiners, invisible signs, digits for letters and blanks between them do not
    count, nor does one wrong letter in a long word. 'person' in a list is found as man, woman, boy,
    people and the like, and a phrase also where it has one word more between two of its words.
    Harmless phrases are taken out first, and where nobody is named also things: 'crime novel'.
    """
    known = _known()
    said = " ".join(words := _words(text))
    if "person" not in words:  # with its articles: 'stealing a book' is no thing
        said = known.things.sub(";", said)
    said = known.harmless.sub(";", _without_articles(said.split()))
    match = known.every.search(said)
    if match is None:
        return None
    pattern = next(p for p in known.parts if re.compile(p).fullmatch(said, *match.span()))
    return Accusation(match[0], *known.parts[pattern])


@lru_cache(maxsize=1)
def _list() -> Mapping[str, frozenset[str]]:
    """The parts of the file of stems that are lists of words."""
    of = load_yaml(shipped("label_sets") / f"{_STEMS}.yaml")
    return {part: frozenset(words) for part, words in of.items() if isinstance(words, list)}


@lru_cache(maxsize=1)
def _known() -> Known:
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for words, source, tags in (*_labels(), *_stems()):
        if words != "person":
            found.setdefault(_pattern(words), (source, tags))
    longest = dict(sorted(found.items(), key=lambda one: -len(one[0])))
    every, things = "|".join(longest), "|".join(sorted(_list()["things"]))
    harmless = "|".join(sorted(re.escape(_canonical(phrase)) for phrase in _list()["harmless"]))
    return Known(
        harmless=re.compile(rf"\b(?:{harmless})s?\b"),
        things=re.compile(rf"\b(?:{every})(?<!ing) (?:{things})s?\b"),
        every=re.compile(rf"\b(?:{every})\b"),
        parts=longest,
    )


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
    for tag, stems in load_yaml(shipped("label_sets") / f"{_STEMS}.yaml")["stems"].items():
        for stem in stems:
            mark = "*" * stem.endswith("-") + "!" * stem.endswith(".")
            yield _canonical(stem.rstrip("-.")) + mark, _STEMS, (tag,)


def _canonical(text: str) -> str:
    """A text as words with single blanks: no case, no articles, everybody a 'person'."""
    return _without_articles(_words(text))


def _words(text: str) -> list[str]:
    person = _list()["person"]
    return [
        "person" if word in person else _righted(word) for word in _TOKENS.findall(_folded(text))
    ]


def _without_articles(words: Sequence[str]) -> str:
    return " ".join(word for word in words if word not in _list()["left_out"])


def _folded(text: str) -> str:
    """A text without case and accents, with letters where digits or blanks disguise them."""
    apart = unicodedata.normalize("NFKD", plain(text))
    bare = "".join(sign for sign in apart if not unicodedata.combining(sign))
    joined = _SPACED.sub(lambda found: re.sub(r"[\W_]", "", found[0]), bare)
    return _DISGUISED.sub(lambda found: found[0].translate(_LETTERS), joined)


def _righted(word: str) -> str:
    """The long word of which this is a misspelling, or the word itself."""
    return next((_misspelt()[less] for less in _fewer(word) if less in _misspelt()), word)


@lru_cache(maxsize=1)
def _misspelt() -> Mapping[str, str]:
    words = sorted(_list()["misspelt"])
    fewer = {less: word for word in words for less in _fewer(word)}
    return fewer | {word: word for word in words}


def _fewer(word: str) -> list[str]:
    """A word, and it less each letter but the first: one wrong letter leaves one in common."""
    return [word, *(word[:i] + word[i + 1 :] for i in range(1, len(word)))]


def _pattern(words: str) -> str:
    """Canonical words as a pattern: a word alone may be several, a verb in a phrase be inflected.

    After an asterisk any ending may follow; after an exclamation mark nothing that it describes.
    """
    parts = words.rstrip("!").split()
    if len(parts) == 1 and not words.endswith("*"):
        return rf"{re.escape(parts[0])}(?:e?s)?{_alone() * words.endswith('!')}"
    inflected = (_ING.sub(r"\1\1?(?:ing|e?s|ed|ers?|e)?", re.escape(part)) for part in parts)
    forms = (part.replace(r"\*", r"\w*") for part in inflected)
    one_more = rf"(?: (?!(?:{_apart()})\b)\w+)? "
    return one_more.join(forms) + _alone() * words.endswith("!")


def _apart() -> str:
    return "|".join(sorted(_list()["apart"]))


def _alone() -> str:
    """What has to follow a word that names somebody only where it describes nothing else."""
    return rf"(?=$| person\b| (?:{_apart()})\b| \w+ing\b| [^\w\s])"
