"""Pictures drawn from a seed: intact as cameras, scanners and programs write them, and damaged.

``intact(seed)`` must never be set aside; ``pictures(seed)`` says whether its damage can be told
from the file alone. The same seed gives the same bytes with the same version of Pillow.
"""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

#: formats with the weight they are drawn by
FORMATS = {"JPEG": 8, "PNG": 4, "GIF": 2, "BMP": 2, "TIFF": 3, "WEBP": 2, "JPEG2000": 1}
Damage = Callable[[random.Random, bytes], bytes]


# --- what is shown --------------------------------------------------------------------------------


def _flat(rng: random.Random, width: int, height: int) -> Image.Image:
    return Image.new(
        "RGB", (width, height), rng.choice([(128,) * 3, (0,) * 3, (255,) * 3, (9, 99, 200)])
    )


def _noise(rng: random.Random, width: int, height: int) -> Image.Image:
    generator = np.random.default_rng(rng.getrandbits(32))
    return Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))


def _gradient(rng: random.Random, width: int, height: int) -> Image.Image:
    tall, wide = np.mgrid[:height, :width]
    channels = [255 * wide // width, 255 * tall // height, (wide + tall) % 256]
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


def _photograph(rng: random.Random, width: int, height: int) -> Image.Image:
    """Smooth shapes under a little noise."""
    smooth = _noise(rng, 5, 5).resize((width, height), Image.Resampling.BICUBIC)
    return Image.blend(smooth, _noise(rng, width, height), 0.06)


def _scan(rng: random.Random, width: int, height: int) -> Image.Image:
    """A white page with lines of text, its lower half empty."""
    page = Image.new("RGB", (width, height), "white")
    for y in range(4, height // 2, 12):
        ImageDraw.Draw(page).text((4, y), "".join(rng.choices("abc defg hij", k=40)), fill="black")
    return page


def _drawing(rng: random.Random, width: int, height: int) -> Image.Image:
    drawing = Image.new("RGB", (width, height), "lightgrey")
    for _ in range(6):
        x, y = rng.randrange(width), rng.randrange(height)
        box = (x, y, x + rng.randrange(1, 90), y + rng.randrange(1, 60))
        ImageDraw.Draw(drawing).ellipse(box, fill=rng.choice(["red", "navy", "gold"]))
    return drawing


def _grey_below(rng: random.Random, width: int, height: int) -> Image.Image:
    """A photograph whose lower half is the very grey that decoders fill missing rows with."""
    image = _photograph(rng, width, height)
    image.paste((128,) * 3, (0, height // 2, width, height))
    return image


_SHOWN = (_flat, _noise, _gradient, _photograph, _scan, _drawing, _grey_below)


# --- how it is written ----------------------------------------------------------------------------


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _jpeg(rng: random.Random, image: Image.Image, still: bool = False) -> bytes:
    mode = rng.choice(["RGB", "RGB", "RGB", "L", "CMYK"])
    options: dict[str, Any] = {"quality": rng.choice([5, 30, 60, 75, 85, 95, 100])}
    options |= {"optimize": True} if rng.random() < 0.4 else {}
    options |= {"progressive": True} if rng.random() < 0.4 else {}
    options |= rng.choice([{}, {"subsampling": 0}, {"subsampling": 1}, {"subsampling": 2}])
    options |= rng.choice(
        [{}, {}, {"restart_marker_blocks": rng.choice([1, 7])}, {"restart_marker_rows": 1}]
    )
    if rng.random() < 0.3:
        thumbnail = _saved(image.resize((8, 8)), "JPEG")
        options |= {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + thumbnail}
    if mode == "CMYK":  # Pillow has too small a buffer for more
        options["quality"] = min(options["quality"], 85)
    content = _saved(image.convert(mode), "JPEG", **options)
    if rng.random() < 0.15 and not still:  # fill bytes may stand before any marker
        content = content[:-2] + b"\xff" * rng.randrange(1, 200) + content[-2:]
    return content + (rng.randbytes(50) if rng.random() < 0.2 and not still else b"")


def _png(rng: random.Random, image: Image.Image, still: bool = False) -> bytes:
    mode = rng.choice(["RGB", "RGB", "RGBA", "L", "LA", "P", "1", "I;16"])
    made = (
        Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
        if mode == "I;16"
        else image.convert(mode)
    )
    if rng.random() < 0.25:
        return interlaced(made if mode in ("RGB", "L") else image)
    return _saved(made, "PNG", compress_level=rng.choice([0, 1, 6, 9]))


def _gif(rng: random.Random, image: Image.Image, still: bool = False) -> bytes:
    options: dict[str, Any] = {"interlace": rng.choice([0, 1])}
    if rng.random() < 0.3 and not still:
        options |= {"save_all": True, "append_images": [image.rotate(90), image.rotate(180)]}
    return _saved(image, "GIF", **options)


def _bmp(rng: random.Random, image: Image.Image, still: bool = False) -> bytes:
    return _saved(image.convert(rng.choice(["RGB", "L", "P", "1", "RGBA"])), "BMP")


def _tiff(rng: random.Random, image: Image.Image, still: bool = False) -> bytes:
    how = rng.choice([None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group4"])
    mode = {"jpeg": "RGB", "group4": "1"}.get(how or "", rng.choice(["RGB", "L", "RGBA", "CMYK"]))
    strips = rng.choice([{}, {278: 16 * rng.randrange(1, 4)}])  # rows of each
    return _saved(image.convert(mode), "TIFF", compression=how, tiffinfo=strips)


def _webp(rng: random.Random, image: Image.Image, still: bool = False) -> bytes:
    options: dict[str, Any] = {
        "lossless": rng.random() < 0.5,
        "quality": rng.choice([10, 80, 100]),
        "method": 0,
    }
    mode = rng.choice(["RGB", "RGBA"])
    if rng.random() < 0.2 and not still:
        options |= {"save_all": True, "append_images": [image.rotate(180)]}
    return _saved(image.convert(mode), "WEBP", **options)


def _jpeg2000(rng: random.Random, image: Image.Image, still: bool = False) -> bytes:
    options: dict[str, Any] = {"irreversible": rng.random() < 0.5, "no_jp2": rng.random() < 0.5}
    options |= rng.choice([{}, {"tile_size": (32, 32)}, {"quality_layers": [40]}])
    return _saved(image.convert(rng.choice(["RGB", "L", "RGBA"])), "JPEG2000", **options)


_WRITTEN = {
    "JPEG": _jpeg, "PNG": _png, "GIF": _gif, "BMP": _bmp, "TIFF": _tiff, "WEBP": _webp,
    "JPEG2000": _jpeg2000,
}  # fmt: skip


def chunk(kind: bytes, data: bytes) -> bytes:
    """A PNG chunk with its checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def interlaced(image: Image.Image) -> bytes:
    """An 8-bit RGB or grey picture as a PNG in Adam7's seven passes, which Pillow reads only."""
    values = np.asarray(image).reshape(image.height, image.width, -1)
    passes = (
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    )
    parts = (values[y::down, x::right] for y, x, down, right in passes)
    rows = b"".join(b"\0" + row.tobytes() for part in parts if part.size for row in part)
    head = struct.pack(">IIBBBBB", *image.size, 8, 2 if image.mode == "RGB" else 0, 0, 0, 1)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def intact(seed: int, kind: str | None = None) -> tuple[str, bytes]:
    """An intact picture: what it is, such as "PNG of a scan", and its bytes."""
    rng = random.Random(seed)
    kind = kind or rng.choices(list(FORMATS), list(FORMATS.values()))[0]
    shown = rng.choice(_SHOWN)
    size = (
        rng.choice([(1, 1), (8, 8), (17, 33)])
        if rng.random() < 0.1
        else (rng.randrange(24, 150), rng.randrange(24, 140))
    )
    return f"{kind} of {shown.__name__[1:]}", _WRITTEN[kind](rng, shown(rng, *size))


# --- what befalls it ------------------------------------------------------------------------------


def _cut(rng: random.Random, content: bytes) -> bytes:
    return content[: rng.randrange(len(content) // 10, len(content) * 19 // 20)]


def _zeros(rng: random.Random, content: bytes) -> bytes:
    kept = _cut(rng, content)
    return kept + bytes(len(content) - len(kept))


def _flip(rng: random.Random, content: bytes) -> bytes:
    """One bit in the last three quarters, where the pixels are."""
    at = rng.randrange(len(content) // 4, len(content))
    return content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]


def _segment(content: bytes, kinds: bytes) -> int:
    """Where the first segment of these kinds begins in a JPEG, thumbnails passed over."""
    at = 2
    while content[at + 1] not in kinds:
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return at


def _cut_and_ended(rng: random.Random, content: bytes) -> bytes:
    start = _segment(content, b"\xda")
    return content[: start + (len(content) - start) * rng.randrange(5, 90) // 100] + b"\xff\xd9"


def _zeros_and_ended(rng: random.Random, content: bytes) -> bytes:
    kept = _cut_and_ended(rng, content)[:-2]
    return kept + bytes(len(content) - len(kept) - 2) + b"\xff\xd9"


def _taller_jpeg(rng: random.Random, content: bytes) -> bytes:
    at = _segment(content, b"\xc0\xc2")
    high = int.from_bytes(content[at + 5 : at + 7], "big")
    return content[: at + 5] + (2 * high + 16).to_bytes(2, "big") + content[at + 7 :]


def chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """Kind and data of each chunk of a PNG."""
    found, at = [], 8
    while at < len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        found.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + size]))
        at += 12 + size
    return found


def _png_of(parts: list[tuple[bytes, bytes]]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def _half_the_rows(rng: random.Random, content: bytes) -> bytes:
    """Fewer rows than the header says, every checksum right."""
    parts = chunks(content)
    rows = zlib.decompress(b"".join(data for kind, data in parts if kind == b"IDAT"))
    kept = zlib.compress(rows[: len(rows) * rng.randrange(10, 90) // 100])
    before = [p for p in parts if p[0] not in (b"IDAT", b"IEND")]
    return _png_of([*before, (b"IDAT", kept), (b"IEND", b"")])


def _data_cut_and_ended(rng: random.Random, content: bytes) -> bytes:
    """A PNG whose compressed data stops before its last row does, followed by a right end."""
    parts = chunks(content)
    data = b"".join(data for kind, data in parts if kind == b"IDAT")
    before = [p for p in parts if p[0] not in (b"IDAT", b"IEND")]
    whole, kept = len(zlib.decompress(data)), data[: len(data) * rng.randrange(20, 90) // 100]
    while len(zlib.decompressobj().decompress(kept)) == whole:  # only the checksum is lost
        kept = kept[:-1]
    return _png_of([*before, (b"IDAT", kept), (b"IEND", b"")])


def _taller_png(rng: random.Random, content: bytes) -> bytes:
    (kind, head), *rest = chunks(content)
    high = struct.unpack(">I", head[4:8])[0]
    return _png_of([(kind, head[:4] + struct.pack(">I", 2 * high + 1) + head[8:]), *rest])


def _taller_gif(rng: random.Random, content: bytes) -> bytes:
    at = 13 + (3 << (content[10] & 7) + 1 if content[10] & 0x80 else 0)
    while content[at] == 0x21:  # extensions
        at += 2
        while content[at]:
            at += 1 + content[at]
        at += 1
    high = (2 * int.from_bytes(content[at + 7 : at + 9], "little") + 1).to_bytes(2, "little")
    return content[:8] + high + content[10 : at + 7] + high + content[at + 9 :]


def _gif_ended(rng: random.Random, content: bytes) -> bytes:
    """A GIF whose data stops at a block, followed by a right end."""
    return content[: rng.randrange(len(content) // 2, len(content) * 9 // 10)] + bytes(256) + b";"


def _taller_bmp(rng: random.Random, content: bytes) -> bytes:
    high = struct.unpack("<i", content[22:26])[0]
    return content[:22] + struct.pack("<i", 2 * high) + content[26:]


def _taller_tiff(rng: random.Random, content: bytes) -> bytes:
    at = struct.unpack("<I", content[4:8])[0]
    for entry in range(at + 2, at + 2 + 12 * int.from_bytes(content[at : at + 2], "little"), 12):
        if content[entry : entry + 2] == b"\x01\x01":  # ImageLength
            high = int.from_bytes(content[entry + 8 : entry + 10], "little")
            return content[: entry + 8] + struct.pack("<I", 2 * high) + content[entry + 12 :]
    raise AssertionError("a TIFF without a height")


def _webp_sized(rng: random.Random, content: bytes) -> bytes:
    """A WebP that was cut, its sizes set right."""
    kept = content[: rng.randrange(len(content) // 2, len(content) * 9 // 10) & ~1]
    at = 12
    while at + 8 + int.from_bytes(kept[at + 4 : at + 8], "little") <= len(kept) - 8:
        at += 8 + (int.from_bytes(kept[at + 4 : at + 8], "little") + 1 & ~1)
    sized = kept[: at + 4] + struct.pack("<I", max(len(kept) - at - 8, 0)) + kept[at + 8 :]
    return sized[:4] + struct.pack("<I", len(sized) - 8) + sized[8:]


#: format, name of the damage, whether the file alone shows it, and how it is done
DAMAGES: tuple[tuple[str, str, bool, Damage], ...] = (
    *((kind, "cut", True, _cut) for kind in FORMATS),
    ("JPEG", "cut and ended", True, _cut_and_ended),
    ("JPEG", "zeros at the end", True, _zeros),
    ("JPEG", "zeros and ended", True, _zeros_and_ended),
    ("JPEG", "taller than its data", True, _taller_jpeg),
    ("JPEG", "a flipped bit", False, _flip),
    ("PNG", "zeros at the end", True, _zeros),
    ("PNG", "half the rows", True, _half_the_rows),
    ("PNG", "cut and ended", True, _data_cut_and_ended),
    ("PNG", "taller than its data", True, _taller_png),
    ("PNG", "a flipped bit", True, _flip),
    ("GIF", "taller than its data", True, _taller_gif),
    ("GIF", "cut and ended", True, _gif_ended),
    ("GIF", "a flipped bit", False, _flip),
    ("BMP", "taller than its data", True, _taller_bmp),
    ("BMP", "zeros at the end", False, _zeros),
    ("TIFF", "taller than its data", True, _taller_tiff),
    ("TIFF", "zeros at the end", False, _zeros),
    ("TIFF", "a flipped bit", False, _flip),
    ("JPEG2000", "zeros at the end", True, _zeros),
    ("WEBP", "cut and sized", False, _webp_sized),
    ("WEBP", "zeros at the end", False, _zeros),
    ("WEBP", "a flipped bit", False, _flip),
)  # fmt: skip


def pictures(seed: int) -> tuple[str, bool, bytes]:
    """A damaged picture: the name of the damage, whether it can be detected, the bytes."""
    rng = random.Random(seed)
    kind, name, detectable, damage = DAMAGES[seed % len(DAMAGES)]
    shown = rng.choice(_SHOWN)
    image = shown(rng, rng.randrange(24, 150), rng.randrange(24, 140))
    if (name, shown) == ("zeros and ended", _flat):  # zeros can be the very code of one colour
        detectable = False
    return f"{kind} {name}", detectable, damage(rng, _WRITTEN[kind](rng, image, still=True))
