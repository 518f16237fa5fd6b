"""Find what ships with the tool, in a checkout or installed."""

from __future__ import annotations

from pathlib import Path
from typing import Final

#: the report's template, as it is shipped
TEMPLATE: Final = "REPORT_TEMPLATE.md"
_PACKAGE = Path(__file__).resolve().parents[1]


def shipped(name: str) -> Path:
    """The folder or file called ``name`` at the top: label_sets, dashboards, the template.

    In a checkout it lies beside ``audit/``; a wheel carries it inside, under ``audit/shipped``.
    """
    for place in (_PACKAGE.parent / name, _PACKAGE / "shipped" / name):
        if place.exists():
            return place
    raise FileNotFoundError(f"{name} is not part of this installation; reinstall clip-audit")


def bundled(kind: str) -> Path:
    """The folder of what is embedded in the package: datasets, models, suites, training."""
    return _PACKAGE / "bundled" / kind


def suites() -> dict[str, Path]:
    """The suites that ship, by name: those of several probes, and that in the folder of a probe."""
    shared = {path.stem: path for path in bundled("suites").glob("*.yaml")}
    own = {path.parent.name: path for path in (_PACKAGE / "probes").glob("*/suite.yaml")}
    return dict(sorted((shared | own).items()))


def bundled_names(kind: str, suffix: str = "") -> list[str]:
    """Sorted names in a bundled folder: sub-folders, or files with ``suffix`` (without it)."""
    places = sorted(bundled(kind).glob(f"*{suffix}")) if bundled(kind).is_dir() else []
    return [p.name.removesuffix(suffix) for p in places if p.is_dir() != bool(suffix)]
