"""Projections and dropped dimensions: longhand, and what they do and cost in planted worlds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats
from sklearn.feature_selection import mutual_info_classif
from sklearn.metrics import mutual_info_score

from audit.stats.mitigation import (
    calibrated,
    keep,
    least_informative,
    mutual_information,
    project,
    projection,
    teaching_half,
)

# ---- projection, longhand ----------------------------------------------------------------------


def test_one_direction_longhand() -> None:
    # V = (1, 1, 0)', V'V = 2: half of each of the first two goes to the other
    expected = [[0.5, -0.5, 0], [-0.5, 0.5, 0], [0, 0, 1]]
    assert projection([[1, 1, 0]]) == pytest.approx(np.array(expected))
    assert projection([[7, 7, 0]]) == pytest.approx(np.array(expected))


def test_several_directions_as_in_the_formula() -> None:
    v = np.random.default_rng(0).normal(size=(3, 8)).T
    printed = np.eye(8) - v @ np.linalg.inv(v.T @ v) @ v.T
    p = projection(v.T)
    assert p == pytest.approx(printed)
    assert p @ p == pytest.approx(p)
    assert p @ v == pytest.approx(np.zeros((8, 3)), abs=1e-12)


def test_calibration_longhand() -> None:
    # P0 = diag(1, 0); z - z' = (1, 1), M all ones, I + M = [[2, 1], [1, 2]], inverse [[2, -1],
    # [-1, 2]] / 3, of which P0 keeps the first row
    p = calibrated([[0, 1]], [[1, 0]], [[0, -1]], weight=1)
    assert p == pytest.approx(np.array([[2 / 3, -1 / 3], [0, 0]]))
    # of two pairs the mean counts: that of the pair and of one that does not differ has half M
    p = calibrated([[0, 1]], [[1, 0], [1, 0]], [[0, -1], [1, 0]], weight=2)
    assert p == pytest.approx(np.array([[2 / 3, -1 / 3], [0, 0]]))


def test_calibration_minimises_its_loss() -> None:
    rng = np.random.default_rng(1)
    v, one, other = rng.normal(size=(2, 6)), rng.normal(size=(4, 6)), rng.normal(size=(4, 6))

    def loss(p: np.ndarray) -> float:
        apart = (one - other) @ p.T
        return float(((p - projection(v)) ** 2).sum() + 3 * (apart**2).sum() / 4)

    best = calibrated(v, one, other, weight=3)
    for step in rng.normal(size=(50, 6, 6)) * 0.01:
        assert loss(best + step) > loss(best)
        # at a minimum of a quadratic, steps forth and back cost the same
        assert loss(best + step) == pytest.approx(loss(best - step))


def test_the_weight_leads_from_plain_to_pairs_that_coincide() -> None:
    rng = np.random.default_rng(2)
    v, one, other = rng.normal(size=(2, 9)), rng.normal(size=(3, 9)), rng.normal(size=(3, 9))
    assert calibrated(v, one, other, 1e-12) == pytest.approx(projection(v))
    p = calibrated(v, one, other, 1e9)
    assert one @ p.T == pytest.approx(other @ p.T, abs=1e-6)
    assert p == pytest.approx(projection(v) @ projection(one - other), abs=1e-6)


def test_projected_texts_are_of_unit_length() -> None:
    p = projection([[1, 0, 0]])
    assert project([[0.6, 0.8, 0], [0.6, 0, -0.8]], p) == pytest.approx(
        np.array([[0, 1, 0], [0, 0, -1]])
    )


# ---- mutual information ------------------------------------------------------------------------


def test_mutual_information_longhand() -> None:
    group = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    known = np.array([1, 2, 3, 4, 5, 6, 7, 8.0])
    unknown = np.array([1, 2, 5, 6, 3, 4, 7, 8.0])
    # high in one picture of group 0 and in three of group 1: cells 3, 1, 1, 3 of 8
    partly = np.array([1, 2, 3, 5, 4, 6, 7, 8.0])
    found = mutual_information(np.stack([known, unknown, partly], axis=1), group, bins=2)
    cells = 2 * 3 / 8 * np.log((3 / 8) / (1 / 4)) + 2 * 1 / 8 * np.log((1 / 8) / (1 / 4))
    assert found == pytest.approx([np.log(2), 0, cells])


def test_mutual_information_of_more_dimensions_and_groups_than_go_at_once() -> None:
    rng = np.random.default_rng(0)
    group = rng.integers(0, 3, 500)
    vectors = rng.normal(size=(500, 70)) + np.linspace(0, 1, 70) * group[:, np.newaxis]
    found = mutual_information(vectors, np.array(["a", "b", "c"])[group], bins=5)
    for j in (0, 31, 32, 69):
        cuts = np.quantile(vectors[:, j], [0.2, 0.4, 0.6, 0.8])
        cell = np.searchsorted(cuts, vectors[:, j])
        assert found[j] == pytest.approx(mutual_info_score(group, cell))
    assert mutual_information(np.exp(3 * vectors), group, bins=5) == pytest.approx(found)


def test_mutual_information_of_two_normal_groups() -> None:
    # one nat-valued integral: entropy of the mixture less that of a group
    rng = np.random.default_rng(1)
    group = np.repeat([0, 1], 20_000)
    x = rng.normal(size=40_000) + 2.0 * group
    grid = np.linspace(-8, 10, 20_001)
    mix = (stats.norm.pdf(grid) + stats.norm.pdf(grid - 2)) / 2
    true = -np.trapezoid(mix * np.log(mix), grid) - stats.norm.entropy()
    assert mutual_information(x[:, np.newaxis], group)[0] == pytest.approx(true, abs=0.01)


def test_the_part_of_chance_is_as_stated() -> None:
    rng = np.random.default_rng(2)
    found = mutual_information(rng.normal(size=(1000, 300)), rng.integers(0, 3, 1000), bins=8)
    assert found.mean() == pytest.approx(7 * 2 / 2000, rel=0.1)


def test_the_order_is_that_of_another_estimator() -> None:
    rng = np.random.default_rng(3)
    group = rng.integers(0, 2, 800)
    vectors = rng.normal(size=(800, 15)) + np.linspace(0, 2, 15) * group[:, np.newaxis]
    neighbours = mutual_info_classif(vectors, group, random_state=0)
    assert stats.spearmanr(mutual_information(vectors, group), neighbours).statistic > 0.9


def test_the_least_informative_dimensions_are_kept_in_order() -> None:
    rng = np.random.default_rng(4)
    group = np.repeat([0, 1], 200)
    vectors = rng.normal(size=(400, 10))
    vectors[:, [2, 7]] += 2 * group[:, np.newaxis]
    kept = least_informative(vectors, group, 8)
    assert kept.tolist() == [0, 1, 3, 4, 5, 6, 8, 9]


def test_kept_dimensions_with_and_without_their_length() -> None:
    vectors = np.array([[0.6, 0.0, 0.8], [0.0, 1.0, 0.0]], dtype=np.float32)
    assert keep(vectors, [1, 2]) == pytest.approx(np.array([[0, 1], [1, 0]]))
    assert keep(vectors, [1, 2], unit=False) == pytest.approx(np.array([[0, 0.8], [1, 0]]))
    assert keep(vectors, [1, 2]).dtype == np.float32


# ---- who teaches -------------------------------------------------------------------------------


def test_a_subject_is_on_one_side_whoever_else_is_there() -> None:
    subjects = np.repeat([f"s{i}" for i in range(2000)], 3)
    teaches = teaching_half(subjects, 7)
    assert (teaches.reshape(-1, 3).all(axis=1) == teaches.reshape(-1, 3).any(axis=1)).all()
    assert stats.binomtest(int(teaches[::3].sum()), 2000).pvalue > 0.01
    some = np.random.default_rng(0).permutation(6000)[:500]
    assert (teaching_half(subjects[some], 7) == teaches[some]).all()


def test_the_seed_deals_anew_and_ids_go_by_their_text() -> None:
    one, other = teaching_half(np.arange(1000), 0), teaching_half(np.arange(1000), 1)
    assert 400 < (one == other).sum() < 600
    assert (teaching_half([str(i) for i in range(1000)], 0) == one).all()


# ---- what they do, and cost --------------------------------------------------------------------


LABEL, GENDER, COMMON = range(3)


class World:
    """Two labels, two groups: pictures show both, texts of the labels lean to a group.

    ``lean``: how far. ``also``: how much of the label the words for the groups carry, so that
    taking these out takes it too. ``vague``: how far these words miss the groups at random.
    """

    def __init__(self, lean: float, also: float = 0.0, vague: float = 0.0) -> None:
        n, d = 6000, 24
        rng = np.random.default_rng(0)
        self.subject = np.repeat(np.arange(n // 2), 2)
        self.truth, self.group = rng.integers(0, 2, (2, n // 2))[:, self.subject]
        axes = np.eye(d)
        images = rng.normal(size=(n, d)) * 0.5
        images += np.outer(self.truth - 0.5, axes[LABEL]) + np.outer(self.group - 0.5, axes[GENDER])
        self.images = unit(images)
        signs = np.array([[-1], [1]])
        wording = rng.normal(size=(2, 2, d)) * [[[0.03]], [[vague]]]
        self.texts = unit(axes[COMMON] + signs * (axes[LABEL] + lean * axes[GENDER]) + wording[0])
        words = axes[COMMON + 1] + signs * (axes[GENDER] + also * axes[LABEL])
        self.words = unit(words + wording[1])

    def judged(self, images: np.ndarray, texts: np.ndarray) -> tuple[float, float]:
        """Gap between the groups in how often the second label is chosen, and accuracy."""
        chosen = (images @ texts.T).argmax(axis=1)
        held_out = ~teaching_half(self.subject, 0)
        rates = [chosen[held_out & (self.group == g)].mean() for g in (0, 1)]
        return rates[1] - rates[0], float((chosen == self.truth)[held_out].mean())

    def clipped(self, m: int) -> tuple[np.ndarray, np.ndarray]:
        teaches = teaching_half(self.subject, 0)
        kept = least_informative(self.images[teaches], self.group[teaches], m)
        return keep(self.images, kept), keep(self.texts, kept)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def plainly(world: World) -> tuple[float, float]:
    return world.judged(world.images, project(world.texts, projection(world.words)))


def with_pairs(world: World) -> tuple[float, float]:
    # the two labels, each said of both groups
    shift = 0.5 * np.eye(24)[GENDER]
    p = calibrated(world.words, unit(world.texts + shift), unit(world.texts - shift))
    return world.judged(world.images, project(world.texts, p))


def by_dimensions(world: World) -> tuple[float, float]:
    return world.judged(*world.clipped(22))


ALL = pytest.mark.parametrize("mitigated", [plainly, with_pairs, by_dimensions])


@ALL
def test_a_planted_gap_shrinks(mitigated: Callable[[World], tuple[float, float]]) -> None:
    world = World(lean=0.8)
    gap, right = world.judged(world.images, world.texts)
    after, right_after = mitigated(world)
    assert gap > 0.3
    assert abs(after) < 0.06
    assert right_after > right


@ALL
def test_nothing_changes_where_there_is_no_gap(
    mitigated: Callable[[World], tuple[float, float]],
) -> None:
    world = World(lean=0.0)
    gap, right = world.judged(world.images, world.texts)
    after, right_after = mitigated(world)
    assert abs(gap) < 0.06  # three standard errors of a difference at 1,500 pictures a group
    assert after == pytest.approx(gap, abs=0.02)
    assert right_after == pytest.approx(right, abs=0.01)


def test_pairs_make_up_for_vague_words() -> None:
    world = World(lean=0.8, vague=0.25)
    gap = world.judged(world.images, world.texts)[0]
    plain, paired = plainly(world)[0], with_pairs(world)[0]
    assert abs(paired) < 0.08 < abs(plain) - 0.04
    assert abs(plain) < gap


def test_words_that_carry_the_label_take_it_along() -> None:
    world = World(lean=0.0, also=1.0)
    gap, right = world.judged(world.images, world.texts)
    after, right_after = plainly(world)
    assert right_after < right - 0.1
    assert abs(gap) < 0.06
    assert after < -0.3  # what is left of the label's direction leans the other way


def test_the_price_of_dropping_dimensions_rises() -> None:
    world = World(lean=0.8)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(24, 24)))[0]
    world.images, world.texts = world.images @ turn, world.texts @ turn
    right = [world.judged(*world.clipped(m))[1] for m in (23, 12, 3)]
    assert right[0] > right[1] + 0.02 > right[2] + 0.04


# ---- what is refused ---------------------------------------------------------------------------


E3 = np.eye(3)


@pytest.mark.parametrize(
    ("directions", "said"),
    [
        ([[1, 0, 0], [2, 0, 0]], "2 directions of which only 1 are independent"),
        ([[1, 0, 0], [0, 1, 0], [0, 0, 1]], "3 directions in 3 dimensions; give 1 to 2"),
        ([[0, 0, 0]], "only 0 are independent"),
        (np.empty((0, 3)), "0 directions in 3 dimensions"),
        ([1, 0, 0], "give one a row"),
        ([[np.nan, 0, 0]], "not finite"),
    ],
)
def test_directions_that_do_not_do(directions: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        projection(directions)
    with pytest.raises(ValueError, match=said):
        calibrated(directions, E3[:1], E3[1:2])


def test_directions_alike_but_for_rounding_are_found_out() -> None:
    one = unit(np.random.default_rng(0).normal(size=(1, 512))).astype(np.float32)
    with pytest.raises(ValueError, match="leave out prompts that repeat others"):
        projection(np.concatenate([one, one * np.float32(1.0000002)]))


@pytest.mark.parametrize(
    ("one", "other", "weight", "said"),
    [
        (E3[:1], E3[1:2], 0, "weight 0; give one above 0"),
        (E3[:1], E3[1:2], -1, "weight -1"),
        (E3[:1], E3[1:2], np.inf, "weight inf"),
        (E3[:2], E3[1:2], 1, "give one row a pair in both, 3 wide"),
        (E3[:1, :2], E3[1:2, :2], 1, "give one row a pair in both, 3 wide"),
        (E3[:0], E3[:0], 1, "give one row a pair in both, 3 wide"),
        (E3[:1], E3[:1], 1, "give pairs that differ"),
    ],
)
def test_pairs_that_do_not_do(one: np.ndarray, other: np.ndarray, weight: float, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        calibrated(E3[2:], one, other, weight)


def test_a_text_of_which_nothing_is_left() -> None:
    with pytest.raises(ValueError, match="nothing is left of embedding 1"):
        project(E3, projection(E3[1:2]))
    with pytest.raises(ValueError, match="nothing is left of embedding 0"):
        keep(E3, [1, 2])
    with pytest.raises(ValueError, match="do not fit"):
        project(E3, np.eye(4))


@pytest.mark.parametrize("m", [0, 3, 4, -1])
def test_all_dimensions_or_none_are_refused(m: int) -> None:
    with pytest.raises(ValueError, match=f"{m} of 3 dimensions; give 1 to 2"):
        least_informative(np.eye(3), [0, 1, 1], m, bins=2)


def test_groups_and_bins_that_do_not_do() -> None:
    with pytest.raises(ValueError, match="all pictures are of one group"):
        mutual_information(E3, ["a", "a", "a"])
    with pytest.raises(ValueError, match="3 embeddings, 2 groups"):
        mutual_information(E3, ["a", "b"])
    for bins in (1, 4):
        with pytest.raises(ValueError, match=f"{bins} bins for 3 pictures"):
            mutual_information(E3, ["a", "b", "a"], bins)


@pytest.mark.parametrize("kept", [[], [3], [-1], [[0]]])
def test_dimensions_that_are_not_there(kept: object) -> None:
    with pytest.raises(ValueError, match="one or more of 0 to 2"):
        keep(E3, kept)


def test_a_dimension_named_twice() -> None:
    with pytest.raises(ValueError, match="name each once"):
        keep(E3, [0, 0])


def test_one_subject_cannot_be_split() -> None:
    with pytest.raises(ValueError, match="all on one side; give more subjects"):
        teaching_half(["a", "a"], 0)
