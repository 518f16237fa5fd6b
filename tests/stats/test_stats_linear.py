"""Linear probes: against the printed objective, and in worlds where the right answer is known."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scipy import optimize, special, stats

from audit.stats import linear
from audit.stats.linear import GRID, UNTUNED, Dealt, Judged, deal, few_shot, out_of_fold


def world(
    subjects: int, pictures: int, classes: int, d: int, *, signal: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings of unit length, classes, subjects: a class moves its subjects by ``signal``."""
    rng = np.random.default_rng(seed)
    subject = np.repeat(np.arange(subjects), pictures)
    truth = (np.arange(subjects) % classes)[subject]
    centre = rng.normal(size=(classes, d)) * signal
    person = rng.normal(size=(subjects, d)) * 0.5
    vectors = 2.0 + centre[truth] + person[subject] + rng.normal(size=(subject.size, d)) * 0.5
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), truth, subject


def accuracy(judged: Judged, truth: np.ndarray) -> float:
    return float((judged.predicted == truth).mean())


# ---- against the formula -----------------------------------------------------------------------


def minimised(z: np.ndarray, y: np.ndarray, classes: int, c: float) -> tuple[np.ndarray, ...]:
    """W and b by a general minimiser of the printed objective."""
    hot = np.eye(classes)[y]

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        w, b = flat[:-classes].reshape(classes, -1), flat[-classes:]
        logits = z @ w.T + b
        loss = (special.logsumexp(logits, axis=1) - logits[np.arange(len(y)), y]).sum()
        slope = c * (special.softmax(logits, axis=1) - hot)
        gradient = np.concatenate([(slope.T @ z + w).ravel(), slope.sum(axis=0)])
        return c * loss + (w**2).sum() / 2, gradient

    start = np.zeros(classes * (z.shape[1] + 1))
    found = optimize.minimize(objective, start, jac=True, method="BFGS", options={"gtol": 1e-7})
    return found.x[:-classes].reshape(classes, -1), found.x[-classes:]


def scaled(vectors: np.ndarray, taught: np.ndarray) -> np.ndarray:
    centred = vectors - vectors[taught].mean(axis=0)
    return centred / np.sqrt((centred[taught] ** 2).mean())


@pytest.mark.slow
def test_the_classifier_of_each_fold_minimises_the_printed_objective() -> None:
    vectors, truth, subject = world(45, 2, 3, 4, signal=0.4)
    judged = out_of_fold(deal(vectors, truth, subject, 3, folds=3))
    for number in range(3):
        taught, mine = judged.fold != number, judged.fold == number
        z = scaled(vectors.astype(float), taught)
        w, b = minimised(z[taught], truth[taught], 3, judged.chosen[number])
        logits = z[mine] @ w.T + b
        best = np.sort(special.softmax(logits, axis=1), axis=1)
        assert judged.probability[mine] == pytest.approx(best[:, -1], abs=2e-3)
        odds = np.log(best[:, -1] / best[:, -2])
        assert judged.margin[mine] == pytest.approx(odds, abs=0.02)
        # alike but where two classes are all but equal
        differs = judged.predicted[mine] != logits.argmax(axis=1)
        assert (odds[differs] < 0.02).all()


@pytest.mark.slow
def test_c_is_the_one_that_surprises_least_in_the_other_folds() -> None:
    vectors, truth, subject = world(60, 2, 2, 5, signal=0.15)
    judged = out_of_fold(deal(vectors, truth, subject, 2, folds=3))
    for number in range(3):
        taught = judged.fold != number
        z = scaled(vectors.astype(float), taught)
        surprise = np.zeros(len(GRID))
        for out in set(range(3)) - {number}:
            left, rest = judged.fold == out, taught & (judged.fold != out)
            for i, c in enumerate(GRID):
                # two classes have one set of weights: the difference, with half the penalty
                w, b = minimised(z[rest], truth[rest], 2, 2 * c)
                log_p = special.log_softmax(z[left] @ w.T + b, axis=1)
                surprise[i] -= log_p[np.arange(left.sum()), truth[left]].sum()
        assert judged.chosen[number] == GRID[surprise.argmin()]
    assert judged.converged.all()


@pytest.mark.slow
def test_axes_of_the_embedding_do_not_matter() -> None:
    vectors, truth, subject = world(60, 2, 3, 8, signal=0.3)
    turn = np.linalg.qr(np.random.default_rng(5).normal(size=(8, 8)))[0]
    # dealt apart, since the order of pictures within a subject follows their content
    one = out_of_fold(deal(vectors, truth, subject, 3, folds=3))
    other = out_of_fold(deal(vectors @ turn, truth, subject, 3, folds=3))
    assert (one.fold == other.fold).all()
    assert (one.chosen == other.chosen).all()
    assert one.probability == pytest.approx(other.probability, abs=0.01)


# ---- worlds ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_planted_class_is_read() -> None:
    vectors, truth, subject = world(200, 2, 4, 16, signal=1.0)
    judged = out_of_fold(deal(vectors, truth, subject, 4))
    assert accuracy(judged, truth) > 0.97
    assert judged.reason == ("",) * 4


@pytest.mark.slow
def test_nothing_is_read_where_there_is_nothing() -> None:
    vectors, truth, subject = world(600, 1, 3, 16, signal=0.0)
    judged = out_of_fold(deal(vectors, truth, subject, 3))
    right = int((judged.predicted == truth).sum())
    assert stats.binomtest(right, truth.size, 1 / 3).pvalue > 0.01


@pytest.mark.slow
def test_recognising_a_subject_does_not_help() -> None:
    # each subject has an axis of its own and a class by lot: who is known is answered for
    rng = np.random.default_rng(3)
    subject = np.repeat(np.arange(60), 5)
    truth = rng.permutation(np.arange(60) % 2)[subject]
    vectors = np.eye(60)[subject] + rng.normal(size=(300, 60)) * 0.02
    judged = out_of_fold(deal(vectors, truth, subject, 2, folds=3))
    assert accuracy(judged, truth) < 0.7
    as_if_apart = out_of_fold(deal(vectors, truth, np.arange(300), 2, folds=3))
    assert accuracy(as_if_apart, truth) > 0.95


@pytest.mark.slow
def test_all_pictures_of_a_subject_are_in_one_fold_of_like_class_shares() -> None:
    vectors, truth, subject = world(100, 3, 4, 4, signal=0.3)
    fold = out_of_fold(deal(vectors, truth, subject, 4)).fold
    assert np.unique(np.stack([subject, fold]), axis=1).shape[1] == 100
    cells = np.array([[((truth == c) & (fold == f)).sum() for f in range(5)] for c in range(4)])
    assert (cells == 15).all()


@pytest.mark.slow
def test_the_order_of_pictures_does_not_matter_at_all() -> None:
    vectors, truth, subject = world(50, 3, 3, 6, signal=0.3)
    shuffled = np.random.default_rng(1).permutation(truth.size)
    one, other = (
        deal(vectors[p], truth[p], subject[p], 3, folds=3)
        for p in (np.arange(truth.size), shuffled)
    )
    pairs = [(out_of_fold(one), out_of_fold(other))]
    pairs += zip(few_shot(one, 4, 1), few_shot(other, 4, 1), strict=True)
    for a, b in pairs:
        for field in ("predicted", "probability", "margin", "fold"):
            assert (getattr(a, field)[shuffled] == getattr(b, field)).all()


def test_the_seed_deals() -> None:
    vectors, truth, subject = world(50, 2, 2, 4, signal=0.3)
    folds = [deal(vectors, truth, subject, 2, seed=seed).fold for seed in (0, 0, 1)]
    assert (folds[0] == folds[1]).all()
    assert (folds[0] != folds[2]).any()


# ---- who is asked ------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_class_of_few_subjects_is_not_asked_and_says_why() -> None:
    vectors, truth, subject = world(60, 2, 3, 6, signal=1.0)
    few = (truth == 2) & (subject > 11)  # leaves subjects 2, 5, 8 and 11
    vectors, truth, subject = vectors[~few], truth[~few], subject[~few]
    judged = out_of_fold(deal(vectors, truth, subject, 3))
    assert judged.reason == ("", "", "4 subject(s) where 5 are needed, one a fold")
    left_out = truth == 2
    assert (judged.predicted[left_out] == -1).all()
    assert np.isnan(judged.probability[left_out]).all()
    assert np.isnan(judged.margin[left_out]).all()
    assert (judged.predicted[~left_out] >= 0).all()


def test_one_class_alone_is_not_asked() -> None:
    vectors, truth, subject = world(20, 2, 2, 4, signal=1.0)
    few = (truth == 1) & (subject > 5)
    judged = out_of_fold(deal(vectors[~few], truth[~few], subject[~few], 2))
    assert (judged.predicted == -1).all()
    assert np.isnan(judged.chosen).all()
    assert judged.reason == (
        "no other class has enough examples",
        "3 subject(s) where 5 are needed, one a fold",
    )


def test_no_pictures_at_all() -> None:
    judged = out_of_fold(deal(np.empty((0, 3)), [], [], 2))
    assert judged.predicted.shape == (0,)
    assert all(judged.reason)


@pytest.mark.slow
def test_a_picture_of_unknown_class_is_judged_and_teaches_nothing() -> None:
    vectors, truth, subject = world(60, 2, 2, 6, signal=1.0)
    asked = truth.copy()
    asked[::6] = -1
    judged = out_of_fold(deal(vectors, asked, subject, 2))
    assert (judged.predicted[::6] == truth[::6]).mean() > 0.8
    moved = vectors.copy()
    moved[::6] += 100
    again = out_of_fold(deal(moved, asked, subject, 2))
    assert (judged.probability == again.probability)[asked >= 0].all()


# ---- few examples ------------------------------------------------------------------------------


@pytest.mark.slow
def test_more_examples_teach_more_and_few_of_them_vary() -> None:
    vectors, truth, subject = world(200, 2, 4, 32, signal=0.2)
    dealt = deal(vectors, truth, subject, 4, folds=3)
    right = {k: [accuracy(j, truth) for j in few_shot(dealt, k, 3)] for k in (1, 8, 32)}
    full = accuracy(out_of_fold(dealt), truth)
    means = [float(np.mean(right[k])) for k in (1, 8, 32)]
    assert 0.3 < means[0] < means[1] - 0.05 < means[2] - 0.1 < full
    assert np.std(right[1]) > 0.005


@pytest.mark.slow
def test_nothing_is_learned_from_few_examples_where_there_is_nothing() -> None:
    vectors, truth, subject = world(300, 1, 2, 16, signal=0.0)
    right = [accuracy(j, truth) for j in few_shot(deal(vectors, truth, subject, 2, folds=3), 8, 4)]
    assert np.mean(right) == pytest.approx(0.5, abs=0.06)


@pytest.mark.slow
def test_a_draw_does_not_depend_on_how_many_there_are() -> None:
    vectors, truth, subject = world(60, 2, 2, 6, signal=0.3)
    dealt = deal(vectors, truth, subject, 2, folds=3)
    one, many = few_shot(dealt, 2, 1), few_shot(dealt, 2, 3)
    assert (one[0].probability == many[0].probability).all()
    assert (many[0].probability != many[1].probability).any()


def test_with_one_example_a_class_c_is_not_chosen() -> None:
    vectors, truth, subject = world(60, 2, 3, 6, signal=0.3)
    assert (few_shot(deal(vectors, truth, subject, 3), 1, 1)[0].chosen == UNTUNED).all()


@pytest.mark.slow
def test_too_few_pictures_to_draw_from_say_so() -> None:
    vectors, truth, subject = world(90, 1, 3, 6, signal=1.0)
    few = (truth == 2) & (subject > 44)  # leaves 15, three a fold
    dealt = deal(vectors[~few], truth[~few], subject[~few], 3)
    judged = few_shot(dealt, 13, 1)[0]
    said = "12 picture(s) to learn from outside one of the folds, 13 needed"
    assert judged.reason == ("", "", said)
    assert (judged.predicted[truth[~few] == 2] == -1).all()
    assert few_shot(dealt, 12, 1)[0].reason == ("", "", "")


def drawn(dealt: Dealt, k: int, taught: np.ndarray, seed: int) -> np.ndarray:
    return linear._drawn(dealt, k, np.random.default_rng(seed), taught)


def test_examples_are_k_a_class_of_different_subjects_from_those_that_teach() -> None:
    vectors, truth, subject = world(40, 3, 2, 4, signal=0.3)
    dealt = deal(vectors, truth, subject, 2)
    taught = np.flatnonzero(dealt.fold != 0)
    for k in (1, 4, 12):
        examples = drawn(dealt, k, taught, k)
        assert np.isin(examples, taught).all()
        assert np.unique(examples).size == 2 * k
        for code in (0, 1):
            own = examples[dealt.truth[examples] == code]
            assert own.size == np.unique(dealt.subject[own]).size == k
    # with 16 subjects a class, 20 examples take each once and four of them twice
    own = drawn(dealt, 20, taught, 0)[:20]
    assert (
        sorted(np.bincount(np.unique(dealt.subject[own], return_inverse=True)[1]))[:12] == [1] * 12
    )
    assert np.unique(dealt.subject[own]).size == 16


def test_a_subject_with_many_pictures_is_no_likelier_an_example() -> None:
    pictures = np.array([30] + [1] * 9 + [1] * 10)
    subject = np.repeat(np.arange(20), pictures)
    truth = (subject >= 10).astype(int)
    vectors = np.random.default_rng(0).normal(size=(subject.size, 3))
    dealt = deal(vectors, truth, subject, 2)
    everyone = np.arange(subject.size)
    often = int(dealt.subject[np.flatnonzero(np.bincount(dealt.subject)[dealt.subject] > 1)[0]])
    hits = sum(often in dealt.subject[drawn(dealt, 1, everyone, s)] for s in range(400))
    assert stats.binomtest(hits, 400, 0.1).pvalue > 0.001


# ---- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"truth": [0, 1]}, "one row, one class and one subject a picture"),
        ({"vectors": [1.0, 2.0, 3.0]}, "one row, one class and one subject a picture"),
        ({"subjects": ["a"]}, "one row, one class and one subject a picture"),
        ({"truth": [0, 1, 2]}, "classes from 0 to 2; they must be 0 to 1, or -1 where unknown"),
        ({"truth": [0, 1, -2]}, "classes from -2 to 1"),
        ({"classes": 1, "truth": [0, 0, 0]}, "a classifier needs two or more"),
        ({"folds": 2}, "2 folds; give 3 or more"),
        ({"vectors": [[1.0], [np.nan], [0.0]]}, "not finite; leave the picture out"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(change: dict[str, object], said: str) -> None:
    given = {
        "vectors": [[1.0], [2.0], [3.0]],
        "truth": [0, 1, 0],
        "subjects": ["a", "b", "c"],
        "classes": 2,
    }
    with pytest.raises(ValueError, match=said):
        deal(**{**given, **change})


@pytest.mark.parametrize(("k", "draws"), [(0, 1), (1, 0), (-1, 1)])
def test_no_examples_or_draws_are_refused(k: int, draws: int) -> None:
    vectors, truth, subject = world(20, 1, 2, 3, signal=1.0)
    with pytest.raises(ValueError, match="both must be 1 or more"):
        few_shot(deal(vectors, truth, subject, 2), k, draws)


@pytest.mark.slow
def test_importing_it_imports_no_learning_library() -> None:
    code = "import sys, audit.stats.linear; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
