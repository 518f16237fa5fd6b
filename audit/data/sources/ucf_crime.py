"""UCF-Crime's test videos: surveillance cameras, and when in a video a crime happens.

Sultani, Chen and Shah 2018, www.crcv.ucf.edu/projects/real-world.
"""

from __future__ import annotations

import re
from collections import defaultdict
from fractions import Fraction
from pathlib import Path
from typing import ClassVar, Final, Literal, NamedTuple

import pandas as pd
from pydantic import Field

from audit.core.errors import InputError
from audit.core.registry import suggest
from audit.data import video
from audit.data.manifest import Manifest
from audit.data.remarks import Remark, counted, tally
from audit.data.sources.base import Grain, Published, Rows, aside, publication
from audit.data.sources.image_folder import files_below
from audit.data.yamlfile import read_text

_CLASSES: Final = (
    "Abuse", "Arrest", "Arson", "Assault", "Burglary", "Explosion", "Fighting", "RoadAccidents",
    "Robbery", "Shooting", "Shoplifting", "Stealing", "Vandalism", "Normal",
)  # fmt: skip
_LISTED: Final = "Temporal_Anomaly_Annotation_for_Testing_Videos.txt"
_VIDEOS: Final = 290
#: a frame in a copy of pictures: 'Abuse028_x264_1010.png'
_FRAME: Final = re.compile(r"(.+_x264)_(\d+)\.(?:png|jpe?g)", re.IGNORECASE)
#: frames a second in which the list counts
_RATE: Final = 30


class Clip(NamedTuple):
    """A line of the list: a video, its class, and spans of frames in which something happens."""

    name: str
    kind: str
    spans: tuple[tuple[int, int], ...]

    def holds(self, number: int) -> bool:
        """Whether a frame, counted from 1, is in a span."""
        return any(first <= number <= last for first, last in self.spans)


#: name of a video: its frames as paths below root, each with its number from 1
_Found = dict[str, list[tuple[str, int]]]


class UCFCrime(Published):
    """Frames of UCF-Crime's test videos, every so many seconds; videos are the clusters.

    Videos may lie in any folders below root. Much-used copies hold pictures of 64 pixels in their
    place, every tenth frame, as ``Test/CLASS/VIDEO_NUMBER.png``. ``happens`` says whether a frame
    is in a span that the list gives, ``class`` is the video's; neither says anything of the people
    in it.
    """

    files: Literal["videos", "pictures"] = Field(
        "videos", description="what the folder holds: videos, or pictures of their frames"
    )
    every: float = Field(1.0, ge=0.001, description="seconds from one frame to the next")

    published: ClassVar = publication(__file__)
    grain: ClassVar[Grain] = "frame"

    @property
    def version(self) -> str:
        """The part, what was read of it and how far frames are apart."""
        return f"test, from {self.files}, a frame every {self.every:g} s"

    def read(self) -> Rows:
        """A row a frame; videos that are not there or can't be opened are counted by class."""
        listed = self.file(_LISTED, f"UCF_Crimes-Train-Test-Split/{_LISTED}")
        clips = _clips(listed)
        read = self._of_pictures if self.files == "pictures" else self._of_videos
        found, remarks = read(clips)
        if len(clips) != _VIDEOS:
            told = f"{len(clips):,} videos are listed, officially {_VIDEOS}"
            remarks.insert(0, Remark(f"{told}; this copy is another"))
        if lost := [clip for clip in clips if clip.name not in found]:
            kinds = tally(pd.Series([clip.kind for clip in lost], dtype=object))
            told = "which are not there or can't be opened"
            remarks += aside(told, [clip.name for clip in lost], {"class": kinds})
        rows = [
            (frame, clip.name, str(number), clip.kind, "yes" if clip.holds(number) else "no")
            for clip in clips
            for frame, number in found.get(clip.name, ())
        ]
        columns = ["frame", "video", "number", "class", "happens"]
        table = pd.DataFrame(rows, columns=columns, dtype=object)
        packed = frozenset({"frame"} if self.files == "videos" else ())
        return Rows(Manifest(table, packed), listed, self.root, remarks)

    def _of_pictures(self, clips: list[Clip]) -> tuple[_Found, list[Remark]]:
        """Frames that are files, which a copy names by video and number, from 0."""
        numbered: dict[str, dict[int, str]] = defaultdict(dict)
        for name in files_below(self.folder("Test", ".")):
            if said := _FRAME.fullmatch(Path(name).name):
                if (number := int(said[2]) + 1) in numbered[said[1].lower()]:
                    told = f"{self.root}: holds '{Path(name).name}' twice"
                    raise InputError(told, "Take one of them away")
                numbered[said[1].lower()][number] = name
        below = self.folder("Test", ".").relative_to(self.root)
        found: _Found = {}
        for clip in clips:
            frames = numbered.pop(Path(clip.name).stem.lower(), {})
            due = 1.0
            for number in sorted(frames):
                if number >= due:
                    found.setdefault(clip.name, []).append((str(below / frames[number]), number))
                    due = number + self.every * _RATE
        others = sum(map(len, numbered.values()))
        told = f"{others:,} pictures are frames of videos that the list does not name"
        return found, [Remark(f"{told}; they are not read")] if others else []

    def _of_videos(self, clips: list[Clip]) -> tuple[_Found, list[Remark]]:
        """Frames of video files, by their time."""
        video.require_av()
        there = self._videos()
        found: _Found = {}
        rates: list[str] = []
        for clip in clips:
            name = there.get(Path(clip.name).stem.lower())
            if name is None:
                continue
            try:
                seconds, rate = video.length(self.root / name)
            except InputError:
                continue
            if rate is not None and round(rate) != _RATE:
                rates.append(f"{float(rate):.4g}")
            found[clip.name] = [
                (video.frame_name(name, time), int(Fraction(time) * _RATE) + 1)
                for time in video.times(seconds, self.every)
            ]
        if not rates:
            return found, []
        of = counted(tally(pd.Series(rates, dtype=object)))
        told = f"{len(rates):,} videos have another number of frames a second than {_RATE}: {of}"
        why = "if they were made anew, 'happens' is still by seconds"
        return found, [Remark(f"{told}; {why}", "happens")]

    def _videos(self) -> dict[str, str]:
        """Paths of all videos below root by their name without its ending."""
        found: dict[str, str] = {}
        for name in files_below(self.root):
            path = Path(name)
            if path.suffix.lower() not in video.SUFFIXES:
                continue
            # some normal videos are published twice, in two folders
            other = found.setdefault(path.stem.lower(), name)
            sizes = {(self.root / one).stat().st_size for one in (other, name)}
            if len(sizes) > 1:
                told = f"{self.root}: '{other}' and '{name}' have one name and differ in size"
                raise InputError(told, "Take one of them away")
        return found


def _clips(listed: Path) -> list[Clip]:
    """The lines of the list; each is checked as a whole."""
    clips = []
    for n, line in enumerate(read_text(listed).splitlines(), 1):
        if not (words := line.split()):
            continue
        where = f"{listed}:{n}"
        if len(words) != 6 or not all(word.lstrip("-").isdigit() for word in words[2:]):
            told = f"{where}: '{line.strip():.80}'"
            raise InputError(told, "A video, its class and four numbers are expected")
        name, kind = words[0].rsplit("/", 1)[-1], words[1]
        if kind not in _CLASSES:
            told = f"{where}: has the class '{kind}'"
            official = f"Official are {', '.join(_CLASSES)}"
            raise InputError(told, official, suggest(kind, _CLASSES))
        if not name.startswith(kind):
            told = f"{where}: the class is '{kind}' and the video '{name}'"
            again = f"Get the list as it was published: {UCFCrime.facts.url}"
            raise InputError(told, again)
        clips.append(Clip(name, kind, _spans([int(word) for word in words[2:]], where)))
    if twice := {clip.name for clip in clips if [c.name for c in clips].count(clip.name) > 1}:
        raise InputError(f"{listed}: lists '{min(twice)}' twice", "Get it again")
    return clips


def _spans(numbers: list[int], where: str) -> tuple[tuple[int, int], ...]:
    spans = (numbers[0], numbers[1]), (numbers[2], numbers[3])
    if any(span != (-1, -1) and not 0 <= span[0] <= span[1] for span in spans):
        told = f"{where}: {numbers} are no spans of frames"
        raise InputError(told, "Each is a first and a last frame, or -1 and -1")
    return tuple(span for span in spans if span != (-1, -1))
