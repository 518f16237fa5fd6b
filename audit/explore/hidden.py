"""What is not shown of real people: labels that accuse or that the law protects, clear pictures."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from PIL import Image

from audit.data.guard import accusation
from audit.data.labels import Label, LabelSet, label_set_names, load_label_set, normalise
from audit.measure.findings import DENIGRATING

#: stands where a label is not told of a real person
NOT_TOLD: Final = "not told of real people"
#: a tag of labels that may state a harm (a stereotype) and accuse nobody
_DOINGS: Final = frozenset({"occupation", "activity"})
_DEMOGRAPHIC: Final = "demographic"


def not_for_real_people(labels: LabelSet) -> frozenset[str]:
    """Texts of the labels by which no real person is listed.

    Those that cast suspicion, deny humanity or ask what the law protects, by tag or, in a set that
    tags nothing, by the word; those that state a harm, occupations and activities aside; and all
    names of groups of people in a set in which one of them is such a word.
    """
    bad = {label.text for label in labels.labels if _hidden(label, labels)}
    groups = {label.text for label in labels.labels if _DEMOGRAPHIC in label.tags}
    return frozenset(bad | groups if bad & groups else bad)


def _hidden(label: Label, labels: LabelSet) -> bool:
    word, (harmful, groups) = normalise(label.text), _bundled_words()
    # 'white' is also the colour of a car, 'white person' is not
    names_a_group = word in groups and (_DEMOGRAPHIC in label.tags or " " in word)
    accuses = accusation(word) is not None or word in harmful
    return _harmful(label, labels) or accuses or names_a_group


def _harmful(label: Label, labels: LabelSet) -> bool:
    """Whether a label's own tags or harm say that no real person should be listed by it."""
    accuses = any(tag in DENIGRATING or labels.tag(tag).acknowledge for tag in label.tags)
    return accuses or (label.harm is not None and _DOINGS.isdisjoint(label.tags))


@lru_cache(maxsize=1)
def _bundled_words() -> tuple[frozenset[str], frozenset[str]]:
    """Harmful labels of the bundled sets, and names of groups in those that need acknowledgement.

    So that care goes with the word, whatever one's own set says of it.
    """
    sets = [load_label_set(name) for name in label_set_names()]
    harmful = [x for of in sets for x in (*of.labels, *of.additions.values()) if _harmful(x, of)]
    asked = [label for of in sets if of.needs_acknowledgement for label in of.labels]
    return _words(harmful), _words(label for label in asked if _DEMOGRAPHIC in label.tags)


def _words(labels: Iterable[Label]) -> frozenset[str]:
    return frozenset(normalise(word) for label in labels for word in (label.text, label.key))


#: longer side in pixels to which a picture is brought before it is blurred: colours, no person
BLURRED: Final = 8


def blurred(image: Image.Image) -> Image.Image:
    """A picture of which only ``BLURRED`` pixels are left, drawn softly at its size."""
    share = BLURRED / max(image.size)
    small = tuple(max(1, round(side * share)) for side in image.size)
    return image.resize((small[0], small[1]), Image.Resampling.BOX).resize(
        image.size, Image.Resampling.BICUBIC
    )
