"""Files of vectors as people keep them: what is no vector, or could be one of two, is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit.core.errors import InputError
from audit.models.embeddings import load
from audit.models.vectors import read_images

NAMES = list("abcd")
ROWS = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
TEXTS = {"texts": np.array(["x"]), "text_embeddings": ROWS[:1], "logit_scale": np.array(100.0)}
Write = Callable[[Path], Path]


def npz(**arrays: object) -> Write:
    """A .npz of these four vectors, with other arrays instead or besides."""

    def write(folder: Path) -> Path:
        given = {"image_ids": np.array(NAMES), "images": ROWS, **TEXTS, **arrays}
        np.savez(folder / "v.npz", **given)  # type: ignore[arg-type]
        return folder / "v.npz"

    return write


def parquet(**columns: object) -> Write:
    """A Parquet file of these names and columns."""

    def write(folder: Path) -> Path:
        pq.write_table(pa.table({"image_id": NAMES, **columns}), folder / "v.parquet")
        return folder / "v.parquet"

    return write


def splits(folder: Path) -> Path:
    (folder / "dataset_dict.json").write_text('{"splits": ["train"]}')
    return folder


def parts(folder: Path) -> Path:
    for part, kind in enumerate((pa.float32(), pa.float64())):
        column = pa.array(ROWS.tolist(), pa.list_(kind))
        pq.write_table(pa.table({"image_id": NAMES, "v": column}), folder / f"{part}.parquet")
    return folder


def clip_retrieval(rows: object, column: str = "image_path") -> Write:
    """A folder of clip-retrieval with one part."""

    def write(folder: Path) -> Path:
        for name in ("img_emb", "metadata"):
            (folder / name).mkdir()
        np.save(folder / "img_emb" / "img_emb_0.npy", rows)  # type: ignore[arg-type]
        pd.DataFrame({column: NAMES}).to_parquet(folder / "metadata" / "metadata_0.parquet")
        return folder

    return write


LISTS = ROWS.tolist()


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (npz(embeddings=ROWS), "'images' and 'embeddings' are both images.*Keep the one"),
        (npz(ids=np.array(NAMES)), "'image_ids' and 'ids' are both image ids"),
        (npz(image_ids=np.array(["a", "b", "", "d"])), "row 3 has no name"),
        (npz(image_ids=np.array([b"\xe9", b"b", b"c", b"d"])), "not in UTF-8.*astype"),
        (npz(image_ids=np.arange(4.0)), "float64 of the shape .4,..*astype"),
        (npz(images=ROWS[0]), r"this has the shape \(3,\).*one row a picture"),
        (parquet(one=LISTS, two=LISTS), "several columns hold vectors: 'one', 'two'.*'vector_col"),
        (parquet(one=[1.0] * 4, two=[1.0] * 4), "no column holds vectors. Store each vector as a"),
        (parquet(one=[[1, 2]] * 4), "no column holds vectors.*floating-point"),
        (splits, "several splits.*Name one, as .*/train"),
        (parts, "its parts differ in their columns, or in what these hold. Save all rows"),
        (clip_retrieval(ROWS, "key"), "no column 'image_path'.*'key'. Name yours in 'id_column'"),
        (clip_retrieval(np.float32(1)), r"img_emb_0.npy: .*this has the shape \(\)"),
    ],
)
def test_what_could_be_misread_is_refused_with_a_next_step(
    tmp_path: Path, write: Write, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        read_images(write(tmp_path), None, None, None)


def test_a_column_of_vectors_is_named_where_there_are_several(tmp_path: Path) -> None:
    place = parquet(one=LISTS, two=ROWS[::-1].tolist())(tmp_path)
    np.testing.assert_array_equal(read_images(place, None, None, "two").rows, ROWS[::-1])
    with pytest.raises(InputError, match="'three' holds no vectors. Name another.*'one', 'two'"):
        read_images(place, None, None, "three")


@pytest.mark.filterwarnings("error")
def test_a_number_beyond_single_precision_is_no_vector(tmp_path: Path) -> None:
    rows = np.where(np.arange(4)[:, None] == 2, 1e60, ROWS.astype(float))
    for write in (npz(images=rows), parquet(v=rows.tolist())):
        found = read_images(write(tmp_path), None, None, None)
        assert np.isfinite(found.rows).all(axis=1).tolist() == [True, True, False, True]


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"logit_bias": np.array(-10.0)}, "a softmax.*no use for 'logit_bias'.*'scores: sigmoid'"),
        ({"logit_bias": np.array(np.nan), "scores": np.array("sigmoid")}, "finite number"),
        ({"logit_scale": np.array(np.inf)}, "finite number"),
    ],
)
def test_what_makes_scores_of_similarities_is_whole(
    tmp_path: Path, arrays: dict[str, object], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        load(str(npz(**arrays)(tmp_path)), "cpu", "float32", None)


def test_a_description_that_is_not_there_has_a_next_step(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no file .*a.yaml. Check the path"):
        load(str(tmp_path / "a.yaml"), "cpu", "float32", None)
    (tmp_path / "b.yaml").write_text(json.dumps({"images": "v.npz"}))
    with pytest.raises(InputError, match="Did you mean 'b.yaml'"):
        load(str(tmp_path / "a.yaml"), "cpu", "float32", None)
