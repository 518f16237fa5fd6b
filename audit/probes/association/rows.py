"""Comparisons of sets as rows of MEASURES, and the sentences of those worth a finding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from audit.core.rows import Row
from audit.core.tables import ENSEMBLE, EXCEEDS, NOT_JUDGED, OK, REST
from audit.core.verdicts import Verdict, verdicts
from audit.data.labels import Label
from audit.measure.metrics import DEFAULT_FAMILY, margin_family
from audit.probes.association.names import AT_ODDS, DIFFERENCE, EFFECT_SIZE, TARGETS
from audit.probes.association.stimuli import in_words
from audit.probes.association.tested import Pair, Scored, Tested, tested
from audit.probes.kit.base import Design
from audit.probes.kit.bounds import ends, simultaneous, size_of
from audit.stats.association import Associations

if TYPE_CHECKING:
    from audit.probes.association.probe import Association


@dataclass(frozen=True)
class Compared:
    """The scores of one probe's stimuli, to be compared set by set."""

    probe: Association
    scored: Scored
    design: Design

    def rows(self, attribute: str, pairs: Sequence[Pair]) -> list[Row]:
        """Rows of all comparisons of one attribute, its leading ones with a statement."""
        if not pairs:
            return []
        found, size = tested(self.probe, pairs, self.scored, self.design)
        every = {
            "attribute": attribute,
            "family": f"{self.probe.task}, {EFFECT_SIZE}, by {attribute}",
            "family_size": size,
        }
        rows = [
            every | row
            for test in found
            for i, question in enumerate(self.scored.questions)
            for row in self._rows(test, i, *question, size)
        ]
        for row, among in _leading(rows):
            row["statement"] = self._statement(row, among)
        return rows

    @property
    def _level(self) -> float:
        return self.design.confidence.level

    def _rows(self, test: Tested, i: int, condition: str, label: str, size: int) -> Iterator[Row]:
        """The i-th question put to one pair: d, and the difference of mean s behind it."""
        found, headline, usable = test.found, condition == ENSEMBLE, bool(test.usable[i])
        status, reason = test.status(i)
        row: Row = {
            "condition": condition,
            "label": label,
            "group": test.pair.group,
            "other": test.pair.other,
            "n": int(found.n[0]),
            "subjects": int(found.subjects[0]),
            "status": status,
            "reason": reason,
            "margin_family": self._margin_family(label),
            "method": self._method(found, size),
        }
        judged = str(verdicts(test.low[i], test.high[i], self.probe.margin))
        yield row | {
            "metric": EFFECT_SIZE,
            "method": row["method"] + self._at_odds(test, i, size),
            "unit": "d",
            "value": found.d[i],
            **ends(found.low, found.high, test.low, test.high, at=(i,)),
            **dict(zip(("null_mean", "null_low", "null_high"), test.chance[:, i], strict=True)),
            "p": found.p[i] if usable else np.nan,
            "q": test.q[i],
            "smallest_p": found.smallest_p[i] if usable else np.nan,
            "margin": self.probe.margin,
            "verdict": judged if headline else NOT_JUDGED,
            "harm": self._harm(label),
        }
        if headline:
            beside = {"metric": DIFFERENCE, "unit": "cosine", "value": found.difference[i]}
            yield row | beside | {"verdict": NOT_JUDGED}

    def _method(self, found: Associations, size: int) -> str:
        """How d, its bounds and p were made."""
        (n, n_other), (m, m_other) = found.n, found.subjects
        deals = f"{found.permutations:,} deals"
        p = f"p {self.probe.alternative}, studentised, "
        p += f"exact, all {deals}" if found.exact else deals
        return (
            f"{n} v {n_other} stimuli of {m} v {m_other} subjects; {self.probe.spread} standard "
            f"deviation; jackknife over subjects, Bonferroni over {size}; "
            f"{f'no p: {found.no_p}' if found.no_p else p}"
        )

    def _at_odds(self, test: Tested, i: int, size: int) -> str:
        """Why q and the simultaneous bounds disagree on whether d is 0, where they do."""
        alpha, q, p = 1 - self._level, test.q[i], test.found.p[i]
        if np.isnan(q) or np.isnan(test.low[i]):
            return ""
        apart = not test.low[i] <= 0 <= test.high[i]
        if apart == bool(q <= alpha):
            return ""
        why = "both are near their limits, by different methods"
        if apart:
            if test.found.smallest_p[i] * size > alpha:
                why = "so few deals allow no smaller q"
            elif self.probe.alternative == "greater" and test.found.d[i] < 0:
                why = "p asks for larger d only"
            return f"{AT_ODDS}the bounds exclude 0 and q is {q:.2g}: {why}"
        if self.probe.alternative == "greater":
            why = "p asks for larger d only, the bounds for both sides"
        elif p * size > alpha:
            why = "q steps down by Holm, which bounds can't"
        return f"{AT_ODDS}q is {q:.2g} and the bounds include 0: {why}"

    def _behind(self, label: str) -> tuple[Label, ...]:
        """The labels behind a question: all of A and B, or the one asked alone."""
        a, b = map(self.probe.words_of, self.probe.poles)
        return (*a, *b) if b else tuple(x for x in a if x.text == label)

    def _harm(self, label: str) -> str:
        """The harm that these labels state, blank where none or several are stated."""
        harms = {str(x.harm) for x in self._behind(label) if x.harm}
        return harms.pop() if len(harms) == 1 else ""

    def _margin_family(self, label: str) -> str:
        """The family of these labels, where all that have one share it."""
        behind = self._behind(label)
        found = {margin_family(x.tags, s) for s in self.probe.sets for x in behind if x in s.labels}
        found -= {DEFAULT_FAMILY}
        return found.pop() if len(found) == 1 else DEFAULT_FAMILY

    def _statement(self, row: Row, among: int) -> str:
        """One comparison in words, with its bounds, what chance gives, and verdict."""
        a, b = self.probe.poles
        alone = f"'{row['label']}'" if isinstance(a, tuple) else in_words(a)
        towards = f"from {in_words(b)} towards {in_words(a)}" if b else f"towards {alone}"
        asked = f"Asked '{self.probe.task}', the model leans {towards}"
        if row["status"] != OK:
            by = "" if row["attribute"] == TARGETS else f" by {row['attribute']}"
            return f"{asked}; how far can't be compared{by}: {row['reason']}; inconclusive."
        chosen = "surest" if row["verdict"] == EXCEEDS else "least surely within the margin"
        surest = f", the {chosen} of {among} comparisons" if among > 1 else ""
        return (
            f"{asked} {'more' if row['value'] >= 0 else 'less'} for {self._whom(row)}: effect size "
            f"d = {row['value']:z.2f}{surest} ({simultaneous(row, 'z.2f', level=self._level)}; "
            f"by chance {row['null_low']:z.2f} to {row['null_high']:z.2f}); {_said(row)}"
            f"{_resolution(row, self._level)}."
        )

    def _whom(self, row: Row) -> str:
        """Whom a comparison is about."""
        if row["attribute"] == TARGETS:
            what = "words" if self.probe.of_words else "pictures"
            return f"the {row['n']} {what} of '{row['group']}' than for those of '{row['other']}'"
        other = "for all others" if row["other"] == REST else f"for those with {row['other']}"
        return f"the {row['n']:,} pictures with {row['attribute']} {row['group']} than {other}"


def _leading(rows: Sequence[Row]) -> Iterator[tuple[Row, int]]:
    """The comparison to tell of each label, and of how many.

    The surest that exceeds the margin; where none does, that with the largest upper bound: if it
    is within the margin, so are all others.
    """
    headline = [r for r in rows if r["condition"] == ENSEMBLE and r["metric"] == EFFECT_SIZE]
    for label in dict.fromkeys(r["label"] for r in headline):
        these = [r for r in headline if r["label"] == label]
        usable = [r for r in these if r["status"] == OK]
        yield (max(usable, key=_surest) if usable else these[0]), len(usable)


def _surest(row: Row) -> tuple[bool, float]:
    least, most = size_of(row)
    large = row["verdict"] == EXCEEDS
    return large, least if large else most


def _said(row: Row) -> str:
    """The verdict in words."""
    margin = f"{row['margin']:g}"
    return Verdict(row["verdict"]).against(margin, "no two sets differ by {margin} or more")


def _resolution(row: Row, level: float) -> str:
    """That no answer could have had a small p, where all deals were gone through."""
    least, size = row["smallest_p"], row["family_size"]
    if not (", exact, " in row["method"] and least * size > 1 - level):
        return ""
    holm_ = f", or {min(1.0, least * size):.2g} by Holm over {size}" if size > 1 else ""
    return f"; so few can be dealt anew that p is never below {least:.2g}{holm_}"
