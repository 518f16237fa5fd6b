"""Models by their family: the one place that says which families there are, and who loads a model.

A model is named ``FAMILY:NAME``, or by the name alone where it is a CLIP: a bundled name, a folder
or an id on the Hugging Face hub. A family is a module here, or what another package offers under
the entry point group ``clip_audit.encoders``: a ``Family`` with two functions.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

from audit.core.errors import InputError
from audit.core.registry import Registry, suggest, unknown
from audit.core.resources import bundled_names
from audit.models.encoder import Encoder, Family, Located, ReducingEncoder, require_encoder

Decoding = Literal["full", "reduced"]
#: the family of a model that is named without one
DEFAULT: Final = "clip"


def _family(name: str, offered: object) -> Family:
    """What another package offers, if it is a family.

    Raises:
        InputError: it is none.
    """
    if isinstance(offered, Family):
        return offered
    told = f"family of models '{name}': a package offers a {type(offered).__name__} under this name"
    raise InputError(told, "Offer a Family, as docs/models.md shows")


FAMILIES: Final[Registry[Family]] = Registry(
    "family of models",
    "clip_audit.encoders",
    "docs/architecture.md says where they are.",
    complete=_family,
    own={
        DEFAULT: "audit.models.huggingface:FAMILY",
        "embeddings": "audit.models.embeddings:FAMILY",
        "predictions": "audit.models.predictions:FAMILY",
        "service": "audit.models.service:FAMILY",
        "open_clip": "audit.models.openclip:FAMILY",
        "onnx": "audit.models.onnx:FAMILY",
    },
)


def load(
    ref: str,
    device: str = "auto",
    precision: str = "float32",
    cache: Path | None = None,
    decoding: Decoding = "full",
) -> Encoder:
    """Load a model of any family.

    Args:
        ref: its name, with its family before a colon where that is not ``clip``.
        device: ``auto``, ``cpu``, ``cuda`` or what the family knows besides.
        precision: ``float32``, ``bfloat16`` or ``float16``.
        cache: where digests of large files are remembered.
        decoding: ``reduced`` decodes a JPEG at a smaller scale where the model needs no more.

    Raises:
        InputError: no such family or model, or one that can't be read as it is meant.
    """
    family, name = _of(ref)
    encoder = require_encoder(family.load(name, device, precision, cache))
    if decoding == "full":
        return encoder
    if not isinstance(encoder, ReducingEncoder):
        told = f"{ref}: what decodes its pictures is not this tool, or knows one scale"
        raise InputError(told, "Leave out 'decoding: reduced'")
    return encoder.reduced()


def locate(ref: str) -> Located:
    """Where a model would come from, and what is known of it before its weights are read.

    Raises:
        InputError: as ``load``, as far as it can be told.
    """
    family, name = _of(ref)
    return family.locate(name)


def parted(ref: str) -> tuple[str, str]:
    """The family that a model is named with, blank if it is named alone, and its name within."""
    family, colon, name = ref.partition(":")
    return (family, name) if colon and family in FAMILIES else ("", ref)


def within(ref: object, resolve: Callable[[str], str]) -> object:
    """A reference whose name within its family went through ``resolve``; a bundled one as it is."""
    if not isinstance(ref, str) or not ref or ref in bundled_names("models"):
        return ref
    family, name = parted(ref)
    if not family:
        return resolve(ref)
    return f"{family}:{within(name, resolve)}" if name else ref


def _of(ref: str) -> tuple[Family, str]:
    """The family of a model and its name within; a colon in a path or revision names none."""
    family, name = parted(ref)
    if family and not name:
        told = f"'{ref}' names a family of models and no model"
        raise InputError(told, f"Write the model after it, as in '{ref}NAME'")
    meant, colon, _ = ref.partition(":")
    word = meant.replace("-", "_").isidentifier()  # a folder or hub id is none
    if colon and word and not family and suggest(meant, FAMILIES):
        raise unknown("family of models", meant, FAMILIES, where=ref)
    return FAMILIES[family or DEFAULT], name
