"""A column that pictures are grouped by, as a suite names it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

Edges = tuple[float, ...] | tuple[str, ...]


class Attribute(BaseModel):
    """A column to group pictures by; a numeric one needs bin edges."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    bins: Edges | None = Field(None, description="edges: [18, 35] or times: [06:00, 22:00]")
