"""The CLIP paper's zero-shot battery, word for word as at its source.

Digests of class names and templates, joined by line ends, were taken from OpenAI's
``data/prompts.md`` and ImageNet notebook (commit d05afc4), not from the files here.
"""

from __future__ import annotations

import hashlib

import pytest

from audit.data.labels import load_label_set, load_prompt_set

#: labels, templates, and the first sixteen digits of the digest of each
READ = {
    "kinetics-700": (700, "a34c9fed41f5f9ed", 28, "820c23cc30bda2e5"),
    "ucf-101": (101, "4c5f54cb419a8393", 48, "d1fceafd76c54a5f"),
    "sun-397": (397, "dd1277b1cfcf09ba", 2, "c97a3d1ad5819800"),
    "country-211": (211, "027b30d283f3a153", 5, "038d0d5e084b6ee1"),
    "hateful-memes": (2, "62a880e9ac288c0e", 1, "16a7fa63385bbf56"),
    "cifar-10": (10, "bb3914949cecedee", 18, "9bbf912e1144ca4c"),
    "cifar-100": (100, "60ae3a3ac1355fcf", 18, "9bbf912e1144ca4c"),
    "food-101": (101, "9c0eeb5a368baacb", 1, "77a79bac7d9cf25b"),
    "eurosat": (10, "989b723c02a72997", 3, "9bc85d9f1798d03b"),
    "patch-camelyon": (2, "27352df7ede1fd87", 1, "7c7758b084ef77fa"),
    "clevr-counts": (8, "3c9410fd14f4550f", 1, "da3770f103c74310"),
    "describable-textures": (47, "681d23b9cd3c2ede", 8, "1f6888d2130f62a4"),
    "gtsrb": (43, "953036bc5aedbe6b", 3, "a6794061485dcfa2"),
    "mnist": (10, "29dd21f55e4611d4", 1, "c0341e0a1fdfd8fb"),
    "oxford-pets": (37, "c6f4365ced9dc96f", 1, "16a0790f0e45e97e"),
    "rendered-sst-2": (2, "2e61aa7558046c2c", 1, "9034019e8a14384c"),
    "resisc-45": (45, "3c2177013901f0ef", 18, "8f390b8578e5c3bf"),
    "stl-10": (10, "08b234ce7b11dbd3", 2, "c97a3d1ad5819800"),
    "caltech-101": (102, "e0ecbf33d0f07158", 34, "90561580b7ea5dba"),
    "birdsnap": (500, "b03d9d481162fd11", 1, "f3126b8375a9e07a"),
    "fgvc-aircraft": (100, "e1c9e72060e63d52", 2, "91522de75ad44711"),
    "flowers-102": (102, "5429e1ef6e0e5aa3", 1, "bfcd4bbb214d5015"),
    "stanford-cars": (196, "93d089469409bbd0", 8, "255ecc632c41182c"),
    "kitti-distance": (4, "ecc16a4f92ee9fb1", 1, "44136fa355b3678a"),
    "pascal-voc-2007": (20, "b8c3f06eeba384ca", 1, "e8e367e769f86c27"),
}


def digest(words: tuple[str, ...]) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", sorted(READ))
def test_every_word_is_the_source_s(name: str) -> None:
    labels, templates = load_label_set(name), load_prompt_set(name)
    assert labels.complete
    assert labels.texts == tuple(label.key for label in labels.labels)
    found = (len(labels.texts), digest(labels.texts))
    assert (*found, len(templates.templates), digest(templates.templates)) == READ[name]
    assert "(commit d05afc4)" in labels.source == templates.source


def test_imagenet_has_each_of_its_thousand_names_once() -> None:
    texts = list(load_label_set("imagenet-1k").texts)
    texts.insert(744, "missile")
    texts.insert(837, "sunglasses")
    assert digest(tuple(texts)) == "571ae1c583b4be7d"
