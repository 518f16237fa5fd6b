"""The facts of a finished run, from its findings and tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np
import pandas as pd

from audit.core.evidence import each
from audit.core.rows import Fields, Record, Row
from audit.core.rundir import Run
from audit.core.tables import (
    ADD,
    CONDITION,
    DIFFERENCE,
    DROP,
    ENSEMBLE,
    EVERYONE,
    EXCEEDS,
    OK,
    RATE,
    REST,
    WITHIN,
    WORST,
    records,
)
from audit.core.verdicts import Verdict
from audit.data.display import Names
from audit.measure.claims import CATEGORY, ERRORS
from audit.measure.fact_words import Told
from audit.measure.facts import (
    Asked,
    Fact,
    Relief,
    Side,
    Threshold,
    Variants,
    higher,
    merged,
    ranked,
)
from audit.measure.findings import size_in_margins
from audit.measure.metrics import DEFAULT_FAMILY, METRICS
from audit.measure.thresholds import FAMILY_KEPT, KEPT, MEAN_KEPT

_QUESTION: Final = ("task", "metric", "label", "attribute")
_KEPT: Final = "_facts"
#: beyond so many times the subjects of now nothing is promised
_MOST: Final = 100


def facts(run: Run) -> list[Fact]:
    """What a run found, each thing once, in the order of ``ranked``.

    Of a public copy what its tables tell: a fact about a withheld group has no rates and no size.
    """
    # kept with the tables that the run keeps: all of a report asks for them
    if _KEPT not in run.__dict__:
        tables = _Tables(run)
        groups = merged(run.findings, tables.asked)
        found = ranked(_fact(together, tables) for together in groups)
        run.__dict__[_KEPT] = _told_apart(found)
    return list(run.__dict__[_KEPT])


def _fact(together: Sequence[Fields], tables: _Tables) -> Fact:
    lead = together[0]
    sides = tables.sides(lead)
    told = Told(tables.names, lead, tables.about.get(lead["task"], ""))
    verdict = Verdict(lead["verdict"])
    size = size_in_margins(lead)[0]
    exceeds = verdict is Verdict.EXCEEDS
    still = verdict is Verdict.INCONCLUSIVE
    fact = Fact(
        id=lead["id"],
        statement=told.statement(sides),
        title=told.title,
        asked=told.asked,
        verdict=verdict,
        severity=lead["severity"],
        harm=lead["harm"],
        role=next((f["role"] for f in together if f.get("role")), ""),
        **{name: lead[name] for name in _QUESTION},
        by=told.by,
        evidence=tuple(f["id"] for f in together),
        sides=sides,
        gap=None if lead["estimate"] is None else _size_of(lead["estimate"], lead),
        low=lead["low"],
        high=lead["high"],
        margin=lead["margin"],
        unit=lead.get("unit", ""),
        size=size if math.isfinite(size) and size > 0 else 0.0,
        compared=tables.compared(lead) if len(sides) == 2 else 0,
        people=(sides[0].events if verdict is Verdict.SEEN else sides[0].subjects) if sides else 0,
        not_compared=tables.left_out(lead),
        caveats=tuple(lead["caveats"]),
    )
    return replace(
        fact,
        variants=tables.variants(together) if (exceeds or still) and sides else None,
        relief=tables.relief(lead, sides) if exceeds and sides else None,
        threshold=tables.threshold(lead, sides) if exceeds and sides else None,
        needed=_needed(fact) if still and sides else None,
    )


def _told_apart(found: Sequence[Fact]) -> list[Fact]:
    """Facts with the task in their names where two tasks ask the same by the same attribute."""
    tasks: dict[tuple[str, str], set[str]] = {}
    for fact in found:
        tasks.setdefault((fact.asked, fact.by), set()).add(fact.task)
    return [
        replace(fact, asked=f"{fact.asked}{_in(fact)}", title=f"{fact.title}{_in(fact)}")
        if len(tasks[fact.asked, fact.by]) > 1
        else fact
        for fact in found
    ]


def _in(fact: Fact) -> str:
    return f" ({fact.task.replace('-', ' ').replace('_', ' ')})"


def _size_of(estimate: float, lead: Fields) -> float:
    """A gap without its sign, which its sides tell; a value in a unit of its own with it."""
    return float(estimate) if lead.get("unit") else abs(float(estimate))


def _needed(fact: Fact) -> int | None:
    """Subjects a group that would bring the bound nearest to the margin past it, all else alike.

    Bounds narrow with the root of the number of subjects: an extrapolation, and no promise.
    """
    if fact.gap is None or fact.low is None or fact.high is None or fact.margin is None:
        return None
    away = abs(fact.gap - fact.margin)
    wide = fact.gap - fact.low if fact.gap > fact.margin else fact.high - fact.gap
    factor = (wide / away) ** 2 if away > 0 else math.inf
    if not 1 <= factor <= _MOST:
        return None
    subjects = factor * min(side.subjects for side in fact.sides)
    digits = max(0, math.floor(math.log10(subjects)) - 1)
    return int(math.ceil(subjects / 10**digits) * 10**digits)


@dataclass(frozen=True)
class _Tables:
    """What facts read of a run, each table looked through once."""

    run: Run

    @cached_property
    def names(self) -> Names:
        return Names.of(self.run.dataset["attributes"])

    @cached_property
    def about(self) -> Mapping[str, str]:
        """By task, the attribute that its labels name, in words."""
        sets = {q["task"]: q["label_sets"] for q in self.run.questions}
        named = {task: [s.get("attribute") for s in of] for task, of in sets.items()}
        return {t: self.names.attribute(a[0]) for t, a in named.items() if a and a[0]}

    @cached_property
    def asked(self) -> Asked:
        labels: dict[str, list[str]] = {}
        families: dict[tuple[str, str], frozenset[str]] = {}
        for question in self.run.questions:
            task = question["task"]
            for label in (label for s in question["label_sets"] for label in s["labels"]):
                labels.setdefault(task, []).append(label["text"])
                for tag in label["tags"]:
                    of_it = families.get((task, tag), frozenset())
                    families[task, tag] = of_it | {label["text"]}
        return Asked(labels, families, self._apart())

    def _apart(self) -> dict[tuple[str, str, str], frozenset[frozenset[str]]]:
        d = self.run.disparities
        pairs = d[(d["comparison"] == DIFFERENCE) & (d["condition"] == ENSEMBLE)]
        pairs = pairs[(pairs["metric"] == "selection") & (pairs["other"] != REST)]
        none = {k: frozenset[frozenset[str]]() for k in _keys(pairs, "task", "label", "attribute")}
        for row in each(pairs[pairs["verdict"] == EXCEEDS]):
            none[row.task, row.label, row.attribute] |= {frozenset((row.group, row.other))}
        return none

    @cached_property
    def rows(self) -> Mapping[str, Row]:
        """The rows of disparities that findings rest on, by key."""
        wanted = {key for finding in self.run.findings for key in finding["evidence"]}
        d = self.run.disparities
        return {row["key"]: row for row in records(d[d["key"].isin(wanted)])}

    @cached_property
    def rates(self) -> Mapping[tuple[str, ...], Record]:
        r = self.run.rates
        rows = each(r[(r["condition"] == ENSEMBLE) & (r["status"] == OK)])
        return {(r.task, r.metric, r.label, r.attribute, r.group): r for r in rows}

    def sides(self, lead: Fields) -> tuple[Side, ...]:
        """The groups of a finding with their rates, the higher first; none where not told."""
        if lead["verdict"] == Verdict.SEEN:
            groups: Sequence[str] = (EVERYONE,)
        elif len(lead["groups"]) == 2 and lead["metric"] in METRICS and not lead.get("unit"):
            groups = lead["groups"]
        else:
            return ()
        found = [self.rates.get((*(lead[k] for k in _QUESTION), group)) for group in groups]
        if any(row is None or np.isnan(row.value) for row in found):
            return ()
        told = [self._side(row) for row in found if row is not None]
        told = sorted(told, key=lambda side: -side.value)
        if len(told) == 2 and not told[1].events and self.compared(lead) > 2:
            told[1] = self._others(lead, told)
        return tuple(told)

    def _others(self, lead: Fields, sides: Sequence[Side]) -> Side:
        """All groups to none of whom it happened, where the lowest is picked from among several."""
        asked = tuple(lead[name] for name in _QUESTION)
        rows = self._of_question.get(asked, [])
        none = [row for row in rows if not row.events and not np.isnan(row.value)]
        if len(none) < 2:
            return sides[1]
        n, subjects = (sum(getattr(row, name) for row in none) for name in ("n", "subjects"))
        everyone = self.rates.get((*asked[:3], EVERYONE, EVERYONE))
        group, where = sides[1].group, f"in {len(none)} other groups"
        who = f"people {where}"
        if everyone is not None and n + sides[0].n == everyone.n:
            group, who, where = REST, *2 * (self.names.people(lead["attribute"], REST),)
        # the bound of one group is wider than that of all of them together
        high = min(row.high for row in none)
        return Side(group, who, where, 0, n, subjects, 0.0, 0.0, high)

    def _side(self, row: Record) -> Side:
        who = (row.attribute, row.group)
        people, short = (
            ("people", "everyone")
            if row.attribute == EVERYONE
            else (self.names.people(*who), self.names.short(*who))
        )
        return Side(
            row.group, people, short, row.events, row.n, row.subjects, row.value, row.low, row.high
        )

    @cached_property
    def _of_question(self) -> Mapping[tuple[str, ...], list[Record]]:
        """The rates of the groups of a question."""
        found: dict[tuple[str, ...], list[Record]] = {}
        for key, row in self.rates.items():
            if key[4] not in (EVERYONE, REST):
                found.setdefault(key[:4], []).append(row)
        return found

    def compared(self, lead: Fields) -> int:
        """Of how many groups those of a finding are the furthest apart; 0 of a declared pair."""
        rows = [self.rows[key] for key in lead["evidence"] if key in self.rows]
        widest = any(row["comparison"] == WORST for row in rows)
        return len(self._of_question.get(tuple(lead[k] for k in _QUESTION), ())) if widest else 0

    def left_out(self, lead: Fields) -> str:
        """Groups that were too small to be compared, in words."""
        rows = [self.rows[key] for key in lead["evidence"] if key in self.rows]
        named = [group for row in rows for group in str(row["left_out"] or "").split(", ") if group]
        return ", ".join(self.names.short(lead["attribute"], group) for group in named)

    # ---- prompt variants -------------------------------------------------------------------------

    @cached_property
    def _examples(self) -> Mapping[str, str]:
        """By task, its first prompt, with '…' where the label goes."""
        sets = {q["task"]: q.get("prompt_sets") or () for q in self.run.questions}
        first = {task: [t for s in of for t in s["templates"]] for task, of in sets.items()}
        return {t: of[0].replace("{}", "…").rstrip(". ") for t, of in first.items() if of}

    @cached_property
    def _curves(self) -> Mapping[tuple[str, ...], list[Record]]:
        return _by_question(self.run.specifications)

    @cached_property
    def _averages(self) -> Mapping[tuple[str, ...], list[Record]]:
        return _by_question(self.run.sensitivity)

    @cached_property
    def _single(self) -> Mapping[tuple[str, ...], dict[str, float]]:
        """By question and group, its rate in each prompt alone."""
        r = self.run.rates
        found: dict[tuple[str, ...], dict[str, float]] = {}
        for row in each(r[(r["condition"] != ENSEMBLE) & (r["status"] == OK)]):
            key = (row.task, row.metric, row.label, row.attribute, row.group)
            found.setdefault(key, {})[row.condition] = row.value
        return found

    def variants(self, together: Sequence[Fields]) -> Variants | None:
        """Of the curve of the same two groups, of any finding of the fact; else of prompts alone.

        Of what is inconclusive only where it surely exceeds its margin over all variants.
        """
        lead = together[0]
        asked = lead["verdict"] != EXCEEDS
        for finding in together:
            curve = self._curves.get(tuple(finding[k] for k in _QUESTION))
            same = curve and {curve[0].group, curve[0].other} == set(finding["groups"])
            if curve and same and set(finding["groups"]) == set(lead["groups"]):
                found = self._on_curve(finding, lead, curve)
                return None if asked and not found.mean else found
        return None if asked else self._in_prompts(lead)

    def _on_curve(self, finding: Fields, lead: Fields, curve: Sequence[Record]) -> Variants:
        sign = 1 if curve[0].group == higher(lead) else -1
        gaps = [sign * row.value for row in curve]
        beyond = [gap for gap, row in zip(gaps, curve, strict=True) if row.verdict == EXCEEDS]
        whole = next(iter(self._averages.get(tuple(finding[k] for k in _QUESTION), ())), None)
        mean, p = None, None
        if whole is not None:
            p = None if np.isnan(whole.p_median) else float(whole.p_median)
            ends = sorted((sign * whole.low, sign * whole.high))
            missed = lead["verdict"] != EXCEEDS and ends[0] > (lead["margin"] or 0.0)
            mean = (sign * whole.mean, ends[0], ends[1]) if missed else None
        return Variants(
            *(sum(gap > 0 for gap in beyond), len(curve), min(gaps), True),
            example=self._examples.get(lead["task"], ""),
            reverses=sum(gap < 0 for gap in gaps),
            against=sum(gap < 0 for gap in beyond),
            counted="" if finding["label"] == lead["label"] else f"‘{finding['label']}’",
            p=p,
            mean=mean,
        )

    def _in_prompts(self, lead: Fields) -> Variants | None:
        one = higher(lead)
        rates = [
            self._single.get((*(lead[k] for k in _QUESTION), group), {})
            for group in sorted(lead["groups"], key=lambda group: group != one)
        ]
        gaps = [value - rates[1][c] for c, value in rates[0].items() if c in rates[1]]
        if not gaps:
            return None
        return Variants(
            *(sum(gap > (lead["margin"] or 0.0) for gap in gaps), len(gaps), min(gaps), False),
            example=self._examples.get(lead["task"], ""),
            reverses=sum(gap < 0 for gap in gaps),
        )

    # ---- what carries it -------------------------------------------------------------------------

    @cached_property
    def _edits(self) -> Mapping[tuple[str, ...], list[Record]]:
        e = self.run.effects
        lower = (e["comparison"] == RATE) & (e["edit"] != CONDITION) & (e["status"] == OK)
        lower &= (e["verdict"] == EXCEEDS) & (e["value"] < 0)
        found: dict[tuple[str, ...], list[Record]] = {}
        for row in each(e[lower]):
            key = (row.task, row.metric, row.label, row.attribute, row.group)
            found.setdefault(key, []).append(row)
        return found

    @cached_property
    def _edited_gaps(self) -> Mapping[tuple[str, ...], Record]:
        """Largest gaps before and after an edit, by what was edited, question and attribute."""
        e = self.run.effects
        rows = e[(e["comparison"] == WORST) & (e["edit"] != CONDITION) & (e["status"] == OK)]
        return {_edit(row): row for row in each(rows)}

    def relief(self, lead: Fields, sides: Sequence[Side]) -> Relief | None:
        """What lowers the higher rate; of a label, the rate of its category.

        An edit that narrows the largest gap goes first: another may leave it to other groups.
        """
        options = [self._relief(*found, sides[0]) for found in self._relieving(lead, sides)]
        best = sorted(options, key=lambda r: (not r.narrows, r.after, r.edit != DROP))
        return best[0] if best else None

    def _relief(self, row: Record, counted: str, side: Side) -> Relief:
        gap = self._edited_gaps.get(_edit(row))
        return Relief(
            *(row.edit, row.dropped, row.added, counted, row.before, row.after),
            people=side.people,
            by=self.names.attribute(row.attribute),
            gaps=(gap.before, gap.after) if gap else None,
            narrows=bool(gap and gap.high_simultaneous < 0),
        )

    @cached_property
    def _kept(self) -> Mapping[tuple[str, ...], list[Record]]:
        """Gaps of what is kept at or above thresholds that are surely within their margin."""
        t = self.run.thresholds
        within = t[(t["comparison"] == WORST) & (t["verdict"] == WITHIN) & (t["status"] == OK)]
        return _by_question(within)

    @cached_property
    def _rates_kept(self) -> Mapping[tuple[object, ...], float]:
        """How often what is kept, and how many labels are, by threshold, question and group."""
        t = self.run.thresholds
        known = t[(t["comparison"] == RATE) & (t["status"] == OK)]
        keys = zip(
            *(known[name].to_list() for name in ("threshold", *_QUESTION, "group")), strict=True
        )
        return dict(zip(keys, known["value"].to_list(), strict=True))

    def threshold(self, lead: Fields, sides: Sequence[Side]) -> Threshold | None:
        """The lowest threshold that relieves a label or category: kept less often, and alike."""
        metric = {"selection": KEPT, CATEGORY: FAMILY_KEPT}.get(lead["metric"])
        if metric is None:
            return None
        asked = (lead["task"], metric, lead["label"], lead["attribute"])
        for row in sorted(self._kept.get(asked, ()), key=lambda row: row.threshold):
            after = self._rates_kept.get((row.threshold, *asked, sides[0].group), math.inf)
            if after <= sides[0].value - (lead["margin"] or 0.0):
                everyone = (lead["task"], MEAN_KEPT, "any label", EVERYONE, EVERYONE)
                labels = self._rates_kept.get((row.threshold, *everyone))
                return Threshold(row.threshold, f"‘{row.label}’", sides[0].value, after, labels)
        return None

    def _relieving(self, lead: Fields, sides: Sequence[Side]) -> Iterator[tuple[Record, str]]:
        metric, label = lead["metric"], lead["label"]
        rows = [self.rows[key] for key in lead["evidence"] if key in self.rows]
        family = rows[0]["margin_family"] if rows else DEFAULT_FAMILY
        if metric == "selection" and family != DEFAULT_FAMILY:
            metric, label = CATEGORY, family
        counted = "the share of errors" if metric == ERRORS else f"‘{label}’"
        asked = (lead["task"], metric, label, lead["attribute"], sides[0].group)
        for row in self._edits.get(asked, ()):
            # that a dropped label is chosen no more needs no telling
            if metric != "selection" or row.edit == ADD:
                yield row, counted


def _edit(row: Record) -> tuple[str, ...]:
    asked = (row.task, row.metric, row.label, row.attribute)
    return (*asked, row.edit, row.dropped, row.added)


def _by_question(rows: pd.DataFrame) -> dict[tuple[str, ...], list[Record]]:
    found: dict[tuple[str, ...], list[Record]] = {}
    for row in each(rows):
        found.setdefault((row.task, row.metric, row.label, row.attribute), []).append(row)
    return found


def _keys(rows: pd.DataFrame, *columns: str) -> list[tuple[str, str, str]]:
    named = rows[list(columns)].drop_duplicates()
    return [(a, b, c) for a, b, c in named.itertuples(index=False, name=None)]


__all__ = ["facts"]
