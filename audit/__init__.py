"""clip-audit: assess disparities in CLIP models.

A suite asks a model questions about pictures of people. Each question is a probe; a probe writes
outcomes, one row a picture. Outcomes are counted into tallies per group; tallies give rates;
comparing rates gives disparities, with intervals and tests; findings say in words which disparities
matter and how sure we are; a report is a finished run, rendered.

What a notebook needs is here by name: ``audit.run(audit.load_suite("quick"))``. Names in lower case
that are no functions are modules of one thing each, such as ``audit.figures``. The rooms behind
are for those who build on it; ``docs/architecture.md`` shows them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from audit.front import (
    __getattr__ as __getattr__,
)
from audit.front import (
    as_model,
    build_suite,
    compare,
    facts,
    label_set,
    listing,
    load_dataset,
    load_model,
    load_suite,
    open_run,
    render,
    run,
    runs_in,
    seal,
    templates,
)

if TYPE_CHECKING:
    from audit.core import digits, tables
    from audit.core.errors import InputError
    from audit.core.rundir import Run
    from audit.core.verdicts import Verdict
    from audit.data.dataset import Dataset
    from audit.data.labels import LabelSet, PromptSet
    from audit.engine.suite import Suite
    from audit.explore import compare as comparison
    from audit.explore import gallery, lab, replication
    from audit.measure.facts import Fact
    from audit.models.encoder import Encoder
    from audit.report import exports, figures, narrative, pages, topics
    from audit.report import render as rendering
    from audit.stats import intervals
    from audit.store.embeddings import Store
    from audit.training import learning

    __version__: str

__all__ = [
    "Dataset",
    "Encoder",
    "Fact",
    "InputError",
    "LabelSet",
    "PromptSet",
    "Run",
    "Store",
    "Suite",
    "Verdict",
    "__version__",
    "as_model",
    "build_suite",
    "compare",
    "comparison",
    "digits",
    "exports",
    "facts",
    "figures",
    "gallery",
    "intervals",
    "lab",
    "label_set",
    "learning",
    "listing",
    "load_dataset",
    "load_model",
    "load_suite",
    "narrative",
    "open_run",
    "pages",
    "render",
    "rendering",
    "replication",
    "run",
    "runs_in",
    "seal",
    "tables",
    "templates",
    "topics",
]
