"""Questions asked twice or more of the same pictures, or of two groups within strata.

Thin covers of statsmodels that refuse what it would answer wrongly: pictures that repeat a subject,
answers that are neither yes nor no. All of them hold for independent pictures only; where subjects
repeat, the cluster bootstrap takes their place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special
from statsmodels.stats.contingency_tables import StratifiedTable, cochrans_q, mcnemar

from audit.core.arrays import Flags, Integers
from audit.core.errors import InputError

_SMALLEST = float(np.finfo(np.float64).tiny)
_COMPARE = "use clip-audit compare, whose bootstrap draws subjects"
_RUN = "use clip-audit run with the strata as attributes: its bootstrap and its null draw subjects"


@dataclass(frozen=True)
class CommonOdds:
    """The odds ratio of two groups that all strata have in common, and the test that it is 1.

    ``strata``: how many tell anything, holding both groups, an event and a non-event.
    """

    odds_ratio: float
    low: float
    high: float
    p: float
    strata: int


def mcnemar_p(
    before: npt.ArrayLike, after: npt.ArrayLike, clusters: npt.ArrayLike | None = None
) -> float:
    """p-value for the hypothesis that two questions about the same pictures have the same rate.

    Formula: McNemar's exact test: with b pictures that are events before only and c after only,
    twice the binomial chance of at most min(b, c) among b + c at one half, at most 1.
    Range: above 0, at most 1; 1 where no picture changed, since that says nothing against equality;
    nan without pictures. Does not show: how large the change is, nor, when
    large, that there is none.

    Args:
        before: Whether the event holds under the first question, (n,).
        after: Whether it holds under the second, of the same pictures in the same order, (n,).
        clusters: Subject of each picture, any ids; None if every picture shows another one.

    Raises:
        InputError: Lengths that differ, an answer that is not yes or no, a subject that repeats.

    Source:
        McNemar (1947), Psychometrika 12, 153-157; Agresti (2013), Categorical Data Analysis, 11.1.
    """
    one, two = _answers(before, "before", 1), _answers(after, "after", 1)
    _same_length("mcnemar_p", before=len(one), after=len(two))
    _refuse_repeats(clusters, len(one), "McNemar's test", _COMPARE)
    if not one.size:
        return float("nan")
    gained, lost = int((two & ~one).sum()), int((one & ~two).sum())
    stayed = int((one & two).sum())
    table = [[stayed, lost], [gained, one.size - stayed - gained - lost]]
    return _p(mcnemar(table, exact=True).pvalue)


def cochran_q_p(answers: npt.ArrayLike, clusters: npt.ArrayLike | None = None) -> float:
    """p-value for the hypothesis that k questions about the same pictures have the same rate.

    Formula: Cochran's Q, ``k (k - 1) sum over questions of (x_j - mean x)²`` over
    ``sum over pictures of u_i (k - u_i)`` with x_j events of a question and u_i of a picture,
    against chi-squared with k - 1 degrees of freedom. For two questions it is McNemar's test
    without correction; ``mcnemar_p`` is exact and better there.
    Range: above 0, at most 1; 1 where no picture has both answers; nan without pictures. It is an
    approximation, poor below about 24 answers (pictures times k) of pictures that have both.
    Does not show: which questions differ; how much.

    Args:
        answers: Whether the event holds, one row a picture and one column a question, (n, k).
        clusters: Subject of each picture, any ids; None if every picture shows another one.

    Raises:
        InputError: No table, fewer than two questions, an answer that is not yes or no, a subject
            that repeats.

    Source:
        Cochran (1950), Biometrika 37, 256-266; Tate, Brown (1970), JASA 65, 155-160, for how many.
    """
    table = _answers(answers, "answers", 2)
    pictures, questions = table.shape
    if questions < 2:
        got = f"answers: {questions} question(s)"
        raise InputError(got, "Cochran's Q compares two or more, one a column")
    _refuse_repeats(clusters, pictures, "Cochran's Q", _COMPARE)
    if not pictures:
        return float("nan")
    both = table.any(axis=1) & ~table.all(axis=1)
    # pictures that answer all questions alike drop out of Q; statsmodels divides 0 by 0 if all do
    return _p(cochrans_q(table[both]).pvalue) if both.any() else 1.0


def mantel_haenszel(
    events: npt.ArrayLike,
    group: npt.ArrayLike,
    strata: npt.ArrayLike,
    clusters: npt.ArrayLike | None = None,
    level: float = 0.95,
) -> CommonOdds:
    """Common odds ratio of two groups over strata of a confounder (age, crop, source).

    Formula: with the 2 x 2 table a, b (events and non-events of the group), c, d (of the others)
    and n pictures in each stratum, ``sum(a d / n) / sum(b c / n)``, an interval for its logarithm
    from the variance of Robins, Breslow and Greenland, and the Cochran-Mantel-Haenszel test that
    it is 1, without continuity correction.
    Range: ratio from 0, above 1 if the group has events more often; nan with its interval where it
    would be 0 or infinite. p above 0, at most 1; 1 where no stratum with both groups has both an
    event and a non-event, nan where no stratum has both groups.
    Does not show: whether strata have an odds ratio in common, or differ and cancel; rates, from
    which odds ratios depart where events are frequent; confounders that are not among the strata.

    Args:
        events: Whether the event holds, (n,).
        group: Whether each picture is in the group, else it is one of the others, (n,).
        strata: Stratum of each picture, any ids, (n,).
        clusters: Subject of each picture, any ids; None if every picture shows another one.
        level: Two-sided level of the interval.

    Raises:
        InputError: Lengths that differ, a value that is not yes or no, a level outside (0, 1), a
            subject that repeats.

    Source:
        Mantel, Haenszel (1959), JNCI 22, 719-748; Robins, Breslow, Greenland (1986), Biometrics
        42, 311-323.
    """
    if not 0 < level < 1:
        got = f"level: {level:g} is not strictly between 0 and 1"
        raise InputError(got, "Give a share such as 0.95, not 95")
    happened, inside = _answers(events, "events", 1), _answers(group, "group", 1)
    names = np.asarray(strata)
    _same_length("mantel_haenszel", events=len(happened), group=len(inside), strata=len(names))
    _refuse_repeats(clusters, len(happened), "the Mantel-Haenszel test", _RUN)
    tables = _tables(happened, inside, names)
    rows, columns = tables.sum(axis=2), tables.sum(axis=1)
    compared = (rows > 0).all(axis=1)
    told = compared & (columns > 0).all(axis=1)
    if not told.any():
        nothing = float("nan")
        return CommonOdds(nothing, nothing, nothing, 1.0 if compared.any() else nothing, 0)
    return _common(tables[told], level)


def _common(tables: Integers, level: float) -> CommonOdds:
    """The common odds ratio of tables (strata, 2, 2) without an empty row or column."""
    found = StratifiedTable(np.moveaxis(tables, 0, -1).astype(np.float64))
    for_it, against = (float((tables[:, 0, i] * tables[:, 1, 1 - i]).sum()) for i in (0, 1))
    ratio = low = high = float("nan")
    if for_it and against:
        ratio = float(found.oddsratio_pooled)
        low, high = map(float, found.oddsratio_pooled_confint(1 - level))
    # its own p is 1 minus a distribution function, and so 0 far out
    p = special.chdtrc(1, found.test_null_odds(correction=False).statistic)
    return CommonOdds(ratio, low, high, _p(p), len(tables))


def _tables(happened: Flags, inside: Flags, names: npt.NDArray[np.generic]) -> Integers:
    """2 x 2 tables, (strata, group or not, event or not)."""
    text = names.astype(str) if names.dtype == object else names  # mixed kinds have no order
    ids, place = np.unique(text, return_inverse=True)
    tables = np.zeros((len(ids), 2, 2), dtype=np.int64)
    np.add.at(tables, (place.reshape(-1), 1 - inside, 1 - happened), 1)
    return tables


def _answers(values: npt.ArrayLike, name: str, dimensions: int) -> Flags:
    """Yes or no as truth values; a missing answer would else count as a yes."""
    given = np.asarray(values)
    if given.ndim != dimensions:
        shape = "one row a picture, one column a question" if dimensions == 2 else "one a picture"
        raise InputError(f"{name}: shape {given.shape}", f"Give {shape}")
    odd = given[(given != 0) & (given != 1)]
    if odd.size:
        got = f"{name}: {odd[0]!s} is neither yes nor no"
        raise InputError(got, "Give true or false; leave out pictures without an answer")
    return given.astype(bool)


def _same_length(where: str, **lengths: int) -> None:
    if len(set(lengths.values())) > 1:
        got = ", ".join(f"{name} of {length}" for name, length in lengths.items())
        raise InputError(f"{where}: {got}", "Give one of each a picture")


def _refuse_repeats(
    clusters: npt.ArrayLike | None, pictures: int, method: str, instead: str
) -> None:
    """These methods take pictures for independent: three of one person count as three people."""
    if clusters is None:
        return
    names = np.asarray(clusters)
    if names.shape != (pictures,):
        got = f"clusters: shape {names.shape} for {pictures} pictures"
        raise InputError(got, "Give the subject of each picture")
    ids, counts = np.unique(names.astype(str), return_counts=True)
    if ids.size and counts.max() > 1:
        most = ids[counts.argmax()]
        got = f"clusters: pictures of one subject repeat; {counts.max()} show '{most}'"
        advice = f"Instead {instead}"
        raise InputError(got, f"{method} holds for pictures of separate subjects", advice)


def _p(value: float) -> float:
    """A p-value that rounding has not made 0 or more than 1."""
    return float(np.clip(value, _SMALLEST, 1.0))
