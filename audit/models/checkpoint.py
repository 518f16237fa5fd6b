"""A checkpoint folder, looked at as a whole without building the model.

What ``clip-audit check`` calls sound here, ``clip-audit run`` loads, unless a weight is no number:
``Checkpoint.require_finite`` reads them all, which a run alone does.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from audit.core.errors import InputError
from audit.core.rows import Fields
from audit.models.config import read_config
from audit.models.encoder import Preparation, digest_of, file_digest, require_logit_scale
from audit.models.jsonfile import read_json
from audit.models.kinds.base import Dual
from audit.models.preprocessing import disagreement, said
from audit.models.weights import (
    WHOLE,
    Tensor,
    command,
    fit,
    number,
    read_headers,
    require_finite,
    weight_files,
)
from audit.stats.scoring import Scoring

#: libraries whose minor version may change a number in the sixth digit or how a word is split
VERSIONS: Final = ("torch", "transformers", "tokenizers", "pillow", "numpy")
#: what a checkpoint folder says besides its weights; a change in any of these is another model
SIDE_FILES: Final = frozenset({
    "config.json", "preprocessor_config.json", "processor_config.json", "tokenizer.json",
    "tokenizer_config.json", "vocab.json", "merges.txt", "special_tokens_map.json",
    "added_tokens.json", "vocab.txt", "open_clip_config.json",
})  # fmt: skip
TOKENS: Final = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "special_tokens_map.json",
                 "added_tokens.json")  # fmt: skip
ADAPTER: Final = "adapter_config.json"
#: exponentiated logit scales outside of this are questioned; CLIP's training stops at 100
USUAL_SCALES: Final = (1.0, 200.0)
_MERGE: Final = (
    "import sys; from peft import PeftModel; from transformers import AutoModel, AutoProcessor; "
    "base, adapter, merged = sys.argv[1:]; m = AutoModel.from_pretrained(base); "
    "m = PeftModel.from_pretrained(m, adapter).merge_and_unload(); m.save_pretrained(merged); "
    "AutoProcessor.from_pretrained(base).save_pretrained(merged)"
)


@dataclass(frozen=True)
class Checkpoint:
    """A folder whose files were all read and fit together; ``caveats`` are sentences.

    ``tensors`` are the weights by the names that the model has for them.
    """

    folder: Path
    ref: str
    config: Dual
    weights: tuple[Path, ...]
    tensors: Mapping[str, Tensor]
    pictures: Preparation
    scoring: Scoring
    caveats: tuple[str, ...]

    @classmethod
    def read(cls, folder: Path, ref: str) -> Checkpoint:
        """Read and check every file that changes a number; of the weights their headers.

        Raises:
            InputError: no kind of model that is read here, an adapter, code of its own, a file or
                field that can't be used, weights that are missing, unused or of another shape.
        """
        _refuse_adapters(folder, ref)
        config = read_config(folder, ref)
        config.refuse(ref)
        files = weight_files(folder, ref)
        name, raw = said(folder, ref)
        pictures = config.pictures_of(raw, f"{ref}: {name}")
        check_token_files(folder, ref)
        tensors = fit(read_headers(files, ref), config, ref)
        scoring = config.scoring({name: number(tensors, name, ref) for name in config.numbers})
        require_logit_scale(scoring.scale, ref)
        caveats = (
            unusual(scoring.scale),
            disagreement(folder, ref, config.pictures_of),
            _not_read(folder, files),
        )
        kept = tuple(caveat for caveat in caveats if caveat)
        return cls(folder, ref, config, tuple(files), tensors, pictures, scoring, kept)

    def require_finite(self) -> None:
        """Read every weight; see ``audit.models.weights.require_finite``."""
        require_finite(self.tensors, self.ref)

    def fingerprint(self, precision: str, device: str, cache: Path | None = None) -> str:
        """Digest of all that changes a number.

        In float32 devices agree to about 1e-6 and share embeddings; with fewer digits they do not.
        """
        libraries = VERSIONS + tuple(name for name in self.config.needs if find_spec(name))
        beside = [p for p in self.folder.iterdir() if p.is_file()]
        said = [p for p in beside if p.name in SIDE_FILES or p.suffix == ".model"]
        return digest_of(
            {
                "weights": {p.name: file_digest(p, cache) for p in self.weights},
                "files": {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in said},
                "preprocessing": asdict(self.pictures),
                "precision": precision,
                "device": "any" if precision == "float32" else device,
                "versions": {name: ".".join(version(name).split(".")[:2]) for name in libraries},
            }
        )


def _refuse_adapters(folder: Path, ref: str) -> None:
    """An adapter is neither applied nor passed over: its base alone is another model."""
    kinds = {".json", ".safetensors", ".bin", ".pt", ".pth", ".ckpt"}
    found = sorted(path.name for path in folder.glob("adapter_*") if path.suffix in kinds)
    if not found:
        return
    at, names = str(folder.resolve()), ", ".join(found)
    if (folder / "config.json").is_file():
        aside = f"{at}-adapter"
        moved = shlex.join(["mv", *(f"{at}/{name}" for name in found), aside])
        raise InputError(
            f"{ref}: {names} beside the weights: an adapter, which changes every answer and which "
            "this tool does not apply. To audit the base alone, move these files elsewhere. To "
            "audit both together (with peft installed: pip install peft), merge them and give "
            f"{at}-merged as the model: {shlex.join(['mkdir', aside])} && {moved} && "
            f"{command(_MERGE, at, aside, f'{at}-merged')}"
        )
    base = _base(read_json(folder / ADAPTER, ref) if ADAPTER in found else {}, folder)
    raise InputError(
        f"{ref}: {names}: an adapter without its base model, which this tool does not apply. Merge "
        f"the two (with peft installed: pip install peft) and give {at}-merged as the model: "
        f"{command(_MERGE, base, at, f'{at}-merged')}"
    )


def _base(said: Fields, folder: Path) -> str:
    """The model that an adapter names: a folder seen from the adapter or from here, or a hub id."""
    named = str(said.get("base_model_name_or_path") or "BASE")
    for place in (folder / named, Path(named)):
        if (place / "config.json").is_file():
            return str(place.resolve())
    return named


def check_token_files(folder: Path, ref: str) -> None:
    """Make sure that a tokenizer's files are JSON, run no code, leave nothing to lot, repeat no id.

    Raises:
        InputError: one of them is or does otherwise.
    """
    for name in TOKENS:
        if not (folder / name).is_file():
            continue
        said = read_json(folder / name, ref)
        if said.get("auto_map"):
            got = f"{ref}: {name} has auto_map: it wants to run code of its own, which is never run"
            raise InputError(got, "Give a checkpoint with a tokenizer of transformers'")
        model = said.get("model")
        _require_one_way(said, model, f"{ref}: {name}")
        vocabulary = model.get("vocab") if isinstance(model, dict) else None
        _require_ids(said if name == "vocab.json" else vocabulary, f"{ref}: {name}")


def _require_one_way(said: Fields, model: object, where: str) -> None:
    """A text is split in one way, never by lot, as for training."""
    options = said.get("sp_model_kwargs")
    dropout = model.get("dropout") if isinstance(model, dict) else None
    for key, value in (("sp_model_kwargs", options), ("model.dropout", dropout)):
        if value:
            got = f"{where} has {key} {value!r:.60}, which may split a text otherwise each time"
            raise InputError(got, "Take it out of the file")


def _require_ids(vocabulary: object, where: str) -> None:
    if not isinstance(vocabulary, dict):
        return  # other kinds of tokenizers list theirs, without ids
    ids = list(vocabulary.values())
    wrong = next((i for i in ids if type(i) is not int or not 0 <= i < 2**31), None)
    if wrong is not None or len(set(ids)) < len(ids):
        got = "two tokens have one id" if wrong is None else f"a token has the id {wrong!r:.60}"
        allowed = "Each token needs a whole number from 0 on of its own"
        raise InputError(f"{where}: {got}", allowed, "Download the checkpoint again")


def unusual(scale: float) -> str | None:
    """A caveat where an exponentiated logit scale is none of those that training gives."""
    low, high = USUAL_SCALES
    if low <= scale <= high:
        return None
    effect = "whatever is nearest gets nearly all of the probability"
    if scale < low:
        effect = "all labels get nearly the same probability"
    return (
        f"The logit scale is {scale:.4g} (exponentiated); CLIP's training keeps it between 1 and "
        f"100. With it {effect}: which label is nearest holds, scores and thresholds mean little. "
        "Make sure that the checkpoint stores its natural logarithm."
    )


def _not_read(folder: Path, files: list[Path]) -> str | None:
    """Weights beside those that are read, which somebody may have meant."""
    weights = {p.name for p in folder.glob("*.safetensors")} - {p.name for p in files}
    nested = {f"{p.parent.name}/{p.name}" for p in folder.glob(f"*/{ADAPTER}")}
    if not weights | nested:
        return None
    told = ", ".join(sorted(weights | nested)[:5])
    read = WHOLE if len(files) == 1 else f"the {len(files)} files of its index"
    return f"Beside the weights lie files that were not read: {told}. Only {read} was audited."
