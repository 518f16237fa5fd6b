"""The model, its optimizer and the running average of its weights, at some step; one step on.

A batch may be learnt in pieces that fit into memory. A contrastive loss sees the whole batch at
once, so its gradient is cached: all pieces are embedded without one, the loss gives the gradient of
the embeddings, and each piece is embedded again and passes its part back (Gao et al. 2021, arXiv
2101.06983). The gradients are those of the undivided batch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from audit.core.errors import InputError
from audit.core.files import written_aside
from audit.models.towers.dual import Clip
from audit.training.config import TrainConfig, learning_rate
from audit.training.feeds.batches import ALONE, Batch, Share, seed_of
from audit.training.objectives.base import Objective, copies
from audit.training.processes import average, gathered

MAX_LOGIT_SCALE = 100.0
LARGEST_GRADIENT = 1.0
TEXT_PIECES = 4


class Learner:
    """A model that learns; ``step`` are the steps done, ``seconds`` what they took."""

    def __init__(
        self, model: Clip, config: TrainConfig, objective: Objective, share: Share = ALONE
    ) -> None:
        self.model, self.config, self.objective, self.share = model, config, objective, share
        self.step, self.seconds = 0, 0.0
        self.weights = dict(model.named_parameters())
        #: what is saved in the end: weights, and of a ResNet what its normalisations have seen
        self.state = {n: t for n, t in model.state_dict(keep_vars=True).items()}
        self.averages = {name: t.detach().clone() for name, t in self.state.items()}
        self._floats = [name for name, t in self.state.items() if t.is_floating_point()]
        learnt = [w for w in self.weights.values() if w.requires_grad]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [w for w in learnt if w.ndim >= 2], "weight_decay": config.weight_decay},
                {"params": [w for w in learnt if w.ndim < 2], "weight_decay": 0.0},
            ],
            lr=config.learning_rate,
            betas=(0.9, 0.98),
            fused=True,
        )

    # --- one step

    def learn(self, batch: Batch, pixels: torch.Tensor, cast: bool) -> torch.Tensor:
        """One step on a batch, whose pixels are (b, 3, h, w) as the model reads them; the loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.config)
        loss = self.gradients(pixels, batch.tokens.to(pixels.device), cast)
        learnt = [w for w in self.weights.values() if w.grad is not None]
        torch.nn.utils.clip_grad_norm_(learnt, LARGEST_GRADIENT)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._settle()
        return loss

    def gradients(self, pixels: torch.Tensor, tokens: torch.Tensor, cast: bool) -> torch.Tensor:
        """Add the gradients of a batch to those of the weights; gives the loss."""
        self.model.train()
        if self.config.locked is not None:
            (self.model.visual if self.config.locked == "image" else self.model.text).eval()
        pieces = list(_pieces(pixels, tokens, self.config.pieces))
        if self.objective.predicts:
            loss = self._each_by_itself(pieces, cast)
        elif len(pieces) == 1:
            loss = self._together(*self._embedded(0, *pieces[0], cast), len(pixels))
            loss.backward()  # type: ignore[no-untyped-call]
        else:
            loss = self._cached(pieces, len(pixels), cast)
        found = loss.detach()
        average([w.grad for w in self.weights.values() if w.grad is not None], self.share)
        if self.objective.predicts:
            average([found], self.share)
        return found

    def _embedded(
        self, piece: int, pixels: torch.Tensor, tokens: torch.Tensor, cast: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Features of pictures and texts; patches that are left out are the same each time."""
        images = self._seen(piece, pixels, cast)
        with torch.autocast(pixels.device.type, torch.bfloat16, enabled=cast):
            texts = embed_texts(self.model, tokens)
        return images, texts

    def _seen(self, piece: int, pixels: torch.Tensor, cast: bool) -> torch.Tensor:
        if self.config.patch_dropout:
            parts = self.config.seed, 4, self.step, self.share.rank, piece
            torch.manual_seed(seed_of(*parts))
        with torch.autocast(pixels.device.type, torch.bfloat16, enabled=cast):
            if self.objective.predicts:  # heads are for what is compared
                features: torch.Tensor = self.model.visual(pixels)
                return features
            return self.model.get_image_features(pixels)

    def _together(self, images: torch.Tensor, texts: torch.Tensor, count: int) -> torch.Tensor:
        """The loss of the whole batch, of all processes; ``count`` pictures are this one's."""
        of_captions = copies(texts, count)
        all_texts = gathered(of_captions.float(), self.share, dim=1).flatten(0, 1)
        return self.objective.loss(self.model, gathered(images.float(), self.share), all_texts)

    def _cached(
        self, pieces: list[tuple[torch.Tensor, torch.Tensor]], count: int, cast: bool
    ) -> torch.Tensor:
        with torch.no_grad():
            seen = [self._embedded(k, *piece, cast) for k, piece in enumerate(pieces)]
        images = torch.cat([image for image, _ in seen]).float().requires_grad_()
        by_copy = [copies(text, len(image)) for image, text in seen]
        texts = torch.cat(by_copy, dim=1).float().requires_grad_()
        loss = self._together(images, texts.flatten(0, 1), count)
        loss.backward()  # type: ignore[no-untyped-call]
        assert images.grad is not None
        assert texts.grad is not None
        parts = len(pieces)
        of_pieces = zip(images.grad.chunk(parts), texts.grad.chunk(parts, dim=1), strict=True)
        for k, (piece, (to_images, to_texts)) in enumerate(zip(pieces, of_pieces, strict=True)):
            made = self._embedded(k, *piece, cast)
            kept = [
                (out, gradient.to(out.dtype))
                for out, gradient in zip(made, (to_images, to_texts.flatten(0, 1)), strict=True)
                if out.requires_grad
            ]
            torch.autograd.backward([out for out, _ in kept], [gradient for _, gradient in kept])
        return loss

    def _each_by_itself(
        self, pieces: list[tuple[torch.Tensor, torch.Tensor]], cast: bool
    ) -> torch.Tensor:
        total = torch.zeros((), device=pieces[0][0].device)
        for k, (pixels, tokens) in enumerate(pieces):
            images = self._seen(k, pixels, cast)
            with torch.autocast(pixels.device.type, torch.bfloat16, enabled=cast):
                loss = self.objective.loss(self.model, images, tokens) / len(pieces)
            loss.backward()  # type: ignore[no-untyped-call]
            total = total + loss.detach()
        return total

    @torch.no_grad()
    def _settle(self) -> None:
        self.model.logit_scale.clamp_(max=math.log(MAX_LOGIT_SCALE))
        self.step += 1
        # early on the average follows the weights closely: the first ones are noise
        decay = min(self.config.average, (1 + self.step) / (10 + self.step))
        averages, now = ([k[name] for name in self._floats] for k in (self.averages, self.state))
        torch._foreach_lerp_(averages, now, 1 - decay)

    # --- kept

    def save(self, path: Path, digest: str) -> None:
        """Write everything needed to go on, in one file that appears whole or not at all."""
        tensors = {f"state/{name}": t.detach() for name, t in self.state.items()}
        tensors |= {f"average/{name}": t for name, t in self.averages.items()}
        for name, weight in self.weights.items():
            for key, value in self.optimizer.state[weight].items():
                tensors[f"{key}/{name}"] = value
        about = {"step": self.step, "seconds": self.seconds, "digest": digest}
        write_tensors(tensors, path, {"about": json.dumps(about)})

    def restore(self, path: Path, digest: str) -> None:
        """Go on from a checkpoint of the same configuration and pairs.

        Raises:
            InputError: it is of another one.
        """
        with safe_open(path, framework="pt") as stored:
            about = json.loads(stored.metadata()["about"])
            if about["digest"] != digest:
                raise InputError(
                    f"{path}: this checkpoint is of another configuration, seed or set of "
                    "pictures; delete it, choose another --out, or pass --no-resume."
                )
            with torch.no_grad():
                for name, tensor in self.state.items():
                    tensor.copy_(stored.get_tensor(f"state/{name}"))
                    self.averages[name].copy_(stored.get_tensor(f"average/{name}"))
                for name, weight in self.weights.items():
                    if f"exp_avg/{name}" in stored.keys():  # noqa: SIM118  (it is no mapping)
                        self.optimizer.state[weight] = {
                            key: stored.get_tensor(f"{key}/{name}").to(weight.device)
                            for key in ("step", "exp_avg", "exp_avg_sq")
                        }
        self.step, self.seconds = about["step"], about["seconds"]


def _pieces(
    pixels: torch.Tensor, tokens: torch.Tensor, pieces: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Parts of a batch, each with all captions of its pictures."""
    by_copy = copies(tokens, len(pixels))
    for some, ids in zip(pixels.chunk(pieces), by_copy.chunk(pieces, dim=1), strict=True):
        yield some, ids.flatten(0, 1)


def embed_texts(model: Clip, tokens: torch.Tensor, pieces: int = TEXT_PIECES) -> torch.Tensor:
    """Embeddings of texts, (n, d), in pieces of like length: padding costs as much as words."""
    if tokens.is_cuda:  # there one large batch is faster
        return model.get_text_features(tokens)
    lengths = tokens.argmax(dim=1) + 1
    order = lengths.argsort(stable=True)
    parts = []
    for piece in order.chunk(pieces):
        ids = tokens[piece, : int(lengths[piece[-1]])]
        parts.append(model.get_text_features(ids))
    return torch.cat(parts)[order.argsort()]


def write_tensors(tensors: dict[str, torch.Tensor], path: Path, about: dict[str, str]) -> None:
    """Write tensors as a file that appears whole or not at all.

    Raises:
        InputError: it can't be written.
    """
    here = {name: tensor.contiguous().cpu() for name, tensor in tensors.items()}
    try:
        with written_aside(path) as aside:
            save_file(here, aside, metadata=about)
    except (SafetensorError, OSError) as error:
        advice = "Free some space or name another folder with --out"
        raise InputError(f"{path} can't be written ({error})", advice) from error
