"""Options of the verbs that embed: who launches the units of their work."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from audit.cli.kinds import choice_of
from audit.core.errors import InputError

if TYPE_CHECKING:
    from audit.engine.units import Elsewhere


class Engine(StrEnum):
    """What launches units elsewhere."""

    RAY = "ray"


On = Annotated[
    Engine | None,
    typer.Option(
        parser=choice_of(Engine),
        metavar="|".join(Engine),
        help="embed by workers that this launches; 'ray' needs the extra",
    ),
]
Cluster = Annotated[
    str,
    typer.Option(
        envvar="RAY_ADDRESS",
        metavar="ADDRESS",
        help="with --on: a cluster that is there; begun on this machine if 'local'",
    ),
]
Workers = Annotated[int | None, typer.Option(min=1, help="with --on: at most so many at a time")]


Units = Annotated[
    int | None,
    typer.Option(help="with --on: in so many parts; one of about 500 pictures if unsaid"),
]


def elsewhere(
    on: Engine | None, cluster: str, workers: int | None, units: int | None, device: str
) -> Elsewhere | None:
    """The workers that are launched, None if all is done by this process.

    Raises:
        InputError: an option that says how they are, and there are none.
    """
    for option, number in {"--workers": workers, "--units": units}.items():
        if on is None and number is not None:
            told = f"{option} {number}: nobody launches any"
            raise InputError(told, "Add --on ray, or leave it out")
    if on is None:
        return None
    from audit.engine.units import Elsewhere
    from audit.scale.on_ray import OnRay

    return Elsewhere(OnRay(cluster, workers, gpus=device != "cpu"), units, device)


def require_one_way(unit: str | None, on: Engine | None) -> None:
    """Refuse one unit and all of them together.

    Raises:
        InputError: both are named.
    """
    if unit is not None and on is not None:
        told = f"--unit {unit} is one unit, and --on launches all of them"
        raise InputError(told, "Leave out one of the two")
