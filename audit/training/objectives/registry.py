"""Every objective by its name in a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from audit.training.config import ObjectiveName
from audit.training.objectives.base import Objective
from audit.training.objectives.contrastive import CONTRASTIVE, CONVIRT
from audit.training.objectives.prediction import CAPTIONING, GRAMS
from audit.training.objectives.sigmoid import SIGMOID

OBJECTIVES: Final[Mapping[ObjectiveName, Objective]] = {
    "contrastive": CONTRASTIVE,
    "bag_of_words_contrastive": CONTRASTIVE,  # its text tower is another
    "convirt": CONVIRT,
    "sigmoid": SIGMOID,
    "bag_of_words": GRAMS,
    "ngrams": GRAMS,
    "captioning": CAPTIONING,
}
