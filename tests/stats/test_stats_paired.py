"""Paired and stratified tests against statsmodels, scipy and longhand; what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paired import cochran_q_p, mantel_haenszel, mcnemar_p
from scipy import stats
from statsmodels.stats.contingency_tables import StratifiedTable, cochrans_q, mcnemar

from audit.core.errors import InputError


def pair(gained: int, lost: int, both: int = 0, neither: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Answers before and after with these counts."""
    before = np.repeat([False, True, True, False], [gained, lost, both, neither])
    after = np.repeat([True, False, True, False], [gained, lost, both, neither])
    return before, after


# ---- McNemar -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("gained", "lost"), [(3, 1), (0, 5), (12, 12), (40, 21), (7, 0)])
def test_mcnemar_is_the_exact_sign_test_of_changed_pictures(gained: int, lost: int) -> None:
    before, after = pair(gained, lost, both=9, neither=31)
    expected = stats.binomtest(gained, gained + lost, 0.5).pvalue
    assert mcnemar_p(before, after) == pytest.approx(expected, rel=1e-10)
    table = pd.crosstab(before, after).reindex([True, False], columns=[True, False], fill_value=0)
    assert mcnemar_p(before, after) == pytest.approx(mcnemar(table.to_numpy()).pvalue)


def test_mcnemar_longhand() -> None:
    # 1 lost, 3 gained: 2 (C(4,0) + C(4,1)) / 2⁴
    assert mcnemar_p(*pair(3, 1, 10, 10)) == pytest.approx(2 * 5 / 16)


def test_pictures_that_did_not_change_do_not_count() -> None:
    few, many = (mcnemar_p(*pair(9, 2, both, both)) for both in (0, 5000))
    assert few == many


def test_swapping_the_questions_changes_nothing() -> None:
    before, after = pair(11, 3, 4, 5)
    assert mcnemar_p(before, after) == mcnemar_p(after, before)


def test_no_change_is_p_1_and_no_picture_none() -> None:
    assert mcnemar_p(*pair(0, 0, 4, 6)) == 1.0
    assert math.isnan(mcnemar_p([], []))


def test_p_is_never_0() -> None:
    assert 0 < mcnemar_p(*pair(5000, 0)) < 1e-300
    assert 0 < cochran_q_p(np.tile([True, False], (4000, 1))) < 1e-300
    n = 4000
    events = np.repeat([True, False], n)
    found = mantel_haenszel(events, events, np.zeros(2 * n))
    assert 0 < found.p < 1e-300


# ---- Cochran -----------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(5, 80), k=st.integers(2, 6))
def test_cochran_is_statsmodels_and_its_formula(seed: int, n: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    answers = rng.random((n, k)) < rng.random(k)
    x, u = answers.sum(axis=0), answers.sum(axis=1)
    if (u * (k - u)).sum() == 0:
        assert cochran_q_p(answers) == 1.0
        return
    q = k * (k - 1) * ((x - x.mean()) ** 2).sum() / (u * (k - u)).sum()
    assert cochran_q_p(answers) == pytest.approx(stats.chi2.sf(q, k - 1), rel=1e-9)
    assert cochran_q_p(answers) == pytest.approx(cochrans_q(answers).pvalue, rel=1e-9)


def test_two_questions_are_mcnemar_without_correction() -> None:
    before, after = pair(25, 11, 14, 50)
    expected = mcnemar([[14, 11], [25, 50]], exact=False, correction=False).pvalue
    assert cochran_q_p(np.column_stack([before, after])) == pytest.approx(expected)


def test_the_order_of_questions_and_pictures_is_irrelevant() -> None:
    rng = np.random.default_rng(3)
    answers = rng.random((60, 4)) < [0.2, 0.3, 0.5, 0.3]
    turned = answers[rng.permutation(60)][:, rng.permutation(4)]
    assert cochran_q_p(turned) == pytest.approx(cochran_q_p(answers), rel=1e-12)


@pytest.mark.parametrize("value", [False, True])
def test_questions_that_agree_everywhere_are_p_1(value: bool) -> None:
    assert cochran_q_p(np.full((7, 3), value)) == 1.0
    assert cochran_q_p([[True] * 3, [False] * 3]) == 1.0
    assert math.isnan(cochran_q_p(np.zeros((0, 3))))


def test_one_question_is_refused() -> None:
    with pytest.raises(InputError, match=r"answers: 1 question.* two or more"):
        cochran_q_p(np.zeros((4, 1)))
    with pytest.raises(InputError, match=r"shape \(4,\).* one column a question"):
        cochran_q_p(np.zeros(4))


# ---- Mantel and Haenszel -----------------------------------------------------------------------


def spread(tables: list[list[list[int]]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pictures with these 2 x 2 tables (group or not, event or not), one a stratum."""
    cells = [(i, g, e) for i in range(len(tables)) for g in (0, 1) for e in (0, 1)]
    n = [tables[i][g][e] for i, g, e in cells]
    stratum, group, event = (np.repeat([cell[at] for cell in cells], n) for at in range(3))
    return event == 0, group == 0, stratum


#: Berkeley's admissions of 1973 by department: admitted and rejected, men and women
BERKELEY = [
    [[512, 313], [89, 19]],
    [[353, 207], [17, 8]],
    [[120, 205], [202, 391]],
    [[138, 279], [131, 244]],
    [[53, 138], [94, 299]],
    [[22, 351], [24, 317]],
]


def test_mantel_haenszel_on_berkeleys_admissions() -> None:
    found = mantel_haenszel(*spread(BERKELEY))
    # the common odds ratio in R's help of mantelhaen.test(UCBAdmissions), p without correction
    assert found.odds_ratio == pytest.approx(0.9046968, abs=1e-7)
    assert found.strata == 6
    table = StratifiedTable(np.moveaxis(np.array(BERKELEY), 0, -1))
    assert found.p == pytest.approx(table.test_null_odds().pvalue, rel=1e-9)
    assert (found.low, found.high) == pytest.approx(table.oddsratio_pooled_confint())
    pooled = mantel_haenszel(*spread(BERKELEY)[:2], np.zeros(4526))
    assert pooled.odds_ratio == pytest.approx(1.84108, abs=1e-5)  # Simpson's paradox
    assert pooled.p < 1e-15


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(1, 30), min_size=4, max_size=4), min_size=1, max_size=5))
def test_mantel_haenszel_longhand(cells: list[list[int]]) -> None:
    found = mantel_haenszel(*spread([[[a, b], [c, d]] for a, b, c, d in cells]), level=0.9)
    a, b, c, d = np.array(cells, dtype=float).T
    n = a + b + c + d
    assert found.odds_ratio == pytest.approx((a * d / n).sum() / (b * c / n).sum())
    off = (a - (a + b) * (a + c) / n).sum()
    variance = ((a + b) * (c + d) * (a + c) * (b + d) / (n**2 * (n - 1))).sum()
    assert found.p == pytest.approx(stats.chi2.sf(off**2 / variance, 1), rel=1e-6)
    assert found.low < found.odds_ratio < found.high


def test_swapping_the_groups_inverts_the_ratio() -> None:
    events, group, strata = spread(BERKELEY)
    one, other = mantel_haenszel(events, group, strata), mantel_haenszel(events, ~group, strata)
    assert other.odds_ratio == pytest.approx(1 / one.odds_ratio)
    assert (other.low, other.high) == pytest.approx((1 / one.high, 1 / one.low))
    assert other.p == pytest.approx(one.p)


def test_strata_that_tell_nothing_change_nothing() -> None:
    alone = mantel_haenszel(*spread(BERKELEY[:2]))
    padded = [*BERKELEY[:2], [[4, 5], [0, 0]], [[3, 0], [8, 0]], [[1, 0], [0, 0]], [[0, 2], [0, 6]]]
    assert mantel_haenszel(*spread(padded)) == alone


def test_strata_may_have_any_names() -> None:
    events, group, strata = spread(BERKELEY[:2])
    named = np.array(["A", 7], dtype=object)[strata]
    assert mantel_haenszel(events, group, named) == mantel_haenszel(events, group, strata)


def test_nothing_to_compare_has_a_defined_outcome() -> None:
    never = mantel_haenszel(*spread([[[0, 5], [0, 7]], [[3, 0], [9, 0]]]))
    assert (never.p, never.strata) == (1.0, 0)
    assert math.isnan(never.odds_ratio)
    apart = mantel_haenszel(*spread([[[4, 5], [0, 0]], [[0, 0], [3, 6]]]))
    assert math.isnan(apart.p)
    assert math.isnan(mantel_haenszel([], [], []).p)


@pytest.mark.parametrize("table", [[[0, 20], [9, 11]], [[20, 0], [11, 9]]])
def test_a_ratio_of_nothing_or_without_end_is_none_but_p_stays(table: list[list[int]]) -> None:
    found = mantel_haenszel(*spread([table]))
    assert all(map(math.isnan, (found.odds_ratio, found.low, found.high)))
    assert found.p < 0.01


def test_a_level_out_of_range_is_refused() -> None:
    with pytest.raises(InputError, match=r"level: 95 .* such as 0\.95"):
        mantel_haenszel(*spread(BERKELEY), level=95)


# ---- refusals ----------------------------------------------------------------------------------

ASK = {
    "McNemar's test": lambda n, who: mcnemar_p(np.zeros(n), np.ones(n), who),
    "Cochran's Q": lambda n, who: cochran_q_p(np.eye(n), who),
    "Mantel-Haenszel test": lambda n, who: mantel_haenszel(
        np.arange(n) % 2, np.arange(n) < n // 2, np.zeros(n), who
    ),
}


@pytest.mark.parametrize("method", ASK)
def test_pictures_of_one_subject_are_refused_with_a_way_out(method: str) -> None:
    with pytest.raises(InputError) as refused:
        ASK[method](6, ["ann", "bo", "cy", "bo", "di", "bo"])
    said = str(refused.value)
    assert "pictures of one subject repeat; 3 show 'bo'" in said
    assert method in said
    assert "clip-audit" in said
    assert "draw" in said


@pytest.mark.parametrize("method", ASK)
def test_separate_subjects_are_as_no_subjects(method: str) -> None:
    assert ASK[method](6, list("abcdef")) == ASK[method](6, None)


@pytest.mark.parametrize("method", ASK)
def test_subjects_of_another_length_are_refused(method: str) -> None:
    with pytest.raises(InputError, match=r"clusters: shape \(2,\) for 6 pictures"):
        ASK[method](6, ["a", "b"])


@pytest.mark.parametrize("missing", [np.nan, 2, -1, None, "yes"])
def test_an_answer_that_is_neither_yes_nor_no_is_refused(missing: object) -> None:
    odd = np.array([1, 0, missing], dtype=object)
    with pytest.raises(InputError, match="neither yes nor no.* leave out"):
        mcnemar_p([1, 0, 1], odd)
    with pytest.raises(InputError, match="answers: .*neither yes nor no"):
        cochran_q_p(np.stack([odd, odd], axis=1))
    with pytest.raises(InputError, match="group: .*neither yes nor no"):
        mantel_haenszel([1, 0, 1], odd, [0, 0, 0])


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(InputError, match="before of 2, after of 3"):
        mcnemar_p([1, 0], [1, 0, 1])
    with pytest.raises(InputError, match="events of 2, group of 2, strata of 1"):
        mantel_haenszel([1, 0], [1, 0], [0])


@pytest.mark.slow
@pytest.mark.parametrize("method", ["mcnemar", "cochran", "mantel"])
def test_size_under_the_null(method: str) -> None:
    """At 5 % no more than 5 % of true hypotheses are rejected, and not none either."""
    rng = np.random.default_rng(11)
    rejected = 0
    for _ in range(400):
        answers = rng.random((150, 3)) < rng.random((150, 1))
        if method == "mcnemar":
            p = mcnemar_p(answers[:, 0], answers[:, 1])
        elif method == "cochran":
            p = cochran_q_p(answers)
        else:
            strata = rng.integers(0, 3, 150)
            events = rng.random(150) < 0.2 + 0.2 * strata
            p = mantel_haenszel(events, rng.random(150) < 0.3 + 0.15 * strata, strata).p
        rejected += p <= 0.05
    assert 4 <= rejected <= 20 + 2 * math.sqrt(400 * 0.05 * 0.95)
