"""Video files, a frame every so many seconds."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import ClassVar

import pandas as pd
from pydantic import Field

from audit.core.errors import InputError
from audit.data import video
from audit.data.card import Card
from audit.data.manifest import Manifest
from audit.data.remarks import tally
from audit.data.sources.base import Grain, Rows, aside
from audit.data.sources.image_folder import ByFolder, files_below

_NO_VIDEO = "which by their name are no video"


class VideoFrames(ByFolder):
    """Your own videos: the frame at 0 s and then every so many seconds; videos are the clusters.

    With ``attribute``, the first folder that a video lies in says its group.
    """

    every: float = Field(1.0, ge=0.001, description="seconds from one frame to the next")

    own: ClassVar = ("frame", "video", "time")
    about: ClassVar = "your own videos, a frame every so many seconds; a video is a cluster"
    grain: ClassVar[Grain] = "frame"
    access: ClassVar = "your own files; needs pip install 'clip-audit[video]'"

    def describe(self) -> Card:
        """The card with the video as cluster, and the folders' names if they are an attribute."""
        return self.with_folders(image_column="frame", cluster_column="video")

    def read(self) -> Rows:
        """A row a frame; videos that can't be opened are set aside, counted by group."""
        video.require_av()
        rows: list[tuple[str, ...]] = []
        lost: list[tuple[str, str]] = []
        other: list[str] = []
        for name in files_below(self.root):
            path = PurePosixPath(name)
            if path.suffix.lower() not in video.SUFFIXES:
                other.append(name)
                continue
            if self.attribute and len(path.parts) < 2:
                other.append(name)
                continue
            try:
                seconds, _ = video.length(self.root / name)
            except InputError:
                lost.append((name, path.parts[0]))
                continue
            for time in video.times(seconds, self.every):
                rows.append((video.frame_name(name, time), name, time, path.parts[0]))
        if not rows and not lost:
            told = f"{self.root}: holds no video by its name ({', '.join(sorted(video.SUFFIXES))})"
            raise InputError(told, "Name the folder that holds them")
        table = pd.DataFrame(rows, columns=["frame", "video", "time", "class"], dtype=object)
        groups = {self.attribute: tally(pd.Series([c for _, c in lost]))} if self.attribute else {}
        why = f"{_NO_VIDEO}{', or in no folder of a class' if self.attribute else ''}"
        remarks = aside(why, other)
        if lost:
            remarks += aside("which can't be opened as videos", [n for n, _ in lost], groups)
        named = table.rename(columns={"class": self.attribute})
        table = named if self.attribute else table.drop(columns="class")
        manifest = Manifest(table, frozenset({"frame"}))
        return Rows(manifest, self.root, self.root, remarks, len(other) + len(lost))
