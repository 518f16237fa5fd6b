"""Frames of videos as pictures, a folder a video, as VIRAT and other camera footage is cut up."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import PurePosixPath
from typing import ClassVar

import pandas as pd
from pydantic import Field

from audit.data.card import Card
from audit.data.manifest import Manifest
from audit.data.sources.base import Grain, Rows, aside
from audit.data.sources.image_folder import ByFolder, files_below, is_picture


class FrameFolders(ByFolder):
    """Your own frames, the pictures of one video in one folder, which is the cluster.

    With ``attribute``, the first folder says a frame's group, and those in it are the videos.
    """

    step: int = Field(1, ge=1, description="take every so manieth frame of a video, from the first")

    own: ClassVar = ("frame", "video")
    about: ClassVar = "your own frames, a folder a video, which is a cluster"
    grain: ClassVar[Grain] = "frame"

    def describe(self) -> Card:
        """The card with the video as cluster, and the folders' names if they are an attribute."""
        return self.with_folders(image_column="frame", cluster_column="video")

    def read(self) -> Rows:
        """A row a frame, by the number in its name; files that are no frame are counted."""
        videos: dict[str, list[str]] = defaultdict(list)
        other = []
        depth = 3 if self.attribute else 2
        for name in files_below(self.root):
            path = PurePosixPath(name)
            if is_picture(name) and len(path.parts) >= depth:
                videos[path.parent.as_posix()].append(name)
            else:
                other.append(name)
        folders = {video.split("/")[0] for video in videos}
        if folders:
            self.refuse_parts(folders, self.root, f"root: {self.root / sorted(folders)[0]}")
        rows = [
            (frame, video, video.split("/")[0])
            for video, frames in videos.items()
            for frame in sorted(frames, key=_in_time)[:: self.step]
        ]
        table = pd.DataFrame(rows, columns=["frame", "video", "class"], dtype=object)
        named = table.rename(columns={"class": self.attribute})
        table = named if self.attribute else table.drop(columns="class")
        why = "which are in no folder of a video or by their name no picture"
        remarks = aside(why, other)
        return Rows(Manifest(table), self.root, self.root, remarks, len(other))


def _in_time(name: str) -> list[tuple[bool, int, str]]:
    """A key that puts 'frame_2' before 'frame_10'."""
    parts = re.split(r"(\d+)", PurePosixPath(name).stem)
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts]
