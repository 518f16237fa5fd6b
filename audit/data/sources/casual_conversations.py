"""Casual Conversations v2, its frames: paid people of seven countries who talk to a camera.

Porgali et al. 2023, arXiv 2303.04838, ai.meta.com/datasets/casual-conversations-v2-dataset.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final, cast

import pandas as pd

from audit.core.errors import InputError
from audit.data.manifest import Manifest
from audit.data.remarks import Remark, counted, tally
from audit.data.sources.base import Published, Rows, aside, publication
from audit.data.sources.files import pictures_below, read_json

#: 0000_portuguese_nonscripted_1_raw_frame00000381.jpg is of 0000_portuguese_nonscripted_1.mp4
_FRAME: Final = re.compile(r"(.+?)(?:_raw)?_frame_?\d+")


class CasualConversations(Published):
    """The frames of Casual Conversations v2, each with what the list says of its video.

    What people say of themselves stays in their words: 'woman' is never looked for inside of one.
    """

    published: ClassVar = publication(__file__)

    def read(self) -> Rows:
        """A row a frame; frames of no listed video are set aside, videos without a frame told."""
        listed = self.file("CasualConversationsV2.json", "annotations/CasualConversationsV2.json")
        entries = cast(list[object], read_json(listed, list))
        videos = pd.DataFrame([_video(entry, listed, n) for n, entry in enumerate(entries, 1)])
        if twice := videos.loc[videos["video"].duplicated(), "video"].tolist():
            told = f"{listed}: lists the video '{twice[0]}' twice"
            raise InputError(told, "Get it again")
        files = pictures_below(self.root)
        frames = pd.DataFrame(
            {"file": [p.relative_to(self.root).as_posix() for p in files],
             "video": [_video_of(p) for p in files]}, dtype=object
        )  # fmt: skip
        known = frames["video"].isin(videos["video"])
        other = frames.loc[~known, "file"].tolist()
        notes = aside("whose name is of no listed video", other)
        unseen = videos[~videos["video"].isin(frames["video"])]
        if len(unseen):
            by = counted(tally(unseen["gender"]))
            notes.append(
                Remark(f"{len(unseen):,} listed videos have no frame here, by gender: {by}")
            )
        table = frames[known].merge(videos, on="video")
        nouns = [f"the video '{name}'" for name in table["video"]]
        return Rows(Manifest(table), listed, self.root, notes, len(other), nouns)


def _video_of(frame: Path) -> str:
    found = _FRAME.fullmatch(frame.stem)
    return found[1] if found else frame.stem


def _video(entry: object, listed: Path, number: int) -> dict[str, str]:
    """What is said of a video, as text; blanks where the person said nothing."""
    said = entry if isinstance(entry, Mapping) else {}
    if not (said.get("subject_id") or said.get("subject_id") == 0) or not said.get("video_name"):
        told = f"{listed}: entry {number} has no subject_id or no video_name"
        raise InputError(told, "Get it again")
    monk = _within(said.get("monk_skin_tone"), "scale")
    skin = _within(said.get("fitzpatrick_skin_tone", said.get("fitzpatrick_type")), "type")
    return {
        "video": Path(str(said["video_name"])).stem,
        "subject_id": str(said["subject_id"]).zfill(4),
        "age": _own_words(said.get("age")),
        "gender": _own_words(said.get("gender")),
        "country": _own_words(_within(said.get("geo_location"), "country")),
        "native_language": _own_words(said.get("native_language")),
        "monk_skin_tone": str(monk).lower().removeprefix("scale").strip(),
        "fitzpatrick": str(skin).lower().removeprefix("type").strip(),
    }


def _within(held: object, key: str) -> object:
    """A value that may stand in an object of its own."""
    return held.get(key) if isinstance(held, Mapping) else held


def _own_words(said: object) -> str:
    return "not stated" if said is None or str(said).strip() == "" else str(said).strip()
