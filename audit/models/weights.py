"""The weight files of a checkpoint: which they are, and whether they are those of its config.json.

Everything is read from the headers of the safetensors, so that nothing is built, and no memory
asked for, before names and shapes agree.
"""

from __future__ import annotations

import math
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from safetensors import SafetensorError, safe_open

from audit.core.errors import InputError
from audit.models import openclip_settings
from audit.models.jsonfile import read_json
from audit.models.kinds.base import Dual
from audit.models.libraries import quiet, readable

if TYPE_CHECKING:
    import torch

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLES: Final = frozenset({".bin", ".pt", ".pth", ".ckpt"})
FLOATS: Final = frozenset({"F64", "F32", "F16", "BF16"})
#: no weight of a trained CLIP comes near; beyond it float32 soon overflows
MOST: Final = 1e6
COUNTS: Final = frozenset({"I64", "I32"})
#: stored by old versions of transformers: what counts from 0, or is 0, and is made again; a pooler
#: of a text tower, which no model uses that has no place for it
_HARMLESS: Final = re.compile(
    r"^(text|vision)_model\.(\w+\.)*embeddings\.\w+_ids$|^text_model\.(roberta\.)?pooler\.dense\."
)
#: what ``check`` leaves to ``run``, which loads the weights anyhow
VALUES: Final = (
    "Of its weights names, shapes and length were compared; a run reads their values, and refuses "
    "any that is not finite"
)
#: what a normalisation of a batch has seen, as large as what it was given; keys of n-grams
_SEEN: Final = re.compile(r"\.running_(mean|var)$|\.num_batches_tracked$|^text\.keys$")
AGAIN: Final = "Download or save the checkpoint again"
#: numbers that OpenAI's own files keep beside the weights
_NUMBERS: Final = frozenset({"input_resolution", "context_length", "vocab_size"})
_LAYER: Final = re.compile(r"(text|vision)_model\.(?:\w+\.)?(?:encoder\.)?layers?\.(\d+)\.")
_CONVERT: Final = (
    "import sys; from transformers import AutoModel; d = sys.argv[1]; "
    "AutoModel.from_pretrained(d).save_pretrained(d)"
)

Shape = tuple[int, ...]
Wanted = tuple[Shape, bool]  # of a weight: its shape, and whether it is a count


@dataclass(frozen=True)
class Tensor:
    """What a header says of one tensor, and the file it is in, under which name."""

    file: Path
    name: str
    dtype: str
    shape: Shape


def command(code: str, *arguments: str) -> str:
    """A command line that runs Python code as printed, with this very Python."""
    return shlex.join([sys.executable, "-c", code, *arguments])


def weight_files(folder: Path, ref: str) -> list[Path]:
    """The safetensors that hold the weights, several for a sharded checkpoint.

    Raises:
        InputError: none, pickles only, two sets of weights, an index that names no plain files.
    """
    index = folder / INDEX
    others = (name for name in openclip_settings.WEIGHTS if (folder / name).is_file())
    names = [WHOLE if (folder / WHOLE).is_file() else next(others, WHOLE)]
    if index.is_file():
        sharded = _shards(index, ref)
        if (folder / WHOLE).is_file() and sharded != [WHOLE]:
            got = f"{ref}: two sets of weights: {WHOLE}, and {INDEX} with {len(sharded)} files"
            raise InputError(got, "Remove the set that is not meant")
        names = sharded
    files = [folder / name for name in names]
    missing = [file.name for file in files if not file.is_file()]
    if not missing:
        return files
    pickled = sorted(p.name for p in folder.glob("*") if p.suffix in PICKLES)
    if not pickled or index.is_file():
        raise InputError(
            f"{ref}: {', '.join(missing[:3])} is missing; the folder holds no weights that can be "
            f"read. {AGAIN}, with its safetensors."
        )
    raise InputError(
        f"{ref}: its weights are only there as {pickled[0]}, a pickle, which can run code when "
        "opened; this tool reads safetensors only. If you trust where it comes from, convert it "
        f"once: {command(_CONVERT, str(folder.resolve()))}"
    )


def _shards(index: Path, ref: str) -> list[str]:
    """The files that an index names, each a plain file of this folder."""
    said = read_json(index, ref)
    places = said.get("weight_map")
    if not isinstance(places, Mapping) or not places or not isinstance(said.get("metadata"), dict):
        got = f"{ref}: {INDEX} has no weight_map that names files, or no metadata"
        raise InputError(got, AGAIN)
    for tensor, name in places.items():
        plain = isinstance(name, str) and re.fullmatch(r"[\w][\w.-]*\.safetensors", name)
        if not plain or not _inside(index.parent / name, index.parent):
            raise InputError(
                f"{ref}: {INDEX} says that {tensor:.60} is in {name!r:.60}; allowed is the name of "
                f"a .safetensors file in the same folder. {AGAIN}."
            )
    return sorted(set(places.values()))


def _inside(file: Path, folder: Path) -> bool:
    """Whether a file is where it seems: in the folder, or in the hub cache that links to it."""
    at = file.resolve()
    cached = folder.resolve().parent.parent / "blobs"  # REPOSITORY/snapshots/COMMIT links there
    return at.parent == folder.resolve() or at.parent == cached


def read_headers(files: Sequence[Path], ref: str) -> dict[str, Tensor]:
    """Every tensor by name.

    Raises:
        InputError: a file that is no safetensors or is cut, a tensor that two files hold.
    """
    found: dict[str, Tensor] = {}
    for file in files:
        with _opened(file, ref) as opened:
            for name in opened.keys():  # noqa: SIM118  (it is no mapping)
                if name in found:
                    got = f"{ref}: {found[name].file.name} and {file.name} both hold {name:.80}"
                    raise InputError(got, AGAIN)
                part = opened.get_slice(name)
                found[name] = Tensor(file, name, part.get_dtype(), tuple(part.get_shape()))
    return found


def fit(tensors: Mapping[str, Tensor], config: Dual, ref: str) -> dict[str, Tensor]:
    """The weights of the model that config.json describes, by the names that the model has.

    Raises:
        InputError: other numbers of layers, missing, unused or quantized weights, other shapes.
    """
    _require_layers(tensors, config, ref)
    wanted = expected(config, ref)
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        called = name if name in wanted else _today(name, config.renamed)
        if called in found:
            got = f"{ref}: both {found[called].name:.80} and {name:.80} are {called:.80}"
            raise InputError(got, AGAIN)
        found[called] = tensor
    require_shapes(found, wanted, ref, type(config).model)
    return {name: found[name] for name in wanted}


def _today(name: str, renamed: Sequence[tuple[str, str]]) -> str:
    """The name that a weight of an older file has in this version of transformers."""
    for pattern, instead in renamed:
        name = re.sub(pattern, instead, name)
    return name


def _opened(file: Path, ref: str, framework: str = "np") -> Any:
    try:
        return safe_open(file, framework=framework)
    except (SafetensorError, OSError, ValueError) as error:
        told = " ".join(str(error).split())
        problem = f"{ref}: its weights can't be read: {file.name}: {told:.200}"
        raise InputError(problem, AGAIN) from error


def require_shapes(
    tensors: Mapping[str, Tensor],
    wanted: Mapping[str, Wanted],
    ref: str,
    model: str,
    said: str = "config.json",
) -> None:
    """Make sure that weights have exactly these names and shapes, and are plain numbers.

    ``said`` is the file that describes the model, ``model`` its class.

    Raises:
        InputError: missing, unused or quantized weights, other shapes.
    """
    more = tensors.keys() - wanted.keys()
    lacking = sorted(wanted.keys() - tensors.keys())
    unused = sorted(name for name in more if not _HARMLESS.search(name) and name not in _NUMBERS)
    if lacking:
        raise InputError(
            f"{ref}: {len(lacking)} weights are missing from the checkpoint ({lacking[0]} ...), so "
            f"the model would answer at random. Give a complete checkpoint of a {model}."
        )
    if unused:
        raise InputError(
            f"{ref}: {len(unused)} weights have no place in the model that {said} describes "
            f"({unused[0]:.80} ...), so another model would be audited. Give the {said} that "
            f"belongs to these weights, or save the model as a plain {model}."
        )
    # of the projections people know the width
    for name in sorted(wanted, key=lambda each: "projection" not in each):
        (shape, counted), got = wanted[name], tensors[name]
        if got.shape != shape:
            raise InputError(
                f"{ref}: {name} has the shape {list(got.shape)} in {got.file.name} and "
                f"{list(shape)} by {said}. One of the two belongs to another checkpoint."
            )
        if got.dtype not in (COUNTS if counted else FLOATS):
            raise InputError(
                f"{ref}: {name} is stored as {got.dtype}; weights are read as "
                f"{', '.join(sorted(FLOATS))}. Save the checkpoint without quantization."
            )


def _require_layers(tensors: Mapping[str, Tensor], config: Dual, ref: str) -> None:
    there: dict[str, set[int]] = {"text": set(), "vision": set()}
    for found in map(_LAYER.match, tensors):
        if found:
            there[found[1]].add(int(found[2]))
    for tower, said in (("text", config.text_config), ("vision", config.vision_config)):
        count, layers = len(there[tower]), getattr(said, "num_hidden_layers", None)
        if count and layers is not None and count != layers:
            raise InputError(
                f"{ref}: config.json says {tower}_config.num_hidden_layers {layers}, the weights "
                f"have {count} layers of it. One of the two belongs to another checkpoint."
            )


def expected(config: Dual, ref: str) -> dict[str, Wanted]:
    """What weights a model has, of one that takes no memory.

    Raises:
        InputError: it can't be built.
    """
    import torch

    with readable(ref, "config.json"), quiet(), torch.device("meta"):
        model = undrawn(config)
    return weights_of(model)


def undrawn(config: Dual) -> Any:
    """The model that config.json describes, for weights to come: none is drawn at random."""
    from torch.overrides import TorchFunctionMode

    class Undrawn(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if getattr(func, "__module__", "") == "torch.nn.init":
                return args[0] if args else kwargs["tensor"]
            return func(*args, **(kwargs or {}))

    with Undrawn():
        return config.built()


def weights_of(model: torch.nn.Module) -> dict[str, Wanted]:
    """Name and shape of every weight of a model, and whether it is a count."""
    return {
        name: (tuple(each.shape), not each.is_floating_point())
        for name, each in model.state_dict().items()
    }


def require_finite(tensors: Mapping[str, Tensor], ref: str) -> None:
    """Make sure that every weight is a number that a model can work with.

    Raises:
        InputError: a weight is NaN, infinite or beyond ``MOST``; a projection holds nothing but
            zeros, so that no picture or text has a direction.
    """
    for file in dict.fromkeys(tensor.file for tensor in tensors.values()):
        here = {name: tensor for name, tensor in tensors.items() if tensor.file == file}
        # numpy has no bfloat16
        half = any(tensor.dtype == "BF16" for tensor in here.values())
        with _opened(file, ref, "pt" if half else "np") as opened:
            for name, tensor in here.items():
                values = opened.get_tensor(tensor.name)
                values = values.float().numpy() if half else values
                largest = float(np.abs(values).max(initial=0))
                where = f"{ref}: {name:.80} in {file.name} holds"
                most = np.finfo(np.float32).max if _SEEN.search(name) else MOST
                if not largest <= most:  # NaN is not
                    what = (
                        "not finite" if not np.isfinite(largest) else f"as large as {largest:.3g}"
                    )
                    raise InputError(f"{where} weights that are {what}", AGAIN)
                if not largest and name.endswith("_projection.weight"):
                    raise InputError(f"{where} zeros only", AGAIN)


def number(tensors: Mapping[str, Tensor], name: str, ref: str) -> float:
    """A weight that is a single number.

    Raises:
        InputError: the file can't be read; it is not finite.
    """
    stored = tensors[name]
    half = stored.dtype == "BF16"
    with _opened(stored.file, ref, "pt" if half else "np") as opened:
        value = opened.get_tensor(stored.name)
    read = float(value.float().item() if half else value.item())
    if not math.isfinite(read):
        got = f"{ref}: {name:.80} in {stored.file.name} is {read}, which is not finite"
        raise InputError(got, AGAIN)
    return read
