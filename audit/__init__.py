"""clip-audit: assess disparities in CLIP models.

A suite asks a model questions about pictures of people. Each question is a probe; a probe writes
outcomes, one row a picture. Outcomes are counted into tallies per group; tallies give rates;
comparing rates gives disparities, with intervals and tests; findings say in words which disparities
matter and how sure we are; a report is a finished run, rendered.

What a notebook needs is here by name: ``audit.run(audit.load_suite("quick"))``. The rooms behind it
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
    templates,
)

if TYPE_CHECKING:
    from audit.core.errors import InputError
    from audit.core.rundir import Run
    from audit.core.verdicts import Verdict
    from audit.data.dataset import Dataset
    from audit.data.labels import LabelSet, PromptSet
    from audit.engine.suite import Suite
    from audit.measure.facts import Fact
    from audit.models.encoder import Encoder
    from audit.report import figures
    from audit.store.embeddings import Store

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
    "facts",
    "figures",
    "label_set",
    "listing",
    "load_dataset",
    "load_model",
    "load_suite",
    "open_run",
    "render",
    "run",
    "runs_in",
    "templates",
]
