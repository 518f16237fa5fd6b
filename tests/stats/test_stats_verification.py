"""Verification against longhand counts of pairs, the variance of dyads, and worlds with a truth."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import special

from audit.core.errors import InputError
from audit.core.tables import OK, TOO_FEW, UNDEFINED
from audit.stats import multiplicity
from audit.stats import verification as v
from audit.stats.intervals import clopper_pearson, wilson

THRESHOLDS = (0.1, 0.5)


def unit(rows):
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def world(seed, subjects=17, pictures=60, groups=3, dim=8, sittings=2):
    """Pictures at random, of uneven numbers a subject."""
    rng = np.random.default_rng(seed)
    names = rng.integers(0, subjects, pictures)
    vectors = unit(rng.normal(size=(pictures, dim)))
    return vectors, names, names % groups, rng.integers(0, sittings, pictures)


def people_of(seed=0, groups=3, **more):
    vectors, names, codes, sittings = world(seed, groups=groups, **more)
    return v.faces(vectors, names, codes, groups, sittings)


def strangers(number):
    vectors = unit(np.random.default_rng(2).normal(size=(number, 8)))
    return v.faces(vectors, np.arange(number), np.zeros(number, int), 1)


def same(one, other):
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("thresholds", "pairs", "histogram", *vars(one).keys() & {"matches", "misses",
                     "matches_squared", "matches_pairs", "pairs_squared", "one_sitting"})
    )  # fmt: skip


def counted(x, group, groups=2):
    """Impostors straight from a table of matches between subjects with one picture each."""
    s, member = len(group), group[:, np.newaxis] == np.arange(groups)
    off = ~np.eye(s, dtype=bool)
    x = x & off
    squared, pairs = np.zeros((groups, groups, 1), int), np.zeros((groups, groups), int)
    for g, h in itertools.combinations_with_replacement(range(groups), 2):
        cell = np.outer(group == g, group == h)
        cell = np.triu(cell, 1) if g == h else cell
        squared[g, h, 0], pairs[g, h] = (x & cell).sum(), cell.sum()
    return v.Impostors(
        tuple(range(s)), group, np.array([0.5]), (x.astype(int) @ member)[:, :, np.newaxis],
        off.astype(int) @ member, squared, squared.copy(), pairs,
        np.zeros((groups, groups, v.BINS), int),
    )  # fmt: skip


def likely(rng, group, share, p, sides):
    """Matches with chance p; subjects of some groups explain a share of the similarity."""
    s = len(group)
    mine = rng.normal(size=s) * np.isin(group, sides)
    some = np.isin(group, sides).astype(float)
    number = some[:, np.newaxis] + some
    noise = np.triu(rng.normal(size=(s, s)), 1)
    noise += noise.T
    explained = np.where(number > 0, share, 0.0)
    common = np.sqrt(explained / np.maximum(number, 1)) * (mine[:, np.newaxis] + mine)
    return common + np.sqrt(1 - explained) * noise > -special.ndtri(p)


# ---- counts ------------------------------------------------------------------------------------


def test_counts_of_every_cell_longhand():
    people = people_of()
    counts = v.impostors(people, THRESHOLDS)
    sample, s = counts.sample(0, 10), people.subject
    similarity = people.vectors @ people.vectors.T
    for c, (g, h) in enumerate(zip(*counts.cells, strict=True)):
        scores = [
            similarity[i, j]
            for i, j in itertools.combinations(range(len(s)), 2)
            if s[i] != s[j] and sorted((people.group[s[i]], people.group[s[j]])) == [g, h]
        ]
        assert sample.n[0, c] == len(scores) == counts.histogram[g, h].sum()
        for t, at in enumerate(THRESHOLDS):
            assert sample.events[t, c] == sum(score >= at for score in scores)
    assert counts.pooled.sum() == sample.n[0].sum()


def test_mated_pairs_longhand():
    people = people_of()
    counts, apart = v.mated(people, THRESHOLDS), v.mated(people, THRESHOLDS, apart=True)
    s, similarity = people.subject, people.vectors @ people.vectors.T
    for subject in range(len(people.ids)):
        mine = list(itertools.combinations(np.flatnonzero(s == subject), 2))
        together = [(i, j) for i, j in mine if people.sitting[i] == people.sitting[j]]
        assert counts.pairs[subject] == len(mine)
        assert counts.one_sitting[subject] == len(together)
        assert apart.pairs[subject] == len(mine) - len(together)
        for t, at in enumerate(THRESHOLDS):
            assert counts.misses[subject, t] == sum(similarity[i, j] < at for i, j in mine)
    assert apart.one_sitting.sum() == 0


def test_a_similarity_at_the_threshold_matches():
    people = v.faces(np.eye(4), [0, 0, 1, 1], [0] * 4, 1)
    for at, match in ((0.0, True), (2 / v.BINS, False)):
        assert v.impostors(people, (at,)).sample(0, 0).events[0, 0] == 4 * match
        assert v.mated(people, (at,)).misses[:, 0].tolist() == [1 - match] * 2


def test_nobody_to_compare_is_undefined():
    people = v.faces(np.eye(4), range(4), [-1] * 4, 2)
    rates = v.false_match_rates(v.impostors(people, (0.1,)), resamples=10)
    assert (rates.status == UNDEFINED).all()
    assert v.sampled_tiles(people, 5) == []
    assert (v.false_non_match_rates(v.mated(people, (0.1,))).status == UNDEFINED).all()


def test_two_halves_of_the_tiles_make_the_whole_whatever_their_size():
    people = people_of()
    whole = v.impostors(people, THRESHOLDS)
    tiles = v.tiles(people, side=7)
    assert len(tiles) > 20
    first, second = (v.impostors(people, THRESHOLDS, part) for part in (tiles[::2], tiles[1::2]))
    assert not same(first, whole)
    assert same(first + second, whole)
    with pytest.raises(ValueError, match="same subjects and thresholds"):
        whole + v.impostors(people, (0.2, 0.3))


def test_the_order_of_pictures_does_not_matter_nor_do_unknown_groups():
    vectors, names, codes, sittings = world(3)
    order = np.random.default_rng(0).permutation(len(names))
    one = v.faces(vectors, names, codes, 3, sittings)
    other = v.faces(vectors[order], names[order], codes[order], 3, sittings[order])
    assert same(v.impostors(one, THRESHOLDS), v.impostors(other, THRESHOLDS))
    assert same(v.mated(one, THRESHOLDS), v.mated(other, THRESHOLDS))
    tiles = v.sampled_tiles(one, 50, seed=1)
    assert same(v.impostors(one, (), tiles), v.impostors(other, (), v.sampled_tiles(other, 50, 1)))
    unknown = np.where(names == names[0], -1, codes)
    left = v.faces(vectors, names, unknown, 3)
    assert names[0] not in left.ids
    assert same(v.impostors(one.only([name != names[0] for name in one.ids])), v.impostors(left))


def test_a_sample_of_pairs_is_bounded_balanced_and_repeatable():
    people = people_of(1, subjects=200, pictures=400, groups=2)
    sampled = v.impostors(people, (0.1,), v.sampled_tiles(people, 4000, seed=5))
    whole = v.impostors(people, (0.1,))
    assert (sampled.histogram.sum(axis=-1) <= 4000).all()
    assert (sampled.histogram.sum(axis=-1)[np.triu_indices(2)] > 3000).all()
    assert (sampled.histogram <= whole.histogram).all()
    pictures = np.diff(people.starts)
    assert (sampled.pairs.sum(axis=1) / pictures).std() < 0.3 * sampled.pairs.sum() / 400
    assert same(sampled, v.impostors(people, (0.1,), v.sampled_tiles(people, 4000, seed=5)))
    assert not same(sampled, v.impostors(people, (0.1,), v.sampled_tiles(people, 4000, seed=6)))
    assert same(whole, v.impostors(people, (0.1,), v.sampled_tiles(people, 10**6)))
    assert sampled.sample(0, 0).rate == pytest.approx(whole.sample(0, 0).rate, abs=0.03)


# ---- thresholds --------------------------------------------------------------------------------


def test_the_threshold_is_the_lowest_that_keeps_the_target():
    people = strangers(60)
    scores = (people.vectors @ people.vectors.T)[np.triu_indices(60, 1)]
    found = v.threshold_at(v.impostors(people).pooled, 0.05)
    assert found.reason == ""
    assert found.fmr == (scores >= found.value).mean() <= 0.05
    assert (scores >= found.value - 2 / v.BINS).mean() > 0.05
    again = v.impostors(people, (found.value,))
    assert again.thresholds == pytest.approx([found.value])
    assert again.sample(0, 0).rate[0, 0] == found.fmr


def test_a_threshold_for_too_rare_a_match_says_so():
    people = strangers(60)
    pooled = v.impostors(people).pooled
    fine = v.threshold_at(pooled, 1e-6)
    assert fine.fmr == 0
    assert fine.reason == (
        "a target FMR of 1e-06 needs 3000000 independent pairs, and 1770 fix the threshold"
    )
    assert "30 fix the threshold" in v.threshold_at(pooled, 0.05, independent=30).reason
    none = v.threshold_at(np.zeros(v.BINS), 0.1)
    assert np.isnan(none.value)
    assert "no pair" in none.reason


def test_the_curve_is_both_error_rates_at_every_edge():
    people = people_of()
    genuine, impostor = v.mated(people), v.impostors(people)
    curve = v.detection_error_tradeoff(impostor.pooled, genuine.histogram.sum(axis=0))
    similarity, s = people.vectors @ people.vectors.T, people.subject
    i, j = np.triu_indices(len(s), 1)
    for at in (0, 1500, 2400, v.BINS):
        edge = curve.thresholds[at]
        assert curve.fmr[at] == pytest.approx((similarity[i, j] >= edge)[s[i] != s[j]].mean())
        assert curve.fnmr[at] == pytest.approx((similarity[i, j] < edge)[s[i] == s[j]].mean())
    assert (np.diff(curve.fmr) <= 0).all()
    empty = v.detection_error_tradeoff(impostor.pooled, np.zeros(v.BINS))
    assert np.isnan(empty.fnmr).all()


def test_who_fixes_the_threshold_does_not_depend_on_the_others():
    ids = [f"s{k}" for k in range(2000)]
    chosen = v.split_subjects(ids, seed=4, share=0.3)
    assert chosen.mean() == pytest.approx(0.3, abs=0.03)
    assert (v.split_subjects(ids[::-2], 4, 0.3) == chosen[::-2]).all()
    assert (v.split_subjects(ids, 5, 0.3) != chosen).mean() > 0.3
    people = people_of()
    first = v.split_subjects(people.ids, 1)
    parts = people.only(first), people.only(~first)
    assert set(parts[0].ids).isdisjoint(parts[1].ids)
    assert sum(len(part.vectors) for part in parts) == len(people.vectors)


# ---- rates -------------------------------------------------------------------------------------


def test_the_spread_is_that_of_pairs_that_share_a_subject():
    """Longhand: the sum of d d' over all two pairs of subjects with a subject in common."""
    rng = np.random.default_rng(0)
    group = np.repeat([0, 1], [14, 9])
    x = likely(rng, group, 0.8, 0.4, (0, 1))
    sample = counted(x, group).sample(seed=1, resamples=6000)
    for c, (g, h) in enumerate([(0, 0), (0, 1), (1, 1)]):
        dyads = [
            (i, j) for i, j in itertools.combinations(range(23), 2)
            if (group[i], group[j]) == (g, h)
        ]  # fmt: skip
        p = np.mean([x[d] for d in dyads])
        assert sample.rate[0, c] == pytest.approx(p)
        joint = sum(
            (x[a] - p) * (x[b] - p) for a in dyads for b in dyads if set(a) & set(b)
        )  # fmt: skip
        own = sum((x[a] - p) ** 2 for a in dyads)
        wanted = max(joint, own) / len(dyads) ** 2
        seen = (sample.deviations[0, c].astype(float) ** 2).mean()
        assert seen == pytest.approx(wanted, rel=0.1)


def test_replicates_are_weighted_on_both_sides():
    """The first-order part of w_i w_j: what is left of the product is uncorrelated with it."""
    rng = np.random.default_rng(0)
    group = np.zeros(30, int)
    x = likely(rng, group, 0.8, 0.3, (0,))
    sample = counted(x, group, 1).sample(seed=2, resamples=3000)
    weights = v.cluster_weights(2, range(30), 3000).astype(float)
    i, j = np.triu_indices(30, 1)
    products = weights[i] * weights[j]
    replicated = x[i, j] @ products / products.sum(axis=0) - sample.rate[0, 0]
    assert np.corrcoef(replicated, sample.deviations[0, 0])[0, 1] > 0.95


def test_repeating_every_picture_changes_no_rate_and_no_interval():
    vectors, names, codes, _ = world(4, subjects=40, pictures=80, groups=2)
    once = v.faces(vectors, names, codes, 2)
    twice = v.faces(np.repeat(vectors, 2, axis=0), np.repeat(names, 2), np.repeat(codes, 2), 2)
    one, two = (v.false_match_rates(v.impostors(p, (0.2,)), resamples=300) for p in (once, twice))
    assert one.value == pytest.approx(two.value)
    assert one.independent == pytest.approx(two.independent)
    assert one.low == pytest.approx(two.low, rel=1e-4)
    assert one.high == pytest.approx(two.high, rel=1e-4)
    assert (two.pairs == 4 * one.pairs).all()


def test_few_matches_are_too_few_by_the_number_of_pairs_without_a_common_subject():
    group = np.repeat([0, 1], [40, 16])
    x = np.zeros((56, 56), bool)
    rates = v.false_match_rates(counted(x, group), resamples=200)
    assert rates.independent[0].tolist() == pytest.approx([20, 16, 8])
    assert (rates.status == TOO_FEW).all()
    assert rates.reason[0, 0] == (
        "an FMR of 0 is below 3 / 20 = 0.15: 40 subjects make 20 pairs of which no two share one"
    )
    # no match: the exact bound for as many independent pairs
    assert rates.high[0] == pytest.approx(clopper_pearson(0, [20, 16, 8])[1])
    assert (rates.value == 0).all()
    x[:20, :20] = True  # 190 of 780 pairs
    some = v.false_match_rates(counted(x, group), resamples=200)
    assert some.status[0].tolist() == [OK, TOO_FEW, TOO_FEW]
    assert some.reason[0, 0] == ""


def test_a_cell_without_pairs_or_of_one_subject_says_so():
    group = np.array([0, 1, 1, 1])
    rates = v.false_match_rates(counted(np.ones((4, 4), bool), group, 3), resamples=50)
    told = dict(zip([(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)], rates.reason[0], strict=True))
    assert rates.status[0].tolist() == [
        UNDEFINED, TOO_FEW, UNDEFINED, TOO_FEW, UNDEFINED, UNDEFINED,
    ]  # fmt: skip
    assert "fewer than two subjects in the group" in told[0, 0]
    assert "all pairs share one subject" in told[0, 1]
    assert "no subject in one of the groups" in told[0, 2]
    assert "3 subjects make 1.5 pairs" in told[1, 1]
    assert np.isnan(rates.value[0, 0])
    assert np.isnan(rates.low[0, 1])


def test_a_group_without_mated_pairs_is_undefined_and_sittings_are_named():
    rng = np.random.default_rng(0)
    names = np.array([0, 0, 1, 1, 2, 3, 4, 4, 5, 5, 6, 6])
    codes = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 3])
    sittings = np.array([0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1])
    vectors = unit(rng.normal(size=(12, 4)))
    people = v.faces(vectors, names, codes, 4, sittings)
    rates = v.false_non_match_rates(v.mated(people, (0.99,)), resamples=50)
    assert rates.status[0].tolist() == [OK, UNDEFINED, OK, TOO_FEW]
    assert rates.reason[0, 1].startswith("no mated pair: no subject has two pictures")
    assert rates.reason[0, 3] == "the mated pairs are of one subject"
    assert rates.note[0] == "all mated pairs are of one sitting"
    assert rates.note[2] == "1 of 2 mated pairs are of one sitting"
    assert rates.note[3] == ""
    apart = v.false_non_match_rates(v.mated(people, (0.99,), apart=True), resamples=50)
    assert apart.status[0, 0] == UNDEFINED
    unknown = v.false_non_match_rates(v.mated(v.faces(vectors, names, codes, 4)), resamples=50)
    assert "sittings are not known" in unknown.note[0]
    with pytest.raises(InputError, match="no sittings"):
        v.mated(v.faces(vectors, names, codes, 4), apart=True)


def test_one_mated_pair_a_subject_gives_the_textbook_interval():
    rng = np.random.default_rng(1)
    vectors, names = unit(rng.normal(size=(160, 3))), np.repeat(np.arange(80), 2)
    counts = v.mated(v.faces(vectors, names, np.zeros(160, int), 1), (0.3,))
    rates = v.false_non_match_rates(counts, resamples=500)
    assert rates.pairs[0, 0] == rates.subjects[0, 0] == 80
    low, high = wilson(rates.events, 80)
    assert 20 < rates.events[0, 0] < 60
    assert rates.low == pytest.approx(low, abs=0.01)
    assert rates.high == pytest.approx(high, abs=0.01)


# ---- worlds ------------------------------------------------------------------------------------


def faces_world(seed, common, subjects=120):
    """Two groups of people; those of the second have a part of their faces in common."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(2 * subjects), 2)
    codes = who // subjects
    own = rng.normal(size=(2 * subjects, 24))
    vectors = own[who] + 0.5 * rng.normal(size=(who.size, 24))
    vectors[:, 0] += np.where(codes == 1, common, 0.0)
    people = v.faces(unit(vectors), who, codes, 2)
    first = v.split_subjects(people.ids, seed)
    at = v.threshold_at(v.impostors(people.only(first)).pooled, 0.05)
    return people.only(~first), at.value


def compared(people, at):
    """Cells: within 0, across, within 1. The groups' own FMR, and across against within 0."""
    sample = v.impostors(people, (at,)).sample(seed=1, resamples=400)
    one, other = np.array([2, 1]), np.array([0, 0])
    return multiplicity.compare(sample, one, other, np.ones((1, 2), bool))


def test_a_planted_likeness_within_a_group_is_found_at_a_threshold_of_others():
    people, at = faces_world(0, common=2.5)
    found = compared(people, at)
    assert found.difference.low_all[0, 0] > 0.02
    assert found.q[0, 0] < 0.05
    rates = v.false_match_rates(v.impostors(people, (at,)), resamples=400)
    table = v.impostors(people, (at,)).matrix(rates.value)[0]
    assert table[1, 1] > 3 * table[0, 0]
    assert table[0, 1] == table[1, 0]
    assert rates.low[0, 2] > rates.high[0, 0]


@pytest.mark.slow
def test_without_it_nothing_is_found():
    wrong = [(compared(*faces_world(seed, common=0.0, subjects=60)).q < 0.05).any()
             for seed in range(12)]  # fmt: skip
    assert sum(wrong) <= 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("share", "sides"), [(0.0, (0, 1)), (0.5, (0,)), (0.5, (0, 1))], ids=["none", "one", "both"]
)
def test_intervals_cover_a_known_rate_whichever_subjects_matter(share, sides):
    rng, p, group = np.random.default_rng(7), 0.1, np.repeat([0, 1], [50, 30])
    covered, naive = np.zeros(3), np.zeros(3)
    for seed in range(120):
        counts = counted(likely(rng, group, share, p, sides), group)
        rates = v.false_match_rates(counts, seed=seed, resamples=200)
        covered += ((rates.low <= p) & (p <= rates.high))[0]
        low, high = wilson(rates.events, rates.pairs)
        naive += ((low <= p) & (p <= high))[0]
    assert (covered / 120 > 0.88).all()
    if share:  # pairs taken as independent
        assert (naive / 120)[0] < 0.7


# ---- refusals ----------------------------------------------------------------------------------


def test_what_cannot_be_compared_is_refused_in_a_sentence():
    vectors, names, codes, sittings = world(0)
    with pytest.raises(InputError, match="not of unit length. Divide each embedding"):
        v.faces(2 * vectors, names, codes, 3)
    with pytest.raises(InputError, match="1 of 60 rows are not of unit length"):
        v.faces(np.where(np.arange(60)[:, None] == 3, np.nan, vectors), names, codes, 3)
    with pytest.raises(InputError, match="has pictures in two groups"):
        v.faces(vectors, names, np.roll(codes, 1), 3)
    with pytest.raises(InputError, match="group codes from 0 to 2. They must be from -1"):
        v.faces(vectors, names, codes, 2)
    with pytest.raises(InputError, match="one row, one subject, one group"):
        v.faces(vectors, names[1:], codes, 3)
    with pytest.raises(InputError, match="one sitting a picture"):
        v.faces(vectors, names, codes, 3, sittings[1:])
    people = v.faces(vectors, names, codes, 3)
    with pytest.raises(InputError, match="from -1 to 1"):
        v.impostors(people, (1.5,))
    with pytest.raises(InputError, match="at most 0 pairs"):
        v.sampled_tiles(people, 0)
    with pytest.raises(InputError, match="target FMR of 1.5"):
        v.threshold_at(np.zeros(v.BINS), 1.5)
    with pytest.raises(InputError, match="4000 bins"):
        v.threshold_at(np.zeros(10), 0.1)
    with pytest.raises(InputError, match="share of 1"):
        v.split_subjects(people.ids, share=1)
