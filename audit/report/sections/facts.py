"""All facts of a run in one table, with the findings that say them."""

from __future__ import annotations

from typing import Final

from audit.core.evidence import linked, place_of_key
from audit.core.page import Markdown, code
from audit.core.rundir import Run
from audit.measure.fact_rows import facts
from audit.measure.fact_words import points, relief_in_words, variants_in_words
from audit.measure.facts import Fact
from audit.probes.kit.cells import table, tag


def facts_table(run: Run) -> Markdown:
    """Every fact: its verdict, what it says, how large, in which prompts, what relieves it."""
    places = {f["id"]: [place_of_key(run, key) for key in f["evidence"]] for f in run.findings}

    def evidence(fact: Fact) -> Markdown:
        told = [
            linked(code(name, in_table=True), place) if place else code(name, in_table=True)
            for name in fact.evidence
            for place in places[name][:1]
        ]
        return Markdown(", ".join(told))

    return table(
        {
            "Verdict": tag(fact.verdict.value),
            "Fact": " ".join([fact.statement, *_more(fact)]),
            "Gap": points(fact) or "–",
            "Findings that say it": evidence(fact),
        }
        for fact in facts(run)
    )


def _more(fact: Fact) -> list[str]:
    """In which prompts it holds, and what relieves it."""
    told = [variants_in_words(fact.variants)] if fact.variants else []
    return told + ([relief_in_words(fact.relief)] if fact.relief else [])


#: what a template may call; the run is filled in
OFFERS: Final = (facts, facts_table)
