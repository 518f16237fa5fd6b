"""How a checkpoint wants its pictures: resize, crop, rescale, normalise, as its files say."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL.Image import Image, Resampling
from pydantic import BaseModel, ConfigDict, Field

from audit.core.errors import InputError
from audit.core.rows import Fields
from audit.data.images import MAX_PIXELS
from audit.data.yamlfile import validate
from audit.models import openclip_settings
from audit.models.encoder import Pixels
from audit.models.jsonfile import read_json

if TYPE_CHECKING:
    import torch

DEFAULT: Final = "CLIPImageProcessor"  # the class where a file names none
FILE, NESTED = "preprocessor_config.json", "processor_config.json"
MAX_SIDE: Final = 8192  # pixels; the largest published CLIP takes 448
STRIP: Final = 20  # a picture so many times longer than wide is cropped before it is resized
MAX_INPUT: Final = 1e4  # of a normalised pixel; CLIP's are between -1.8 and 2.2
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_HALF = (0.5, 0.5, 0.5)
#: what the classes of transformers do where a file says nothing; ViT's and SigLIP's don't crop
CLASSES: Final[Mapping[str, Fields]] = {
    "CLIPImageProcessor": {
        "default_to_square": False, "size": {"shortest_edge": 224}, "resample": 3,
        "do_center_crop": True, "crop_size": 224, "image_mean": _CLIP_MEAN, "image_std": _CLIP_STD,
    },
    "ChineseCLIPImageProcessor": {
        "default_to_square": False, "size": {"shortest_edge": 224}, "resample": 3,
        "do_center_crop": True, "crop_size": 224, "image_mean": _CLIP_MEAN, "image_std": _CLIP_STD,
    },
    "ViTImageProcessor": {
        "default_to_square": True, "size": 224, "resample": 2, "do_center_crop": False,
        "image_mean": _HALF, "image_std": _HALF,
    },
    "SiglipImageProcessor": {
        "default_to_square": False, "size": {"height": 224, "width": 224}, "resample": 3,
        "do_center_crop": False, "image_mean": _HALF, "image_std": _HALF,
    },
    "EfficientNetImageProcessor": {
        "default_to_square": True, "size": {"height": 346, "width": 346}, "resample": 3,
        "do_center_crop": False, "crop_size": {"height": 289, "width": 289},
        "image_mean": _HALF, "image_std": _HALF, "rescale_offset": False, "include_top": True,
    },
}  # fmt: skip

#: what only EfficientNet's class looks at
_ALONE: Final = frozenset({"rescale_offset", "include_top"})
#: switches, which null turns off as in transformers, and what is not looked at then
_NEEDED_BY: Final[Mapping[str, tuple[str, ...]]] = {
    "do_resize": (), "do_pad": (), "do_center_crop": (), "do_rescale": ("rescale_factor",),
    "do_normalize": ("image_mean", "image_std"), "default_to_square": (),
    "rescale_offset": (), "include_top": (),
}  # fmt: skip


class _Said(BaseModel):
    """The fields of a preprocessing file that change a pixel, its class's where it has none."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False)

    default_to_square: bool
    do_resize: bool = True
    size: object
    resample: int = Field(ge=0, le=5)
    do_center_crop: bool
    crop_size: object = 224
    do_rescale: bool = True
    rescale_factor: float = 1 / 255
    do_normalize: bool = True
    image_mean: tuple[float, ...] = Field(min_length=3, max_length=3, strict=False)
    image_std: tuple[float, ...] = Field(min_length=3, max_length=3, strict=False)
    do_pad: bool = False
    rescale_offset: bool = False
    include_top: bool = False

    @property
    def moved(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of all that is done to a pixel after it was rescaled."""
        mean: tuple[float, ...] = (0.0,) * 3
        std: tuple[float, ...] = (1.0,) * 3
        if self.do_normalize:
            mean, std = self.image_mean, self.image_std
        if self.do_rescale and self.rescale_offset:
            mean = tuple(each + 1 for each in mean)  # a pixel is lowered by 1 before
        if self.include_top:
            std = tuple(a * b for a, b in zip(std, self.image_std, strict=True))
        return mean, std


@dataclass(frozen=True)
class Pictures:
    """A checkpoint's preprocessing with PIL: resize, centre crop, rescale, normalise.

    Written out because transformers' ``CLIPImageProcessor`` silently switches to torchvision where
    that is installed, which resizes differently, and because cropping before leaving PIL is about
    three times faster. The classes ending in ``Pil`` are its oracles in the tests.
    """

    shortest: int | None
    size: tuple[int, int] | None
    resample: int
    crop: tuple[int, int] | None
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def read(cls, folder: Path, ref: str, default: str = DEFAULT) -> Pictures:
        """From a checkpoint's files, as transformers 5 takes them, defaults being the class's.

        ``default`` is the class where no file names one.

        Raises:
            InputError: no such file, a field that can't be used, a class that is not known here.
        """
        name, raw = said(folder, ref)
        return cls.of(raw, f"{ref}: {name}", default)

    @classmethod
    def of(cls, raw: Fields, where: str, default: str = DEFAULT) -> Pictures:
        """From the fields of such a file; ``where`` names it. Raises as ``read`` does."""
        own = CLASSES[_class(raw, where, default)]
        given = {
            key: False if value is None and key in _NEEDED_BY else value
            for key, value in raw.items()
            if key in own or key not in _ALONE
        }
        off = [
            key for switch, keys in _NEEDED_BY.items() if given.get(switch) is False for key in keys
        ]
        kept = {key: value for key, value in given.items() if key not in off}
        filled = {**own, **kept}
        said = validate(_Said, filled, where)
        shortest, fixed = _sides(said.size, "size", said.default_to_square, where)
        if not said.do_resize or said.do_pad or (shortest is None and fixed is None):
            raise InputError(
                f"{where} asks for size {said.size}, do_resize {said.do_resize}, do_pad "
                f"{said.do_pad}; this tool knows a resize to shortest_edge, or to height and "
                "width, without padding."
            )
        crop = _sides(said.crop_size, "crop_size", True, where)[1] if said.do_center_crop else None
        mean, std = said.moved
        pictures = cls(
            shortest=shortest,
            size=fixed,
            resample=said.resample,
            crop=crop,
            scale=said.rescale_factor if said.do_rescale else 1.0,
            mean=mean,
            std=std,
        )
        pictures._require_contrast(where)
        return pictures

    def _require_contrast(self, where: str) -> None:
        """Refuse numbers that make all pixels alike, or so large that nothing is computed."""
        if self.scale <= 0 or min(self.std) <= 0:
            raise InputError(
                f"{where}: rescale_factor {self.scale:g}, image_std {list(self.std)}: each must be "
                "above 0. Take this file again from where the checkpoint comes from."
            )
        largest = max(
            abs(level * self.scale - mean) / std
            for level in (0, 255)
            for mean, std in zip(self.mean, self.std, strict=True)
        )
        contrast = 255 * self.scale / max(self.std)
        if not (math.isfinite(largest) and largest <= MAX_INPUT and contrast >= 1 / MAX_INPUT):
            raise InputError(
                f"{where}: rescale_factor {self.scale:g}, image_mean {list(self.mean)}, image_std "
                f"{list(self.std)} make pixels of up to {largest:.3g} with {contrast:.3g} between "
                "black and white; CLIP's are about 2. Take this file again from where the "
                "checkpoint comes from."
            )

    def __str__(self) -> str:
        """One line for a report: what happens to a picture, in order."""
        to = f"shortest edge {self.shortest}" if self.shortest else f"{self.size}"
        crop = f", centre crop {self.crop[0]}x{self.crop[1]}" if self.crop else ""
        numbers = f"x {self.scale:.6g}, mean {self.mean}, std {self.std}"
        return f"PIL {Resampling(self.resample).name.lower()} to {to}{crop}, {numbers}"

    @property
    def side(self) -> int:
        """Height of what it makes, in pixels; the shortest side where pictures keep their shape."""
        fixed = self.crop or self.size
        return fixed[0] if fixed else self.shortest or 0

    def match(self, image_size: int, where: str) -> None:
        """Make sure that this preprocessing, which ``where`` says, is what the model reads.

        Raises:
            InputError: it makes pictures of another size.
        """
        given, wanted = self.crop or self.size, (image_size, image_size)
        if given != wanted:
            made = f"pictures of {given}" if given else "pictures of no fixed shape"
            raise InputError(
                f"{where} makes {made}, config.json wants {wanted}. One of the two files belongs "
                "to another checkpoint."
            )

    def __call__(self, image: Image) -> Pixels:
        """Resized and cropped RGB pixels, uint8, shape (height, width, 3); not yet normalised."""
        rgb = image if image.mode == "RGB" else image.convert("RGB")
        size = self._resized(*rgb.size)
        if self.crop and max(size) > STRIP * min(size) and max(self.crop) <= min(size):
            return np.asarray(self._middle(rgb, size))
        # what a resize holds between its two passes, and after them
        if size[0] * max(rgb.height, size[1]) > MAX_PIXELS:
            raise InputError(
                f"{rgb.width:,} x {rgb.height:,} pixels are too long to be resized to "
                f"{size[0]:,} x {size[1]:,}. Crop the picture."
            )
        return np.asarray(self._cropped(rgb.resize(size, resample=self.resample)))

    def _resized(self, width: int, height: int) -> tuple[int, int]:
        if self.shortest is None:
            assert self.size is not None
            return self.size[1], self.size[0]
        long = int(self.shortest * max(width, height) / min(width, height))
        return (self.shortest, long) if width <= height else (long, self.shortest)

    def _corner(self, size: tuple[int, int]) -> tuple[int, int]:
        """Left and top of the centre crop in a picture of this width and height."""
        assert self.crop is not None
        return (size[0] - self.crop[1]) // 2, (size[1] - self.crop[0]) // 2

    def _cropped(self, image: Image) -> Image:
        if self.crop is None:
            return image
        left, top = self._corner(image.size)
        return image.crop((left, top, left + self.crop[1], top + self.crop[0]))

    def _middle(self, image: Image, size: tuple[int, int]) -> Image:
        """The centre crop of a strip, cropped before it is resized: its whole would fill memory.

        Some pixels more than the crop are taken, which the filter needs, and places are counted
        from there, since Pillow holds them in single precision. It agrees with resizing first to
        a level of 255, not exactly, so other pictures go the usual way.
        """
        assert self.crop is not None
        box, around = [0.0] * 4, [0] * 4
        for axis, (start, length) in enumerate(
            zip(self._corner(size), self.crop[::-1], strict=True)
        ):
            scale = image.size[axis] / size[axis]
            margin = 4 + int(4 * scale)
            first, last = start * scale, (start + length) * scale
            around[axis] = max(0, int(first) - margin)
            around[axis + 2] = min(image.size[axis], int(last) + 1 + margin)
            box[axis], box[axis + 2] = first - around[axis], last - around[axis]
        near = image.crop((around[0], around[1], around[2], around[3]))
        limits = min(box[2], near.width), min(box[3], near.height)
        return near.resize(
            self.crop[::-1], resample=self.resample, box=(max(box[0], 0), max(box[1], 0), *limits)
        )

    def inputs(self, pixels: Sequence[Pixels], device: torch.device) -> dict[str, torch.Tensor]:
        """What the model is given: pictures as ``__call__`` made them, normalised, in one batch."""
        return {"pixel_values": self.normalised(batch_on(device, pixels))}

    def normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        """What the model reads: float32, shape (n, 3, height, width), on the pixels' device."""
        import torch

        std = torch.tensor(self.std, dtype=torch.float64)
        factor = (self.scale / std).to(torch.float32).to(pixels.device).view(1, 3, 1, 1)
        mean = torch.tensor(self.mean, dtype=torch.float64)
        shift = (mean / std).to(torch.float32).to(pixels.device).view(1, 3, 1, 1)
        return pixels.permute(0, 3, 1, 2).to(torch.float32).mul_(factor).sub_(shift)


def batch_on(device: torch.device, pixels: Sequence[Pixels]) -> torch.Tensor:
    """Prepared pictures of one shape on a device, uint8, shape (n, height, width, 3).

    A GPU goes on with the batch before while they are copied, which it can from pinned memory only.
    """
    import torch

    if device.type != "cuda":
        return torch.from_numpy(np.stack(pixels)).to(device)
    here = torch.empty((len(pixels), *pixels[0].shape), dtype=torch.uint8, pin_memory=True)
    np.stack(pixels, out=here.numpy())
    beside, computing = _copying(device), torch.cuda.current_stream(device)
    with torch.cuda.stream(beside):
        there = here.to(device, non_blocking=True)
    computing.wait_stream(beside)
    there.record_stream(computing)  # its memory is free again when both are done
    return there


@cache
def _copying(device: torch.device) -> torch.cuda.Stream:
    """The queue of copies to a device, beside that of computations."""
    import torch

    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def disagreement(
    folder: Path, ref: str, of: Callable[[Fields, str], object] = Pictures.of
) -> str | None:
    """A caveat where both files say how pictures are prepared, and not the same."""
    name, raw = said(folder, ref)
    if name == FILE or not (folder / FILE).is_file():
        return None
    other = read_json(folder / FILE, ref)
    try:
        same = of(raw, ref) == of(other, ref)
    except InputError:
        same = False
    if same:
        return None
    return (
        f"{NESTED} and {FILE} of this checkpoint differ; pictures are prepared as the first says, "
        f"which is what transformers 5 takes. If the second is right, take the first away."
    )


def said(folder: Path, ref: str) -> tuple[str, Fields]:
    """The file that says how pictures are prepared, and its fields.

    transformers 5 takes what is nested in processor_config.json first.

    Raises:
        InputError: there is none, or it can't be read.
    """
    if (folder / NESTED).is_file():
        nested = read_json(folder / NESTED, ref).get("image_processor")
        if isinstance(nested, Mapping):
            return f"{NESTED} image_processor", nested
        if nested is not None:
            raise InputError(f"{ref}: {NESTED} image_processor: got {nested!r:.60}, not a mapping.")
    if (folder / FILE).is_file():
        return FILE, read_json(folder / FILE, ref)
    if (folder / openclip_settings.FILE).is_file():
        return openclip_settings.FILE, openclip_settings.picture_fields(folder, ref)
    raise InputError(
        f"{ref}: no {FILE}, and no {NESTED} with an image_processor, so how its pictures were "
        "prepared is unknown",
        "Take one of these files from where the checkpoint comes from.",
    )


def _named(raw: Fields, default: str) -> object:
    kinds = ("image_processor_type", "feature_extractor_type")
    return next((raw[key] for key in kinds if raw.get(key) is not None), default)


def named_class(raw: Fields, default: str) -> str:
    """The class that a file names, or ``default``, without the backend at its end."""
    plain = str(_named(raw, default)).replace("FeatureExtractor", "ImageProcessor")
    return plain.removesuffix("Fast").removesuffix("Pil")


def _class(raw: Fields, where: str, default: str) -> str:
    """The class that a file names, one of those that are followed here."""
    plain = named_class(raw, default)
    if raw.get("auto_map") or plain not in CLASSES:
        code = f" with code of its own ({raw['auto_map']!r:.60})" if raw.get("auto_map") else ""
        raise InputError(
            f"{where} names the class {_named(raw, default)!r:.60}{code}, which prepares pictures "
            f"in a way of its own; this tool follows {', '.join(CLASSES)}. Give another "
            "checkpoint, or write the file of one of these if it does the same."
        )
    return plain


def _sides(
    value: object, key: str, square: bool, where: str
) -> tuple[int | None, tuple[int, int] | None]:
    """A size as transformers reads it: the shortest edge, or (height, width); neither if another.

    A plain number means a square where the class says so, else the shortest edge.
    """
    if isinstance(value, int):
        value = {"height": value, "width": value} if square else {"shortest_edge": value}
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2:
        value = {"height": value[0], "width": value[1]}
    if not isinstance(value, Mapping):
        raise InputError(f"{where} {key}: got {value!r:.60}; needs one or two numbers of pixels.")
    sides = {name: side for name, side in value.items() if side is not None}
    for name, side in sides.items():
        if type(side) is not int or not 0 < side <= MAX_SIDE:
            allowed = f"a side is a whole number from 1 to {MAX_SIDE}"
            raise InputError(f"{where} {key}.{name}: got {side!r:.60}; {allowed}.")
    fixed = (sides["height"], sides["width"]) if sides.keys() == {"height", "width"} else None
    return sides["shortest_edge"] if sides.keys() == {"shortest_edge"} else None, fixed
