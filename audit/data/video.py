"""Frames of video files, named by their time: ``clip.mp4#t=12.5``, as media fragments on the web.

The frame at a time is the one that a player shows then, counted from the first frame on; in MPEG
program streams, where most frames have no time of their own, give or take one. It is decoded again
wherever it is needed, from the key frame before it: no frame is kept on disk, only its embedding.
PyAV decodes, which brings ffmpeg along.
"""

from __future__ import annotations

import io
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from PIL import Image

from audit.core.errors import InputError, sentence

if TYPE_CHECKING:
    from av import VideoFrame, VideoStream
    from av.container import InputContainer

SUFFIXES: Final = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp"}
)
#: times are written to the millisecond, so a frame that begins half of one later is meant
_HALF: Final = Fraction(1, 2000)
#: seconds that a video may last: thirty days
_LONGEST: Final = 30 * 24 * 3600
_MISSING: Final = "video files are read by PyAV, which is not installed"


class _Damaged(Exception):  # noqa: N818 - read as a word: 'raises _Damaged'
    """A frame that the decoder could not make whole, or whose time isn't known."""


@lru_cache(maxsize=1)
def require_av() -> None:
    """Refuse where the library that decodes videos isn't installed.

    Raises:
        InputError: it isn't.
    """
    try:
        import av
    except ImportError as error:
        raise InputError(_MISSING, "pip install 'clip-audit[video]'") from error
    av.logging.set_level(av.logging.PANIC)


def frame_name(file: str, time: str) -> str:
    """The name of the frame at a time in seconds."""
    return f"{file}#t={time}"


def length(file: Path) -> tuple[Fraction, Fraction | None]:
    """Seconds that a video says it lasts, and its frames a second; None where it doesn't say.

    Raises:
        InputError: PyAV isn't installed, or the file is no video that it reads.
    """
    require_av()
    import av

    try:
        with av.open(str(file)) as video:
            stream = _stream(video, file)
            rate = stream.average_rate
            if stream.duration and stream.time_base:
                seconds = stream.duration * stream.time_base
            elif video.duration:
                seconds = Fraction(video.duration, av.time_base)
            else:
                seconds = _last(video, stream)
            if not 0 <= seconds <= _LONGEST:  # else a damaged header asks for frames without end
                raise InputError(sentence(f"{file}: says that it lasts {float(seconds):,.0f} s"))
            return seconds, rate
    except (av.FFmpegError, ValueError) as error:
        told = f"{file}: can't be read as a video: {getattr(error, 'strerror', None) or error}"
        raise InputError(sentence(told)) from error


def times(seconds: Fraction, every: float) -> list[str]:
    """Times from 0 on, every so many seconds, while a video lasts; to the millisecond."""
    step = Fraction(str(every))
    count = max(1, -(-seconds // step))
    return [f"{float(n * step):.3f}".rstrip("0").rstrip(".") for n in range(count)]


def frame(file: Path, time: str) -> bytes:
    """The frame at a time as a picture file without loss: upright, its pixels square.

    Raises:
        OSError: it can't be decoded; ``FileNotFoundError`` where the video is shorter.
    """
    state = file.stat()
    try:
        return _frame(file, (state.st_mtime_ns, state.st_size), time)
    except InputError as error:
        raise OSError(5, str(error), str(file)) from error


@lru_cache(maxsize=8)  # a picture is asked for several times in a row: digest, then pixels
def _frame(file: Path, version: tuple[int, int], time: str) -> bytes:
    require_av()
    import av

    failed = None
    # where a file has no index, a search may end between key frames or too late: then from the
    # start on, which is slow
    for seek in (True, False):
        try:
            if found := _decoded(file, Fraction(time), seek):
                return found
        except (av.FFmpegError, _Damaged) as error:
            failed = error
    if failed:
        raise OSError(5, f"it can't be decoded up to {time} s: its data is damaged", str(file))
    raise FileNotFoundError(2, f"the video has no frame at {time} s", str(file))


def _decoded(file: Path, time: Fraction, seek: bool) -> bytes | None:
    import av

    with av.open(str(file)) as video:
        stream = _stream(video, file)
        shown = _shown(video, stream, time, seek)
        return _picture(shown, stream) if shown else None


def _stream(video: InputContainer, file: Path) -> VideoStream:
    if not video.streams.video:
        raise InputError(sentence(f"{file}: holds no moving pictures"))
    stream = video.streams.video[0]
    # else damaged parts are painted over with what was there before, and nobody is told; several
    # threads keep what one of them found to themselves
    stream.codec_context.options = {"err_detect": "explode"}
    stream.thread_type, stream.codec_context.thread_count = "NONE", 1
    return stream


def _last(video: InputContainer, stream: VideoStream) -> Fraction:
    """When the last frame of a video begins, which does not say how long it lasts."""
    begins = [packet.pts for packet in video.demux(stream) if packet.pts is not None]
    tick = stream.time_base or Fraction(1)
    return (max(begins) - min(begins)) * tick if begins else Fraction(0)


def _shown(
    video: InputContainer, stream: VideoStream, time: Fraction, seek: bool
) -> VideoFrame | None:
    """The frame that is on the screen at a time; None after the last one's end."""
    tick = stream.time_base or Fraction(1)
    begin = stream.start_time or 0
    wanted = begin + (time + _HALF) // tick
    if seek:
        video.seek(wanted, stream=stream)
    shown = None
    for one in video.decode(stream):
        if one.pts is None or one.is_corrupt:
            raise _Damaged
        if one.pts > wanted:
            return shown
        shown = one
    if shown is None or shown.pts is None:
        return None
    lasts = shown.duration * tick if shown.duration else 1 / (stream.average_rate or Fraction(1))
    return shown if time < (shown.pts - begin) * tick + lasts else None


def _picture(shown: VideoFrame, stream: VideoStream) -> bytes:
    """A frame as BMP, which costs no time to pack, with square pixels, turned as the file asks."""
    from av.video.reformatter import Interpolation

    shape = stream.sample_aspect_ratio or Fraction(1)
    exact = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
    pixels = shown.to_ndarray(
        format="rgb24", width=round(shown.width * shape), interpolation=exact, threads=1
    )
    image = Image.fromarray(pixels).rotate(shown.rotation, expand=True)
    content = io.BytesIO()
    image.save(content, "BMP")
    return content.getvalue()
