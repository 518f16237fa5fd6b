"""MetaCLIP 2: a CLIP in many languages, whose end of text really is token 2.

Chuang et al. 2025, arXiv 2507.22062. Texts are split by the tokenizer of XLM-V.
"""

from __future__ import annotations

from typing import ClassVar

from audit.models.kinds.clip import ClipConfig


class MetaClip2(ClipConfig):
    """A CLIP's fields."""

    model_type: ClassVar = "metaclip_2"
    named: ClassVar = "MetaCLIP 2"
    example: ClassVar = "facebook/metaclip-2-worldwide-huge-quickgelu"
    model: ClassVar = "MetaClip2Model"
    configured_by: ClassVar = "MetaClip2Config"

    @property
    def end(self) -> int:
        """The end of text, whatever its id."""
        return self.text_config.eos_token_id
