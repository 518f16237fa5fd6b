"""Any CLIP that transformers can read: a bundled name, a folder, or an id on the Hugging Face hub.

Tested with ``CLIPModel`` in both layouts (OpenAI's ``vocab.json`` + ``merges.txt`` with
``eos_token_id`` 2, and the newer ``tokenizer.json``). SigLIP and other dual encoders pad, pool and
score differently and are refused by name rather than read wrongly.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
import torch
from PIL.Image import Image, Resampling

from audit.data.images import MAX_PIXELS
from audit.errors import AuditError, InputError, sentence
from audit.models.encoder import (
    Encoder,
    EncoderCard,
    Pixels,
    Rows,
    default_cache,
    digest_of,
    unit_rows,
)
from audit.registry import suggest
from audit.resources import bundled, bundled_names

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
HUB_ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")
# libraries whose minor version may change a number in the sixth digit or the way a word is split
VERSIONS = ("torch", "transformers", "tokenizers", "pillow", "numpy")
# what a checkpoint folder says besides its weights; a change in any of these is another model
SIDE_FILES = (
    "config.json", "preprocessor_config.json", "processor_config.json", "tokenizer.json",
    "tokenizer_config.json", "vocab.json", "merges.txt", "special_tokens_map.json",
    "added_tokens.json",
)  # fmt: skip
# the hub account that converts pickled weights, and the name under which its result is noted
BOT, CONVERTED = "SFconvertbot", "clip-audit-safetensors"
# a picture so many times longer than wide is cropped before it is resized
STRIP = 20
DOWNLOADED = ("model.safetensors", "model-*-of-*.safetensors", "*.json", "*.txt")


def load(
    ref: str,
    device: str = "auto",
    precision: str = "float32",
    trust_remote_code: bool = False,
    cache: Path | None = None,
) -> Encoder:
    """Load a CLIP: a bundled name, else a local folder, else a hub id (``org/name[@revision]``).

    Weights are read from safetensors only, and code that comes with a checkpoint runs only if
    ``trust_remote_code``. ``cache`` is where digests of large weight files are remembered.

    Raises:
        InputError: no such model, not a CLIP, pickled weights only, weights missing, a text tower
            that would be read at the wrong token, an unknown device or precision, no network.
    """
    target, dtype = _device(device), _dtype(precision)
    folder, name = _locate(ref, trust_remote_code)
    config = _config(folder, ref)
    _refuse_foreign(config, ref, trust_remote_code)
    files = _weight_files(folder, ref)
    pictures = Pictures.read(folder, ref)
    model = _model(folder, ref, trust_remote_code and "auto_map" in config)
    words = Words.read(folder, ref, model, trust_remote_code)
    card = EncoderCard(
        ref=name,
        family=str(config["model_type"]),
        dim=int(model.config.projection_dim),
        image_size=pictures.match(model.config.vision_config.image_size, ref),
        context_length=words.context,
        preprocessing=str(pictures),
        logit_scale=float(model.logit_scale.detach().exp()),
        precision=precision,
        device=str(target),
        fingerprint=_fingerprint(folder, files, pictures, precision, target, cache),
    )
    return HuggingFaceEncoder(model.to(dtype).to(target).eval(), words, pictures, card)


# --- pictures -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pictures:
    """CLIP's preprocessing with PIL: resize, centre crop, rescale, normalise.

    Written out because transformers' ``CLIPImageProcessor`` silently switches to torchvision where
    that is installed, which resizes differently, and because cropping before leaving PIL is about
    three times faster. ``CLIPImageProcessorPil`` is its oracle in the tests.
    """

    shortest: int | None
    size: tuple[int, int] | None
    resample: int
    crop: tuple[int, int] | None
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def read(cls, folder: Path, ref: str) -> Pictures:
        """From a checkpoint's ``preprocessor_config.json``, defaults being CLIP's."""
        if not (folder / "preprocessor_config.json").is_file():
            raise InputError(
                sentence(
                    f"{ref}: no preprocessor_config.json, so how its pictures were prepared is "
                    "unknown",
                    "Take that file from where the checkpoint comes from.",
                )
            )
        said = _pil_processor().from_pretrained(folder, local_files_only=True).to_dict()
        size, crop = said.get("size") or {}, said.get("crop_size") or {}
        shortest = size.get("shortest_edge")
        named = {key for key, value in size.items() if value is not None}
        fixed = (size["height"], size["width"]) if named == {"height", "width"} else None
        known = fixed is not None or named == {"shortest_edge"}
        if not known or not said["do_resize"] or said.get("do_pad"):
            raise InputError(
                f"{ref}: preprocessor_config.json asks for size {size}, do_resize "
                f"{said['do_resize']}, do_pad {said.get('do_pad')}; this tool knows a resize to "
                "shortest_edge, or to height and width, without padding."
            )
        normalise = said["do_normalize"]
        return cls(
            shortest=shortest,
            size=fixed,
            resample=int(said["resample"]),
            crop=(crop["height"], crop["width"]) if said["do_center_crop"] else None,
            scale=float(said["rescale_factor"]) if said["do_rescale"] else 1.0,
            mean=tuple(said["image_mean"]) if normalise else (0.0,) * 3,
            std=tuple(said["image_std"]) if normalise else (1.0,) * 3,
        )

    def __str__(self) -> str:
        """One line for a report: what happens to a picture, in order."""
        to = f"shortest edge {self.shortest}" if self.shortest else f"{self.size}"
        crop = f", centre crop {self.crop[0]}x{self.crop[1]}" if self.crop else ""
        numbers = f"x {self.scale:.6g}, mean {self.mean}, std {self.std}"
        return f"PIL {Resampling(self.resample).name.lower()} to {to}{crop}, {numbers}"

    def match(self, image_size: int | Sequence[int], ref: str) -> int:
        """The model's input size, after making sure that this preprocessing delivers it."""
        wanted = (image_size,) * 2 if isinstance(image_size, int) else tuple(image_size)
        given = self.crop or self.size
        if given != wanted:
            raise InputError(
                f"{ref}: preprocessor_config.json makes pictures of {given}, config.json wants "
                f"{wanted}. One of the two files belongs to another checkpoint."
            )
        return int(max(wanted))

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

    def normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        """What the model reads: float32, shape (n, 3, height, width), on the pixels' device."""
        std = torch.tensor(self.std, dtype=torch.float64)
        factor = (self.scale / std).to(torch.float32).to(pixels.device).view(1, 3, 1, 1)
        mean = torch.tensor(self.mean, dtype=torch.float64)
        shift = (mean / std).to(torch.float32).to(pixels.device).view(1, 3, 1, 1)
        return pixels.permute(0, 3, 1, 2).to(torch.float32).mul_(factor).sub_(shift)


def _pil_processor() -> Any:
    import transformers

    named = getattr(transformers, "CLIPImageProcessorPil", None)
    return named or transformers.CLIPImageProcessor


# --- words ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Words:
    """A checkpoint's tokenizer, which never cuts a text and knows where the model will read it.

    A CLIP text tower is read at one token. transformers takes the largest token id if the
    configuration says ``eos_token_id: 2`` (an old mistake kept for OpenAI's checkpoints, where the
    end-of-text id happens to be the largest), else the first ``eos_token_id``. Either is right only
    if that is where the text ends; anything else would embed part of the text in silence.
    """

    tokenizer: Any
    context: int
    eos: int | None
    largest: bool

    @classmethod
    def read(cls, folder: Path, ref: str, model: Any, trust: bool) -> Words:
        """From a checkpoint folder, tried on one short text."""
        from transformers import AutoTokenizer, CLIPModel

        with _readable(ref, "tokenizer"):
            tokenizer = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=trust
            )
        text = model.config.text_config
        context = min(int(text.max_position_embeddings), int(tokenizer.model_max_length))
        eos = text.eos_token_id if isinstance(model, CLIPModel) else None
        words = cls(tokenizer, context, eos, largest=eos == 2)
        words._try(ref)
        return words

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, whole.

        Raises:
            InputError: a text is longer than the context, or would not be read at its end.
        """
        rows = self.tokenizer(list(texts), padding=False, truncation=False, verbose=False)
        found: list[list[int]] = rows["input_ids"]
        for text, row in zip(texts, found, strict=True):
            if len(row) > self.context:
                raise InputError(
                    f"a text of {len(row)} tokens is longer than the {self.context} this model "
                    f"reads: '{shorten(text, 80)}'. Shorten it; texts are never cut."
                )
            if not self._read_at_end(row):
                raise InputError(
                    f"this model would not read '{text}' to its end: its tokenizer turns a part "
                    "of it into an end-of-text or higher token, as it does with characters it "
                    "does not know. Reword it."
                )
        return found

    def _read_at_end(self, row: list[int]) -> bool:
        if self.eos is None:
            return True
        wanted = max(row) if self.largest else self.eos
        return bool(row) and wanted in row and row.index(wanted) == len(row) - 1

    def _try(self, ref: str) -> None:
        row = self.tokenizer(["a"], padding=False, truncation=False)["input_ids"][0]
        if not self._read_at_end(row):
            rule = "largest token id" if self.largest else f"first token {self.eos}"
            raise InputError(
                f"{ref}: config.json says text_config.eos_token_id {self.eos}, so transformers "
                f"reads a text at its {rule}, but the tokenizer makes {row} of 'a' and ends texts "
                f"with {self.tokenizer.eos_token_id}: texts would be read at the wrong token. Set "
                "eos_token_id to the tokenizer's end-of-text id (which must not be 2) and retrain, "
                "or take the tokenizer that belongs to this checkpoint."
            )

    def padded(self, rows: Sequence[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and mask, both (n, longest), padded so that each text still ends where it did."""
        longest = max(map(len, rows))
        ids = np.empty((len(rows), longest), dtype=np.int64)
        mask = np.zeros_like(ids)
        for i, row in enumerate(rows):
            # a CLIP reads nothing after the end (attention is causal), and repeating the end keeps
            # it the first largest id, whatever the tokenizer would pad with
            fill = row[-1] if self.eos is not None else self.tokenizer.pad_token_id or 0
            ids[i] = [*row, *[fill] * (longest - len(row))]
            mask[i, : len(row)] = 1
        return torch.from_numpy(ids), torch.from_numpy(mask)


# --- the encoder ----------------------------------------------------------------------------------


class BatchSize:
    """How many rows go through the model at once.

    Fixed on a CPU, where more gains nothing. On a GPU it doubles after each full batch until
    memory complains or ``LARGEST`` is reached, then stays at half of what failed.
    """

    LARGEST = 1024

    def __init__(self, start: int, grows: bool) -> None:
        """``start`` rows at first; ``grows`` where memory is the only limit."""
        self.size, self._grows = start, grows

    def run(self, count: int, forward: Callable[[slice], Rows], dim: int) -> Rows:
        """Rows of ``forward`` over consecutive slices of ``range(count)``, shape (count, dim)."""
        parts: list[Rows] = [np.zeros((0, dim), dtype=np.float32)]
        start = 0
        while start < count:
            stop = min(start + self.size, count)
            try:
                parts.append(forward(slice(start, stop)))
            except torch.OutOfMemoryError:
                self._shrink(stop - start)
                continue
            self._grow(stop - start)
            start = stop
        return np.concatenate(parts)

    def _grow(self, worked: int) -> None:
        if self._grows and worked == self.size:
            self.size = min(2 * self.size, self.LARGEST)

    def _shrink(self, failed: int) -> None:
        if failed == 1:
            raise AuditError("the device has no memory for even one item; use --device cpu.")
        self.size, self._grows = failed // 2, False
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


class HuggingFaceEncoder:
    """A loaded CLIP; make one with ``load``."""

    def __init__(self, model: Any, words: Words, pictures: Pictures, card: EncoderCard) -> None:
        """A model in evaluation mode on its device, and how to feed it."""
        self._model, self._words, self._pictures, self._card = model, words, pictures, card
        self._device = next(model.parameters()).device
        gpu = self._device.type == "cuda"
        self._image_batch = BatchSize(64 if gpu else 32, grows=gpu)
        self._text_batch = BatchSize(256 if gpu else 64, grows=gpu)

    @property
    def card(self) -> EncoderCard:
        """The model, described."""
        return self._card

    @property
    def batch_size(self) -> int:
        """How many pictures the model would take at once now."""
        return self._image_batch.size

    def preprocess(self, image: Image) -> Pixels:
        """Resized and cropped pixels; safe to call from several threads."""
        return self._pictures(image)

    def encode_images(self, images: Sequence[Image]) -> Rows:
        """Embed RGB pictures, shape (n, dim), rows of unit length."""
        return self.encode_pixels([self.preprocess(image) for image in images])

    def encode_pixels(self, pixels: Sequence[Pixels]) -> Rows:
        """Embed preprocessed pictures, shape (n, dim), rows of unit length."""

        def forward(part: slice) -> Rows:
            raw = torch.from_numpy(np.stack(pixels[part])).to(self._device)
            inputs = self._pictures.normalised(raw).to(self._model.dtype)
            return self._rows(self._model.get_image_features(pixel_values=inputs))

        with _exact():
            return self._image_batch.run(len(pixels), forward, self._card.dim)

    def encode_texts(self, texts: Sequence[str]) -> Rows:
        """Embed texts, shape (n, dim), rows of unit length; ``Words.ids`` says what is refused."""
        rows = self._words.ids(texts) if texts else []
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))

        def forward(part: slice) -> Rows:
            ids, mask = self._words.padded([rows[i] for i in order[part]])
            ids, mask = ids.to(self._device), mask.to(self._device)
            return self._rows(self._model.get_text_features(input_ids=ids, attention_mask=mask))

        with _exact():
            found = self._text_batch.run(len(rows), forward, self._card.dim)
        back = np.empty_like(found)
        back[order] = found
        return back

    def _rows(self, features: Any) -> Rows:
        # transformers 5 returns an object whose pooler_output is the projected embedding
        embedded = getattr(features, "pooler_output", features)
        return unit_rows(embedded.to(torch.float32).cpu().numpy())


@contextlib.contextmanager
def _exact() -> Iterator[None]:
    """No gradients, and no TF32: it would cost three digits in the patch embedding alone."""
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


# --- where a checkpoint is ------------------------------------------------------------------------


def locate(ref: str, trust_remote_code: bool = False) -> str:
    """Where a model would come from, in a few words; nothing is loaded or downloaded.

    Raises:
        InputError: neither a bundled name, a folder nor a hub id; a folder that holds no CLIP.
    """
    folder = _here(ref)
    if folder is None:
        _hub_id(ref)
        return "the hub, downloaded when it is first asked"
    _refuse_foreign(_config(folder, ref), ref, trust_remote_code)
    return "bundled" if folder.parent == bundled("models") else str(folder)


def _here(ref: str) -> Path | None:
    """The folder of a bundled name, else of a path, if there is one."""
    if ref in bundled_names("models"):
        return bundled("models") / ref
    folder = Path(ref).expanduser()
    return folder if ref and folder.is_dir() else None


def _hub_id(ref: str) -> re.Match[str]:
    hub = None if ref.startswith(".") else HUB_ID.fullmatch(ref)
    if hub is None:
        raise _no_such_model(ref)
    return hub


def _locate(ref: str, code: bool) -> tuple[Path, str]:
    """The folder of a checkpoint, and the name that a report quotes."""
    folder = _here(ref)
    if folder is not None:
        return folder, ref
    hub = _hub_id(ref)
    found = _download(hub["repo"], hub["revision"], code)
    return found, f"{hub['repo']}@{found.name[:12]}"


def _no_such_model(ref: str) -> InputError:
    known = bundled_names("models")
    return InputError(
        sentence(
            f"no model named '{ref}', and no such folder",
            suggest(ref, known),
            f"A model is a bundled name ({', '.join(known) or 'none is bundled'}), a folder that "
            "holds a transformers CLIP, or a hub id like openai/clip-vit-base-patch32",
            "'clip-audit list models' shows the bundled ones.",
        )
    )


def _download(repo: str, revision: str | None, code: bool) -> Path:
    """The newest snapshot of a hub repository, downloaded if needed, pickled weights left out."""
    from huggingface_hub import errors

    try:
        found = _snapshot(repo, revision, code)
        if revision is None and not any(found.glob("model*.safetensors")):
            found = _converted(repo, found, code)
    except errors.GatedRepoError as error:
        raise InputError(
            f"{repo}: the hub asks for terms to be accepted first. Accept them on "
            f"https://huggingface.co/{repo}, then 'hf auth login' and retry."
        ) from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise _no_such_repository(repo) from error
    except errors.RevisionNotFoundError as error:
        raise InputError(f"{repo}: the hub has no revision '{revision}' of it.") from error
    except (errors.LocalEntryNotFoundError, errors.HfHubHTTPError, ConnectionError) as error:
        raise _offline(repo) from error
    except OSError as error:
        raise InputError(
            f"{repo}: the download could not be written: {error}. Make room, or set HF_HOME to a "
            "folder with room."
        ) from error
    return found


def _snapshot(repo: str, revision: str | None, code: bool, local: bool = False) -> Path:
    from huggingface_hub import snapshot_download

    wanted = [*DOWNLOADED, "*.py"] if code else [*DOWNLOADED]
    found = snapshot_download(
        repo, revision=revision, allow_patterns=wanted, ignore_patterns="*/*",
        local_files_only=local,
    )  # fmt: skip
    return Path(found)


def _converted(repo: str, pickled: Path, code: bool) -> Path:
    """The snapshot in which the hub's own bot offers safetensors of a pickled repository, if any.

    ``openai/clip-vit-base-patch32`` needs it. Which snapshot that was is noted beside the hub's own
    references, so that the next run finds it without a network.
    """
    from huggingface_hub import errors

    note = pickled.parent.parent / "refs" / CONVERTED
    with contextlib.suppress(errors.LocalEntryNotFoundError):
        if note.is_file():
            return _snapshot(repo, CONVERTED, code, local=True)
    revision = _proposed_by_bot(repo)
    if revision is None:
        return pickled
    found = _snapshot(repo, revision, code)
    _write_aside(note, found.name)
    return found


def _proposed_by_bot(repo: str) -> str | None:
    """The revision of the bot's proposal; anybody can open one, and a stranger's is not taken."""
    from huggingface_hub import errors, get_repo_discussions

    try:
        for proposal in get_repo_discussions(repo, author=BOT):
            if proposal.is_pull_request and proposal.author == BOT:
                reference: str | None = proposal.git_reference
                return reference
    except errors.HfHubHTTPError:
        raise
    except Exception as error:  # whatever the HTTP library in use raises without a network
        raise ConnectionError(str(error)) from error
    return None


def _no_such_repository(repo: str) -> InputError:
    known = bundled_names("models")
    return InputError(
        sentence(
            f"no folder and no model on the Hugging Face hub is called '{repo}'",
            suggest(repo, known),
            "Check the spelling on https://huggingface.co/models; a private model needs "
            "'hf auth login' first.",
        )
    )


def _offline(repo: str) -> InputError:
    known = bundled_names("models")
    example = f" ({', '.join(known)})" if known else ""
    return InputError(
        f"{repo}: not on this machine, and the Hugging Face hub can't be reached. Three ways out: "
        "connect (and unset HF_HUB_OFFLINE) and retry; or, on a machine with a network, 'hf "
        f"download {repo}', copy the folder here and give its path as the model; or use a bundled "
        f"specimen{example}."
    )


# --- what a checkpoint folder holds ---------------------------------------------------------------


def _config(folder: Path, ref: str) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise InputError(
            f"{ref}: no config.json there, so it is not a transformers checkpoint. Give the folder "
            "that 'save_pretrained' wrote."
        )
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{ref}: config.json is not valid JSON: {error}.") from error
    return config


def _refuse_foreign(config: dict[str, Any], ref: str, trust: bool) -> None:
    if "auto_map" in config:
        if not trust:
            raise InputError(
                f"{ref}: this checkpoint wants to run code of its own "
                f"({', '.join(sorted(map(str, config['auto_map'].values())))}). Read that code; "
                "only if you trust it, allow it with trust_remote_code."
            )
    elif config.get("model_type") != "clip":
        raise InputError(
            f"{ref}: not a CLIP: config.json says model_type '{config.get('model_type')}', this "
            "tool reads 'clip' (transformers' CLIPModel, both towers). Give another checkpoint."
        )


def _weight_files(folder: Path, ref: str) -> list[Path]:
    """The safetensors that hold the weights, several for a sharded checkpoint."""
    index = folder / "model.safetensors.index.json"
    names = {"model.safetensors"}
    if index.is_file() and not (folder / "model.safetensors").is_file():
        names = {*json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()}
    files = [folder / name for name in sorted(names)]
    missing = [file.name for file in files if not file.is_file()]
    if not missing:
        return files
    pickled = sorted(p.name for p in folder.glob("*") if p.suffix in {".bin", ".pt", ".pth"})
    if not pickled:
        raise InputError(f"{ref}: {', '.join(missing)} is missing; the folder holds no weights.")
    raise InputError(
        f"{ref}: its weights are only there as {pickled[0]}, a pickle, which can run code when "
        "opened; this tool reads safetensors only. If you trust where it comes from, convert it "
        'once: python -c "import sys; from transformers import CLIPModel; d = sys.argv[1]; '
        f'CLIPModel.from_pretrained(d).save_pretrained(d)" {folder}'
    )


def _model(folder: Path, ref: str, remote: bool) -> Any:
    """The model in float32; a checkpoint that lacks a weight is refused, never filled at random."""
    from transformers import AutoModel, CLIPModel

    kind, extra = (AutoModel, {"trust_remote_code": True}) if remote else (CLIPModel, {})
    with _readable(ref, "weights"), _quiet():
        model, report = kind.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, local_files_only=True,
            output_loading_info=True, **extra,
        )  # fmt: skip
    lacking = sorted(report["missing_keys"])
    if lacking:
        raise InputError(
            f"{ref}: {len(lacking)} weights are missing from the checkpoint ({lacking[0]} ...), so "
            "the model would answer at random. Give a complete CLIP checkpoint."
        )
    if not hasattr(model, "get_image_features") or not hasattr(model, "get_text_features"):
        raise InputError(f"{ref}: {type(model).__name__} embeds no pictures and texts together.")
    return model


@contextlib.contextmanager
def _readable(ref: str, what: str) -> Iterator[None]:
    """Turn whatever a library says of a broken file into one sentence."""
    try:
        yield
    except AuditError:
        raise
    except Exception as error:  # libraries raise anything here: RuntimeError, SafetensorError, ...
        said = str(error).strip().splitlines()
        raise InputError(
            f"{ref}: its {what} can't be read: {said[0] if said else type(error).__name__} "
            "Download or save the checkpoint again."
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' bar for reading a local file, which takes a moment."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _device(name: str) -> torch.device:
    gpu, apple = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if gpu else "mps" if apple else "cpu")
    with contextlib.suppress(RuntimeError):
        device = torch.device(name)
        count = torch.cuda.device_count() if device.type == "cuda" else 1
        there = {"cpu": True, "cuda": gpu, "mps": apple}.get(device.type, False)
        if there and (device.index or 0) < count:
            return device
    found = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count())), *["mps"] * apple]
    raise InputError(f"device '{name}' is not here. This machine has: auto, {', '.join(found)}.")


def _dtype(precision: str) -> torch.dtype:
    if precision not in PRECISIONS:
        known = suggest(precision, PRECISIONS)
        listing = f"Allowed: {', '.join(PRECISIONS)}."
        raise InputError(sentence(f"no precision named '{precision}'", known, listing))
    return PRECISIONS[precision]


# --- the fingerprint ------------------------------------------------------------------------------


def _fingerprint(
    folder: Path,
    weights: Sequence[Path],
    pictures: Pictures,
    precision: str,
    device: torch.device,
    cache: Path | None,
) -> str:
    """Digest of all that changes a number.

    In float32 devices agree to about 1e-6 and share embeddings; with fewer digits they do not.
    """
    said = [p for p in folder.iterdir() if p.name in SIDE_FILES or p.suffix == ".py"]
    return digest_of(
        {
            "weights": {p.name: file_digest(p, cache) for p in weights},
            "files": {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in said},
            "preprocessing": asdict(pictures),
            "precision": precision,
            "device": "any" if precision == "float32" else device.type,
            "versions": {name: ".".join(version(name).split(".")[:2]) for name in VERSIONS},
        }
    )


def file_digest(path: Path, cache: Path | None = None) -> str:
    """Hex SHA-256 of a file, remembered by path, size and time where a cache folder exists.

    A file that changed within the last seconds is not remembered: its time could stay the same
    through another change.
    """
    stat = path.stat()
    seen = [str(path.resolve()), stat.st_size, stat.st_mtime_ns]
    memo = (cache or default_cache()) / "weights" / digest_of({"file": seen})
    with contextlib.suppress(OSError):
        known = memo.read_text(encoding="ascii").strip()
        if re.fullmatch("[0-9a-f]{64}", known):
            return known
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if memo.parent.parent.is_dir() and time.time() - stat.st_mtime > 5:
        _write_aside(memo, digest)
    return digest


def _write_aside(path: Path, text: str) -> None:
    """Write a note that saves time and may fail in silence; never half of it."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, exist_ok=True)
        aside = path.with_name(f".{uuid.uuid4().hex}")
        aside.write_text(text, encoding="ascii")
        os.replace(aside, path)
