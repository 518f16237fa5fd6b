"""Marks of page one: primary or exploratory, and of a specimen planted or leftover."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from audit.core.resources import bundled
from audit.core.rundir import Run
from audit.core.verdicts import Verdict
from audit.data.display import Names
from audit.data.people.planted import load_planted
from audit.data.yamlfile import load_yaml
from audit.measure.claims import CATEGORY
from audit.measure.fact_words import CHOICE
from audit.measure.facts import Fact

#: stands for the planted words in what is said of a specimen
_PLANTED: Final = "{planted}"


def note_of(run: Run) -> str:
    """What was planted in a bundled specimen."""
    names, on = Names.of(run.dataset["attributes"]), _planted(run)
    words = {a: [f"‘{w}’" for w in on if on[w] == a] for a in on.values()}
    told = "; ".join(f"{listed(said)} on {names.attribute(a)}" for a, said in words.items())
    return _specimen(run).replace(_PLANTED, told)


def _specimen(run: Run) -> str:
    known = load_yaml(bundled("training") / "specimens.yaml")
    return str(known.get(run.model["ref"], ""))


def _planted(run: Run) -> dict[str, str]:
    """The words that were planted in a bundled specimen, each with its attribute."""
    if _PLANTED not in _specimen(run):
        return {}
    slots = load_planted().slots.values()
    return {w: p.attribute for slot in slots for w, p in slot.words.items() if p.attribute}


def tags_of(run: Run, fact: Fact) -> list[str]:
    """Whether a fact was named before, and of a specimen whether it was planted."""
    planted, beyond = _planted(run), fact.verdict is Verdict.EXCEEDS
    labels = {fact.label} if fact.metric == CHOICE else set()
    if fact.metric == CATEGORY:
        sets = [s for q in run.questions if q["task"] == fact.task for s in q["label_sets"]]
        labels = {w["text"] for s in sets for w in s["labels"] if fact.label in w["tags"]}
    on = {planted[label] for label in labels if label in planted}
    was = "planted" if on & set(fact.attribute.split(" x ")) else "leftover" if beyond else ""
    return list(filter(None, [fact.role, was if planted else ""]))


def listed(words: Sequence[str]) -> str:
    """Words as a sentence lists them."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
