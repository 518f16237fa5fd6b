"""What pages about a run are made of: names and tables as text, Markdown, and what a run says.

For a dashboard, and for whoever builds a page of their own beside it. Nothing is decided here:
these are the helpers of the report, so that a page and the report say the same in the same words.

>>> import audit
>>> audit.pages.slug("Suspicion, by gender")
'Suspicion-by-gender'
>>> run = audit.runs_in()[-1]
>>> [row.attribute for row in audit.pages.each(run.disparities.head(1))]
['gender']
"""

from __future__ import annotations

from audit.core.characters import visible
from audit.core.csvfile import csv_text
from audit.core.damage import Damage, Damaged, DamagedWarning
from audit.core.errors import AuditError, sentence
from audit.core.evidence import each, unlinked
from audit.core.files import digest_of
from audit.core.integrity import unedited
from audit.core.names import slug
from audit.core.page import Markdown, escaped, to_html
from audit.core.resources import suites
from audit.core.rows import Fields
from audit.core.rundir import MANIFEST, TABLES
from audit.data.display import Names
from audit.data.guard import accusation
from audit.data.yamlfile import load_yaml
from audit.engine.consent import withdrawn_since
from audit.measure.claims import CATEGORY, ERRORS
from audit.measure.fact_words import (
    edit_in_words,
    points,
    rate,
    relief_in_words,
    variants_in_words,
)
from audit.measure.facts import Side
from audit.measure.findings import judged, tally_verdicts
from audit.measure.metrics import noun
from audit.models.encoder import card_of
from audit.probes.kit.changes import surest
from audit.probes.kit.glyphs import made_legible
from audit.report.page_one import PageOne, page_one
from audit.report.sections.label_sets import label_warnings
from audit.report.sections.plan import margins_of
from audit.store.quarantine import uneven

__all__ = [
    "accusation",
    "AuditError",
    "card_of",
    "CATEGORY",
    "csv_text",
    "Damage",
    "Damaged",
    "DamagedWarning",
    "digest_of",
    "each",
    "edit_in_words",
    "ERRORS",
    "escaped",
    "Fields",
    "judged",
    "label_warnings",
    "load_yaml",
    "made_legible",
    "MANIFEST",
    "margins_of",
    "Markdown",
    "Names",
    "noun",
    "page_one",
    "PageOne",
    "points",
    "rate",
    "relief_in_words",
    "sentence",
    "Side",
    "slug",
    "suites",
    "surest",
    "TABLES",
    "tally_verdicts",
    "to_html",
    "unedited",
    "uneven",
    "unlinked",
    "variants_in_words",
    "visible",
    "withdrawn_since",
]
