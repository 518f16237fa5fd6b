"""Scores: by hand, against torch's own functions, and the same choice under every meaning."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audit.stats.scoring import KINDS, Scoring

SIMILARITY = np.array([[0.3, 0.1, -0.2], [0.0, 0.0, 0.25]])


def test_a_softmax_is_over_the_set_and_a_sigmoid_is_not() -> None:
    softmax, sigmoid = Scoring(10.0), Scoring(10.0, -2.0, "sigmoid")
    by_torch = torch.softmax(10.0 * torch.tensor(SIMILARITY), dim=1).numpy()
    np.testing.assert_allclose(softmax.of_all(SIMILARITY), by_torch, rtol=1e-12)
    by_torch = torch.sigmoid(10.0 * torch.tensor(SIMILARITY) - 2.0).numpy()
    np.testing.assert_allclose(sigmoid.of_all(SIMILARITY), by_torch, rtol=1e-12)
    alone = sigmoid.of_all(SIMILARITY[:, :1])
    np.testing.assert_allclose(alone[:, 0], sigmoid.of_all(SIMILARITY)[:, 0])
    assert softmax.of_all(SIMILARITY[:, :1]).tolist() == [[1.0], [1.0]]
    assert alone[0, 0] == pytest.approx(1 / (1 + math.exp(-1.0)))


@given(st.integers(0, 2**32 - 1), st.sampled_from(["softmax", "sigmoid", "given"]))
def test_the_score_of_the_chosen_is_its_score_among_all(seed: int, kind) -> None:
    similarity = np.random.default_rng(seed).uniform(-1, 1, (5, 4))
    scoring = Scoring(7.0, -1.0, kind)
    every = scoring.of_all(similarity)
    chosen = scoring.of_chosen(similarity, similarity.max(axis=1))
    np.testing.assert_allclose(chosen, every[np.arange(5), similarity.argmax(axis=1)], rtol=1e-12)
    assert (every.argmax(axis=1) == similarity.argmax(axis=1)).all()


def test_without_scores_none_is_made_up() -> None:
    scoring = Scoring(kind="none")
    assert not scoring.known
    assert np.isnan(scoring.of_all(SIMILARITY)).all()
    assert np.isnan(scoring.of_chosen(SIMILARITY, SIMILARITY.max(axis=1))).all()


def test_every_kind_says_what_it_means_and_no_other_is_taken() -> None:
    assert len({Scoring(kind=kind).meaning for kind in KINDS}) == len(KINDS)
    with pytest.raises(ValueError, match="no scores are called 'hinge'"):
        Scoring(kind="hinge")  # type: ignore[arg-type]
