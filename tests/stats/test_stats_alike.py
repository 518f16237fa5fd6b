"""How alike a subject's pictures are, and the interval where few subjects have most pictures."""

import numpy as np
import pytest
from scipy import stats

from audit.stats.alike import Sums, agreement, equally_alike
from audit.stats.clustered import effective_n, rate_interval
from audit.stats.counts import sample_of

SIZES = np.array([12, 5, 3, 3, 2, 2, 1, 1])
HAPPENED = np.array([4, 1, 3, 0, 2, 0, 1, 0])


def sums_of(x: np.ndarray, n: np.ndarray) -> Sums:
    powers = np.array([[float((n**k).sum())] for k in range(1, 5)])
    return Sums(len(n), powers, np.array([x.sum()]), np.array([(x**2 / n).sum()]))


def sample(x: np.ndarray, n: np.ndarray, copies: int = 1):
    """Subjects in one group, the first x_c of n_c pictures with the event, every one so often."""
    events = np.concatenate([np.arange(size) < got for got, size in zip(x, n, strict=True)])
    who = np.repeat(np.arange(len(n)), n)
    events, who = np.repeat(events, copies), np.repeat(who, copies)
    return sample_of(events[:, np.newaxis], np.zeros(len(who), int), who, 1, resamples=50)


def test_the_correlation_is_that_of_an_analysis_of_variance() -> None:
    pictures = [np.repeat([1.0, 0.0], [x, n - x]) for x, n in zip(HAPPENED, SIZES, strict=True)]
    f = stats.f_oneway(*[p for p in pictures]).statistic
    each = (SIZES.sum() - (SIZES**2).sum() / SIZES.sum()) / (len(SIZES) - 1)
    assert agreement(sums_of(HAPPENED, SIZES))[0] == pytest.approx((f - 1) / (f - 1 + each))


@pytest.mark.parametrize(
    ("x", "icc"),
    [
        (SIZES, 0.0),  # every picture an event
        (np.zeros(8), 0.0),
        (SIZES * (np.arange(8) % 2), 1.0),  # all of a subject's pictures, or none
        (np.array([6, 2, 2, 1, 1, 1, 0, 1]), 0.0),  # subjects more even than chance
    ],
)
def test_the_correlation_is_a_share(x: np.ndarray, icc: float) -> None:
    assert agreement(sums_of(x, SIZES))[0] == pytest.approx(icc)


def test_variance_and_freedom_are_those_of_equally_alike_pictures() -> None:
    """The covariance of all pictures, written out."""
    icc = agreement(sums_of(HAPPENED, SIZES))[0]
    who = np.repeat(np.arange(len(SIZES)), SIZES)
    p = HAPPENED.sum() / SIZES.sum()
    covariance = p * (1 - p) * np.where(np.eye(len(who)) > 0, 1, icc * (who[:, None] == who))
    variance, freedom = equally_alike(sums_of(HAPPENED, SIZES))
    assert variance[0] == pytest.approx(covariance.sum() / len(who) ** 2)
    of_subjects = [covariance[np.ix_(who == c, who == c)].sum() for c in range(len(SIZES))]
    squares = np.square(of_subjects).sum()
    assert freedom[0] == pytest.approx(np.sum(of_subjects) ** 2 / squares - 1)


def test_equal_subjects_leave_nothing_to_take_for_granted() -> None:
    x, n = np.array([3, 0, 1, 2, 0, 1]), np.full(6, 4)
    assert equally_alike(sums_of(x, n))[1][0] == pytest.approx(5)
    got, rate = sample(x, n), 7 / 24
    seen = ((x - 4 * rate) ** 2).sum() / 24**2
    wider = (stats.t.ppf(0.975, 5) / stats.norm.ppf(0.975)) ** 2 * 6 / 5
    copies = rate * (1 - rate) / 6
    assert effective_n(got)[0, 0] == pytest.approx(
        rate * (1 - rate) / ((4 * seen * wider + copies) / 5)
    )


def test_what_few_subjects_show_is_filled_up_with_what_all_show() -> None:
    x, n = np.array([6, 3, 0, 3, 0, 2, 1, 0]), SIZES  # the largest is as the others on average
    got, rate = sample(x, n), x.sum() / n.sum()
    variance, freedom = equally_alike(sums_of(x, n))
    seen = ((x - n * rate) ** 2).sum() / n.sum() ** 2
    assert seen < variance[0]
    assert freedom[0] < 3  # of seven
    mixed = (freedom[0] * seen + (7 - freedom[0]) * variance[0]) / 7
    mixed *= (stats.t.ppf(0.975, 7) / stats.norm.ppf(0.975)) ** 2 * 8 / 7
    copies = rate * (1 - rate) * (n**2).sum() / n.sum() ** 2
    used = min(copies, (5 * mixed + copies) / 6)  # five have an event, and five have none in some
    assert effective_n(got)[0, 0] == pytest.approx(rate * (1 - rate) / used)


def test_copies_of_every_picture_of_unequal_subjects_say_nothing_new() -> None:
    once, thrice = sample(HAPPENED, SIZES), sample(HAPPENED, SIZES, copies=3)
    np.testing.assert_allclose(rate_interval(thrice), rate_interval(once), rtol=1e-12)


def test_one_subject_with_an_eighth_of_independent_pictures_costs_little() -> None:
    """600 pictures, as unlike within subjects as between: a sixth wider than Wilson's at most."""
    rng = np.random.default_rng(0)
    n = np.array([76, *[9] * 44, *[8] * 16])
    who = np.repeat(np.arange(61), n)
    events = rng.random((600, 100)) < 0.29
    got = sample_of(events, np.zeros(600, int), who, 1, resamples=2)
    low, high = rate_interval(got)
    alone_low, alone_high = rate_interval(
        sample_of(events, np.zeros(600, int), range(600), 1, resamples=2)
    )
    assert 1 < (high - low).mean() / (alone_high - alone_low).mean() < 1.25
