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
        "facet": "audit.data.sources.facet:FACET",
        "visogender": "audit.data.sources.visogender:VisoGender",
        "social-counterfactuals": "audit.data.sources.social_counterfactuals:SocialCounterfactuals",
        "casual-conversations-v2": "audit.data.sources.casual_conversations:CasualConversations",
        "fhibe": "audit.data.sources.fhibe:FHIBE",
        "phase": "audit.data.sources.phase:PHASE",
        "pata": "audit.data.sources.pata:PATA",
        "coco-captions": "audit.data.sources.coco_captions:COCOCaptions",
        "pa-100k": "audit.data.sources.pa100k:PA100K",
        "market-1501": "audit.data.sources.market1501:Market1501",
        "ucf-crime": "audit.data.sources.ucf_crime:UCFCrime",
        "adience": "audit.data.sources.adience:Adience",
        "morph": "audit.data.sources.morph:Morph",
        "chicago-faces": "audit.data.sources.cfd:ChicagoFaces",
        "london": "audit.data.sources.london:London",
        "lfw": "audit.data.sources.lfw:LFW",
        "rfw": "audit.data.sources.rfw:RFW",
        "congress": "audit.data.sources.congress:Congress",
        "dollar-street": "audit.data.sources.dollar_street:DollarStreet",
        "geode": "audit.data.sources.geode:GeoDE",
        "image-folder": "audit.data.sources.image_folder:ImageFolder",
        "pictures": "audit.data.sources.pictures:Pictures",
        "archive": "audit.data.sources.archive:Archived",
        "webdataset": "audit.data.sources.webdataset:WebDataset",
        "video-frames": "audit.data.sources.video_frames:VideoFrames",
        "frame-folders": "audit.data.sources.frame_folders:FrameFolders",
        "hugging-face": "audit.data.sources.hugging_face:HuggingFace",
    },
)
