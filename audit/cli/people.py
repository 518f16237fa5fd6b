"""The verbs of the rendered people that come with the tool."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from audit.core.errors import AuditError, sentence
from audit.core.terminal import progress, say

people = typer.Typer(help="The rendered people that come with the tool.", no_args_is_help=True)


@people.command()
def fetch() -> None:
    """Download the body shapes and textures that rendering needs (about 137 MB, once)."""
    from audit.data.people.assets import fetch_assets

    say(f"body shapes and textures: {fetch_assets()}")


@people.command()
def build(
    out: Annotated[Path, typer.Option(help="folder for the pictures")],
    split: Annotated[str, typer.Option(help="audit, counterfactual or train")] = "train",
    processes: Annotated[int | None, typer.Option(help="default: one a core")] = None,
    limit: Annotated[int | None, typer.Option(help="only the first so many")] = None,
) -> None:
    """Render the pictures again from their parameters (needs the extra 'people')."""
    from audit.data.people.build import build as build_pictures

    with progress() as tell:
        built = build_pictures(
            split,
            out,
            processes=processes,
            limit=limit,
            progress=lambda done, total: tell("render", done, total),
        )
    say(f"{built.rendered} rendered, {built.present} were there: {out}")
    if built.quarantined:
        refused = ", ".join(
            f"{path} ({reason})" for path, reason in list(built.quarantined.items())[:5]
        )
        raise AuditError(sentence(f"{len(built.quarantined)} pictures were refused: {refused}"))
