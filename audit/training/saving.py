"""What a training leaves: an ordinary model folder, the facts of its making, a card, figures."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Final

import torch
import transformers

from audit.core.files import write_json, write_text
from audit.core.rows import Row
from audit.models.kinds.openai_clip import OpenAiClip, ResNetTower
from audit.models.towers import layouts
from audit.models.towers.grams import Grams
from audit.training.beginning import CONFIG, Begun, described
from audit.training.config import TrainConfig, config_names
from audit.training.learner import Learner, write_tensors

WEIGHTS, FACTS, CARD = "model.safetensors", "training.json", "README.md"
PLAIN: Final = "openai_clip"


def save_model(learner: Learner, begun: Begun) -> None:
    """The averaged weights, floats rounded to 16 bits, with the config.json of their layout.

    Two plain transformers become a CLIPModel of transformers; anything else stays in OpenAI's
    layout, which ``audit.models`` reads.
    """
    if isinstance(begun.model.text, Grams):  # of logits, which its cosines are a part of
        averaged = copy.deepcopy(begun.model.text)
        own = {n[5:]: t for n, t in learner.averages.items() if n.startswith("text.")}
        averaged.load_state_dict(own)
        learner.averages["logit_scale"] = averaged.logit_scale().detach()
    kept = {n: t.half() if t.is_floating_point() else t for n, t in learner.averages.items()}
    if is_plain(begun.config):
        write_json(begun.folder / CONFIG, as_transformers(begun))
        named = layouts.to_transformers(kept)
    else:
        write_json(begun.folder / CONFIG, described(begun.config))
        # of the other text towers OpenAI has none, and so no names
        known = begun.config.text_config.tower in ("transformer", "words")
        named = {n.removeprefix("text.") if known else n: t for n, t in kept.items()}
    write_tensors(named, begun.folder / WEIGHTS, {"format": "pt"})


def is_plain(said: OpenAiClip) -> bool:
    """Whether transformers' CLIPModel is the same model."""
    plain = said.model_type == PLAIN and said.text_config.tower == "transformer" and not said.head
    return plain and not isinstance(said.vision_config, ResNetTower)


def as_transformers(begun: Begun) -> Row:
    """The config.json of the same model as a CLIPModel."""
    tokens = begun.words.tokenizer
    ends = {
        "bos_token_id": tokens.bos_token_id, "eos_token_id": tokens.eos_token_id,
        "pad_token_id": tokens.pad_token_id,
    }  # fmt: skip
    said = begun.config.model_dump(mode="json", exclude={"head": True, "text_config": {"tower"}})
    config = transformers.CLIPConfig(
        text_config=said["text_config"] | ends | {"projection_dim": said["projection_dim"]},
        vision_config=said["vision_config"] | {"projection_dim": said["projection_dim"]},
        projection_dim=said["projection_dim"],
    )
    found: Row = config.to_diff_dict()
    # what it computes in; 16 bits are only how it is stored
    return found | {"architectures": ["CLIPModel"], "dtype": "float32"}


def facts(learner: Learner, begun: Begun, pictures: int, cast: bool) -> Row:
    """What a model card tells of the making, also left in ``training.json``."""
    config, device = learner.config, next(iter(learner.weights.values())).device
    threads = torch.get_num_threads()
    cores = "one CPU core" if threads == 1 else f"{threads} CPU cores"
    found: Row = {
        **config.model_dump(mode="json"),
        "feed": _told(config),
        "steps": config.steps,
        "seconds": round(learner.seconds),
        "training_pictures": pictures,
        "parameters": sum(weight.numel() for weight in learner.weights.values()),
        "device": "a CUDA GPU" if device.type == "cuda" else cores,
        "processes": learner.share.world,
        "precision": "bfloat16 matrix products" if cast else "float32",
        "command": command(config),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    write_json(begun.folder / FACTS, found)
    return found


def _told(config: TrainConfig) -> Row:
    """The feed without where it was on this disk."""
    return config.feed.model_dump(mode="json") | {"path": config.feed.path.name}


def command(config: TrainConfig) -> str:
    """How to train it again."""
    bundled = config.name in config_names()
    named = f"{config.name} --pictures DIR" if bundled else "CONFIG.yaml"
    return f"clip-audit train {named} --seed {config.seed} --out DIR"


def write_card(folder: Path, facts: Row, broken: int) -> None:
    """The model card: data, recipe, seed, cost, limits."""
    from jinja2 import Environment, StrictUndefined

    from audit.core.resources import bundled

    template = (bundled("training") / "trained.md").read_text(encoding="utf-8")
    page = Environment(undefined=StrictUndefined, keep_trailing_newline=True).from_string(template)
    write_text(folder / CARD, page.render(facts=facts, broken=broken))
