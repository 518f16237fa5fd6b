"""What there is to say of a model before it is loaded: of its kind, and of a checkpoint's files."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Final

import yaml

from audit.core.rows import Row
from audit.models.checkpoint import Checkpoint
from audit.models.families import FAMILIES, locate, parted
from audit.models.kinds import KINDS
from audit.models.kinds.base import Dual, Reading
from audit.stats.scoring import Scoring

_READ: Final[dict[Reading, str]] = {
    "end": "read at the token that ends a text",
    "start": "read at the first token, which sees all others",
    "last": "padded to the whole context, as in training, and read at the last token of it",
}
_FENCE: Final = "---"


def purpose(kind: type[Dual]) -> str:
    """One line for a list: what is named so, and what its scores mean."""
    scores = "a sigmoid a label" if kind.scores == "sigmoid" else "a softmax over labels"
    return f"{kind.named}: by hub id or folder, model_type {kind.model_type}, {scores}"


def kind_card(kind: type[Dual]) -> str:
    """What a kind is, how its texts are read and what its scores mean."""
    said = inspect.getdoc(sys.modules[kind.__module__]) or ""
    return "\n".join(
        [
            said,
            "",
            f"model_type: {kind.model_type} ({_built_by(kind)})",
            f"for example: {kind.example}",
            f"texts: {_READ[kind.reading]}",
            f"scores: {Scoring(kind=kind.scores).meaning}",
        ]
    )


def _built_by(kind: type[Dual]) -> str:
    own = kind.built is not Dual.built
    return f"{kind.model}, of this tool's own towers" if own else f"transformers' {kind.model}"


def checkpoint_card(folder: Path, ref: str) -> str:
    """What a checkpoint's files say of it; its licence and training data as its README has them.

    Raises:
        InputError: as ``Checkpoint.read``.
    """
    checkpoint = Checkpoint.read(folder, ref)
    config, scoring, said = checkpoint.config, checkpoint.scoring, _front_matter(folder)
    licence = said.get("license_name") or said.get("license")
    lines = {
        "kind": f"{config.named} (model_type {config.model_type})",
        "pictures": str(checkpoint.pictures),
        "texts": f"at most {config.context} tokens, {_READ[config.reading]}",
        "width": str(config.dim),
        "scores": scoring.meaning,
        "logit scale": f"{scoring.scale:.4g}" + f", bias {scoring.bias:.4g}" * bool(scoring.bias),
        "licence": _listed(licence),
        "training data": _listed(said.get("datasets")),
    }
    told = [f"{name}: {value}" for name, value in lines.items()]
    return "\n".join([*told, *(f"caveat: {caveat}" for caveat in checkpoint.caveats)])


def _front_matter(folder: Path) -> Row:
    """The YAML between two lines of dashes with which a README on the hub begins; {} if none."""
    file = folder / "README.md"
    if not file.is_file():
        return {}
    text = file.read_text(encoding="utf-8", errors="replace")
    parts = text.split(f"{_FENCE}\n", 2)
    if len(parts) < 3 or parts[0].strip():
        return {}
    try:
        said = yaml.safe_load(parts[1])
    except yaml.YAMLError:
        return {}
    return said if isinstance(said, dict) else {}


def _listed(value: object) -> str:
    told = ", ".join(map(str, value)) if isinstance(value, list) else str(value or "")
    return told or "not stated in its README"


def located_card(ref: str) -> str:
    """What is known of a model of a named family before it is loaded.

    Raises:
        InputError: there is none, or it can't be read as it is meant.
    """
    family, _ = parted(ref)
    located = locate(ref)
    lines = {"family": FAMILIES[family].about, "place": located.place}
    if located.model is not None:
        card = located.model.card
        lines |= {"gives": card.gives, "width": str(card.dim), "scores": card.scoring.meaning}
    told = [f"{name}: {value}" for name, value in lines.items()]
    return "\n".join([*told, *(f"caveat: {caveat}" for caveat in located.caveats)])


def known(name: str) -> type[Dual] | None:
    """The kind of which a published model is the example."""
    return next((kind for kind in KINDS.values() if kind.example == name), None)
