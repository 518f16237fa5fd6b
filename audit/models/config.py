"""Which kind of model a checkpoint's config.json describes, and what it says of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from audit.core.errors import InputError, sentence
from audit.core.rows import Fields
from audit.data.yamlfile import validate
from audit.models import openclip_settings
from audit.models.jsonfile import read_json
from audit.models.kinds import KINDS
from audit.models.kinds.base import Dual
from audit.models.kinds.openai_clip import described_by
from audit.models.weights import WHOLE, read_headers

FILE: Final = "config.json"
_TOWERS: Final = ("text_config", "vision_config")
#: fields that say that more than the weights decides the numbers, and what to do about it
_MORE: Final[Mapping[str, str]] = {
    "auto_map": "it wants to run code of its own, which is never run here. Give a checkpoint that "
    "transformers' own classes read",
    "quantization_config": "its weights are quantized. Give the checkpoint before that",
    "compression_config": "its weights are compressed. Give the checkpoint before that",
    "pruned_heads": "some attention heads are to be removed. Save the model after removing them",
}


def read_config(folder: Path, ref: str) -> Dual:
    """The model that a checkpoint folder describes.

    Raises:
        InputError: no config.json, no kind of model that is read here, a field that can't be used,
            code of its own.
    """
    if (folder / FILE).is_file():
        name, raw = FILE, read_json(folder / FILE, ref)
    elif (folder / openclip_settings.FILE).is_file():
        name, raw = openclip_settings.FILE, openclip_settings.model_fields(folder, ref)
    else:
        _refuse_openais(folder, ref)
        nested = sorted(path.parent.name for path in folder.glob(f"*/{FILE}"))[:3]
        raise InputError(
            f"{ref}: no config.json there, so it is not a transformers checkpoint. Give the folder "
            "that 'save_pretrained' wrote"
            + (f", such as its subfolder {' or '.join(nested)}." if nested else ".")
        )
    parts = [raw, *(v for k in _TOWERS if isinstance(v := raw.get(k), dict))]
    for key, told in _MORE.items():
        if any(part.get(key) for part in parts):
            raise InputError(sentence(f"{ref}: config.json has {key}: {told}"))
    named = raw.get("model_type")
    kind = KINDS.get(named) if isinstance(named, str) else None
    if kind is None:
        raise _other_kind(raw, ref)
    towers = {key: _tower(raw, key, kind) for key in _TOWERS}
    return validate(kind, raw | towers, f"{ref}: {name}")


def _refuse_openais(folder: Path, ref: str) -> None:
    """Say what to write beside weights in OpenAI's layout, which come without a config.json."""
    file = folder / WHOLE
    tensors = read_headers([file], ref) if file.is_file() else {}
    if not {"visual.conv1.weight", "token_embedding.weight", "text_projection"} <= tensors.keys():
        return
    said = json.dumps(described_by({name: each.shape for name, each in tensors.items()}))
    told = f"{ref}: no {FILE} there; its weights, in OpenAI's layout, don't tell the activation"
    advice = f"Save this as {folder / FILE} for a model of OpenAI's, with gelu in place of"
    raise InputError(told, f"{advice} quick_gelu if it was trained so: {said}")


def _tower(raw: Fields, key: str, kind: type[Dual]) -> Any:
    """What is said of a tower; an old file of some kinds says it all in ``..._dict``."""
    older = raw.get(f"{key}_dict") if kind.older else None
    said = raw.get(key) if older is None else older
    return {} if said is None else said


def _other_kind(raw: Fields, ref: str) -> InputError:
    """Says what is missing of a model that isn't read, as far as its fields tell."""
    named, read = f"config.json says model_type {raw.get('model_type')!r:.60}", ", ".join(KINDS)
    give = f"Give one with two towers; this tool reads model_type {read}"
    joined = any(key in raw for key in _TOWERS)
    if not joined and "vocab_size" not in raw and {"num_channels", "patch_size"} & raw.keys():
        lacking = f"{ref}: it has no text tower: {named}, which embeds pictures only, and every"
        return InputError(f"{lacking} question here is asked in words", give)
    if not joined and "vocab_size" in raw:
        return InputError(f"{ref}: it has no picture tower: {named}, which reads texts only", give)
    return InputError(f"{ref}: not a CLIP or another model of two towers read here: {named}", give)
