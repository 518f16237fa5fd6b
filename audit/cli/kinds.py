"""What can be listed, and what a run can be written as, by the names of the command line."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What can be listed."""

    models = "models"
    datasets = "datasets"
    label_sets = "label-sets"
    templates = "templates"
    probes = "probes"
    metrics = "metrics"
    corruptions = "corruptions"
    suites = "suites"
    replications = "replications"


class Export(StrEnum):
    """What a run can be written as, beside Markdown and HTML."""

    docx = "docx"
    pdf = "pdf"
    brief = "brief"
    model_index = "model-index"
    eval_results = "eval-results"
    croissant = "croissant"
    ll144 = "ll144"
    csv = "csv"
    xlsx = "xlsx"
