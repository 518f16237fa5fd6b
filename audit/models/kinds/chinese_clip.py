"""Chinese-CLIP: CLIP's picture tower beside a Chinese BERT. Yang et al. 2022, arXiv 2211.01335."""

from __future__ import annotations

from typing import ClassVar

from audit.models.kinds.base import BertTower, Projected
from audit.models.kinds.clip import VisionTower


class ChineseClip(Projected):
    """A BERT without its pooler, a CLIP's picture tower."""

    model_type: ClassVar = "chinese_clip"
    named: ClassVar = "Chinese-CLIP"
    example: ClassVar = "OFA-Sys/chinese-clip-vit-base-patch16"
    model: ClassVar = "ChineseCLIPModel"
    configured_by: ClassVar = "ChineseCLIPConfig"
    older: ClassVar = True
    pictures_by: ClassVar = "ChineseCLIPImageProcessor"
    reading: ClassVar = "start"

    text_config: BertTower = BertTower()
    vision_config: VisionTower = VisionTower()
