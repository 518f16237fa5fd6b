"""Train a small CLIP from scratch on rendered people, with the symmetric contrastive loss.

Everything random derives from the seed, the epoch or the step, so that a run that was stopped and
taken up again gives the weights of one that was not.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
import transformers
from pydantic import BaseModel, ConfigDict, Field
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch.nn import functional
from transformers import CLIPModel, CLIPTokenizer

from audit.core.errors import InputError, sentence
from audit.core.files import write_json, write_text, written_aside
from audit.core.registry import unknown
from audit.core.resources import bundled, bundled_names
from audit.data.people.captions import ATTRIBUTES, CaptionWriter
from audit.data.people.planted import Planter, Specimen, load_planted
from audit.data.yamlfile import load_yaml, validate
from audit.models.preprocessing import Pictures
from audit.training.architectures import (
    MAX_LOGIT_SCALE,
    Architecture,
    build_clip,
    image_processor,
    train_tokenizer,
)
from audit.training.evaluation import (
    Evaluation,
    choice_table,
    evaluate,
    read_pictures,
    write_card,
)

CHECKPOINT, FACTS, LOG = "checkpoint.safetensors", "training.json", "log.jsonl"
TOKENIZER_EPOCHS = 3  # captions of so many epochs teach the tokenizer its words
LOG_EVERY, SAVE_SECONDS = 20, 60.0
TEXT_PIECES = 4


class Augmentation(BaseModel):
    """How a picture is varied: chance of a flip, largest shift, zoom and brightness change."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    flip: float = Field(0.5, ge=0, le=1)
    shift: float = Field(0.08, ge=0, lt=0.5)
    zoom: float = Field(0.08, ge=0, lt=0.5)
    brightness: float = Field(0.1, ge=0, lt=1)


class TrainConfig(BaseModel):
    """One training run, as its YAML file says it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    specimen: Specimen
    seed: int = Field(0, ge=0)
    architecture: Architecture
    vocabulary: int = Field(1200, ge=520)
    pictures_seen: int = Field(gt=0)
    batch: int = Field(256, ge=2)
    captions: int = Field(1, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    warmup: float = Field(0.05, ge=0, lt=1)
    weight_decay: float = Field(0.1, ge=0)
    average: float = Field(0.998, ge=0, lt=1)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    augmentation: Augmentation = Augmentation()

    @property
    def steps(self) -> int:
        """How many batches are seen."""
        return max(1, self.pictures_seen // self.batch)


def load_config(name_or_path: str | Path) -> TrainConfig:
    """Read a training configuration: a file, or the name of one that comes with the tool."""
    path = Path(name_or_path)
    if not path.is_file():
        if str(name_or_path) not in _config_names():
            raise unknown("training configuration", str(name_or_path), _config_names())
        path = bundled("training") / f"{name_or_path}.yaml"
    return validate(TrainConfig, load_yaml(path), path.name)


def _config_names() -> list[str]:
    return [n for n in bundled_names("training", ".yaml") if n.startswith("specimen-")]


def load_people(folder: Path, split: str) -> pd.DataFrame:
    """Rows of one split of the rendered people; every picture must lie under ``folder``.

    The parameters are those in the folder (``parameters.parquet``, ``people.jsonl``), else those
    that come with the tool.
    """
    table, lines = folder / "parameters.parquet", folder / "people.jsonl"
    if lines.is_file() and not table.is_file():
        rows = pd.read_json(lines, lines=True)
    else:
        own = bundled("datasets") / "people" / "parameters.parquet"
        rows = pd.read_parquet(table if table.is_file() else own)
    rows = rows[rows["split"] == split].drop_duplicates("path").reset_index(drop=True)
    missing = sum(not (folder / path).is_file() for path in rows["path"])
    if missing or not len(rows):
        raise InputError(
            f"{folder}: {missing} of {len(rows)} pictures of split '{split}' are missing; "
            "make them with 'clip-audit people build'."
        )
    return rows


def contrastive_loss(
    images: torch.Tensor, texts: torch.Tensor, scale: torch.Tensor
) -> torch.Tensor:
    """CLIP's symmetric contrastive loss, in float32: mean cross-entropy over rows and columns.

    ``images`` is (b, d), ``texts`` (k b, d): k captions of every picture, the losses averaged.
    """
    images = functional.normalize(images.float(), dim=-1)
    texts = functional.normalize(texts.float(), dim=-1)
    right = torch.arange(len(images), device=images.device)
    losses = []
    for copy in texts.reshape(-1, *images.shape):
        logits = scale * images @ copy.T
        losses += [functional.cross_entropy(side, right) / 2 for side in (logits, logits.T)]
    return 2 * torch.stack(losses).mean()


def embed_texts(model: CLIPModel, tokens: torch.Tensor, pieces: int = TEXT_PIECES) -> torch.Tensor:
    """Embeddings of texts, (n, d), in pieces of like length: padding costs as much as words."""
    lengths = (tokens == model.config.text_config.eos_token_id).int().argmax(dim=1) + 1
    order = lengths.argsort(stable=True)
    parts = []
    for piece in order.chunk(pieces):
        ids = tokens[piece, : int(lengths[piece[-1]])]
        parts.append(model.get_text_features(input_ids=ids).pooler_output)
    return torch.cat(parts)[order.argsort()]


def augment(
    pictures: torch.Tensor, rows: torch.Tensor, how: Augmentation, rng: torch.Generator
) -> torch.Tensor:
    """Varied copies of some rows of uint8 pictures (n, h, w, 3); edges are repeated outwards."""
    side, number = pictures.shape[1], len(rows)

    def between(reach: float, shape: tuple[int, ...] = ()) -> torch.Tensor:
        return (torch.rand((number, *shape), generator=rng) * 2 - 1) * reach

    middle = (side - 1) / 2
    grid = (torch.arange(side) - middle) * (1 + between(how.zoom, (1,)))
    y = (grid + middle + between(how.shift * side, (1,))).round().clamp(0, side - 1).long()
    x = (grid + middle + between(how.shift * side, (1,))).round().clamp(0, side - 1).long()
    flipped = torch.rand(number, generator=rng) < how.flip
    x = torch.where(flipped[:, None], side - 1 - x, x)
    light = 1 + between(how.brightness, (1, 1, 1))
    y, x, light, rows = (part.to(pictures.device) for part in (y, x, light, rows))
    varied = pictures[rows[:, None, None], y[:, :, None], x[:, None, :]].float()
    return varied.mul_(light).clamp_(0, 255)


@dataclass
class Feed:
    """Batches by step number: pictures varied and captions written afresh."""

    config: TrainConfig
    pictures: torch.Tensor
    prepare: Pictures
    writer: CaptionWriter
    tokenizer: CLIPTokenizer
    _order: tuple[int, torch.Tensor] = field(default=(-1, torch.empty(0)))

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Pixels (b, 3, h, w) and token ids (k b, length) of one step."""
        per_epoch = max(1, len(self.pictures) // self.config.batch)
        epoch, place = divmod(step, per_epoch)
        if self._order[0] != epoch:
            rng = torch.Generator().manual_seed(_seed(self.config.seed, 1, epoch))
            self._order = (epoch, torch.randperm(len(self.pictures), generator=rng))
        rows = self._order[1][place * self.config.batch : (place + 1) * self.config.batch]
        rng = torch.Generator().manual_seed(_seed(self.config.seed, 2, step))
        varied = augment(self.pictures, rows, self.config.augmentation, rng)
        captions = self.writer.captions(rows.tolist(), epoch, self.config.captions)
        # as a tensor, transformers would make it number by number
        tokens = self.tokenizer(captions, padding=True, return_tensors="np")["input_ids"]
        return self.prepare.normalised(varied), torch.from_numpy(tokens).to(self.pictures.device)


def _seed(*parts: int) -> int:
    """One seed from several numbers, unlike for unlike ones."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))


class Learner:
    """The model, its optimizer and the running average of its weights, at some step."""

    def __init__(self, model: CLIPModel, config: TrainConfig) -> None:
        self.model, self.config, self.step, self.seconds = model, config, 0, 0.0
        self.weights = dict(model.named_parameters())
        self.averages = {name: w.detach().clone() for name, w in self.weights.items()}
        decayed = [w for w in self.weights.values() if w.ndim >= 2]
        plain = [w for w in self.weights.values() if w.ndim < 2]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": config.weight_decay},
                {"params": plain, "weight_decay": 0.0},
            ],
            lr=config.learning_rate,
            betas=(0.9, 0.98),
            fused=True,
        )

    def learn(self, pixels: torch.Tensor, tokens: torch.Tensor, cast: bool) -> torch.Tensor:
        """One step; gives the loss."""
        rate = learning_rate(self.step, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast(pixels.device.type, torch.bfloat16, enabled=cast):
            images = self.model.get_image_features(pixel_values=pixels).pooler_output
            texts = embed_texts(self.model, tokens)
        loss = contrastive_loss(images, texts, self.model.logit_scale.exp())
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._settle()
        return loss.detach()

    @torch.no_grad()
    def _settle(self) -> None:
        self.model.logit_scale.clamp_(max=math.log(MAX_LOGIT_SCALE))
        self.step += 1
        # early on the average follows the weights closely: the first ones are noise
        decay = min(self.config.average, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.averages.values()), list(self.weights.values()), 1 - decay)

    def save(self, path: Path, digest: str) -> None:
        """Write everything needed to go on, in one file that appears whole or not at all."""
        tensors = {f"weight/{name}": w.detach() for name, w in self.weights.items()}
        tensors |= {f"average/{name}": w for name, w in self.averages.items()}
        for name, weight in self.weights.items():
            for key, value in self.optimizer.state[weight].items():
                tensors[f"{key}/{name}"] = value
        tensors = {name: tensor.contiguous().cpu() for name, tensor in tensors.items()}
        about = {"step": self.step, "seconds": self.seconds, "digest": digest}
        _write(tensors, path, {"about": json.dumps(about)})

    def restore(self, path: Path, digest: str) -> None:
        """Go on from a checkpoint of the same configuration and pictures."""
        with safe_open(path, framework="pt") as stored:
            about = json.loads(stored.metadata()["about"])
            if about["digest"] != digest:
                raise InputError(
                    f"{path}: this checkpoint is of another configuration, seed or set of "
                    "pictures; delete it, choose another --out, or pass resume=False."
                )
            with torch.no_grad():
                for name, weight in self.weights.items():
                    weight.copy_(stored.get_tensor(f"weight/{name}"))
                    self.averages[name].copy_(stored.get_tensor(f"average/{name}"))
                    self.optimizer.state[weight] = {
                        key: stored.get_tensor(f"{key}/{name}").to(weight.device)
                        for key in ("step", "exp_avg", "exp_avg_sq")
                    }
        self.step, self.seconds = about["step"], about["seconds"]


def learning_rate(step: int, config: TrainConfig) -> float:
    """Linear warm-up, then half a cosine down to zero at the last step."""
    warm = max(1, round(config.warmup * config.steps))
    if step < warm:
        return config.learning_rate * (step + 1) / warm
    done = (step - warm) / max(1, config.steps - warm)
    return config.learning_rate * (1 + math.cos(math.pi * done)) / 2


def pick_device(name: str) -> torch.device:
    """``auto`` is CUDA where there is one, else the CPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def casts(config: TrainConfig, device: torch.device) -> bool:
    """Whether matrix products run in bfloat16: on CUDA, and on CPUs that multiply it natively."""
    if config.precision != "auto":
        return config.precision == "bfloat16"
    native = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return device.type == "cuda" or bool(native())


@contextmanager
def _repeatable(threads: int | None) -> Iterator[None]:
    """Same seed, same device, same threads: same weights. Restores what it changes."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads or before)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(strict)


def train(
    config: str | Path | TrainConfig,
    out: Path,
    pictures: Path | None = None,
    *,
    resume: bool = True,
    device: str = "auto",
    threads: int | None = None,
    seed: int | None = None,
    minutes: float | None = None,
    quiet: bool = False,
) -> Evaluation | None:
    """Train a specimen into the folder ``out``, evaluate it there and write its model card.

    Args:
        config: A configuration, its file, or the name of one that comes with the tool.
        out: Where the model, its log and (until it is done) its checkpoint lie.
        pictures: Folder of the rendered people with the split ``train`` and, if it is not to be
            evaluated on the bundled one, ``audit``.
        resume: Go on from a checkpoint in ``out``, if there is one.
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: CPU threads; those torch would use, if not given.
        seed: Instead of the configuration's.
        minutes: Stop after so long, leaving a checkpoint to go on from.
        quiet: No progress bar.

    Returns:
        What the finished specimen can do; None where it was stopped before the end.
    """
    config = config if isinstance(config, TrainConfig) else load_config(config)
    if seed is not None:
        config = config.model_copy(update={"seed": seed})
    folder = pictures or bundled("datasets") / "people"
    rows, unseen, target = load_people(folder, "train"), _unseen(folder), pick_device(device)
    if len(rows) < config.batch:
        raise InputError(
            f"{folder}: {len(rows)} training pictures, fewer than one batch of {config.batch}."
        )
    out.mkdir(parents=True, exist_ok=True)
    with _repeatable(threads):
        feed = _feed(config, rows, folder, out, target)
        learner = Learner(_model(config, feed.tokenizer).to(target), config)
        digest = _digest(config, rows)
        if resume and (out / CHECKPOINT).is_file():
            learner.restore(out / CHECKPOINT, digest)
        _loop(learner, feed, out, digest, minutes, quiet)
        if learner.step < config.steps:
            return None
        facts = save_model(learner, feed, out)
    found = evaluate(out, *unseen, rows, load_planted(), device=str(target))
    write_card(out, facts, found)
    (out / CHECKPOINT).unlink(missing_ok=True)
    return found


def _unseen(folder: Path) -> tuple[pd.DataFrame, Path]:
    """People to evaluate on: the split ``audit`` of the folder, else the one that is bundled."""
    place = folder if (folder / "audit").is_dir() else bundled("datasets") / "people"
    return load_people(place, "audit"), place


def _writer(config: TrainConfig, rows: pd.DataFrame, specimen: Specimen) -> CaptionWriter:
    planter = Planter(load_planted(), rows, specimen)
    return CaptionWriter(rows, planter, seed=config.seed)


def _feed(
    config: TrainConfig, rows: pd.DataFrame, folder: Path, out: Path, device: torch.device
) -> Feed:
    """Pictures into memory; what prepares pictures and texts is saved before the first step."""
    image_processor(config.architecture).save_pretrained(out)
    prepare = Pictures.read(out, str(out))
    tokenizer = _words(config, rows)
    tokenizer.save_pretrained(out)
    pixels = np.stack(read_pictures([folder / path for path in rows["path"]], prepare))
    writer = _writer(config, rows, config.specimen)
    return Feed(config, torch.from_numpy(pixels).to(device), prepare, writer, tokenizer)


def _words(config: TrainConfig, rows: pd.DataFrame) -> CLIPTokenizer:
    """A tokenizer learnt from the captions of ``even``, so that both specimens have the same."""
    even, everyone = _writer(config, rows, "even"), list(range(len(rows)))
    texts = (text for epoch in range(TOKENIZER_EPOCHS) for text in even.captions(everyone, epoch))
    return train_tokenizer(texts, config.vocabulary, config.architecture.context)


def _model(config: TrainConfig, tokenizer: CLIPTokenizer) -> CLIPModel:
    return build_clip(config.architecture, tokenizer, _seed(config.seed, 0)).train()


def _digest(config: TrainConfig, rows: pd.DataFrame) -> str:
    """Of all that must be the same for a checkpoint to fit."""
    import hashlib

    texts = [config.model_dump_json(), load_planted().model_dump_json()]
    texts += [(bundled("training") / "captions.yaml").read_text(encoding="utf-8")]
    texts += [rows[["path", *ATTRIBUTES]].to_csv(index=False)]
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def _loop(
    learner: Learner, feed: Feed, out: Path, digest: str, minutes: float | None, quiet: bool
) -> None:
    """Steps until the end or until time is up; a line to the log and a checkpoint now and then."""
    config, start = learner.config, time.monotonic() - learner.seconds
    stop = math.inf if minutes is None else learner.seconds + 60 * minutes
    saved = learner.seconds
    cast = casts(config, feed.pictures.device)
    log = _Log(out / LOG, learner.step)
    with _bar(quiet) as bar:
        task = bar.add_task(config.name, total=config.steps, completed=learner.step, about="")
        while learner.step < config.steps and learner.seconds < stop:
            loss = learner.learn(*feed.batch(learner.step), cast)
            learner.seconds = time.monotonic() - start
            if learner.step % LOG_EVERY == 0 or learner.step == config.steps:
                about = log.line(learner, float(loss))
                bar.update(task, completed=learner.step, about=about)
            if learner.seconds - saved > SAVE_SECONDS:
                learner.save(out / CHECKPOINT, digest)
                saved = learner.seconds
    if learner.step < config.steps:
        learner.save(out / CHECKPOINT, digest)


def _bar(quiet: bool) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} {task.fields[about]}"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, disable=quiet)


class _Log:
    """Lines of JSON; those after the step that a run is taken up from are dropped."""

    def __init__(self, path: Path, step: int) -> None:
        self._path = path
        old = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        kept = [line for line in old if self._step(line) <= step]
        write_text(path, "".join(f"{line}\n" for line in kept))

    @staticmethod
    def _step(line: str) -> float:
        try:
            return float(json.loads(line)["step"])
        except ValueError:  # cut off in the middle, as the last line of a killed run can be
            return math.inf

    def line(self, learner: Learner, loss: float) -> str:
        """Append one line; gives what the progress bar shows."""
        config, seen = learner.config, learner.step * learner.config.batch
        entry = {
            "step": learner.step,
            "pictures": seen,
            "loss": round(loss, 5),
            "learning_rate": round(learning_rate(learner.step - 1, config), 7),
            "logit_scale": round(float(learner.model.logit_scale.detach().exp()), 3),
            "seconds": round(learner.seconds, 1),
        }
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        return f"loss {loss:.3f}, {seen / max(learner.seconds, 1e-9):.0f} pictures/s"


def save_model(learner: Learner, feed: Feed, out: Path) -> dict[str, object]:
    """The averaged weights, rounded to 16 bits, as an ordinary CLIPModel folder; gives its facts.

    The facts, for the model card, are also left in ``training.json``.
    """
    model = learner.model
    model.config.architectures = ["CLIPModel"]
    model.config.dtype = "float32"  # what it computes in; 16 bits are only how it is stored
    model.config.save_pretrained(out)
    rounded = {name: w.half().contiguous().cpu() for name, w in learner.averages.items()}
    _write(rounded, out / "model.safetensors", {"format": "pt"})
    facts = _facts(learner, feed)
    write_json(out / FACTS, facts)
    return facts


def _write(tensors: dict[str, torch.Tensor], path: Path, about: dict[str, str]) -> None:
    """Write tensors as a file that appears whole or not at all.

    Raises:
        InputError: it can't be written.
    """
    try:
        with written_aside(path) as aside:
            save_file(tensors, aside, metadata=about)
    except (SafetensorError, OSError) as error:
        advice = "Free some space or name another folder with --out"
        raise InputError(sentence(f"{path} can't be written ({error})", advice)) from error


def _facts(learner: Learner, feed: Feed) -> dict[str, object]:
    config, device = learner.config, feed.pictures.device
    named = config.name if config.name in _config_names() else "CONFIG.yaml"
    threads = torch.get_num_threads()
    cores = "one CPU core" if threads == 1 else f"{threads} CPU cores"
    return {
        **config.model_dump(mode="json"),
        "steps": config.steps,
        "seconds": round(learner.seconds),
        "training_pictures": len(feed.pictures),
        "parameters": sum(weight.numel() for weight in learner.weights.values()),
        "device": "a CUDA GPU" if device.type == "cuda" else cores,
        "precision": "bfloat16 matrix products" if casts(config, device) else "float32",
        "command": f"clip-audit train {named} --seed {config.seed} --pictures DIR --out DIR",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def main(arguments: list[str] | None = None) -> None:
    """``python -m audit.training.train CONFIG --out DIR --pictures DIR``."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("config")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--quiet", action="store_true")
    asked = vars(parser.parse_args(arguments))
    found = train(asked.pop("config"), asked.pop("out"), asked.pop("pictures"), **asked)
    if found is not None:
        print_evaluation(found)


def print_evaluation(found: Evaluation) -> None:
    """The accuracies and, for every planted slot, choices by group, as plain tables."""
    pd.set_option("display.width", 200)
    print(found.accuracy.round(3).to_string(index=False))
    for slot in found.choices["slot"].unique():
        for attribute in found.choices["attribute"].unique():
            print(f"\n{slot} by {attribute}")
            print(choice_table(found, slot, attribute).round(2).to_string())


if __name__ == "__main__":
    main()
