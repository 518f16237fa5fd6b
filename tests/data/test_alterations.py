"""How much of a picture is shown: against pictures drawn by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from worlds import people

from audit.core.errors import InputError
from audit.data.alterations import alteration
from audit.models.planted import PlantedEncoder, picture_key
from audit.store.embeddings import Store


def picture(width: int, height: int) -> Image.Image:
    """No two pixels alike."""
    number = np.arange(width * height, dtype=np.uint32).reshape(height, width)
    return Image.fromarray(
        np.stack([number % 251, number // 251, number % 7], axis=2).astype(np.uint8)
    )


def test_a_centre_crop_is_the_middle() -> None:
    whole = picture(20, 10)
    got = alteration("centre crop 0.5")(whole)
    np.testing.assert_array_equal(np.asarray(got), np.asarray(whole)[2:7, 5:15])
    assert alteration("centre crop 0.01")(picture(3, 3)).size == (1, 1)
    # FairFace: a quarter of the face around it, of five quarters around it
    assert alteration("centre crop 0.43").apply(picture(350, 350)).size == (150, 150)


def test_padding_is_a_border_in_the_colour_of_the_edge() -> None:
    pixels = np.full((10, 20, 3), 200, np.uint8)
    pixels[1:-1, 1:-1] = 10  # what is inside does not colour the border
    pixels[0, :, 0] = 100  # 20 of the 56 pixels of the edge
    got = np.asarray(alteration("padding 0.25")(Image.fromarray(pixels)))
    assert got.shape == (10 + 2 * 2, 20 + 2 * 5, 3)
    np.testing.assert_array_equal(got[2:-2, 5:-5], pixels)
    border = np.ones(got.shape[:2], bool)
    border[2:-2, 5:-5] = False
    red = round((20 * 100 + 36 * 200) / 56)
    assert (got[border] == [red, 200, 200]).all()


def test_every_corner_of_the_edge_counts_once() -> None:
    for size in ((1, 1), (1, 5), (5, 1), (2, 2)):
        pixels = np.asarray(picture(*size))
        got = np.asarray(alteration("padding 1")(Image.fromarray(pixels)))
        mean = pixels.reshape(-1, 3).mean(axis=0)  # all of such a picture is edge
        assert np.abs(got[0, 0] - mean).max() <= 0.5, size


def test_the_same_name_is_the_same_pixels_and_one_name() -> None:
    for name in ("centre crop 0.8", "padding 0.25"):
        one, other = (alteration(name)(picture(33, 17)) for _ in "ab")
        assert one.tobytes() == other.tobytes()
        assert alteration(name).name == name
    assert alteration("centre crop 0.80").name == "centre crop 0.8"
    assert alteration("centre crop 0.1234567").name != alteration("centre crop 0.1234568").name


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("center crop 0.8", "no alteration of a picture named 'center crop 0.8'. Did you mean"),
        ("crop", "Such as 'centre crop 0.8', 'padding 0.25'; 'as it is' alters nothing."),
        ("", "no alteration of a picture named ''"),
        ("0.8", "no alteration of a picture named '0.8'"),
        ("centre crop", "needs the share of the side that is kept, from 0.01 to 0.99"),
        ("centre crop 80", "Write it as 'centre crop 0.8'."),
        ("centre crop 1", "needs the share"),
        ("centre crop nan", "needs the share"),
        ("padding -0.25", "needs the border on each side as a share of the side"),
        ("padding inf", "from 0.01 to 2"),
    ],
)
def test_a_name_that_says_nothing_gets_a_sentence(name: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        alteration(name)
    assert told in str(caught.value)


def test_the_store_encodes_altered_pictures_once_and_apart(world: Path) -> None:
    table = people(world, 6)
    crop = alteration("centre crop 0.5")
    images = {}
    for i, path in enumerate(table["path"]):
        with Image.open(world / path) as whole:
            images[picture_key(whole)] = np.eye(12)[i]
            images[picture_key(crop(whole))] = np.eye(12)[6 + i]
    encoder = PlantedEncoder(images, {"a": np.ones(12)})
    store = Store(world / "cache")
    items = [(str(path), Path(path)) for path in table["path"]]
    plain, _ = store.images(encoder, items, world)
    for _ in range(2):
        cropped, lost = store.images(encoder, items, world, alteration=crop)
        assert not lost
        np.testing.assert_array_equal(cropped.vectors.argmax(axis=1), np.arange(6, 12))
    np.testing.assert_array_equal(plain.vectors.argmax(axis=1), np.arange(6))
    assert encoder.images_seen == 12
