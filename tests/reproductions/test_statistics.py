import math

import numpy as np
import pytest

from netwright.reproductions.statistics import holm, interval, mean_ranks, wilcoxon_p


def test_the_interval_of_a_mean_is_students():
    # the textbook's example: n = 4, t = 3.182
    low, high = interval([1.0, 2.0, 3.0, 4.0])
    half = 3.18245 * math.sqrt(5 / 3) / 2
    assert (low, high) == pytest.approx((2.5 - half, 2.5 + half), rel=1e-5)
    assert interval([5.0]) is None
    assert interval([2.0, 2.0]) == (2.0, 2.0)


def test_intervals_cover_the_mean_as_often_as_they_say():
    rng = np.random.default_rng(0)
    hits = sum(
        low <= 1 <= high
        for low, high in (interval(rng.normal(1, 2, 5).tolist()) for _ in range(2000))
    )
    assert 0.93 < hits / 2000 < 0.97


def test_wilcoxons_test_counts_signs_of_ranks():
    # all of five differences of one sign: 2 of the 32 ways to give signs are as extreme
    assert wilcoxon_p([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(2 / 32)
    assert wilcoxon_p([-1.0, -2.0, -3.0, -4.0, -5.0]) == pytest.approx(2 / 32)
    # the smallest has the other sign: sums 1 and 14; 2 * 2 ways have a sum of at most 1
    assert wilcoxon_p([-1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(4 / 32)
    assert wilcoxon_p([0.0, 0.0]) == 1.0
    assert wilcoxon_p([0.0, 1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(2 / 32)
    assert wilcoxon_p([3.0]) is None


def test_wilcoxons_test_is_right_about_what_is_alike():
    rng = np.random.default_rng(0)
    p = [wilcoxon_p(rng.normal(0, 1, 10).tolist()) for _ in range(1000)]
    assert 0.03 < np.mean(np.array(p) < 0.05) < 0.07
    assert all(wilcoxon_p(rng.normal(2, 1, 20).tolist()) < 0.01 for _ in range(20))


def test_ties_and_many_pairs_are_approximated():
    tied = wilcoxon_p([1.0, 1.0, 1.0, -1.0, 1.0, 1.0, 1.0, 1.0])
    assert 0.01 < tied < 0.1
    rng = np.random.default_rng(1)
    assert wilcoxon_p(rng.normal(1, 1, 60).tolist()) < 1e-4


def test_holms_correction_is_the_textbooks():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, None, 0.9]) == [1.0, None, 1.0]
    assert holm([]) == []


def test_ranks_are_taken_seed_by_seed():
    values = [[3.0, 1.0, 2.0], [1.0, 2.0, 2.0], [2.0, 3.0, 5.0, 99.0]]
    assert mean_ranks(values, larger_is_better=True) == pytest.approx(
        [(1 + 3 + 2.5) / 3, (3 + 2 + 2.5) / 3, (2 + 1 + 1) / 3]
    )
    assert mean_ranks(values, larger_is_better=False)[0] == pytest.approx((3 + 1 + 1.5) / 3)
    assert mean_ranks([[math.nan], [1.0]], larger_is_better=True) == [2.0, 1.0]
