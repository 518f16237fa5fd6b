"""Pictures in their own shape, cut into patches, as SigLIP 2's NaFlex models take them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL.Image import Image
from pydantic import BaseModel, ConfigDict, Field

from audit.core.errors import InputError
from audit.core.rows import Fields
from audit.data.yamlfile import validate
from audit.models.encoder import Pixels
from audit.models.preprocessing import Pictures, named_class

if TYPE_CHECKING:
    import torch

CLASS: Final = "Siglip2ImageProcessor"
_NEAR: Final = 1e-5  # how near the search for a scale ends, as in transformers


class _Said(BaseModel):
    """The fields that say how many patches there are, and how large."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    do_resize: bool = True
    patch_size: int = Field(16, ge=1, le=1024)
    max_num_patches: int = Field(256, ge=1, le=16_384)


@dataclass(frozen=True)
class Patches:
    """A checkpoint's preprocessing: resize to at most so many patches, keeping the shape nearly.

    ``picture`` has the filter and the numbers of pixels; its size is that of one patch.
    """

    picture: Pictures
    patch: int
    most: int

    @classmethod
    def of(cls, raw: Fields, where: str) -> Patches:
        """From the fields of a preprocessing file, which ``where`` names.

        Raises:
            InputError: another class, a field that can't be used.
        """
        if named_class(raw, CLASS) != CLASS or raw.get("auto_map"):
            raise InputError(
                f"{where} names another class than {CLASS}, which alone prepares pictures for a "
                "model of this kind. One of the two files belongs to another checkpoint."
            )
        said = validate(_Said, {k: v for k, v in raw.items() if v is not None}, where)
        if not said.do_resize or raw.get("do_resize", True) is None:
            raise InputError(f"{where} asks for do_resize False; patches of any picture need it.")
        side = {"height": said.patch_size, "width": said.patch_size}
        plain = {"image_processor_type": "SiglipImageProcessor", "size": side, "resample": 2}
        asked = {k: v for k, v in raw.items() if k not in ("size", "image_processor_type")}
        picture = Pictures.of(plain | asked | {"do_center_crop": False, "do_pad": False}, where)
        return cls(picture, said.patch_size, said.max_num_patches)

    def __str__(self) -> str:
        """One line for a report: what happens to a picture, in order."""
        one, to = str(self.picture).split(f" to {self.picture.size}")
        return f"{one} to at most {self.most} patches of {self.patch}x{self.patch}{to}"

    @property
    def side(self) -> int:
        """Side of a square picture after it was resized, in pixels."""
        return math.isqrt(self.most) * self.patch

    def __call__(self, image: Image) -> Pixels:
        """Resized RGB pixels, uint8, shape (height, width, 3), both multiples of the patch."""
        return replace(self.picture, size=self._resized(image.height, image.width))(image)

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        """The largest size of nearly this shape in whole patches, found as transformers does."""

        def patches(scale: float) -> tuple[int, int]:
            tall, wide = (max(1, math.ceil(side * scale / self.patch)) for side in (height, width))
            return tall, wide

        fits, too_large = _NEAR / 10, 100.0
        while too_large - fits >= _NEAR:
            scale = (fits + too_large) / 2
            if math.prod(patches(scale)) <= self.most:
                fits = scale
            else:
                too_large = scale
        tall, wide = patches(fits)
        return tall * self.patch, wide * self.patch

    def inputs(self, pixels: Sequence[Pixels], device: torch.device) -> dict[str, torch.Tensor]:
        """Patches, padded with zeros to the most there may be, their mask, and rows and columns."""
        import torch

        made = torch.zeros((len(pixels), self.most, 3 * self.patch**2), device=device)
        mask = torch.zeros((len(pixels), self.most), dtype=torch.int32, device=device)
        shapes = [(p.shape[0] // self.patch, p.shape[1] // self.patch) for p in pixels]
        for i, ((tall, wide), one) in enumerate(zip(shapes, pixels, strict=True)):
            seen = self.picture.normalised(torch.from_numpy(np.array(one)[None]).to(device))[0]
            cut = seen.reshape(3, tall, self.patch, wide, self.patch).permute(1, 3, 2, 4, 0)
            made[i, : tall * wide] = cut.reshape(tall * wide, -1)
            mask[i, : tall * wide] = 1
        told = {"pixel_values": made, "pixel_attention_mask": mask}
        return told | {"spatial_shapes": torch.tensor(shapes, device=device)}
