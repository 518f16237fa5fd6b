"""What a tag on a label means, and what follows from it: the common vocabulary."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from audit.core.characters import unseen, visible
from audit.core.resources import shipped
from audit.data.yamlfile import load_yaml, validate


def _one_line_of_text(text: str) -> str:
    if not text.strip():
        raise ValueError("empty text; write at least one word")
    if text != text.strip() or "\n" in text or "\t" in text:
        raise ValueError(f"{text!r} has outer spaces, a line break or a tab; take them out")
    if found := unseen(text):
        told = f"'{visible(text)}' has {found}, which is not seen or turns what follows around"
        raise ValueError(f"{told}; take it out. Joiners and no-break spaces may stay")
    return text


Text = Annotated[str, AfterValidator(_one_line_of_text)]
FROZEN = ConfigDict(frozen=True, extra="forbid")


class Tag(BaseModel):
    """What a tag on a label means, and what follows from it."""

    model_config = FROZEN

    meaning: Text
    family: bool = Field(True, description="labels with this tag get a rate of their own, together")
    acknowledge: bool = Field(False, description="asking needs 'acknowledge:' in the suite")


@lru_cache(maxsize=1)
def bundled_tags() -> dict[str, Tag]:
    """The common vocabulary of tags, from ``label_sets/tags.yaml``."""
    path = shipped("label_sets") / "tags.yaml"
    return {name: validate(Tag, tag, f"{path} {name}") for name, tag in load_yaml(path).items()}
