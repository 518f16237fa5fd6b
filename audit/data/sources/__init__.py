"""Data sets by name: the one place that says which there are.

A source is a file here, or what another package offers under the entry point group
``clip_audit.sources``: a class whose fields are the keys of ``dataset`` in a suite.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from audit.core.registry import Registry

if TYPE_CHECKING:
    from audit.data.sources.base import Source

SOURCES: Final[Registry[type[Source]]] = Registry(
    "source of a data set",
    "clip_audit.sources",
    "'clip-audit list datasets' shows all.",
    {
        "fairface": "audit.data.sources.fairface:FairFace",
        "utkface": "audit.data.sources.utkface:UTKFace",
        "celeba": "audit.data.sources.celeba:CelebA",
        "miap": "audit.data.sources.miap:MIAP",
        "pa-100k": "audit.data.sources.pa100k:PA100K",
        "market-1501": "audit.data.sources.market1501:Market1501",
        "image-folder": "audit.data.sources.image_folder:ImageFolder",
        "pictures": "audit.data.sources.pictures:Pictures",
        "hugging-face": "audit.data.sources.hugging_face:HuggingFace",
    },
)
