"""Measures of predictions, by hand and by brute force."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from netwright.metrics import kendall_tau, mse, rmse, spearman

numbers = st.lists(st.integers(-3, 3), min_size=2, max_size=9)
pairs = numbers.flatmap(
    lambda a: st.tuples(st.just(a), st.lists(st.integers(-3, 3), min_size=len(a), max_size=len(a)))
)


def tau_b(a, b):
    """Concordant minus discordant pairs, over the geometric mean of the pairs not tied."""
    sign = lambda x: (x > 0) - (x < 0)  # noqa: E731 (reads like the formula)
    index = [(i, j) for i in range(len(a)) for j in range(i)]
    signs = [(sign(a[i] - a[j]), sign(b[i] - b[j])) for i, j in index]
    norm = math.sqrt(sum(x * x for x, _ in signs) * sum(y * y for _, y in signs))
    return sum(x * y for x, y in signs) / norm if norm else math.nan


def ranks(a):
    return torch.tensor([sum(x < y for x in a) + (a.count(y) + 1) / 2 for y in a])


def test_squared_errors_by_hand():
    predicted, actual = torch.tensor([0.9, 0.5, 0.1]), torch.tensor([0.8, 0.5, 0.3])
    assert mse(predicted, actual) == pytest.approx((0.01 + 0.04) / 3)
    assert rmse(predicted, actual) == pytest.approx(math.sqrt(0.05 / 3))
    assert math.isnan(mse(torch.zeros(0), torch.zeros(0)))


@settings(deadline=None)  # the first call imports scipy
@given(pairs)
def test_rank_correlations_are_those_of_all_pairs(values):
    a, b = values
    x, y = torch.tensor(a).float(), torch.tensor(b).float()
    assert kendall_tau(x, y) == pytest.approx(tau_b(a, b), nan_ok=True, abs=1e-9)
    constant = len(set(a)) == 1 or len(set(b)) == 1
    expected = math.nan
    if not constant:
        expected = float(torch.corrcoef(torch.stack([ranks(a), ranks(b)]).double())[0, 1])
    assert spearman(x, y) == pytest.approx(expected, nan_ok=True, abs=1e-6)


def test_a_flipped_order_is_minus_one():
    up = torch.arange(5.0)
    assert kendall_tau(up, -up) == pytest.approx(-1)
    assert spearman(up.exp(), up) == pytest.approx(1)
