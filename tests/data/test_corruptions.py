"""Poor footage: every corruption does to light what its quantities say."""

from __future__ import annotations

import hashlib
import io
import math
import pickle
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import audit.core.registry
from audit.core.errors import InputError
from audit.data.corruptions import (
    CAMERA,
    CORRUPTIONS,
    SEVERITIES,
    Corruption,
    camera,
    corruption,
    describe,
    face_distance,
    seen,
)
from audit.data.degradations import (
    Compression,
    Defocus,
    Distance,
    Fog,
    Infrared,
    LowLight,
    MotionBlur,
    OffCentre,
)
from audit.data.images import pixel_digest
from audit.data.light import displayed, light

ROOT = Path(__file__).parents[2]
NAMES = sorted(CORRUPTIONS)


def people(count: int = 3) -> list[Image.Image]:
    folder = ROOT / "audit/bundled/datasets/people/audit"
    return [Image.open(path).convert("RGB") for path in sorted(folder.glob("*.jpg"))[::400][:count]]


def noise(side: int = CAMERA, low: int = 0, high: int = 256, seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(low, high, (side, side, 3), dtype=np.uint8)
    return Image.fromarray(values)


def flat(level: int, side: int = CAMERA) -> Image.Image:
    return Image.new("RGB", (side, side), (level,) * 3)


def dot() -> Image.Image:
    picture = flat(0, 223)
    picture.putpixel((111, 111), (255, 255, 255))
    return picture


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def covariance(picture: Image.Image) -> np.ndarray:
    """Of light over places, in pixels squared: rows x and y (up)."""
    weight = light(picture)[:, :, 0].astype(float)
    weight /= weight.sum()
    y, x = np.mgrid[: picture.height, : picture.width] - 111.0
    return np.array([[(weight * x * x).sum(), -(weight * x * y).sum()],
                     [-(weight * x * y).sum(), (weight * y * y).sum()]])  # fmt: skip


# --- words ----------------------------------------------------------------------------------------


def test_a_severity_is_said_in_physical_quantities():
    want = "low light: 60 photons at full scale, read noise 3 electrons"
    assert describe("low light", 3) == want
    assert describe("motion blur", 2) == "motion blur: 8 pixels at 0 degrees"
    assert describe("compression", 2) == "compression: JPEG quality 25 (quantiser 2 times the standard's)"  # fmt: skip  # noqa: E501
    assert "50 pixels across the shorter side of the picture (20 across a face" in describe("distance", 3)  # fmt: skip  # noqa: E501
    for name in NAMES:
        said = {describe(name, severity) for severity in SEVERITIES}
        assert len(said) == 5
        assert all(any(c.isdigit() for c in text) for text in said)


def test_the_page_lists_every_severity():
    page = (ROOT / "docs/corruptions.md").read_text()
    for name in NAMES:
        assert f"| {name} |" in page
        for degradation in CORRUPTIONS[name].severities:
            quantities = [
                getattr(degradation, field)
                for field in ("pixels", "length", "radius", "photons", "quality", "depth")
                if hasattr(degradation, field)
            ]
            row = next(line for line in page.splitlines() if line.startswith(f"| {name} |"))
            cells = [cell.strip() for cell in row.split("|")]
            assert all(f"{value:g}" in cells for value in quantities)


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(InputError, match="no corruption named 'defokus'. Did you mean 'defocus'?"):
        corruption("defokus", 1)
    with pytest.raises(InputError, match="clip-audit list corruptions"):
        describe("snow", 1)


@pytest.mark.parametrize(
    ("severity", "nearest"),
    [(0, 1), (6, 5), (-3, 1), (2.4, 2), ("3", None), (None, None), (True, None), (math.nan, 1)],
)
def test_a_severity_that_does_not_exist(severity: object, nearest: int | None):
    with pytest.raises(InputError) as caught:
        corruption("fog", severity)  # type: ignore[arg-type]
    text = str(caught.value)
    assert text.startswith(f"corruption 'fog': no severity {severity!r}.")
    assert text.endswith("Severities are the whole numbers 1 (barely visible) to 5 (one can just about tell).")  # fmt: skip  # noqa: E501
    assert (f"Did you mean {nearest}?" in text) is (nearest is not None)


def test_a_name_states_all_that_makes_the_pixels():
    names = {corruption(n, s, seed=seed).name for n in NAMES for s in SEVERITIES for seed in (0, 1)}
    assert len(names) == len(NAMES) * 5 * 2
    want = f"fog 2, recipe 1.1, seed 7, camera {CAMERA}: {CORRUPTIONS['fog'].at(2).says}"
    assert corruption("fog", 2, seed=7).name == want
    assert corruption("fog", np.int64(2)).name == corruption("fog", 2).name  # type: ignore[arg-type]


def test_another_package_adds_one(monkeypatch: pytest.MonkeyPatch):
    negative = Corruption("negative", "Light and dark exchanged.", 4, (Negative(),) * 5)
    point = SimpleNamespace(name="negative", load=lambda: negative)
    groups = {"clip_audit.corruptions": [point]}
    monkeypatch.setattr(audit.core.registry, "entry_points", lambda group: groups.get(group, []))
    assert "negative" in list(CORRUPTIONS)
    assert describe("negative", 3) == "negative: 255 minus the number"
    altered = corruption("negative", 3)
    assert "recipe 1.4" in altered.name
    assert altered.apply(flat(10)).getpixel((0, 0)) == (245, 245, 245)


class Negative:
    says = "255 minus the number"

    def __call__(self, picture: Image.Image, rng: np.random.Generator) -> Image.Image:
        return picture.point(lambda value: 255 - value)


def test_a_corruption_has_five_severities():
    with pytest.raises(InputError, match="corruption 'one': 1 severities. A corruption has five"):
        Corruption("one", "Only one.", 1, (Fog(1),))


# --- the camera -----------------------------------------------------------------------------------


def test_the_camera_resizes_as_clip_does():
    picture = noise(300).crop((0, 0, 300, 260))
    want = picture.resize((258, 224), Image.Resampling.BICUBIC)  # 300 * 224 / 260 = 258.5
    got = camera().apply(picture)
    assert got.size == want.size
    assert got.tobytes() == want.tobytes()
    ready = noise()
    assert camera().apply(ready).tobytes() == ready.tobytes()


def test_linear_light_is_the_srgb_curve():
    # IEC 61966-2-1, worked out: 188 / 255 = 0.7373; ((0.7373 + 0.055) / 1.055) ** 2.4 = 0.5029
    assert light(flat(188, 1))[0, 0, 0] == pytest.approx(0.5029, abs=1e-4)
    assert light(flat(10, 1))[0, 0, 0] == pytest.approx(10 / 255 / 12.92, rel=1e-6)
    every = Image.fromarray(np.arange(768, dtype=np.uint16).astype(np.uint8).reshape(16, 16, 3))
    assert displayed(light(every)).tobytes() == every.tobytes()
    assert displayed(np.array([[[-1.0, 0.0, 9.0]]])).getpixel((0, 0)) == (0, 0, 255)


def test_transparency_becomes_white():
    clear = Image.new("RGBA", (224, 224), (255, 0, 0, 0))
    assert seen(clear).getpixel((5, 5)) == (255, 255, 255)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "CMYK", "RGB"])
def test_pictures_of_every_mode(name: str, mode: str):
    colours = noise(40).convert(mode)
    got = corruption(name, 3).apply(colours)
    assert (got.mode, got.size) == ("RGB", (224, 224))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (1, 5000), (5000, 1), (7, 400)])
def test_tiny_and_thin_pictures(name: str, size: tuple[int, int]):
    for severity in (1, 5):
        got = corruption(name, severity).apply(Image.new("RGB", size, (90, 120, 150)))
        assert got.mode == "RGB"
        assert max(got.size) <= 8 * CAMERA
        assert got.size == seen(Image.new("RGB", size)).size


# --- the same every time --------------------------------------------------------------------------

SCRIPT = """
import hashlib
from PIL import Image
from audit.data.corruptions import CORRUPTIONS, corruption
picture = Image.linear_gradient("L").convert("RGB")
digest = hashlib.sha256()
for name in CORRUPTIONS:
    digest.update(corruption(name, 4, seed=3).apply(picture).tobytes())
print(digest.hexdigest())
"""


@pytest.mark.slow
def test_another_process_makes_the_same_pixels():
    output = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True
    )
    picture = Image.linear_gradient("L").convert("RGB")
    digest = hashlib.sha256()
    for name in reversed(NAMES):  # the order doesn't matter
        corruption(name, 4, seed=3).apply(picture)
    for name in NAMES:
        digest.update(corruption(name, 4, seed=3).apply(picture).tobytes())
    assert output.stdout.strip() == digest.hexdigest()


def test_noise_differs_by_picture_severity_and_seed():
    def residual(level: int, severity: int, seed: int) -> np.ndarray:
        got = light(corruption("low light", severity, seed=seed).apply(flat(level)))
        return (got - got.mean()).ravel()

    first = residual(120, 2, 0)
    np.testing.assert_array_equal(first, residual(120, 2, 0))
    for other in (residual(121, 2, 0), residual(120, 3, 0), residual(120, 2, 1)):
        assert abs(np.corrcoef(first, other)[0, 1]) < 0.02  # 150,000 values: 8 standard errors


@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_sent_to_a_worker(name: str):
    altered = corruption(name, 2)
    again = pickle.loads(pickle.dumps(altered))
    picture = people(1)[0]
    assert again.name == altered.name
    assert again.apply(picture).tobytes() == altered(picture).tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_a_higher_severity_is_farther_from_the_original(name: str):
    weakest, strongest = [], []
    for picture in people():
        plain = np.asarray(camera().apply(picture), dtype=float)
        far = [
            math.sqrt(((np.asarray(corruption(name, s).apply(picture)) - plain) ** 2).mean())
            for s in SEVERITIES
        ]
        if name != "off-centre":  # once everything has moved, farther is no more different
            assert all(a < b for a, b in pairwise(far))
        weakest.append(far[0])
        strongest.append(far[-1])
    # of 255: something happens at 1, and 5 is far beyond it
    assert min(weakest) > 0.4
    assert np.mean(strongest) > 1.5 * np.mean(weakest)


# --- light ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("photons", "read"), [(800, 3), (200, 3), (60, 2), (200, 0), (400, 20)])
def test_low_light_has_the_variance_of_photons_and_electronics(photons: float, read: float):
    picture = flat(128)
    signal = float(light(picture)[0, 0, 0])
    got = light(LowLight(photons, read)(picture, rng())).astype(float)
    want = signal / photons + (read / photons) ** 2
    # 150,528 values: the variance is known to 0.4 %, and 8 bits add a little
    assert got.var() == pytest.approx(want, rel=0.03)
    assert got.mean() == pytest.approx(signal, rel=0.01)


def test_noise_is_independent_between_pixels_and_colours():
    got = light(LowLight(400)(flat(128), rng())).astype(float)
    red, green = got[:, :, 0].ravel(), got[:, :, 1].ravel()
    assert abs(np.corrcoef(red, green)[0, 1]) < 0.02
    assert abs(np.corrcoef(red[:-1], red[1:])[0, 1]) < 0.02


def test_few_photons_are_skewed_like_poisson():
    # skewness of a Poisson count is 1 / sqrt(mean); a normal count would have none
    picture = flat(188)
    got = light(LowLight(20, 0)(picture, rng())).astype(float) * 20
    mean = 20 * float(light(picture)[0, 0, 0])
    unclipped = got[got < 20]
    assert np.abs(unclipped - np.round(unclipped)).max() < 0.1  # whole photons, up to 8 bits
    share = (np.round(got) == 10).mean()
    assert share == pytest.approx(math.exp(-mean) * mean**10 / math.factorial(10), rel=0.05)


def test_fogs_add_up():
    grey = Image.fromarray(np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2))
    twice = light(Fog(0.4)(Fog(0.3)(grey, rng()), rng()))
    once = light(Fog(0.7)(grey, rng()))
    assert np.abs(twice - once).max() < 0.008  # one step of 8 bits at white
    want = light(grey) * math.exp(-0.7) + 0.5 * (1 - math.exp(-0.7))
    assert np.abs(once - want).max() < 0.005


def test_fog_says_the_visibility_that_makes_it():
    # 5 % of the light are left over the visibility V, so at V = 20 metres the depth is ln 20
    assert "20 metres of visibility" in Fog(math.log(20)).says
    assert "5% of the light gets through" in Fog(math.log(20)).says


def test_infrared_is_grey_and_keeps_the_mean():
    picture = people(1)[0]
    got = light(Infrared(1.0, 0.4)(picture, rng()))
    assert np.ptp(got, axis=2).max() == 0
    colours = light(picture)
    guess = 0.8 * colours[:, :, 0] + 0.15 * colours[:, :, 1] + 0.05 * colours[:, :, 2]
    assert got.mean() == pytest.approx(guess.mean(), rel=0.01)
    assert got.std() == pytest.approx(0.6 * guess.std(), rel=0.01)


# --- blur and pixels ------------------------------------------------------------------------------


@pytest.mark.parametrize("blur", [MotionBlur(30), MotionBlur(9, 90), Defocus(10.5), Defocus(1.5)])
def test_blur_moves_light_and_loses_none(blur: MotionBlur | Defocus):
    for picture in [noise(), *people(1)]:
        before, after = light(picture), light(blur(picture, rng()))
        np.testing.assert_allclose(after.mean((0, 1)), before.mean((0, 1)), rtol=0.005)
    np.testing.assert_array_equal(np.asarray(blur(flat(77), rng())), 77)


@pytest.mark.parametrize("angle", [0, 30, 90, 135])
@pytest.mark.parametrize("length", [6, 9.5])
def test_motion_spreads_along_its_path(length: float, angle: float):
    # an even line of length L has variance L^2 / 12 along it; pixels cut across it have up to 1/6
    spread = covariance(MotionBlur(length, angle)(dot(), rng()))
    turn = math.radians(angle)
    along = np.array([math.cos(turn), math.sin(turn)])
    across = np.array([-math.sin(turn), math.cos(turn)])
    assert along @ spread @ along == pytest.approx(length**2 / 12, rel=0.06)
    assert across @ spread @ across < 0.2


@pytest.mark.parametrize("radius", [3, 5])
def test_defocus_spreads_over_its_disc(radius: float):
    # an even disc of radius r has variance r^2 / 4 on either axis; a square pixel adds 1/12
    got = Defocus(radius)(dot(), rng())
    spread = covariance(got)
    assert spread[0, 0] == pytest.approx(radius**2 / 4 + 1 / 12, rel=0.05)
    assert spread[0, 0] == pytest.approx(spread[1, 1], rel=1e-6)
    assert light(got)[111, 111, 0] == pytest.approx(1 / (math.pi * radius**2), rel=0.05)


@pytest.mark.parametrize("pixels", [100, 50, 25])
def test_distance_leaves_no_more_than_its_pixels(pixels: int):
    # what comes of n x n pixels by a separable enlargement has rank n at most, up to rounding
    got = np.asarray(Distance(pixels)(noise(low=90, high=160), rng()), dtype=float)[:, :, 1]
    strengths = np.linalg.svd(got, compute_uv=False)
    rounding = 2 * math.sqrt(224 / 12)  # the largest singular value of rounding errors
    assert strengths[pixels] < 1.1 * rounding
    assert strengths[pixels // 2] > 2 * rounding


@pytest.mark.parametrize("severity", SEVERITIES)
def test_distance_carries_no_frequency_above_its_pixels(severity: int):
    distance = CORRUPTIONS["distance"].at(severity)
    assert isinstance(distance, Distance)
    got = np.asarray(distance(noise(), rng()), dtype=float).mean(axis=2)
    window = np.hanning(224)
    power = np.abs(np.fft.fft2((got - got.mean()) * window * window[:, None])) ** 2
    cycles = np.abs(np.fft.fftfreq(224, 1 / 224))
    finest = np.maximum(cycles, cycles[:, None])
    # half a cycle a pixel is the most there can be; the enlargement is no brick wall
    assert power[finest > 0.75 * distance.pixels].sum() < 0.01 * power.sum()
    assert power[finest < 0.5 * distance.pixels].sum() > 0.85 * power.sum()


def test_distance_adds_up_light_not_numbers():
    # black and white lines too fine for the pixels: half the light, which is 188 and not 128
    lines = np.zeros((224, 224, 3), np.uint8)
    lines[:, ::2] = 255
    got = np.asarray(Distance(28)(Image.fromarray(lines), rng()))
    assert set(np.unique(got)) <= {187, 188}


@pytest.mark.parametrize("quality", [5, 15, 25, 45])
def test_compression_is_a_jpeg_of_that_quality(quality: int):
    picture, file = people(1)[0], io.BytesIO()
    picture.save(file, "JPEG", quality=quality, subsampling=2)
    read = Image.open(file)
    assert Compression(quality)(picture, rng()).tobytes() == read.convert("RGB").tobytes()
    factor = float(Compression(quality).says.split("quantiser ")[1].split()[0])
    standard = 16  # the first entry of the luminance table in the JPEG standard, annex K
    assert read.quantization[0][0] == pytest.approx(standard * factor, abs=0.5)


@pytest.mark.parametrize("shift", [0.04, 0.13, 0.23])
def test_off_centre_shows_what_lies_beside(shift: float):
    ramp = np.repeat(np.arange(224, dtype=np.uint8)[None, :], 224, axis=0)
    across = Image.fromarray(np.stack([ramp, ramp.T, ramp], axis=2))
    got = np.asarray(OffCentre(shift)(across, rng()), dtype=float) / 224
    assert got[:, :, 0].mean() == pytest.approx(0.5 + shift, abs=0.005)
    assert got[:, :, 1].mean() == pytest.approx(0.5, abs=0.005)
    assert np.ptp(got[:, :, 0]) == pytest.approx(1 - 2 * shift, abs=0.01)


# --- by the face ----------------------------------------------------------------------------------


def test_distance_by_the_face():
    picture = people(1)[0]
    # 20 pixels across a face that is half of the picture: 40 across the picture
    altered = face_distance(3, {pixel_digest(picture): 0.5})
    want = Distance(40)(seen(picture), rng())
    assert altered.apply(picture).tobytes() == want.tobytes()
    assert "20 pixels across the face" in altered.name
    assert altered.name != face_distance(3, {pixel_digest(picture): 0.4}).name
    small = face_distance(1, {pixel_digest(picture): 0.1})  # 22 pixels of 224 are fewer than 40
    assert small.apply(picture).tobytes() == seen(picture).tobytes()


def test_distance_by_the_face_needs_the_face():
    with pytest.raises(InputError, match="a picture without the width of its face"):
        face_distance(3, {}).apply(flat(1))
    with pytest.raises(InputError, match="faces: a width of 0 .* a share above 0"):
        face_distance(3, {"a": 0})
    with pytest.raises(InputError, match="corruption 'distance': no severity 9"):
        face_distance(9, {})


# --- speed ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_it_is_fast(name: str):
    picture, altered = noise(), corruption(name, 4)
    altered.apply(picture)
    spent = []
    for _ in range(7):
        start = time.process_time()
        altered.apply(picture)
        spent.append(time.process_time() - start)
    assert min(spent) < 0.030  # 1 to 5 ms where nothing else runs
