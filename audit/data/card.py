"""What a person states of a data set: the card, its attributes, and who agreed to what."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from audit.core.errors import sentence
from audit.core.registry import suggest
from audit.core.tables import EVERYONE, UNKNOWN
from audit.data.display import Display
from audit.data.yamlfile import written

Provenance = Literal["self-reported", "annotator-perceived", "assigned", "generator"]
KEYS = ("image_id", "path", "cluster_id")
"""The columns that every dataset's table begins with."""

PROVENANCES = (
    "self-reported (the person said so), annotator-perceived (someone looking at the picture "
    "judged), assigned (taken from a record or computed), generator (a setting of the program "
    "that made the picture)"
)


def _names(value: object) -> object:
    """One name or a list of them as text; yes/no without quotes is YAML's true/false."""
    items = value if isinstance(value, list | tuple) else [value]
    if any(isinstance(item, bool) for item in items):
        raise ValueError("yes, no, on, off, true and false need quotes here")
    plain = all(isinstance(item, str | int | float) for item in items)
    return tuple(written(item) for item in items) if plain else value


def _prose(value: object) -> object:
    """Text as typed; 'no' means nothing is stated, a bare 'yes' states nothing either."""
    if value is True:
        raise ValueError("'yes' says too little: write it in words, or leave the key out")
    if value is False:
        return ""
    return written(value) if isinstance(value, int | float) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_names)]
Prose = Annotated[str, BeforeValidator(_prose)]


def _plain(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ValueError(f"got '{name}'; use letters, digits, '.', '_' and '-' only")
    return name


Most = Annotated[int, Field(ge=1, strict=True)]
"""How many pictures of whatever repeats are used at most."""

Margin = Annotated[float, Field(gt=0, le=5, strict=True)]
"""How much is cut out around a region, on every side, as a share of its width and height."""

Title = Annotated[str, AfterValidator(_plain)]
"""What a data set is called: part of file names."""


class Written(BaseModel):
    """Base of what people type: frozen, unknown keys refused, an empty key is its default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, data: object) -> object:
        if isinstance(data, dict):
            return {key: value for key, value in data.items() if value is not None}
        return data


class AttributeCard(Written):
    """One attribute as the card declares it: whose word it is, how its groups are ordered.

    ``display`` is how a report says it and its groups; it decides nothing and is in no digest.
    """

    source: Provenance
    description: str = ""
    order: Names = ()
    unknown: Names = ()
    display: Display | None = None

    @model_validator(mode="before")
    @classmethod
    def _says_whose_word(cls, data: object) -> object:
        given = data.get("source") if isinstance(data, dict) else None
        if given is None:
            example = "Write it as {source: annotator-perceived}"
            raise ValueError(sentence(f"has no source; say one of {PROVENANCES}", example))
        if given not in get_args(Provenance):
            near = suggest(str(given), get_args(Provenance))
            raise ValueError(sentence(f"no source is called '{given}'", near, f"Use {PROVENANCES}"))
        return data


class Box(Written):
    """Which columns of a manifest hold the box of whom a row shows.

    ``order`` says what the four columns are: ``xywh`` (COCO), ``xyxy`` (Pascal VOC), ``xxyy`` (Open
    Images) or ``cxcywh`` (YOLO). With ``of``, what a box in pixels shows whole, each row also gets
    its ``pixel_density``.
    """

    columns: Annotated[Names, Field(min_length=4, max_length=4)]
    order: Literal["xywh", "xyxy", "xxyy", "cxcywh"]
    unit: Literal["pixels", "percent", "fraction"] = "pixels"
    of: Literal["person", "face"] | None = None

    @field_validator("columns")
    @classmethod
    def _names_four(cls, columns: tuple[str, ...]) -> tuple[str, ...]:
        if twice := next((name for name in columns if columns.count(name) > 1), None):
            told = f"names the column '{twice}' twice"
            raise ValueError(sentence(told, "Name the four columns that hold its sides"))
        return columns


class Facts(Written):
    """What is to be known of pictures whatever file lists them.

    ``named_people`` left out means nobody has said, and is treated as named. ``photographs`` is
    false only for drawn or rendered people. ``show_pictures`` is false where no picture may be
    shown to anybody, as those who are in it may withdraw their consent.
    """

    licence: Prose = ""
    consent: Prose = ""
    legal_basis: Prose = ""
    provenance: Prose = ""
    version: Prose = ""
    known_limits: Names = ()
    forbidden_uses: Names = ()
    named_people: bool | None = None
    photographs: bool = True
    show_pictures: bool = True
    url: str = ""


class Card(Facts):
    """The data card: where the manifest is, what its columns mean, and who agreed to what.

    Several manifests of one folder make one table, whose column ``part`` says which a row is from.
    ``pictures`` is false where there are none to look at, because a model's answers were recorded;
    then ``id_column`` names the rows. ``withdrawn`` is the list of those to leave out, relative to
    the card (``audit.data.withdrawn``). ``most_per_cluster``: of a cluster with more pictures so
    many are used, chosen by a hash of their ids, so that the order of rows decides nothing.
    ``cluster_also``: what else repeats; a cluster holds whole clusters of all these columns.
    ``box``: rows are cut out of their pictures (``audit.data.boxes``); ``margin`` is how much is
    cut out around each, as a share of its width and height, as far as the picture goes.
    """

    name: Title
    manifest: str | tuple[str, ...]
    image_column: str = "path"
    id_column: str | None = None
    cluster_column: str | None = None
    cluster_also: Names = ()
    most_per_cluster: Most | None = None
    box: Box | None = None
    margin: Margin | None = None
    attributes: Mapping[str, AttributeCard] = {}
    pictures: bool = True
    withdrawn: str | None = None

    def nothing(self, column: str) -> frozenset[str]:
        """Which values of a column mean that nobody knows."""
        declared = self.attributes.get(column)
        return frozenset({UNKNOWN, *declared.unknown}) if declared else frozenset()

    @field_validator("manifest")
    @classmethod
    def _names_a_file(cls, manifest: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if not manifest or not all([manifest] if isinstance(manifest, str) else manifest):
            raise ValueError("names no file; give the table of pictures, such as people.csv")
        return manifest

    @model_validator(mode="after")
    def _names_its_rows(self) -> Card:
        if not self.pictures and self.id_column is None:
            raise ValueError("with 'pictures: false', 'id_column' has to name the rows")
        if not self.pictures and self.margin is not None:
            told = "with 'pictures: false' there is nothing that 'margin' could be cut out of"
            raise ValueError(sentence(told, "Take 'margin' out"))
        return self

    @field_validator("attributes")
    @classmethod
    def _not_taken(cls, attributes: Mapping[str, AttributeCard]) -> Mapping[str, AttributeCard]:
        for name in attributes:
            if name in KEYS:
                raise ValueError(f"'{name}' names a picture, not a group; use another column")
            if name == EVERYONE:
                told = f"'{name}' names all pictures together in every table"
                raise ValueError(f"{told}; rename the column")
        return dict(attributes)


# what people write where there is nothing to state
_NOTHING = {"", "-", "?", "no", "none", "unknown", "n/a", "na", "tbd", "todo"} | {
    f"not {word}" for word in ("stated", "given", "obtained", "known", "applicable", "available")
}


def stated(text: str) -> bool:
    """Whether a card's prose says anything at all."""
    return text.strip().strip(".").lower() not in _NOTHING
