"""Decode a picture and say what of it is missing, where its file gives evidence.

Decoders fill what is missing with grey or black and say nothing. The evidence that is looked for:

- JPEG: an end marker; as many restart markers as the size asks for; every scan of every component;
  and whether each scan's data is used up by its pixels, neither earlier nor later. If it is 12-bit,
  lossless or coded arithmetically, the end marker only, and zeros that no arithmetic coder leaves.
- PNG: the checksum of each chunk, the end chunk, as many bytes as the rows take.
- TIFF: strips or tiles that cover the picture; if packed, that they lie in the file and don't end
  in zeros, and their checksums if deflated.
- WebP and BMP: as many bytes as the header says. JPEG 2000: an end marker.

What changes pixels and leaves all that right can't be told from the file.
"""

from __future__ import annotations

import mmap
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

#: raised when more is detected, so that no file counts as intact because it once did
VERSION: Final = 3
JPEG: Final = b"\xff\xd8\xff"
PNG: Final = b"\x89PNG\r\n\x1a\n"
J2K: Final = b"\xff\x4f\xff\x51"


class Damage(NamedTuple):
    """What is wrong: in a word to count by, and in full."""

    reason: Literal["truncated", "damaged"]
    detail: str


def load(image: ImageFile, data: mmap.mmap) -> Damage | None:
    """Decode ``image``, whose file is ``data``; None if nothing is known to be missing.

    Raises whatever a decoder raises.
    """
    formats: dict[str | None, Callable[[ImageFile, mmap.mmap], Damage | None]] = {
        "JPEG": _jpeg, "MPO": _jpeg, "PNG": _png, "TIFF": _tiff,
    }  # fmt: skip
    if look := formats.get(image.format):
        return look(image, data)
    image.load()
    return without_decoder(data)


def without_decoder(data: mmap.mmap) -> Damage | None:
    """Whether the file is shorter than its own format says, or a PNG's checksums are wrong."""
    short = False
    if data[:8] == PNG:
        with memoryview(data) as view:
            return _Chunks.of(view).wrong
    if data[:3] == JPEG:
        short = not _Jpeg.of(data).ended
    elif data[:4] == J2K or data[4:8] == b"jP  ":  # behind its first data no marker but real ones
        short = data.find(b"\xff\xd9", data.find(b"\xff\x93", data.find(J2K))) < 0
    elif data[:4] == b"RIFF":
        short = len(data) < 8 + int.from_bytes(data[4:8], "little")
    elif data[:2] == b"BM" and data[14] >= 40 and data[30] in (1, 2):  # run lengths
        first, size = (int.from_bytes(data[at : at + 4], "little") for at in (10, 34))
        short = len(data) < first + size
    return Damage("truncated", "the file ends before its picture does") if short else None


# --- JPEG -----------------------------------------------------------------------------------------

#: a marker that starts a segment or ends the picture: no stuffed byte, restart or padding
_MARKER: Final = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
_RESTART: Final = re.compile(rb"\xff[\xd0-\xd7]")
_SCAN, _END, _INTERVAL = 0xDA, 0xD9, 0xDD
#: frames whose decoder can wait for more data: baseline, extended and progressive, Huffman coded
_BASELINE, _EXTENDED, _PROGRESSIVE = 0xC0, 0xC1, 0xC2
_ARITHMETIC: Final = (0xC9, 0xCA)
_FRAMES: Final = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
#: a byte of set bits within a scan, as the last byte is padded with; no code consists of them alone
_FILLED: Final = b"\xff\x00"
#: the decoder reads ahead at most 64 bits
_AHEAD: Final = 8
#: bytes of a scan that may be left over: cameras add some, a scan that lost its way leaves more
_SPARE: Final = 32


@dataclass(frozen=True)
class _Scan:
    """Where a scan's data lies, what it refines how far, and its blocks between restart markers."""

    start: int
    end: int
    components: bytes
    coefficients: range
    bits_left: int
    interval: int


@dataclass
class _Jpeg:
    """What the segments of a JPEG say; an embedded thumbnail lies inside a segment."""

    ended: bool = False
    frame: int = 0
    width: int = 0
    height: int = 0
    sampling: dict[int, tuple[int, int]] = field(default_factory=dict)
    interval: int = 0
    scans: list[_Scan] = field(default_factory=list)
    end: int = 0

    @classmethod
    def of(cls, data: mmap.mmap) -> _Jpeg:
        """Walk from marker to marker up to the end of the first picture."""
        found, at = cls(), 2
        while mark := _MARKER.search(data, at):
            kind, start = mark[0][1], mark.end()
            if kind == _END:
                found.ended, found.end = True, start
                return found
            at = start + int.from_bytes(data[start : start + 2], "big")
            found._read(kind, data[start + 2 : at], data, at)
        return found

    def _read(self, kind: int, segment: bytes, data: mmap.mmap, after: int) -> None:
        if kind in _FRAMES:
            self.frame = kind
            self.height = int.from_bytes(segment[1:3], "big")
            self.width = int.from_bytes(segment[3:5], "big")
            for one, sampled in zip(segment[6::3], segment[7::3], strict=False):
                self.sampling[one] = sampled >> 4, sampled & 15
        elif kind == _INTERVAL:
            self.interval = int.from_bytes(segment[:2], "big")
        elif kind == _SCAN and len(segment) >= 3 and (following := _MARKER.search(data, after)):
            end = following.start()
            while data[end - 1] == 0xFF:  # fill bytes may stand before a marker
                end -= 1
            first, last, bits = segment[-3:]
            refined = segment[1:-3:2], range(first, last + 1), bits & 15
            self.scans.append(_Scan(after, end, *refined, self.interval))

    @property
    def followed(self) -> bool:
        """Whether the decoder can be followed scan by scan."""
        known = all(self.sampling.get(c) for scan in self.scans for c in scan.components)
        return self.frame in (_BASELINE, _EXTENDED, _PROGRESSIVE) and known and bool(self.scans)

    def lacks_scans(self) -> bool:
        """Whether a component, or in a progressive picture a bit of a coefficient, has no scan."""
        given = {c for scan in self.scans for c in scan.components}
        if self.frame != _PROGRESSIVE:
            return not given.issuperset(self.sampling)
        bits = {(c, k): scan.bits_left for scan in self.scans
                for c in scan.components for k in scan.coefficients}  # fmt: skip
        return any(bits.get((c, k), 1) for c in self.sampling for k in range(64))

    def restarts(self, scan: _Scan) -> int:
        """How many restart markers the scan's size asks for."""
        if not scan.interval:
            return 0
        widest, highest = (max(s[i] for s in self.sampling.values()) for i in (0, 1))
        wide, high = 8 * widest, 8 * highest
        across, down = self.width, self.height
        if len(scan.components) == 1:  # not interleaved: blocks of one component
            h, v = self.sampling[scan.components[0]]
            across, down = -(-across * h // widest), -(-down * v // highest)
            wide = high = 8
        units = -(-across // wide) * -(-down // high)
        return (units - 1) // scan.interval


class _Follower:
    """Pillow's decoder, fed in pieces: what it leaves unused says whether a scan is complete.

    Within a scan it holds back the data of a block that it can't finish; between scans it skips
    whatever comes before the next marker. So if it uses up two single bytes, one after the other,
    it is between scans; within one it could use up the first of them at most.
    """

    def __init__(self, image: ImageFile) -> None:
        image.load_prepare()
        codec, extents, _, args = image.tile[0]
        self._decoder = Image._getdecoder(image.mode, codec, args, image.decoderconfig)
        self._decoder.setimage(image.im, extents)
        self._left: bytes | memoryview = b""
        self.done = False

    def feed(self, piece: memoryview | bytes) -> bool:
        """Whether all was used up."""
        if not self.done:
            data = piece if not self._left else bytes(self._left) + bytes(piece)
            used, error = self._decoder.decode(data)
            if used < 0 and error < 0:
                raise OSError("broken data stream when reading image file")
            self.done = used < 0
            self._left = b"" if self.done else bytes(data[used:])
        return not self._left

    def between(self, one: memoryview | bytes, other: memoryview | bytes) -> bool:
        """Feed two pieces; whether the decoder is between scans, or done."""
        first = self.feed(one)
        return self.feed(other) and first

    def close(self) -> None:
        self._decoder.cleanup()


def _jpeg(image: ImageFile, data: mmap.mmap) -> Damage | None:
    said = _Jpeg.of(data)
    if not said.ended or not said.followed:
        image.load()
        return without_decoder(data) or _arithmetic_zeros(said, data)
    if said.lacks_scans():
        detail = "it has an end marker, but some of its scans are missing or were never saved"
        return Damage("truncated", detail)
    follower = _Follower(image)
    try:
        with memoryview(data) as view:
            wrong = next(_wrong_scans(said, follower, view), None)
            if wrong is None and not follower.done:
                follower.feed(view[said.scans[-1].end : said.end])
    finally:
        follower.close()
    image.tile = []
    return wrong


def _wrong_scans(said: _Jpeg, follower: _Follower, data: memoryview) -> Iterator[Damage]:
    """Feed scan after scan; for each that its data doesn't fill, or overfills, what is wrong."""
    at = 0
    for scan in said.scans:
        zeros = _zeros_from(data, scan) + _AHEAD
        # zeros that are the code of pixels, as in flat pictures, leave nothing over
        spare = _AHEAD if scan.end - zeros > _SPARE else _SPARE
        early = scan.end - min(spare, (scan.end - scan.start) // 2)
        # some encoders pad with zeros: if the pixels are there where these begin, that is no damage
        padded = zeros - _AHEAD < early <= zeros + 2  # a little more than may be left over
        if zeros + 2 < early:
            follower.feed(data[at:zeros])
            at = zeros + 2
            padded = follower.between(data[zeros : zeros + 1], data[zeros + 1 : at])
        if not padded and early > scan.start + 2:
            follower.feed(data[at:early])
            at = early + 2
            if follower.between(data[early : early + 1], data[early + 1 : at]):
                yield Damage("damaged", "its pixels end before its data does")
        follower.feed(data[at : scan.end])
        follower.feed(_FILLED * _AHEAD)
        if not follower.between(_FILLED, _FILLED):
            detail = "it has an end marker, but its data ends before its pixels do"
            yield Damage("truncated", detail)
        if scan.interval:
            found = len(_RESTART.findall(data, scan.start, scan.end))
            if found < said.restarts(scan):
                yield Damage("truncated", f"only {found} of {said.restarts(scan)} restart markers")
        at = scan.end


def _arithmetic_zeros(said: _Jpeg, data: mmap.mmap) -> Damage | None:
    """An arithmetic coder leaves out the zeros at its end (ITU-T T.81, D.1.8)."""
    with memoryview(data) as view:
        zeros = [scan.end - _zeros_from(view, scan) for scan in said.scans]
    if said.frame in _ARITHMETIC and max(zeros, default=0) > _SPARE:
        return Damage("damaged", "its data ends in zeros")
    return None


def _zeros_from(data: memoryview, scan: _Scan) -> int:
    """Where the zeros begin that a scan ends with."""
    at = scan.end
    while at > scan.start and data[at - 1] == 0:
        at -= 1
    return at


# --- PNG ------------------------------------------------------------------------------------------

#: numbers a pixel, by the header's colour type
_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
#: where the header says whether rows come in passes
_INTERLACE: Final = 28
#: a colour that few pictures end with, in modes of one number a pixel
_UNLIKELY: Final = {"1": 0, "L": 201, "P": 201, "I;16": 51401}
#: Adam7: first column and row, steps between columns and rows, of each pass
_PASSES: Final = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4),
    (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2),
)  # fmt: skip


def _png(image: ImageFile, data: mmap.mmap) -> Damage | None:
    with memoryview(data) as view:
        parts = _Chunks.of(view)
        if parts.wrong:
            return parts.wrong
        # a decoder leaves the rows that it finds no data for as they were: in a colour of our own
        colour = _UNLIKELY.get(image.mode, (201, 54, 97, 3)[: len(image.getbands())])
        image.im = Image.new(image.mode, image.size, colour).im
        image.load()
        last = image.crop((0, image.height - 1, image.width, image.height))
        found = last.tobytes() != Image.new(image.mode, last.size, colour).tobytes()
        return None if found and not view[_INTERLACE] else _rows_missing(view, parts)


@dataclass
class _Chunks:
    """The chunks of a PNG: where its pixels are, or what is wrong with them."""

    pixels: list[slice] = field(default_factory=list)
    wrong: Damage | None = None

    @classmethod
    def of(cls, data: memoryview) -> _Chunks:
        found, at = cls(), len(PNG)
        while at + 12 <= len(data):
            end = at + 8 + int.from_bytes(data[at : at + 4], "big")
            kind = bytes(data[at + 4 : at + 8])
            if end + 4 > len(data):
                break
            if zlib.crc32(data[at + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
                name = kind.decode("ascii", "backslashreplace")
                found.wrong = Damage("damaged", f"the checksum of its chunk {name} is wrong")
                return found
            if kind == b"IEND":
                return found
            if kind == b"IDAT":
                found.pixels.append(slice(at + 8, end))
            at = end + 4
        found.wrong = Damage("truncated", "the file ends before its picture does")
        return found


def _rows_missing(data: memoryview, parts: _Chunks) -> Damage | None:
    """Count the bytes of all rows, which takes as long as decoding them."""
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    depth, colours, interlaced = data[24], data[25], data[_INTERLACE]
    needed = 0
    for x, y, right, down in _PASSES if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - x) // right), -(-(height - y) // down)
        if columns > 0:
            needed += rows * (1 + -(-columns * depth * _CHANNELS[colours] // 8))
    there = _inflated(data, parts.pixels, needed)
    if there < needed:
        return Damage("truncated", f"its rows take {needed:,} bytes and it holds {there:,}")
    return None


def _inflated(data: memoryview, parts: list[slice], enough: int) -> int:
    """How many bytes the parts hold once inflated; counting stops at ``enough``."""
    stream, count = zlib.decompressobj(), 0
    for part in parts:
        piece: bytes | memoryview = data[part]
        while len(piece) and count < enough:
            count += len(stream.decompress(piece, 1 << 20))
            piece = stream.unconsumed_tail
    return count


# --- TIFF -----------------------------------------------------------------------------------------


#: tags: how it is compressed, and where each strip or tile begins and how long it is
_COMPRESSION, _PLACES, _LENGTHS = 259, (273, 324), (279, 325)
_PLAIN, _DEFLATED = 1, (8, 32946)
#: so many zeros end no packed strip: intact ones of LZW, PackBits, JPEG and fax have two at most
_ZEROS: Final = bytes(16)


def _tiff(image: ImageFile, data: mmap.mmap) -> Damage | None:
    """Strips or tiles that the directory doesn't list stay black; checksums are never looked at."""
    places = {tile.extents for tile in image.tile if tile.extents}
    covered = sum((right - left) * (low - high) for left, high, right, low in places)
    if covered < image.width * image.height:
        return Damage("truncated", "its strips or tiles do not cover the picture")
    wrong = None
    if isinstance(image, TiffImageFile):
        enough = 16 * len(image.getbands()) * image.width * image.height + (1 << 20)
        wrong = _wrong_strips(image.tag_v2, data, enough)
    if wrong is None:
        image.load()
    return wrong


def _wrong_strips(tags: ImageFileDirectory_v2, data: mmap.mmap, enough: int) -> Damage | None:
    """What is wrong with packed strips or tiles; unpacked, zeros are black pixels."""
    how = tags.get(_COMPRESSION, _PLAIN)
    if how == _PLAIN:
        return None
    starts, sizes = (
        next((tags[tag] for tag in of if tag in tags), ()) for of in (_PLACES, _LENGTHS)
    )
    with memoryview(data) as view:
        for at, size in zip(starts, sizes, strict=False):
            if at + size > len(data):
                return Damage("truncated", "a strip or tile lies behind the end of the file")
            if size > len(_ZEROS) and view[at + size - len(_ZEROS) : at + size] == _ZEROS:
                return Damage("damaged", "a strip or tile ends in zeros")
            try:
                if how in _DEFLATED:
                    _inflated(view, [slice(at, at + size)], enough)
            except zlib.error as error:
                return Damage("damaged", f"a strip or tile can't be unpacked: {error}")
    return None
