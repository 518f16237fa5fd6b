"""Scores of labels from similarities: what a model was trained to mean by them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import special

from audit.core.arrays import Floats

Kind = Literal["softmax", "sigmoid", "given", "none"]
KINDS: Final = get_args(Kind)

_MEANING: Final[dict[str, str]] = {
    "softmax": "the probability of a label among all labels offered: a softmax over the set at the "
    "model's own logit scale",
    "sigmoid": "the probability of each label by itself, whatever else is offered: a sigmoid of "
    "the similarity at the model's own logit scale and bias; the scores of a set need not add "
    "up to one",
    "given": "what the system itself gave as the score of a label",
    "none": "none: the system gave no scores, or none that are probabilities",
}


@dataclass(frozen=True)
class Scoring:
    """How similarities, (n, labels), become scores.

    ``softmax``: ``exp(scale s_j) / sum_k exp(scale s_k)``, as CLIP is trained. ``sigmoid``:
    ``1 / (1 + exp(-(scale s_j + bias)))``, as SigLIP is trained. ``given``: the similarities are
    the scores of a system that gives no embeddings. ``none``: there are no scores that are
    probabilities, only choices or an order, and every score is nan. Which label is chosen, the one
    of the highest similarity, is the same under all.

    Source: Radford et al. 2021, arXiv 2103.00020; Zhai et al. 2023, arXiv 2303.15343, equation 1.
    """

    scale: float = 1.0
    bias: float = 0.0
    kind: Kind = "softmax"

    def __post_init__(self) -> None:
        """Refuse what is no kind, which a later version may have written."""
        if self.kind not in KINDS:
            raise ValueError(f"no scores are called '{self.kind}': {', '.join(KINDS)}")

    def of_all(self, similarity: NDArray[np.floating]) -> Floats:
        """The score of every label, (n, labels)."""
        if self.kind == "softmax":
            return np.asarray(special.softmax(self.scale * similarity, axis=1))
        return self._alone(similarity)

    def of_chosen(self, similarity: Floats, top: Floats) -> Floats:
        """The score of one label a row, (n,), of similarity ``top``, the highest of (n, labels)."""
        if self.kind == "softmax":
            shares: Floats = 1.0 / np.exp(self.scale * (similarity - top[:, None])).sum(axis=1)
            return shares
        return np.asarray(self._alone(top), dtype=np.float64)

    def _alone(self, similarity: NDArray[np.floating]) -> Floats:
        """Scores that depend on no other label, one a similarity."""
        if self.kind == "sigmoid":
            return np.asarray(special.expit(self.scale * similarity + self.bias))
        return np.asarray(similarity if self.kind == "given" else np.full_like(similarity, np.nan))

    @property
    def known(self) -> bool:
        """Whether there are scores at all."""
        return self.kind != "none"

    @property
    def meaning(self) -> str:
        """What a score is, as a part of a sentence."""
        return _MEANING[self.kind]
