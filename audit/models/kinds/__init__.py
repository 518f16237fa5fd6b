"""Kinds of models with two towers, a file each, by the ``model_type`` of their config.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from audit.models.kinds.align import Align
from audit.models.kinds.altclip import AltClip
from audit.models.kinds.base import Dual
from audit.models.kinds.chinese_clip import ChineseClip
from audit.models.kinds.clip import ClipConfig
from audit.models.kinds.metaclip_2 import MetaClip2
from audit.models.kinds.openai_clip import OpenAiClip, OpenAiSigmoid
from audit.models.kinds.siglip import Siglip
from audit.models.kinds.siglip2 import Siglip2
from audit.models.kinds.vision_text_dual_encoder import VisionTextDual

#: by what config.json says in ``model_type``
KINDS: Final[Mapping[str, type[Dual]]] = {
    kind.model_type: kind
    for kind in (
        ClipConfig,
        OpenAiClip,
        OpenAiSigmoid,
        Siglip,
        Siglip2,
        MetaClip2,
        AltClip,
        ChineseClip,
        Align,
        VisionTextDual,
    )
}  # fmt: skip
