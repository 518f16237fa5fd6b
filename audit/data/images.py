"""Open one picture safely: upright, RGB, on white, or a reason why not."""

from __future__ import annotations

import hashlib
import math
import mmap
import os
import re
import stat
import warnings
from pathlib import Path
from typing import IO, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFile, UnidentifiedImageError

from audit.core.errors import InputError, sentence
from audit.data import intact
from audit.data.intact import Damage
from audit.data.packed import container, opened, region

Reason = Literal[
    "missing",
    "empty",
    "truncated",
    "damaged",
    "not an image",
    "too large",
    "outside the folder",
    "unreadable",
    "not prepared",
]
REASONS: tuple[str, ...] = get_args(Reason)
"""Why a picture can be quarantined; reports count these words."""

MAX_PIXELS = 64_000_000

# the EXIF tag, and what turns each of its values upright
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
#: left, top, width and height of a region, in pixels or in percent, and a margin around it
_BOX = re.compile(
    r"xywh=(?:pixel:)?(percent:)?"
    + ",".join([r"(-?\d+(?:\.\d*)?)"] * 4)
    + r"(?:&margin=(\d+(?:\.\d*)?))?",
    re.ASCII,
)
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"II*\0", b"MM\0*", b"RIFF")
# Pillow hands these to another program (Ghostscript, Windows), which no unknown file should reach
_PROGRAMS = {"EPS", "WMF"}
# how decoders say that the bytes ran out
_CUT_SHORT = ("truncated", "unexpected end", "not enough", "broken data stream", "read past")


class Unreadable(InputError):  # noqa: N818 - read as a word: 'raises Unreadable'
    """A picture that can't be used; ``reason`` is one of ``REASONS``, the text a sentence."""

    def __init__(self, message: str, reason: Reason) -> None:
        super().__init__(message)
        self.reason: Reason = reason

    def __reduce__(self) -> tuple[type[Unreadable], tuple[str, Reason]]:
        # pictures are decoded in worker processes, and the reason has to come back
        return type(self), (str(self), self.reason)


def decode(
    path: Path,
    root: Path | None = None,
    max_pixels: int = MAX_PIXELS,
    least: int | None = None,
) -> Image.Image:
    """The picture as upright RGB: EXIF orientation applied, transparency on white, first frame.

    16-bit grey keeps its high byte, as Pillow does for 16-bit colour; colour profiles are not
    applied, as CLIP's preprocessing does not. Of a path that names a region, the region of the
    upright picture. With ``root``, ``path`` is taken relative to it and
    must stay inside it, symbolic links followed. With ``least`` a JPEG may come out at a half, a
    quarter or an eighth of its size, with so many pixels a side at least, unless a region is named:
    its decoder skips what a smaller picture has no use for. Raises Unreadable.
    """
    place = root / path if root is not None else path
    if root is not None and not inside(container(place), root):
        raise _unreadable(place, "outside the folder", f"it leads out of {root}")
    _check_file(place)
    _quiet()
    _, said = region(place)
    try:
        with opened(place) as handle:
            if not handle.read(1):
                raise _unreadable(place, "empty", "there are no bytes")
            handle.seek(0)
            image = _picture(handle, place, max_pixels, None if said else least)
    except FileNotFoundError as error:  # gone since, or not in the file that is to hold it
        raise _unreadable(place, "missing", _said(error)) from error
    except OSError as error:  # of the disk; those of decoders are dealt with
        raise _unreadable(place, "unreadable", _said(error)) from error
    return _cropped(image, said, place) if said else image


def nowhere(path: Path) -> str:
    """What is said of a picture that isn't there, and of one beside it that may be meant."""
    file = container(path)
    other = file.with_suffix(file.suffix.swapcase())
    if file.suffix and other.is_file():
        return f"there is no such file, but '{other.name}': its ending differs in case"
    return "there is no such file"


def inside(path: Path, root: Path) -> bool:
    """Whether ``path`` lies inside ``root`` once every symbolic link and ``..`` is followed."""
    try:
        return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))
    except ValueError:  # a zero byte in the name
        return False


def pixel_digest(image: Image.Image) -> str:
    """Sha256 (hex) over size and RGB bytes: equal pictures share it, whatever file they are in."""
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    digest = hashlib.sha256(f"RGB {rgb.width}x{rgb.height}\n".encode())
    digest.update(rgb.tobytes())
    return digest.hexdigest()


def _cropped(image: Image.Image, said: str, path: Path) -> Image.Image:
    """A region of a picture, to whole pixels outwards; one that is not inside is not guessed at.

    A margin around it goes as far as the picture does.
    """
    found = _BOX.fullmatch(said)
    if found is None:
        detail = f"its region '{said}' is not 'xywh=LEFT,TOP,WIDTH,HEIGHT'"
        raise _unreadable(path, "unreadable", detail)
    left, top, width, height = map(float, found.groups()[1:5])
    if found[1]:
        left, width = (part * image.width / 100 for part in (left, width))
        top, height = (part * image.height / 100 for part in (top, height))
    beyond = max(left + width - image.width, top + height - image.height)
    before = min(left, top) < -1 or left >= image.width or top >= image.height
    if before or beyond > 1 or width <= 0 or height <= 0:
        detail = f"its region '{said}' does not lie in its {image.width} x {image.height} pixels"
        raise _unreadable(path, "unreadable", detail)
    around, above = (float(found[6] or 0) * side for side in (width, height))
    ends = left + width + around, top + height + above
    right, low = (math.ceil(round(end, 6)) for end in ends)
    begin = max(0, int(left - around)), max(0, int(top - above))
    return image.crop((*begin, min(right, image.width), min(low, image.height)))


def _unreadable(path: Path, reason: Reason, detail: str) -> Unreadable:
    advice = "Replace the file or take its row out of the manifest."
    return Unreadable(sentence(f"{path}: {reason}: {detail}", advice), reason)


def _check_file(path: Path) -> None:
    """Only plain files are opened: a pipe would wait for ever."""
    file = container(path)
    try:
        found = file.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise _unreadable(path, "missing", nowhere(path)) from None
    except (OSError, ValueError) as error:
        raise _unreadable(path, "unreadable", _said(error)) from error
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "not a plain file"
        raise _unreadable(path, "not an image", f"it is {kind}")


def _quiet() -> None:
    """Keep Pillow's warnings to itself: a picture is either used or quarantined with a reason.

    A filter rather than ``catch_warnings``, which is not safe where threads decode.
    """
    wanted = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
    if wanted not in warnings.filters:
        warnings.filterwarnings("ignore", module=r"PIL\.")
    # another library may have switched this on for the whole process; an audit must not read a
    # picture whose lower half is grey
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        ImageFile.LOAD_TRUNCATED_IMAGES = False


def _picture(handle: IO[bytes], path: Path, max_pixels: int, least: int | None) -> Image.Image:
    try:
        return _rgb(_upright(_load(handle, path, max_pixels, least)), path)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # a damaged file can raise nearly anything inside a decoder
        words = str(error).lower()
        short = isinstance(error, EOFError) or any(word in words for word in _CUT_SHORT)
        damage = _without_decoder(handle)
        if damage is None and short:
            damage = Damage(
                "damaged" if "broken data stream" in words else "truncated", _said(error)
            )
        told = damage or ("unreadable", _said(error))
        raise _unreadable(path, *told) from error


def _load(handle: IO[bytes], path: Path, max_pixels: int, least: int | None) -> ImageFile.ImageFile:
    image = _open(handle, path)
    if image.format in _PROGRAMS:
        raise _unreadable(path, "not an image", f"{image.format} files are not opened")
    if image.width * image.height > max_pixels:  # the header says so; nothing is decoded yet
        raise _unreadable(path, "too large", _too_large(image.size, max_pixels))
    if least is not None:
        image.draft(None, (least, least))
    with mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if damage := intact.load(image, data):
            raise _unreadable(path, damage.reason, damage.detail)
    return image


def _without_decoder(handle: IO[bytes]) -> Damage | None:
    with mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return intact.without_decoder(data)


def _open(handle: IO[bytes], path: Path) -> ImageFile.ImageFile:
    try:
        return Image.open(handle)
    except Image.DecompressionBombError as error:
        raise _unreadable(path, "too large", str(error)) from error
    except UnidentifiedImageError as error:
        handle.seek(0)
        if handle.read(8).startswith(_SIGNATURES):
            detail = "it begins like a picture but its header is cut short or damaged"
            told = _without_decoder(handle) or ("truncated", detail)
            raise _unreadable(path, *told) from error
        detail = "its content is no picture format that this installation reads"
        raise _unreadable(path, "not an image", detail) from error


def _too_large(size: tuple[int, int], max_pixels: int) -> str:
    return f"{size[0]:,} x {size[1]:,} pixels, and at most {max_pixels:,} are decoded"


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF asks; asked after loading, because Pillow turns TIFF files itself."""
    try:
        turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged metadata is no reason to lose a whole picture
        turn = None
    return image if turn is None else image.transpose(turn)


def _rgb(image: Image.Image, path: Path) -> Image.Image:
    if image.mode == "F" or image.mode.startswith("I"):
        rgb = Image.fromarray(_high_byte(image, path)).convert("RGB")
    elif image.mode == "LAB":
        rgb = _from_lab(image)
    elif image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        rgb = Image.alpha_composite(white, rgba).convert("RGB")
    else:
        rgb = image.convert("RGB")
    rgb.info.clear()  # the orientation is used up, and places and names stay behind
    return rgb


def _high_byte(image: Image.Image, path: Path) -> NDArray[np.uint8]:
    """Wide grey as 8 bits; where the file doesn't say which number is white, nothing is guessed."""
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 0xFFFF:
        detail = "its pixels have no stated white (32-bit numbers); save it with 8 or 16 bits"
        raise _unreadable(path, "unreadable", detail)
    return (values.astype(np.uint32) >> 8).astype(np.uint8)


def _from_lab(image: Image.Image) -> Image.Image:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    if converted is None:  # pragma: no cover - only when converting in place
        raise ValueError("the LAB picture could not be converted")
    return converted


def _said(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
