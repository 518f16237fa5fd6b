"""Labels asked of pictures in any wording: class embeddings, their ensemble, and who is chosen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audit.core.arrays import Singles
from audit.core.tables import ENSEMBLE
from audit.data.alterations import AS_IT_IS
from audit.data.labels import Article, LabelSet, Phrasing, PromptSet, has_article, prompt
from audit.measure.metrics import Block, Groups, Tally, margin_family, rates
from audit.models.encoder import Texts

if TYPE_CHECKING:
    from audit.store.embeddings import Embeddings

Codes = NDArray[np.int16]
#: similarities held at a time: 16 MB, whatever the number of pictures
_CELLS: Final = 4_000_000
#: choices looked at a time, pictures by wordings: a few MB in each of several forms
_CHOICES: Final = 1_000_000


@dataclass(frozen=True)
class Wording:
    """One way to put a question."""

    template: str
    article: Article = "as written"
    shift: float = 0.0
    phrasing: Phrasing = "as written"
    alteration: str = AS_IT_IS

    @property
    def name(self) -> str:
        """The wording in a few words, and in so many digits that no other has the same."""
        article = "" if self.article == "as written" else f", article {self.article}"
        phrasing = "" if self.phrasing == "as written" else f", labels as {self.phrasing}"
        # the shortest decimals that give this number and no other
        shift = f", gap shifted by {f'{self.shift:+}'.removesuffix('.0')}" if self.shift else ""
        alteration = "" if self.alteration == AS_IT_IS else f", {self.alteration}"
        return f"{self.template}{article}{phrasing}{shift}{alteration}"

    def prompt(self, label: str) -> str:
        """The prompt for one label, which is taken as it is phrased."""
        return prompt(self.template, label, self.article)


def every_wording(
    prompts: Iterable[PromptSet],
    articles: Sequence[Article] = ("as written",),
    shifts: Sequence[float] = (0.0,),
    phrasings: Sequence[Phrasing] = ("as written",),
    alterations: Sequence[str] = (AS_IT_IS,),
) -> tuple[Wording, ...]:
    """Every template with every other choice; those that read alike only once.

    Args:
        prompts: template sets; their own article rule holds for 'as written'.
        articles: 'right', 'wrong', 'absent' need an 'a' or 'an' before the label's place; templates
            without one are taken as they are, once.
        shifts: how far pictures and prompts are moved apart along the modality gap, in its length.
        phrasings: of the labels.
        alterations: names of what is done to the pictures.
    """
    found: dict[Wording, None] = {}
    others = tuple(product(phrasings, shifts, alterations))
    for prompt_set in prompts:
        for template, article in product(prompt_set.templates, articles):
            rule = prompt_set.rule if article == "as written" else article
            if not has_article(template):
                rule = "as written"
            for phrasing, shift, alteration in others:
                found[Wording(template, rule, shift, phrasing, alteration)] = None
    return tuple(found)


def class_embeddings(texts: Texts, labels: LabelSet, asked: Sequence[Wording]) -> Singles:
    """The embedding of every label in every wording, unit rows, (wordings, labels, d)."""
    prompts = [w.prompt(label) for w in asked for label in labels.phrased(w.phrasing)]
    distinct = list(dict.fromkeys(prompts))
    vectors = dict(zip(distinct, texts.encode(distinct), strict=True))
    stacked = np.stack([vectors[prompt] for prompt in prompts])
    return stacked.reshape(len(asked), len(labels.texts), -1)


def ensemble(classes: Singles) -> NDArray[np.float64]:
    """Class embeddings of all wordings together, (labels, d): CLIP's rule.

    Each prompt embedding has unit length; they are averaged and brought to unit length again.
    Source: Radford et al. 2021, arXiv 2103.00020, section 3.1.4.
    """
    mean = classes.astype(np.float64).mean(axis=0)
    return np.asarray(mean / np.linalg.norm(mean, axis=-1, keepdims=True))


def shifted(
    classes: Singles, asked: Sequence[Wording], gap: NDArray[np.float64]
) -> tuple[Singles, NDArray[np.float32]]:
    """Classes moved along the modality gap, and what the moved pictures add to each similarity.

    With ``gap`` the mean picture less the mean prompt and a shift s, pictures become v + s gap / 2
    and prompts t - s gap / 2, scaled to unit length. A picture's own scale changes no choice, so
    only the constant ``s gap / 2 . t`` of each label enters, (wordings, labels).
    Source: Liang et al. 2022, Mind the Gap, arXiv 2203.02053.
    """
    moves = np.array([wording.shift for wording in asked])[:, np.newaxis, np.newaxis] / 2
    moved = classes - moves * gap
    moved /= np.linalg.norm(moved, axis=-1, keepdims=True)
    return moved.astype(np.float32), (moves[..., 0] * (moved @ gap)).astype(np.float32)


def choose(
    vectors: Singles, classes: NDArray[np.floating], offsets: Singles | None = None
) -> Codes:
    """The label chosen for every picture in every wording, by its place in the set.

    Args:
        vectors: pictures, unit rows, (n, d).
        classes: (wordings, labels, d).
        offsets: added to the similarities, (wordings, labels).

    Returns:
        (n, wordings): two bytes a picture and wording is all that grows with the pictures.
    """
    codes = np.empty((len(vectors), len(classes)), dtype=np.int16)
    _choose(codes, np.arange(len(classes)), vectors, classes, offsets)
    return codes


def _choose(
    codes: Codes,
    columns: NDArray[np.int64],
    vectors: Singles,
    classes: NDArray[np.floating],
    offsets: Singles | None,
) -> None:
    """Fill some columns of the choices."""
    number, labels, d = classes.shape
    flat = np.ascontiguousarray(classes.reshape(number * labels, d).T, dtype=np.float32)
    for rows in _blocks(len(vectors), number * labels, _CELLS):
        similarity = (vectors[rows] @ flat).reshape(-1, number, labels)
        if offsets is not None:
            similarity += offsets
        codes[rows, columns] = similarity.argmax(axis=2)


def choice_blocks(pictures: int, wordings: int) -> Iterator[slice]:
    """Slices of pictures whose choices in all wordings are held at a time."""
    return _blocks(pictures, wordings, _CHOICES)


def _blocks(n: int, width: int, cells: int) -> Iterator[slice]:
    """Slices of n rows of this width, each of at most so many cells; one even of no rows."""
    step = max(1, cells // max(width, 1))
    for start in range(0, max(n, 1), step):
        yield slice(start, min(start + step, n))


@dataclass(frozen=True)
class Answers:
    """What a model answered in every wording: ``codes`` (n, W) and the ``headline`` (n,).

    The headline is the ensemble of all wordings, asked of the pictures as they are. ``left_out``:
    pictures that could not be altered in some way and are asked in no wording, so that all
    wordings look at the same pictures.
    """

    labels: LabelSet
    wordings: tuple[Wording, ...]
    keys: tuple[str, ...]
    codes: Codes
    headline: Codes
    left_out: tuple[str, ...] = ()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The wordings in words."""
        return tuple(wording.name for wording in self.wordings)


def ask(
    images: Embeddings,
    texts: Texts,
    labels: LabelSet,
    asked: Sequence[Wording],
    altered: Mapping[str, Embeddings] | None = None,
) -> Answers:
    """Ask one label set in every wording.

    Args:
        images: embeddings of the pictures as they are.
        texts: the model's text side.
        labels: the labels to choose from.
        asked: the wordings; see ``every_wording``.
        altered: embeddings of the same pictures by name of the alteration.

    Raises:
        ValueError: a wording's alteration is not in ``altered``.
    """
    looks = _looks(images, asked, altered or {})
    kept = set(images.keys).intersection(*(look.keys for look in looks.values()))
    keys = tuple(key for key in images.keys if key in kept)
    classes = class_embeddings(texts, labels, asked)
    prompts = classes.reshape(-1, classes.shape[-1]).mean(axis=0, dtype=np.float64)
    codes = np.empty((len(keys), len(asked)), dtype=np.int16)
    for name, look in looks.items():
        columns = np.flatnonzero([wording.alteration == name for wording in asked])
        some, vectors = [w for w in asked if w.alteration == name], look.only(keys).vectors
        moved, offsets = _moved(classes[columns], some, vectors, prompts)
        _choose(codes, columns, vectors, moved, offsets)
    headline = choose(images.only(keys).vectors, ensemble(classes)[np.newaxis])[:, 0]
    left_out = tuple(key for key in images.keys if key not in kept)
    return Answers(labels, tuple(asked), keys, codes, headline, left_out)


def _looks(
    images: Embeddings, asked: Sequence[Wording], altered: Mapping[str, Embeddings]
) -> dict[str, Embeddings]:
    """The pictures as each of the wordings' alterations shows them."""
    there = {**altered, AS_IT_IS: images}
    names = list(dict.fromkeys(wording.alteration for wording in asked))
    missing = [name for name in names if name not in there]
    if missing:
        raise ValueError(f"no embeddings of pictures altered by: {', '.join(missing)}")
    return {name: there[name] for name in names}


def _moved(
    classes: Singles, asked: Sequence[Wording], vectors: Singles, prompts: NDArray[np.float64]
) -> tuple[Singles, Singles | None]:
    """Classes and offsets once shifted; as they are where no wording is."""
    if not any(wording.shift for wording in asked):
        return classes, None
    return shifted(classes, asked, vectors.mean(axis=0, dtype=np.float64) - prompts)


def answer(
    images: Embeddings,
    texts: Texts,
    labels: LabelSet,
    prompts: PromptSet,
    groups: Groups,
    level: float = 0.95,
    min_group: int = 5,
) -> pd.DataFrame:
    """Ask one label set now: the rates of every label and family by group; the table RATES.

    For somebody who types: no bootstrap is made, so where subjects repeat their pictures are taken
    for copies of each other, which is the widest their intervals can be.

    Args:
        images: stored embeddings of the pictures.
        texts: the model's text side; prompts that it knows cost nothing.
        labels: the labels to choose from.
        prompts: templates, averaged by CLIP's rule.
        groups: membership of the pictures.
        level: of the intervals.
        min_group: smaller groups are ``too_few``.
    """
    classes = ensemble(class_embeddings(texts, labels, every_wording([prompts])))
    chosen = choose(images.vectors, classes[np.newaxis])
    happened = chosen == np.arange(len(labels.texts))
    at = groups.at(images.keys)
    families = labels.families
    together = [happened[:, list(places)].any(axis=1) for places in families.values()]
    asked = {
        "selection": (labels.texts, tuple(margin_family(x.tags, labels) for x in labels.labels)),
        "family_selection": (tuple(families), tuple(families)),
    }
    events = {"selection": happened, "family_selection": np.array(together).reshape(-1, len(at)).T}
    blocks = {
        ("classification", labels.name, ENSEMBLE, metric): Block(
            *asked[metric],
            groups.count(events[metric], at),
        )
        for metric in asked
        if asked[metric][0]
    }
    return rates(Tally(groups, blocks), level, min_group)
