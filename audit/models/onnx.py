"""Models exported to ONNX: a folder with a graph of each tower, or one of both.

Beside the graphs lie the config.json, tokenizer and preprocessing files of transformers, as
``optimum-cli export onnx`` writes them, and ``clip_audit.yaml`` with the logit scale, which no
graph of a single tower holds. See docs/open-clip-and-onnx.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from PIL.Image import fromarray
from pydantic import BaseModel, ConfigDict, Field

from audit.core.errors import InputError, sentence
from audit.core.rows import Array
from audit.data.yamlfile import load_yaml, validate
from audit.models import hub
from audit.models.checkpoint import SIDE_FILES, VERSIONS, check_token_files, unusual
from audit.models.config import read_config
from audit.models.encoder import (
    Encoder,
    EncoderCard,
    Family,
    Located,
    Preparation,
    digest_of,
    file_digest,
    require_logit_scale,
    unit_rows,
)
from audit.models.kinds.base import Dual
from audit.models.libraries import readable
from audit.models.preprocessing import said
from audit.models.words import Words
from audit.stats.scoring import Scoring

if TYPE_CHECKING:
    import torch

STATED: Final = "clip_audit.yaml"
#: names of the two graphs, and of one with both towers
PAIRS: Final = (("vision_model.onnx", "text_model.onnx"), ("visual.onnx", "textual.onnx"))
GRAPHS: Final = "Its graphs are opened, and tried, when a run loads it"
BOTH: Final = "model.onnx"
INSTALL: Final = (
    "onnxruntime is not installed. Install it with pip install 'clip-audit[onnx]' and retry"
)
#: outputs that are embeddings in the shared space
_EMBEDDINGS: Final = (("image_embeds", "image_features"), ("text_embeds", "text_features"))
_LOGITS: Final = "logits_per_image"
_PROVIDERS: Final = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}
_NUMBERS: Final = {
    "tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int64)": np.int64,
    "tensor(int32)": np.int32, "tensor(bool)": np.bool_,
}  # fmt: skip
#: files beside a graph that are none of its weights
_NO_DATA: Final = frozenset(
    {".onnx", ".json", ".txt", ".model", ".yaml", ".yml", ".md", ".py", ".safetensors", ".bin"}
)
#: texts of several lengths, of which the last word of the longest differs
_TRIAL: Final = ("a", "a cat", "a dog")

Fed = Mapping[str, Array]


class _Stated(BaseModel):
    """What clip_audit.yaml says: ``logit_scale`` is already exponentiated, 100 in OpenAI's CLIP."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    logit_scale: float = Field(gt=0)
    logit_bias: float | None = None


@dataclass(frozen=True)
class Export:
    """A folder whose files were read, its graphs apart: those are only found."""

    folder: Path
    ref: str
    config: Dual
    pictures: Preparation
    graphs: tuple[Path, Path]
    stated: Scoring | None

    @classmethod
    def read(cls, name: str) -> Self:
        """Find and check the files of a folder.

        Raises:
            InputError: onnxruntime is not installed; no such folder; no graphs; files of
                transformers that can't be used; a logit scale that is stated nowhere.
        """
        ref, folder = f"onnx:{hub.quoted(name)}", Path(name).expanduser()
        if find_spec("onnxruntime") is None:
            raise InputError(sentence(f"{ref}: {INSTALL}"))
        if not name or not folder.is_dir():
            told = f"{ref}: no such folder"
            raise InputError(told, "Give the folder that an export to ONNX wrote")
        graphs, config = _graphs(folder, ref), read_config(folder, ref)
        file, raw = said(folder, ref)
        pictures = config.pictures_of(raw, f"{ref}: {file}")
        check_token_files(folder, ref)
        stated = _stated(folder, ref, config)
        if stated is None and graphs[0] != graphs[1]:
            bias = " and logit_bias" if config.scores == "sigmoid" else ""
            raise InputError(
                f"{ref}: no {STATED}, and graphs of single towers do not say by how much "
                f"similarities are scaled. Write 'logit_scale: 100' in it{bias}: the exponentiated "
                "value of the model that was exported."
            )
        return cls(folder, ref, config, pictures, graphs, stated)

    def fingerprint(self, device: str, cache: Path | None = None) -> str:
        """Digest of all that changes a number: graphs, what lies beside them, and libraries."""
        beside = [p for p in self.folder.iterdir() if p.is_file()]
        kept = [p for p in beside if p.name in {*SIDE_FILES, STATED} or p.suffix == ".model"]
        return digest_of(
            {
                "weights": {p.name: file_digest(p, cache) for p in self._weights()},
                "files": {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in kept},
                "preprocessing": asdict(self.pictures),
                "device": device,
                "versions": {
                    name: ".".join(version(name).split(".")[:2])
                    for name in (*VERSIONS, "onnxruntime")
                },
            }
        )

    def _weights(self) -> Iterator[Path]:
        """The graphs, and files in which their weights may lie apart."""
        yield from dict.fromkeys(self.graphs)
        for path in sorted(self.graphs[0].parent.iterdir()):
            if path.is_file() and path.suffix not in _NO_DATA and path.name[0] != ".":
                yield path


def _graphs(folder: Path, ref: str) -> tuple[Path, Path]:
    for place in (folder, folder / "onnx"):
        for pair in (*PAIRS, (BOTH, BOTH)):
            pictures, texts = place / pair[0], place / pair[1]
            if pictures.is_file() and texts.is_file():
                return pictures, texts
    there = sorted(p.name for p in folder.rglob("*.onnx"))
    got = f"it holds {', '.join(there[:5])}" if there else "it holds no .onnx"
    wanted = " or ".join(" and ".join(pair) for pair in PAIRS)
    raise InputError(
        f"{ref}: no graphs of both towers: {got}",
        f"Needed are {wanted}, or {BOTH} of both, there or in its folder 'onnx'",
    )


def _stated(folder: Path, ref: str, config: Dual) -> Scoring | None:
    if not (folder / STATED).is_file():
        return None
    stated = validate(_Stated, load_yaml(folder / STATED), f"{ref}: {STATED}")
    sigmoid = config.scores == "sigmoid"
    if sigmoid != (stated.logit_bias is not None):
        needs = "needs a logit_bias too" if sigmoid else "has no logit_bias"
        told = f"{ref}: {STATED}: a {config.model_type} {needs}"
        raise InputError(told, "State what the model that was exported has")
    require_logit_scale(stated.logit_scale, f"{ref}: {STATED}")
    return Scoring(stated.logit_scale, stated.logit_bias or 0.0, config.scores)


class _Side:
    """One tower of a graph: what it is given by which name, and which output is read."""

    def __init__(self, session: Any, output: str, besides: Fed) -> None:
        """``besides`` is what a graph of both towers is given for the other one."""
        self._session, self._output, self._besides = session, output, besides
        self._inputs = {each.name: each for each in session.get_inputs()}

    @property
    def outputs(self) -> list[str]:
        """Names of all outputs of its graph."""
        return [each.name for each in self._session.get_outputs()]

    @property
    def alone(self) -> bool:
        """Whether its graph holds no other tower."""
        return not self._besides

    @property
    def length(self) -> int | None:
        """How many tokens each text is given as, None if any number."""
        ids = self._inputs.get("input_ids")
        return ids.shape[1] if ids is not None and isinstance(ids.shape[1], int) else None

    def run(self, fed: Fed, output: str = "") -> NDArray[np.float32]:
        """An output, (n, ...), of n pictures or texts; that which embeds them if none is named."""
        count = len(next(iter(fed.values())))
        name = next(name for name in self._inputs if name in fed)
        if self._inputs[name].shape[0] == 1 and count > 1:  # exported for one at a time
            rows = ({n: each[i : i + 1] for n, each in fed.items()} for i in range(count))
            return np.concatenate([self.run(row, output) for row in rows])
        known = {**self._besides, **fed}
        given: dict[str, Array] = {
            name: np.asarray(known[name], _NUMBERS[each.type])
            for name, each in self._inputs.items()
        }
        (found,) = self._session.run([output or self._output], given)
        return np.asarray(found, np.float32)


class _Towers:
    """Both sides under the names that transformers gives to them."""

    def __init__(self, pictures: _Side, texts: _Side, padding: int | None) -> None:
        import torch

        self.pictures, self.texts, self.padding = pictures, texts, padding
        # tensors are given and taken as these, whatever the graphs compute with
        self.dtype, self._like = torch.float32, torch.empty(0)

    def parameters(self) -> Iterator[torch.Tensor]:
        """One, on the device where tensors are given and taken."""
        yield self._like

    def get_image_features(self, **inputs: torch.Tensor) -> torch.Tensor:
        """Embeddings, (n, dim), of prepared pictures."""
        return self._like.new_tensor(self.pictures.run(_arrays(inputs)))

    def get_text_features(self, **inputs: torch.Tensor) -> torch.Tensor:
        """Embeddings, (n, dim), of texts, padded as far as the graph wants them."""
        given = _arrays(inputs)
        ids = given["input_ids"]
        mask = given.get("attention_mask", np.ones_like(ids))
        more = max((self.texts.length or 0) - ids.shape[1], 0)
        if more:
            # as transformers pads to a length, where it can tell the end from it
            ids = ids if self.padding is None else np.where(mask == 1, ids, self.padding)
            ids = np.pad(ids, ((0, 0), (0, more)), mode="edge")
            if self.padding is not None:
                ids[:, -more:] = self.padding
            mask = np.pad(mask, ((0, 0), (0, more)))
        fed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        return self._like.new_tensor(self.texts.run(fed))


def load(
    name: str, device: str = "auto", precision: str = "float32", cache: Path | None = None
) -> Encoder:
    """Load an export to ONNX.

    Raises:
        InputError: what ``Export.read`` refuses; graphs that can't be read, lack an embedding,
            can't be asked one side at a time or do not read texts whole; another device than CPU
            or CUDA; a precision, which an export has by itself.
    """
    if precision != "float32":
        told = f"onnx:{name}: an export computes in the precision in which it was exported"
        raise InputError(told, f"Leave out '{precision}', or give another export")
    # here and not above, as torch is: models are listed without it
    from audit.models.huggingface import HuggingFaceEncoder

    export, provider = Export.read(name), _provider(device)
    words = Words.read(export)
    towers = _towers(export, words, provider)
    length = towers.texts.length
    words = replace(words, context=min(words.context, length or words.context))
    _require_readings(export, towers, words)
    scoring = _scoring(export, towers, words)
    card = EncoderCard(
        ref=export.ref,
        family="onnx",
        dim=towers.get_image_features(**_grey(export)).shape[1],
        image_size=export.pictures.side,
        context_length=words.context,
        preprocessing=str(export.pictures),
        logit_scale=scoring.scale,
        logit_bias=scoring.bias,
        scores=scoring.kind,
        precision=precision,
        device=device if device != "auto" else provider,
        fingerprint=export.fingerprint(provider, cache),
        caveats=tuple(filter(None, [unusual(scoring.scale)])),
    )
    return HuggingFaceEncoder(towers, words, export.pictures, card)


def locate(name: str) -> Located:
    """Where an export is; its files are read as ``load`` does, its graphs are not opened.

    Raises:
        InputError: as ``Export.read``; a tokenizer that can't be used.
    """
    export = Export.read(name)
    caveats = [unusual(export.stated.scale)] if export.stated else []
    words, told = Words.read(export), tuple(filter(None, caveats))
    return Located(str(export.folder), told, words.ids, unread=GRAPHS)


FAMILY = Family("exports to ONNX: a folder with a graph of each tower, or of both", locate, load)


def _provider(device: str) -> str:
    """The device by the name that torch has for it, of those that this onnxruntime knows."""
    import onnxruntime

    here = [
        name for name, long in _PROVIDERS.items() if long in onnxruntime.get_available_providers()
    ]
    if device == "auto":
        return here[0]
    if device in here:
        return device
    told = f"device '{device}' is not here. This onnxruntime has: auto, {', '.join(here)}"
    raise InputError(sentence(told))


def _towers(export: Export, words: Words, provider: str) -> _Towers:
    """Open the graphs, and find inputs and outputs by their names."""
    opened = {path: _opened(path, provider, export.ref) for path in dict.fromkeys(export.graphs)}
    texts = _arrays(words.inputs(words.ids(["a"])))
    texts |= {"attention_mask": np.ones_like(texts["input_ids"])}
    texts |= {"token_type_ids": np.zeros_like(texts["input_ids"])}
    pictures, both = _arrays(_grey(export)), export.graphs[0] == export.graphs[1]
    sides: list[_Side] = []
    for path, names, own, other in (
        (export.graphs[0], _EMBEDDINGS[0], pictures, texts),
        (export.graphs[1], _EMBEDDINGS[1], texts, pictures),
    ):
        session, where = opened[path], f"{export.ref}: {path.name}"
        outputs = [each.name for each in session.get_outputs()]
        # SigLIP has no projection: what its towers pool is the embedding
        wanted = (*names, "pooler_output") if export.config.reading == "last" else names
        output = next((name for name in wanted if name in outputs), None)
        if output is None:
            got = f"{where} has no output {' or '.join(wanted)}, only {', '.join(outputs[:5])}"
            raise InputError(got, "Export the towers with their projections")
        known = {*own, *other} if both else {*own}
        strange = [each.name for each in session.get_inputs() if each.name not in known]
        if strange:
            got = f"{where} wants '{strange[0]:.60}', which is not known here"
            raise InputError(got, f"Inputs have the names {', '.join(sorted(own))}")
        sides.append(_Side(session, output, other if both else {}))
    return _Towers(sides[0], sides[1], words.tokenizer.pad_token_id)


def _opened(path: Path, provider: str, ref: str) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised too
    # three digits would be lost to TF32
    more = [{"use_tf32": "0"}] if provider == "cuda" else None
    with readable(ref, path.name):
        return onnxruntime.InferenceSession(
            path, options, providers=[_PROVIDERS[provider]], provider_options=more
        )


def _grey(export: Export, level: int = 128) -> dict[str, torch.Tensor]:
    import torch

    picture = fromarray(np.full((64, 64, 3), level, np.uint8))
    return export.pictures.inputs([export.pictures(picture)], torch.device("cpu"))


def _require_readings(export: Export, towers: _Towers, words: Words) -> None:
    """Try what else would be wrong in silence: towers that mix, texts that are not read whole."""
    ref = export.ref
    with readable(ref, "answer to a grey picture and a short text"):
        seen = [towers.get_image_features(**_grey(export)) for _ in range(2)]
        together = towers.get_text_features(**words.inputs(words.ids(_TRIAL)))
        alone = [towers.get_text_features(**words.inputs(words.ids([text]))) for text in _TRIAL]
    if seen[0].ndim != 2 or together.shape != (len(_TRIAL), seen[0].shape[1]):
        shapes = f"{list(seen[0].shape)} of a picture and {list(together.shape)} of three texts"
        told = f"{ref}: the embeddings are {shapes}, which is no space that both share"
        raise InputError(told, "Export the towers with their projections")
    others = {**_arrays(_grey(export, 20)), **_arrays(words.inputs(words.ids(_TRIAL[2:])))}
    for side, own, found in (
        (towers.pictures, _arrays(_grey(export)), seen[0]),
        (towers.texts, _arrays(words.inputs(words.ids(_TRIAL[:1]))), alone[0]),
    ):
        if not side.alone and not _same(side.run({**others, **own}), found.numpy()):
            told = f"{ref}: what {BOTH} makes of a picture or text depends on what it is asked with"
            raise InputError(told, "Export the two towers one by one")
    if not _same(np.concatenate([each.numpy() for each in alone]), together.numpy()):
        told = f"{ref}: padding changes what is made of a text, so a text has no one embedding"
        raise InputError(told, "Export the text tower with its attention mask")
    if _same(together[1:2].numpy(), together[2:].numpy()):
        told = f"{ref}: '{_TRIAL[1]}' and '{_TRIAL[2]}' are the same to it, so it reads no text"
        raise InputError(f"{told} to its end", "Export it again, with its own config.json")


def _arrays(inputs: Mapping[str, torch.Tensor]) -> dict[str, Array]:
    return {name: each.numpy() for name, each in inputs.items()}


def _same(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    return bool((np.sum(unit_rows(one) * unit_rows(other), axis=1) > 1 - 1e-5).all())


def _scoring(export: Export, towers: _Towers, words: Words) -> Scoring:
    """The logit scale and bias that are stated, or else those by which a graph of both computes.

    Raises:
        InputError: the two differ; neither is there.
    """
    stated = export.stated
    if _LOGITS not in towers.pictures.outputs:
        if stated is not None:
            return stated
        told = f"{export.ref}: no {STATED}, and {BOTH} has no output {_LOGITS} to tell the logit"
        raise InputError(f"{told} scale by", f"Write 'logit_scale: 100' in {STATED}")
    found = _measured(export, towers, words)
    require_logit_scale(found.scale, f"{export.ref}: {BOTH}")
    if stated is not None and not np.allclose(
        (stated.scale, stated.bias), (found.scale, found.bias), rtol=0.01, atol=0.01
    ):
        raise InputError(
            f"{export.ref}: {STATED} says logit_scale {stated.scale:g} and logit_bias "
            f"{stated.bias:g}, {BOTH} computes with {found.scale:.5g} and {found.bias:.5g}. Remove "
            f"{STATED}, or state what the model that was exported has."
        )
    return stated or found


def _measured(export: Export, towers: _Towers, words: Words) -> Scoring:
    """Scale and bias that make the logits of a graph of the cosines of its own embeddings."""
    texts = words.inputs(words.ids(_TRIAL))
    read = unit_rows(towers.get_text_features(**texts).numpy())
    cosines, logits = [], []
    with readable(export.ref, _LOGITS):
        for level in (20, 128, 240):
            seen = _grey(export, level)
            cosines += [read @ unit_rows(towers.get_image_features(**seen).numpy())[0]]
            logits += [towers.texts.run({**_arrays(texts), **_arrays(seen)}, _LOGITS)[0]]
    x, y = np.concatenate(cosines).astype(float), np.concatenate(logits).astype(float)
    one = np.ones_like(x) if export.config.scores == "sigmoid" else np.zeros_like(x)
    (scale, bias), *_ = np.linalg.lstsq(np.stack([x, one], axis=1), y)
    if not np.allclose(scale * x + bias * one, y, rtol=1e-3, atol=1e-3):
        told = f"{export.ref}: {_LOGITS} is no scaled similarity of its own embeddings"
        raise InputError(told, "Export the model with its library's own exporter")
    return Scoring(float(scale), float(bias * one[0]), export.config.scores)
