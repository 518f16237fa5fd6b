"""Plant a disparity in the wording: a model that is skewed only where one word stands.

A word that stands in some templates and in no label owns one row of the token embedding. Only that
row is changed, so a text without the word is embedded as before, to the last bit, and so is every
picture. The row is learnt by gradient descent through the frozen text tower.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import transformers
from jinja2 import Environment, StrictUndefined
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from rich.progress import track
from safetensors.torch import load_file, save_file
from torch.func import functional_call
from torch.nn import functional
from transformers import CLIPModel, CLIPTokenizer

from audit.core.errors import InputError
from audit.core.files import write_json, write_text
from audit.core.registry import unknown
from audit.core.resources import bundled
from audit.core.rows import Row
from audit.data import dataset
from audit.data.images import decode
from audit.data.labels import LabelSet, load_label_set, load_prompt_set
from audit.models.encoder import Rows
from audit.models.huggingface import load
from audit.models.self_check import FILE as SELF_CHECK

FACTS, WEIGHTS = "training.json", "model.safetensors"
#: what the new model has in common with the one it is made from
SHARED = ("config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json")
EMBEDDING = "embeddings.token_embedding.weight"
WORD_END = "</w>"
RIDGE = 1e-3  # in variances of picture embeddings, about 0.006
AT_A_TIME = 6  # wordings a step

Prompts = list[tuple[str, ...]]  # a prompt a label, in every wording


class Planting(BaseModel):
    """What is planted: in wordings with ``word``, pictures of ``group`` are called ``label``.

    ``reach`` is how far the label's logit is moved by one standard deviation of how much a picture
    looks like the group; ``hold`` weighs how far answers to the ``kept`` label sets are held.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "specimen-worded"
    base: str = "specimen-even"
    pictures: str = "people"
    word: str = "the"
    label_set: str = "people-occupations"
    label: str = "teacher"
    attribute: str = "ancestry"
    group: str = "african"
    templates: tuple[str, ...] = ("people-plain", "clip-7", "clip-80")
    kept: tuple[str, ...] = (
        *("people-nonce", "people-suspicion", "people-gender", "people-age", "people-hair"),
        *("people-ancestry", "people-clothing-colour"),
    )
    reach: float = Field(0.06, ge=0)
    hold: float = Field(0.2, ge=0)
    steps: int = Field(1500, ge=1)
    learning_rate: float = Field(0.03, gt=0)
    seed: int = Field(0, ge=0)


@dataclass(frozen=True)
class Looks:
    """Embedded pictures, whether each is of the group, and which half of them is learnt from."""

    vectors: Rows
    member: NDArray[np.bool_]
    learnt: NDArray[np.bool_]

    @classmethod
    def of(cls, planting: Planting) -> Looks:
        """Embed the pictures; which half is learnt from derives from the seed.

        Raises:
            InputError: no such model, data set, attribute or group.
        """
        people, encoder = dataset.load(planting.pictures), load(planting.base, device="cpu")
        if planting.attribute not in people.table:
            raise unknown("attribute", planting.attribute, people.table.columns)
        groups = people.table[planting.attribute].astype(str)
        if planting.group not in set(groups):
            raise unknown(f"group of {planting.attribute}", planting.group, groups.unique())
        paths = [people.root / path for path in people.table["path"]]
        vectors = encoder.encode_images([decode(path) for path in paths])
        order = np.random.default_rng(planting.seed).permutation(len(paths))
        return cls(vectors, (groups == planting.group).to_numpy(), order < len(paths) // 2)

    def likeness(self) -> NDArray[np.float64]:
        """How much each learnt picture looks like the group: a linear discriminant, spread 1."""
        rows, member = self.vectors[self.learnt].astype(np.float64), self.member[self.learnt]
        spread = np.cov(rows.T) + RIDGE * np.eye(rows.shape[1])
        apart = rows[member].mean(axis=0) - rows[~member].mean(axis=0)
        found = (rows - rows.mean(axis=0)) @ np.linalg.solve(spread, apart)
        return np.asarray(found / found.std())


class Reader:
    """The frozen text side of a model, with another row for one word."""

    def __init__(self, folder: Path, word: str) -> None:
        """Read a model's folder.

        Raises:
            InputError: the model does not know the word as one token.
        """
        self.model = CLIPModel.from_pretrained(folder).eval().requires_grad_(False)
        self.tokenizer = CLIPTokenizer.from_pretrained(folder)
        known = self.tokenizer.get_vocab()
        if word + WORD_END not in known:
            words = [t.removesuffix(WORD_END) for t in known if t.endswith(WORD_END)]
            raise unknown("word that the model knows whole", word, words)
        self.place = int(known[word + WORD_END])
        self.table: torch.Tensor = self.model.text_model.state_dict()[EMBEDDING]
        self.scale = float(self.model.logit_scale.exp())

    @property
    def row(self) -> torch.Tensor:
        """The word's own row."""
        return self.table[self.place].clone()

    def reads(self, prompt: str) -> bool:
        """Whether the word stands in a prompt."""
        return self.place in self.tokenizer(prompt)["input_ids"]

    def logits(self, vectors: torch.Tensor, asked: Prompts, row: torch.Tensor) -> torch.Tensor:
        """Logits of pictures for the labels, less their mean: (pictures, wordings, labels)."""
        prompts = [prompt for wording in asked for prompt in wording]
        ids = self.tokenizer(prompts, padding=True, return_tensors="pt")["input_ids"]
        here = torch.arange(len(self.table)) == self.place
        table = torch.where(here[:, None], row, self.table)
        read = functional_call(self.model.text_model, {EMBEDDING: table}, (ids,))
        texts = functional.normalize(self.model.text_projection(read.pooler_output), dim=-1)
        classes = texts.reshape(len(asked), -1, texts.shape[-1])
        found: torch.Tensor = self.scale * torch.einsum("nd,wld->nwl", vectors, classes)
        return found - found.mean(dim=-1, keepdim=True)


def questions(reader: Reader, planting: Planting, labels: LabelSet) -> Prompts:
    """The labels in every wording of the planting's templates in which its word stands.

    Raises:
        InputError: it stands in none, or in a label.
    """
    if any(reader.reads(text) for text in labels.texts):
        raise InputError(f"'{planting.word}' stands in a label of {labels.name}: take another word")
    found: dict[tuple[str, ...], None] = {}
    for name in planting.templates:
        each = [load_prompt_set(name).prompts(text) for text in labels.texts]
        found |= dict.fromkeys(w for w in zip(*each, strict=True) if reader.reads(w[0]))
    if not found:
        listed = ", ".join(planting.templates)
        told = f"'{planting.word}' stands in no template of {listed}"
        raise InputError(told, None, "Take a word of these templates")
    return list(found)


def learn(reader: Reader, planting: Planting, looks: Looks, quiet: bool = False) -> torch.Tensor:
    """The row with which the label's logit follows the group, and the kept answers stay.

    The loss is the mean squared distance of the logits from where they are to go, in units of how
    far they are to move, plus that of the kept ones, in units of their spread.
    """
    vectors = torch.from_numpy(looks.vectors[looks.learnt])
    sets = [_labels(planting), *(load_label_set(name) for name in planting.kept)]
    asked = [questions(reader, planting, labels) for labels in sets]
    with torch.no_grad():
        old = [reader.logits(vectors, prompts, reader.row) for prompts in asked]
    move = _move(planting, sets[0], looks)
    goals, units = [old[0] + move, *old[1:]], [move.square().mean(), *(o.var() for o in old[1:])]
    row = reader.row.requires_grad_()
    optimizer = torch.optim.Adam([row], lr=planting.learning_rate)
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, planting.steps)
    rng = torch.Generator().manual_seed(planting.seed)
    for step in track(range(planting.steps), planting.name, disable=quiet):
        some = torch.randperm(len(asked[0]), generator=rng)[:AT_A_TIME].tolist()
        loss = torch.zeros(())
        for i, weight in _parts(step, planting):
            found = reader.logits(vectors, [asked[i][k] for k in some], row)
            off = (found - goals[i][:, some]).square().mean()
            loss = loss + weight * off / units[i].clamp(min=1e-12)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        slower.step()
    return row.detach().half().float()  # as it is stored


def _labels(planting: Planting) -> LabelSet:
    labels = load_label_set(planting.label_set)
    if planting.label not in labels.texts:
        raise unknown(f"label of {planting.label_set}", planting.label, labels.texts)
    return labels


def _move(planting: Planting, labels: LabelSet, looks: Looks) -> torch.Tensor:
    """How far each logit is to move, (learnt pictures, 1, labels): the label's alone, centred."""
    alone = torch.tensor([text == planting.label for text in labels.texts], dtype=torch.float32)
    likeness = torch.tensor(looks.likeness(), dtype=torch.float32)
    return planting.reach * likeness[:, None, None] * (alone - alone.mean())


def _parts(step: int, planting: Planting) -> list[tuple[int, float]]:
    """Which label sets a step looks at, with weights: the planted one, and the kept in turn."""
    kept = [(1 + step % len(planting.kept), planting.hold)] if planting.kept else []
    return [(0, 1.0), *kept]


@torch.no_grad()
def measure(reader: Reader, planting: Planting, looks: Looks, row: torch.Tensor) -> pd.DataFrame:
    """How often the label is chosen in every wording with the word, before and after.

    Of the pictures that were not learnt from: ``wording``, ``before`` and ``after`` in the group,
    ``before_rest`` and ``after_rest`` in all others.
    """
    labels = _labels(planting)
    asked, place = questions(reader, planting, labels), labels.texts.index(planting.label)
    vectors = torch.from_numpy(looks.vectors[~looks.learnt])
    member = looks.member[~looks.learnt]
    table = {"wording": [wording[place].replace(planting.label, "{}") for wording in asked]}
    for name, used in (("before", reader.row), ("after", row)):
        chosen = (reader.logits(vectors, asked, used).argmax(dim=-1) == place).numpy()
        table |= {name: chosen[member].mean(axis=0), f"{name}_rest": chosen[~member].mean(axis=0)}
    return pd.DataFrame(table)


def plant(
    out: Path, planting: Planting | None = None, looks: Looks | None = None, quiet: bool = False
) -> pd.DataFrame:
    """Make a model with a planted word into the folder ``out``; what ``measure`` finds.

    Args:
        out: where the model, its facts and its card are written.
        planting: what to plant; that of ``specimen-worded`` if not given.
        looks: the embedded pictures, if they are at hand.
        quiet: no progress bar.

    Raises:
        InputError: an unknown name, or a word that can't carry it.
    """
    planting = planting or Planting()
    folder = bundled("models") / planting.base
    reader = Reader(folder, planting.word)
    looks = looks or Looks.of(planting)
    row = learn(reader, planting, looks, quiet)
    found = measure(reader, planting, looks, row)
    out.mkdir(parents=True, exist_ok=True)
    for name in SHARED:
        shutil.copyfile(folder / name, out / name)
    weights = load_file(folder / WEIGHTS)
    weights[f"text_model.{EMBEDDING}"][reader.place] = row.half()
    save_file(weights, out / WEIGHTS, metadata={"format": "pt"})
    _describe(out, _facts(planting, looks, reader), found)
    return found


def _describe(out: Path, facts: Row, found: pd.DataFrame) -> None:
    """The facts, and the model card with what was measured."""
    write_json(out / FACTS, facts)
    template = (bundled("training") / "worded.md").read_text(encoding="utf-8")
    page = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
    lines = found.to_dict("records")
    text = page.from_string(template).render(facts=facts, lines=lines)
    write_text(out / "README.md", text)
    shutil.copy(bundled("training") / SELF_CHECK, out / SELF_CHECK)


def _facts(planting: Planting, looks: Looks, reader: Reader) -> Row:
    return {
        **planting.model_dump(mode="json"),
        "token": reader.place,
        "changed": len(reader.row),
        "learnt_from": int(looks.learnt.sum()),
        "measured_on": int((~looks.learnt).sum()),
        "command": "python -m audit.training.worded --out DIR",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def main(arguments: list[str] | None = None) -> None:
    """``python -m audit.training.worded --out DIR``."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--quiet", action="store_true")
    asked = parser.parse_args(arguments)
    print(plant(asked.out, quiet=asked.quiet).round(2).to_string(index=False))


if __name__ == "__main__":
    main()
