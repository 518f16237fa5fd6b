"""Pictures that lie in a zip or tar archive; nothing is unpacked to disk.

Members are named by their path in the archive, with slashes and without ``./``. What a link, a
device or a sparse file of a tar holds is not read.
"""

from __future__ import annotations

import os
import posixpath
import stat
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PureWindowsPath
from typing import Final

from audit.core.errors import InputError

SUFFIXES: Final = (".zip", ".tar")
#: what is packed as a whole, so that nothing in it is found without unpacking all before it
SOLID: Final = (".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".zst", ".7z", ".rar")
#: bytes of a member; one that unpacks to more is no picture but a bomb
LARGEST: Final = 1 << 29
_BLOCK: Final = tarfile.BLOCKSIZE
_ENCRYPTED: Final = 1
#: state of a file on disk: when it was modified, and its size
Version = tuple[int, int]


@dataclass(frozen=True)
class Archive:
    """What lies in an archive.

    ``sizes``: path of each plain file to its bytes when unpacked, in the archive's order.
    ``places``: of a tar, where the bytes of each begin. ``odd``: links, devices and the like.
    """

    sizes: Mapping[str, int]
    places: Mapping[str, int | zipfile.ZipInfo]
    odd: tuple[str, ...]


def listed(file: Path) -> Archive:
    """What lies in an archive, told by its own list; pictures in it are not looked at.

    Raises:
        OSError: it can't be read.
        InputError: it is no whole zip or tar, is encrypted, or holds a path twice or one that
            leads out of it.
    """
    state = file.stat()
    return _listed(file, (state.st_mtime_ns, state.st_size))


def content(file: Path, name: str) -> bytes:
    """The bytes of a member.

    Raises:
        OSError: it can't be read; ``FileNotFoundError`` where it isn't there.
    """
    state = file.stat()
    version = state.st_mtime_ns, state.st_size
    try:
        archive = _listed(file, version)
        if name not in archive.sizes:
            raise FileNotFoundError(2, "there is no such picture in the archive", str(file))
        if archive.sizes[name] > LARGEST:
            told = f"it unpacks to {archive.sizes[name]:,} bytes, and at most {LARGEST:,} are read"
            raise OSError(27, told, str(file))
        place = archive.places[name]
        if isinstance(place, zipfile.ZipInfo):
            with _zip(file, version, os.getpid()).open(place) as member:
                return member.read()
    except OSError:
        raise
    except Exception as error:  # a damaged member can raise anything: zlib, lzma, zipfile
        raise OSError(5, str(error) or type(error).__name__, str(file)) from error
    with file.open("rb") as handle:
        handle.seek(place)
        return handle.read(archive.sizes[name])


@lru_cache(maxsize=64)
def _listed(file: Path, version: Version) -> Archive:
    read = _of_zip if file.suffix.lower() == ".zip" else _of_tar
    sizes: dict[str, int] = {}
    places: dict[str, int | zipfile.ZipInfo] = {}
    odd = []
    for raw, place, size in read(file, version):
        name = _normal(raw, file)
        if place is None:
            odd.append(name)
        elif name in sizes:
            told = f"{file}: holds '{name}' twice, and which one is meant can't be told"
            raise InputError(told, "Pack it again")
        else:
            sizes[name], places[name] = size, place
    return Archive(sizes, places, tuple(odd))


def _normal(raw: str, file: Path) -> str:
    """The path of a member with slashes only; one that leads out is no picture's."""
    name = posixpath.normpath(raw if "/" in raw else raw.replace("\\", "/"))
    if name.startswith(("/", "../")) or name in (".", "..") or PureWindowsPath(name).drive:
        told = f"{file}: holds '{raw}', which leads out of the archive"
        raise InputError(told, "Get it from whoever made it, or pack it again")
    return name


#: the path of a member as it is written, where it lies (None: it is no plain file), and its size
_Member = tuple[str, int | zipfile.ZipInfo | None, int]


def _of_zip(file: Path, version: Version) -> Iterator[_Member]:
    try:
        members = _zip(file, version, os.getpid()).infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        told = f"{file}: not a whole zip archive: {error}"
        raise InputError(told, "Get the whole file") from error
    for member in members:
        if member.flag_bits & _ENCRYPTED:
            raise InputError(f"{file}: is encrypted", "Pack it again without a password")
        mode = member.external_attr >> 16
        plain = not stat.S_IFMT(mode) or stat.S_ISREG(mode)
        if not member.is_dir():
            yield member.filename, member if plain else None, member.file_size


@lru_cache(maxsize=8)
def _zip(file: Path, version: Version, process: int) -> zipfile.ZipFile:
    """An open archive; each process has its own, since one that was forked shares its place."""
    return zipfile.ZipFile(file)


def _of_tar(file: Path, version: Version) -> Iterator[_Member]:
    try:
        with tarfile.open(file, "r:") as tar:
            members = tar.getmembers()
            end = tar.offset
    except (tarfile.TarError, ValueError, OverflowError) as error:
        told = f"{file}: not a whole tar archive: {error}"
        packed = "If it is packed with gzip or the like, unpack it to .tar"
        raise InputError(told, "Get the whole file", packed) from error
    _require_end(file, end)
    for member in members:
        if not member.isdir():
            plain = member.isreg() and not member.issparse()
            yield member.name, member.offset_data if plain else None, member.size


def _require_end(file: Path, end: int) -> None:
    """Refuse a tar that goes on, or was cut, where tarfile stops reading it without a word."""
    with file.open("rb") as handle:
        handle.seek(end)
        if len(handle.read(_BLOCK)) < _BLOCK:
            raise InputError(f"{file}: has no end: it was cut", "Get the whole file")
        handle.seek(end)
        while block := handle.read(1 << 20):
            if block.strip(b"\0"):
                told = f"{file}: is damaged at byte {end:,}, or two archives were joined there"
                raise InputError(told, "Get it again, or pack it again")
