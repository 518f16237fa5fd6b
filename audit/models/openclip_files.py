"""An open_clip checkpoint, found and looked at as a whole without building the model.

Its settings are in ``open_clip_config.json`` beside the weights, or those that open_clip itself
ships under the name of an architecture. Only safetensors are read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from audit.core.errors import InputError, sentence
from audit.core.registry import suggest
from audit.core.rows import Fields, Row
from audit.data.yamlfile import validate
from audit.models import hub
from audit.models.checkpoint import SIDE_FILES, VERSIONS, check_token_files, unusual
from audit.models.encoder import digest_of, file_digest, require_logit_scale
from audit.models.jsonfile import read_json
from audit.models.kinds.base import exponentiated
from audit.models.libraries import readable
from audit.models.preprocessing import MAX_SIDE
from audit.models.weights import (
    AGAIN,
    PICKLES,
    Tensor,
    Wanted,
    command,
    number,
    read_headers,
    require_finite,
    require_shapes,
    weights_of,
)
from audit.stats.scoring import Scoring

CONFIG: Final = "open_clip_config.json"
#: the names under which open_clip looks for weights, in its order
WEIGHTS: Final = (
    "open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "model.safetensors",
)  # fmt: skip
TOKENS: Final = ("*.json", "*.txt", "*.model")
TOWER: Final = "config.json"
HUB: Final = "hf-hub:"
INSTALL: Final = (
    "open_clip is not installed. Install it with pip install 'clip-audit[open-clip]' and retry"
)
_LIBRARIES: Final = (*VERSIONS, "open_clip_torch", "torchvision", "timm", "ftfy", "regex")
_CONVERT: Final = (
    "import sys, torch; from safetensors.torch import save_file; old, new = sys.argv[1:]; "
    "s = torch.load(old, map_location='cpu', weights_only=True); s = s.get('state_dict', s); "
    "save_file({k.removeprefix('module.'): v.clone() for k, v in s.items()}, new)"
)
#: what a text tower of open_clip may be besides, which pads or reads texts in ways of its own
_OTHER_TEXT: Final[Mapping[str, object]] = {
    "text_arch": "clip", "variable_text": False, "tokenizer_type": "", "tokenizer_mode": None,
}  # fmt: skip

Fetch = Callable[[str, Sequence[str]], Path | None]


class _Part(BaseModel):
    """Settings that bound what is built; open_clip knows more, and refuses what it doesn't know."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow", allow_inf_nan=False)

    width: int = Field(1, ge=1, le=65_536)
    mlp_ratio: float = Field(4.0, gt=0, le=100)


class _Vision(_Part):
    layers: int | list[int] = 12
    image_size: int | list[int] = Field(224)
    timm_model_name: str | None = None

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        layers = [self.layers] if isinstance(self.layers, int) else self.layers
        sides = [self.image_size] if isinstance(self.image_size, int) else self.image_size
        if not all(1 <= count <= 1000 for count in layers):
            raise ValueError(f"layers {self.layers}: from 1 to 1000 are built")
        if len(sides) not in (1, 2) or not all(1 <= side <= MAX_SIDE for side in sides):
            raise ValueError(f"image_size {self.image_size}: a side has 1 to {MAX_SIDE} pixels")
        if ":" in (self.timm_model_name or ""):
            told = f"timm_model_name {self.timm_model_name!r:.60} is a place, which is not asked"
            raise ValueError(f"{told}; the name of one of timm's own architectures is needed")
        return self


class _Text(_Part):
    layers: int = Field(12, ge=1, le=1000)
    heads: int = Field(8, ge=1, le=65_536)
    context_length: int = Field(77, ge=2, le=65_536)
    vocab_size: int = Field(49_408, ge=2, le=16_777_216)
    pool_type: Literal["argmax", "eos", "last", "first"] = "argmax"
    eos_id: int | None = 2
    embed_cls: bool = False
    no_causal_mask: bool = False
    hf_model_name: str | None = None
    hf_tokenizer_name: str | None = None
    tokenizer_kwargs: Row | None = None

    @model_validator(mode="after")
    def _read_whole(self) -> Self:
        said = self.model_extra or {}
        for key, usual in _OTHER_TEXT.items():
            if said.get(key, usual) not in (usual, None):
                raise ValueError(f"{key} {said[key]!r:.60} is not known here, only {usual!r} is")
        if self.pool_type == "first" and not (self.no_causal_mask or self.hf_model_name):
            raise ValueError("pool_type first under a causal mask reads no word of a text")
        unknown = set(self.tokenizer_kwargs or {}) - {"clean", "strip_sep_token", "language"}
        if unknown:
            raise ValueError(f"tokenizer_kwargs.{min(unknown):.60} is not known here")
        return self


class _Settings(BaseModel):
    """``model_cfg``: what the model is built from."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    embed_dim: int = Field(ge=1, le=65_536)
    vision_cfg: _Vision
    text_cfg: _Text
    quick_gelu: bool = False
    custom_text: bool = False
    init_logit_scale: float | None = None
    init_logit_bias: float | None = None
    nonscalar_logit_scale: bool = False
    multimodal_cfg: Row | None = None


class _Preprocessing(BaseModel):
    """``preprocess_cfg``: how pictures are prepared, defaults being open_clip's."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False)

    mode: Literal["RGB"] = "RGB"
    mean: tuple[float, float, float] = Field((0.48145466, 0.4578275, 0.40821073), strict=False)
    std: tuple[float, float, float] = Field((0.26862954, 0.26130258, 0.27577711), strict=False)
    interpolation: Literal["bicubic", "bilinear", "random"] = "bicubic"
    resize_mode: Literal["shortest", "longest", "squash"] = "shortest"
    fill_color: int = Field(0, ge=0, le=255)

    @model_validator(mode="after")
    def _contrast(self) -> Self:
        if not all(1e-4 <= std <= 1e4 for std in self.std) or max(map(abs, self.mean)) > 1e4:
            raise ValueError(f"mean {self.mean}, std {self.std}: no pixel would be told by it")
        return self


@dataclass(frozen=True)
class Source:
    """Where the parts of a model are; ``tokens`` and ``tower`` are folders on this machine.

    ``tokens`` holds the tokenizer of transformers that the settings name, None for open_clip's own;
    ``tower`` the config.json of a text tower of transformers, if it has one.
    """

    ref: str
    said: str
    settings: _Settings
    preprocessing: _Preprocessing
    place: str = ""
    weights: Path = Path()
    tokens: Path | None = None
    tower: Path | None = None

    @property
    def text(self) -> _Text:
        """The settings of the text tower."""
        return self.settings.text_cfg

    @property
    def vocabulary(self) -> int:
        """How many tokens the text tower knows."""
        if self.tower is None:
            return self.text.vocab_size
        return int(read_json(self.tower / TOWER, self.ref).get("vocab_size", 0))

    def build(self) -> Any:
        """The model with random weights; on torch's ``meta`` device it takes no memory.

        Raises:
            InputError: open_clip can't build it.
        """
        import open_clip

        fields = self.settings.model_dump(exclude_unset=True)
        text, vision = fields["text_cfg"], fields["vision_cfg"]
        custom = fields.pop("custom_text", False) or self.tower is not None
        if self.tower is not None:
            text |= {"hf_model_name": str(self.tower), "hf_model_pretrained": False}
        if vision.get("timm_model_name"):
            vision["timm_model_pretrained"] = False
        several = open_clip.CoCa if "multimodal_cfg" in fields else open_clip.CustomTextCLIP
        with readable(self.ref, self.said):
            return (several if custom else open_clip.CLIP)(**fields)


def find(name: str, fetch: Fetch) -> Source | None:
    """A folder or .safetensors with its settings, ``hf-hub:ORG/NAME``, or ``ARCHITECTURE/TAG``.

    ``fetch`` gives files of a hub repository, or None where they may not be downloaded; then there
    is no source either.

    Raises:
        InputError: open_clip is not installed; no such model; settings that can't be used.
    """
    if find_spec("open_clip") is None:
        raise InputError(sentence(f"open_clip:{name}: {INSTALL}"))
    path, ref = Path(name).expanduser(), f"open_clip:{hub.quoted(name)}"
    if name and path.is_dir():
        source = _of_folder(path, ref)
        source = replace(source, place=str(path), weights=_weights(path, ref))
    elif path.suffix == ".safetensors" and path.is_file():
        source = replace(_of_folder(path.parent, ref), place=str(path), weights=path)
    else:
        found = _of_hub(name, fetch) if name.startswith(HUB) else _of_tag(name, fetch)
        if found is None:
            return None
        source = found
    return _complete(source, fetch)


def _of_folder(folder: Path, ref: str) -> Source:
    """What a folder's settings say; the tokenizer that they name lies beside them."""
    if not (folder / CONFIG).is_file():
        raise InputError(
            f"{ref}: no {CONFIG} there, so it is no open_clip checkpoint",
            "Give a folder that open_clip's save_for_hf wrote; a checkpoint of transformers is "
            "named without 'open_clip:'",
        )
    said = read_json(folder / CONFIG, ref)
    if not isinstance(said.get("model_cfg"), dict):
        raise InputError(f"{ref}: {CONFIG} has no mapping 'model_cfg'", AGAIN)
    source = _source(ref, said["model_cfg"], said.get("preprocess_cfg") or {}, CONFIG)
    return replace(source, tokens=folder if source.text.hf_tokenizer_name else None)


def _of_hub(name: str, fetch: Fetch) -> Source | None:
    repo, _, _ = name.removeprefix(HUB).partition("@")
    root = fetch(name.removeprefix(HUB), (CONFIG, WEIGHTS[0], *TOKENS))
    if root is None or not _whole(root / WEIGHTS[0], fetch):
        return None
    source = _of_folder(root, f"open_clip:{HUB}{repo}@{root.name[:12]}")
    own = source.text.hf_tokenizer_name == repo
    tokens = source.tokens if own else None
    return replace(source, place=_place(root), weights=root / WEIGHTS[0], tokens=tokens)


def _whole(weights: Path, fetch: Fetch) -> bool:
    """Whether nothing is left to download: other files of a repository may be here already."""
    return fetch is not hub.fetched or weights.is_file()


def _place(root: Path) -> str:
    return f"the hub, downloaded before as {root.name[:12]}"


def _of_tag(name: str, fetch: Fetch) -> Source | None:
    """One of the models that open_clip itself knows by architecture and tag."""
    import open_clip

    architecture, _, tag = name.rpartition("/")
    if architecture not in open_clip.list_models():
        known = ["/".join(pair) for pair in open_clip.list_pretrained()]
        raise InputError(
            f"no open_clip model named '{name}', and no such folder",
            suggest(name, known),
            "It is ARCHITECTURE/TAG as open_clip.list_pretrained() gives them, a folder or "
            f".safetensors with its {CONFIG}, or {HUB}ORG/NAME",
        )
    settings = open_clip.get_model_config(architecture)
    tag, _, revision = tag.partition("@")
    offered = open_clip.get_pretrained_cfg(architecture, tag)
    if not offered:
        tags = open_clip.list_pretrained_tags_by_model(architecture)
        told = f"open_clip has no weights '{tag}' of {architecture}"
        raise InputError(told, suggest(tag, tags), f"It has {', '.join(tags) or 'none'}")
    ref = f"open_clip:{architecture}/{tag}"
    _require_same_activation(ref, settings, offered)
    repo, _, file = str(offered.get("hf_hub") or "").rpartition("/")
    if not repo:
        told = f"{ref}: its weights are only offered as a pickle, which is not read"
        raise InputError(told, "Convert it to safetensors and give its folder")
    wanted = f"{Path(file).stem}.safetensors" if file else WEIGHTS[0]
    root = fetch(f"{repo}@{revision}" if revision else repo, (wanted,))
    if root is None or not _whole(root / wanted, fetch):
        return None
    pictures = {key: value for key, value in offered.items() if key in _Preprocessing.model_fields}
    said = f"open_clip's {architecture}.json"
    source = _source(f"{ref}@{root.name[:12]}", settings, pictures, said)
    return replace(source, place=_place(root), weights=root / wanted)


def _require_same_activation(ref: str, settings: Fields, offered: Fields) -> None:
    """open_clip only warns, and would compute every answer with another function."""
    if offered.get("quick_gelu") and not settings.get("quick_gelu"):
        architecture, _, tag = ref.rpartition("/")
        told = f"{ref}: these weights were trained with quick_gelu, which this architecture has not"
        raise InputError(told, f"Give {architecture}-quickgelu/{tag}")


def _source(ref: str, model: object, pictures: object, said: str) -> Source:
    settings = validate(_Settings, deepcopy(model), f"{ref}: {said} model_cfg")
    if isinstance(pictures, Mapping):  # null stands for open_clip's own
        pictures = {key: value for key, value in pictures.items() if value is not None}
    preprocessing = validate(_Preprocessing, pictures, f"{ref}: {said} preprocess_cfg")
    return Source(ref, said, settings, preprocessing)


def _weights(folder: Path, ref: str) -> Path:
    """The weights of a folder, as open_clip chooses among several."""
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    found = sorted(folder.glob("*.safetensors"))
    if len(found) == 1:
        return found[0]
    if found:
        several = ", ".join(path.name for path in found[:3])
        told = f"{ref}: several files of weights and none called {WEIGHTS[0]}: {several}"
        raise InputError(told, "Give the path of the one that is meant")
    pickled = sorted(p for p in folder.iterdir() if p.suffix in PICKLES)
    if not pickled:
        raise InputError(f"{ref}: {WEIGHTS[0]} is missing", AGAIN)
    old = pickled[0].resolve()
    raise InputError(
        f"{ref}: its weights are only there as {old.name}, a pickle, which can run code when "
        "opened; this tool reads safetensors only. If you trust where it comes from, convert it "
        f"once: {command(_CONVERT, str(old), str(folder.resolve() / WEIGHTS[0]))}"
    )


def _complete(source: Source, fetch: Fetch) -> Source | None:
    """With what the settings name elsewhere: a tokenizer, the config.json of a text tower."""
    if not source.weights.is_file():
        raise InputError(
            f"{source.ref}: the hub has no {source.weights.name} of it, and pickles, which can "
            "run code when opened, are not read",
            "If you trust where it comes from, download it with 'hf download' and give its "
            "folder: what is said then converts it once",
        )
    text, tokens, tower = source.text, source.tokens, None
    if text.hf_tokenizer_name and tokens is None:
        tokens = fetch(text.hf_tokenizer_name, TOKENS)
        if tokens is None:
            return None
    if text.hf_model_name:
        here = Path(text.hf_model_name)
        tower = here if here.is_dir() else fetch(text.hf_model_name, (TOWER,))
        if tower is None:
            return None
        if read_json(tower / TOWER, source.ref).get("auto_map"):
            told = f"{source.ref}: {TOWER} of its text tower wants to run code of its own"
            raise InputError(f"{told}, which is never run", "Give another checkpoint")
    if tokens is not None:
        check_token_files(tokens, source.ref)
    return replace(source, tokens=tokens, tower=tower)


@dataclass(frozen=True)
class OpenClipCheckpoint:
    """Files that were all read and fit together; ``caveats`` are sentences.

    ``tensors`` are the weights by the names that open_clip's model has for them.
    """

    source: Source
    tensors: Mapping[str, Tensor]
    image_size: tuple[int, int]
    scoring: Scoring
    caveats: tuple[str, ...]

    @classmethod
    def read(cls, source: Source) -> Self:
        """Compare the weights with the model that the settings describe.

        Raises:
            InputError: weights that are missing, unused or of another shape.
        """
        import torch

        ref = source.ref
        with torch.device("meta"):
            empty = source.build()
        wanted = weights_of(empty)
        tensors = _renamed(read_headers([source.weights], ref), wanted)
        require_shapes(tensors, wanted, ref, f"open_clip.{type(empty).__name__}", source.said)
        scale = exponentiated(number(tensors, "logit_scale", ref))
        require_logit_scale(scale, ref)
        scoring = Scoring(scale)
        if "logit_bias" in wanted:
            scoring = Scoring(scale, number(tensors, "logit_bias", ref), "sigmoid")
        side = empty.visual.image_size
        size = (side, side) if isinstance(side, int) else (int(side[0]), int(side[-1]))
        return cls(source, tensors, size, scoring, tuple(filter(None, [unusual(scale)])))

    def require_finite(self) -> None:
        """Read every weight; see ``audit.models.weights.require_finite``."""
        require_finite(self.tensors, self.source.ref)

    def model(self) -> Any:
        """The model in float32.

        Raises:
            InputError: open_clip does not take the weights.
        """
        from safetensors.torch import load_file

        source, model = self.source, self.source.build()
        with readable(source.ref, "weights"):
            held = load_file(source.weights)
            state = {
                name: held[tensor.name].reshape(tensor.shape)
                for name, tensor in self.tensors.items()
            }
            model.load_state_dict(state, strict=True)
        return model.eval()

    def fingerprint(self, precision: str, device: str, cache: Path | None = None) -> str:
        """Digest of all that changes a number; see ``Checkpoint.fingerprint``."""
        source = self.source
        said = [p for p in source.tokens.iterdir() if _says(p)] if source.tokens else []
        said += [source.tower / TOWER] if source.tower else []
        return digest_of(
            {
                "weights": file_digest(source.weights, cache),
                "settings": source.settings.model_dump(mode="json"),
                "preprocessing": source.preprocessing.model_dump(mode="json"),
                "files": sorted([p.name, hashlib.sha256(p.read_bytes()).hexdigest()] for p in said),
                "precision": precision,
                "device": "any" if precision == "float32" else device,
                "versions": {name: _minor(name) for name in _LIBRARIES},
            }
        )


def _says(path: Path) -> bool:
    return (
        path.is_file()
        and path.name != TOWER
        and (path.name in SIDE_FILES or path.suffix == ".model")
    )


def _minor(library: str) -> str:
    try:
        return ".".join(version(library).split(".")[:2])
    except PackageNotFoundError:
        return "none"


def _renamed(tensors: Mapping[str, Tensor], wanted: Mapping[str, Wanted]) -> dict[str, Tensor]:
    """Tensors under the names that the model has for them, and numbers in its shape.

    open_clip reads two layouts: the text tower's weights by themselves, or under ``text.``.
    """
    inner = {name.removeprefix("text."): name for name in wanted if name.startswith("text.")}
    found = {}
    for stored, tensor in tensors.items():
        name = stored if stored in wanted else inner.get(stored, stored)
        if name.endswith("embeddings.position_ids") and name not in wanted:
            continue  # stored by old versions of transformers; they count from 0
        number = name in wanted and tensor.shape in ((), (1,)) and wanted[name][0] in ((), (1,))
        found[name] = replace(tensor, shape=wanted[name][0]) if number else tensor
    return found
