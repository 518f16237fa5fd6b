"""Pictures as people have them: turned, transparent, wide, broken, hostile."""

from __future__ import annotations

import contextlib
import io
import mmap
import os
import pickle
import struct
import warnings
import zlib
from pathlib import Path

import mutators
import numpy as np
import pytest
from PIL import Image, ImageFile
from PIL.PngImagePlugin import PngInfo

from audit.core.errors import InputError
from audit.data import intact
from audit.data.images import REASONS, Unreadable, decode, inside, pixel_digest

RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)


def noise(width: int = 64, height: int = 48) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def written(folder: Path, content: bytes, name: str = "a.jpg") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def reason(path: Path, **options: object) -> str:
    with pytest.raises(Unreadable) as caught:
        decode(path, **options)  # type: ignore[arg-type]
    assert caught.value.reason in REASONS
    assert str(caught.value).endswith("Replace the file or take its row out of the manifest.")
    assert caught.value.reason in str(caught.value)
    return caught.value.reason


# --- pictures that are fine -------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(tmp_path: Path, kind: str, orientation: int) -> None:
    # an upright picture: red top half, green lower left, white lower right
    upright = np.zeros((32, 64, 3), dtype=np.uint8)
    upright[:16], upright[16:, :32], upright[16:, 32:] = RED, GREEN, WHITE
    # the EXIF specification: which side of the scene the stored row 0 and column 0 are
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: upright.transpose(1, 0, 2)[::-1],
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: upright.transpose(1, 0, 2)[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(stored))
    options: dict[str, object] = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95}}.get(kind, {})
    path = written(tmp_path, encoded(image, kind, exif=exif, **options))
    got = decode(path)
    assert got.size == (64, 32)
    assert np.abs(np.asarray(got, dtype=int) - upright).mean() < 4
    assert 0x0112 not in got.getexif()


def test_transparency_lies_on_white(tmp_path: Path) -> None:
    rgba = Image.new("RGBA", (3, 1))
    for x, alpha in enumerate((0, 255, 51)):
        rgba.putpixel((x, 0), (255, 0, 0, alpha))
    got = decode(written(tmp_path, encoded(rgba, "PNG")))
    assert [got.getpixel((x, 0)) for x in range(3)] == [WHITE, RED, (255, 204, 204)]


def test_grey_with_alpha_and_a_transparent_palette_entry(tmp_path: Path) -> None:
    grey = Image.new("LA", (2, 1))
    grey.putpixel((1, 0), (10, 255))
    got = decode(written(tmp_path, encoded(grey, "PNG")))
    assert [got.getpixel((x, 0)) for x in range(2)] == [WHITE, (10, 10, 10)]

    palette = Image.new("P", (2, 1))
    palette.putpalette([*RED, *GREEN])
    palette.putpixel((1, 0), 1)
    got = decode(written(tmp_path, encoded(palette, "PNG", transparency=0)))
    assert [got.getpixel((x, 0)) for x in range(2)] == [WHITE, GREEN]


def test_one_colour_named_transparent_in_an_rgb_png(tmp_path: Path) -> None:
    image = Image.new("RGB", (2, 1), RED)
    image.putpixel((1, 0), GREEN)
    got = decode(written(tmp_path, encoded(image, "PNG", transparency=RED)))
    assert [got.getpixel((x, 0)) for x in range(2)] == [WHITE, GREEN]


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path: Path) -> None:
    values = np.array([[0, 255, 256, 32768, 65535]], dtype=np.uint16)
    got = decode(written(tmp_path, encoded(Image.fromarray(values), "PNG")))
    assert np.asarray(got)[0].tolist() == [[v] * 3 for v in (0, 0, 1, 128, 255)]


def test_sixteen_bit_pgm_arrives_as_wide_integers(tmp_path: Path) -> None:
    content = b"P5 2 1 65535\n" + struct.pack(">2H", 32768, 65535)
    got = decode(written(tmp_path, content))
    assert [got.getpixel((x, 0)) for x in range(2)] == [(128,) * 3, WHITE]


def test_floating_point_pixels_are_not_guessed(tmp_path: Path) -> None:
    image = Image.fromarray(np.ones((2, 2), dtype=np.float32))
    path = written(tmp_path, encoded(image, "TIFF"))
    assert reason(path) == "unreadable"
    with pytest.raises(Unreadable, match="no stated white"):
        decode(path)


def test_cmyk_jpeg(tmp_path: Path) -> None:
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    red, green, blue = decode(written(tmp_path, encoded(image, "JPEG"))).getpixel((8, 8))
    assert red > 240
    assert green < 15
    assert blue < 15


def test_lab_tiff(tmp_path: Path) -> None:
    image = Image.new("LAB", (4, 4), (255, 128, 128))
    got = decode(written(tmp_path, encoded(image, "TIFF"))).getpixel((0, 0))
    assert min(got) > 245  # L = 100, no colour: white


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame(tmp_path: Path, kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, GREEN)]
    options: dict[str, object] = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert decode(written(tmp_path, content)).getpixel((4, 4)) == RED


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "I", "I;16"])
def test_every_mode_comes_out_as_plain_rgb(tmp_path: Path, mode: str) -> None:
    image = Image.new(mode, (5, 4))
    got = decode(written(tmp_path, encoded(image, "TIFF")))
    assert (type(got), got.mode, got.size, got.info) == (Image.Image, "RGB", (5, 4), {})


def test_damaged_exif_does_not_lose_the_picture(tmp_path: Path) -> None:
    content = encoded(noise(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage")
    assert decode(written(tmp_path, content)).size == (64, 48)


def test_bytes_after_the_end_of_a_jpeg_are_allowed(tmp_path: Path) -> None:
    content = encoded(noise(), "JPEG") + b"maker's trailer \xff\xe0 \xff" * 9
    assert decode(written(tmp_path, content)).size == (64, 48)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 3}])
def test_a_jpeg_is_decoded_at_the_smallest_scale_that_leaves_enough(
    tmp_path: Path, options: dict[str, object]
) -> None:
    smooth = noise(8, 6).resize((640, 480), Image.Resampling.BICUBIC)
    path = written(tmp_path, encoded(smooth, "JPEG", quality=95, **options))
    sizes = [decode(path, least=least).size for least in (1, 60, 61, 240, 241, 9999)]
    assert sizes == [(80, 60), (80, 60), (160, 120), (320, 240), (640, 480), (640, 480)]
    near = np.asarray(decode(path, least=240), float) - np.asarray(smooth.resize((320, 240)), float)
    assert np.abs(near).mean() < 1
    assert decode(path, least=241).tobytes() == decode(path).tobytes()


def test_what_is_no_jpeg_or_names_a_region_is_decoded_in_full(tmp_path: Path) -> None:
    png = written(tmp_path, encoded(noise(), "PNG"), "a.png")
    assert decode(png, least=6).tobytes() == noise().tobytes()
    path = written(tmp_path, encoded(noise(), "JPEG"))
    part = Path(f"{path}#xywh=10,20,30,25")
    assert decode(part, least=2).size == (30, 25)
    assert decode(part, least=2).tobytes() == decode(part).tobytes()


def test_a_reduced_jpeg_is_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = written(tmp_path, encoded(noise(), "JPEG", exif=exif))
    assert decode(path, least=12).size == (12, 16)


# --- pictures that are not --------------------------------------------------------------------


@pytest.mark.parametrize("least", [None, 12])
@pytest.mark.parametrize("options", [{}, {"progressive": True}])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_truncated_jpeg(
    tmp_path: Path, share: float, options: dict[str, object], least: int | None
) -> None:
    content = encoded(noise(), "JPEG", **options)
    path = written(tmp_path, content[: int(len(content) * share)])
    assert reason(path, least=least) == "truncated"


def test_the_end_of_an_embedded_thumbnail_is_not_the_end(tmp_path: Path) -> None:
    content = encoded(noise(), "JPEG", exif=b"Exif\0\0" + encoded(noise(8, 8), "JPEG"))
    assert decode(written(tmp_path, content)).size == (64, 48)
    half = len(content) // 2
    assert reason(written(tmp_path, content[:half] + bytes(half))) == "truncated"


def test_jpeg_whose_tail_is_zeros(tmp_path: Path) -> None:
    # a download that stopped after the room was set aside; Pillow alone returns half a picture
    content = encoded(noise(), "JPEG")
    half = len(content) // 2
    path = written(tmp_path, content[:half] + bytes(half))
    assert reason(path) == reason(path, least=12) == "truncated"


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_truncated_in_other_formats(tmp_path: Path, kind: str, share: float) -> None:
    content = encoded(noise(), kind)
    path = written(tmp_path, content[: int(len(content) * share)], f"a.{kind.lower()}")
    assert reason(path) == "truncated"


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_cut_inside_the_header(tmp_path: Path, kind: str) -> None:
    assert reason(written(tmp_path, encoded(noise(), kind)[:12])) == "truncated"


def test_truncation_is_found_where_another_library_allowed_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    content = encoded(noise(), "PNG")
    assert reason(written(tmp_path, content[: len(content) // 2])) == "truncated"


def test_a_flipped_bit_in_a_png(tmp_path: Path) -> None:
    content = bytearray(encoded(noise(), "PNG"))
    content[len(content) // 2] ^= 0x55
    assert reason(written(tmp_path, bytes(content))) == "damaged"


def test_zero_bytes(tmp_path: Path) -> None:
    assert reason(written(tmp_path, b"")) == "empty"


def test_text_called_jpg(tmp_path: Path) -> None:
    assert reason(written(tmp_path, b"this is a letter, not a picture\n" * 20)) == "not an image"


def test_missing_folder_pipe_and_dangling_link(tmp_path: Path) -> None:
    assert reason(tmp_path / "none.jpg") == "missing"
    assert reason(written(tmp_path, b"x") / "under-a-file.jpg") == "missing"
    assert reason(tmp_path) == "not an image"
    (tmp_path / "link.jpg").symlink_to(tmp_path / "gone.jpg")
    assert reason(tmp_path / "link.jpg") == "missing"
    os.mkfifo(tmp_path / "pipe.jpg")  # opening it would wait for a writer
    assert reason(tmp_path / "pipe.jpg") == "not an image"


def test_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    assert reason(tmp_path / "a\0b.jpg") == "unreadable"
    assert reason(tmp_path / ("a" * 5000)) == "unreadable"


def test_permission_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, encoded(noise(), "JPEG"))
    if os.geteuid():
        path.chmod(0)
    else:  # root may read everything: say no in its place

        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(Unreadable, match="unreadable: Permission denied") as caught:
        decode(path)
    assert caught.value.reason == "unreadable"


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(b"\0"))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + data + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(9_000, 8_000), (12_000, 9_000), (60_000, 60_000)])
def test_decompression_bomb_is_seen_in_the_header(
    tmp_path: Path, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # above our limit; above Pillow's warning; above Pillow's error
    def never(*_: object) -> None:
        raise AssertionError("decoded before it was measured")

    monkeypatch.setattr(ImageFile.ImageFile, "load", never)
    assert reason(written(tmp_path, png_header(*size))) == "too large"


def test_the_limit_is_inclusive_and_named(tmp_path: Path) -> None:
    path = written(tmp_path, encoded(noise(64, 48), "PNG"))
    assert decode(path, max_pixels=64 * 48).size == (64, 48)
    with pytest.raises(Unreadable, match=r"64 x 48 pixels, and at most 3,071 are decoded"):
        decode(path, max_pixels=64 * 48 - 1)


def test_postscript_is_never_run(tmp_path: Path) -> None:
    path = written(tmp_path, encoded(noise(), "EPS"))
    with pytest.raises(Unreadable, match="EPS files are not opened"):
        decode(path)


def test_paths_that_leave_the_root(tmp_path: Path) -> None:
    root = tmp_path / "set"
    root.mkdir()
    content = encoded(noise(), "PNG")
    outside = written(tmp_path, content, "secret.png")
    written(root, content, "in.png")
    (root / "link.png").symlink_to(outside)
    (root / "own.png").symlink_to(root / "in.png")
    assert decode(Path("in.png"), root).size == (64, 48)
    assert decode(Path("own.png"), root).size == (64, 48)
    assert decode(root / "in.png", root).size == (64, 48)
    for path in (Path("../secret.png"), outside, Path("link.png")):
        assert reason(path, root=root) == "outside the folder"
    assert not inside(tmp_path / "set-2" / "a.png", root)


@pytest.mark.filterwarnings("error")
def test_warnings_of_pillow_stay_inside(tmp_path: Path) -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([*RED, *GREEN])
    content = encoded(palette, "PNG", transparency=b"\0\xff")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(Unreadable):
            decode(written(tmp_path, png_header(12_000, 9_000)))  # a DecompressionBombWarning
        decode(written(tmp_path, content))
        warnings.warn("someone else's", UserWarning, stacklevel=1)
    assert [str(w.message) for w in caught] == ["someone else's"]


def test_the_reason_survives_a_trip_between_processes() -> None:
    sent = Unreadable("a.jpg: empty", "empty")
    got = pickle.loads(pickle.dumps(sent))
    assert (type(got), str(got), got.reason) == (Unreadable, "a.jpg: empty", "empty")
    assert isinstance(got, InputError)
    assert got.exit_code == 2


# --- the digest -------------------------------------------------------------------------------


def test_digest_is_of_the_pixels_not_the_file(tmp_path: Path) -> None:
    image = noise()
    png = decode(written(tmp_path, encoded(image, "PNG"), "a.png"))
    bmp = decode(written(tmp_path, encoded(image, "BMP"), "a.bmp"))
    assert pixel_digest(png) == pixel_digest(bmp) == pixel_digest(image)
    changed = image.copy()
    changed.putpixel((0, 0), tuple(255 - v for v in image.getpixel((0, 0))))
    assert pixel_digest(changed) != pixel_digest(image)


def test_digest_tells_shapes_of_the_same_bytes_apart() -> None:
    assert pixel_digest(Image.new("RGB", (2, 6))) != pixel_digest(Image.new("RGB", (3, 4)))
    assert pixel_digest(Image.new("L", (3, 4))) == pixel_digest(Image.new("RGB", (3, 4)))


# --- what is missing though nothing says so ---------------------------------------------------


def intact_pictures_are_used(folder: Path, seeds: range) -> None:
    for seed in seeds:
        what, content = mutators.intact(seed)
        path = written(folder, content)
        with Image.open(io.BytesIO(content)) as image, path.open("rb") as handle:
            looked = Image.open(handle)
            with mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
                assert intact.load(looked, data) is None, (seed, what)
            assert looked.convert("RGBA").tobytes() == image.convert("RGBA").tobytes(), (seed, what)
        decode(path)


@pytest.mark.slow
def test_no_intact_picture_is_set_aside_and_its_pixels_stay(tmp_path: Path) -> None:
    intact_pictures_are_used(tmp_path, range(100))


@pytest.mark.slow
def test_none_of_many_intact_pictures_is_set_aside(tmp_path: Path) -> None:
    intact_pictures_are_used(tmp_path, range(100, 600))


@pytest.mark.parametrize("which", range(len(mutators.DAMAGES)))
def test_damage_that_a_file_shows_is_detected(tmp_path: Path, which: int) -> None:
    for seed in range(which, 4 * len(mutators.DAMAGES), len(mutators.DAMAGES)):
        name, detectable, content = mutators.pictures(seed)
        path = written(tmp_path, content)
        if detectable:
            assert reason(path) in {"truncated", "damaged", "unreadable", "not an image"}, name
        else:  # whatever comes of it, nothing but a picture or a reason
            with contextlib.suppress(Unreadable):
                decode(path)


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.95])
@pytest.mark.parametrize(
    "options",
    [{}, {"progressive": True}, {"optimize": True}, {"restart_marker_blocks": 1}, {"quality": 5}],
)
def test_a_jpeg_cut_and_repaired_with_an_end_marker(
    tmp_path: Path, kept: float, options: dict[str, object]
) -> None:
    content = encoded(noise(), "JPEG", **options)
    path = written(tmp_path, content[: int(len(content) * kept)] + b"\xff\xd9")
    assert reason(path) == "truncated"


def test_a_png_with_half_its_rows_and_right_checksums(tmp_path: Path) -> None:
    # whole rows: Pillow alone leaves the rest black and says nothing
    for image in (noise(), Image.new("RGB", (64, 48)), Image.new("1", (64, 48), 1)):
        (head, *middle, end) = mutators.chunks(encoded(image, "PNG"))
        rows = zlib.decompress(b"".join(data for kind, data in middle if kind == b"IDAT"))
        half = (b"IDAT", zlib.compress(rows[: len(rows) // 2]))
        parts = b"".join(mutators.chunk(*part) for part in (head, half, end))
        path = written(tmp_path, b"\x89PNG\r\n\x1a\n" + parts)
        with pytest.raises(Unreadable, match=f"its rows take {len(rows):,} bytes and it holds"):
            decode(path)


def test_bytes_before_the_end_marker_of_a_jpeg(tmp_path: Path) -> None:
    content = encoded(noise(), "JPEG")
    for filled in (b"\xff" * 300, bytes(8), bytes(300)):  # fill bytes; what encoders leave
        assert decode(written(tmp_path, content[:-2] + filled + content[-2:])).size == (64, 48)
    assert reason(written(tmp_path, content[:-2] + bytes(range(200)) + content[-2:])) == "damaged"


def test_a_progressive_jpeg_without_its_last_scan(tmp_path: Path) -> None:
    content = encoded(noise(), "JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    with pytest.raises(Unreadable, match="some of its scans are missing"):
        decode(written(tmp_path, content[:last] + b"\xff\xd9"))


def test_zeros_that_are_the_code_of_pixels_and_leave_some_over(tmp_path: Path) -> None:
    name, _, content = mutators.pictures(7346)
    assert name == "JPEG zeros and ended"
    assert reason(written(tmp_path, content)) == "damaged"


def test_a_scan_that_says_nothing_of_itself(tmp_path: Path) -> None:
    content = encoded(noise(), "JPEG")
    at = content.index(b"\xff\xda") + 2
    empty = content[:at] + b"\0\0" + content[at + 2 :]
    assert reason(written(tmp_path, empty)) in REASONS


@pytest.mark.parametrize("how", ["tiff_lzw", "packbits", "jpeg", "tiff_adobe_deflate", "group4"])
def test_a_packed_strip_that_ends_in_zeros(tmp_path: Path, how: str) -> None:
    image = noise().convert("1" if how == "group4" else "RGB")
    content = bytearray(encoded(image, "TIFF", compression=how, tiffinfo={278: 16}))
    with Image.open(io.BytesIO(content)) as opened:
        start, size = opened.tag_v2[273][1], opened.tag_v2[279][1]
    content[start + size - 40 : start + size] = bytes(40)
    assert reason(written(tmp_path, bytes(content))) == "damaged"


def test_a_packed_strip_behind_the_end_of_the_file(tmp_path: Path) -> None:
    content = encoded(noise(), "TIFF", compression="tiff_lzw")
    with Image.open(io.BytesIO(content)) as opened:
        size = struct.pack("<I", opened.tag_v2[279][0])
    assert content.count(size) == 1
    longer = content.replace(size, struct.pack("<I", len(content)))
    assert reason(written(tmp_path, longer)) == "truncated"


def test_an_arithmetic_jpeg_that_ends_in_zeros(tmp_path: Path) -> None:
    content = bytearray(encoded(noise(), "JPEG"))
    content[content.index(b"\xff\xc0") + 1] = 0xC9  # the frame of arithmetic coding
    assert decode(written(tmp_path, bytes(content))).size == (64, 48)
    content[-42:-2] = bytes(40)
    assert reason(written(tmp_path, bytes(content))) == "damaged"


@pytest.mark.parametrize("kind", [b"IDAT", b"tEXt"])
def test_a_png_that_is_whole_and_damaged_is_not_called_truncated(
    tmp_path: Path, kind: bytes
) -> None:
    note = PngInfo()
    note.add_text("Comment", "a note before the pixels")
    content = bytearray(encoded(noise(), "PNG", pnginfo=note))
    at = content.index(kind) + 12
    content[at] ^= 4
    assert reason(written(tmp_path, bytes(content))) == "damaged"  # by its checksum
    parts = [(k, bytes([*d[:8], d[8] ^ 255, *d[9:]]) if k == b"IDAT" else d)
             for k, d in mutators.chunks(encoded(noise(), "PNG"))]  # fmt: skip
    repaired = b"\x89PNG\r\n\x1a\n" + b"".join(mutators.chunk(*part) for part in parts)
    assert reason(written(tmp_path, repaired)) == "damaged"


def test_a_deflated_tiff_with_a_wrong_checksum(tmp_path: Path) -> None:
    content = encoded(noise(), "TIFF", compression="tiff_adobe_deflate")
    assert decode(written(tmp_path, content)).size == (64, 48)
    hurt = content[:4000] + bytes([content[4000] ^ 4]) + content[4001:]  # libtiff says nothing
    assert reason(written(tmp_path, hurt)) == "damaged"


def test_a_region_of_a_picture_is_a_picture_of_its_own(tmp_path: Path) -> None:
    pixels = np.arange(8 * 6 * 3, dtype=np.uint8).reshape(6, 8, 3)
    Image.fromarray(pixels).save(tmp_path / "crowd.png")
    one = decode(Path("crowd.png#xywh=2,1,3,4"), root=tmp_path)
    assert np.array_equal(np.asarray(one), pixels[1:5, 2:5])
    same = decode(tmp_path / "crowd.png#xywh=percent:25,50,37.5,50")
    assert np.array_equal(np.asarray(same), pixels[3:6, 2:5])
    part = decode(tmp_path / "crowd.png#xywh=0.5,0.5,1,1")  # to whole pixels outwards
    assert np.array_equal(np.asarray(part), pixels[0:2, 0:2])
    whole = decode(tmp_path / "crowd.png")
    assert len({pixel_digest(image) for image in (one, same, part, whole)}) == 4


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("1,2,3", "is not 'xywh=LEFT,TOP,WIDTH,HEIGHT'"),
        ("-2,0,3,3", "does not lie in its 8 x 6 pixels"),
        ("0,0,0,3", "does not lie in its 8 x 6 pixels"),
        ("6,0,4,3", "does not lie in its 8 x 6 pixels"),
        ("9,0,1,1", "does not lie in its 8 x 6 pixels"),
        ("percent:50,50,70,50", "does not lie in its 8 x 6 pixels"),
    ],
)
def test_a_region_that_is_not_in_the_picture_is_not_guessed_at(
    tmp_path: Path, said: str, told: str
) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / "crowd.png")
    with pytest.raises(Unreadable, match=told) as caught:
        decode(tmp_path / f"crowd.png#xywh={said}")
    assert caught.value.reason == "unreadable"


def test_a_file_whose_name_looks_like_a_region_is_that_file(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6), "red").save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.png#xywh=0,0,2,2")
    assert decode(tmp_path / "a.png#xywh=0,0,2,2").size == (8, 6)
    with pytest.raises(Unreadable, match="no such file"):
        decode(tmp_path / "a.png#xywh=0,0,1,1")
