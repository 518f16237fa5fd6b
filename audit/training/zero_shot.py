"""Zero-shot choices of a model in training: which group of an attribute is this picture of?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from audit.core.errors import InputError
from audit.core.registry import unknown
from audit.data import dataset
from audit.data.images import Unreadable, decode
from audit.models.towers.captioner import Captioner
from audit.models.towers.dual import Clip
from audit.training.beginning import Begun
from audit.training.config import ZeroShot
from audit.training.feeds.batches import padded
from audit.training.objectives.base import units

AT_A_TIME = 64


@dataclass(frozen=True)
class Asked:
    """Prepared pictures, (n, 3, h, w), which group each is of, and prompts by group."""

    pixels: torch.Tensor
    group: NDArray[np.int64]
    prompts: torch.Tensor
    groups: tuple[str, ...]

    @classmethod
    def of(cls, asked: ZeroShot, begun: Begun, device: torch.device) -> Asked:
        """The pictures of a question, drawn by a fixed seed, and its prompts, group by group.

        Raises:
            InputError: no such data set or attribute, no picture with a group.
        """
        people = dataset.load(asked.dataset)
        if asked.attribute not in people.table:
            raise unknown("attribute", asked.attribute, people.table.columns, where="zero_shot")
        table = people.table.dropna(subset=[asked.attribute])
        table = table.sample(min(len(table), asked.pictures), random_state=0)
        groups = tuple(sorted(table[asked.attribute].astype(str).unique()))
        seen, found = [], []
        for path, group in zip(table["path"], table[asked.attribute].astype(str), strict=True):
            try:
                seen.append(begun.prepare(decode(people.root / path)))
            except Unreadable:
                continue
            found.append(groups.index(group))
        if len(groups) < 2 or not seen:
            told = f"zero_shot: {asked.dataset} has {len(groups)} groups of {asked.attribute}"
            raise InputError(told, "Ask for an attribute with two groups or more")
        texts = [template.format(group) for group in groups for template in asked.templates]
        pixels = begun.prepare.normalised(torch.from_numpy(np.stack(seen)))
        prompts = padded(begun.words.ids(texts))
        return cls(pixels.to(device), np.array(found), prompts.to(device), groups)

    @torch.no_grad()
    def right(self, model: Clip) -> float:
        """The share of pictures whose group is chosen, among all of them."""
        model.eval()
        if isinstance(model.text, Captioner):
            return self._likelier(model.visual, model.text)
        texts = units(model.get_text_features(self.prompts))
        classes = units(texts.reshape(len(self.groups), -1, texts.shape[1]).mean(dim=1))
        parts = self.pixels.chunk(max(1, len(self.pixels) // AT_A_TIME))
        seen = [units(model.get_image_features(some)) for some in parts]
        return self._share((torch.cat(seen) @ classes.T).argmax(dim=1))

    def _likelier(self, visual: torch.nn.Module, text: Captioner) -> float:
        """The same of a language model: the group whose prompts are the likeliest on average."""
        chosen = []
        for pixels in self.pixels:
            seen = visual(pixels[None]).expand(len(self.prompts), -1)
            likely = text.log_likelihood(seen, self.prompts)
            chosen.append(likely.reshape(len(self.groups), -1).mean(dim=1).argmax())
        return self._share(torch.stack(chosen))

    def _share(self, chosen: torch.Tensor) -> float:
        return round(float((chosen.cpu().numpy() == self.group).mean()), 4)
