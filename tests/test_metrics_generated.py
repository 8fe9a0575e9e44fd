"""Measures of what generated graphs are worth: by hand, and against plain Python."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from netwright.metrics import (
    distinct,
    known_max,
    known_mean,
    percentiles,
    share_above,
    top_share,
    uniqueness,
    unrepeated,
)

NAN = math.nan
#: Few different values, so that many are equal; NaN where nothing was measured.
ACCURACIES = st.lists(st.sampled_from([NAN, 0.1, 0.5, 0.7, 0.9, 0.95]), max_size=30)


def keyed(names):
    """Keys by name, which share their first or their second half with others."""
    codes = torch.tensor([ord(name) for name in names], dtype=torch.long)
    return torch.stack([codes // 2, codes % 2], dim=1)


def same(found, expected):
    assert found == pytest.approx(expected, rel=1e-6, nan_ok=True)


class TestRepeats:
    """Different graphs, and those that came up once."""

    def test_by_hand(self):
        keys = keyed("abacdbz")
        counted = torch.tensor([True] * 6 + [False])
        assert distinct(keys, counted) == 4  # a, b, c, d
        assert unrepeated(keys, counted) == 2 / 6  # c, d
        assert uniqueness(keys, counted) == 4 / 6

    def test_what_does_not_count_is_no_repeat(self):
        assert unrepeated(keyed("aab"), torch.tensor([True, False, True])) == 1.0

    def test_none(self):
        none = torch.zeros(3, dtype=torch.bool)
        assert distinct(keyed("abc"), none) == 0
        assert math.isnan(unrepeated(keyed("abc"), none))
        assert math.isnan(unrepeated(keyed(""), none[:0]))

    @given(st.text("abcd", max_size=30), st.data())
    @settings(max_examples=50, deadline=None)
    def test_plain_python(self, names, data):
        counted = data.draw(st.lists(st.booleans(), min_size=len(names), max_size=len(names)))
        kept = [name for name, use in zip(names, counted, strict=True) if use]
        mask = torch.tensor(counted, dtype=torch.bool)
        assert distinct(keyed(names), mask) == len(set(kept))
        once = sum(kept.count(name) == 1 for name in kept)
        same(unrepeated(keyed(names), mask), once / len(kept) if kept else NAN)


class TestRanks:
    """Percentiles of a benchmark, and the share of its best."""

    def test_by_hand(self):
        found = percentiles(torch.tensor([0.9, 0.5, NAN, 0.95, 0.7]))
        assert found.dtype == torch.double
        same(found.tolist(), [2 / 4, 4 / 4, NAN, 1 / 4, 3 / 4])

    def test_equals_share_the_larger_rank(self):
        same(percentiles(torch.tensor([0.9, 0.9, 0.5, 0.9])).tolist(), [0.75, 0.75, 1.0, 0.75])

    def test_only_worst(self):
        assert percentiles(torch.full((2,), NAN)).isnan().all()
        assert not len(percentiles(torch.zeros(0)))

    @pytest.mark.parametrize("n", [1, 3, 7, 30, 100, 101, 1000])
    def test_the_best_are_a_whole_share(self, n):
        accuracy = torch.randperm(n, generator=torch.Generator().manual_seed(n)).float() / n
        for percent in range(1, 101):
            best = percentiles(accuracy) <= percent / 100
            assert int(best.sum()) == n * percent // 100
            assert set(accuracy[best].tolist()) == set(sorted(accuracy.tolist())[n - best.sum() :])

    @given(ACCURACIES)
    @settings(max_examples=50, deadline=None)
    def test_plain_python(self, accuracies):
        known = [a for a in accuracies if not math.isnan(a)]
        expected = [
            NAN if math.isnan(a) else sum(b >= a for b in known) / len(known) for a in accuracies
        ]
        same(percentiles(torch.tensor(accuracies)).tolist(), expected)

    def test_share_of_all_generated(self):
        percentile = torch.tensor([0.05, 0.1, NAN, 0.051, 1.0])
        assert top_share(percentile, 0.05) == 1 / 5
        assert top_share(percentile, 0.1) == 3 / 5
        assert top_share(percentile, 1.0) == 4 / 5  # what is in no benchmark is not among the best
        assert math.isnan(top_share(percentile[:0], 0.5))


class TestAccuracies:
    """Of the graphs whose accuracy is known."""

    def test_by_hand(self):
        accuracy = torch.tensor([0.95, NAN, 0.91, 0.2, NAN])
        assert share_above(accuracy, 0.9) == pytest.approx(2 / 3)
        assert known_mean(accuracy) == pytest.approx(2.06 / 3)
        assert known_max(accuracy) == pytest.approx(0.95)

    @pytest.mark.parametrize("threshold", [0.1, 0.3, 0.6, 0.9])
    def test_equal_is_not_above(self, threshold):
        assert share_above(torch.tensor([threshold]), threshold) == 0.0
        assert share_above(torch.tensor([threshold], dtype=torch.double), threshold) == 0.0

    def test_none_is_known(self):
        for accuracy in (torch.full((3,), NAN), torch.zeros(0)):
            assert math.isnan(share_above(accuracy, 0.5))
            assert math.isnan(known_mean(accuracy))
            assert math.isnan(known_max(accuracy))

    @given(ACCURACIES, st.sampled_from([0.0, 0.5, 0.6, 0.95]))
    @settings(max_examples=50, deadline=None)
    def test_plain_python(self, accuracies, threshold):
        known = [a for a in accuracies if not math.isnan(a)]
        accuracy = torch.tensor(accuracies, dtype=torch.double)
        above = sum(a > threshold for a in known)
        same(share_above(accuracy, threshold), above / len(known) if known else NAN)
        same(known_mean(accuracy), sum(known) / len(known) if known else NAN)
        same(known_max(accuracy), max(known, default=NAN))
